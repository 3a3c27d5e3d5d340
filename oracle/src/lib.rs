// SPDX-License-Identifier: GPL-2.0-or-later
//! A QEMU plugin that keeps a model of a virtually indexed data cache beside the guest, and reports each access that
//! real hardware may answer with stale data.
//!
//! QEMU itself models no cache: whatever a kernel forgets to flush, a guest in QEMU reads what was written last. The
//! model is told every load and store with its virtual and its physical address, and what the kernel does to the cache.
//! It knows nothing of the program that runs QEMU; the two meet in the files `config` and `record` describe.
//! `docs/oracle.md` tells what a finding means and what the model cannot see.

pub mod arch;
pub mod config;
pub mod findings;
pub mod model;
pub mod session;
pub mod symbols;

// A test is no plugin: nothing would give it QEMU's functions.
#[cfg(not(test))]
mod plugin;
#[cfg(not(test))]
#[allow(unsafe_code)]
mod sys;

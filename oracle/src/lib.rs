// SPDX-License-Identifier: GPL-2.0-or-later
//! A QEMU plugin that models a virtually indexed data cache and reports each access of the guest that real hardware may
//! answer with stale data.
//!
//! QEMU itself models no cache: a load returns what was stored last, even if the kernel forgot to flush. The model
//! receives every load and store with its virtual and physical address, and the kernel's cache maintenance. The plugin
//! knows nothing of the program that runs QEMU; the crate `oracle-wire` defines the files that the two exchange.
//! `docs/oracle.md` explains what a finding means and what the model cannot see.

pub mod arch;
pub mod config;
pub mod findings;
pub mod mapped;
pub mod model;
pub mod session;
pub mod symbols;
pub mod trace;
pub mod translations;

// Tests are linked without QEMU, which provides the functions that these modules call.
#[cfg(not(test))]
mod plugin;
#[cfg(not(test))]
#[allow(unsafe_code)]
mod sys;

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything that passes between the oracle (a QEMU plugin) and the lab that runs QEMU.
//!
//! - [`window`]: the numbers of the windows that the guest opens and closes.
//! - `config`, feature `json`: the file that configures the plugin.
//! - `message`, feature `json`: the lines that the plugin writes.
//! - `culprit`, feature `json`: the function that is responsible for an access.
//!
//! `docs/oracle.md` describes the files for readers who use neither crate.

#[cfg(feature = "json")]
pub mod config;
#[cfg(feature = "json")]
pub mod culprit;
#[cfg(feature = "json")]
pub mod message;
pub mod window;

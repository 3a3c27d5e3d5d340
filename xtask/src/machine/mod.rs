// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMU: accelerator, capabilities, arguments and process.

pub mod accel;
pub(crate) mod args;
pub(crate) mod plugin_api;
pub(crate) mod process;
pub(crate) mod qemu;

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Machine: QEMU's accelerator, its capabilities, its arguments, and its process.

pub mod accel;
pub(crate) mod args;
pub(crate) mod process;
pub(crate) mod qemu;

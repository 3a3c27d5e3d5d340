// SPDX-License-Identifier: MIT OR Apache-2.0
//! Machine: the accelerator, what a QEMU can do, its arguments, and QEMU as a process that never outlives the lab.

pub mod accel;
pub(crate) mod args;
pub(crate) mod process;
pub(crate) mod qemu;

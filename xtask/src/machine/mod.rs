// SPDX-License-Identifier: MIT OR Apache-2.0
//! Machine: QEMU's arguments, and QEMU as a process that never outlives the lab.

pub(crate) mod args;
pub(crate) mod process;

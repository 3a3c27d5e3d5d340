// SPDX-License-Identifier: MIT OR Apache-2.0
//! Protocol between the host and the guest.
//!
//! The host puts a [`plan`] into the guest's initramfs. The guest sends back [`record`]s, each wrapped in a [`frame`].
//! Both are text, so the target's byte order and word size do not matter.

mod bytes;
pub mod curve;
pub mod frame;
pub mod kallsyms;
pub mod modules;
pub mod plan;
pub mod programs;
pub mod record;

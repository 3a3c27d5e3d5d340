// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host's side of things: programs that must be there, KVM, and a report on both.

pub mod packages;

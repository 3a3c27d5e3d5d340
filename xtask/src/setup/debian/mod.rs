// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything that uses apt: installation of packages, and use of packages that are not installed.

pub(super) mod apt;
pub(crate) mod kernel_source;
pub mod newer_qemu;
mod package;
pub(crate) mod source;
pub(crate) mod std_source;

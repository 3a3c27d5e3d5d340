// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host tool of dmmap-lab: `plan -> kernel -> image -> boot -> watch -> judge -> report`.
//!
//! [`run`] tells that story for one target; everything else is one of its steps or serves one.

pub mod event;
pub mod verdict;
pub mod yaml;

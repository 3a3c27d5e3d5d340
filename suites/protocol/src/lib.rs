// SPDX-License-Identifier: MIT OR Apache-2.0
//! What host and guest say to each other.
//!
//! The host gives the guest a [`plan`]; the guest answers with [`record`]s, framed by [`frame`].
//! Everything is text, so neither byte order nor word size of the target matters.

mod bytes;
pub mod frame;
pub mod plan;
pub mod record;

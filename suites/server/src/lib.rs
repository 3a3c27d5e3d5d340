// SPDX-License-Identifier: MIT OR Apache-2.0
//! A small FUSE and CUSE server: one file, kept in memory, that clients can read, write and direct-mmap.
//!
//! - [`wire`] turns numbers and structs into bytes and back, in the kernel's byte order.
//! - [`abi`] is the part of `include/uapi/linux/fuse.h` that is spoken here.
//! - [`Channel`] is the descriptor: one request in, one reply out.
//! - [`Session`] is a mounted filesystem or a device, and answers requests as its [`Behaviour`] says.
//!   What clients asked for is kept in [`Seen`].

pub mod abi;
mod behaviour;
mod channel;
mod cuse;
mod files;
mod fuse;
mod lazy;
mod message;
mod seen;
mod session;
pub mod wire;

pub use behaviour::{Behaviour, Lazy, OnFault, OnMmap, OnReclaim, Unanswered};
pub use channel::{Channel, Request};
pub use message::Message;
pub use seen::Seen;
pub use session::{Flow, ServerError, Session};

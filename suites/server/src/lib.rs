// SPDX-License-Identifier: MIT OR Apache-2.0
//! A small FUSE and CUSE server. It serves one file, kept in memory, that clients can read, write and direct-mmap.
//!
//! - [`wire`] encodes numbers and structs in the kernel's byte order, and decodes them.
//! - [`abi`] is the part of `include/uapi/linux/fuse.h` that the server uses.
//! - [`Channel`] is the descriptor for requests and replies.
//! - [`Session`] is a mounted filesystem or a device. It answers requests according to its [`Behaviour`] and logs them
//!   in [`RequestLog`].

pub mod abi;
mod behaviour;
mod channel;
mod cuse;
mod files;
mod fuse;
mod lazy;
mod message;
mod request_log;
mod session;
pub mod wire;

pub use behaviour::{Behaviour, Lazy, OnFault, OnMmap, OnReclaim, Unanswered};
pub use channel::Channel;
pub use message::Message;
pub use request_log::RequestLog;
pub use session::{Flow, ServerError, Session};

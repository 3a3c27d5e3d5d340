// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages of a faulty server, in which every field can be wrong.

use serde::{Deserialize, Serialize};

/// Message to the kernel, well-formed or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `unique` of the header: number of the request that it replies to, or 0 for a notification.
    pub unique: u64,
    /// `error` of the header: 0, a negative error number of this machine, or the code of a notification.
    pub error: i32,
    /// Number added to the correct `len` of the header, in bytes.
    pub len_excess: i32,
    /// Bytes after the header.
    pub body: Vec<u8>,
    /// Number of bytes at the end of the message that lie in unreadable memory.
    pub unreadable_tail: usize,
}

impl Message {
    /// Returns a reply to the request `unique`.
    pub fn answer(unique: u64, body: &[u8]) -> Message {
        Message { unique, error: 0, len_excess: 0, body: body.to_vec(), unreadable_tail: 0 }
    }

    /// Returns a reply with an error; `error` is the header's field, a negative error number.
    pub fn refusal(unique: u64, error: i32) -> Message {
        Message { error, ..Message::answer(unique, &[]) }
    }

    /// Returns a notification; `code` is one of [`crate::abi::notify`].
    pub fn notification(code: i32, body: &[u8]) -> Message {
        Message { error: code, ..Message::answer(0, body) }
    }
}

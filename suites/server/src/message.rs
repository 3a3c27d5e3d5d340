// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a server writes, field by field: what no good server would write can be put together as well.

use serde::{Deserialize, Serialize};

/// A message to the kernel. Any of its fields may be wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `unique` of its header: the request it answers; 0: a notification.
    pub unique: u64,
    /// `error` of its header: 0 or an error number of this machine, negative; of a notification its code.
    pub error: i32,
    /// Bytes by which `len` of its header is more than what is written.
    pub len_off: i32,
    /// What follows the header.
    pub body: Vec<u8>,
    /// Bytes at its end that are said to be there and are in no memory.
    pub missing: usize,
}

impl Message {
    /// An answer that is well-formed if the body is.
    pub fn answer(unique: u64, body: &[u8]) -> Message {
        Message {
            unique,
            error: 0,
            len_off: 0,
            body: body.to_vec(),
            missing: 0,
        }
    }

    /// A refusal with an `error` as it is in the header.
    pub fn refusal(unique: u64, error: i32) -> Message {
        Message {
            error,
            ..Message::answer(unique, &[])
        }
    }

    /// Something that the kernel has not asked for: `code` is one of [`crate::abi::notify`].
    pub fn notification(code: i32, body: &[u8]) -> Message {
        Message {
            error: code,
            ..Message::answer(0, body)
        }
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pages that a process keeps alive beyond their mapping.

use serde::{Deserialize, Serialize};
use sys::{Fd, Mapping, RegisteredBuffer};

/// Way to keep pages alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PinBy {
    /// vmsplice(2) to a pipe.
    Pipe,
    /// vmsplice(2) to a pipe, tee(2) from there to another pipe, and the end of the first pipe.
    Tee,
    /// Registered buffer of io_uring.
    IoUring,
}

/// Pages that are kept alive until this value is dropped.
#[derive(Debug)]
#[allow(dead_code)]
pub(crate) enum Pin {
    /// Both ends of a pipe.
    Pipe(Fd, Fd),
    Buffer(RegisteredBuffer),
}

impl Pin {
    /// Keeps the pages of `len` bytes at byte `at` alive.
    pub(crate) fn new(mapping: &Mapping, at: usize, len: usize, by: PinBy) -> sys::Result<Pin> {
        let (reader, writer) = sys::pipe()?;
        match by {
            PinBy::IoUring => return mapping.register_buffer(at, len).map(Pin::Buffer),
            PinBy::Pipe => mapping.splice_to(at, len, &writer)?,
            PinBy::Tee => {
                let (first, first_in) = sys::pipe()?;
                mapping.splice_to(at, len, &first_in)?;
                sys::tee(&first, &writer, len)?;
            }
        }
        Ok(Pin::Pipe(reader, writer))
    }
}

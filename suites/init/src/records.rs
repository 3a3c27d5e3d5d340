// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way out: records as frames on a port of their own.

use protocol::frame::Encoder;
use protocol::record::Record;
use sys::{Fd, OpenFlags};

/// The port records go to.
pub struct Port {
    fd: Fd,
    encoder: Encoder,
}

impl Port {
    /// Opens the device at `path`.
    pub fn open(path: &str) -> Result<Port, String> {
        let flags = OpenFlags::READ | OpenFlags::WRITE | OpenFlags::NO_TERMINAL;
        let fd = Fd::open(path, flags).map_err(|error| error.to_string())?;
        // A port that is no terminal takes bytes as they are anyway.
        let _ = fd.make_raw();
        Ok(Port {
            fd,
            encoder: Encoder::default(),
        })
    }

    /// Sends a record.
    pub fn send(&mut self, record: &Record) {
        let frame = self.encoder.encode(record);
        if let Err(error) = self.fd.write_all(frame.as_bytes()) {
            // The host sees the gap; the console says why.
            crate::boot::announce(&format!("a record is lost: {error}"));
        }
    }

    /// Waits until everything is on its way.
    pub fn drain(&self) {
        let _ = self.fd.drain();
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sends records to the host, as frames on a port of their own.

use protocol::frame::Encoder;
use protocol::record::Record;
use sys::{Fd, OpenFlags};

/// Port for the records.
pub(crate) struct Port {
    fd: Fd,
    encoder: Encoder,
}

impl Port {
    pub(crate) fn open(path: &str) -> Result<Port, String> {
        let flags = OpenFlags::READ | OpenFlags::WRITE | OpenFlags::NO_TERMINAL;
        let fd = Fd::open(path, flags).map_err(|error| error.to_string())?;
        // Fails for a port that is not a terminal. Such a port is raw already.
        let _ = fd.make_raw();
        Ok(Port { fd, encoder: Encoder::default() })
    }

    pub(crate) fn send(&mut self, record: &Record) {
        let frame = self.encoder.encode(record);
        if let Err(error) = self.fd.write_all(frame.as_bytes()) {
            // The host notices the missing frame; the console shows the reason.
            crate::boot::log_to_kernel(&format!("cannot send a record: {error}"));
        }
    }

    /// Waits until all records have left the port.
    pub(crate) fn drain(&self) {
        let _ = self.fd.drain();
    }
}

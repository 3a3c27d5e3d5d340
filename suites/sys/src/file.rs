// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors: files, pipes, poll.

use std::ops::BitOr;
use std::time::Duration;

use crate::backend::file as backend;
use crate::errno::{During, Errno, Error, Result};

/// How a file is opened. A descriptor is never inherited over `exec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFlags(pub(crate) u32);

impl OpenFlags {
    /// For reading.
    pub const READ: OpenFlags = OpenFlags(1);
    /// For writing.
    pub const WRITE: OpenFlags = OpenFlags(2);
    /// Make it if it is not there, mode 0600.
    pub const CREATE: OpenFlags = OpenFlags(4);
    /// Throw away what is in it.
    pub const TRUNCATE: OpenFlags = OpenFlags(8);
    /// Write at its end.
    pub const APPEND: OpenFlags = OpenFlags(16);
    /// Never wait.
    pub const NONBLOCK: OpenFlags = OpenFlags(32);
    /// Do not make a terminal the controlling one.
    pub const NO_TERMINAL: OpenFlags = OpenFlags(64);

    /// True if every flag of `other` is set.
    pub(crate) fn has(self, other: OpenFlags) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for OpenFlags {
    type Output = OpenFlags;
    fn bitor(self, other: OpenFlags) -> OpenFlags {
        OpenFlags(self.0 | other.0)
    }
}

/// An open descriptor; closed when dropped.
#[derive(Debug)]
pub struct Fd(i32);

impl Fd {
    /// Opens `path`.
    ///
    /// # Errors
    /// What open(2) says.
    pub fn open(path: &str, flags: OpenFlags) -> Result<Fd> {
        backend::open(path, flags)
            .map(Fd)
            .during(|| format!("open {path}"))
    }

    /// Takes over a descriptor that this process was started with, such as 0 for its standard input.
    pub fn inherited(number: i32) -> Fd {
        Fd(number)
    }

    /// A descriptor that a call of the backend just made.
    pub(crate) fn own(number: i32) -> Fd {
        Fd(number)
    }

    /// Its number, for interfaces that take one as text.
    pub fn number(&self) -> i32 {
        self.0
    }

    /// Reads at most `into.len()` bytes; 0 is the end.
    ///
    /// # Errors
    /// What read(2) says; an interrupted call is made again.
    pub fn read(&self, into: &mut [u8]) -> Result<usize> {
        backend::read(self.0, into).during(|| format!("read descriptor {}", self.0))
    }

    /// Reads at most `into.len()` bytes at byte `offset`.
    ///
    /// # Errors
    /// What pread(2) says.
    pub fn read_at(&self, into: &mut [u8], offset: u64) -> Result<usize> {
        backend::pread(self.0, into, offset)
            .during(|| format!("read descriptor {} at {offset:#x}", self.0))
    }

    /// Everything up to the end.
    ///
    /// # Errors
    /// As [`Fd::read`].
    pub fn read_to_end(&self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        let mut piece = [0; 4096];
        loop {
            match self.read(&mut piece)? {
                0 => return Ok(all),
                n => all.extend_from_slice(&piece[..n]),
            }
        }
    }

    /// Writes at most `bytes.len()` bytes in one call; returns how many.
    ///
    /// # Errors
    /// What write(2) says; an interrupted call is made again.
    pub fn write(&self, bytes: &[u8]) -> Result<usize> {
        backend::write(self.0, bytes)
            .during(|| format!("write {} bytes to descriptor {}", bytes.len(), self.0))
    }

    /// Writes at most `bytes.len()` bytes at byte `offset`.
    ///
    /// # Errors
    /// What pwrite(2) says.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize> {
        backend::pwrite(self.0, bytes, offset).during(|| {
            format!(
                "write {} bytes to descriptor {} at {offset:#x}",
                bytes.len(),
                self.0
            )
        })
    }

    /// Writes all of `bytes`, in as many calls as it takes.
    ///
    /// # Errors
    /// As [`Fd::write`]; `EIO` if a call takes nothing.
    pub fn write_all(&self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            match self.write(bytes)? {
                0 => {
                    return Err(Error {
                        what: format!("write to descriptor {}: nothing was taken", self.0),
                        errno: Errno::EIO,
                    });
                }
                n => bytes = &bytes[n..],
            }
        }
        Ok(())
    }

    /// Writes what is kept of the file to wherever it comes from.
    ///
    /// # Errors
    /// What fsync(2) says: `EINVAL` of what has nothing to keep.
    pub fn sync(&self) -> Result<()> {
        backend::fsync(self.0).during(|| format!("sync descriptor {}", self.0))
    }

    /// Sets the size of a file in bytes.
    ///
    /// # Errors
    /// What ftruncate(2) says.
    pub fn resize(&self, size: u64) -> Result<()> {
        backend::ftruncate(self.0, size)
            .during(|| format!("resize descriptor {} to {size} bytes", self.0))
    }

    /// Makes a terminal pass bytes as they are, at the highest speed every UART has.
    ///
    /// # Errors
    /// What tcsetattr(3) says.
    pub fn make_raw(&self) -> Result<()> {
        backend::make_raw(self.0).during(|| format!("set descriptor {} to raw mode", self.0))
    }

    /// Waits until everything written to a terminal has left it.
    ///
    /// # Errors
    /// What tcdrain(3) says.
    pub fn drain(&self) -> Result<()> {
        backend::drain(self.0).during(|| format!("drain descriptor {}", self.0))
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        backend::close(self.0);
    }
}

/// A pipe: what is written to the second comes out of the first.
///
/// # Errors
/// What pipe2(2) says.
pub fn pipe() -> Result<(Fd, Fd)> {
    let (reads, writes) = backend::pipe().during(|| "make a pipe".into())?;
    Ok((Fd::own(reads), Fd::own(writes)))
}

/// Writes a line to the standard output.
///
/// # Errors
/// What write(2) says.
pub fn print_line(text: &str) -> Result<()> {
    let stdout = std::mem::ManuallyDrop::new(Fd(1));
    stdout.write_all(format!("{text}\n").as_bytes())
}

/// What a descriptor is ready for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// A read would not wait.
    pub readable: bool,
    /// The other end is gone or an error is pending.
    pub hung_up: bool,
}

impl Ready {
    /// Ready for anything at all.
    pub fn any(self) -> bool {
        self.readable || self.hung_up
    }
}

/// Waits until one of `fds` is readable or hung up, at most `timeout` (`None`: for ever); one answer each, in order.
///
/// # Errors
/// What poll(2) says; an interrupted call counts as a timeout.
pub fn poll(fds: &[&Fd], timeout: Option<Duration>) -> Result<Vec<Ready>> {
    let numbers: Vec<i32> = fds.iter().map(|fd| fd.0).collect();
    // Rounded up: a wait of less than a millisecond must not become a busy loop.
    let millis = timeout.map(|t| i32::try_from(t.as_micros().div_ceil(1000)).unwrap_or(i32::MAX));
    let mut ready = vec![Ready::default(); fds.len()];
    backend::poll(&numbers, millis.unwrap_or(-1), &mut ready)
        .during(|| format!("poll descriptors {numbers:?}"))?;
    Ok(ready)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_carries_bytes_and_its_end() {
        let (reads, writes) = pipe().unwrap();
        let quiet = poll(&[&reads], Some(Duration::ZERO)).unwrap();
        assert_eq!(quiet, [Ready::default()]);
        writes.write_all(b"abc").unwrap();
        assert!(poll(&[&reads], None).unwrap()[0].readable);
        drop(writes);
        assert_eq!(reads.read_to_end().unwrap(), b"abc");
        assert!(poll(&[&reads], None).unwrap()[0].hung_up);
    }
}

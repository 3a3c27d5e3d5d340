// SPDX-License-Identifier: MIT OR Apache-2.0
//! File descriptors: files, pipes, terminals, and poll.

use std::time::Duration;

use crate::backend::file as backend;
use crate::errno::{Context, Errno, Error, Result};

bitflags::bitflags! {
    /// Flags for opening a file. All descriptors are closed on exec.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct OpenFlags: u32 {
        /// Open for reading.
        const READ = 1;
        /// Open for writing.
        const WRITE = 2;
        /// Create the file with mode 0600 if it does not exist (`O_CREAT`).
        const CREATE = 4;
        /// Truncate the file to 0 bytes (`O_TRUNC`).
        const TRUNCATE = 8;
        /// Append every write to the end of the file (`O_APPEND`).
        const APPEND = 16;
        /// Return `EAGAIN` instead of blocking (`O_NONBLOCK`).
        const NONBLOCK = 32;
        /// Do not make the terminal the controlling terminal of the process (`O_NOCTTY`).
        const NO_TERMINAL = 64;
    }
}

/// Open file descriptor. It is closed when dropped.
#[derive(Debug)]
pub struct Fd(i32);

impl Fd {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// Fails as open(2).
    pub fn open(path: &str, flags: OpenFlags) -> Result<Fd> {
        backend::open(path, flags).map(Fd).context(|| format!("open {path}"))
    }

    /// Takes ownership of a descriptor that the process inherited from its parent, such as 0 for the standard input.
    pub fn inherited(number: i32) -> Fd {
        Fd(number)
    }

    /// Takes ownership of a descriptor that the backend has just opened.
    pub(crate) fn own(number: i32) -> Fd {
        Fd(number)
    }

    /// Returns the number of the descriptor, for interfaces that expect it as text.
    pub fn number(&self) -> i32 {
        self.0
    }

    /// Reads at most `into.len()` bytes, and returns how many. 0 marks the end of the file.
    ///
    /// # Errors
    /// Fails as read(2), except that an interrupted call is repeated.
    pub fn read(&self, into: &mut [u8]) -> Result<usize> {
        backend::read(self.0, into).context(|| format!("read descriptor {}", self.0))
    }

    /// Reads at most `into.len()` bytes at byte `offset` of the file, and returns how many.
    ///
    /// # Errors
    /// Fails as pread(2).
    pub fn read_at(&self, into: &mut [u8], offset: u64) -> Result<usize> {
        backend::pread(self.0, into, offset)
            .context(|| format!("read descriptor {} at {offset:#x}", self.0))
    }

    /// Reads until the end of the file.
    ///
    /// # Errors
    /// Fails as [`Fd::read`].
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

    /// Writes at most `bytes.len()` bytes in one call, and returns how many.
    ///
    /// # Errors
    /// Fails as write(2), except that an interrupted call is repeated.
    pub fn write(&self, bytes: &[u8]) -> Result<usize> {
        backend::write(self.0, bytes)
            .context(|| format!("write {} bytes to descriptor {}", bytes.len(), self.0))
    }

    /// Writes at most `bytes.len()` bytes at byte `offset` of the file, and returns how many.
    ///
    /// # Errors
    /// Fails as pwrite(2).
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize> {
        backend::pwrite(self.0, bytes, offset).context(|| {
            format!("write {} bytes to descriptor {} at {offset:#x}", bytes.len(), self.0)
        })
    }

    /// Writes all of `bytes`, in as many calls as necessary.
    ///
    /// # Errors
    /// Fails as [`Fd::write`], and with `EIO` if a call writes nothing.
    pub fn write_all(&self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            match self.write(bytes)? {
                0 => {
                    return Err(Error {
                        what: format!("write to descriptor {}, which accepted 0 bytes", self.0),
                        errno: Errno::EIO,
                    });
                }
                n => bytes = &bytes[n..],
            }
        }
        Ok(())
    }

    /// Flushes cached changes of the file to its storage.
    ///
    /// # Errors
    /// Fails as fsync(2): with `EINVAL` if the descriptor does not support it.
    pub fn sync(&self) -> Result<()> {
        backend::fsync(self.0).context(|| format!("sync descriptor {}", self.0))
    }

    /// Sets the size of the file, in bytes.
    ///
    /// # Errors
    /// Fails as ftruncate(2).
    pub fn resize(&self, size: u64) -> Result<()> {
        backend::ftruncate(self.0, size)
            .context(|| format!("resize descriptor {} to {size} bytes", self.0))
    }

    /// Sets a terminal to raw mode and to 115200 bits per second, the highest speed that every UART supports.
    ///
    /// # Errors
    /// Fails as tcsetattr(3).
    pub fn make_raw(&self) -> Result<()> {
        backend::make_raw(self.0).context(|| format!("set descriptor {} to raw mode", self.0))
    }

    /// Waits until a terminal has transmitted all output.
    ///
    /// # Errors
    /// Fails as tcdrain(3).
    pub fn drain(&self) -> Result<()> {
        backend::drain(self.0).context(|| format!("drain descriptor {}", self.0))
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        backend::close(self.0);
    }
}

/// Creates a pipe. Returns its read end and its write end.
///
/// # Errors
/// Fails as pipe2(2).
pub fn pipe() -> Result<(Fd, Fd)> {
    let (reader, writer) = backend::pipe().context(|| "create a pipe".into())?;
    Ok((Fd::own(reader), Fd::own(writer)))
}

/// Writes a line to the standard output.
///
/// # Errors
/// Fails as write(2).
pub fn print_line(text: &str) -> Result<()> {
    let stdout = std::mem::ManuallyDrop::new(Fd(1));
    stdout.write_all(format!("{text}\n").as_bytes())
}

/// Result of [`poll`] for one descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// A read would not block.
    pub readable: bool,
    /// The other end is closed, or an error is pending.
    pub hung_up: bool,
}

impl Ready {
    /// Returns true if the descriptor is readable or hung up.
    pub fn any(self) -> bool {
        self.readable || self.hung_up
    }
}

/// Waits until one of `fds` is readable or hung up, or until `timeout` has passed. Without a timeout it waits for ever.
/// Returns the state of each descriptor, in the order of `fds`.
///
/// # Errors
/// Fails as poll(2), except that an interrupted call counts as a timeout.
pub fn poll(fds: &[&Fd], timeout: Option<Duration>) -> Result<Vec<Ready>> {
    let numbers: Vec<i32> = fds.iter().map(|fd| fd.0).collect();
    // Rounded up, so that repeated waits of less than a millisecond are not a busy loop.
    let millis = timeout.map(|t| i32::try_from(t.as_micros().div_ceil(1000)).unwrap_or(i32::MAX));
    let mut ready = vec![Ready::default(); fds.len()];
    backend::poll(&numbers, millis.unwrap_or(-1), &mut ready)
        .context(|| format!("poll descriptors {numbers:?}"))?;
    Ok(ready)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_carries_bytes_and_hangs_up() {
        let (reader, writer) = pipe().unwrap();
        let idle = poll(&[&reader], Some(Duration::ZERO)).unwrap();
        assert_eq!(idle, [Ready::default()]);
        writer.write_all(b"abc").unwrap();
        assert!(poll(&[&reader], None).unwrap()[0].readable);
        drop(writer);
        assert_eq!(reader.read_to_end().unwrap(), b"abc");
        assert!(poll(&[&reader], None).unwrap()[0].hung_up);
    }
}

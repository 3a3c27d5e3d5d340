// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory of another process, by its addresses: process_vm_readv(2) and writev(2), ptrace(2).

use crate::backend::peer as backend;
use crate::errno::{During, Errno, Result};
use crate::process::Pid;

/// Reads memory of process `pid` from its address `at`.
///
/// # Errors
/// What process_vm_readv(2) says; `EFAULT` also where not all of it can be read.
pub fn read_memory(pid: Pid, at: u64, into: &mut [u8]) -> Result<()> {
    let len = into.len();
    whole(backend::read_memory(pid.0, at, into), len)
        .during(|| format!("read {len} bytes at {at:#x} of process {pid}"))
}

/// Writes memory of process `pid` from its address `at`.
///
/// # Errors
/// What process_vm_writev(2) says; `EFAULT` also where not all of it can be written.
pub fn write_memory(pid: Pid, at: u64, bytes: &[u8]) -> Result<()> {
    let len = bytes.len();
    whole(backend::write_memory(pid.0, at, bytes), len)
        .during(|| format!("write {len} bytes at {at:#x} of process {pid}"))
}

fn whole(done: std::result::Result<usize, Errno>, len: usize) -> std::result::Result<(), Errno> {
    match done? {
        n if n == len => Ok(()),
        _ => Err(Errno::EFAULT),
    }
}

/// A process that ptrace(2) has stopped; it goes on when this is dropped.
#[derive(Debug)]
pub struct Stopped(Pid);

impl Stopped {
    /// Stops process `pid`.
    ///
    /// # Errors
    /// What ptrace(2) or waitpid(2) says; `ESRCH` if it ended instead.
    pub fn attach(pid: Pid) -> Result<Stopped> {
        backend::attach(pid.0).during(|| format!("attach to process {pid}"))?;
        Ok(Stopped(pid))
    }

    /// Reads its memory from its address `at`, a word of the machine at a time (PTRACE_PEEKDATA).
    ///
    /// # Errors
    /// What ptrace(2) says: `EIO` where there is nothing to be read.
    ///
    /// # Panics
    /// `into` is not whole words.
    pub fn peek(&self, at: u64, into: &mut [u8]) -> Result<()> {
        let word = backend::word();
        assert!(into.len() % word == 0, "peek {} bytes", into.len());
        for (index, piece) in into.chunks_mut(word).enumerate() {
            let at = at + (index * word) as u64;
            backend::peek(self.0.0, at, piece)
                .during(|| format!("peek at {at:#x} of process {}", self.0))?;
        }
        Ok(())
    }

    /// Writes its memory from its address `at`, a word of the machine at a time (PTRACE_POKEDATA).
    ///
    /// # Errors
    /// What ptrace(2) says: `EIO` where nothing can be written.
    ///
    /// # Panics
    /// `bytes` is not whole words.
    pub fn poke(&self, at: u64, bytes: &[u8]) -> Result<()> {
        let word = backend::word();
        assert!(bytes.len() % word == 0, "poke {} bytes", bytes.len());
        for (index, piece) in bytes.chunks(word).enumerate() {
            let at = at + (index * word) as u64;
            backend::poke(self.0.0, at, piece)
                .during(|| format!("poke at {at:#x} of process {}", self.0))?;
        }
        Ok(())
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // If it is gone there is nobody to let go of.
        let _ = backend::detach(self.0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ended, Forked, Mapping, Prot, Sharing, exit, fork, memfd, page_size, wait};

    /// A child that holds a page, ends well once its byte 16 is 9, and the parent's view of the page.
    fn peer() -> (Pid, Mapping) {
        let file = memfd("peer", page_size() as u64).unwrap();
        let (prot, sharing) = (Prot::ReadWrite, Sharing::Shared);
        let map = Mapping::of(&file, 0, page_size(), prot, sharing).unwrap();
        map.copy_in(0, b"abcdefghijklmnop");
        match fork().unwrap() {
            Forked::Parent(pid) => (pid, map),
            Forked::Child => {
                while map.load::<u8>(16) != 9 {
                    crate::yield_now();
                }
                exit(0)
            }
        }
    }

    #[test]
    fn memory_of_another_process_is_read_and_written() {
        let (pid, map) = peer();
        let mut found = [0; 5];
        read_memory(pid, map.address() + 1, &mut found).unwrap();
        assert_eq!(&found, b"bcdef");
        let beyond = map.address() + page_size() as u64 - 2;
        assert!(write_memory(pid, beyond, &[1; 1 << 16]).is_err());
        write_memory(pid, map.address() + 16, &[9]).unwrap();
        assert_eq!(wait(pid).unwrap(), Ended::Code(0));
    }

    #[test]
    fn a_stopped_process_is_peeked_and_poked() {
        let (pid, map) = peer();
        let stopped = Stopped::attach(pid).unwrap();
        let mut found = [0; 16];
        stopped.peek(map.address(), &mut found).unwrap();
        assert_eq!(&found, b"abcdefghijklmnop");
        assert_eq!(stopped.peek(0, &mut found).unwrap_err().errno, Errno::EIO);
        stopped.poke(map.address() + 16, &[9; 8]).unwrap();
        drop(stopped);
        assert_eq!(wait(pid).unwrap(), Ended::Code(0));
    }
}

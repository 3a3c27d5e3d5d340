// SPDX-License-Identifier: MIT OR Apache-2.0
//! Access to the memory of another process: process_vm_readv(2), process_vm_writev(2) and ptrace(2).

use crate::backend::peer as backend;
use crate::errno::{Context, Errno, Result, require_all};
use crate::process::Pid;

/// Reads memory of the process `pid` at the address `at` of that process.
///
/// # Errors
/// Fails as process_vm_readv(2), and with `EFAULT` if only a part can be read.
pub fn read_memory(pid: Pid, at: u64, into: &mut [u8]) -> Result<()> {
    let len = into.len();
    require_all(backend::read_memory(pid.0, at, into), len, Errno::EFAULT)
        .context(|| format!("read {len} bytes at {at:#x} of process {pid}"))
}

/// Writes memory of the process `pid` at the address `at` of that process.
///
/// # Errors
/// Fails as process_vm_writev(2), and with `EFAULT` if only a part can be written.
pub fn write_memory(pid: Pid, at: u64, bytes: &[u8]) -> Result<()> {
    let len = bytes.len();
    require_all(backend::write_memory(pid.0, at, bytes), len, Errno::EFAULT)
        .context(|| format!("write {len} bytes at {at:#x} of process {pid}"))
}

/// Process stopped by ptrace(2). It continues when this value is dropped.
#[derive(Debug)]
pub struct Tracee(Pid);

impl Tracee {
    /// Attaches to the process `pid` and stops it.
    ///
    /// # Errors
    /// Fails as ptrace(2) or waitpid(2), and with `ESRCH` if the process has ended.
    pub fn attach(pid: Pid) -> Result<Tracee> {
        backend::attach(pid.0).context(|| format!("attach to process {pid}"))?;
        Ok(Tracee(pid))
    }

    /// Reads memory at the process's address `at`, one machine word at a time (`PTRACE_PEEKDATA`).
    ///
    /// # Errors
    /// Fails as ptrace(2): with `EIO` if the address cannot be read.
    ///
    /// # Panics
    /// Panics if the length of `into` is not a multiple of the word size.
    pub fn peek(&self, at: u64, into: &mut [u8]) -> Result<()> {
        let word = backend::word_size();
        assert!(into.len() % word == 0, "peek {} bytes", into.len());
        for (index, piece) in into.chunks_mut(word).enumerate() {
            let at = at + (index * word) as u64;
            backend::peek(self.0.0, at, piece)
                .context(|| format!("peek at {at:#x} of process {}", self.0))?;
        }
        Ok(())
    }

    /// Writes memory at the process's address `at`, one machine word at a time (`PTRACE_POKEDATA`).
    ///
    /// # Errors
    /// Fails as ptrace(2): with `EIO` if the address cannot be written.
    ///
    /// # Panics
    /// Panics if the length of `bytes` is not a multiple of the word size.
    pub fn poke(&self, at: u64, bytes: &[u8]) -> Result<()> {
        let word = backend::word_size();
        assert!(bytes.len() % word == 0, "poke {} bytes", bytes.len());
        for (index, piece) in bytes.chunks(word).enumerate() {
            let at = at + (index * word) as u64;
            backend::poke(self.0.0, at, piece)
                .context(|| format!("poke at {at:#x} of process {}", self.0))?;
        }
        Ok(())
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        // Fails if the process has ended.
        let _ = backend::detach(self.0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ExitStatus, ForkResult, Mapping, Prot, Sharing, exit, fork, memfd, page_size, wait,
    };

    /// Starts a child that shares a page with this process and exits with status 0 once byte 16 of the page is 9.
    fn peer() -> (Pid, Mapping) {
        let file = memfd("peer", page_size() as u64).unwrap();
        let (prot, sharing) = (Prot::ReadWrite, Sharing::Shared);
        let map = Mapping::of(&file, 0, page_size(), prot, sharing).unwrap();
        map.copy_in(0, b"abcdefghijklmnop");
        match fork().unwrap() {
            ForkResult::Parent(pid) => (pid, map),
            ForkResult::Child => {
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
        assert_eq!(wait(pid).unwrap(), ExitStatus::Code(0));
    }

    #[test]
    fn a_stopped_process_is_peeked_and_poked() {
        let (pid, map) = peer();
        let stopped = Tracee::attach(pid).unwrap();
        let mut found = [0; 16];
        stopped.peek(map.address(), &mut found).unwrap();
        assert_eq!(&found, b"abcdefghijklmnop");
        assert_eq!(stopped.peek(0, &mut found).unwrap_err().errno, Errno::EIO);
        stopped.poke(map.address() + 16, &[9; 8]).unwrap();
        drop(stopped);
        assert_eq!(wait(pid).unwrap(), ExitStatus::Code(0));
    }
}

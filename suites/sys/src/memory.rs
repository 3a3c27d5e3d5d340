// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mapped memory that other processes change at the same time.
//!
//! A [`Mapping`] is reached through offsets in bytes from its start. An access outside it is a bug of the caller and
//! panics; an access the kernel cannot satisfy kills the process (SIGBUS), as it would kill any program. Where such an
//! end is expected, [`Mapping::probe`] and [`Mapping::touch`] turn it into a value.

#![allow(unsafe_code)]

mod advice;
mod frame;
mod moves;
mod robust;
mod transfer;

use std::time::Duration;

use crate::backend::memory as backend;
use crate::errno::{During, Errno, Error, Result};
use crate::file::{Fd, pipe};
use crate::process::{Ended, Forked, exit, fork, wait};

pub use advice::Advice;
pub use robust::{OWNER_DIED, WAITERS};

/// What may be done to a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Prot {
    /// Nothing.
    None,
    /// Loads.
    Read,
    /// Loads and stores.
    ReadWrite,
}

/// Who sees the stores of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Sharing {
    /// Everyone who maps the same: MAP_SHARED.
    Shared,
    /// Nobody else: MAP_PRIVATE.
    Private,
}

/// What a probe does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads a byte.
    Load,
    /// Reads a byte and writes the same back.
    Store,
}

/// The kernel could not reach a byte where a program's own touch would have ended in a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the byte cannot be reached (EFAULT)")]
pub struct Fault;

/// How a wait on a futex ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FutexWait {
    /// Somebody woke it, or a signal did.
    Woken,
    /// The word was not what the caller expected; nothing was waited for.
    Changed,
    /// Time ran out.
    TimedOut,
}

/// A number of 8 to 64 bits in mapped memory.
pub trait Word: Copy + PartialEq + backend::Scalar {}
impl Word for u8 {}
impl Word for u16 {}
impl Word for u32 {}
impl Word for u64 {}

/// A range of whole pages in this process's memory; unmapped when dropped.
#[derive(Debug)]
pub struct Mapping {
    at: u64,
    len: usize,
}

impl Mapping {
    /// Maps `len` bytes of `fd` from byte `offset`, wherever the kernel likes.
    ///
    /// # Errors
    /// What mmap(2) says.
    pub fn of(fd: &Fd, offset: u64, len: usize, prot: Prot, sharing: Sharing) -> Result<Mapping> {
        backend::map(0, len, Some(fd.number()), offset, prot, sharing)
            .map(|at| Mapping { at, len })
            .during(|| {
                let fd = fd.number();
                format!("map {len} bytes of descriptor {fd} at {offset:#x}, {prot:?}, {sharing:?}")
            })
    }

    /// Memory of this process alone, zeroed.
    ///
    /// # Errors
    /// What mmap(2) says.
    pub fn anonymous(len: usize, prot: Prot) -> Result<Mapping> {
        backend::map(0, len, None, 0, prot, Sharing::Private)
            .map(|at| Mapping { at, len })
            .during(|| format!("map {len} bytes of memory"))
    }

    /// Puts a mapping of `fd` in the place of this one, same address and length.
    ///
    /// # Errors
    /// What mmap(2) says; the place may then be empty, and is given up.
    pub fn replace(self, fd: &Fd, offset: u64, prot: Prot, sharing: Sharing) -> Result<Mapping> {
        let (at, len) = (self.at, self.len);
        backend::map(at, len, Some(fd.number()), offset, prot, sharing)
            .map(|_| self)
            .during(|| format!("map {len} bytes of descriptor {fd:?} over {at:#x}"))
    }

    /// Two mappings of what was one, cut at byte `at`, a multiple of the page size.
    pub fn split(self, at: usize) -> (Mapping, Mapping) {
        assert!(
            at <= self.len && at % crate::page_size() == 0,
            "cut at {at}"
        );
        let whole = std::mem::ManuallyDrop::new(self);
        let head = Mapping {
            at: whole.at,
            len: at,
        };
        let tail = Mapping {
            at: whole.at + at as u64,
            len: whole.len - at,
        };
        (head, tail)
    }

    /// Unmaps `len` bytes from byte `offset` in one call; what is left on either side (maybe nothing, of length 0).
    ///
    /// # Errors
    /// What munmap(2) says.
    pub fn punch(self, offset: usize, len: usize) -> Result<(Mapping, Mapping)> {
        let (head, rest) = self.split(offset);
        let (hole, tail) = rest.split(len);
        hole.unmap()?;
        Ok((head, tail))
    }

    /// Unmaps it.
    ///
    /// # Errors
    /// What munmap(2) says.
    pub fn unmap(self) -> Result<()> {
        let this = std::mem::ManuallyDrop::new(self);
        if this.len == 0 {
            return Ok(());
        }
        // SAFETY: the range is this mapping's own, and the mapping ends here.
        unsafe { backend::unmap(this.at, this.len) }
            .during(|| format!("unmap {} bytes at {:#x}", this.len, this.at))
    }

    /// Gives it another length, and another address if it must.
    ///
    /// # Errors
    /// What mremap(2) says; the mapping is then as it was.
    pub fn resize(&mut self, len: usize) -> Result<()> {
        // SAFETY: the range is this mapping's own; no reference into it ever leaves this type.
        self.at = unsafe { backend::remap(self.at, self.len, len) }
            .during(|| format!("remap {} bytes at {:#x} to {len}", self.len, self.at))?;
        self.len = len;
        Ok(())
    }

    /// Changes what may be done to it.
    ///
    /// # Errors
    /// What mprotect(2) says.
    pub fn protect(&self, prot: Prot) -> Result<()> {
        // SAFETY: the range is this mapping's own; no reference into it ever leaves this type.
        unsafe { backend::protect(self.at, self.len, prot) }
            .during(|| format!("protect {} bytes at {:#x} as {prot:?}", self.len, self.at))
    }

    /// Its first address in this process: a number to compare with what the kernel shows, nothing to go through.
    pub fn address(&self) -> u64 {
        self.at
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True of what is left where everything was punched out.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number at byte `offset`, read once. Numbers lie at multiples of their size.
    pub fn load<W: Word>(&self, offset: usize) -> W {
        // SAFETY: `place` checked bounds and alignment; memory of a mapping is plain bytes.
        unsafe { backend::load(self.place::<W>(offset)) }
    }

    /// Writes the number at byte `offset`, once.
    pub fn store<W: Word>(&self, offset: usize, value: W) {
        // SAFETY: as in `load`; nothing else in this program holds a reference into a mapping.
        unsafe { backend::store(self.place::<W>(offset), value) }
    }

    /// [`Mapping::load`] that no later access overtakes.
    pub fn load_acquire(&self, offset: usize) -> u32 {
        // SAFETY: as in `load`.
        unsafe { backend::load_acquire(self.place::<u32>(offset)) }
    }

    /// [`Mapping::store`] that overtakes no earlier access.
    pub fn store_release(&self, offset: usize, value: u32) {
        // SAFETY: as in `store`.
        unsafe { backend::store_release(self.place::<u32>(offset), value) }
    }

    /// Adds to the number at byte `offset` as one step for all processes; what it was before.
    pub fn fetch_add(&self, offset: usize, value: u32) -> u32 {
        // SAFETY: as in `store`.
        unsafe { backend::fetch_add(self.place::<u32>(offset), value) }
    }

    /// Copies `bytes` to byte `offset`, in any order and width.
    pub fn copy_in(&self, offset: usize, bytes: &[u8]) {
        self.check(offset, bytes.len());
        // SAFETY: bounds are checked; a slice of this program never lies in a mapping.
        unsafe { backend::copy_in(self.at + offset as u64, bytes) }
    }

    /// Copies what is at byte `offset` to `into`, in any order and width.
    pub fn copy_out(&self, offset: usize, into: &mut [u8]) {
        self.check(offset, into.len());
        // SAFETY: as in `copy_in`.
        unsafe { backend::copy_out(self.at + offset as u64, into) }
    }

    /// The byte at `offset`, read by the kernel, which survives what would be a signal for this process.
    ///
    /// # Errors
    /// [`Fault`] where a touch of the byte would be a SIGBUS or SIGSEGV.
    pub fn probe(&self, offset: usize) -> std::result::Result<u8, Fault> {
        self.check(offset, 1);
        let (reads, writes) = pipe().expect("a pipe to probe memory with");
        // SAFETY: bounds are checked, and only the kernel looks at the byte.
        match unsafe { backend::write_from(writes.number(), self.at + offset as u64, 1) } {
            Err(Errno::EFAULT) => return Err(Fault),
            other => assert_eq!(other, Ok(1), "probe of a byte through a pipe"),
        }
        let mut byte = [0];
        reads.read(&mut byte).expect("the probed byte");
        Ok(byte[0])
    }

    /// Forks a process that touches the byte at `offset`, and tells how that process ended: status 0 if all was well.
    ///
    /// # Errors
    /// What fork(2) or waitpid(2) says.
    pub fn touch(&self, offset: usize, access: Access) -> Result<Ended> {
        match fork()? {
            Forked::Parent(pid) => wait(pid),
            Forked::Child => {
                let byte: u8 = self.load(offset);
                if access == Access::Store {
                    self.store(offset, byte);
                }
                exit(0)
            }
        }
    }

    /// Sleeps until somebody wakes the futex at `offset`, if it still holds `expected`. The futex is one that
    /// processes share.
    ///
    /// # Errors
    /// What futex(2) says.
    pub fn futex_wait(&self, offset: usize, expected: u32, timeout: Duration) -> Result<FutexWait> {
        let at = self.place::<u32>(offset);
        // SAFETY: `place` checked bounds and alignment; only the kernel looks at the word.
        match unsafe { backend::futex_wait(at, expected, timeout) } {
            Ok(()) | Err(Errno::EINTR) => Ok(FutexWait::Woken),
            Err(Errno::EAGAIN) => Ok(FutexWait::Changed),
            Err(Errno::ETIMEDOUT) => Ok(FutexWait::TimedOut),
            Err(errno) => Err(Error {
                what: format!("wait on the futex at byte {offset:#x}"),
                errno,
            }),
        }
    }

    /// Wakes at most `count` sleepers of the futex at `offset`; how many there were.
    ///
    /// # Errors
    /// What futex(2) says.
    pub fn futex_wake(&self, offset: usize, count: u32) -> Result<u32> {
        let at = self.place::<u32>(offset);
        // SAFETY: as in `futex_wait`.
        unsafe { backend::futex_wake(at, count) }
            .during(|| format!("wake the futex at byte {offset:#x}"))
    }

    /// The address of a number at `offset`, which must lie inside at a multiple of its size.
    fn place<W: Word>(&self, offset: usize) -> u64 {
        let size = size_of::<W>();
        self.check(offset, size);
        assert!(offset % size == 0, "{size} bytes at byte {offset:#x}");
        self.at + offset as u64
    }

    fn check(&self, offset: usize, len: usize) {
        let end = offset.checked_add(len);
        assert!(
            end.is_some_and(|end| end <= self.len),
            "{len} bytes at byte {offset:#x} of a mapping of {:#x} bytes",
            self.len
        );
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: the range is this mapping's own, and the mapping ends here.
            // A failure leaves it mapped, which harms nobody: the process that holds it ends soon.
            let _ = unsafe { backend::unmap(self.at, self.len) };
        }
    }
}

/// No access after it overtakes one before it.
pub fn fence() {
    backend::fence();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Signal, memfd, page_size};

    fn two_views() -> (Mapping, Mapping) {
        let len = 2 * page_size();
        let fd = memfd("test", len as u64).unwrap();
        let view = || Mapping::of(&fd, 0, len, Prot::ReadWrite, Sharing::Shared).unwrap();
        (view(), view())
    }

    #[test]
    fn two_views_of_a_file_are_one_memory() {
        let (a, b) = two_views();
        a.store::<u16>(6, 0xbeef);
        assert_eq!(b.load::<u16>(6), 0xbeef);
        b.copy_in(page_size() - 2, b"over");
        let mut back = [0; 4];
        a.copy_out(page_size() - 2, &mut back);
        assert_eq!(&back, b"over");
        assert_eq!((a.fetch_add(8, 5), b.fetch_add(8, 1)), (0, 5));
        assert_eq!(a.load_acquire(8), 6);
    }

    #[test]
    fn what_is_punched_out_is_gone_and_the_rest_stays() {
        let (a, b) = two_views();
        b.store::<u8>(page_size(), 9);
        let (head, tail) = a.punch(0, page_size()).unwrap();
        assert_eq!((head.len(), tail.len()), (0, page_size()));
        assert_eq!(tail.load::<u8>(0), 9);
    }

    #[test]
    fn a_fault_is_a_value() {
        let fd = memfd("short", 0).unwrap();
        let beyond = Mapping::of(&fd, 0, page_size(), Prot::ReadWrite, Sharing::Shared).unwrap();
        assert_eq!(beyond.probe(0), Err(Fault));
        let end = beyond.touch(0, Access::Load).unwrap();
        assert_eq!(end, Ended::Signal(Signal::Bus));
        fd.resize(1).unwrap();
        assert_eq!(beyond.probe(0), Ok(0));
        assert_eq!(beyond.touch(0, Access::Store).unwrap(), Ended::Code(0));
    }

    #[test]
    #[should_panic(expected = "8 bytes at byte 0x1ffc of a mapping of 0x2000 bytes")]
    fn an_access_outside_panics() {
        assert_eq!(page_size(), 4096);
        two_views().0.load::<u64>(0x1ffc);
    }

    #[test]
    fn a_futex_wakes_the_other_process() {
        let (a, b) = two_views();
        let Forked::Parent(child) = fork().unwrap() else {
            let woken = b.futex_wait(0, 0, Duration::from_secs(10)).unwrap();
            exit(i32::from(woken == FutexWait::TimedOut))
        };
        while a.futex_wake(0, 1).unwrap() == 0 {
            crate::yield_now();
        }
        assert_eq!(wait(child).unwrap(), Ended::Code(0));
        assert_eq!(a.futex_wait(0, 1, Duration::ZERO), Ok(FutexWait::Changed));
        assert_eq!(a.futex_wait(0, 0, Duration::ZERO), Ok(FutexWait::TimedOut));
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mapped memory that other processes can change concurrently.
//!
//! Accesses to a [`Mapping`] use offsets in bytes from its start. An access outside the mapping is a bug of the caller
//! and panics. An access that the kernel cannot satisfy kills the process with SIGBUS or SIGSEGV, as in any program.
//! [`Mapping::probe`] and [`Mapping::touch`] return such a fault as a value instead.

#![allow(unsafe_code)]

mod advice;
mod frame;
mod futex;
mod moves;
mod pins;
mod transfer;

use crate::backend::memory as backend;
use crate::errno::{Context, Errno, Result};
use crate::file::{Fd, pipe};
use crate::process::{ExitStatus, ForkResult, exit, fork, wait};

pub use advice::Advice;
pub use futex::{FutexWait, OWNER_DIED, WAITERS};
pub use pins::{RegisteredBuffer, tee};

/// Access rights of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Prot {
    /// No access (`PROT_NONE`).
    None,
    /// Loads only (`PROT_READ`).
    Read,
    /// Loads and stores (`PROT_READ | PROT_WRITE`).
    ReadWrite,
}

/// Visibility of the stores to a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Sharing {
    /// Stores are visible in all mappings of the same memory (`MAP_SHARED`).
    Shared,
    /// Stores are visible to this process only (`MAP_PRIVATE`).
    Private,
}

/// Kind of access that [`Mapping::touch`] makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads a byte.
    Load,
    /// Reads a byte and writes it back.
    Store,
}

/// Error of [`Mapping::probe`]: an access by this process would have raised SIGBUS or SIGSEGV.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the kernel cannot access the byte (EFAULT)")]
pub struct Fault;

/// Unsigned integer of 8 to 64 bits that is loaded and stored in one access.
pub trait Word: Copy + PartialEq + backend::Scalar {}
impl Word for u8 {}
impl Word for u16 {}
impl Word for u32 {}
impl Word for u64 {}

/// Calls mmap(2) with `MAP_FIXED` for `len` bytes of `fd` at address `at`.
fn map_at(at: u64, len: usize, fd: &Fd, offset: u64, prot: Prot, sharing: Sharing) -> Result<()> {
    backend::map(at, len, Some(fd.number()), offset, prot, sharing)
        .map(drop)
        .context(|| format!("map {len} bytes of descriptor {} at {at:#x}", fd.number()))
}

/// Range of whole pages in the address space of this process. It is unmapped when dropped.
#[derive(Debug)]
pub struct Mapping {
    at: u64,
    len: usize,
}

impl Mapping {
    /// Maps `len` bytes of `fd` from byte `offset`, at an address of the kernel's choice.
    ///
    /// # Errors
    /// Fails as mmap(2).
    pub fn of(fd: &Fd, offset: u64, len: usize, prot: Prot, sharing: Sharing) -> Result<Mapping> {
        backend::map(0, len, Some(fd.number()), offset, prot, sharing)
            .map(|at| Mapping { at, len })
            .context(|| {
                let fd = fd.number();
                format!("map {len} bytes of descriptor {fd} at {offset:#x}, {prot:?}, {sharing:?}")
            })
    }

    /// Maps `len` bytes of zeroed, private memory.
    ///
    /// # Errors
    /// Fails as mmap(2).
    pub fn anonymous(len: usize, prot: Prot) -> Result<Mapping> {
        backend::map(0, len, None, 0, prot, Sharing::Private)
            .map(|at| Mapping { at, len })
            .context(|| format!("map {len} bytes of memory"))
    }

    /// Replaces this mapping by a mapping of `fd` with the same address and length (`MAP_FIXED`).
    ///
    /// # Errors
    /// Fails as mmap(2). After a failure the mapping is lost.
    pub fn replace(self, fd: &Fd, offset: u64, prot: Prot, sharing: Sharing) -> Result<Mapping> {
        let mut this = self;
        this.replace_in_place(fd, offset, prot, sharing)?;
        Ok(this)
    }

    /// Does [`Mapping::replace`], but leaves a mapping that was not replaced to the caller.
    ///
    /// # Errors
    /// Fails as mmap(2). After a failure, the kernel may have unmapped the range. In a process with several threads,
    /// another thread may then have mapped something there, so that dropping this mapping would unmap that.
    pub fn replace_in_place(
        &mut self,
        fd: &Fd,
        offset: u64,
        prot: Prot,
        sharing: Sharing,
    ) -> Result<()> {
        map_at(self.at, self.len, fd, offset, prot, sharing)
    }

    /// Splits the mapping at byte `at`, a multiple of the page size.
    pub fn split(self, at: usize) -> (Mapping, Mapping) {
        assert!(
            at <= self.len && at % crate::page_size() == 0,
            "split at byte {at:#x} of a mapping of {:#x} bytes",
            self.len
        );
        let whole = std::mem::ManuallyDrop::new(self);
        let head = Mapping { at: whole.at, len: at };
        let tail = Mapping { at: whole.at + at as u64, len: whole.len - at };
        (head, tail)
    }

    /// Unmaps `len` bytes from byte `offset` in one call. Returns the rest on either side, which can be empty.
    ///
    /// # Errors
    /// Fails as munmap(2).
    pub fn punch(self, offset: usize, len: usize) -> Result<(Mapping, Mapping)> {
        let (head, rest) = self.split(offset);
        let (hole, tail) = rest.split(len);
        hole.unmap()?;
        Ok((head, tail))
    }

    /// Unmaps the range. Unlike dropping the mapping, this reports errors.
    ///
    /// # Errors
    /// Fails as munmap(2).
    pub fn unmap(self) -> Result<()> {
        let this = std::mem::ManuallyDrop::new(self);
        if this.len == 0 {
            return Ok(());
        }
        // SAFETY: the range is this mapping's own, and the mapping ends here.
        unsafe { backend::unmap(this.at, this.len) }
            .context(|| format!("unmap {} bytes at {:#x}", this.len, this.at))
    }

    /// Changes the length, and moves the mapping if necessary.
    ///
    /// # Errors
    /// Fails as mremap(2). After a failure the mapping is unchanged.
    pub fn resize(&mut self, len: usize) -> Result<()> {
        // SAFETY: the range is this mapping's own; no reference into it ever leaves this type.
        self.at = unsafe { backend::remap(self.at, self.len, len) }
            .context(|| format!("remap {} bytes at {:#x} to {len}", self.len, self.at))?;
        self.len = len;
        Ok(())
    }

    /// Changes the access rights.
    ///
    /// # Errors
    /// Fails as mprotect(2).
    pub fn protect(&self, prot: Prot) -> Result<()> {
        // SAFETY: the range is this mapping's own; no reference into it ever leaves this type.
        unsafe { backend::protect(self.at, self.len, prot) }
            .context(|| format!("protect {} bytes at {:#x} as {prot:?}", self.len, self.at))
    }

    /// Returns the start address in this process, for comparison with addresses from the kernel.
    pub fn address(&self) -> u64 {
        self.at
    }

    /// Returns the length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true if the length is 0. [`Mapping::split`] and [`Mapping::punch`] can return such a mapping.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Loads the word at byte `offset`, a multiple of its size, in a single access.
    pub fn load<W: Word>(&self, offset: usize) -> W {
        // SAFETY: `place` checked bounds and alignment; memory of a mapping is plain bytes.
        unsafe { backend::load(self.place::<W>(offset)) }
    }

    /// Stores the word at byte `offset`, a multiple of its size, in a single access.
    pub fn store<W: Word>(&self, offset: usize, value: W) {
        // SAFETY: as in `load`; nothing else in this program holds a reference into a mapping.
        unsafe { backend::store(self.place::<W>(offset), value) }
    }

    /// Loads a word with acquire ordering: later accesses are not reordered before it.
    pub fn load_acquire(&self, offset: usize) -> u32 {
        // SAFETY: as in `load`.
        unsafe { backend::load_acquire(self.place::<u32>(offset)) }
    }

    /// Stores a word with release ordering: earlier accesses are not reordered after it.
    pub fn store_release(&self, offset: usize, value: u32) {
        // SAFETY: as in `store`.
        unsafe { backend::store_release(self.place::<u32>(offset), value) }
    }

    /// Copies `bytes` to byte `offset`, with accesses of any order and width.
    pub fn copy_in(&self, offset: usize, bytes: &[u8]) {
        self.check(offset, bytes.len());
        // SAFETY: bounds are checked; a slice of this program never lies in a mapping.
        unsafe { backend::copy_in(self.at + offset as u64, bytes) }
    }

    /// Copies the bytes at byte `offset` to `into`, with accesses of any order and width.
    pub fn copy_out(&self, offset: usize, into: &mut [u8]) {
        self.check(offset, into.len());
        // SAFETY: as in `copy_in`.
        unsafe { backend::copy_out(self.at + offset as u64, into) }
    }

    /// Returns the byte at `offset`, read by the kernel, so that a fault does not kill this process.
    ///
    /// # Errors
    /// Returns [`Fault`] if an access by this process would raise SIGBUS or SIGSEGV.
    pub fn probe(&self, offset: usize) -> std::result::Result<u8, Fault> {
        self.check(offset, 1);
        let (reader, writer) = pipe().expect("creating a pipe succeeds");
        // SAFETY: bounds are checked, and only the kernel reads the byte.
        match unsafe { backend::write_from(writer.number(), self.at + offset as u64, 1) } {
            Err(Errno::EFAULT) => return Err(Fault),
            other => assert_eq!(other, Ok(1), "write a mapped byte to a pipe"),
        }
        let mut byte = [0];
        reader.read(&mut byte).expect("the pipe contains the byte");
        Ok(byte[0])
    }

    /// Accesses the byte at `offset` in a forked process, and returns the exit status of that process: 0 if the access
    /// succeeded, a signal if the access raised one.
    ///
    /// # Errors
    /// Fails as fork(2) or waitpid(2).
    pub fn touch(&self, offset: usize, access: Access) -> Result<ExitStatus> {
        match fork()? {
            ForkResult::Parent(pid) => wait(pid),
            ForkResult::Child => {
                let byte: u8 = self.load(offset);
                if access == Access::Store {
                    self.store(offset, byte);
                }
                exit(0)
            }
        }
    }

    /// Returns the address of the word at `offset`, after checking bounds and alignment.
    fn place<W: Word>(&self, offset: usize) -> u64 {
        let size = size_of::<W>();
        self.check(offset, size);
        assert!(offset % size == 0, "misaligned access: {size} bytes at byte {offset:#x}");
        self.at + offset as u64
    }

    fn check(&self, offset: usize, len: usize) {
        let end = offset.checked_add(len);
        assert!(
            end.is_some_and(|end| end <= self.len),
            "access out of bounds: {len} bytes at byte {offset:#x} of a mapping of {:#x} bytes",
            self.len
        );
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: the range is this mapping's own, and the mapping ends here.
            // An error is ignored: the range stays mapped until the process ends.
            let _ = unsafe { backend::unmap(self.at, self.len) };
        }
    }
}

/// Executes a full memory barrier: accesses are not reordered across it.
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
        b.store_release(8, 6);
        assert_eq!(a.load_acquire(8), 6);
    }

    #[test]
    fn punching_a_hole_keeps_the_rest() {
        let (a, b) = two_views();
        b.store::<u8>(page_size(), 9);
        let (head, tail) = a.punch(0, page_size()).unwrap();
        assert_eq!((head.len(), tail.len()), (0, page_size()));
        assert_eq!(tail.load::<u8>(0), 9);
    }

    #[test]
    fn a_fault_is_returned_as_a_value() {
        let fd = memfd("short", 0).unwrap();
        let beyond = Mapping::of(&fd, 0, page_size(), Prot::ReadWrite, Sharing::Shared).unwrap();
        assert_eq!(beyond.probe(0), Err(Fault));
        let end = beyond.touch(0, Access::Load).unwrap();
        assert_eq!(end, ExitStatus::Signal(Signal::Bus));
        fd.resize(1).unwrap();
        assert_eq!(beyond.probe(0), Ok(0));
        assert_eq!(beyond.touch(0, Access::Store).unwrap(), ExitStatus::Code(0));
    }

    #[test]
    #[should_panic(expected = "out of bounds: 8 bytes at byte 0x1ffc of a mapping of 0x2000 bytes")]
    fn an_access_out_of_bounds_panics() {
        assert_eq!(page_size(), 4096);
        two_views().0.load::<u64>(0x1ffc);
    }
}

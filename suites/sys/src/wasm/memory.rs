// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory by address of the machine. The only caller, `crate::memory::Mapping`, guarantees that ranges are valid.
//!
//! An access that the kernel cannot satisfy raises a signal in the runtime, which kills the process as on any machine.

use std::time::Duration;

use super::{SysResult, check, imports};
use crate::memory::{Prot, Sharing};

/// Type that the machine loads and stores in a single access.
pub trait Scalar: Sized {
    /// # Safety
    /// As for [`load`].
    unsafe fn load(at: u64) -> Self;

    /// # Safety
    /// As for [`store`].
    unsafe fn store(at: u64, value: Self);
}

macro_rules! scalars {
    ($($number:ty, $load:ident, $store:ident;)*) => {$(
        impl Scalar for $number {
            unsafe fn load(at: u64) -> Self {
                // SAFETY: promised by the caller.
                unsafe { imports::$load(at) as $number }
            }

            unsafe fn store(at: u64, value: Self) {
                // SAFETY: promised by the caller.
                unsafe { imports::$store(at, value.into()) }
            }
        }
    )*};
}
scalars! {
    u8, load8, store8;
    u16, load16, store16;
    u32, load32, store32;
    u64, load64, store64;
}

/// Maps memory. If `at` is not 0, the mapping replaces whatever is mapped there.
pub(crate) fn map(
    at: u64,
    len: usize,
    fd: Option<i32>,
    offset: u64,
    prot: Prot,
    sharing: Sharing,
) -> SysResult<u64> {
    let (prot, sharing, fd) = (prot.number(), sharing.number(), fd.unwrap_or(-1));
    // SAFETY: without an address the kernel chooses free address space; with one, the caller owns the range.
    check(unsafe { imports::map(at, len, prot, sharing, fd, offset) }).map(|at| at as u64)
}

/// # Safety
/// The range must be a mapping of the caller's, no longer in use.
pub(crate) unsafe fn unmap(at: u64, len: usize) -> SysResult<()> {
    // SAFETY: promised by the caller.
    check(unsafe { imports::unmap(at, len) }).map(drop)
}

/// # Safety
/// The range must be a mapping of the caller's, without references into it.
pub(crate) unsafe fn remap(at: u64, old: usize, new: usize) -> SysResult<u64> {
    // SAFETY: promised by the caller.
    check(unsafe { imports::remap(at, old, new) }).map(|at| at as u64)
}

/// # Safety
/// The range must be a mapping of the caller's, without references into it.
pub(crate) unsafe fn protect(at: u64, len: usize, prot: Prot) -> SysResult<()> {
    // SAFETY: promised by the caller.
    check(unsafe { imports::protect(at, len, prot.number()) }).map(drop)
}

/// # Safety
/// `at` must be aligned and inside a mapping of the caller's.
pub(crate) unsafe fn load<T: Scalar>(at: u64) -> T {
    // SAFETY: promised by the caller.
    unsafe { T::load(at) }
}

/// # Safety
/// As for [`load`].
pub(crate) unsafe fn store<T: Scalar>(at: u64, value: T) {
    // SAFETY: promised by the caller.
    unsafe { T::store(at, value) }
}

/// # Safety
/// As for [`load`].
pub(crate) unsafe fn load_acquire(at: u64) -> u32 {
    // SAFETY: promised by the caller.
    unsafe { imports::load_acquire(at) }
}

/// # Safety
/// As for [`load`].
pub(crate) unsafe fn store_release(at: u64, value: u32) {
    // SAFETY: promised by the caller.
    unsafe { imports::store_release(at, value) }
}

pub(crate) fn fence() {
    imports::fence();
}

/// # Safety
/// `bytes.len()` bytes from `at` must be inside a mapping of the caller's.
pub(crate) unsafe fn copy_in(at: u64, bytes: &[u8]) {
    // SAFETY: promised by the caller; a slice and a mapping never overlap.
    unsafe { imports::copy_in(at, bytes.as_ptr(), bytes.len()) }
}

/// # Safety
/// As for [`copy_in`].
pub(crate) unsafe fn copy_out(at: u64, into: &mut [u8]) {
    // SAFETY: promised by the caller; a slice and a mapping never overlap.
    unsafe { imports::copy_out(at, into.as_mut_ptr(), into.len()) }
}

/// write(2) with a mapping as the buffer.
///
/// # Safety
/// `len` bytes from `at` must be inside a mapping of the caller's.
pub(crate) unsafe fn write_from(fd: i32, at: u64, len: usize) -> SysResult<usize> {
    // SAFETY: promised by the caller.
    check(unsafe { imports::write_from(fd, at, len) }).map(|n| n as usize)
}

/// # Safety
/// As for [`load`].
pub(crate) unsafe fn futex_wait(at: u64, expected: u32, timeout: Duration) -> SysResult<()> {
    let nanos = timeout.as_nanos() as u64;
    // SAFETY: promised by the caller.
    check(unsafe { imports::futex_wait(at, expected, nanos) }).map(drop)
}

/// # Safety
/// As for [`load`].
pub(crate) unsafe fn futex_wake(at: u64, count: u32) -> SysResult<u32> {
    // SAFETY: promised by the caller.
    check(unsafe { imports::futex_wake(at, count) }).map(|n| n as u32)
}

/// # Safety
/// Both ranges must be mappings of the caller's, without references into them.
pub(crate) unsafe fn remap_to(at: u64, old: usize, new: usize, to: u64) -> SysResult<()> {
    // SAFETY: promised by the caller.
    check(unsafe { imports::remap_to(at, old, new, to) }).map(drop)
}

/// # Safety
/// The range must be a mapping of the caller's, without references into it.
pub(crate) unsafe fn remap_dontunmap(at: u64, len: usize) -> SysResult<u64> {
    // SAFETY: promised by the caller.
    check(unsafe { imports::remap_dontunmap(at, len) }).map(|at| at as u64)
}

/// # Safety
/// The range must be a mapping of the caller's whose content may be lost.
pub(crate) unsafe fn advise(at: u64, len: usize, advice: i32) -> SysResult<()> {
    // SAFETY: promised by the caller.
    check(unsafe { imports::advise(at, len, advice) }).map(drop)
}

/// # Safety
/// The range must be a mapping of the caller's.
pub(crate) unsafe fn lock(at: u64, len: usize) -> SysResult<()> {
    // SAFETY: promised by the caller.
    check(unsafe { imports::mlock(at, len) }).map(drop)
}

/// # Safety
/// The range must be a mapping of the caller's.
pub(crate) unsafe fn unlock(at: u64, len: usize) -> SysResult<()> {
    // SAFETY: promised by the caller.
    check(unsafe { imports::munlock(at, len) }).map(drop)
}

/// # Safety
/// The range must be a mapping of the caller's.
pub(crate) unsafe fn sync(at: u64, len: usize, flags: i32) -> SysResult<()> {
    // SAFETY: promised by the caller.
    check(unsafe { imports::msync(at, len, flags) }).map(drop)
}

/// pwrite(2) with a mapping as the buffer.
///
/// # Safety
/// As for [`write_from`].
pub(crate) unsafe fn pwrite_from(fd: i32, at: u64, len: usize, to: u64) -> SysResult<usize> {
    // SAFETY: promised by the caller.
    check(unsafe { imports::pwrite_from(fd, at, len, to) }).map(|n| n as usize)
}

/// read(2) with a mapping as the buffer.
///
/// # Safety
/// As for [`write_from`], without references into it.
pub(crate) unsafe fn read_into(fd: i32, at: u64, len: usize) -> SysResult<usize> {
    // SAFETY: promised by the caller.
    check(unsafe { imports::read_into(fd, at, len) }).map(|n| n as usize)
}

/// pread(2) with a mapping as the buffer.
///
/// # Safety
/// As for [`read_into`].
pub(crate) unsafe fn pread_into(fd: i32, at: u64, len: usize, from: u64) -> SysResult<usize> {
    // SAFETY: promised by the caller.
    check(unsafe { imports::pread_into(fd, at, len, from) }).map(|n| n as usize)
}

/// # Safety
/// As for [`load`], for both addresses.
pub(crate) unsafe fn futex_requeue(at: u64, to: u64, count: u32) -> SysResult<u32> {
    // SAFETY: promised by the caller.
    check(unsafe { imports::futex_requeue(at, to, count) }).map(|n| n as u32)
}

/// Registers a robust list with a single entry at `entry`, whose futex is `to_futex` bytes after it.
///
/// # Safety
/// A machine word at `entry` must be inside a mapping of the caller's, aligned, and not used otherwise.
pub(crate) unsafe fn robust_list(entry: u64, to_futex: usize) -> SysResult<()> {
    // SAFETY: promised by the caller.
    check(unsafe { imports::robust_list(entry, to_futex) }).map(drop)
}

/// vmsplice(2) of a single range.
///
/// # Safety
/// As for [`write_from`].
pub(crate) unsafe fn splice_to(fd: i32, at: u64, len: usize) -> SysResult<usize> {
    // SAFETY: promised by the caller.
    check(unsafe { imports::splice_to(fd, at, len) }).map(|n| n as usize)
}

pub(crate) fn tee(from: i32, to: i32, len: usize) -> SysResult<usize> {
    check(imports::tee(from, to, len)).map(|n| n as usize)
}

/// Returns the descriptor of a new io_uring instance with one registered buffer.
///
/// # Safety
/// `len` bytes from `at` must be inside a mapping of the caller's.
pub(crate) unsafe fn register_buffer(at: u64, len: usize) -> SysResult<i32> {
    // SAFETY: promised by the caller.
    check(unsafe { imports::register_buffer(at, len) }).map(|fd| fd as i32)
}

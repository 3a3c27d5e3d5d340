// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory by address. Callers vouch for the range; `crate::memory::Mapping` is the only one.

use std::sync::atomic::{AtomicU32, Ordering, fence as full_fence};
use std::time::Duration;

use super::{Answer, answer, last_errno, uninterrupted};
use crate::memory::{Prot, Sharing};

/// What the machine loads and stores in one step.
pub trait Scalar {}
impl Scalar for u8 {}
impl Scalar for u16 {}
impl Scalar for u32 {}
impl Scalar for u64 {}

/// Maps; `at` other than 0 is where, and whatever is there goes.
pub(crate) fn map(
    at: u64,
    len: usize,
    fd: Option<i32>,
    offset: u64,
    prot: Prot,
    sharing: Sharing,
) -> Answer<u64> {
    let place = if at == 0 { 0 } else { libc::MAP_FIXED };
    let kind = if fd.is_none() { libc::MAP_ANONYMOUS } else { 0 };
    // SAFETY: without an address the kernel takes free memory; with one the caller owns what is there.
    let mapped = unsafe {
        libc::mmap64(
            at as *mut _,
            len,
            prot.bits(),
            sharing.bits() | place | kind,
            fd.unwrap_or(-1),
            offset as i64,
        )
    };
    match mapped {
        libc::MAP_FAILED => Err(last_errno()),
        at => Ok(at as u64),
    }
}

/// # Safety
/// The range is the caller's own mapping, and nothing uses it any more.
pub(crate) unsafe fn unmap(at: u64, len: usize) -> Answer<()> {
    // SAFETY: the caller's promise.
    answer(unsafe { libc::munmap(at as *mut _, len) }).map(drop)
}

/// # Safety
/// The range is the caller's own mapping, and nothing points into it.
pub(crate) unsafe fn remap(at: u64, old: usize, new: usize) -> Answer<u64> {
    // SAFETY: the caller's promise.
    match unsafe { libc::mremap(at as *mut _, old, new, libc::MREMAP_MAYMOVE) } {
        libc::MAP_FAILED => Err(last_errno()),
        at => Ok(at as u64),
    }
}

/// # Safety
/// The range is the caller's own mapping, and nothing points into it.
pub(crate) unsafe fn protect(at: u64, len: usize, prot: Prot) -> Answer<()> {
    // SAFETY: the caller's promise.
    answer(unsafe { libc::mprotect(at as *mut _, len, prot.bits()) }).map(drop)
}

/// # Safety
/// `at` is aligned and inside a mapping of the caller's.
pub(crate) unsafe fn load<T: Copy + Scalar>(at: u64) -> T {
    // SAFETY: the caller's promise.
    unsafe { (at as *const T).read_volatile() }
}

/// # Safety
/// As for [`load`].
pub(crate) unsafe fn store<T: Copy + Scalar>(at: u64, value: T) {
    // SAFETY: the caller's promise.
    unsafe { (at as *mut T).write_volatile(value) }
}

/// # Safety
/// As for [`load`].
unsafe fn atomic<'a>(at: u64) -> &'a AtomicU32 {
    // SAFETY: the caller's promise; an atomic may be shared with whoever else maps it.
    unsafe { AtomicU32::from_ptr(at as *mut u32) }
}

/// # Safety
/// As for [`load`].
pub(crate) unsafe fn load_acquire(at: u64) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { atomic(at) }.load(Ordering::Acquire)
}

/// # Safety
/// As for [`load`].
pub(crate) unsafe fn store_release(at: u64, value: u32) {
    // SAFETY: the caller's promise.
    unsafe { atomic(at) }.store(value, Ordering::Release);
}

/// # Safety
/// As for [`load`].
pub(crate) unsafe fn fetch_add(at: u64, value: u32) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { atomic(at) }.fetch_add(value, Ordering::SeqCst)
}

pub(crate) fn fence() {
    full_fence(Ordering::SeqCst);
}

/// # Safety
/// `bytes.len()` bytes from `at` are inside a mapping of the caller's.
pub(crate) unsafe fn copy_in(at: u64, bytes: &[u8]) {
    // SAFETY: the caller's promise; a slice and a mapping never overlap.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at as *mut u8, bytes.len()) }
}

/// # Safety
/// As for [`copy_in`].
pub(crate) unsafe fn copy_out(at: u64, into: &mut [u8]) {
    // SAFETY: the caller's promise; a slice and a mapping never overlap.
    unsafe { std::ptr::copy_nonoverlapping(at as *const u8, into.as_mut_ptr(), into.len()) }
}

/// write(2) straight from a mapping.
///
/// # Safety
/// `len` bytes from `at` are inside a mapping of the caller's.
pub(crate) unsafe fn write_from(fd: i32, at: u64, len: usize) -> Answer<usize> {
    // SAFETY: the caller's promise.
    uninterrupted(|| unsafe { libc::write(fd, at as *const _, len) })
}

/// # Safety
/// As for [`load`].
pub(crate) unsafe fn futex_wait(at: u64, expected: u32, timeout: Duration) -> Answer<()> {
    let timeout = super::time::timespec(timeout);
    // SAFETY: the caller's promise; `timeout` outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex,
            at as *const u32,
            libc::FUTEX_WAIT,
            expected,
            &timeout,
        )
    };
    answer(result as i64).map(drop)
}

/// # Safety
/// As for [`load`].
pub(crate) unsafe fn futex_wake(at: u64, count: u32) -> Answer<u32> {
    // SAFETY: the caller's promise.
    let woken =
        unsafe { libc::syscall(libc::SYS_futex, at as *const u32, libc::FUTEX_WAKE, count) };
    answer(woken as i64).map(|n| n as u32)
}

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

/// # Safety
/// Both ranges are the caller's own mappings, and nothing points into them.
pub(crate) unsafe fn remap_to(at: u64, old: usize, new: usize, to: u64) -> Answer<()> {
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    // SAFETY: the caller's promise.
    match unsafe { libc::mremap(at as *mut _, old, new, flags, to as *mut libc::c_void) } {
        libc::MAP_FAILED => Err(last_errno()),
        _ => Ok(()),
    }
}

/// # Safety
/// The range is the caller's own mapping, and nothing points into it.
pub(crate) unsafe fn remap_leaving(at: u64, len: usize) -> Answer<u64> {
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_DONTUNMAP;
    let anywhere = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: the caller's promise.
    match unsafe { libc::mremap(at as *mut _, len, len, flags, anywhere) } {
        libc::MAP_FAILED => Err(last_errno()),
        at => Ok(at as u64),
    }
}

/// # Safety
/// The range is the caller's own mapping, and may lose what is in it.
pub(crate) unsafe fn advise(at: u64, len: usize, advice: i32) -> Answer<()> {
    // SAFETY: the caller's promise.
    answer(unsafe { libc::madvise(at as *mut _, len, advice) }).map(drop)
}

/// # Safety
/// The range is the caller's own mapping.
pub(crate) unsafe fn lock(at: u64, len: usize) -> Answer<()> {
    // SAFETY: the caller's promise.
    answer(unsafe { libc::mlock(at as *const _, len) }).map(drop)
}

/// # Safety
/// The range is the caller's own mapping.
pub(crate) unsafe fn unlock(at: u64, len: usize) -> Answer<()> {
    // SAFETY: the caller's promise.
    answer(unsafe { libc::munlock(at as *const _, len) }).map(drop)
}

/// # Safety
/// The range is the caller's own mapping.
pub(crate) unsafe fn sync(at: u64, len: usize, flags: i32) -> Answer<()> {
    // SAFETY: the caller's promise.
    answer(unsafe { libc::msync(at as *mut _, len, flags) }).map(drop)
}

/// pwrite(2) straight from a mapping.
///
/// # Safety
/// As for [`write_from`].
pub(crate) unsafe fn pwrite_from(fd: i32, at: u64, len: usize, to: u64) -> Answer<usize> {
    // SAFETY: the caller's promise.
    uninterrupted(|| unsafe { libc::pwrite64(fd, at as *const _, len, to as i64) })
}

/// read(2) straight to a mapping.
///
/// # Safety
/// As for [`write_from`], and nothing points into it.
pub(crate) unsafe fn read_into(fd: i32, at: u64, len: usize) -> Answer<usize> {
    // SAFETY: the caller's promise.
    uninterrupted(|| unsafe { libc::read(fd, at as *mut _, len) })
}

/// pread(2) straight to a mapping.
///
/// # Safety
/// As for [`read_into`].
pub(crate) unsafe fn pread_into(fd: i32, at: u64, len: usize, from: u64) -> Answer<usize> {
    // SAFETY: the caller's promise.
    uninterrupted(|| unsafe { libc::pread64(fd, at as *mut _, len, from as i64) })
}

/// # Safety
/// As for [`load`], of both.
pub(crate) unsafe fn futex_requeue(at: u64, to: u64, count: u32) -> Answer<u32> {
    let (at, to) = (at as *const u32, to as *const u32);
    // SAFETY: the caller's promise.
    let moved = unsafe {
        libc::syscall(
            libc::SYS_futex,
            at,
            libc::FUTEX_REQUEUE,
            0,
            count as usize,
            to,
        )
    };
    answer(moved as i64).map(|n| n as u32)
}

/// struct robust_list_head of include/uapi/linux/futex.h.
#[repr(C)]
struct RobustList {
    first: usize,
    to_futex: libc::c_long,
    pending: usize,
}

/// Sets this process's robust list, which has one entry at `entry` with its futex `to_futex` bytes behind it.
///
/// # Safety
/// A word at `entry` is inside a mapping of the caller's, aligned, and used by nobody else.
pub(crate) unsafe fn robust_list(entry: u64, to_futex: usize) -> Answer<()> {
    // Never freed: the kernel looks at it when the process ends.
    let list = Box::leak(Box::new(RobustList {
        first: entry as usize,
        to_futex: to_futex as libc::c_long,
        pending: 0,
    }));
    let list: *mut RobustList = list;
    // The list is a ring through its head.
    // SAFETY: the caller's promise.
    unsafe { (entry as *mut usize).write_volatile(list as usize) };
    // SAFETY: the list is as long as said and stays.
    let result = unsafe { libc::syscall(libc::SYS_set_robust_list, list, size_of::<RobustList>()) };
    answer(result as i64).map(drop)
}

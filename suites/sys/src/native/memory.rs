// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory by address. The only caller, `crate::memory::Mapping`, guarantees that ranges are valid.

use std::sync::atomic::{AtomicU32, Ordering, fence as full_fence};
use std::time::Duration;

use super::{SysResult, check, last_errno, retry_interrupted};
use crate::memory::{Prot, Sharing};

/// Type that the machine loads and stores in a single access.
pub trait Scalar {}
impl Scalar for u8 {}
impl Scalar for u16 {}
impl Scalar for u32 {}
impl Scalar for u64 {}

/// Maps memory. If `at` is not 0, the mapping replaces whatever is mapped there.
pub(crate) fn map(
    at: u64,
    len: usize,
    fd: Option<i32>,
    offset: u64,
    prot: Prot,
    sharing: Sharing,
) -> SysResult<u64> {
    let fixed = if at == 0 { 0 } else { libc::MAP_FIXED };
    let anonymous = if fd.is_none() { libc::MAP_ANONYMOUS } else { 0 };
    // SAFETY: without an address the kernel chooses free address space; with one, the caller owns the range.
    let mapped = unsafe {
        libc::mmap64(
            at as *mut _,
            len,
            prot.number(),
            sharing.number() | fixed | anonymous,
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
/// The range must be a mapping of the caller's, no longer in use.
pub(crate) unsafe fn unmap(at: u64, len: usize) -> SysResult<()> {
    // SAFETY: promised by the caller.
    check(unsafe { libc::munmap(at as *mut _, len) }).map(drop)
}

/// # Safety
/// The range must be a mapping of the caller's, without references into it.
pub(crate) unsafe fn remap(at: u64, old: usize, new: usize) -> SysResult<u64> {
    // SAFETY: promised by the caller.
    match unsafe { libc::mremap(at as *mut _, old, new, libc::MREMAP_MAYMOVE) } {
        libc::MAP_FAILED => Err(last_errno()),
        at => Ok(at as u64),
    }
}

/// # Safety
/// The range must be a mapping of the caller's, without references into it.
pub(crate) unsafe fn protect(at: u64, len: usize, prot: Prot) -> SysResult<()> {
    // SAFETY: promised by the caller.
    check(unsafe { libc::mprotect(at as *mut _, len, prot.number()) }).map(drop)
}

/// # Safety
/// `at` must be aligned and inside a mapping of the caller's.
pub(crate) unsafe fn load<T: Copy + Scalar>(at: u64) -> T {
    // SAFETY: promised by the caller.
    unsafe { (at as *const T).read_volatile() }
}

/// # Safety
/// As for [`load`].
pub(crate) unsafe fn store<T: Copy + Scalar>(at: u64, value: T) {
    // SAFETY: promised by the caller.
    unsafe { (at as *mut T).write_volatile(value) }
}

/// # Safety
/// As for [`load`].
unsafe fn atomic<'a>(at: u64) -> &'a AtomicU32 {
    // SAFETY: promised by the caller; an atomic can be shared with other processes.
    unsafe { AtomicU32::from_ptr(at as *mut u32) }
}

/// # Safety
/// As for [`load`].
pub(crate) unsafe fn load_acquire(at: u64) -> u32 {
    // SAFETY: promised by the caller.
    unsafe { atomic(at) }.load(Ordering::Acquire)
}

/// # Safety
/// As for [`load`].
pub(crate) unsafe fn store_release(at: u64, value: u32) {
    // SAFETY: promised by the caller.
    unsafe { atomic(at) }.store(value, Ordering::Release);
}

pub(crate) fn fence() {
    full_fence(Ordering::SeqCst);
}

/// # Safety
/// `bytes.len()` bytes from `at` must be inside a mapping of the caller's.
pub(crate) unsafe fn copy_in(at: u64, bytes: &[u8]) {
    // SAFETY: promised by the caller; a slice and a mapping never overlap.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at as *mut u8, bytes.len()) }
}

/// # Safety
/// As for [`copy_in`].
pub(crate) unsafe fn copy_out(at: u64, into: &mut [u8]) {
    // SAFETY: promised by the caller; a slice and a mapping never overlap.
    unsafe { std::ptr::copy_nonoverlapping(at as *const u8, into.as_mut_ptr(), into.len()) }
}

/// write(2) with a mapping as the buffer.
///
/// # Safety
/// `len` bytes from `at` must be inside a mapping of the caller's.
pub(crate) unsafe fn write_from(fd: i32, at: u64, len: usize) -> SysResult<usize> {
    // SAFETY: promised by the caller.
    retry_interrupted(|| unsafe { libc::write(fd, at as *const _, len) })
}

/// # Safety
/// As for [`load`].
pub(crate) unsafe fn futex_wait(at: u64, expected: u32, timeout: Duration) -> SysResult<()> {
    let timeout = super::time::timespec(timeout);
    // SAFETY: promised by the caller; `timeout` outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_futex, at as *const u32, libc::FUTEX_WAIT, expected, &timeout)
    };
    check(result as i64).map(drop)
}

/// # Safety
/// As for [`load`].
pub(crate) unsafe fn futex_wake(at: u64, count: u32) -> SysResult<u32> {
    // SAFETY: promised by the caller.
    let woken =
        unsafe { libc::syscall(libc::SYS_futex, at as *const u32, libc::FUTEX_WAKE, count) };
    check(woken as i64).map(|n| n as u32)
}

/// # Safety
/// Both ranges must be mappings of the caller's, without references into them.
pub(crate) unsafe fn remap_to(at: u64, old: usize, new: usize, to: u64) -> SysResult<()> {
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    // SAFETY: promised by the caller.
    match unsafe { libc::mremap(at as *mut _, old, new, flags, to as *mut libc::c_void) } {
        libc::MAP_FAILED => Err(last_errno()),
        _ => Ok(()),
    }
}

/// # Safety
/// The range must be a mapping of the caller's, without references into it.
pub(crate) unsafe fn remap_dontunmap(at: u64, len: usize) -> SysResult<u64> {
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_DONTUNMAP;
    let anywhere = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: promised by the caller.
    match unsafe { libc::mremap(at as *mut _, len, len, flags, anywhere) } {
        libc::MAP_FAILED => Err(last_errno()),
        at => Ok(at as u64),
    }
}

/// # Safety
/// The range must be a mapping of the caller's whose content may be lost.
pub(crate) unsafe fn advise(at: u64, len: usize, advice: i32) -> SysResult<()> {
    // SAFETY: promised by the caller.
    check(unsafe { libc::madvise(at as *mut _, len, advice) }).map(drop)
}

/// # Safety
/// The range must be a mapping of the caller's.
pub(crate) unsafe fn lock(at: u64, len: usize) -> SysResult<()> {
    // SAFETY: promised by the caller.
    check(unsafe { libc::mlock(at as *const _, len) }).map(drop)
}

/// # Safety
/// The range must be a mapping of the caller's.
pub(crate) unsafe fn unlock(at: u64, len: usize) -> SysResult<()> {
    // SAFETY: promised by the caller.
    check(unsafe { libc::munlock(at as *const _, len) }).map(drop)
}

/// # Safety
/// The range must be a mapping of the caller's.
pub(crate) unsafe fn sync(at: u64, len: usize, flags: i32) -> SysResult<()> {
    // SAFETY: promised by the caller.
    check(unsafe { libc::msync(at as *mut _, len, flags) }).map(drop)
}

/// pwrite(2) with a mapping as the buffer.
///
/// # Safety
/// As for [`write_from`].
pub(crate) unsafe fn pwrite_from(fd: i32, at: u64, len: usize, to: u64) -> SysResult<usize> {
    // SAFETY: promised by the caller.
    retry_interrupted(|| unsafe { libc::pwrite64(fd, at as *const _, len, to as i64) })
}

/// read(2) with a mapping as the buffer.
///
/// # Safety
/// As for [`write_from`], without references into it.
pub(crate) unsafe fn read_into(fd: i32, at: u64, len: usize) -> SysResult<usize> {
    // SAFETY: promised by the caller.
    retry_interrupted(|| unsafe { libc::read(fd, at as *mut _, len) })
}

/// pread(2) with a mapping as the buffer.
///
/// # Safety
/// As for [`read_into`].
pub(crate) unsafe fn pread_into(fd: i32, at: u64, len: usize, from: u64) -> SysResult<usize> {
    // SAFETY: promised by the caller.
    retry_interrupted(|| unsafe { libc::pread64(fd, at as *mut _, len, from as i64) })
}

/// # Safety
/// As for [`load`], for both addresses.
pub(crate) unsafe fn futex_requeue(at: u64, to: u64, count: u32) -> SysResult<u32> {
    let (at, to) = (at as *const u32, to as *const u32);
    // SAFETY: promised by the caller.
    let moved =
        unsafe { libc::syscall(libc::SYS_futex, at, libc::FUTEX_REQUEUE, 0, count as usize, to) };
    check(moved as i64).map(|n| n as u32)
}

/// `struct robust_list_head` of include/uapi/linux/futex.h.
#[repr(C)]
struct RobustList {
    first: usize,
    to_futex: libc::c_long,
    pending: usize,
}

/// Registers a robust list with a single entry at `entry`, whose futex is `to_futex` bytes after it.
///
/// # Safety
/// A machine word at `entry` must be inside a mapping of the caller's, aligned, and not used otherwise.
pub(crate) unsafe fn robust_list(entry: u64, to_futex: usize) -> SysResult<()> {
    // Never freed, because the kernel reads the list when the process ends.
    let list = Box::leak(Box::new(RobustList {
        first: entry as usize,
        to_futex: to_futex as libc::c_long,
        pending: 0,
    }));
    let list: *mut RobustList = list;
    // The list is circular: its last entry points to its head.
    // SAFETY: promised by the caller.
    unsafe { (entry as *mut usize).write_volatile(list as usize) };
    // SAFETY: the length is that of the list head, which is never freed.
    let result = unsafe { libc::syscall(libc::SYS_set_robust_list, list, size_of::<RobustList>()) };
    check(result as i64).map(drop)
}

/// vmsplice(2) of a single range.
///
/// # Safety
/// As for [`write_from`].
pub(crate) unsafe fn splice_to(fd: i32, at: u64, len: usize) -> SysResult<usize> {
    let range = libc::iovec { iov_base: at as *mut _, iov_len: len };
    // SAFETY: promised by the caller; the iovec outlives the call.
    retry_interrupted(|| unsafe { libc::vmsplice(fd, &range, 1, libc::SPLICE_F_NONBLOCK) })
}

pub(crate) fn tee(from: i32, to: i32, len: usize) -> SysResult<usize> {
    // SAFETY: no memory is passed.
    retry_interrupted(|| unsafe { libc::tee(from, to, len, libc::SPLICE_F_NONBLOCK) })
}

/// Size of `struct io_uring_params` of include/uapi/linux/io_uring.h, in 8-byte words.
const RING_PARAMS: usize = 15;

/// `IORING_REGISTER_BUFFERS` of include/uapi/linux/io_uring.h.
const REGISTER_BUFFERS: libc::c_uint = 0;

/// Returns the descriptor of a new io_uring instance with one registered buffer.
///
/// # Safety
/// `len` bytes from `at` must be inside a mapping of the caller's.
pub(crate) unsafe fn register_buffer(at: u64, len: usize) -> SysResult<i32> {
    let mut params = [0u64; RING_PARAMS];
    // SAFETY: `params` has the size of the kernel's struct and outlives the call.
    let ring =
        check(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, params.as_mut_ptr()) } as i64)?;
    let ring = ring as i32;
    let range = libc::iovec { iov_base: at as *mut _, iov_len: len };
    // SAFETY: promised by the caller; the iovec outlives the call.
    let registered = check(unsafe {
        libc::syscall(libc::SYS_io_uring_register, ring, REGISTER_BUFFERS, &range, 1)
    } as i64);
    match registered {
        Ok(_) => Ok(ring),
        Err(errno) => {
            super::file::close(ring);
            Err(errno)
        }
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory by address of the machine. Callers vouch for the range; `crate::memory::Mapping` is the only one.
//!
//! An access that the kernel cannot satisfy ends the process with its signal, in the runtime as anywhere else.

use std::time::Duration;

use super::{Answer, answer, imports};
use crate::memory::{Prot, Sharing};

/// What the machine loads and stores in one step.
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
                // SAFETY: the caller's promise.
                unsafe { imports::$load(at) as $number }
            }

            unsafe fn store(at: u64, value: Self) {
                // SAFETY: the caller's promise.
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

/// Maps; `at` other than 0 is where, and whatever is there goes.
pub(crate) fn map(
    at: u64,
    len: usize,
    fd: Option<i32>,
    offset: u64,
    prot: Prot,
    sharing: Sharing,
) -> Answer<u64> {
    let (prot, sharing, fd) = (prot.bits(), sharing.bits(), fd.unwrap_or(-1));
    // SAFETY: without an address the kernel takes free memory; with one the caller owns what is there.
    answer(unsafe { imports::map(at, len, prot, sharing, fd, offset) }).map(|at| at as u64)
}

/// # Safety
/// The range is the caller's own mapping, and nothing uses it any more.
pub(crate) unsafe fn unmap(at: u64, len: usize) -> Answer<()> {
    // SAFETY: the caller's promise.
    answer(unsafe { imports::unmap(at, len) }).map(drop)
}

/// # Safety
/// The range is the caller's own mapping, and nothing points into it.
pub(crate) unsafe fn remap(at: u64, old: usize, new: usize) -> Answer<u64> {
    // SAFETY: the caller's promise.
    answer(unsafe { imports::remap(at, old, new) }).map(|at| at as u64)
}

/// # Safety
/// The range is the caller's own mapping, and nothing points into it.
pub(crate) unsafe fn protect(at: u64, len: usize, prot: Prot) -> Answer<()> {
    // SAFETY: the caller's promise.
    answer(unsafe { imports::protect(at, len, prot.bits()) }).map(drop)
}

/// # Safety
/// `at` is aligned and inside a mapping of the caller's.
pub(crate) unsafe fn load<T: Scalar>(at: u64) -> T {
    // SAFETY: the caller's promise.
    unsafe { T::load(at) }
}

/// # Safety
/// As for [`load`].
pub(crate) unsafe fn store<T: Scalar>(at: u64, value: T) {
    // SAFETY: the caller's promise.
    unsafe { T::store(at, value) }
}

/// # Safety
/// As for [`load`].
pub(crate) unsafe fn load_acquire(at: u64) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { imports::load_acquire(at) }
}

/// # Safety
/// As for [`load`].
pub(crate) unsafe fn store_release(at: u64, value: u32) {
    // SAFETY: the caller's promise.
    unsafe { imports::store_release(at, value) }
}

/// # Safety
/// As for [`load`].
pub(crate) unsafe fn fetch_add(at: u64, value: u32) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { imports::fetch_add(at, value) }
}

pub(crate) fn fence() {
    imports::fence();
}

/// # Safety
/// `bytes.len()` bytes from `at` are inside a mapping of the caller's.
pub(crate) unsafe fn copy_in(at: u64, bytes: &[u8]) {
    // SAFETY: the caller's promise; a slice and a mapping never overlap.
    unsafe { imports::copy_in(at, bytes.as_ptr(), bytes.len()) }
}

/// # Safety
/// As for [`copy_in`].
pub(crate) unsafe fn copy_out(at: u64, into: &mut [u8]) {
    // SAFETY: the caller's promise; a slice and a mapping never overlap.
    unsafe { imports::copy_out(at, into.as_mut_ptr(), into.len()) }
}

/// write(2) straight from a mapping.
///
/// # Safety
/// `len` bytes from `at` are inside a mapping of the caller's.
pub(crate) unsafe fn write_from(fd: i32, at: u64, len: usize) -> Answer<usize> {
    // SAFETY: the caller's promise.
    answer(unsafe { imports::write_from(fd, at, len) }).map(|n| n as usize)
}

/// # Safety
/// As for [`load`].
pub(crate) unsafe fn futex_wait(at: u64, expected: u32, timeout: Duration) -> Answer<()> {
    let nanos = timeout.as_nanos() as u64;
    // SAFETY: the caller's promise.
    answer(unsafe { imports::futex_wait(at, expected, nanos) }).map(drop)
}

/// # Safety
/// As for [`load`].
pub(crate) unsafe fn futex_wake(at: u64, count: u32) -> Answer<u32> {
    // SAFETY: the caller's promise.
    answer(unsafe { imports::futex_wake(at, count) }).map(|n| n as u32)
}

/// # Safety
/// Both ranges are the caller's own mappings, and nothing points into them.
pub(crate) unsafe fn remap_to(at: u64, old: usize, new: usize, to: u64) -> Answer<()> {
    // SAFETY: the caller's promise.
    answer(unsafe { imports::remap_to(at, old, new, to) }).map(drop)
}

/// # Safety
/// The range is the caller's own mapping, and nothing points into it.
pub(crate) unsafe fn remap_leaving(at: u64, len: usize) -> Answer<u64> {
    // SAFETY: the caller's promise.
    answer(unsafe { imports::remap_leaving(at, len) }).map(|at| at as u64)
}

/// # Safety
/// The range is the caller's own mapping, and may lose what is in it.
pub(crate) unsafe fn advise(at: u64, len: usize, advice: i32) -> Answer<()> {
    // SAFETY: the caller's promise.
    answer(unsafe { imports::advise(at, len, advice) }).map(drop)
}

/// # Safety
/// The range is the caller's own mapping.
pub(crate) unsafe fn lock(at: u64, len: usize) -> Answer<()> {
    // SAFETY: the caller's promise.
    answer(unsafe { imports::mlock(at, len) }).map(drop)
}

/// # Safety
/// The range is the caller's own mapping.
pub(crate) unsafe fn unlock(at: u64, len: usize) -> Answer<()> {
    // SAFETY: the caller's promise.
    answer(unsafe { imports::munlock(at, len) }).map(drop)
}

/// # Safety
/// The range is the caller's own mapping.
pub(crate) unsafe fn sync(at: u64, len: usize, flags: i32) -> Answer<()> {
    // SAFETY: the caller's promise.
    answer(unsafe { imports::msync(at, len, flags) }).map(drop)
}

/// pwrite(2) straight from a mapping.
///
/// # Safety
/// As for [`write_from`].
pub(crate) unsafe fn pwrite_from(fd: i32, at: u64, len: usize, to: u64) -> Answer<usize> {
    // SAFETY: the caller's promise.
    answer(unsafe { imports::pwrite_from(fd, at, len, to) }).map(|n| n as usize)
}

/// read(2) straight to a mapping.
///
/// # Safety
/// As for [`write_from`], and nothing points into it.
pub(crate) unsafe fn read_into(fd: i32, at: u64, len: usize) -> Answer<usize> {
    // SAFETY: the caller's promise.
    answer(unsafe { imports::read_into(fd, at, len) }).map(|n| n as usize)
}

/// pread(2) straight to a mapping.
///
/// # Safety
/// As for [`read_into`].
pub(crate) unsafe fn pread_into(fd: i32, at: u64, len: usize, from: u64) -> Answer<usize> {
    // SAFETY: the caller's promise.
    answer(unsafe { imports::pread_into(fd, at, len, from) }).map(|n| n as usize)
}

/// # Safety
/// As for [`load`], of both.
pub(crate) unsafe fn futex_requeue(at: u64, to: u64, count: u32) -> Answer<u32> {
    // SAFETY: the caller's promise.
    answer(unsafe { imports::futex_requeue(at, to, count) }).map(|n| n as u32)
}

/// Sets this process's robust list, which has one entry at `entry` with its futex `to_futex` bytes behind it.
///
/// # Safety
/// A word at `entry` is inside a mapping of the caller's, aligned, and used by nobody else.
pub(crate) unsafe fn robust_list(entry: u64, to_futex: usize) -> Answer<()> {
    // SAFETY: the caller's promise.
    answer(unsafe { imports::robust_list(entry, to_futex) }).map(drop)
}

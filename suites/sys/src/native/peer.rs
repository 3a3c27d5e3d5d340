// SPDX-License-Identifier: MIT OR Apache-2.0
//! Access to the memory of another process.

use super::{SysResult, check, retry_interrupted};
use crate::errno::Errno;

fn range(at: *const u8, len: usize) -> libc::iovec {
    libc::iovec { iov_base: at as *mut _, iov_len: len }
}

pub(crate) fn read_memory(pid: i32, at: u64, into: &mut [u8]) -> SysResult<usize> {
    let local = range(into.as_mut_ptr(), into.len());
    let remote = range(at as *const u8, into.len());
    // SAFETY: `local` is the slice; `remote` is in another process, and only the kernel accesses it.
    retry_interrupted(|| unsafe { libc::process_vm_readv(pid, &local, 1, &remote, 1, 0) })
}

pub(crate) fn write_memory(pid: i32, at: u64, bytes: &[u8]) -> SysResult<usize> {
    let local = range(bytes.as_ptr(), bytes.len());
    let remote = range(at as *const u8, bytes.len());
    // SAFETY: `local` is the slice, which is only read; `remote` is in another process.
    retry_interrupted(|| unsafe { libc::process_vm_writev(pid, &local, 1, &remote, 1, 0) })
}

// The libc crate lacks PTRACE_DETACH for sparc64, where 17 is a different request
// (arch/sparc/include/uapi/asm/ptrace.h).
#[cfg(target_arch = "sparc64")]
const DETACH: libc::c_uint = 11;
#[cfg(not(target_arch = "sparc64"))]
const DETACH: libc::c_uint = 17;

/// Calls ptrace through syscall(2). glibc's ptrace(3) returns a peeked word as its result, so that -1 is ambiguous.
fn ptrace(request: libc::c_uint, pid: i32, at: u64, data: usize) -> SysResult<()> {
    // SAFETY: if `data` is an address, it is that of a word of the caller's.
    let result = unsafe { libc::syscall(libc::SYS_ptrace, request, pid, at as usize, data) };
    check(result as i64).map(drop)
}

pub(crate) fn attach(pid: i32) -> SysResult<()> {
    ptrace(libc::PTRACE_ATTACH, pid, 0, 0)?;
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    retry_interrupted(|| unsafe { libc::waitpid(pid, &mut status, 0) as isize })?;
    if libc::WIFSTOPPED(status) { Ok(()) } else { Err(Errno::ESRCH) }
}

pub(crate) fn detach(pid: i32) -> SysResult<()> {
    ptrace(DETACH, pid, 0, 0)
}

pub(crate) fn word_size() -> usize {
    size_of::<libc::c_long>()
}

/// `into` must be one machine word.
pub(crate) fn peek(pid: i32, at: u64, into: &mut [u8]) -> SysResult<()> {
    let mut word: libc::c_long = 0;
    let place: *mut libc::c_long = &mut word;
    ptrace(libc::PTRACE_PEEKDATA, pid, at, place as usize)?;
    into.copy_from_slice(&word.to_ne_bytes());
    Ok(())
}

/// `bytes` must be one machine word.
pub(crate) fn poke(pid: i32, at: u64, bytes: &[u8]) -> SysResult<()> {
    let word: [u8; size_of::<libc::c_long>()] = bytes.try_into().expect("one machine word");
    let word = libc::c_long::from_ne_bytes(word);
    ptrace(libc::PTRACE_POKEDATA, pid, at, word as usize)
}

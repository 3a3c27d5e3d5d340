// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory of another process.

use super::{Answer, answer, uninterrupted};
use crate::errno::Errno;

fn range(at: *const u8, len: usize) -> libc::iovec {
    libc::iovec {
        iov_base: at as *mut _,
        iov_len: len,
    }
}

pub(crate) fn read_memory(pid: i32, at: u64, into: &mut [u8]) -> Answer<usize> {
    let here = range(into.as_mut_ptr(), into.len());
    let there = range(at as *const u8, into.len());
    // SAFETY: `here` is the slice; the kernel alone looks at `there`, which is in another process.
    uninterrupted(|| unsafe { libc::process_vm_readv(pid, &here, 1, &there, 1, 0) })
}

pub(crate) fn write_memory(pid: i32, at: u64, bytes: &[u8]) -> Answer<usize> {
    let here = range(bytes.as_ptr(), bytes.len());
    let there = range(at as *const u8, bytes.len());
    // SAFETY: `here` is the slice, and only read; `there` is in another process.
    uninterrupted(|| unsafe { libc::process_vm_writev(pid, &here, 1, &there, 1, 0) })
}

// By syscall(2): glibc's ptrace(3) gives what it peeks as its result, where an error cannot be told from -1.

// 17 is another request there (arch/sparc/include/uapi/asm/ptrace.h), and the libc crate does not know.
#[cfg(target_arch = "sparc64")]
const DETACH: libc::c_uint = 11;
#[cfg(not(target_arch = "sparc64"))]
const DETACH: libc::c_uint = 17;

fn ptrace(request: libc::c_uint, pid: i32, at: u64, data: usize) -> Answer<()> {
    // SAFETY: where `data` is an address, the callers below pass that of a word of theirs.
    let result = unsafe { libc::syscall(libc::SYS_ptrace, request, pid, at as usize, data) };
    answer(result as i64).map(drop)
}

pub(crate) fn attach(pid: i32) -> Answer<()> {
    ptrace(libc::PTRACE_ATTACH, pid, 0, 0)?;
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    uninterrupted(|| unsafe { libc::waitpid(pid, &mut status, 0) as isize })?;
    match libc::WIFSTOPPED(status) {
        true => Ok(()),
        false => Err(Errno::ESRCH),
    }
}

pub(crate) fn detach(pid: i32) -> Answer<()> {
    ptrace(DETACH, pid, 0, 0)
}

pub(crate) fn word() -> usize {
    size_of::<libc::c_long>()
}

/// `into` is one word.
pub(crate) fn peek(pid: i32, at: u64, into: &mut [u8]) -> Answer<()> {
    let mut found: libc::c_long = 0;
    let here: *mut libc::c_long = &mut found;
    ptrace(libc::PTRACE_PEEKDATA, pid, at, here as usize)?;
    into.copy_from_slice(&found.to_ne_bytes());
    Ok(())
}

/// `bytes` are one word.
pub(crate) fn poke(pid: i32, at: u64, bytes: &[u8]) -> Answer<()> {
    let word: [u8; size_of::<libc::c_long>()] = bytes.try_into().expect("one word");
    let word = libc::c_long::from_ne_bytes(word);
    ptrace(libc::PTRACE_POKEDATA, pid, at, word as usize)
}

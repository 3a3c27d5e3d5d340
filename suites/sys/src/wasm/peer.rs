// SPDX-License-Identifier: MIT OR Apache-2.0
//! Access to the memory of another process.

use super::{SysResult, check, imports};

pub(crate) fn read_memory(pid: i32, at: u64, into: &mut [u8]) -> SysResult<usize> {
    let (bytes, room) = (into.as_mut_ptr(), into.len());
    // SAFETY: pointer and length are those of the slice.
    check(unsafe { imports::read_memory(pid, at, bytes, room) }).map(|n| n as usize)
}

pub(crate) fn write_memory(pid: i32, at: u64, bytes: &[u8]) -> SysResult<usize> {
    let (bytes, len) = (bytes.as_ptr(), bytes.len());
    // SAFETY: pointer and length are those of the slice.
    check(unsafe { imports::write_memory(pid, at, bytes, len) }).map(|n| n as usize)
}

pub(crate) fn attach(pid: i32) -> SysResult<()> {
    check(imports::attach(pid)).map(drop)
}

pub(crate) fn detach(pid: i32) -> SysResult<()> {
    check(imports::detach(pid)).map(drop)
}

pub(crate) fn word_size() -> usize {
    imports::word_size()
}

/// `into` must be one machine word.
pub(crate) fn peek(pid: i32, at: u64, into: &mut [u8]) -> SysResult<()> {
    assert_eq!(into.len(), word_size(), "one machine word");
    // SAFETY: the slice is as long as the word that is written to it.
    check(unsafe { imports::peek(pid, at, into.as_mut_ptr()) }).map(drop)
}

/// `bytes` must be one machine word.
pub(crate) fn poke(pid: i32, at: u64, bytes: &[u8]) -> SysResult<()> {
    assert_eq!(bytes.len(), word_size(), "one machine word");
    // SAFETY: the slice is as long as the word that is read from it.
    check(unsafe { imports::poke(pid, at, bytes.as_ptr()) }).map(drop)
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory of another process.

use super::{Answer, answer, imports};

pub(crate) fn read_memory(pid: i32, at: u64, into: &mut [u8]) -> Answer<usize> {
    let (bytes, room) = (into.as_mut_ptr(), into.len());
    // SAFETY: pointer and length are those of the slice.
    answer(unsafe { imports::read_memory(pid, at, bytes, room) }).map(|n| n as usize)
}

pub(crate) fn write_memory(pid: i32, at: u64, bytes: &[u8]) -> Answer<usize> {
    let (bytes, len) = (bytes.as_ptr(), bytes.len());
    // SAFETY: pointer and length are those of the slice.
    answer(unsafe { imports::write_memory(pid, at, bytes, len) }).map(|n| n as usize)
}

pub(crate) fn attach(pid: i32) -> Answer<()> {
    answer(imports::attach(pid)).map(drop)
}

pub(crate) fn detach(pid: i32) -> Answer<()> {
    answer(imports::detach(pid)).map(drop)
}

pub(crate) fn word() -> usize {
    imports::word()
}

/// `into` is one word.
pub(crate) fn peek(pid: i32, at: u64, into: &mut [u8]) -> Answer<()> {
    assert_eq!(into.len(), word(), "one word");
    // SAFETY: the slice is as long as the word that is written to it.
    answer(unsafe { imports::peek(pid, at, into.as_mut_ptr()) }).map(drop)
}

/// `bytes` are one word.
pub(crate) fn poke(pid: i32, at: u64, bytes: &[u8]) -> Answer<()> {
    assert_eq!(bytes.len(), word(), "one word");
    // SAFETY: the slice is as long as the word that is read from it.
    answer(unsafe { imports::poke(pid, at, bytes.as_ptr()) }).map(drop)
}

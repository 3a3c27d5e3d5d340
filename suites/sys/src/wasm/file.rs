// SPDX-License-Identifier: MIT OR Apache-2.0
//! File descriptors.

use super::{SysResult, c_string, check, imports};
use crate::errno::Errno;
use crate::file::{OpenFlags, Ready};

pub(crate) fn open(path: &str, flags: OpenFlags) -> SysResult<i32> {
    let path = c_string(path)?;
    // SAFETY: `path` ends in a NUL and outlives the call.
    check(unsafe { imports::open(path.as_ptr(), flags.number(), 0o600) }).map(|fd| fd as i32)
}

pub(crate) fn close(fd: i32) {
    imports::close(fd);
}

pub(crate) fn read(fd: i32, into: &mut [u8]) -> SysResult<usize> {
    // SAFETY: pointer and length are those of the slice.
    check(unsafe { imports::read(fd, into.as_mut_ptr(), into.len()) }).map(|n| n as usize)
}

pub(crate) fn pread(fd: i32, into: &mut [u8], offset: u64) -> SysResult<usize> {
    // SAFETY: pointer and length are those of the slice.
    check(unsafe { imports::pread(fd, into.as_mut_ptr(), into.len(), offset) }).map(|n| n as usize)
}

pub(crate) fn write(fd: i32, bytes: &[u8]) -> SysResult<usize> {
    // SAFETY: pointer and length are those of the slice.
    check(unsafe { imports::write(fd, bytes.as_ptr(), bytes.len()) }).map(|n| n as usize)
}

pub(crate) fn pwrite(fd: i32, bytes: &[u8], offset: u64) -> SysResult<usize> {
    // SAFETY: pointer and length are those of the slice.
    check(unsafe { imports::pwrite(fd, bytes.as_ptr(), bytes.len(), offset) }).map(|n| n as usize)
}

pub(crate) fn fsync(fd: i32) -> SysResult<()> {
    check(imports::fsync(fd)).map(drop)
}

pub(crate) fn ftruncate(fd: i32, size: u64) -> SysResult<()> {
    check(imports::ftruncate(fd, size)).map(drop)
}

pub(crate) fn pipe() -> SysResult<(i32, i32)> {
    check(imports::pipe()).map(|ends| ((ends >> 32) as i32, ends as i32))
}

pub(crate) fn poll(fds: &[i32], millis: i32, ready: &mut [Ready]) -> SysResult<()> {
    let mut found = vec![0; fds.len()];
    // SAFETY: both lists have the length given and outlive the call.
    match check(unsafe { imports::poll(fds.as_ptr(), fds.len(), millis, found.as_mut_ptr()) }) {
        Err(Errno::EINTR) => return Ok(()),
        other => other?,
    };
    for (ready, found) in ready.iter_mut().zip(found) {
        ready.readable = found & 1 != 0;
        ready.hung_up = found & 2 != 0;
    }
    Ok(())
}

pub(crate) fn make_raw(fd: i32) -> SysResult<()> {
    check(imports::make_raw(fd)).map(drop)
}

pub(crate) fn drain(fd: i32) -> SysResult<()> {
    check(imports::drain(fd)).map(drop)
}

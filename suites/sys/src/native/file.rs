// SPDX-License-Identifier: MIT OR Apache-2.0
//! File descriptors.

use super::{SysResult, c_string, check, retry_interrupted};
use crate::errno::Errno;
use crate::file::{OpenFlags, Ready};

pub(crate) fn open(path: &str, flags: OpenFlags) -> SysResult<i32> {
    let path = c_string(path)?;
    // SAFETY: `path` ends in a NUL and outlives the call.
    retry_interrupted(|| unsafe { libc::open64(path.as_ptr(), flags.number(), 0o600) as isize })
        .map(|fd| fd as i32)
}

pub(crate) fn close(fd: i32) {
    // SAFETY: the caller owns the descriptor and drops it now.
    unsafe { libc::close(fd) };
}

pub(crate) fn read(fd: i32, into: &mut [u8]) -> SysResult<usize> {
    // SAFETY: pointer and length are those of the slice.
    retry_interrupted(|| unsafe { libc::read(fd, into.as_mut_ptr().cast(), into.len()) })
}

pub(crate) fn pread(fd: i32, into: &mut [u8], offset: u64) -> SysResult<usize> {
    // SAFETY: pointer and length are those of the slice.
    retry_interrupted(|| unsafe {
        libc::pread64(fd, into.as_mut_ptr().cast(), into.len(), offset as i64)
    })
}

pub(crate) fn write(fd: i32, bytes: &[u8]) -> SysResult<usize> {
    // SAFETY: pointer and length are those of the slice.
    retry_interrupted(|| unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) })
}

pub(crate) fn pwrite(fd: i32, bytes: &[u8], offset: u64) -> SysResult<usize> {
    // SAFETY: pointer and length are those of the slice.
    retry_interrupted(|| unsafe {
        libc::pwrite64(fd, bytes.as_ptr().cast(), bytes.len(), offset as i64)
    })
}

pub(crate) fn fsync(fd: i32) -> SysResult<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::fsync(fd) }).map(drop)
}

pub(crate) fn ftruncate(fd: i32, size: u64) -> SysResult<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::ftruncate64(fd, size as i64) }).map(drop)
}

pub(crate) fn pipe() -> SysResult<(i32, i32)> {
    let mut ends = [0; 2];
    // SAFETY: the array has room for the two descriptors.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    Ok((ends[0], ends[1]))
}

pub(crate) fn poll(fds: &[i32], millis: i32, ready: &mut [Ready]) -> SysResult<()> {
    let mut pollfds: Vec<libc::pollfd> =
        fds.iter().map(|&fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
    // SAFETY: pointer and length are those of the vector.
    match check(unsafe { libc::poll(pollfds.as_mut_ptr(), pollfds.len() as libc::nfds_t, millis) })
    {
        Err(Errno::EINTR) => return Ok(()),
        other => other?,
    };
    for (ready, pollfd) in ready.iter_mut().zip(&pollfds) {
        ready.readable = pollfd.revents & libc::POLLIN != 0;
        ready.hung_up = pollfd.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0;
    }
    Ok(())
}

pub(crate) fn make_raw(fd: i32) -> SysResult<()> {
    // SAFETY: an all-zero termios is valid, and the kernel fills it in before it is used.
    let mut mode: libc::termios = unsafe { std::mem::zeroed() };
    // Uses ioctl(2) directly. The libc crate binds cfsetspeed, and on sparc64 also tcgetattr and tcsetattr, to
    // versioned symbols, which a static program cannot link. The kernel's struct is the start of libc's struct.
    // SAFETY: `mode` outlives each call.
    unsafe {
        check(libc::ioctl(fd, libc::TCGETS, &mut mode))?;
        libc::cfmakeraw(&mut mode);
        mode.c_cflag = mode.c_cflag & !libc::CBAUD | libc::B115200;
        check(libc::ioctl(fd, libc::TCSETS, &mode)).map(drop)
    }
}

pub(crate) fn drain(fd: i32) -> SysResult<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::tcdrain(fd) }).map(drop)
}

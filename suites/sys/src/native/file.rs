// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors.

use super::{Answer, answer, c_text, uninterrupted};
use crate::errno::Errno;
use crate::file::{OpenFlags, Ready};

pub(crate) fn open(path: &str, flags: OpenFlags) -> Answer<i32> {
    let path = c_text(path)?;
    // SAFETY: `path` ends in a NUL and outlives the call.
    uninterrupted(|| unsafe { libc::open64(path.as_ptr(), flags.bits(), 0o600) as isize })
        .map(|fd| fd as i32)
}

pub(crate) fn close(fd: i32) {
    // SAFETY: the caller owns the descriptor and drops it now.
    unsafe { libc::close(fd) };
}

pub(crate) fn read(fd: i32, into: &mut [u8]) -> Answer<usize> {
    // SAFETY: pointer and length are those of the slice.
    uninterrupted(|| unsafe { libc::read(fd, into.as_mut_ptr().cast(), into.len()) })
}

pub(crate) fn pread(fd: i32, into: &mut [u8], offset: u64) -> Answer<usize> {
    // SAFETY: pointer and length are those of the slice.
    uninterrupted(|| unsafe {
        libc::pread64(fd, into.as_mut_ptr().cast(), into.len(), offset as i64)
    })
}

pub(crate) fn write(fd: i32, bytes: &[u8]) -> Answer<usize> {
    // SAFETY: pointer and length are those of the slice.
    uninterrupted(|| unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) })
}

pub(crate) fn pwrite(fd: i32, bytes: &[u8], offset: u64) -> Answer<usize> {
    // SAFETY: pointer and length are those of the slice.
    uninterrupted(|| unsafe {
        libc::pwrite64(fd, bytes.as_ptr().cast(), bytes.len(), offset as i64)
    })
}

pub(crate) fn fsync(fd: i32) -> Answer<()> {
    // SAFETY: no memory is passed.
    answer(unsafe { libc::fsync(fd) }).map(drop)
}

pub(crate) fn ftruncate(fd: i32, size: u64) -> Answer<()> {
    // SAFETY: no memory is passed.
    answer(unsafe { libc::ftruncate64(fd, size as i64) }).map(drop)
}

pub(crate) fn pipe() -> Answer<(i32, i32)> {
    let mut ends = [0; 2];
    // SAFETY: the array has room for the two descriptors.
    answer(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    Ok((ends[0], ends[1]))
}

pub(crate) fn poll(fds: &[i32], millis: i32, ready: &mut [Ready]) -> Answer<()> {
    let mut asked: Vec<libc::pollfd> = fds
        .iter()
        .map(|&fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    // SAFETY: pointer and length are those of the vector.
    match answer(unsafe { libc::poll(asked.as_mut_ptr(), asked.len() as libc::nfds_t, millis) }) {
        Err(Errno::EINTR) => return Ok(()),
        other => other?,
    };
    for (ready, asked) in ready.iter_mut().zip(&asked) {
        ready.readable = asked.revents & libc::POLLIN != 0;
        ready.hung_up = asked.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0;
    }
    Ok(())
}

pub(crate) fn make_raw(fd: i32) -> Answer<()> {
    // SAFETY: an all-zero termios is valid and is filled in before it is used.
    let mut mode: libc::termios = unsafe { std::mem::zeroed() };
    // By ioctl(2) and by hand: some of libc's functions for this have a version in the libc crate, cfsetspeed always and
    // tcgetattr and tcsetattr on sparc64, and a static program cannot link those. What the kernel fills in is the start
    // of libc's struct.
    // SAFETY: `mode` outlives each call.
    unsafe {
        answer(libc::ioctl(fd, libc::TCGETS, &mut mode))?;
        libc::cfmakeraw(&mut mode);
        mode.c_cflag = mode.c_cflag & !libc::CBAUD | libc::B115200;
        answer(libc::ioctl(fd, libc::TCSETS, &mode)).map(drop)
    }
}

pub(crate) fn drain(fd: i32) -> Answer<()> {
    // SAFETY: no memory is passed.
    answer(unsafe { libc::tcdrain(fd) }).map(drop)
}

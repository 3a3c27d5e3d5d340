// SPDX-License-Identifier: MIT OR Apache-2.0
//! The backend for machines that rustc knows: Linux through libc, and std where it offers the same without `unsafe`.
//!
//! Only scalars, slices and the interface's own plain types come in and go out; errors are bare numbers, to which the
//! interface puts words.

pub(crate) mod file;
pub(crate) mod fs;
pub(crate) mod machine;
pub(crate) mod memory;
pub(crate) mod oracle;
pub(crate) mod peer;
pub(crate) mod process;
pub(crate) mod time;

use std::ffi::CString;

use crate::errno::Errno;

/// The value that C gives to the name.
macro_rules! number {
    ($name:ident) => {
        libc::$name
    };
}
pub(crate) use number;

/// The answer of a system call: its value, or the number in `errno`.
type Answer<T> = Result<T, Errno>;

/// The error of the call that just failed.
fn last_errno() -> Errno {
    of_io(&std::io::Error::last_os_error())
}

/// The number in an error of std.
fn of_io(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// -1 is an error, anything else the value.
fn answer(value: impl Into<i64>) -> Answer<i64> {
    match value.into() {
        -1 => Err(last_errno()),
        value => Ok(value),
    }
}

/// Makes the call again for as long as a signal interrupts it.
fn uninterrupted(mut call: impl FnMut() -> isize) -> Answer<usize> {
    loop {
        match answer(call() as i64) {
            Err(Errno::EINTR) => {}
            other => return other.map(|n| n as usize),
        }
    }
}

/// Text as C wants it.
fn c_text(text: &str) -> Answer<CString> {
    CString::new(text).map_err(|_| Errno::EINVAL)
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Backend for machines with a code generator in rustc. It calls Linux through libc, or std where std provides the same
//! function without `unsafe`.
//!
//! Arguments and results are scalars, slices and plain types of this crate. Errors are bare numbers; the interface adds
//! the failed action.

pub(crate) mod file;
pub(crate) mod fs;
pub(crate) mod machine;
pub(crate) mod memory;
pub(crate) mod oracle;
pub(crate) mod peer;
pub(crate) mod process;
pub(crate) mod thread;
pub(crate) mod time;

use std::ffi::CString;

use crate::errno::Errno;

/// Returns the value of a C constant.
macro_rules! number {
    ($name:ident) => {
        libc::$name
    };
}
pub(crate) use number;

/// Result of a system call: its value or its error number.
type SysResult<T> = Result<T, Errno>;

/// Returns the error number of the last failed call.
fn last_errno() -> Errno {
    errno_of(&std::io::Error::last_os_error())
}

/// Returns the error number of an error of std.
fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// Checks the return value of a system call: -1 is an error.
fn check(value: impl Into<i64>) -> SysResult<i64> {
    match value.into() {
        -1 => Err(last_errno()),
        value => Ok(value),
    }
}

/// Repeats the call while it fails with EINTR.
fn retry_interrupted(mut call: impl FnMut() -> isize) -> SysResult<usize> {
    loop {
        match check(call() as i64) {
            Err(Errno::EINTR) => {}
            other => return other.map(|n| n as usize),
        }
    }
}

/// Converts a string to a C string.
fn c_string(text: &str) -> SysResult<CString> {
    CString::new(text).map_err(|_| Errno::EINVAL)
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Backend for machines without a code generator in rustc. The program is compiled to WebAssembly and then to C; a
//! runtime written in C (`images/wasm`) makes its system calls.
//!
//! A WebAssembly program is little-endian and has 32-bit pointers, regardless of the machine. Numbers are therefore
//! passed to the runtime only as arguments and results. Only bytes and strings are passed through memory. Addresses of
//! mappings are addresses of the machine. Here they are opaque 64-bit numbers, and every access goes through the
//! runtime. Numbers that differ between machines come from the runtime's C headers: see [`number!`].

pub(crate) mod file;
pub(crate) mod fs;
mod imports;
pub(crate) mod machine;
pub(crate) mod memory;
pub(crate) mod oracle;
pub(crate) mod peer;
pub(crate) mod process;
pub(crate) mod thread;
pub(crate) mod time;

use std::ffi::CString;

use crate::errno::Errno;

/// Returns the value of a C constant, by calling the runtime's function of the same name. If the runtime has no such
/// function, linking the guest fails.
macro_rules! number {
    ($name:ident) => {{
        #[allow(unsafe_code)]
        #[link(wasm_import_module = "sys")]
        unsafe extern "C" {
            safe fn $name() -> i32;
        }
        $name()
    }};
}
pub(crate) use number;

/// Result of a system call: its value or its error number.
type SysResult<T> = Result<T, Errno>;

/// Checks a result of the runtime. As in the kernel's own system calls, values from -4095 to -1 are error numbers.
fn check(value: i64) -> SysResult<i64> {
    match value {
        -4095..=-1 => Err(Errno::from_raw(-value as i32)),
        value => Ok(value),
    }
}

/// Converts a string to a C string.
fn c_string(text: &str) -> SysResult<CString> {
    CString::new(text).map_err(|_| Errno::EINVAL)
}

/// Returns the strings that `read` writes into a buffer of the given length, each followed by a NUL. `read` returns
/// their total length, even if the buffer is too short.
fn read_strings(mut read: impl FnMut(*mut u8, usize) -> i64) -> SysResult<Vec<String>> {
    let mut bytes = vec![0; 1024];
    loop {
        let len = check(read(bytes.as_mut_ptr(), bytes.len()))? as usize;
        if len <= bytes.len() {
            bytes.truncate(len);
            break;
        }
        bytes.resize(len, 0);
    }
    let strings = bytes.split_inclusive(|&byte| byte == 0);
    Ok(strings
        .map(|string| String::from_utf8_lossy(&string[..string.len() - 1]).into_owned())
        .collect())
}

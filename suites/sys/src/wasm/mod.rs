// SPDX-License-Identifier: MIT OR Apache-2.0
//! The backend for machines that rustc does not know: the program is WebAssembly, made into C, and what it asks of
//! Linux is answered by a runtime in C (`images/wasm`).
//!
//! A program in WebAssembly is little-endian and its pointers have 32 bits, whatever the machine is. So numbers go to
//! the runtime and come back as arguments and results, never through memory; memory carries bytes and texts alone.
//! Addresses of mappings are the machine's own and mean nothing here: they are numbers of 64 bits, and every access
//! goes through the runtime. Numbers that differ between machines come from the runtime's C headers: [`number!`].

pub(crate) mod file;
pub(crate) mod fs;
mod imports;
pub(crate) mod machine;
pub(crate) mod memory;
pub(crate) mod oracle;
pub(crate) mod peer;
pub(crate) mod process;
pub(crate) mod time;

use std::ffi::CString;

use crate::errno::Errno;

/// The value that C gives to the name: a call of the runtime's function of the same name. One that the runtime does
/// not have is an error when the guest is linked.
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

/// The answer of a system call: its value, or the number in `errno`.
type Answer<T> = Result<T, Errno>;

/// What the runtime gives back, apart: as from a system call of Linux itself, the last page of numbers is errors.
fn answer(value: i64) -> Answer<i64> {
    match value {
        -4095..=-1 => Err(Errno::from_raw(-value as i32)),
        value => Ok(value),
    }
}

/// Text as C wants it.
fn c_text(text: &str) -> Answer<CString> {
    CString::new(text).map_err(|_| Errno::EINVAL)
}

/// The texts that `ask` writes into a buffer of the length given, each with a NUL behind it. It answers how many bytes
/// there are, also where the buffer is too short for them.
fn texts(mut ask: impl FnMut(*mut u8, usize) -> i64) -> Answer<Vec<String>> {
    let mut bytes = vec![0; 1024];
    loop {
        let len = answer(ask(bytes.as_mut_ptr(), bytes.len()))? as usize;
        if len <= bytes.len() {
            bytes.truncate(len);
            break;
        }
        bytes.resize(len, 0);
    }
    let ended = bytes.split_inclusive(|&byte| byte == 0);
    Ok(ended
        .map(|text| String::from_utf8_lossy(&text[..text.len() - 1]).into_owned())
        .collect())
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine as a whole.

use std::ffi::{CStr, c_char};

use super::{SysResult, c_string, check};

pub(crate) fn uname() -> SysResult<(String, String)> {
    // SAFETY: an all-zero utsname is valid, and the call fills it in.
    let mut names: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: `names` outlives the call.
    check(unsafe { libc::uname(&mut names) })?;
    Ok((string(&names.release), string(&names.machine)))
}

fn string(field: &[c_char]) -> String {
    let bytes: Vec<u8> = field.iter().map(|&c| c as u8).collect();
    CStr::from_bytes_until_nul(&bytes)
        .map(|string| string.to_string_lossy().into_owned())
        .unwrap_or_default()
}

pub(crate) fn page_size() -> usize {
    // SAFETY: no memory is passed.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

pub(crate) fn big_endian() -> bool {
    cfg!(target_endian = "big")
}

pub(crate) fn sync() {
    // SAFETY: no memory is passed.
    unsafe { libc::sync() };
}

pub(crate) fn load_module(fd: i32, parameters: &str) -> SysResult<()> {
    let parameters = c_string(parameters)?;
    // SAFETY: `parameters` ends in a NUL and outlives the call.
    check(unsafe { libc::syscall(libc::SYS_finit_module, fd, parameters.as_ptr(), 0) }).map(drop)
}

pub(crate) fn unload_module(name: &str) -> SysResult<()> {
    let name = c_string(name)?;
    // SAFETY: `name` ends in a NUL and outlives the call.
    check(unsafe { libc::syscall(libc::SYS_delete_module, name.as_ptr(), libc::O_NONBLOCK) })
        .map(drop)
}

pub(crate) fn restart() -> SysResult<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::reboot(libc::RB_AUTOBOOT) }).map(drop)
}

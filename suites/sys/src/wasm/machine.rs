// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine as a whole.

use super::{SysResult, c_string, check, imports, read_strings};
use crate::errno::Errno;

pub(crate) fn uname() -> SysResult<(String, String)> {
    // SAFETY: the buffer has the given length.
    let names = read_strings(|into, room| unsafe { imports::uname(into, room) })?;
    let [release, machine] = names.try_into().map_err(|_| Errno::EIO)?;
    Ok((release, machine))
}

pub(crate) fn page_size() -> usize {
    imports::page_size()
}

pub(crate) fn big_endian() -> bool {
    imports::big_endian() != 0
}

pub(crate) fn sync() {
    imports::sync();
}

pub(crate) fn load_module(fd: i32, parameters: &str) -> SysResult<()> {
    let parameters = c_string(parameters)?;
    // SAFETY: `parameters` ends in a NUL and outlives the call.
    check(unsafe { imports::load_module(fd, parameters.as_ptr()) }).map(drop)
}

pub(crate) fn unload_module(name: &str) -> SysResult<()> {
    let name = c_string(name)?;
    // SAFETY: `name` ends in a NUL and outlives the call.
    check(unsafe { imports::unload_module(name.as_ptr()) }).map(drop)
}

pub(crate) fn restart() -> SysResult<()> {
    check(imports::restart()).map(drop)
}

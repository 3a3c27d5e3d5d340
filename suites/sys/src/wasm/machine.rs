// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine as a whole.

use super::{SysResult, check, imports, read_strings};
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

pub(crate) fn restart() -> SysResult<()> {
    check(imports::restart()).map(drop)
}

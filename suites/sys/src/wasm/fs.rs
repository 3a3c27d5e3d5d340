// SPDX-License-Identifier: MIT OR Apache-2.0
//! Paths and mounts.

use super::{SysResult, c_string, check, imports, read_strings};
use crate::errno::Errno;
use crate::fs::MountFlags;

pub(crate) fn exists(path: &str) -> bool {
    // SAFETY: `path` ends in a NUL and outlives the call.
    c_string(path).is_ok_and(|path| unsafe { imports::exists(path.as_ptr()) } != 0)
}

pub(crate) fn list_dir(path: &str) -> SysResult<Vec<String>> {
    let path = c_string(path)?;
    // SAFETY: `path` ends in a NUL and outlives the call; the buffer has the given length.
    let mut names =
        read_strings(|into, room| unsafe { imports::list_dir(path.as_ptr(), into, room) })?;
    names.retain(|name| name != "." && name != "..");
    Ok(names)
}

pub(crate) fn make_dir(path: &str) -> SysResult<()> {
    let above = path.match_indices('/').map(|(end, _)| &path[..end]);
    for dir in above.filter(|dir| !dir.is_empty()).chain([path]) {
        let dir = c_string(dir)?;
        // SAFETY: `dir` ends in a NUL and outlives the call.
        match check(unsafe { imports::mkdir(dir.as_ptr(), 0o777) }) {
            Err(Errno::EEXIST) => {}
            other => drop(other?),
        }
    }
    Ok(())
}

pub(crate) fn remove_dir(path: &str) -> SysResult<()> {
    let path = c_string(path)?;
    // SAFETY: `path` ends in a NUL and outlives the call.
    check(unsafe { imports::rmdir(path.as_ptr()) }).map(drop)
}

pub(crate) fn mount(
    source: &str,
    at: &str,
    kind: &str,
    flags: MountFlags,
    data: &str,
) -> SysResult<()> {
    let (source, at, kind, data) =
        (c_string(source)?, c_string(at)?, c_string(kind)?, c_string(data)?);
    // SAFETY: all four strings end in a NUL and outlive the call.
    check(unsafe {
        imports::mount(source.as_ptr(), at.as_ptr(), kind.as_ptr(), flags.number(), data.as_ptr())
    })
    .map(drop)
}

pub(crate) fn unmount(at: &str) -> SysResult<()> {
    let at = c_string(at)?;
    // SAFETY: `at` ends in a NUL and outlives the call.
    check(unsafe { imports::unmount(at.as_ptr()) }).map(drop)
}

pub(crate) fn memfd(name: &str) -> SysResult<i32> {
    let name = c_string(name)?;
    // SAFETY: `name` ends in a NUL and outlives the call.
    check(unsafe { imports::memfd(name.as_ptr()) }).map(|fd| fd as i32)
}

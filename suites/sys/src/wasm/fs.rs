// SPDX-License-Identifier: MIT OR Apache-2.0
//! Paths and mounts.

use super::{Answer, answer, c_text, imports, texts};
use crate::errno::Errno;
use crate::fs::MountFlags;

pub(crate) fn is_there(path: &str) -> bool {
    // SAFETY: `path` ends in a NUL and outlives the call.
    c_text(path).is_ok_and(|path| unsafe { imports::is_there(path.as_ptr()) } != 0)
}

pub(crate) fn list_dir(path: &str) -> Answer<Vec<String>> {
    let path = c_text(path)?;
    // SAFETY: `path` ends in a NUL and outlives the call; the buffer is as long as said.
    let mut names = texts(|into, room| unsafe { imports::list_dir(path.as_ptr(), into, room) })?;
    names.retain(|name| name != "." && name != "..");
    Ok(names)
}

pub(crate) fn make_dir(path: &str) -> Answer<()> {
    let above = path.match_indices('/').map(|(end, _)| &path[..end]);
    for dir in above.filter(|dir| !dir.is_empty()).chain([path]) {
        let dir = c_text(dir)?;
        // SAFETY: `dir` ends in a NUL and outlives the call.
        match answer(unsafe { imports::mkdir(dir.as_ptr(), 0o777) }) {
            Err(Errno::EEXIST) => {}
            other => drop(other?),
        }
    }
    Ok(())
}

pub(crate) fn remove_file(path: &str) -> Answer<()> {
    let path = c_text(path)?;
    // SAFETY: `path` ends in a NUL and outlives the call.
    answer(unsafe { imports::unlink(path.as_ptr()) }).map(drop)
}

pub(crate) fn remove_dir(path: &str) -> Answer<()> {
    let path = c_text(path)?;
    // SAFETY: `path` ends in a NUL and outlives the call.
    answer(unsafe { imports::rmdir(path.as_ptr()) }).map(drop)
}

pub(crate) fn make_char_device(path: &str, major: u32, minor: u32) -> Answer<()> {
    let path = c_text(path)?;
    // SAFETY: `path` ends in a NUL and outlives the call.
    answer(unsafe { imports::make_char_device(path.as_ptr(), 0o600, major, minor) }).map(drop)
}

pub(crate) fn mount(
    source: &str,
    at: &str,
    kind: &str,
    flags: MountFlags,
    data: &str,
) -> Answer<()> {
    let (source, at, kind, data) = (c_text(source)?, c_text(at)?, c_text(kind)?, c_text(data)?);
    // SAFETY: all four texts end in a NUL and outlive the call.
    answer(unsafe {
        imports::mount(
            source.as_ptr(),
            at.as_ptr(),
            kind.as_ptr(),
            flags.bits(),
            data.as_ptr(),
        )
    })
    .map(drop)
}

pub(crate) fn unmount(at: &str) -> Answer<()> {
    let at = c_text(at)?;
    // SAFETY: `at` ends in a NUL and outlives the call.
    answer(unsafe { imports::unmount(at.as_ptr()) }).map(drop)
}

pub(crate) fn memfd(name: &str) -> Answer<i32> {
    let name = c_text(name)?;
    // SAFETY: `name` ends in a NUL and outlives the call.
    answer(unsafe { imports::memfd(name.as_ptr()) }).map(|fd| fd as i32)
}

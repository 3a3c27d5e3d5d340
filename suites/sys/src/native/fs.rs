// SPDX-License-Identifier: MIT OR Apache-2.0
//! Paths and mounts.

use super::{SysResult, c_string, check, errno_of};
use crate::fs::MountFlags;

pub(crate) fn exists(path: &str) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

pub(crate) fn list_dir(path: &str) -> SysResult<Vec<String>> {
    let entries = std::fs::read_dir(path).map_err(|error| errno_of(&error))?;
    entries
        .map(|entry| match entry {
            Ok(entry) => Ok(entry.file_name().to_string_lossy().into_owned()),
            Err(error) => Err(errno_of(&error)),
        })
        .collect()
}

pub(crate) fn make_dir(path: &str) -> SysResult<()> {
    std::fs::create_dir_all(path).map_err(|error| errno_of(&error))
}

pub(crate) fn remove_dir(path: &str) -> SysResult<()> {
    std::fs::remove_dir(path).map_err(|error| errno_of(&error))
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
        libc::mount(
            source.as_ptr(),
            at.as_ptr(),
            kind.as_ptr(),
            flags.number().into(),
            data.as_ptr().cast(),
        )
    })
    .map(drop)
}

pub(crate) fn unmount(at: &str) -> SysResult<()> {
    let at = c_string(at)?;
    // SAFETY: `at` ends in a NUL and outlives the call.
    check(unsafe { libc::umount2(at.as_ptr(), libc::MNT_DETACH) }).map(drop)
}

pub(crate) fn memfd(name: &str) -> SysResult<i32> {
    let name = c_string(name)?;
    // SAFETY: `name` ends in a NUL and outlives the call.
    check(unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) }).map(|fd| fd as i32)
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Paths and mounts.

use super::{Answer, answer, c_text, of_io};
use crate::fs::MountFlags;

pub(crate) fn is_there(path: &str) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

pub(crate) fn list_dir(path: &str) -> Answer<Vec<String>> {
    let entries = std::fs::read_dir(path).map_err(|error| of_io(&error))?;
    entries
        .map(|entry| match entry {
            Ok(entry) => Ok(entry.file_name().to_string_lossy().into_owned()),
            Err(error) => Err(of_io(&error)),
        })
        .collect()
}

pub(crate) fn make_dir(path: &str) -> Answer<()> {
    std::fs::create_dir_all(path).map_err(|error| of_io(&error))
}

pub(crate) fn remove_file(path: &str) -> Answer<()> {
    std::fs::remove_file(path).map_err(|error| of_io(&error))
}

pub(crate) fn remove_dir(path: &str) -> Answer<()> {
    std::fs::remove_dir(path).map_err(|error| of_io(&error))
}

pub(crate) fn make_char_device(path: &str, major: u32, minor: u32) -> Answer<()> {
    let path = c_text(path)?;
    let mode = libc::S_IFCHR | 0o600;
    // SAFETY: `path` ends in a NUL and outlives the call.
    answer(unsafe { libc::mknod(path.as_ptr(), mode, libc::makedev(major, minor)) }).map(drop)
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
        libc::mount(
            source.as_ptr(),
            at.as_ptr(),
            kind.as_ptr(),
            flags.bits().into(),
            data.as_ptr().cast(),
        )
    })
    .map(drop)
}

pub(crate) fn unmount(at: &str) -> Answer<()> {
    let at = c_text(at)?;
    // SAFETY: `at` ends in a NUL and outlives the call.
    answer(unsafe { libc::umount2(at.as_ptr(), libc::MNT_DETACH) }).map(drop)
}

pub(crate) fn memfd(name: &str) -> Answer<i32> {
    let name = c_text(name)?;
    // SAFETY: `name` ends in a NUL and outlives the call.
    answer(unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) }).map(|fd| fd as i32)
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Operations on paths: whole files, directories and mounts.

use crate::backend::fs as backend;
use crate::errno::{Context, Result};
use crate::file::{Fd, OpenFlags};

/// Reads a whole file.
///
/// # Errors
/// Fails as open(2) or read(2).
pub fn read_file(path: &str) -> Result<Vec<u8>> {
    Fd::open(path, OpenFlags::READ)?
        .read_to_end()
        .map_err(|error| crate::Error { what: format!("read {path}"), ..error })
}

/// Reads a whole text file, and replaces invalid UTF-8.
///
/// # Errors
/// Fails as [`read_file`].
pub fn read_text(path: &str) -> Result<String> {
    Ok(String::from_utf8_lossy(&read_file(path)?).into_owned())
}

/// Replaces the content of the file at `path`, which is created if it does not exist. Files of sysfs and procfs receive
/// `bytes` in a single write, as they require.
///
/// # Errors
/// Fails as open(2) or write(2).
pub fn write_file(path: &str, bytes: &[u8]) -> Result<()> {
    write_with(path, OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE, bytes)
}

/// Appends `bytes` to the existing file at `path`.
///
/// # Errors
/// Fails as open(2) or write(2).
pub fn append_file(path: &str, bytes: &[u8]) -> Result<()> {
    write_with(path, OpenFlags::WRITE | OpenFlags::APPEND, bytes)
}

fn write_with(path: &str, flags: OpenFlags, bytes: &[u8]) -> Result<()> {
    Fd::open(path, flags)?.write_all(bytes).map_err(|error| crate::Error {
        what: format!("write {} bytes to {path}", bytes.len()),
        ..error
    })
}

/// Returns true if `path` exists.
pub fn exists(path: &str) -> bool {
    backend::exists(path)
}

/// Returns the names in a directory, sorted and without `.` and `..`.
///
/// # Errors
/// Fails as opendir(3).
pub fn list_dir(path: &str) -> Result<Vec<String>> {
    let mut names = backend::list_dir(path).context(|| format!("list {path}"))?;
    names.sort();
    Ok(names)
}

/// Creates a directory and its missing parents. Succeeds if the directory exists.
///
/// # Errors
/// Fails as mkdir(2).
pub fn make_dir(path: &str) -> Result<()> {
    backend::make_dir(path).context(|| format!("create directory {path}"))
}

/// Removes an empty directory.
///
/// # Errors
/// Fails as rmdir(2).
pub fn remove_dir(path: &str) -> Result<()> {
    backend::remove_dir(path).context(|| format!("remove directory {path}"))
}

bitflags::bitflags! {
    /// Flags of a mount.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct MountFlags: u32 {
        /// Ignore set-user-ID bits (`MS_NOSUID`).
        const NO_SUID = 1;
        /// Deny access to device nodes (`MS_NODEV`).
        const NO_DEV = 2;
    }
}

/// Mounts `source`, of the filesystem type `kind`, at the directory `at`. `data` contains options of the filesystem.
///
/// # Errors
/// Fails as mount(2).
pub fn mount(source: &str, at: &str, kind: &str, flags: MountFlags, data: &str) -> Result<()> {
    backend::mount(source, at, kind, flags, data)
        .context(|| format!("mount {kind} at {at} with options {data:?}"))
}

/// Detaches the mount at `at` immediately (`MNT_DETACH`). The filesystem is unmounted when it is no longer in use.
///
/// # Errors
/// Fails as umount2(2).
pub fn unmount(at: &str) -> Result<()> {
    backend::unmount(at).context(|| format!("unmount {at}"))
}

/// Creates a file of `size` bytes in memory. It has no path; `name` appears in `/proc/PID/maps`.
///
/// # Errors
/// Fails as memfd_create(2) or ftruncate(2).
pub fn memfd(name: &str, size: u64) -> Result<Fd> {
    let fd = Fd::own(backend::memfd(name).context(|| format!("create memory file {name}"))?);
    fd.resize(size)?;
    Ok(fd)
}

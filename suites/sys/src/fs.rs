// SPDX-License-Identifier: MIT OR Apache-2.0
//! Paths: files in one go, directories, nodes, mounts.

use std::ops::BitOr;

use crate::backend::fs as backend;
use crate::errno::{During, Errno, Result};
use crate::file::{Fd, OpenFlags};

/// The content of a file.
///
/// # Errors
/// What open(2) or read(2) says.
pub fn read_file(path: &str) -> Result<Vec<u8>> {
    Fd::open(path, OpenFlags::READ)?
        .read_to_end()
        .map_err(|error| crate::Error {
            what: format!("read {path}"),
            ..error
        })
}

/// The content of a text file; what is no UTF-8 is replaced.
///
/// # Errors
/// As [`read_file`].
pub fn read_text(path: &str) -> Result<String> {
    Ok(String::from_utf8_lossy(&read_file(path)?).into_owned())
}

/// Writes `bytes` to the file at `path` in one call, as the files of sysfs and procfs want it; makes the file if need be.
///
/// # Errors
/// What open(2) or write(2) says.
pub fn write_file(path: &str, bytes: &[u8]) -> Result<()> {
    write_with(
        path,
        OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE,
        bytes,
    )
}

/// Adds `bytes` to the end of the file at `path`, which must be there.
///
/// # Errors
/// What open(2) or write(2) says.
pub fn append_file(path: &str, bytes: &[u8]) -> Result<()> {
    write_with(path, OpenFlags::WRITE | OpenFlags::APPEND, bytes)
}

fn write_with(path: &str, flags: OpenFlags, bytes: &[u8]) -> Result<()> {
    Fd::open(path, flags)?
        .write_all(bytes)
        .map_err(|error| crate::Error {
            what: format!("write {} bytes to {path}", bytes.len()),
            ..error
        })
}

/// True if there is something at `path`.
pub fn is_there(path: &str) -> bool {
    backend::is_there(path)
}

/// The names in a directory, sorted, without `.` and `..`.
///
/// # Errors
/// What opendir(3) says.
pub fn list_dir(path: &str) -> Result<Vec<String>> {
    let mut names = backend::list_dir(path).during(|| format!("list {path}"))?;
    names.sort();
    Ok(names)
}

/// Makes a directory, and those above it, unless it is there.
///
/// # Errors
/// What mkdir(2) says.
pub fn make_dir(path: &str) -> Result<()> {
    backend::make_dir(path).during(|| format!("make directory {path}"))
}

/// Removes a file.
///
/// # Errors
/// What unlink(2) says.
pub fn remove_file(path: &str) -> Result<()> {
    backend::remove_file(path).during(|| format!("remove {path}"))
}

/// Removes an empty directory.
///
/// # Errors
/// What rmdir(2) says.
pub fn remove_dir(path: &str) -> Result<()> {
    backend::remove_dir(path).during(|| format!("remove directory {path}"))
}

/// Makes the node of a character device, mode 0600, unless something is there.
///
/// # Errors
/// What mknod(2) says.
pub fn make_char_device(path: &str, major: u32, minor: u32) -> Result<()> {
    match backend::make_char_device(path, major, minor) {
        Err(Errno::EEXIST) => Ok(()),
        other => other.during(|| format!("make device {path} ({major}:{minor})")),
    }
}

/// How a filesystem is mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountFlags(pub(crate) u32);

impl MountFlags {
    /// No set-user-ID programs.
    pub const NO_SUID: MountFlags = MountFlags(1);
    /// No device nodes.
    pub const NO_DEV: MountFlags = MountFlags(2);

    /// True if every flag of `other` is set.
    pub(crate) fn has(self, other: MountFlags) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for MountFlags {
    type Output = MountFlags;
    fn bitor(self, other: MountFlags) -> MountFlags {
        MountFlags(self.0 | other.0)
    }
}

/// Mounts `source`, of filesystem `kind`, at directory `at`; `data` are options of the filesystem.
///
/// # Errors
/// What mount(2) says.
pub fn mount(source: &str, at: &str, kind: &str, flags: MountFlags, data: &str) -> Result<()> {
    backend::mount(source, at, kind, flags, data)
        .during(|| format!("mount {kind} at {at} with options {data:?}"))
}

/// Takes the mount at `at` out of the tree at once; it ends when its last user does.
///
/// # Errors
/// What umount2(2) says.
pub fn unmount(at: &str) -> Result<()> {
    backend::unmount(at).during(|| format!("unmount {at}"))
}

/// An unnamed file of `size` bytes in memory, for two processes to share.
///
/// # Errors
/// What memfd_create(2) or ftruncate(2) says.
pub fn memfd(name: &str, size: u64) -> Result<Fd> {
    let fd = Fd::own(backend::memfd(name).during(|| format!("make memory file {name}"))?);
    fd.resize(size)?;
    Ok(fd)
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Layout of the cache, and the locks that let several runs share it.
//!
//! ```text
//! sources/<name>/tree/               unpacked source; never modified
//! sources/<name>.lock
//! slots/<source>/<target>-<flavour>/ build directory, reused for each build of this source, target and flavour
//! slots/<source>/<target>-<flavour>.lock
//! kernels/<hash>/                    finished kernel; never modified
//! selftests/<source>-<arch>/         selftests of this source, with what they need, to build in
//! selftests/<source>-<arch>.lock
//! symbols/<hash>                     symbols of a kernel image; its modification time is the time of the last use
//! busybox/                           busybox for guests, and its source; its lock file is in the directory
//! estimates/<version>-<target>-<flavour>  number of steps that a build from scratch prints
//! ```
//!
//! A directory with its final name is complete: it is created under another name and then renamed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use walkdir::WalkDir;

use super::Progress;
use crate::lock::{self, Hold, Lock};
use crate::{files, wait};

/// Time that the processes of a killed run have to exit.
const EXIT_GRACE: Duration = Duration::from_secs(5);

/// Name of the lock file in a kernel's directory. Users of the kernel hold a shared lock on it. Its modification time
/// is the time of the last use.
const LEASE: &str = "lease";

/// The lab's directory in the user's cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cache<'a>(pub &'a Path);

impl Cache<'_> {
    /// Directory of the unpacked sources.
    pub(crate) fn sources(self) -> PathBuf {
        self.0.join("sources")
    }

    /// Parent directory of the build directories.
    pub(crate) fn slots(self) -> PathBuf {
        self.0.join("slots")
    }

    /// Directory of the finished kernels.
    pub(crate) fn kernels(self) -> PathBuf {
        self.0.join("kernels")
    }

    /// Directory of the symbols of kernel images.
    pub(crate) fn symbols(self) -> PathBuf {
        self.0.join("symbols")
    }

    /// Directory of the copies of selftests.
    pub(crate) fn selftests(self) -> PathBuf {
        self.0.join("selftests")
    }

    /// Directory of the estimates: for each version, target and flavour, the number of steps of a build from scratch.
    pub(crate) fn estimates(self) -> PathBuf {
        self.0.join("estimates")
    }
}

/// Takes a lock like [`lock::lock`], and reports waiting as a step.
///
/// # Errors
/// As [`lock::lock`].
pub(crate) fn lock(
    path: &Path,
    hold: Hold,
    what: &str,
    progress: &mut dyn FnMut(Progress),
) -> Result<Lock> {
    lock::lock(path, hold, what, |text| progress(Progress::step(text)))
}

/// Protects the finished kernel in `dir` from [`clean`] while the lock is held, and marks it as used now. Returns
/// `None` if the kernel does not exist.
pub(crate) fn lease(dir: &Path) -> Result<Option<Lock>> {
    let path = dir.join(LEASE);
    while path.exists() {
        match lock::take(&path, Hold::Shared, true) {
            Ok(Some(lock)) => return Ok(Some(lock)),
            // Another process is about to remove the kernel. Soon the file is gone, or that process has given up.
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error).with_context(|| format!("lock {}", path.display())),
        }
    }
    Ok(None)
}

/// Moves the finished kernel directory `finished` to its final place `dir`, where it can be leased. If another process
/// has created `dir` in the meantime, keeps that directory, which has the same content, and removes `finished`.
pub(crate) fn publish(finished: &Path, dir: &Path) -> Result<()> {
    let publish = || -> io::Result<()> {
        File::create(finished.join(LEASE))?;
        fs::create_dir_all(dir.parent().expect("a kernel has a parent directory"))?;
        match fs::rename(finished, dir) {
            Err(_) if dir.join(LEASE).exists() => fs::remove_dir_all(finished),
            renamed => renamed,
        }
    };
    publish().with_context(|| format!("move the finished kernel to {}", dir.display()))
}

/// Copies a file and waits until the copy is on disk, so that files in the cache survive a power failure.
pub(super) fn copy_synced(from: &Path, to: &Path) -> Result<()> {
    let copy = || -> io::Result<()> {
        fs::copy(from, to)?;
        File::open(to)?.sync_all()
    };
    copy().with_context(|| format!("copy {} to {}", from.display(), to.display()))
}

/// A directory or a file that [`clean`] removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Former path.
    pub path: PathBuf,
    /// Disk space that was freed, in bytes.
    pub bytes: u64,
}

/// Removes everything that was last used more than `older_than` ago and is not in use: kernels, build directories, sources,
/// selftests, symbols of images, and programs built from Debian's sources.
///
/// # Errors
/// A file or directory cannot be removed. The error names it.
pub fn clean(cache: &Path, older_than: Duration) -> Result<Vec<Removed>> {
    let lock_file = cache.join("clean.lock");
    let _alone = lock(&lock_file, Hold::Exclusive, "is cleaning the cache", &mut |_| {})?;
    let cache = Cache(cache);
    let mut removed = Vec::new();
    for dir in directories(&cache.kernels())? {
        removed.extend(remove_if_old(&dir, &dir.join(LEASE), older_than)?);
    }
    // Build directories before sources: their files are hard links to those of the source.
    for source in directories(&cache.slots())? {
        for dir in directories(&source)? {
            removed.extend(remove_if_old(&dir, &lock_path(&dir), older_than)?);
        }
        // This fails, as intended, if the directory is not empty.
        let _ = fs::remove_dir(&source);
    }
    for dir in directories(&cache.sources())?.into_iter().chain(directories(&cache.selftests())?) {
        removed.extend(remove_if_old(&dir, &lock_path(&dir), older_than)?);
    }
    let upstream = ["busybox", "libfuse"].map(|name| cache.0.join(name));
    let programs = directories(&cache.0.join("debian-programs"))?;
    for dir in upstream.into_iter().filter(|dir| dir.is_dir()).chain(programs) {
        removed.extend(remove_if_old(&dir, &dir.join("lock"), older_than)?);
    }
    if cache.symbols().is_dir() {
        for file in files::in_dir(&cache.symbols())? {
            removed.extend(remove_file_if_old(&file, older_than)?);
        }
    }
    Ok(removed)
}

/// Removes a file that was modified more than `older_than` ago.
fn remove_file_if_old(file: &Path, older_than: Duration) -> Result<Option<Removed>> {
    let remove = || -> io::Result<Option<Removed>> {
        let meta = fs::metadata(file)?;
        if meta.modified()?.elapsed().unwrap_or_default() < older_than {
            return Ok(None);
        }
        fs::remove_file(file)?;
        Ok(Some(Removed { path: file.to_owned(), bytes: meta.len() }))
    };
    remove().with_context(|| format!("remove {}", file.display()))
}

/// Returns the path of the lock file for `dir`: `<dir>.lock`.
pub(crate) fn lock_path(dir: &Path) -> PathBuf {
    with_suffix(dir, ".lock")
}

/// Returns `path` with `suffix` appended to the file name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn remove_if_old(dir: &Path, lock_file: &Path, older_than: Duration) -> Result<Option<Removed>> {
    let remove = || -> io::Result<Option<Removed>> {
        let used = match fs::metadata(lock_file) {
            Ok(meta) => meta.modified()?,
            // The directory is incomplete or half removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => SystemTime::UNIX_EPOCH,
            Err(error) => return Err(error),
        };
        if used.elapsed().unwrap_or_default() < older_than {
            return Ok(None);
        }
        let held = match lock::try_lock(lock_file) {
            Ok(None) => return Ok(None),
            Ok(held) => held,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let bytes = disk_use(dir)?;
        // Renamed first, so that a half-removed directory is never taken for a complete one.
        let mut doomed = dir.to_owned();
        if dir.extension().is_none_or(|ending| ending != "old") {
            doomed = with_suffix(dir, ".old");
            remove_dir(&doomed)?;
            fs::rename(dir, &doomed)?;
        }
        remove_dir(&doomed)?;
        if !lock_file.starts_with(dir) && held.is_some() {
            fs::remove_file(lock_file)?;
        }
        let path = dir.to_owned();
        Ok(Some(Removed { path, bytes }))
    };
    remove().with_context(|| format!("remove {}", dir.display()))
}

/// Removes a directory and its content, if it exists.
pub(crate) fn remove_dir(dir: &Path) -> io::Result<()> {
    let removed = wait::within(EXIT_GRACE, || match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(())),
        // A compiler of a killed run has not exited yet and has just written a file.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(None),
        done => done.map(Some),
    })?;
    removed.ok_or_else(|| io::ErrorKind::DirectoryNotEmpty.into())
}

fn directories(dir: &Path) -> Result<Vec<PathBuf>> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let mut found = files::in_dir(dir)?;
    found.retain(|path| path.is_dir() && !path.is_symlink());
    Ok(found)
}

/// Returns the bytes that removing `dir` would free. A file with other hard links counts as 0.
fn disk_use(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in WalkDir::new(dir) {
        let meta = entry?.metadata()?;
        if !meta.is_dir() && meta.nlink() == 1 {
            bytes += meta.blocks() * 512;
        }
    }
    Ok(bytes)
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The cache: where things lie in it, and the locks that let several runs share it.
//!
//! ```text
//! sources/<name>/tree/               an unpacked source, never changed again
//! sources/<name>.lock
//! slots/<source>/<target>-<flavour>/ where one kernel is built, again and again
//! slots/<source>/<target>-<flavour>.lock
//! kernels/<hash>/                    what a build gave, never changed again
//! estimates/<target>-<flavour>       how many lines a build from nothing prints
//! ```
//!
//! Whatever lies under its final name is whole: it is made beside it and renamed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use super::Progress;
use crate::lock::{self, Hold, Lock};
use crate::wait;

/// How long the processes of a run that was killed may take to die.
const DYING: Duration = Duration::from_secs(5);

/// In a kernel's directory: locked by those who use it, modified when last used.
const LEASE: &str = "lease";

/// The lab's directory in the user's cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cache<'a>(pub &'a Path);

impl Cache<'_> {
    /// Unpacked sources.
    pub(crate) fn sources(self) -> PathBuf {
        self.0.join("sources")
    }

    /// Build directories.
    pub(crate) fn slots(self) -> PathBuf {
        self.0.join("slots")
    }

    /// Finished kernels.
    pub(crate) fn kernels(self) -> PathBuf {
        self.0.join("kernels")
    }

    /// Sizes of builds from nothing.
    pub(crate) fn estimates(self) -> PathBuf {
        self.0.join("estimates")
    }
}

/// Locks `path` for this process alone, as [`lock::lock`].
///
/// # Errors
/// As [`lock::lock`].
pub(crate) fn lock(path: &Path, what: &str, progress: &mut dyn FnMut(Progress)) -> Result<Lock> {
    let say = |text| progress(Progress::step(text));
    lock::lock(path, Hold::Alone, what, say)
}

/// As [`fn@lock`], together with others that ask for the same.
///
/// # Errors
/// As [`lock::lock`].
pub(crate) fn lock_shared(
    path: &Path,
    what: &str,
    progress: &mut dyn FnMut(Progress),
) -> Result<Lock> {
    let say = |text| progress(Progress::step(text));
    lock::lock(path, Hold::Shared, what, say)
}

/// Keeps the finished kernel in `dir` from being cleaned away while the lock is held, and marks it as used now.
/// `None`: there is no such kernel.
pub(crate) fn lease(dir: &Path) -> Result<Option<Lock>> {
    let path = dir.join(LEASE);
    while path.exists() {
        match lock::take(&path, Hold::Shared, true) {
            Ok(Some(lock)) => return Ok(Some(lock)),
            // Being removed: it is gone, or the remover gave up, a moment later.
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error).with_context(|| format!("lock {}", path.display())),
        }
    }
    Ok(None)
}

/// Makes the finished directory `made` available as `dir`, which others may lease from then on.
/// Another process may have been quicker; its result is as good.
pub(crate) fn publish(made: &Path, dir: &Path) -> Result<()> {
    let put = || -> io::Result<()> {
        File::create(made.join(LEASE))?;
        fs::create_dir_all(dir.parent().expect("a kernel lies in a directory"))?;
        match fs::rename(made, dir) {
            Err(_) if dir.join(LEASE).exists() => fs::remove_dir_all(made),
            renamed => renamed,
        }
    };
    put().with_context(|| format!("move the finished kernel to {}", dir.display()))
}

/// Something that [`clean`] removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Where it was.
    pub path: PathBuf,
    /// Bytes on disk it took, hard links to what remains not counted.
    pub bytes: u64,
}

/// Removes kernels, build directories and sources that were last used more than `older_than` ago and are not
/// in use now.
///
/// # Errors
/// Something cannot be removed; names it.
pub fn clean(cache: &Path, older_than: Duration) -> Result<Vec<Removed>> {
    let _alone = lock(&cache.join("clean.lock"), "cleans the cache", &mut |_| {})?;
    let cache = Cache(cache);
    let mut removed = Vec::new();
    for dir in directories(&cache.kernels())? {
        removed.extend(remove_if_old(&dir, &dir.join(LEASE), older_than)?);
    }
    // Slots before sources: their files are links to those of the source.
    for source in directories(&cache.slots())? {
        for dir in directories(&source)? {
            removed.extend(remove_if_old(&dir, &lock_of(&dir), older_than)?);
        }
        // Fails, as it should, while a slot is left.
        let _ = fs::remove_dir(&source);
    }
    for dir in directories(&cache.sources())? {
        removed.extend(remove_if_old(&dir, &lock_of(&dir), older_than)?);
    }
    Ok(removed)
}

/// `<dir>.lock`.
pub(crate) fn lock_of(dir: &Path) -> PathBuf {
    beside(dir, ".lock")
}

/// `dir` with `ending` added to its name.
pub(crate) fn beside(dir: &Path, ending: &str) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn remove_if_old(dir: &Path, lock_file: &Path, older_than: Duration) -> Result<Option<Removed>> {
    let remove = || -> io::Result<Option<Removed>> {
        let used = match fs::metadata(lock_file) {
            Ok(meta) => meta.modified()?,
            // Half made or half removed.
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
        // First out of its name, so that nothing half removed looks whole.
        let mut doomed = dir.to_owned();
        if dir.extension().is_none_or(|ending| ending != "old") {
            doomed = beside(dir, ".old");
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

/// Removes a directory with all it holds, if it is there.
pub(crate) fn remove_dir(dir: &Path) -> io::Result<()> {
    let removed = wait::within(DYING, || match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(())),
        // A compiler of a run that was killed is still dying, and has just put a file there.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(None),
        done => done.map(Some),
    })?;
    removed.ok_or_else(|| io::ErrorKind::DirectoryNotEmpty.into())
}

fn directories(dir: &Path) -> Result<Vec<PathBuf>> {
    let read = || -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                found.push(entry.path());
            }
        }
        found.sort();
        Ok(found)
    };
    read().with_context(|| format!("read {}", dir.display()))
}

/// Bytes that come free with `dir`: a file with a link elsewhere counts nothing.
fn disk_use(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        if meta.is_dir() {
            bytes += disk_use(&entry.path())?;
        } else if meta.nlink() == 1 {
            bytes += meta.blocks() * 512;
        }
    }
    Ok(bytes)
}

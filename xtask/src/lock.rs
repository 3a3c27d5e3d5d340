// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lock files, which keep runs of the lab from disturbing each other.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::interrupt::Interrupted;
use crate::wait::{self, Waited};

/// Lock on a file. Dropping it releases the lock; so does the end of the process.
#[derive(Clone, Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held, not read")] Arc<Flock<File>>);

/// Kind of a lock: the number of processes that may hold it at the same time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hold {
    /// One process.
    Exclusive,
    /// Every process that takes the lock in this way.
    Shared,
}

/// Locks the file at `path`. Creates the file if necessary and sets its modification time to now.
///
/// Waits while another run holds the lock. In that case `say` gets a line with `what`, the work of that run, such as
/// "is installing packages".
///
/// # Errors
/// The file cannot be created, or the lab was interrupted: [`Interrupted`].
pub(crate) fn lock(path: &Path, hold: Hold, what: &str, say: impl FnOnce(String)) -> Result<Lock> {
    let dir = path.parent().expect("a lock file has a parent directory");
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    let mut say = Some(say);
    let waited = wait::until(wait::FOREVER, || {
        let lock = take(path, hold, true).with_context(|| format!("lock {}", path.display()))?;
        if let (None, Some(say)) = (&lock, say.take()) {
            say(format!("another run {what}; waiting for it"));
        }
        anyhow::Ok(lock)
    });
    match waited? {
        Waited::Done(lock) => Ok(lock),
        _ => bail!(Interrupted),
    }
}

/// Locks an existing file for this process alone. Returns `None` if another process holds the lock.
///
/// # Errors
/// The file does not exist or cannot be opened.
pub(crate) fn try_lock(path: &Path) -> io::Result<Option<Lock>> {
    take(path, Hold::Exclusive, false)
}

/// Locks a file without waiting. With `use_now`, creates the file if necessary and sets its modification time to now.
/// Returns `None` if a conflicting lock is held, or if the file was removed meanwhile.
///
/// # Errors
/// The file cannot be opened.
pub(crate) fn take(path: &Path, hold: Hold, use_now: bool) -> io::Result<Option<Lock>> {
    let file = File::options().write(true).create(use_now).truncate(false).open(path)?;
    let how = match hold {
        Hold::Exclusive => FlockArg::LockExclusiveNonblock,
        Hold::Shared => FlockArg::LockSharedNonblock,
    };
    let lock = match Flock::lock(file, how) {
        Ok(lock) => lock,
        Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
        Err((_, errno)) => return Err(errno.into()),
    };
    // `clean` may have removed the file between open and lock. In that case the lock protects nothing.
    let same = fs::metadata(path).is_ok_and(|meta| {
        lock.metadata().is_ok_and(|mine| (mine.dev(), mine.ino()) == (meta.dev(), meta.ino()))
    });
    if !same {
        return Ok(None);
    }
    if use_now {
        lock.set_modified(SystemTime::now())?;
    }
    Ok(Some(Lock(Arc::new(lock))))
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files that runs of the lab lock against each other.

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

/// A held lock on a file. It ends when dropped, and with the process, however that ends.
#[derive(Clone, Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held, not read")] Arc<Flock<File>>);

/// Who may hold a lock at the same time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hold {
    /// One process.
    Alone,
    /// All that ask for this.
    Shared,
}

/// Locks the file at `path`, creates it if necessary, and marks it as used now. Waits for other holders: `say` gets
/// one line about it, in which `what` says what the other run does.
///
/// # Errors
/// The file cannot be created; [`Interrupted`] while waiting.
pub(crate) fn lock(path: &Path, hold: Hold, what: &str, say: impl FnOnce(String)) -> Result<Lock> {
    let dir = path.parent().expect("a lock lies in a directory");
    fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
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

/// Takes the lock for this process alone. Returns `None` if somebody holds it; does not wait or create the file.
///
/// # Errors
/// There is no such file, or it cannot be opened.
pub(crate) fn try_lock(path: &Path) -> io::Result<Option<Lock>> {
    take(path, Hold::Alone, false)
}

/// Takes the lock unless that means waiting. `use_now` creates the file if necessary and marks it as used now.
///
/// # Errors
/// The file cannot be opened.
pub(crate) fn take(path: &Path, hold: Hold, use_now: bool) -> io::Result<Option<Lock>> {
    let file = File::options()
        .write(true)
        .create(use_now)
        .truncate(false)
        .open(path)?;
    let how = match hold {
        Hold::Alone => FlockArg::LockExclusiveNonblock,
        Hold::Shared => FlockArg::LockSharedNonblock,
    };
    let lock = match Flock::lock(file, how) {
        Ok(lock) => lock,
        Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
        Err((_, errno)) => return Err(errno.into()),
    };
    // `clean` may have removed the file between open and lock: then the lock guards nothing.
    let same = fs::metadata(path).is_ok_and(|meta| {
        lock.metadata()
            .is_ok_and(|mine| (mine.dev(), mine.ino()) == (meta.dev(), meta.ino()))
    });
    if !same {
        return Ok(None);
    }
    if use_now {
        lock.set_modified(SystemTime::now())?;
    }
    Ok(Some(Lock(Arc::new(lock))))
}

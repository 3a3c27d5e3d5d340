// SPDX-License-Identifier: MIT OR Apache-2.0
//! Changes of files, as the kernel reports them, for `cargo xtask watch`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::interrupt::{self, Interrupted};

/// Time without a change after which a series of changes is complete. Editors and git write several files in a row.
const QUIET: Duration = Duration::from_millis(300);

/// Interval at which a waiting thread checks for an interrupt.
const POLL: Duration = Duration::from_millis(100);

/// Endings of files that editors, compilers and make write beside the sources.
const NOISE: [&str; 8] = ["~", ".swp", ".swx", ".tmp", ".o", ".ko", ".a", ".cmd"];

/// Watches files and directories.
pub(crate) struct Changes {
    /// Stops watching when it is dropped.
    _watcher: RecommendedWatcher,
    events: Receiver<notify::Result<Event>>,
    /// Files that are watched without the rest of their directory.
    files: BTreeSet<PathBuf>,
    /// Directories that are watched with everything below them.
    dirs: Vec<PathBuf>,
}

impl Changes {
    /// Starts to watch `paths`: files, and directories with everything below them.
    ///
    /// # Errors
    /// A path does not exist, or the system cannot watch so many directories.
    pub(crate) fn of(paths: &[PathBuf]) -> Result<Self> {
        let (sender, events) = channel();
        let mut watcher = notify::recommended_watcher(sender).context("watch files")?;
        let (mut files, mut dirs) = (BTreeSet::new(), Vec::new());
        for path in paths {
            let path = path.canonicalize().with_context(|| format!("watch {}", path.display()))?;
            // Most editors replace a file by another, which only its directory shows.
            let (dir, mode) = match path.parent() {
                Some(parent) if path.is_file() => (parent.to_owned(), RecursiveMode::NonRecursive),
                _ => (path.clone(), RecursiveMode::Recursive),
            };
            watcher.watch(&dir, mode).with_context(|| {
                format!(
                    "watch {}; the limit is in /proc/sys/fs/inotify/max_user_watches",
                    dir.display()
                )
            })?;
            match mode {
                RecursiveMode::NonRecursive => drop(files.insert(path)),
                RecursiveMode::Recursive => dirs.push(path),
            }
        }
        Ok(Self { _watcher: watcher, events, files, dirs })
    }

    /// Waits for a change, and then until nothing has changed for a moment. Returns the first file that changed.
    ///
    /// # Errors
    /// The user interrupts the lab.
    pub(crate) fn wait(&self) -> Result<PathBuf, Interrupted> {
        let mut first: Option<PathBuf> = None;
        let mut last = Instant::now();
        loop {
            if interrupt::requested() {
                return Err(Interrupted);
            }
            match self.events.recv_timeout(POLL) {
                // Events were lost, of files that are not known.
                Ok(Ok(event)) if event.need_rescan() => {
                    last = Instant::now();
                    first.get_or_insert(self.any());
                }
                Ok(Ok(event)) => {
                    if let Some(path) = self.changed(&event) {
                        last = Instant::now();
                        first.get_or_insert(path);
                    }
                }
                Ok(Err(_)) => {
                    last = Instant::now();
                    first.get_or_insert(self.any());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Interrupted),
            }
            if let Some(path) = first.take_if(|_| last.elapsed() >= QUIET) {
                return Ok(path);
            }
        }
    }

    /// Returns one of the watched paths, for a change of which nothing else is known.
    fn any(&self) -> PathBuf {
        self.dirs.iter().chain(&self.files).next().cloned().unwrap_or_default()
    }

    /// Returns the file that an event is about, or `None` if its content did not change or it is of no interest.
    fn changed(&self, event: &Event) -> Option<PathBuf> {
        if matches!(event.kind, EventKind::Access(_)) {
            return None;
        }
        event.paths.iter().find(|path| self.is_watched(path)).cloned()
    }

    fn is_watched(&self, path: &Path) -> bool {
        let below = |dir: &PathBuf| path.strip_prefix(dir).is_ok_and(|rest| !is_noise(rest));
        self.files.contains(path) || self.dirs.iter().any(below)
    }
}

/// Returns true if a file is hidden, or was not written by a person.
fn is_noise(path: &Path) -> bool {
    let mut names = path.iter().map(|name| name.to_string_lossy());
    names.any(|name| name.starts_with('.') || NOISE.iter().any(|ending| name.ends_with(ending)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_that_no_person_writes_are_noise() {
        for noise in [".git/index", "fs/.fuse.o.cmd", "fs/fuse/dev.o", "a.yaml~", "series.swp"] {
            assert!(is_noise(Path::new(noise)), "{noise}");
        }
        for source in ["series", "fs/fuse/dev.c", "smoke.yaml", "0001-a.patch"] {
            assert!(!is_noise(Path::new(source)), "{source}");
        }
    }

    #[test]
    fn a_change_below_a_directory_or_of_a_file_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let at = |name: &str| root.join(name);
        fs::create_dir_all(at("queue/6.12")).unwrap();
        fs::write(at("one.patch"), "").unwrap();
        let changes = Changes::of(&[at("queue"), at("one.patch")]).unwrap();
        fs::write(at("queue/6.12/.series.swp"), "").unwrap();
        fs::write(at("other.patch"), "").unwrap();
        fs::write(at("queue/6.12/series"), "0001.patch").unwrap();
        assert_eq!(changes.wait().unwrap(), at("queue/6.12/series"));
        // As editors do it: the file is replaced by a new one.
        fs::write(at("new"), "better").unwrap();
        fs::rename(at("new"), at("one.patch")).unwrap();
        assert_eq!(changes.wait().unwrap(), at("one.patch"));
    }

    #[test]
    fn a_path_that_does_not_exist_is_an_error() {
        let error = Changes::of(&["/nowhere".into()]).err().unwrap();
        insta::assert_snapshot!(format!("{error:#}"), @"watch /nowhere: No such file or directory (os error 2)");
    }
}

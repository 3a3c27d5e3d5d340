// SPDX-License-Identifier: MIT OR Apache-2.0
//! Paths of the checkout, the user's cache and the run directories; writing a file atomically.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};

use crate::files;

/// Number of finished runs that stay in `target/lab`. Older ones are removed when a new run starts.
const RUNS_KEPT: usize = 20;

/// Name of the directory of the results of earlier runs.
const HISTORY: &str = "history";

/// Name of a file that protects a run directory from being removed automatically.
const KEEP_MARK: &str = "keep";

/// Returns the root of the checkout that this tool was built from.
pub(crate) fn checkout() -> PathBuf {
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let manifest = PathBuf::from(manifest);
    manifest.parent().unwrap_or(&manifest).to_owned()
}

/// Returns the lab's directory in the user's cache: `$XDG_CACHE_HOME/dmmap-lab`, or `~/.cache/dmmap-lab`.
///
/// # Errors
/// Neither variable is set.
pub(crate) fn cache() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let base = match (set("XDG_CACHE_HOME"), set("HOME")) {
        (Some(cache), _) => PathBuf::from(cache),
        (None, Some(home)) => Path::new(&home).join(".cache"),
        (None, None) => bail!("cannot locate the build cache: set XDG_CACHE_HOME or HOME"),
    };
    Ok(base.join("dmmap-lab"))
}

/// Returns the directory of the runs.
fn runs(checkout: &Path) -> PathBuf {
    checkout.join("target/lab")
}

/// Returns the directory of the results of earlier runs.
pub(crate) fn history(checkout: &Path) -> PathBuf {
    runs(checkout).join(HISTORY)
}

/// Returns the symbolic link to the newest run of a kind.
pub(crate) fn latest(checkout: &Path, kind: Latest) -> PathBuf {
    runs(checkout).join(kind.name())
}

/// Returns the newest run that has results, or a path at which there is none yet.
pub(crate) fn newest_results(checkout: &Path) -> PathBuf {
    // The name of a run is the time of its start.
    let started = |kind| fs::read_link(latest(checkout, kind)).ok();
    let newer = [Latest::Test, Latest::Run].into_iter().max_by_key(|kind| started(*kind));
    latest(checkout, newer.unwrap_or(Latest::Test))
}

/// Kind of run, each with a symbolic link to its newest run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Latest {
    /// `cargo xtask test`, with results.
    Test,
    /// `cargo xtask run`, with results.
    Run,
    /// `cargo xtask boot`.
    Boot,
    /// `cargo xtask gdb`.
    Gdb,
}

impl Latest {
    fn name(self) -> &'static str {
        match self {
            Self::Test => "latest",
            Self::Run => "latest-run",
            Self::Boot => "latest-boot",
            Self::Gdb => "latest-gdb",
        }
    }
}

/// Creates the directory of a new run, `target/lab/<UTC time>`.
///
/// Removes the oldest runs beyond [`RUNS_KEPT`], except those that were started with `keep`.
///
/// # Errors
/// The directory cannot be created.
pub(crate) fn new_run(checkout: &Path, keep: bool) -> Result<PathBuf> {
    let lab = runs(checkout);
    files::create_dir(&lab)?;
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let stem = now.trim_end_matches('Z').replace(':', "");
    let dir = (0..)
        .map(|n| match n {
            0 => lab.join(&stem),
            n => lab.join(format!("{stem}.{n}")),
        })
        .find_map(|dir| match fs::create_dir(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => None,
            made => Some(made.map(|()| dir)),
        })
        .expect("the range is unbounded")
        .with_context(|| format!("create a directory in {}", lab.display()))?;
    if keep {
        fs::write(dir.join(KEEP_MARK), "").context("mark the run as kept")?;
    }
    prune(&lab, &dir);
    Ok(dir)
}

/// Makes the link of a kind of run point at the run `dir`. The link is replaced in one step, so that a reader never finds
/// it missing.
///
/// # Errors
/// The link cannot be created.
pub(crate) fn point(checkout: &Path, kind: Latest, dir: &Path) -> Result<()> {
    let link = latest(checkout, kind);
    let name = dir.file_name().expect("a run directory has a name");
    let new = link.with_file_name(format!(".{}.{}", kind.name(), std::process::id()));
    let _ = fs::remove_file(&new);
    symlink(name, &new)
        .and_then(|()| fs::rename(&new, &link))
        .with_context(|| format!("point {} at the run", link.display()))
}

/// Returns true if the run `dir` was started with `--keep`.
pub(crate) fn is_kept(dir: &Path) -> bool {
    dir.join(KEEP_MARK).exists()
}

/// Removes old runs. Skips runs younger than a day, which may still be in progress, and ignores errors: a directory
/// that cannot be removed only costs disk space.
fn prune(lab: &Path, current: &Path) {
    let Ok(mut runs) = files::in_dir(lab) else {
        return;
    };
    let is_kept = |run: &Path| run == current || run.ends_with(HISTORY) || is_kept(run);
    runs.retain(|run| run.is_dir() && !run.is_symlink() && !is_kept(run));
    let day = Duration::from_secs(24 * 3600);
    let old = |run: &PathBuf| {
        let age = fs::metadata(run)
            .and_then(|meta| meta.modified())
            .map(|time| time.elapsed().unwrap_or_default());
        age.is_ok_and(|age| age > day)
    };
    let beyond = runs.len().saturating_sub(RUNS_KEPT);
    for run in runs.into_iter().take(beyond).filter(old) {
        let _ = fs::remove_dir_all(run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_in_the_same_second_get_separate_directories() {
        let checkout = tempfile::tempdir().unwrap();
        let first = new_run(checkout.path(), false).unwrap();
        let second = new_run(checkout.path(), true).unwrap();
        assert_ne!(first, second);
        assert!(!is_kept(&first) && is_kept(&second));
    }

    #[test]
    fn each_kind_of_run_has_a_link() {
        let checkout = tempfile::tempdir().unwrap();
        let target = |link: &str| {
            let link = fs::read_link(checkout.path().join("target/lab").join(link));
            link.ok().map(|target| target.into_os_string().into_string().unwrap())
        };
        let dir = new_run(checkout.path(), false).unwrap();
        assert_eq!(target("latest"), None);
        for name in ["one", "two"] {
            point(checkout.path(), Latest::Test, &dir.with_file_name(name)).unwrap();
            assert_eq!(target("latest").as_deref(), Some(name));
        }
        point(checkout.path(), Latest::Boot, &dir).unwrap();
        assert_eq!(target("latest").as_deref(), Some("two"));
        assert!(target("latest-boot").is_some());
    }
}

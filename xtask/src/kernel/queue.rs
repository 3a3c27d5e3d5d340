// SPDX-License-Identifier: MIT OR Apache-2.0
//! The patch queue: `kernel-patches/<VERSION.PATCHLEVEL>/series` and the patches it names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::cache;
use super::own;
use crate::shell;

/// Where patches are, in the checkout.
const DIR: &str = "kernel-patches";

/// Patches in the order they apply.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    /// The patches.
    pub patches: Vec<Patch>,
}

/// One patch.
#[derive(Clone, Debug)]
pub(crate) struct Patch {
    /// What a person calls it: `kernel-patches/6.12/0001-….patch`.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub text: Vec<u8>,
    /// Whether a source may have it already: true of a fix, which will be in some later source.
    pub may_be_in: bool,
}

/// What a queue makes of a source: for each path it touches the identity of the content and the file that has
/// it, or `None` where it takes the file away.
pub(crate) type Overlay = BTreeMap<String, Option<(String, PathBuf)>>;

/// Reads the queue for kernels of the version `series` (`6.12`).
///
/// # Errors
/// There is none for this version, or a patch that it names is not there.
pub(crate) fn read(checkout: &Path, series: &str) -> Result<Queue> {
    let below = Path::new(DIR).join(series);
    let path = below.join("series");
    let text = match fs::read_to_string(checkout.join(&path)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "there is no patch queue for Linux {series} ({}): take a source of a version that has one, \
             or --no-queue for the source as it is",
            path.display()
        ),
        text => text.with_context(|| format!("read {}", path.display()))?,
    };
    let mut patches = Vec::new();
    for (line, file) in names(&text) {
        let name = below.join(file);
        let path = checkout.join(&name);
        let text = fs::read(&path).with_context(|| {
            format!(
                "{}:{line}: read {}",
                below.join("series").display(),
                path.display()
            )
        })?;
        let name = name.display().to_string();
        patches.push(Patch {
            name,
            path,
            text,
            may_be_in: false,
        });
    }
    Ok(Queue { patches })
}

/// The patches `names` of those that mend a kernel of the version `series` for one machine or another.
///
/// # Errors
/// One is not there.
pub(crate) fn fixes(checkout: &Path, series: &str, names: &[String]) -> Result<Queue> {
    let mut queue = Queue::default();
    for name in names {
        let name = Path::new(DIR).join(series).join("fixes").join(name);
        let path = checkout.join(&name);
        queue.patches.push(Patch {
            text: fs::read(&path).with_context(|| format!("read {}", path.display()))?,
            name: name.display().to_string(),
            path,
            may_be_in: true,
        });
    }
    Ok(queue)
}

/// Names in a series file with their line numbers, as quilt reads it.
pub(crate) fn names(series: &str) -> impl Iterator<Item = (usize, &str)> {
    let words = series
        .lines()
        .map(|line| line.split('#').next().unwrap_or(line).trim());
    words
        .enumerate()
        .filter(|(_, name)| !name.is_empty())
        .map(|(at, name)| (at + 1, name))
}

/// Paths that a patch reads or writes, without the first component (`-p1`).
fn touched(patch: &[u8]) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(patch);
    let of = |line: &str| -> Option<String> {
        for prefix in ["rename from ", "rename to ", "copy from ", "copy to "] {
            if let Some(path) = line.strip_prefix(prefix) {
                return Some(path.to_owned());
            }
        }
        let path = line
            .strip_prefix("--- ")
            .or_else(|| line.strip_prefix("+++ "))?;
        let path = path.split('\t').next()?.trim_end();
        Some(path.split_once('/')?.1.to_owned())
    };
    // A line of a hunk may look like a header; what it names is then a file that does not matter, but it must
    // not be one outside the tree. `/dev/null` is `dev/null` here and not there.
    let inside = |path: &String| {
        Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
    };
    text.lines().filter_map(of).filter(inside).collect()
}

impl Queue {
    /// Adds patches that are no part of the checkout's queue.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub(crate) fn add(&mut self, files: &[PathBuf]) -> Result<()> {
        for file in files {
            let path = fs::canonicalize(file)
                .with_context(|| format!("find the patch {}", file.display()))?;
            let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            let name = file.display().to_string();
            self.patches.push(Patch {
                name,
                path,
                text,
                may_be_in: false,
            });
        }
        Ok(())
    }

    /// Applies the patches to the files of `root` that they touch, in the directory `scratch`, which is made anew.
    ///
    /// # Errors
    /// A patch does not apply: names patch, file and line. The source has the queue already: says so.
    pub(crate) fn apply(&self, root: &Path, scratch: &Path) -> Result<Overlay> {
        let touched: BTreeSet<String> = self
            .patches
            .iter()
            .flat_map(|patch| touched(&patch.text))
            .collect();
        copy_out(root, scratch, &touched)?;
        for patch in &self.patches {
            let Err(complaint) = git_apply(scratch, &[], &patch.path)? else {
                continue;
            };
            if patch.may_be_in
                && git_apply(scratch, &["--reverse", "--check"], &patch.path)?.is_ok()
            {
                continue;
            }
            if self.is_in(root, scratch, &touched)? {
                bail!(
                    "{} already has the patches of the queue: build it with --no-queue",
                    root.display()
                );
            }
            bail!("{}", refusal(&patch.name, root, &complaint));
        }
        let mut overlay = Overlay::new();
        for path in touched {
            let file = scratch.join(&path);
            let content = if file.symlink_metadata().is_ok() {
                let id =
                    own::identify(&file).with_context(|| format!("read {}", file.display()))?;
                Some((id, file))
            } else {
                None
            };
            overlay.insert(path, content);
        }
        Ok(overlay)
    }

    /// Whether the whole queue can be taken off the source again.
    fn is_in(&self, root: &Path, scratch: &Path, touched: &BTreeSet<String>) -> Result<bool> {
        copy_out(root, scratch, touched)?;
        for patch in self.patches.iter().rev() {
            if git_apply(scratch, &["--reverse"], &patch.path)?.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn copy_out(root: &Path, scratch: &Path, paths: &BTreeSet<String>) -> Result<()> {
    let copy = || -> std::io::Result<()> {
        cache::remove_dir(scratch)?;
        fs::create_dir_all(scratch)?;
        for path in paths {
            let (from, to) = (root.join(path), scratch.join(path));
            // A file that the queue adds is not there.
            if from.is_file() {
                fs::create_dir_all(to.parent().expect("below the scratch directory"))?;
                fs::copy(from, to)?;
            }
        }
        Ok(())
    };
    copy().with_context(|| {
        format!(
            "copy the files that the queue touches from {} to {}",
            root.display(),
            scratch.display()
        )
    })
}

/// git apply rather than patch(1): git is on every machine that has this checkout, and it never guesses (no fuzz).
/// The inner error is what it complained of.
fn git_apply(
    dir: &Path,
    options: &[&str],
    patch: &Path,
) -> Result<std::result::Result<(), String>> {
    let dir = fs::canonicalize(dir).with_context(|| format!("find {}", dir.display()))?;
    let sh = shell::in_dir(&dir)?;
    let git = shell::git(&sh).args(["apply", "--whitespace=nowarn"]);
    let output = shell::output(git.args(options).arg(patch))?;
    Ok(match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    })
}

/// What to say of a patch that does not apply; `complaint` is git's.
fn refusal(patch: &str, root: &Path, complaint: &str) -> String {
    let place = complaint
        .lines()
        .find_map(|line| line.strip_prefix("error: patch failed: ")?.rsplit_once(':'))
        .map(|(file, line)| format!(" at {file}, line {line}"))
        .unwrap_or_default();
    let complaint: String = complaint
        .lines()
        .map(|line| format!("\n    {line}"))
        .collect();
    format!(
        "{patch} does not apply{place}\n  to {}:{complaint}\n\
         docs/kernel-queue.md says how to bring the queue up to a source; --no-queue builds without it",
        root.display()
    )
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The patch queue: `kernel-patches/VERSION/series` and the patches that it lists. [`stacks`] describes the format of
//! `series`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::cache;
use super::fixes::{self, Fixes};
use super::stacks::{self, Stack};
use super::user_tree;
use crate::kernel_version::{PatchRanges, Version, VersionRange};
use crate::{files, shell};

/// Directory of the patches in the checkout.
pub(crate) const DIR: &str = "kernel-patches";

/// Patches in the order in which they apply.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    pub patches: Vec<Patch>,
    /// Stacks of the queue, in the order of their patches. Empty if the series has no headings.
    pub stacks: Vec<Stack>,
    /// Entries of the series that are for other versions.
    pub left_out: Vec<LeftOut>,
}

/// Entry of a series that names a fix for other versions.
#[derive(Clone, Debug)]
pub(crate) struct LeftOut {
    /// Stack of the entry; `None` if the series has no headings.
    stack: Option<String>,
    /// Line for the user.
    pub note: String,
}

/// Part of the queue to apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// No patch.
    Nothing,
    /// All patches.
    All,
    /// The stack of this name, and the stacks that it needs.
    Stack(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Patch {
    /// Name for messages: `kernel-patches/6.12/0001-….patch`.
    pub name: String,
    pub path: PathBuf,
    pub text: Vec<u8>,
    /// File name of a fix; `None` for a patch of the queue's own. A fix is passed over if the source already contains
    /// it, because later sources will contain it.
    pub fix: Option<String>,
}

impl Patch {
    /// Reads the patch `path`, which messages call `name`.
    pub(super) fn read(name: &Path, path: PathBuf) -> Result<Self> {
        Ok(Self {
            name: name.display().to_string(),
            text: files::read_bytes(&path)?,
            path,
            fix: None,
        })
    }
}

/// Files that a queue touches, by path: an identifier of the new content and the file that holds it, or `None` if the
/// queue removes the file.
pub(crate) type Overlay = BTreeMap<String, Option<(String, PathBuf)>>;

/// Result of [`Queue::apply`].
#[derive(Debug)]
pub(crate) struct Applied {
    /// The files that the patches touch.
    pub overlay: Overlay,
    /// Names of the fixes that were passed over, because the source already contains them.
    pub present: Vec<String>,
}

/// Reads the queue for kernels of `version`.
///
/// # Errors
/// The version has no queue, its series has a mistake, or a patch or a cover letter is missing.
pub(crate) fn read(checkout: &Path, version: Version) -> Result<Queue> {
    let dir = Path::new(DIR).join(version.to_string());
    let path = dir.join("series");
    let Some(text) = files::read_if_exists(&checkout.join(&path))? else {
        bail!(
            "there is no patch queue for Linux {version} ({}): use a source of a version that has a queue, \
             or build the unpatched source with --no-queue",
            path.display()
        );
    };
    let series = stacks::parse(&text, &path.display().to_string())?;
    let fixes = Fixes::load(checkout, version)?;
    let mut queue = Queue::default();
    // Number of patches that the first entries of the series stand for, by the number of entries.
    let mut counts = vec![0];
    for (at, (line, file)) in series.patches.into_iter().enumerate() {
        let place = || format!("{}:{line}", path.display());
        match file.strip_prefix(fixes::PREFIX) {
            None => {
                let name = dir.join(file);
                let patch = Patch::read(&name, checkout.join(&name)).with_context(place)?;
                queue.patches.push(patch);
            }
            Some(fix) => match fixes.read(fix).with_context(place)? {
                Ok(patch) => queue.patches.push(patch),
                Err(range) => {
                    let stack = series.stacks.iter().find(|stack| at < stack.end);
                    let stack = stack.map(|stack| stack.name.clone());
                    let note =
                        format!("{} was passed over: it is for {range}", fixes::shared_name(fix));
                    queue.left_out.push(LeftOut { stack, note });
                }
            },
        }
        counts.push(queue.patches.len());
    }
    for stack in series.stacks {
        let letter = read_letter(checkout, &dir, &stack.name)?;
        queue.stacks.push(Stack { letter, end: counts[stack.end], ..stack });
    }
    Ok(queue)
}

/// Reads the cover letter of the stack `name`.
fn read_letter(checkout: &Path, dir: &Path, name: &str) -> Result<String> {
    let path = dir.join(stacks::cover_file(name));
    let text = files::read_if_exists(&checkout.join(&path))?.unwrap_or_default();
    match stacks::split_letter(&text).1 {
        "" => bail!(
            "the stack {name} has no cover letter: write a subject, an empty line and the text to {}",
            path.display()
        ),
        letter => Ok(letter.to_owned()),
    }
}

/// Reads the part `selection` of the queue for kernels of `version`.
///
/// # Errors
/// As [`read`], or there is no such stack.
pub(crate) fn read_selected(
    checkout: &Path,
    version: Version,
    selection: &Selection,
) -> Result<Queue> {
    match selection {
        Selection::Nothing => Ok(Queue::default()),
        Selection::All => read(checkout, version),
        Selection::Stack(name) => read(checkout, version)?.up_to(name, version),
    }
}

/// Returns the range of the versions that the patch `file` is for, by the file `versions.yaml` in its directory.
///
/// # Errors
/// `versions.yaml` does not parse.
pub(crate) fn range(file: &Path) -> Result<VersionRange> {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = file.file_name().unwrap_or_default();
    Ok(PatchRanges::load(dir)?.of(&name.to_string_lossy()))
}

/// Returns the paths that a patch reads or writes, without the first component (`-p1`).
pub(super) fn touched(patch: &[u8]) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(patch);
    let path_in = |line: &str| -> Option<String> {
        let mut moves = ["rename from ", "rename to ", "copy from ", "copy to "].iter();
        if let Some(path) = moves.find_map(|prefix| line.strip_prefix(prefix)) {
            return Some(path.to_owned());
        }
        let path = line.strip_prefix("--- ").or_else(|| line.strip_prefix("+++ "))?;
        Some(path.split('\t').next()?.trim_end().split_once('/')?.1.to_owned())
    };
    // A line of a hunk may look like a file header. Its path is harmless if it stays inside the tree. `/dev/null`
    // becomes `dev/null`, which does not exist in the tree.
    let inside = |path: &String| {
        Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
    };
    text.lines().filter_map(path_in).filter(inside).collect()
}

impl Queue {
    /// Returns the paths that the patches read or write.
    pub(crate) fn touched(&self) -> BTreeSet<String> {
        self.patches.iter().flat_map(|patch| touched(&patch.text)).collect()
    }

    /// Returns a queue of the first `patches` patches, without stacks.
    pub(super) fn first(&self, patches: usize) -> Queue {
        Queue { patches: self.patches[..patches].to_vec(), ..Queue::default() }
    }

    /// Returns the stack `name` of the queue of `version`, and the stacks that it needs.
    fn up_to(&self, name: &str, version: Version) -> Result<Queue> {
        let Some(needed) = stacks::needed(&self.stacks, name) else {
            let names: Vec<&str> = self.stacks.iter().map(|stack| stack.name.as_str()).collect();
            if names.is_empty() {
                bail!("--stack {name}: the queue of Linux {version} has no stacks; omit --stack");
            }
            bail!(
                "--stack {name}: the queue of Linux {version} has no such stack; choose one of: {}",
                names.join(", ")
            );
        };
        let mut queue = Queue::default();
        for at in needed {
            let start = at.checked_sub(1).map_or(0, |above| self.stacks[above].end);
            let stack = &self.stacks[at];
            queue.patches.extend_from_slice(&self.patches[start..stack.end]);
            queue.stacks.push(Stack { end: queue.patches.len(), ..stack.clone() });
            let of_stack = |entry: &&LeftOut| entry.stack.as_ref() == Some(&stack.name);
            queue.left_out.extend(self.left_out.iter().filter(of_stack).cloned());
        }
        Ok(queue)
    }

    /// Appends the queue `other`. A fix that both have is applied only in the place that `other` has for it.
    pub(crate) fn append(&mut self, other: Queue) {
        self.patches.retain(|patch| other.patches.iter().all(|theirs| theirs.path != patch.path));
        let before = self.patches.len();
        self.patches.extend(other.patches);
        let stacks = other.stacks.into_iter();
        self.stacks.extend(stacks.map(|stack| Stack { end: stack.end + before, ..stack }));
        self.left_out.extend(other.left_out);
    }

    /// Appends patches that are not part of the checkout's queue to the queue of `version`.
    ///
    /// # Errors
    /// A patch cannot be read, or is for other versions.
    pub(crate) fn add(&mut self, files: &[PathBuf], version: Version) -> Result<()> {
        for file in files {
            let range = range(file)?;
            if !range.contains(version) {
                bail!("{} is for {range}, and this source is Linux {version}", file.display());
            }
            let path = fs::canonicalize(file)
                .with_context(|| format!("open the patch {}", file.display()))?;
            self.patches.push(Patch::read(file, path)?);
        }
        Ok(())
    }

    /// Applies the patches to copies of the files in `root` that they touch. The copies are in `scratch`, whose old
    /// content is removed. Passes over fixes that the source already contains.
    ///
    /// # Errors
    /// A patch does not apply, or the source already contains the queue. The error names the patch, the file and the
    /// line.
    pub(crate) fn apply(&self, root: &Path, scratch: &Path) -> Result<Applied> {
        let touched = self.touched();
        copy_out(root, scratch, &touched)?;
        let mut present = Vec::new();
        for patch in &self.patches {
            let Err(message) = git_apply(scratch, &[], &patch.path)? else {
                continue;
            };
            if patch.fix.is_some()
                && git_apply(scratch, &["--reverse", "--check"], &patch.path)?.is_ok()
            {
                present.push(patch.name.clone());
                continue;
            }
            if self.is_applied(root, scratch, &touched)? {
                bail!(
                    "{} already contains the patches of the queue: build it with --no-queue",
                    root.display()
                );
            }
            bail!("{}", describe_failure(&patch.name, root, &message));
        }
        let mut overlay = Overlay::new();
        for path in touched {
            let file = scratch.join(&path);
            let content = if file.symlink_metadata().is_ok() {
                let id = user_tree::identify(&file)
                    .with_context(|| format!("read {}", file.display()))?;
                Some((id, file))
            } else {
                None
            };
            overlay.insert(path, content);
        }
        Ok(Applied { overlay, present })
    }

    /// Returns true if the source contains the whole queue: all patches can be reverted.
    fn is_applied(&self, root: &Path, scratch: &Path, touched: &BTreeSet<String>) -> Result<bool> {
        copy_out(root, scratch, touched)?;
        for patch in self.patches.iter().rev() {
            if git_apply(scratch, &["--reverse"], &patch.path)?.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Returns true if the tree in `dir` already contains the change of `patch`.
pub(super) fn is_present(dir: &Path, patch: &Patch) -> Result<bool> {
    let applies = |options: &[&str]| git_apply(dir, options, &patch.path).map(|done| done.is_ok());
    Ok(!applies(&["--check"])? && applies(&["--reverse", "--check"])?)
}

fn copy_out(root: &Path, scratch: &Path, paths: &BTreeSet<String>) -> Result<()> {
    let copy = || -> std::io::Result<()> {
        cache::remove_dir(scratch)?;
        fs::create_dir_all(scratch)?;
        for path in paths {
            let (from, to) = (root.join(path), scratch.join(path));
            // A file that the queue adds does not exist yet.
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

/// Applies a patch in `dir`. The inner error is git's message.
///
/// Uses `git apply` and not patch(1), because every machine with this checkout has git, and `git apply` never guesses
/// (no fuzz).
fn git_apply(
    dir: &Path,
    options: &[&str],
    patch: &Path,
) -> Result<std::result::Result<(), String>> {
    let dir = fs::canonicalize(dir).with_context(|| format!("resolve {}", dir.display()))?;
    let sh = shell::in_dir(&dir)?;
    let git = shell::git(&sh).args(["apply", "--whitespace=nowarn"]);
    let output = shell::output(git.args(options).arg(patch))?;
    Ok(match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    })
}

/// Returns the error text for a patch that does not apply. `message` is git's error.
fn describe_failure(patch: &str, root: &Path, message: &str) -> String {
    let place = message
        .lines()
        .find_map(|line| line.strip_prefix("error: patch failed: ")?.rsplit_once(':'))
        .map(|(file, line)| format!(" at {file}, line {line}"))
        .unwrap_or_default();
    let message: String = message.lines().map(|line| format!("\n    {line}")).collect();
    format!(
        "{patch} does not apply{place}\n  in the source {}:{message}\n\
         Adapt the queue to this source (docs/kernel-queue.md), or build without it (--no-queue)",
        root.display()
    )
}

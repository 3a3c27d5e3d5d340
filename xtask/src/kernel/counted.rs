// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a reader of a kernel's counts has to know of its source: kept with a kernel that counts, because the tree it was
//! built from may be another one by then.
//!
//! ```text
//! counted/dmmap.c      a source that the patch queue has changed, with the queue
//! counted/dmmap.gcno   what the compiler says of an object: which count is which line
//! counted/dev.c.diff   of a source that was there before: where the queue has changed it
//! ```

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::queue::{self, Overlay};
use super::{file_name, slot};

/// Where it lies, in a kernel's directory.
pub const DIR: &str = "counted";

/// What the name of a file of differences ends in.
pub const DIFF: &str = ".diff";

/// What a kernel is built from.
pub(super) struct Trees<'a> {
    /// The source without the queue.
    pub base: &'a Path,
    /// The source with it.
    pub tree: &'a Path,
    /// The objects.
    pub obj: &'a Path,
}

/// Puts what is to be known of the directory `dir` into `result`; `overlay` is what the queue changes. Where it changes
/// nothing there, as in a source that has the feature already, every file is taken as new.
pub(super) fn publish(dir: &str, trees: &Trees, overlay: &Overlay, result: &Path) -> Result<()> {
    let Trees { base, tree, obj } = trees;
    let into = result.join(DIR);
    fs::create_dir_all(&into).with_context(|| format!("make {}", into.display()))?;
    let below = |path: &&String| path.rsplit_once('/').is_some_and(|(above, _)| above == dir);
    let changed: Vec<&String> = overlay.keys().filter(below).collect();
    for name in names(&tree.join(dir), &[".c", ".h"])? {
        let path = format!("{dir}/{name}");
        let is_changed = changed.contains(&&path);
        if is_changed || changed.is_empty() {
            slot::copy_synced(&tree.join(&path), &into.join(&name))?;
        }
        if is_changed && base.join(&path).exists() {
            let diff = differences(&base.join(&path), &tree.join(&path))?;
            fs::write(into.join(name + DIFF), diff).context("keep what the queue changes")?;
        }
    }
    for name in names(&obj.join(dir), &[".gcno"])? {
        slot::copy_synced(&obj.join(dir).join(&name), &into.join(file_name(&name)))?;
    }
    Ok(())
}

/// Names of the files in `dir` that end in one of `endings`.
fn names(dir: &Path, endings: &[&str]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if endings.iter().any(|ending| name.ends_with(ending)) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Where two files differ, as `diff -U0` tells it.
fn differences(old: &Path, new: &Path) -> Result<Vec<u8>> {
    let output = queue::git(Path::new("/"))
        .args([
            "diff",
            "--no-index",
            "--unified=0",
            "--no-color",
            "--no-ext-diff",
        ])
        .args([old, new])
        .output()
        .context("run git diff")?;
    // 1: they differ.
    if !matches!(output.status.code(), Some(0 | 1)) {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("git diff {} {} failed: {why}", old.display(), new.display());
    }
    Ok(output.stdout)
}

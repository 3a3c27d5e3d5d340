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

use super::queue::Overlay;
use super::slot;
use crate::shell;

/// Where it lies, in a kernel's directory.
pub(crate) const DIR: &str = "counted";

/// What the name of a file of differences ends in.
pub(crate) const DIFF: &str = ".diff";

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
        slot::copy_synced(&obj.join(dir).join(&name), &into.join(name))?;
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
    let sh = shell::in_dir(Path::new("/"))?;
    let words = "diff --no-index --unified=0 --no-color --no-ext-diff";
    let git = shell::git(&sh).args(words.split(' ')).args([old, new]);
    let output = shell::output(git)?;
    // 1: they differ.
    if !matches!(output.status.code(), Some(0 | 1)) {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("git diff {} {} failed: {why}", old.display(), new.display());
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Trees with these files, and what is kept of them.
    fn published(files: &[(&str, &str)], changed: &[&str]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let [base, tree, obj] = ["base", "tree", "obj"].map(|name| dir.path().join(name));
        for root in [&base, &tree, &obj] {
            fs::create_dir_all(root.join("fs/fuse")).unwrap();
        }
        for (path, text) in files {
            fs::write(dir.path().join(path), text).unwrap();
        }
        let changed = changed.iter().map(|path| ((*path).to_owned(), None));
        let trees = Trees {
            base: &base,
            tree: &tree,
            obj: &obj,
        };
        let result = dir.path().join("result");
        publish("fs/fuse", &trees, &changed.collect(), &result).unwrap();
        let kept = result.join(DIR);
        let mut names = names(&kept, &[""]).unwrap();
        names.sort();
        if let Ok(diff) = fs::read_to_string(kept.join("dev.c.diff")) {
            names.extend(diff.lines().skip(4).map(str::to_owned));
        }
        names
    }

    const FILES: [(&str, &str); 6] = [
        ("base/fs/fuse/dev.c", "one\ntwo\n"),
        ("tree/fs/fuse/dev.c", "one\nnew\ntwo\n"),
        ("tree/fs/fuse/dmmap.c", "new\n"),
        ("tree/fs/fuse/dir.c", "old\n"),
        ("obj/fs/fuse/dir.gcno", ""),
        ("obj/fs/fuse/dmmap.o", ""),
    ];

    #[test]
    fn what_the_queue_changes_is_kept_with_where_it_does() {
        let changed = [
            "fs/fuse/dev.c",
            "fs/fuse/dmmap.c",
            "fs/fuse/gone.c",
            "mm/a.c",
        ];
        assert_eq!(
            published(&FILES, &changed),
            [
                "dev.c",
                "dev.c.diff",
                "dir.gcno",
                "dmmap.c",
                "@@ -1,0 +2 @@ one",
                "+new"
            ]
        );
    }

    #[test]
    fn of_a_source_without_a_queue_all_is_kept() {
        let all = ["dev.c", "dir.c", "dir.gcno", "dmmap.c"];
        assert_eq!(published(&FILES, &[]), all);
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files that a coverage report needs besides the counts. They are stored with the kernel, because the source tree may
//! have changed by the time of the report.
//!
//! ```text
//! counted/dmmap.c      a source file of the patched tree that the queue adds or changes
//! counted/dmmap.gcno   the compiler's notes on an object: which count belongs to which line
//! counted/dev.c.diff   the queue's changes to a source file that the unpatched source contains
//! ```

use std::path::Path;

use anyhow::{Result, bail};

use super::cache;
use super::queue::Overlay;
use crate::{files, shell};

/// Name of the subdirectory for these files in a kernel's directory.
pub(crate) const DIR: &str = "counted";

/// Suffix of the files with the queue's changes.
pub(crate) const DIFF_SUFFIX: &str = ".diff";

/// Directories of a kernel build.
pub(super) struct Trees<'a> {
    /// Unpatched source.
    pub base: &'a Path,
    /// Patched source.
    pub tree: &'a Path,
    /// Objects.
    pub obj: &'a Path,
}

/// Copies the files for the source directory `dir` to `result`. `overlay` holds the files that the queue changes. If
/// the queue changes no file in `dir`, as with a source that already contains the feature, copies every source file
/// without a diff.
pub(super) fn publish(dir: &str, trees: &Trees, overlay: &Overlay, result: &Path) -> Result<()> {
    let Trees { base, tree, obj } = trees;
    let into = result.join(DIR);
    files::create_dir(&into)?;
    let in_dir = |path: &&String| path.rsplit_once('/').is_some_and(|(parent, _)| parent == dir);
    let changed: Vec<&String> = overlay.keys().filter(in_dir).collect();
    for name in file_names(&tree.join(dir), &[".c", ".h"])? {
        let path = format!("{dir}/{name}");
        let is_changed = changed.contains(&&path);
        if is_changed || changed.is_empty() {
            cache::copy_synced(&tree.join(&path), &into.join(&name))?;
        }
        if is_changed && base.join(&path).exists() {
            let diff = diff(&base.join(&path), &tree.join(&path))?;
            files::write(&into.join(name + DIFF_SUFFIX), diff)?;
        }
    }
    for name in file_names(&obj.join(dir), &[".gcno"])? {
        cache::copy_synced(&obj.join(dir).join(&name), &into.join(name))?;
    }
    Ok(())
}

/// Returns the names of the files in `dir` that end in one of `suffixes`.
fn file_names(dir: &Path, suffixes: &[&str]) -> Result<Vec<String>> {
    let paths = files::in_dir(dir)?;
    let names = paths.iter().filter_map(|path| path.file_name()?.to_str());
    let wanted = |name: &&str| suffixes.iter().any(|suffix| name.ends_with(suffix));
    Ok(names.filter(wanted).map(str::to_owned).collect())
}

/// Returns the differences of two files in the format of `diff -U0`.
fn diff(old: &Path, new: &Path) -> Result<Vec<u8>> {
    let sh = shell::in_dir(Path::new("/"))?;
    let words = "diff --no-index --unified=0 --no-color --no-ext-diff";
    let git = shell::git(&sh).args(words.split(' ')).args([old, new]);
    let output = shell::output(git)?;
    // Exit code 1: the files differ.
    if !matches!(output.status.code(), Some(0 | 1)) {
        let message = String::from_utf8_lossy(&output.stderr);
        bail!("git diff {} {} failed: {message}", old.display(), new.display());
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Creates trees with `files`, publishes them, and returns the names of the copied files and the lines of
    /// `dev.c.diff`.
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
        let trees = Trees { base: &base, tree: &tree, obj: &obj };
        let result = dir.path().join("result");
        publish("fs/fuse", &trees, &changed.collect(), &result).unwrap();
        let copies = result.join(DIR);
        let mut names = file_names(&copies, &[""]).unwrap();
        names.sort();
        if let Ok(diff) = fs::read_to_string(copies.join("dev.c.diff")) {
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
    fn changed_files_are_copied_with_their_diff() {
        let changed = ["fs/fuse/dev.c", "fs/fuse/dmmap.c", "fs/fuse/gone.c", "mm/a.c"];
        assert_eq!(
            published(&FILES, &changed),
            ["dev.c", "dev.c.diff", "dir.gcno", "dmmap.c", "@@ -1,0 +2 @@ one", "+new"]
        );
    }

    #[test]
    fn without_a_queue_every_file_is_copied() {
        let all = ["dev.c", "dir.c", "dir.gcno", "dmmap.c"];
        assert_eq!(published(&FILES, &[]), all);
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Editing the patch queue: out into a git tree with one commit a patch, and back.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::cache::Cache;
use super::queue::{self, Queue};
use super::source::{self, Source};
use super::{Progress, user_tree};
use crate::shell;

/// Tag of the commit that the queue starts from.
const BASE: &str = "queue-base";

/// Makes the new directory `place` a git tree of the source with a commit for each patch of its queue.
///
/// # Errors
/// `place` is there already; the source cannot be had; a patch does not apply, in which case the tree is left as
/// `git am` leaves it, for a person to go on with.
pub fn checkout(
    place: &Path,
    lab: &Path,
    cache: &Path,
    source: &Source,
    progress: &mut dyn FnMut(Progress),
) -> Result<()> {
    if place.exists() {
        bail!(
            "{} is there already: name a directory to make",
            place.display()
        );
    }
    let base = source::open(source, Cache(cache), progress)?;
    let queue = queue::read(lab, &base.series)?;
    progress(Progress::step(format!("copy {}", base.name)));
    for path in base.listing()?.keys() {
        copy(&base.root.join(path), &place.join(path))?;
    }
    progress(Progress::step("put it into git".into()));
    let git = |words: &[&str]| git(place, words);
    git(&["init", "--quiet", "--initial-branch=queue"])?;
    move_ignores(place)?;
    git(&["add", "--all", "--force"])?;
    git(&["commit", "--quiet", "--message", &base.name])?;
    git(&["tag", BASE])?;
    progress(Progress::step(format!(
        "apply {} patches",
        queue.patches.len()
    )));
    apply(place, &queue)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let copy = || -> std::io::Result<()> {
        fs::create_dir_all(to.parent().expect("below a directory"))?;
        if from.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(from)?, to)
        } else {
            fs::copy(from, to).map(drop)
        }
    };
    copy().with_context(|| format!("copy {} to {}", from.display(), to.display()))
}

/// Debian's `.gitignore` ignores the whole source, so that git would not show a new file. Its other lines go where
/// git looks for what is nobody else's business.
fn move_ignores(place: &Path) -> Result<()> {
    let file = place.join(".gitignore");
    let Ok(text) = fs::read_to_string(&file) else {
        return Ok(());
    };
    if text.lines().any(|line| line == "/*") {
        let kept: Vec<&str> = text.lines().filter(|line| *line != "/*").collect();
        crate::paths::write_whole(&place.join(".git/info/exclude"), kept.join("\n").as_bytes())?;
        fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))?;
    }
    Ok(())
}

fn apply(place: &Path, queue: &Queue) -> Result<()> {
    for (at, patch) in queue.patches.iter().enumerate() {
        let words = ["am", "--quiet", "--committer-date-is-author-date"].map(str::to_owned);
        let path = patch.path.display().to_string();
        let words: Vec<&str> = words
            .iter()
            .map(String::as_str)
            .chain([path.as_str()])
            .collect();
        let Err(complaint) = git(place, &words) else {
            continue;
        };
        let rest: String = queue.patches[at + 1..]
            .iter()
            .map(|patch| format!("\n  {}", patch.path.display()))
            .collect();
        let rest = if rest.is_empty() { "\n  (none)" } else { &rest };
        bail!(
            "{} does not apply: {complaint:#}\n{} is left as git am left it. Make the change by hand \
             (`patch -p1 <.git/rebase-apply/patch` leaves .rej files), `git add` it, `git am --continue`, \
             and `git am` what is left:{rest}",
            patch.name,
            place.display(),
        );
    }
    Ok(())
}

/// What [`export`] wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The queue's directory.
    pub dir: PathBuf,
    /// Names of the patches.
    pub patches: Vec<String>,
}

/// Writes the commits of the git tree `place` back into the queue of its version, in place of what was there.
///
/// # Errors
/// `place` is no tree that [`checkout`] made, or has changes that are in no commit.
pub fn export(place: &Path, lab: &Path) -> Result<Exported> {
    let base = format!("refs/tags/{BASE}");
    git(place, &["rev-parse", "--verify", "--quiet", &base]).with_context(|| {
        format!(
            "{}: no tag {BASE}: is this a tree of `queue checkout`?",
            place.display()
        )
    })?;
    let changed = git(place, &["status", "--porcelain", "--untracked-files=no"])?;
    if !changed.is_empty() {
        bail!(
            "{} has changes that are in no commit:\n{}",
            place.display(),
            changed.trim_end()
        );
    }
    let dir = lab.join("kernel-patches").join(source::series(place)?);
    let scratch = tempfile::tempdir().context("make a temporary directory")?;
    let out = scratch
        .path()
        .to_str()
        .context("a temporary directory with a name in UTF-8")?;
    let range = format!("{BASE}..HEAD");
    let words = [
        "format-patch",
        "--quiet",
        "--no-signature",
        "--zero-commit",
        "-N",
        "-o",
        out,
        &range,
    ];
    git(place, &words)?;
    let mut patches = user_tree::walk(scratch.path())?;
    patches.sort();
    replace(&dir, scratch.path(), &patches)?;
    Ok(Exported { dir, patches })
}

/// Puts the patches of `from` in place of those that the series in `dir` names.
fn replace(dir: &Path, from: &Path, patches: &[String]) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    let series = dir.join("series");
    let old = fs::read_to_string(&series).unwrap_or_default();
    for patch in patches {
        let path = from.join(patch);
        let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        crate::paths::write_whole(&dir.join(patch), &text)?;
    }
    crate::paths::write_whole(&series, new_series(&old, patches).as_bytes())?;
    for (_, gone) in queue::names(&old).filter(|(_, name)| !patches.iter().any(|p| p == name)) {
        let path = dir.join(gone);
        if path.exists() {
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// A series file: the comment that `old` begins with, and the names.
fn new_series(old: &str, patches: &[String]) -> String {
    let comment: Vec<&str> = old
        .lines()
        .take_while(|line| line.starts_with('#'))
        .collect();
    let lines = comment
        .into_iter()
        .chain(patches.iter().map(String::as_str));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Runs git in `place` and returns what it prints. The user's settings do not matter: the patches are the same
/// everywhere.
fn git(place: &Path, words: &[&str]) -> Result<String> {
    let sh = shell::in_dir(place)?;
    let git = shell::git(&sh).args(words).envs([
        // As -c gc.auto=0 -c core.autocrlf=false.
        ("GIT_CONFIG_COUNT", "2"),
        ("GIT_CONFIG_KEY_0", "gc.auto"),
        ("GIT_CONFIG_VALUE_0", "0"),
        ("GIT_CONFIG_KEY_1", "core.autocrlf"),
        ("GIT_CONFIG_VALUE_1", "false"),
        // git am asks for a committer; the patches name their authors.
        ("GIT_COMMITTER_NAME", "queue"),
        ("GIT_COMMITTER_EMAIL", "queue@localhost"),
        ("GIT_AUTHOR_NAME", "queue"),
        ("GIT_AUTHOR_EMAIL", "queue@localhost"),
    ]);
    shell::read(git)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_keeps_its_first_comment() {
        let old =
            "# SPDX-License-Identifier: GPL-2.0-only\n0001-a.patch\n# not this one\n0002-b.patch\n";
        let new = new_series(old, &["0001-c.patch".to_owned()]);
        assert_eq!(
            new,
            "# SPDX-License-Identifier: GPL-2.0-only\n0001-c.patch\n"
        );
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Editing the patch queue: converts it to a git tree with one commit per patch, and back.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use xshell::{Cmd, Shell};

use super::cache::Cache;
use super::fixes;
use super::queue::{self, Queue, Selection};
use super::sender::{self, Identity};
use super::source::{self, Base, Source};
use super::stacks::{self, Stack};
use super::{Progress, branches, tree, user_tree};
use crate::{files, shell};

/// Tag of the commit with the unpatched source.
pub(super) const BASE: &str = "queue-base";

/// Creates the directory `place` with a git tree of the source and one commit per patch of the `selection` of its
/// queue. `lab` is the root of the checkout.
///
/// # Errors
/// `place` already exists, the source is not available, or a patch does not apply. In the last case, the tree is left
/// in the middle of `git am`, so that the user can continue by hand.
pub fn checkout(
    place: &Path,
    lab: &Path,
    cache: &Path,
    source: &Source,
    selection: &Selection,
    progress: &mut dyn FnMut(Progress),
) -> Result<()> {
    check_new(place)?;
    let base = source::open(source, Cache(cache), progress)?;
    let queue = queue::read_selected(lab, base.version, selection)?;
    progress(Progress::step(format!("copy {}", base.name)));
    create(place, &base, base.listing()?.keys())?;
    progress(Progress::step(format!("apply {} patches", queue.patches.len())));
    if let Selection::Stack(name) = selection {
        branches::set_partial(place, name)?;
    }
    apply(place, &queue, progress)?;
    Ok(())
}

/// Rejects a path that exists.
pub(super) fn check_new(place: &Path) -> Result<()> {
    if place.exists() {
        bail!("{} already exists: give the path of a new directory", place.display());
    }
    Ok(())
}

/// Creates a git tree in `place` with the files `paths` of the source `base`, in one commit with the tag [`BASE`].
pub(super) fn create<'p>(
    place: &Path,
    base: &Base,
    paths: impl Iterator<Item = &'p String>,
) -> Result<()> {
    for path in paths {
        let (from, to) = (base.root.join(path), place.join(path));
        tree::replace(&from, &to)
            .with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    }
    files::create_dir(place)?;
    let git = |words: &[&str]| git(place, words);
    git(&["init", "--quiet", "--initial-branch=queue"])?;
    move_ignores(place)?;
    git(&["add", "--all", "--force"])?;
    git(&["commit", "--quiet", "--allow-empty", "--message", &base.name])?;
    git(&["tag", BASE])?;
    // A rebase of the branch queue moves the branches of the stacks too.
    git(&["config", "rebase.updateRefs", "true"])?;
    Ok(())
}

/// Removes Debian's `.gitignore`. It ignores the whole source, which would hide new files from git. Its other lines
/// move to `.git/info/exclude`, which is not part of any commit.
fn move_ignores(place: &Path) -> Result<()> {
    let file = place.join(".gitignore");
    let Ok(text) = fs::read_to_string(&file) else {
        return Ok(());
    };
    if text.lines().any(|line| line == "/*") {
        let kept: Vec<&str> = text.lines().filter(|line| *line != "/*").collect();
        files::write_atomically(&place.join(".git/info/exclude"), kept.join("\n"))?;
        files::remove(&file)?;
    }
    Ok(())
}

/// Applies each patch of the queue as a commit, and creates the branches of the stacks. Passes over fixes that the
/// source already contains, and reports them. Returns for each patch true if there is a commit of it.
pub(super) fn apply(
    place: &Path,
    queue: &Queue,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<bool>> {
    queue.left_out.iter().for_each(|entry| progress(Progress::step(entry.note.clone())));
    let mut applied = Vec::new();
    for (at, patch) in queue.patches.iter().enumerate() {
        let is_present = patch.fix.is_some() && queue::is_present(place, patch)?;
        match is_present {
            true => progress(Progress::step(format!(
                "{} was passed over: the source already contains this fix",
                patch.name
            ))),
            false => apply_patch(place, queue, at)?,
        }
        applied.push(!is_present);
        branches::create(place, &queue.stacks, &applied)?;
    }
    Ok(applied)
}

/// Applies the patch at the position `at` of the queue as a commit.
fn apply_patch(place: &Path, queue: &Queue, at: usize) -> Result<()> {
    let patch = &queue.patches[at];
    let path = patch.path.display().to_string();
    let words = ["am", "--quiet", "--committer-date-is-author-date", &path];
    let Err(error) = git(place, &words) else {
        return Ok(());
    };
    let mut remaining: String = queue.patches[at + 1..]
        .iter()
        .map(|patch| format!("\n  {}", patch.path.display()))
        .collect();
    if remaining.is_empty() {
        remaining = "\n  (none)".into();
    }
    bail!(
        "{} does not apply: {error:#}\nTo continue in {}, make the change by hand (`patch -p1 \
         <.git/rebase-apply/patch` writes .rej files), run `git add` and `git am --continue`, \
         and then `git am` with each remaining patch:{remaining}{}",
        patch.name,
        place.display(),
        remaining_branches(&queue.stacks, at),
    );
}

/// Returns a line about the branches that do not exist if the patch at the position `at` does not apply.
fn remaining_branches(stacks: &[Stack], at: usize) -> String {
    let remaining = stacks.iter().filter(|stack| stack.end > at);
    let names: Vec<String> = remaining.map(|stack| branches::branch(&stack.name)).collect();
    match names.as_slice() {
        [] => String::new(),
        names => format!(
            "\nAlso create a branch at the last commit of each remaining stack, with the cover letter as its \
             description: {}",
            names.join(", ")
        ),
    }
}

/// Result of [`export`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Directory of the queue.
    pub dir: PathBuf,
    /// Names of the patches, relative to the directory.
    pub patches: Vec<String>,
}

/// A patch to write to the queue.
struct Entry {
    /// Name in the directory that git has written to.
    from: String,
    /// Name in `series`.
    name: String,
}

/// Returns the entries of `series` for `patches`, which git has written to the directory `from`. A patch with the
/// subject of a fix becomes an entry for that fix. All others are numbered. `dir` is the directory of the queue.
fn entries(dir: &Path, from: &Path, patches: &[String]) -> Result<Vec<Entry>> {
    let fixes = fixes::by_subject(dir)?;
    let mut entries = Vec::new();
    let mut number = 0;
    for patch in patches {
        let subject = fixes::subject(&files::read_bytes(&from.join(patch))?);
        let name = match subject.and_then(|subject| fixes.get(&subject)) {
            Some(fix) => format!("{}{fix}", fixes::PREFIX),
            None => {
                number += 1;
                let (_, words) = patch.split_once('-').unwrap_or_default();
                format!("{number:04}-{words}")
            }
        };
        entries.push(Entry { from: patch.clone(), name });
    }
    Ok(entries)
}

/// Destination of [`export`].
#[derive(Clone, Copy, Debug)]
pub enum Destination<'a> {
    /// The queue in the checkout. The stored patches have a placeholder in place of the sender.
    Queue {
        /// Root of the checkout.
        lab: &'a Path,
        /// Sender, if known.
        user: Option<&'a Identity>,
    },
    /// A new directory, for patches with the name of the sender.
    Directory {
        /// Path of the directory.
        dir: &'a Path,
        /// Name and address for `From` and `Signed-off-by`.
        sender: &'a Identity,
    },
}

/// Writes the commits of the git tree `place` as patches: to the queue of the tree's kernel version, which they
/// replace, or to a directory.
///
/// # Errors
/// [`checkout`] did not create `place` or created it for a part of the queue, the tree has uncommitted changes, a
/// commit has conflict markers, or the branches do not divide the commits into stacks.
pub fn export(place: &Path, destination: Destination) -> Result<Exported> {
    let base = format!("refs/tags/{BASE}");
    git(place, &["rev-parse", "--verify", "--quiet", &base]).with_context(|| {
        format!(
            "{} has no tag {BASE}: expected a tree that `cargo xtask queue checkout` created",
            place.display()
        )
    })?;
    let changed = git(place, &["status", "--porcelain", "--untracked-files=no"])?;
    if !changed.is_empty() {
        bail!(
            "{} has uncommitted changes; commit or discard them:\n{}",
            place.display(),
            changed.trim_end()
        );
    }
    let commits = git(place, &["rev-list", "--reverse", "--no-merges", &format!("{BASE}..HEAD")])?;
    let commits: Vec<&str> = commits.lines().collect();
    let scratch = tempfile::tempdir().context("create a temporary directory")?;
    match destination {
        Destination::Queue { lab, user } => {
            branches::check_not_partial(place)?;
            let stacks = branches::read(place, &commits)?;
            let from: Vec<Identity> = user.into_iter().cloned().collect();
            let patches =
                format_patches(place, &commits, &from, &Identity::placeholder(), scratch.path())?;
            if patches.len() != commits.len() {
                bail!("a commit in {} changes no file: remove it", place.display());
            }
            let dir = lab.join(queue::DIR).join(source::version(place)?.to_string());
            let entries = entries(&dir, scratch.path(), &patches)?;
            replace(&dir, scratch.path(), &entries, &stacks)?;
            Ok(Exported { dir, patches: entries.into_iter().map(|entry| entry.name).collect() })
        }
        Destination::Directory { dir, sender } => {
            check_new(dir)?;
            let from = [Identity::placeholder()];
            let patches = format_patches(place, &commits, &from, sender, scratch.path())?;
            files::create_dir(dir)?;
            for patch in &patches {
                let text = files::read_bytes(&scratch.path().join(patch))?;
                files::write_atomically(&dir.join(patch), text)?;
            }
            Ok(Exported { dir: dir.to_owned(), patches })
        }
    }
}

/// Writes `commits` as patches to the directory `out`, with `to` in place of the identities `from`. Returns the names
/// of the patches.
fn format_patches(
    place: &Path,
    commits: &[&str],
    from: &[Identity],
    to: &Identity,
    out: &Path,
) -> Result<Vec<String>> {
    // The placeholder in a sign-off makes the author the placeholder too.
    let from: Vec<Identity> = from.iter().cloned().chain([Identity::placeholder()]).collect();
    let copies = sender::rewrite(place, commits, &from, to)?;
    let last = copies.last().map_or(BASE, String::as_str);
    let dir = out.to_str().context("the path of the temporary directory is not UTF-8")?;
    let range = format!("{BASE}..{last}");
    let words =
        ["format-patch", "--quiet", "--no-signature", "--zero-commit", "-N", "-o", dir, &range];
    git(place, &words)?;
    let mut patches = user_tree::walk(out)?;
    patches.sort();
    check_markers(out, &patches)?;
    Ok(patches)
}

/// Rejects patches that add conflict markers, which [`port`](super::port::port) leaves in commits.
fn check_markers(dir: &Path, patches: &[String]) -> Result<()> {
    let mut marked = String::new();
    for patch in patches {
        let text = files::read_bytes(&dir.join(patch))?;
        if has_markers(&String::from_utf8_lossy(&text)) {
            marked += &format!("\n  {patch}");
        }
    }
    if !marked.is_empty() {
        bail!(
            "these commits have conflict markers; resolve the conflicts in each of them:{marked}"
        );
    }
    Ok(())
}

/// Returns true if the patch adds the first or the last line of a conflict.
fn has_markers(patch: &str) -> bool {
    patch.lines().any(|line| line.starts_with("+<<<<<<< ") || line.starts_with("+>>>>>>> "))
}

/// Replaces the patches and cover letters that the series in `dir` lists with the patches in `from` and the letters of
/// `stacks`. Never removes a fix, because other versions or targets may need it.
fn replace(dir: &Path, from: &Path, entries: &[Entry], stacks: &[Stack]) -> Result<()> {
    let names: Vec<String> = entries.iter().map(|entry| entry.name.clone()).collect();
    let series = dir.join("series");
    let shown = series.display().to_string();
    let old = fs::read_to_string(&series).unwrap_or_default();
    let new = new_series(&old, &names, stacks);
    stacks::parse(&new, &shown).context("the branches of the stacks make a wrong series")?;
    let listed = stacks::parse(&old, &shown)?;
    files::create_dir(dir)?;
    let comment = top_comment(&old);
    for stack in stacks {
        let file = dir.join(stacks::cover_file(&stack.name));
        let text = files::read_if_exists(&file)?.unwrap_or_else(|| comment.clone() + "\n");
        let (comment, _) = stacks::split_letter(&text);
        files::write_atomically(&file, format!("{comment}{}\n", stack.letter))?;
    }
    for entry in entries {
        let text = files::read_bytes(&from.join(&entry.from))?;
        match entry.name.strip_prefix(fixes::PREFIX) {
            None => files::write_atomically(&dir.join(&entry.name), text)?,
            Some(fix) => {
                let is_listed = listed.patches.iter().any(|(_, name)| *name == entry.name);
                fixes::write(dir, fix, &text, is_listed)?;
            }
        }
    }
    files::write_atomically(&series, new)?;
    let is_gone = |name: &String| !names.contains(name) && !name.starts_with(fixes::PREFIX);
    for (_, removed) in listed.patches.iter().filter(|(_, name)| is_gone(name)) {
        files::remove(&dir.join(removed))?;
    }
    for removed in &listed.stacks {
        if !stacks.iter().any(|stack| stack.name == removed.name) {
            files::remove(&dir.join(stacks::cover_file(&removed.name)))?;
        }
    }
    Ok(())
}

/// Returns the comment at the top of the text of a series file.
fn top_comment(series: &str) -> String {
    series.split_inclusive('\n').take_while(|line| line.starts_with('#')).collect()
}

/// Returns the text of a series file: the comment at the top of `old`, the names of the patches and the headings.
fn new_series(old: &str, patches: &[String], stacks: &[Stack]) -> String {
    top_comment(old) + &stacks::render(stacks, patches)
}

/// Runs git in `place` and returns its output. Ignores the user's settings, so that the patches are the same
/// everywhere.
pub(super) fn git(place: &Path, words: &[&str]) -> Result<String> {
    let sh = shell::in_dir(place)?;
    shell::read(git_command(&sh, words))
}

/// Returns the command that [`git`] runs, in the directory of `sh`.
pub(super) fn git_command<'s>(sh: &'s Shell, words: &[&str]) -> Cmd<'s> {
    shell::git(sh).args(words).envs([
        // The same as -c gc.auto=0 -c core.autocrlf=false.
        ("GIT_CONFIG_COUNT", "2"),
        ("GIT_CONFIG_KEY_0", "gc.auto"),
        ("GIT_CONFIG_VALUE_0", "0"),
        ("GIT_CONFIG_KEY_1", "core.autocrlf"),
        ("GIT_CONFIG_VALUE_1", "false"),
        // git am needs a committer. The authors are in the patches.
        ("GIT_COMMITTER_NAME", "queue"),
        ("GIT_COMMITTER_EMAIL", "queue@localhost"),
        ("GIT_AUTHOR_NAME", "queue"),
        ("GIT_AUTHOR_EMAIL", "queue@localhost"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_series_keeps_the_comment_at_the_top() {
        let old =
            "# SPDX-License-Identifier: GPL-2.0-only\n0001-a.patch\n# not this one\n0002-b.patch\n";
        let new = new_series(old, &["0001-c.patch".to_owned()], &[]);
        assert_eq!(new, "# SPDX-License-Identifier: GPL-2.0-only\n0001-c.patch\n");
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Carries the queue of one version of Linux to another version, and compares the queues of two versions.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::Progress;
use super::branches;
use super::cache::Cache;
use super::edit::{self, BASE, git};
use super::queue::{self, Patch, Queue};
use super::source::{self, Base, Source};
use crate::kernel_version::{Version, VersionRange};

/// Tag of the last commit of the old queue.
const OLD: &str = "queue-from";

/// Tag of the commit that the old queue starts from.
const OLD_BASE: &str = "queue-from-base";

/// Percentage of a patch that may differ between two versions of it. With git's default, 60, many patches of a ported
/// queue would count as removed and added.
const CREATION_FACTOR: &str = "--creation-factor=90";

/// Result of [`port`] for one patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortedPatch {
    /// Name for messages, as in [`queue`].
    pub name: String,
    /// Result of the merge.
    pub outcome: PortOutcome,
}

/// Outcome of the merge of one patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortOutcome {
    /// The commit needs no manual work.
    Clean,
    /// The commit has conflicts.
    Conflicts {
        /// Files with conflict markers.
        marked: Vec<String>,
        /// Files that the new source does not have. The commit adds them as they are in the old queue.
        missing: Vec<String>,
    },
    /// The new source already contains the patch, so there is no commit.
    Present,
    /// The old source already contains the fix, so there is nothing to merge.
    PresentBefore,
    /// The fix is for other versions.
    OtherVersions(VersionRange),
}

/// Creates the directory `place` with a git tree of the source `to`, and one commit per patch of the queue for the
/// version of the source `from`. Each patch is applied by a three-way merge. `lab` is the root of the checkout.
///
/// # Errors
/// `place` already exists, a source is not available, both have the same version, or the queue does not apply to `from`.
pub fn port(
    place: &Path,
    lab: &Path,
    cache: &Path,
    from: &Source,
    to: &Source,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<PortedPatch>> {
    edit::check_new(place)?;
    let old = source::open(from, Cache(cache), progress)?;
    let new = source::open(to, Cache(cache), progress)?;
    if old.version == new.version {
        bail!("both sources are Linux {}: choose two versions", old.version);
    }
    let queue = queue::read(lab, old.version)?;
    let scratch = tempfile::tempdir().context("create a temporary directory")?;
    let old_tree = scratch.path().join("old");
    let in_old = create_small(&old_tree, &old, &queue, progress)?;
    progress(Progress::step(format!("copy {}", new.name)));
    edit::create(place, &new, new.listing()?.keys())?;
    fetch(place, &old_tree, OLD_BASE, OLD)?;
    let range = format!("{OLD_BASE}..{OLD}");
    let commits = git(place, &["rev-list", "--reverse", &range])?;
    let mut commits = commits.lines();
    let mut ported = Vec::new();
    let mut applied = Vec::new();
    for (patch, has_commit) in queue.patches.iter().zip(in_old) {
        progress(Progress::step(format!("merge {}", patch.name)));
        let commit = if has_commit { commits.next() } else { None };
        let range = other_versions(patch, new.version)?;
        let outcome = match (commit, range) {
            (_, Some(range)) => PortOutcome::OtherVersions(range),
            (None, None) => PortOutcome::PresentBefore,
            (Some(commit), None) => {
                merge(place, commit).with_context(|| format!("merge {}", patch.name))?
            }
        };
        applied.push(matches!(outcome, PortOutcome::Clean | PortOutcome::Conflicts { .. }));
        ported.push(PortedPatch { name: patch.name.clone(), outcome });
        branches::create(place, &queue.stacks, &applied)?;
    }
    Ok(ported)
}

/// Returns the range of a fix that is not for `version`, or `None` for any other patch.
fn other_versions(patch: &Patch, version: Version) -> Result<Option<VersionRange>> {
    let range = patch.fix.as_ref().map(|_| queue::range(&patch.path)).transpose()?;
    Ok(range.filter(|range| !range.contains(version)))
}

/// Creates a git tree with the files of `base` that the queue touches, and one commit per patch. Returns for each patch
/// true if there is a commit of it.
pub(super) fn create_small(
    place: &Path,
    base: &Base,
    queue: &Queue,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<bool>> {
    let touched = queue.touched();
    edit::create(place, base, touched.iter().filter(|path| base.root.join(path).is_file()))?;
    edit::apply(place, queue, progress)
}

/// Copies the commits of the tree `from` to the repository in `place`, with the tag `base` for the first and `last` for
/// the last.
fn fetch(place: &Path, from: &Path, base: &str, last: &str) -> Result<()> {
    let from = from.to_str().context("the path of the temporary directory is not UTF-8")?;
    let (base, last) =
        (format!("refs/tags/{BASE}:refs/tags/{base}"), format!("HEAD:refs/tags/{last}"));
    git(place, &["fetch", "--quiet", "--no-tags", from, &base, &last])?;
    Ok(())
}

/// Merges the changes of `commit` into the tree and commits the result.
fn merge(place: &Path, commit: &str) -> Result<PortOutcome> {
    // Conflicts also show the old source, which tells a change of the patch from a change of the kernel.
    let pick = ["-c", "merge.conflictStyle=diff3", "cherry-pick", commit];
    let Err(error) = git(place, &pick) else {
        return Ok(PortOutcome::Clean);
    };
    let conflicts = git(place, &["diff", "--name-only", "--diff-filter=U", "-z"])?;
    let conflicts: Vec<&str> = conflicts.split_terminator('\0').collect();
    if !conflicts.is_empty() {
        let exists = |path: &&str| git(place, &["cat-file", "-e", &format!("HEAD:{path}")]).is_ok();
        let (marked, missing): (Vec<&str>, Vec<&str>) =
            conflicts.iter().partition(|path| exists(path));
        let mut add = vec!["add", "--all", "--force", "--"];
        add.extend(&conflicts);
        git(place, &add)?;
        git(place, &["commit", "--quiet", "--allow-empty", "-C", commit])?;
        let [marked, missing] =
            [marked, missing].map(|paths| paths.into_iter().map(str::to_owned).collect());
        return Ok(PortOutcome::Conflicts { marked, missing });
    }
    let stopped = git(place, &["rev-parse", "--quiet", "--verify", "CHERRY_PICK_HEAD"]).is_ok();
    let changed = git(place, &["status", "--porcelain", "--untracked-files=no"])?;
    if stopped && changed.is_empty() {
        git(place, &["cherry-pick", "--skip"])?;
        return Ok(PortOutcome::Present);
    }
    Err(error)
}

/// Returns the differences between the queues for the versions of two sources, in the format of git-range-diff(1).
///
/// # Errors
/// A source is not available, or a queue is empty or does not apply to it.
pub fn diff(
    lab: &Path,
    cache: &Path,
    sources: [&Source; 2],
    progress: &mut dyn FnMut(Progress),
) -> Result<String> {
    let scratch = tempfile::tempdir().context("create a temporary directory")?;
    let mut trees = Vec::new();
    for source in sources {
        let base = source::open(source, Cache(cache), progress)?;
        let queue = queue::read(lab, base.version)?;
        if queue.patches.is_empty() {
            bail!("the queue for Linux {} has no patches to compare", base.version);
        }
        let tree = scratch.path().join(trees.len().to_string());
        progress(Progress::step(format!("apply the queue to {}", base.name)));
        create_small(&tree, &base, &queue, progress)?;
        trees.push(tree);
    }
    fetch(&trees[1], &trees[0], OLD_BASE, OLD)?;
    let (old, new) = (format!("{OLD_BASE}..{OLD}"), format!("{BASE}..HEAD"));
    git(&trees[1], &["range-diff", "--no-color", CREATION_FACTOR, &old, &new])
}

/// Returns the lines that list the patches of a queue that was ported to `version`.
pub fn describe(ported: &[PortedPatch], version: &str) -> String {
    let line = |patch: &PortedPatch| {
        let outcome = match &patch.outcome {
            PortOutcome::Clean => "merged".into(),
            PortOutcome::Conflicts { marked, missing } => {
                let parts = [("conflicts in", marked), ("not in the new source:", missing)];
                let parts = parts.iter().filter(|(_, files)| !files.is_empty());
                let parts = parts.map(|(what, files)| format!("{what} {}", files.join(", ")));
                parts.collect::<Vec<_>>().join("; ")
            }
            PortOutcome::Present => format!("Linux {version} already contains this patch"),
            PortOutcome::PresentBefore => "the old source already contains this fix".into(),
            PortOutcome::OtherVersions(range) => format!("this fix is for {range}"),
        };
        format!("{}: {outcome}\n", patch.name)
    };
    ported.iter().map(line).collect()
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The plan of `queue check`: patches of the queue, and the checks of each.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::files;
use crate::kernel::queue::{self, Queue, Selection};
use crate::kernel_version::Version;
use crate::shell;
use crate::variant::BuildVariant;

/// Patches that the user selected.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// Name of a stack.
    pub stack: Option<&'a str>,
    /// File name or number of a patch.
    pub patch: Option<&'a str>,
    /// Revision of the checkout. Only patches that differ from it are selected.
    pub since: Option<&'a str>,
}

/// A stack, on top of those that it needs.
#[derive(Clone, Debug)]
pub struct Series {
    /// Name of the stack; `None` if the queue has no stacks.
    pub stack: Option<String>,
    /// Patches of the stack and of those that it needs.
    pub(super) queue: Queue,
    /// Positions of the patches of the stack itself.
    pub(super) own: Range<usize>,
    /// Positions of the patches to check.
    pub(super) selected: Vec<usize>,
    /// True if the checks after the last patch are made too.
    pub(super) at_end: bool,
}

impl Series {
    /// Returns the names of the patches to check.
    pub fn patches(&self) -> impl Iterator<Item = &str> {
        self.selected.iter().map(|&at| self.name(at))
    }

    /// Returns true if the checks after the last patch are made too.
    pub fn is_checked_at_end(&self) -> bool {
        self.at_end
    }

    /// Returns the file name of the patch at the position `at`.
    pub(super) fn name(&self, at: usize) -> &str {
        files::last_component(&self.queue.patches[at].name)
    }

    /// Returns the title of the patch at the position `at`: the stack, the number within the stack, and the file name.
    pub(super) fn title(&self, at: usize) -> String {
        let number = format!("{}/{} {}", at + 1 - self.own.start, self.own.len(), self.name(at));
        match &self.stack {
            Some(stack) => format!("{stack} {number}"),
            None => number,
        }
    }
}

/// Returns the stacks of the queue of `version` that have patches to check. `checkout` is the root of the checkout.
///
/// # Errors
/// The queue has a mistake, or there is no such stack, patch or revision.
pub fn series(checkout: &Path, version: Version, wanted: &Wanted) -> Result<Vec<Series>> {
    let whole = queue::read(checkout, version)?;
    let mut all = Vec::new();
    let names: Vec<Option<&str>> = match (wanted.stack, whole.stacks.as_slice()) {
        (Some(stack), _) => vec![Some(stack)],
        (None, []) => vec![None],
        (None, stacks) => stacks.iter().map(|stack| Some(stack.name.as_str())).collect(),
    };
    for name in names {
        let selection = name.map_or(Selection::All, |name| Selection::Stack(name.to_owned()));
        let queue = queue::read_selected(checkout, version, &selection)?;
        let start = queue.stacks.iter().rev().nth(1).map_or(0, |below| below.end);
        let own = start..queue.patches.len();
        let stack = name.map(str::to_owned);
        all.push(Series { stack, selected: own.clone().collect(), own, queue, at_end: true });
    }
    if let Some(since) = wanted.since {
        let changed = changed(checkout, since)?;
        for series in &mut all {
            let patches = &series.queue.patches;
            series.selected.retain(|&at| changed.contains(&patches[at].name));
        }
    }
    if let Some(patch) = wanted.patch {
        let mut exists = false;
        for series in &mut all {
            let patches = &series.queue.patches;
            let matches = |at: &usize| is_called(files::last_component(&patches[*at].name), patch);
            // A patch that did not change since a revision exists too.
            exists |= series.own.clone().any(|at| matches(&at));
            series.selected.retain(matches);
            series.at_end = false;
        }
        if !exists {
            let path = Path::new(queue::DIR).join(version.to_string()).join("series");
            bail!(
                "--patch {patch}: the selected stacks of Linux {version} have no such patch; {} lists the patches",
                path.display()
            );
        }
    }
    all.retain(|series| !series.selected.is_empty());
    Ok(all)
}

/// Returns true if `wanted` is the patch `file`: its number, or its name with or without `.patch`.
fn is_called(file: &str, wanted: &str) -> bool {
    let number = |text: &str| text.parse::<u32>().ok();
    let own = file.split('-').next().and_then(number);
    match number(wanted) {
        Some(wanted) => own == Some(wanted),
        None => file == wanted || file.strip_suffix(".patch") == Some(wanted),
    }
}

/// Returns the paths of the patches that were added or changed since the revision `since`, including those that are not
/// committed. A patch that only has a new name did not change.
fn changed(checkout: &Path, since: &str) -> Result<BTreeSet<String>> {
    let sh = shell::in_dir(checkout)?;
    let git = |words: &[&str]| -> Result<String> {
        let git = shell::git(&sh).args(["-c", "safe.directory=*"]);
        shell::read(git.args(words).args(["--", queue::DIR]))
    };
    let diff =
        ["diff", "--name-only", "--relative", "--find-renames=100%", "--diff-filter=AMT", since];
    let changed = git(&diff).with_context(|| {
        format!("--since {since}: find the patches that changed since this revision")
    })?;
    let new = git(&["ls-files", "--others", "--exclude-standard"])?;
    Ok(changed.lines().chain(new.lines()).map(str::to_owned).collect())
}

/// A check.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// Name for `--check`.
    pub name: String,
    /// Description in one line.
    pub about: String,
    /// Kind of the check.
    pub(super) work: Work,
}

/// Kind of a check.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Work {
    Checkpatch,
    KernelDoc,
    Build(BuildVariant),
    Sparse(BuildVariant),
    Coccicheck(BuildVariant),
    Clang(BuildVariant),
    Htmldocs(BuildVariant),
    Kselftest(BuildVariant),
    Variant(BuildVariant),
}

impl Check {
    /// Returns true if the check is made on each patch, and false if it is made after the last patch of a stack.
    pub fn is_of_patch(&self) -> bool {
        !matches!(self.work, Work::Htmldocs(_) | Work::Kselftest(_) | Work::Variant(_))
    }
}

/// Returns all checks, those of each patch first. `variants` are the build variants of the checkout.
pub fn checks(variants: &[BuildVariant]) -> Vec<Check> {
    let check = |name: &str, about: &str, work: Work| Check {
        name: name.to_owned(),
        about: about.to_owned(),
        work,
    };
    let mut checks = vec![
        check("checkpatch", "style, with the kernel's checkpatch.pl --strict", Work::Checkpatch),
        check("kernel-doc", "comments that the documentation includes", Work::KernelDoc),
    ];
    for each in variants.iter().filter(|variant| variant.each_patch) {
        let each = || each.clone();
        checks.extend([
            check("build", "compiles with gcc, without new warnings at W=1", Work::Build(each())),
            check("clang", "compiles with clang, without new warnings at W=1", Work::Clang(each())),
            check("sparse", "no new warnings of sparse", Work::Sparse(each())),
            check("coccicheck", "no new reports of Coccinelle", Work::Coccicheck(each())),
            check("htmldocs", "no warnings about changed documents", Work::Htmldocs(each())),
            check(
                "kselftest",
                "changed selftests compile without warnings",
                Work::Kselftest(each()),
            ),
        ]);
    }
    let at_end = variants.iter().filter(|variant| !variant.each_patch);
    let variant = |variant: &BuildVariant| {
        check(&variant.name, &variant.about, Work::Variant(variant.clone()))
    };
    checks.extend(at_end.map(variant));
    checks
}

/// Returns those of `checks` that `names` select; all if there are no names.
///
/// # Errors
/// There is no check of that name. The error lists the existing ones.
pub fn select(checks: Vec<Check>, names: &[String]) -> Result<Vec<Check>> {
    if let Some(unknown) = names.iter().find(|name| checks.iter().all(|c| c.name != **name)) {
        let existing: Vec<&str> = checks.iter().map(|check| check.name.as_str()).collect();
        bail!("--check {unknown}: no such check; choose from: {}", existing.join(", "));
    }
    Ok(checks.into_iter().filter(|c| names.is_empty() || names.contains(&c.name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_called_by_number_or_name() {
        let file = "0005-fuse-keep-pages.patch";
        for wanted in ["5", "0005", file, "0005-fuse-keep-pages"] {
            assert!(is_called(file, wanted), "{wanted}");
        }
        for wanted in ["50", "0", "fuse", "0005-fuse"] {
            assert!(!is_called(file, wanted), "{wanted}");
        }
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes a stack as mails for `git send-email`. Nothing is sent.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Progress;
use super::cache::Cache;
use super::edit::{self, BASE, git, git_command};
use super::port::create_small;
use super::queue::{self, Queue, Selection};
use super::sender::{self, Identity, SIGNED_OFF};
use super::source::{self, Base, Source};
use crate::kernel_version::BaseCommit;
use crate::{files, shell};

/// Largest number of patches in a series that reviewers read.
pub const MAX_PATCHES: usize = 8;

/// Largest number of lines that one patch should add.
pub const MAX_ADDED: u64 = 400;

/// Largest number of lines that a series should add.
pub const MAX_TOTAL: u64 = 1600;

/// Branch with the commits to send, in the temporary tree.
const BRANCH: &str = "mail";

/// Options of [`write()`].
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Root of the checkout.
    pub lab: &'a Path,
    /// The lab's directory in the user's cache.
    pub cache: &'a Path,
    /// Kernel source that the queue applies to.
    pub source: &'a Source,
    /// Name of the stack; `None` if the queue has only one, or no headings.
    pub stack: Option<&'a str>,
    /// True to write each patch as a mail of its own, instead of a cover letter and replies to it.
    pub each: bool,
    /// Sender.
    pub sender: &'a Identity,
    /// Upstream commit that the series is based on, if the user named it.
    pub base: Option<&'a str>,
    /// Upstream commit of a release of Debian's source, if known.
    pub release: Option<&'a BaseCommit>,
    /// New directory for the mails.
    pub dir: &'a Path,
}

/// Result of [`write()`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailed {
    /// Names of the files, the cover letter first.
    pub files: Vec<String>,
    /// Subject of each patch and the number of lines that it adds.
    pub patches: Vec<(String, u64)>,
    /// True if the cover letter still has git's placeholders.
    pub unfinished_letter: bool,
    /// True if the base commit in the cover letter is an upstream commit.
    pub upstream_base: bool,
}

/// Writes a cover letter and the patches of a stack, or each patch by itself, to a new directory, addressed to the
/// people and lists that get_maintainer.pl of the kernel source names.
///
/// # Errors
/// The directory exists, the source is not available, the queue does not apply or has several stacks and none is
/// selected, a patch lacks a sign-off or needs others although it is to be written by itself, the known release differs
/// from that of the source, or get_maintainer.pl fails.
pub fn write(request: &Request, progress: &mut dyn FnMut(Progress)) -> Result<Mailed> {
    edit::check_new(request.dir)?;
    let base = source::open(request.source, Cache(request.cache), progress)?;
    let upstream = upstream_base(request, &base)?;
    let selection = request.stack.map_or(Selection::All, |name| Selection::Stack(name.to_owned()));
    let queue = queue::read_selected(request.lab, base.version, &selection)?;
    let (below, letter) = stack_to_send(&queue, request.stack)?;
    let scratch = tempfile::tempdir().context("create a temporary directory")?;
    let tree = scratch.path().join("tree");
    progress(Progress::step(format!("apply the queue to {}", base.name)));
    let applied = create_small(&tree, &base, &queue, progress)?;
    if !applied[below..].contains(&true) {
        bail!("the stack has no patches for {}: the source already contains its fixes", base.name);
    }
    let first = applied[..below].iter().filter(|has_commit| **has_commit).count();
    let start = create_branch(&tree, first, &letter, request.sender)?;
    let range = format!("{start}..{BRANCH}");
    check_signed_off(&tree, &range)?;

    progress(Progress::step("run get_maintainer.pl".into()));
    let patches = added_lines(&tree, &range)?;
    let mails = Mails { request, tree: &tree, source: &base.root };
    match request.each {
        true => mails.write_each(&range)?,
        false => mails.write_thread(&range)?,
    }
    let paths = files::in_dir(request.dir)?;
    if let Some(upstream) = upstream {
        let ours = format!("base-commit: {}", git(&tree, &["rev-parse", BASE])?.trim());
        for path in &paths {
            let text = files::read(path)?.replace(&ours, &format!("base-commit: {upstream}"));
            files::write_atomically(path, text)?;
        }
    }
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Mailed {
        files: paths.iter().map(name).collect(),
        patches,
        unfinished_letter: letter.is_empty() && !request.each,
        upstream_base: upstream.is_some(),
    })
}

/// Writes mails from the commits of a temporary tree.
struct Mails<'a> {
    request: &'a Request<'a>,
    tree: &'a Path,
    /// Kernel source with get_maintainer.pl.
    source: &'a Path,
}

impl Mails<'_> {
    /// Writes a cover letter, and the commits in `range` as replies to it.
    fn write_thread(&self, range: &str) -> Result<()> {
        let options = [
            "--cover-letter",
            "--cover-from-description=subject",
            "--thread=shallow",
            "--numbered",
        ];
        self.format(&options, range)
    }

    /// Writes each commit in `range` as a mail of its own, based on the unpatched source.
    ///
    /// # Errors
    /// A commit does not apply without those before it.
    fn write_each(&self, range: &str) -> Result<()> {
        let commits = git(self.tree, &["log", "--reverse", "--format=%H %s", range])?;
        let mut copies = Vec::new();
        for commit in commits.lines() {
            let (commit, subject) = commit.split_once(' ').context("git log printed no subject")?;
            git(self.tree, &["checkout", "--quiet", "--detach", BASE])?;
            git(self.tree, &["cherry-pick", commit]).with_context(|| {
                format!(
                    "\"{subject}\" does not apply without the patches before it: write the stack without --each"
                )
            })?;
            copies.push(git(self.tree, &["rev-parse", "HEAD"])?);
        }
        for (number, copy) in (1..).zip(copies) {
            let start = format!("--start-number={number}");
            self.format(&["--no-numbered", &start], &format!("{BASE}..{}", copy.trim()))?;
        }
        Ok(())
    }

    /// Writes the commits in `range`, addressed to the people and lists for the files that they change.
    fn format(&self, options: &[&str], range: &str) -> Result<()> {
        let plain = tempfile::tempdir().context("create a temporary directory")?;
        let path =
            plain.path().to_str().context("the path of the temporary directory is not UTF-8")?;
        git(self.tree, &["format-patch", "--quiet", "-o", path, range])?;
        let (to, cc) = recipients(self.source, plain.path())?;
        let dir =
            std::path::absolute(self.request.dir).context("resolve the directory for the mails")?;
        let dir = dir.to_str().context("the path of the directory for the mails is not UTF-8")?;
        let base = format!("--base={BASE}");
        let mut words = vec!["format-patch", "--quiet", &base, "-o", dir];
        words.extend(options);
        let to = to.iter().map(|address| format!("--to={address}"));
        let people: Vec<String> =
            to.chain(cc.iter().map(|address| format!("--cc={address}"))).collect();
        words.extend(people.iter().map(String::as_str));
        words.push(range);
        let sh = shell::in_dir(self.tree)?;
        let sender = sender::environment(self.request.sender);
        shell::read(git_command(&sh, &words).envs(sender))?;
        Ok(())
    }
}

/// Returns the upstream commit that the source `base` is built from, if it is known.
fn upstream_base<'a>(request: &Request<'a>, base: &Base) -> Result<Option<&'a str>> {
    let (None, Some(known)) = (request.base, request.release) else {
        return Ok(request.base);
    };
    let release = source::release(&base.root, base.version)?;
    if known.release != release {
        bail!(
            "`base_commit` in {}/{}/kernel.yaml is of Linux {}, but {} is Linux {release}: update it, or give the \
             upstream commit with --base-commit",
            queue::DIR,
            base.version,
            known.release,
            base.name
        );
    }
    Ok(Some(&known.hash))
}

/// Checks that somebody has signed off each commit in `range`.
fn check_signed_off(tree: &Path, range: &str) -> Result<()> {
    let log = git(tree, &["log", "--reverse", "--format=%x00%B", range])?;
    let lacks = |message: &&str| !message.lines().any(|line| line.starts_with(SIGNED_OFF));
    let subject = |message: &str| format!("\n  {}", message.lines().next().unwrap_or_default());
    let lacking: String = log.split('\0').skip(1).filter(lacks).map(subject).collect();
    if !lacking.is_empty() {
        bail!(
            "these patches have no Signed-off-by line:{lacking}\nTo add yours, run `git rebase --signoff {BASE}` in a \
             tree of `cargo xtask queue checkout`, and then `cargo xtask queue export`"
        );
    }
    Ok(())
}

/// Returns the number of patches below the stack to send, and its cover letter.
fn stack_to_send(queue: &Queue, selected: Option<&str>) -> Result<(usize, String)> {
    let (above, last) = match queue.stacks.as_slice() {
        [] if queue.patches.is_empty() => bail!("the queue has no patches to send"),
        [] => return Ok((0, String::new())),
        [only] => (None, only),
        [.., above, last] if selected.is_some() => (Some(above), last),
        stacks => {
            let names: Vec<&str> = stacks.iter().map(|stack| stack.name.as_str()).collect();
            bail!(
                "each stack is a series of its own; choose one with --stack: {}",
                names.join(", ")
            );
        }
    };
    Ok((above.map_or(0, |stack| stack.end), last.letter.clone()))
}

/// Creates the branch [`BRANCH`] with the sender's name in the commits of the queue and `letter` as the description.
/// Returns the commit that the patches to send start from, after the `first` ones.
fn create_branch(tree: &Path, first: usize, letter: &str, sender: &Identity) -> Result<String> {
    let commits = git(tree, &["rev-list", "--reverse", &format!("{BASE}..HEAD")])?;
    let commits: Vec<&str> = commits.lines().collect();
    let commits = sender::rewrite(tree, &commits, &[Identity::placeholder()], sender)?;
    let last = commits.last().context("the queue has no patches")?;
    git(tree, &["branch", BRANCH, last])?;
    if !letter.is_empty() {
        git(tree, &["config", &format!("branch.{BRANCH}.description"), letter])?;
    }
    Ok(first.checked_sub(1).map_or(BASE.to_owned(), |below| commits[below].clone()))
}

/// Returns the maintainers, and the lists and reviewers, of the files that the patches in `dir` change.
fn recipients(source: &Path, dir: &Path) -> Result<(Vec<String>, Vec<String>)> {
    let patches = files::in_dir(dir)?;
    let sh = shell::in_dir(source)?;
    let ask = |selected: &[&str]| -> Result<BTreeSet<String>> {
        let script = sh.cmd("perl").arg("scripts/get_maintainer.pl");
        let script = script.args(["--no-git", "--no-git-fallback", "--no-rolestats"]);
        let output = shell::read(script.args(selected).args(&patches))
            .context("ask the source's get_maintainer.pl for the recipients")?;
        Ok(output.lines().map(|line| line.trim().to_owned()).filter(|l| !l.is_empty()).collect())
    };
    let to = ask(&["--no-l", "--no-r"])?;
    let cc = ask(&["--no-m"])?.difference(&to).cloned().collect();
    Ok((to.into_iter().collect(), cc))
}

/// Returns the subject of each commit in `range`, oldest first, and the number of lines that it adds.
fn added_lines(tree: &Path, range: &str) -> Result<Vec<(String, u64)>> {
    let log = git(tree, &["log", "--reverse", "--numstat", "--format=%x00%s", range])?;
    let commits = log.split('\0').skip(1).map(|commit| {
        let (subject, files) = commit.split_once('\n').unwrap_or((commit, ""));
        let added = files.lines().filter_map(|line| line.split('\t').next()?.parse::<u64>().ok());
        (subject.to_owned(), added.sum())
    });
    Ok(commits.collect())
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stacks in a git tree of the queue: the branch `stack/NAME` is at the last commit of the stack NAME, and the
//! description of the branch is the cover letter. Git stores descriptions and the needed stacks in the tree's config.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::edit::{BASE, git};
use super::stacks::Stack;

/// Prefix of the branches.
const PREFIX: &str = "stack/";

/// Variable in the tree's config with the `--stack` of `queue checkout`.
const PARTIAL: &str = "queue.stack";

/// Returns the name of the branch of the stack `name`.
pub(super) fn branch(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// Returns the name of the config variable that lists the stacks that the stack `name` needs.
fn on_variable(name: &str) -> String {
    format!("branch.{}.on", branch(name))
}

fn description_variable(name: &str) -> String {
    format!("branch.{}.description", branch(name))
}

/// Creates the branch of the stack that ends after the patches so far, if there is one, at HEAD. `applied` has an entry
/// for each patch so far: true if the tree has a commit of it. A stack without commits gets no branch.
pub(super) fn create(place: &Path, stacks: &[Stack], applied: &[bool]) -> Result<()> {
    let Some(at) = stacks.iter().position(|stack| stack.end == applied.len()) else {
        return Ok(());
    };
    let start = at.checked_sub(1).map_or(0, |above| stacks[above].end);
    if !applied[start..].contains(&true) {
        return Ok(());
    }
    let stack = &stacks[at];
    git(place, &["branch", "--force", &branch(&stack.name)])?;
    git(place, &["config", &description_variable(&stack.name), &stack.letter])?;
    if let Some(on) = &stack.on {
        git(place, &["config", &on_variable(&stack.name), &on.join(" ")])?;
    }
    Ok(())
}

/// Records that the tree has only the stack `name` of the queue, and the stacks that it needs.
pub(super) fn set_partial(place: &Path, name: &str) -> Result<()> {
    git(place, &["config", PARTIAL, name])?;
    Ok(())
}

/// Rejects a tree that has only a part of the queue.
pub(super) fn check_not_partial(place: &Path) -> Result<()> {
    if let Ok(name) = git(place, &["config", PARTIAL]) {
        bail!(
            "{} was created with --stack {}, so it lacks the other stacks of the queue: export a tree that \
             `queue checkout` created without --stack",
            place.display(),
            name.trim()
        );
    }
    Ok(())
}

/// Reads the stacks of the tree from its branches. `commits` are the commits from the tag [`BASE`] to HEAD, oldest first.
///
/// # Errors
/// A branch is not at one of the commits or has no description, two branches are at the same commit, or commits follow
/// the last branch.
pub(super) fn read(place: &Path, commits: &[&str]) -> Result<Vec<Stack>> {
    let pattern = format!("refs/heads/{PREFIX}");
    let format = "--format=%(objectname) %(refname:lstrip=3)";
    let mut stacks: Vec<Stack> = Vec::new();
    for line in git(place, &["for-each-ref", format, &pattern])?.lines() {
        let (commit, name) = line.split_once(' ').context("git for-each-ref printed no name")?;
        let branch = branch(name);
        let Some(at) = commits.iter().position(|other| *other == commit) else {
            bail!(
                "the branch {branch} is not at a commit between {BASE} and HEAD: check out the branch queue, and move \
                 {branch} to the last commit of its stack (`git branch --force {branch} COMMIT`)"
            );
        };
        let description = git(place, &["config", &description_variable(name)]);
        let letter = description.unwrap_or_default().trim().to_owned();
        if letter.is_empty() {
            bail!(
                "the branch {branch} has no description, which is the cover letter: write it with \
                 `git branch --edit-description {branch}`"
            );
        }
        let on = git(place, &["config", &on_variable(name)]).ok();
        let on = on.map(|others| others.split_whitespace().map(str::to_owned).collect());
        stacks.push(Stack { name: name.to_owned(), on, letter, end: at + 1 });
    }
    stacks.sort_by_key(|stack| stack.end);
    check_ends(&stacks, commits.len())?;
    Ok(stacks)
}

/// Checks that each stack has commits, and that each of the `commits` is in a stack.
fn check_ends(stacks: &[Stack], commits: usize) -> Result<()> {
    let mut pairs = stacks.iter().zip(stacks.iter().skip(1));
    if let Some((one, two)) = pairs.find(|(one, two)| one.end == two.end) {
        bail!(
            "the branches {} and {} are at the same commit: move one of them to the last commit of its stack \
             (`git branch --force BRANCH COMMIT`), or delete it",
            branch(&one.name),
            branch(&two.name)
        );
    }
    if let Some(last) = stacks.last().filter(|last| last.end < commits) {
        let last = branch(&last.name);
        bail!(
            "the commits after {last} are in no stack: move the branch (`git branch --force {last} HEAD`), or create a \
             branch for another stack"
        );
    }
    Ok(())
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask queue`.

mod check;

use std::path::Path;

use anyhow::{Result, bail};

use crate::cli::Queue;
use crate::kernel::edit::Destination;
use crate::kernel::mail::{MAX_ADDED, MAX_PATCHES, MAX_TOTAL};
use crate::kernel::{Identity, Progress, Selection, Source, edit, mail, port};
use crate::kernel_version::{self, KernelVersion};
use crate::output::{errln, out, outln};
use crate::paths;
use crate::text::columns::columns;

/// Runs the command and returns its exit code.
///
/// # Errors
/// As [`edit::checkout`], [`port::port`], [`port::diff`], [`edit::export`] and [`mail::write`].
pub(super) fn run(args: &Queue) -> Result<u8> {
    match args {
        Queue::Checkout { dir, kernel, kernel_src, stack } => {
            let source = source(kernel.as_deref(), kernel_src.as_deref())?;
            let selection = stack.clone().map_or(Selection::All, Selection::Stack);
            checkout(dir, &source, &selection)
        }
        Queue::Check(args) => check::run(args),
        Queue::Port { dir, from, to } => port(dir, from, to),
        Queue::Diff { from, to } => diff(from, to),
        Queue::Export { dir, signoff, output_dir } => {
            export(dir, signoff.as_ref(), output_dir.as_deref())
        }
        Queue::Mail { output_dir, stack, kernel, kernel_src, each, signoff, base_commit } => {
            // The user's own source may be built from any commit.
            let release = match kernel_src {
                Some(_) => None,
                None => version(kernel.as_deref())?.base_commit,
            };
            mail(&mail::Request {
                lab: &paths::checkout(),
                cache: &paths::cache()?,
                source: &source(kernel.as_deref(), kernel_src.as_deref())?,
                stack: stack.as_deref(),
                each: *each,
                sender: &sender(signoff.as_ref())?,
                base: base_commit.as_deref(),
                release: release.as_ref(),
                dir: output_dir,
            })
        }
    }
}

/// Returns the source that the user selected: a path, or else Debian's source of the version `kernel`.
fn source(kernel: Option<&str>, path: Option<&Path>) -> Result<Source> {
    path.map_or_else(|| source_of(kernel), |path| Ok(Source::Path(path.to_owned())))
}

/// Returns the identity of the user: that of `--signoff`, or else that of the user's git configuration.
fn sender(signoff: Option<&Identity>) -> Result<Identity> {
    signoff.map_or_else(Identity::of_user, |identity| Ok(identity.clone()))
}

/// Returns Debian's source of the version `kernel`, or of the default version.
fn source_of(kernel: Option<&str>) -> Result<Source> {
    let KernelVersion { package, suites, .. } = version(kernel)?;
    Ok(Source::Debian { package, suites })
}

/// Returns the version `kernel`, or the default version.
fn version(kernel: Option<&str>) -> Result<KernelVersion> {
    let versions = kernel_version::load_all(&paths::checkout().join("kernel-patches"))?;
    let names: Vec<String> = kernel.into_iter().map(str::to_owned).collect();
    let selected = kernel_version::select(&versions, &names)?;
    let [version] = selected.as_slice() else {
        bail!("--kernel selects {} versions; a tree is for one version", selected.len());
    };
    Ok((*version).clone())
}

fn checkout(dir: &Path, source: &Source, selection: &Selection) -> Result<u8> {
    edit::checkout(dir, &paths::checkout(), &paths::cache()?, source, selection, &mut print_step)?;
    outln!("{}: one commit per patch, on top of the tag queue-base", dir.display());
    Ok(0)
}

fn port(dir: &Path, from: &str, to: &str) -> Result<u8> {
    let sources = (source_of(Some(from))?, source_of(Some(to))?);
    let (lab, cache) = (paths::checkout(), paths::cache()?);
    let ported = port::port(dir, &lab, &cache, &sources.0, &sources.1, &mut print_step)?;
    out!("{}", port::describe(&ported, to));
    outln!("{}: one commit per patch, on top of the tag queue-base", dir.display());
    Ok(0)
}

fn diff(from: &str, to: &str) -> Result<u8> {
    let sources = [source_of(Some(from))?, source_of(Some(to))?];
    let (lab, cache) = (paths::checkout(), paths::cache()?);
    let text = port::diff(&lab, &cache, sources.each_ref(), &mut print_step)?;
    out!("{text}");
    Ok(0)
}

/// Prints a step of an operation to standard error.
fn print_step(step: Progress) {
    errln!("{}", step.what);
}

fn export(dir: &Path, signoff: Option<&Identity>, output_dir: Option<&Path>) -> Result<u8> {
    let user = sender(signoff);
    let exported = match output_dir {
        Some(into) => edit::export(dir, Destination::Directory { dir: into, sender: &user? })?,
        None => {
            let (lab, user) = (&paths::checkout(), user.ok());
            edit::export(dir, Destination::Queue { lab, user: user.as_ref() })?
        }
    };
    for patch in &exported.patches {
        outln!("{}", exported.dir.join(patch).display());
    }
    Ok(0)
}

fn mail(request: &mail::Request) -> Result<u8> {
    let mailed = mail::write(request, &mut print_step)?;
    out!("{}", sizes(&mailed.patches));
    if mailed.unfinished_letter {
        outln!("The queue has no stacks: write the subject and the text of the cover letter.");
    }
    if !mailed.upstream_base {
        outln!(
            "The base-commit is known only to the lab: give the upstream commit with --base-commit, or as \
             `base_commit` in kernel.yaml."
        );
    }
    let dir = request.dir.display();
    outln!("{} files in {dir}; nothing was sent. To send them:", mailed.files.len());
    // Without the option, git would send all mails as replies to the first.
    let no_thread = if request.each { "--no-thread " } else { "" };
    outln!("git send-email {no_thread}{dir}/*.patch");
    Ok(0)
}

/// Returns a table of the lines that each patch adds. Marks what is over a limit.
fn sizes(patches: &[(String, u64)]) -> String {
    let mark = |number: u64, limit: u64| match number > limit {
        true => format!("over the limit of {limit}"),
        false => String::new(),
    };
    let row = |(subject, added): &(String, u64)| {
        [format!("+{added}"), subject.clone(), mark(*added, MAX_ADDED)]
    };
    let total: u64 = patches.iter().map(|(_, added)| added).sum();
    let (count, most) = (patches.len(), MAX_PATCHES as u64);
    let mut rows: Vec<[String; 3]> = patches.iter().map(row).collect();
    rows.push([format!("+{total}"), "in total".into(), mark(total, MAX_TOTAL)]);
    rows.push([count.to_string(), "patches".into(), mark(count as u64, most)]);
    columns(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_over_a_limit_are_marked() {
        let patches = [("small".to_owned(), 400), ("large".to_owned(), 1201)];
        insta::assert_snapshot!(sizes(&patches), @r"
          +400   small
          +1201  large     over the limit of 400
          +1601  in total  over the limit of 1600
          2      patches
        ");
        let many = sizes(&vec![(String::new(), 1); 9]);
        assert!(many.ends_with("9   patches   over the limit of 8\n"), "{many}");
    }
}

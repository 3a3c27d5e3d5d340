// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask queue`.

use std::path::Path;

use anyhow::{Result, bail};

use crate::cli::Queue;
use crate::kernel::{Progress, Selection, Source, edit, port};
use crate::kernel_version::{self, KernelVersion};
use crate::paths;

/// Runs the command and returns its exit code.
///
/// # Errors
/// As [`edit::checkout`], [`port::port`], [`port::diff`] and [`edit::export`].
pub(super) fn run(args: &Queue) -> Result<u8> {
    match args {
        Queue::Checkout { dir, kernel, kernel_src, stack } => {
            let source = match kernel_src {
                Some(path) => Source::Path(path.clone()),
                None => source_of(kernel.as_deref())?,
            };
            let selection = stack.clone().map_or(Selection::All, Selection::Stack);
            checkout(dir, &source, &selection)
        }
        Queue::Port { dir, from, to } => port(dir, from, to),
        Queue::Diff { from, to } => diff(from, to),
        Queue::Export { dir } => export(dir),
    }
}

/// Returns Debian's source of the version `kernel`, or of the default version.
fn source_of(kernel: Option<&str>) -> Result<Source> {
    let versions = kernel_version::load_all(&paths::checkout().join("kernel-patches"))?;
    let names: Vec<String> = kernel.into_iter().map(str::to_owned).collect();
    let selected = kernel_version::select(&versions, &names)?;
    let [KernelVersion { package, suites, .. }] = selected.as_slice() else {
        bail!("--kernel selects {} versions; a tree is for one version", selected.len());
    };
    Ok(Source::Debian { package: package.clone(), suites: suites.clone() })
}

fn checkout(dir: &Path, source: &Source, selection: &Selection) -> Result<u8> {
    edit::checkout(dir, &paths::checkout(), &paths::cache()?, source, selection, &mut print_step)?;
    println!("{}: one commit per patch, on top of the tag queue-base", dir.display());
    Ok(0)
}

fn port(dir: &Path, from: &str, to: &str) -> Result<u8> {
    let sources = (source_of(Some(from))?, source_of(Some(to))?);
    let (lab, cache) = (paths::checkout(), paths::cache()?);
    let ported = port::port(dir, &lab, &cache, &sources.0, &sources.1, &mut print_step)?;
    print!("{}", port::describe(&ported, to));
    println!("{}: one commit per patch, on top of the tag queue-base", dir.display());
    Ok(0)
}

fn diff(from: &str, to: &str) -> Result<u8> {
    let sources = [source_of(Some(from))?, source_of(Some(to))?];
    let (lab, cache) = (paths::checkout(), paths::cache()?);
    let text = port::diff(&lab, &cache, sources.each_ref(), &mut print_step)?;
    print!("{text}");
    Ok(0)
}

/// Prints a step of an operation to standard error.
fn print_step(step: Progress) {
    eprintln!("{}", step.what);
}

fn export(dir: &Path) -> Result<u8> {
    let exported = edit::export(dir, &paths::checkout())?;
    for patch in &exported.patches {
        println!("{}", exported.dir.join(patch).display());
    }
    Ok(0)
}

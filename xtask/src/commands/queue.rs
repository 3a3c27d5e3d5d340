// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask queue`.

use std::path::Path;

use anyhow::{Result, bail};

use crate::cli::Queue;
use crate::kernel::{Source, edit};
use crate::kernel_version::{self, KernelVersion};
use crate::paths;

/// Runs the command and returns its exit code.
///
/// # Errors
/// As [`edit::checkout`] and [`edit::export`].
pub(super) fn run(args: &Queue) -> Result<u8> {
    match args {
        Queue::Checkout { dir, kernel, kernel_src } => {
            let source = match kernel_src {
                Some(path) => Source::Path(path.clone()),
                None => source_of(kernel.as_deref())?,
            };
            checkout(dir, &source)
        }
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

fn checkout(dir: &Path, source: &Source) -> Result<u8> {
    let progress = &mut |step: crate::kernel::Progress| eprintln!("{}", step.what);
    edit::checkout(dir, &paths::checkout(), &paths::cache()?, source, progress)?;
    println!("{}: one commit per patch, on top of the tag queue-base", dir.display());
    Ok(0)
}

fn export(dir: &Path) -> Result<u8> {
    let exported = edit::export(dir, &paths::checkout())?;
    for patch in &exported.patches {
        println!("{}", exported.dir.join(patch).display());
    }
    Ok(0)
}

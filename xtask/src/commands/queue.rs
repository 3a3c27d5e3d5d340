// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask queue`.

use std::path::Path;

use anyhow::Result;

use crate::cli::Queue;
use crate::kernel::{Source, edit};
use crate::paths;

/// Runs the command and returns its exit code.
///
/// # Errors
/// As [`edit::checkout`] and [`edit::export`].
pub(super) fn run(args: &Queue) -> Result<u8> {
    match args {
        Queue::Checkout { dir, kernel_src } => checkout(dir, kernel_src.as_deref()),
        Queue::Export { dir } => export(dir),
    }
}

fn checkout(dir: &Path, kernel_src: Option<&Path>) -> Result<u8> {
    let source = match kernel_src {
        Some(path) => Source::Path(path.to_owned()),
        None => Source::Debian,
    };
    let progress = &mut |step: crate::kernel::Progress| eprintln!("{}", step.what);
    edit::checkout(dir, &paths::checkout(), &paths::cache()?, &source, progress)?;
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

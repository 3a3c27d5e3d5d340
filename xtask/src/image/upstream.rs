// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sources of other projects that the lab patches and builds for the guest.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use xshell::cmd;

use crate::setup::debian::source;
use crate::{files, guard, shell};

/// Returns the directory of Debian's source of `package` in the existing directory `dir`, and downloads it if necessary.
///
/// # Errors
/// The source cannot be downloaded.
pub(super) fn source(package: &str, dir: &Path, say: &mut dyn FnMut(String)) -> Result<PathBuf> {
    let source = dir.join("source");
    if !source.is_dir() {
        say(format!("download Debian's source of {package}"));
        source::fetch(package, &source)?;
    }
    Ok(source)
}

/// Returns a hash of the compiler with the prefix `cross`, of `texts` and of the content of `files`.
///
/// # Errors
/// The compiler is missing, or a file cannot be read.
pub(super) fn hash<'t>(
    cross: &str,
    texts: impl IntoIterator<Item = &'t str>,
    files: &[PathBuf],
) -> Result<String> {
    let sh = shell::here()?;
    let mut hash = Sha256::new();
    hash.update(Sha256::digest(shell::read(cmd!(sh, "{cross}gcc --version"))?));
    for text in texts {
        hash.update(Sha256::digest(text));
    }
    for file in files {
        hash.update(Sha256::digest(files::read_bytes(file)?));
    }
    Ok(format!("{:x}", hash.finalize()))
}

/// Copies `source` to the new directory `tree`, and applies `patches` in their order.
///
/// # Errors
/// A patch does not apply, or the disk is full.
pub(super) fn patched(source: &Path, tree: &Path, patches: &[PathBuf]) -> Result<()> {
    let sh = shell::here()?;
    shell::read(cmd!(sh, "cp -R {source} {tree}"))?;
    if !patches.is_empty() {
        let sh = shell::in_dir(tree)?;
        let git = shell::git(&sh).args(["apply", "--whitespace=nowarn"]);
        shell::read(git.args(patches)).context("apply the patches")?;
    }
    Ok(())
}

/// Runs a program of a build in the directory `dir`.
///
/// # Errors
/// The program fails. The error contains its messages.
pub(super) fn run(program: &str, args: &[String], dir: &Path) -> Result<()> {
    let command = guard::command(program, args).dir(dir).stdout_null().stderr_capture();
    let output = guard::run(&command)?;
    if !output.status.success() {
        let messages = String::from_utf8_lossy(&output.stderr);
        bail!("{program}: {}\n{}", output.status, messages.trim_end());
    }
    Ok(())
}

/// Creates the directory `finished` with the content that `build` writes to a new directory, whose path it gets. After an
/// error, `finished` does not exist.
///
/// # Errors
/// Those of `build`, or the disk is full.
pub(super) fn create(finished: &Path, build: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let parent = finished.parent().context("the directory has a parent")?;
    let work = tempfile::tempdir_in(parent)
        .with_context(|| format!("create a directory in {}", parent.display()))?;
    let tree = work.path().join("tree");
    build(&tree)?;
    fs::rename(&tree, finished).with_context(|| format!("move {}", finished.display()))
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! gcov, which comes with gcc: makes lines of counts.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use xshell::cmd;

use crate::kernel::coverage_files;
use crate::shell;

/// What it says of one object: `gcov --json-format` (man gcov).
#[derive(Debug, Deserialize)]
pub(super) struct Object {
    /// The sources that went into it.
    pub files: Vec<File>,
}

/// What it says of a source.
#[derive(Debug, Deserialize)]
pub(super) struct File {
    /// Path as the compiler was given it.
    pub file: String,
    /// Lines that can run; one that is in several functions more than once.
    pub lines: Vec<Line>,
}

/// What it says of a line.
#[derive(Debug, Deserialize)]
pub(super) struct Line {
    /// From 1.
    pub line_number: usize,
    /// The function that it was compiled into.
    pub function_name: Option<String>,
    /// How often it ran.
    pub count: u64,
    /// The ways out of it, where there is more than one.
    #[serde(default)]
    pub branches: Vec<Branch>,
}

/// What it says of a way out of a line.
#[derive(Debug, Deserialize)]
pub(super) struct Branch {
    /// How often it was taken.
    pub count: u64,
}

/// Has the gcov of the compiler with the prefix `cross` look at the files of counts in `counts` of the kernel in
/// `kernel`.
///
/// # Errors
/// It is not there, or the counts are not of this kernel.
pub(super) fn run(cross: &str, kernel: &Path, counts: &Path) -> Result<Vec<File>> {
    let program = format!("{cross}gcov");
    // It wants notes and counts side by side.
    let dir = tempfile::tempdir().context("make a directory for gcov")?;
    let names = copy(counts, dir.path())?;
    copy(&kernel.join(coverage_files::DIR), dir.path())?;
    let sh = shell::in_dir(dir.path())?;
    let gcov = cmd!(
        sh,
        "{program} --json-format --stdout --branch-probabilities {names...}"
    );
    let output = shell::output(gcov)
        .with_context(|| format!("run {program}, which comes with {cross}gcc"))?;
    // It goes on, with counts of 0, after what it complains of.
    let complaint = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || !complaint.is_empty() {
        bail!(
            "{program} of {} failed ({}): {}",
            counts.display(),
            output.status,
            complaint.trim()
        );
    }
    parse(&output.stdout).with_context(|| format!("understand what {program} prints"))
}

/// One object after the other.
pub(super) fn parse(json: &[u8]) -> Result<Vec<File>> {
    let objects = serde_json::Deserializer::from_slice(json).into_iter::<Object>();
    let objects: Vec<Object> = objects.collect::<Result<_, _>>()?;
    Ok(objects
        .into_iter()
        .flat_map(|object| object.files)
        .collect())
}

/// Copies all files; returns their names.
fn copy(from: &Path, to: &Path) -> Result<Vec<OsString>> {
    let copy = || -> std::io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            fs::copy(entry.path(), to.join(entry.file_name()))?;
            names.push(entry.file_name());
        }
        names.sort();
        Ok(names)
    };
    copy().with_context(|| format!("copy {} to {}", from.display(), to.display()))
}

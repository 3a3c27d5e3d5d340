// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs gcov, which comes with gcc and assigns counts to source lines.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use xshell::cmd;

use crate::kernel::coverage_files;
use crate::{files, shell};

/// Output of `gcov --json-format` for one object (man gcov).
#[derive(Debug, Deserialize)]
pub(super) struct Object {
    /// Source files that the object was compiled from.
    pub files: Vec<File>,
}

/// Counts of a source file.
#[derive(Debug, Deserialize)]
pub(super) struct File {
    /// Path that was passed to the compiler.
    pub file: String,
    /// Executable lines. A line that was compiled into several functions appears several times.
    pub lines: Vec<Line>,
}

/// Counts of a line.
#[derive(Debug, Deserialize)]
pub(super) struct Line {
    /// Line number, from 1.
    pub line_number: usize,
    /// Function that the line was compiled into.
    pub function_name: Option<String>,
    /// Number of executions.
    pub count: u64,
    /// Branches of the line; empty if it has only one successor.
    #[serde(default)]
    pub branches: Vec<Branch>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Branch {
    /// Number of times that the branch was taken.
    pub count: u64,
}

/// Runs gcov on the count files in the directory `counts`, which come from the kernel in the directory `kernel`.
/// `cross` is the prefix of the compiler that built the kernel.
///
/// # Errors
/// gcov is missing or fails, for example because the counts belong to a different kernel.
pub(super) fn run(cross: &str, kernel: &Path, counts: &Path) -> Result<Vec<File>> {
    let program = format!("{cross}gcov");
    // gcov expects notes and counts in one directory.
    let dir = tempfile::tempdir().context("create a temporary directory for gcov")?;
    let names = copy(counts, dir.path())?;
    copy(&kernel.join(coverage_files::DIR), dir.path())?;
    let sh = shell::in_dir(dir.path())?;
    let gcov = cmd!(sh, "{program} --json-format --stdout --branch-probabilities {names...}");
    let output = shell::output(gcov)
        .with_context(|| format!("run {program}, which comes with {cross}gcc"))?;
    // After an error message, gcov continues with counts of 0 and may exit successfully.
    let complaint = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || !complaint.is_empty() {
        bail!(
            "{program} failed on the counts in {} ({}): {}",
            counts.display(),
            output.status,
            complaint.trim()
        );
    }
    parse(&output.stdout).with_context(|| format!("parse the output of {program}"))
}

/// Parses gcov's output, a sequence of JSON objects.
pub(super) fn parse(json: &[u8]) -> Result<Vec<File>> {
    let objects = serde_json::Deserializer::from_slice(json).into_iter::<Object>();
    let objects: Vec<Object> = objects.collect::<Result<_, _>>()?;
    Ok(objects.into_iter().flat_map(|object| object.files).collect())
}

/// Copies all files and returns their names.
fn copy(from: &Path, to: &Path) -> Result<Vec<OsString>> {
    let mut names = Vec::new();
    for file in files::in_dir(from)? {
        let name = file.file_name().expect("a file in a directory has a name");
        fs::copy(&file, to.join(name))
            .with_context(|| format!("copy {} to {}", file.display(), to.display()))?;
        names.push(name.to_owned());
    }
    Ok(names)
}

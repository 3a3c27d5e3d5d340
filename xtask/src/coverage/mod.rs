// SPDX-License-Identifier: MIT OR Apache-2.0
//! Coverage: the lines and branches of the feature that ran, according to the kernel's own counts.
//!
//! The guest sends the counts after its last case, so a boot that was cut short sends none. The counts of all other
//! boots are added up. gcov assigns the counts to lines. A file beside the patch queue gives reasons for lines that did
//! not run.

mod feature;
mod gcov;
mod reasons;
mod report;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::files;
use crate::kernel::Built;
use crate::run_dir::{GUEST_FILES, INITRAMFS};
use feature::Feature;

/// Name of the report in a target's run directory.
pub(crate) const REPORT: &str = "coverage.md";

/// Inputs of a coverage report.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// Root of the checkout, which contains the reasons.
    pub checkout: &'a Path,
    pub built: &'a Built,
    /// Directory of the kernel source that was compiled for coverage.
    pub dir: &'a str,
    /// Prefix of the cross tools.
    pub cross: &'a str,
    /// The target's run directory, which contains the boot directories.
    pub run: &'a Path,
}

/// Counts of all source files, added up over the boots of a run.
#[derive(Debug, Default, PartialEq)]
struct Coverage {
    sources: BTreeMap<String, SourceFile>,
    /// Number of boots that sent counts.
    boots: usize,
    /// Number of boots that ended before they could send counts.
    boots_without_counts: usize,
}

/// Executable lines of a source file, by number.
type SourceFile = BTreeMap<usize, Line>;

/// An executable line.
#[derive(Clone, Debug, Default, PartialEq)]
struct Line {
    /// Number of executions.
    count: u64,
    /// Number of times that each branch was taken, by the function that the line was compiled into. A line of an
    /// inlined function is compiled into several functions.
    branches: BTreeMap<String, Vec<u64>>,
    /// Function that contains the line in the source.
    function: String,
    /// Source text, trimmed.
    text: String,
}

/// Writes the report, and returns a summary in one line, followed by the report's path.
///
/// # Errors
/// No boot sent counts, gcov is missing or fails, or the reasons do not parse.
pub(crate) fn write(request: &Request) -> Result<String> {
    let feature = Feature::read(request.dir, &request.built.dir)?;
    let coverage = collect(request.run, request.cross, &request.built.dir, &feature)?;
    let reasons = reasons::read(request.checkout, &request.built.version)?;
    let explanation = reasons::explain(&coverage, &reasons);
    let path = request.run.join(REPORT);
    files::write_atomically(&path, report::render(&coverage, &explanation))?;
    Ok(format!("{}\n{}", report::summary(&coverage, &explanation), path.display()))
}

/// Adds up the counts of all boots in `run`. `kernel` is the directory of the kernel that they ran.
fn collect(run: &Path, cross: &str, kernel: &Path, feature: &Feature) -> Result<Coverage> {
    let mut coverage = Coverage::default();
    for boot in boots(run)? {
        let counts = boot.join(GUEST_FILES);
        if !counts.exists() {
            coverage.boots_without_counts += 1;
            continue;
        }
        coverage.boots += 1;
        for file in gcov::run(cross, kernel, &counts)? {
            coverage.add(&file, feature);
        }
    }
    if coverage.sources.is_empty() {
        bail!(
            "no boot in {} sent coverage counts: each was cut short, or the kernel was built without CONFIG_GCOV_KERNEL",
            run.display()
        );
    }
    Ok(coverage)
}

/// Returns the directories of the boots in `run` that were started.
fn boots(run: &Path) -> Result<Vec<PathBuf>> {
    let mut boots = files::in_dir(run)?;
    boots.retain(|path| path.join(INITRAMFS).exists());
    Ok(boots)
}

impl Coverage {
    /// Adds gcov's counts of a source file. Ignores lines that do not belong to the feature.
    fn add(&mut self, file: &gcov::File, feature: &Feature) {
        let Some((name, text)) = feature.find(&file.file) else {
            return;
        };
        for line in &file.lines {
            if let Some((function, text)) = text.line(line.line_number) {
                let source = self.sources.entry(name.to_owned()).or_default();
                let known = source.entry(line.line_number).or_default();
                known.function = function.to_owned();
                known.text = text.to_owned();
                known.add(line);
            }
        }
    }

    /// Returns the lines that did not run, with the name of the source file and the line number.
    fn unreached(&self) -> impl Iterator<Item = (&str, usize, &Line)> {
        self.sources.iter().flat_map(|(name, source)| {
            let lines = source.iter().filter(|(_, line)| line.count == 0);
            lines.map(|(number, line)| (name.as_str(), *number, line))
        })
    }
}

impl Line {
    /// Adds one of gcov's records of this line. For each boot, gcov prints a record for each function that the line was
    /// compiled into.
    fn add(&mut self, record: &gcov::Line) {
        self.count += record.count;
        let function = record.function_name.clone().unwrap_or_default();
        let branches = self.branches.entry(function).or_default();
        let most = branches.len().max(record.branches.len());
        branches.resize(most, 0);
        for (sum, branch) in branches.iter_mut().zip(&record.branches) {
            *sum += branch.count;
        }
    }
}

#[cfg(test)]
mod tests;

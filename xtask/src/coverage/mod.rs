// SPDX-License-Identifier: MIT OR Apache-2.0
//! Coverage: which lines and branches of the feature ran, by what the kernel has counted of itself.
//!
//! The guest sends the kernel's counts when its last case is over, so a boot that was cut short has none; those of all
//! others add up. gcov knows which count is which line. A line that did not run may have a reason, in a
//! file beside the patch queue.

mod feature;
mod gcov;
mod reasons;
mod report;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::kernel::Built;
use crate::run_dir::{GUEST_FILES, INITRAMFS};
use feature::Feature;

/// Name of the report, in the directory of a target's run.
pub(crate) const REPORT: &str = "coverage.md";

/// Whose counts, and where they are.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// Root of the checkout, where the reasons are.
    pub checkout: &'a Path,
    /// The kernel.
    pub built: &'a Built,
    /// The directory of its source whose lines are counted.
    pub dir: &'a str,
    /// Prefix of the cross tools.
    pub cross: &'a str,
    /// The directory of the target's run, with the boots.
    pub run: &'a Path,
}

/// What ran of each source, and how many boots have a share in it.
#[derive(Debug, Default, PartialEq)]
struct Coverage {
    sources: BTreeMap<String, Source>,
    boots: usize,
    /// Boots that ended before they could say.
    mute: usize,
}

/// The lines of a source that can run, by number.
#[derive(Debug, Default, PartialEq)]
struct Source {
    lines: BTreeMap<usize, Line>,
}

/// A line that can run.
#[derive(Clone, Debug, Default, PartialEq)]
struct Line {
    /// How often it did.
    count: u64,
    /// How often each way out of it was taken. The compiler makes a set for each function that the line is in.
    branches: BTreeMap<String, Vec<u64>>,
    /// The function it is in.
    function: String,
    /// What it says, without blanks around it.
    text: String,
}

/// Writes the report; returns what it comes to, for a person, in one line.
///
/// # Errors
/// There is nothing to report, gcov is not there or complains, or the reasons do not parse.
pub(crate) fn write(request: &Request) -> Result<String> {
    let feature = Feature::read(request.dir, &request.built.dir)?;
    let coverage = collect(request.run, request.cross, &request.built.dir, &feature)?;
    let reasons = reasons::read(request.checkout, &request.built.version)?;
    let joined = reasons::join(&coverage, &reasons);
    let path = request.run.join(REPORT);
    let text = report::render(&coverage, &joined);
    crate::paths::write_whole(&path, text.as_bytes())?;
    Ok(format!(
        "{}\n{}",
        report::summary(&coverage, &joined),
        path.display()
    ))
}

/// Adds up what the boots in `run` have counted of the kernel in `kernel`.
fn collect(run: &Path, cross: &str, kernel: &Path, feature: &Feature) -> Result<Coverage> {
    let mut coverage = Coverage::default();
    for boot in boots(run)? {
        let counts = boot.join(GUEST_FILES);
        if !counts.exists() {
            coverage.mute += 1;
            continue;
        }
        coverage.boots += 1;
        for file in gcov::run(cross, kernel, &counts)? {
            coverage.add(&file, feature);
        }
    }
    if coverage.sources.is_empty() {
        bail!(
            "no boot in {} has sent what the kernel counted: each was cut short, or the kernel has no CONFIG_GCOV_KERNEL",
            run.display()
        );
    }
    Ok(coverage)
}

fn boots(run: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(run).with_context(|| format!("read {}", run.display()))?;
    let paths: std::io::Result<Vec<PathBuf>> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect();
    let paths = paths.with_context(|| format!("read {}", run.display()))?;
    let started = |path: &PathBuf| path.join(INITRAMFS).exists();
    Ok(paths.into_iter().filter(started).collect())
}

impl Coverage {
    /// Adds what gcov says of a source, as far as it is the feature's.
    fn add(&mut self, file: &gcov::File, feature: &Feature) {
        let Some((name, text)) = feature.of(&file.file) else {
            return;
        };
        for line in &file.lines {
            if let Some((function, words)) = text.line(line.line_number) {
                let source = self.sources.entry(name.to_owned()).or_default();
                let known = source.lines.entry(line.line_number).or_default();
                known.function = function.to_owned();
                known.text = words.to_owned();
                known.add(line);
            }
        }
    }

    /// The lines that did not run: name of the source, number, line.
    fn unreached(&self) -> impl Iterator<Item = (&str, usize, &Line)> {
        self.sources.iter().flat_map(|(name, source)| {
            let lines = source.lines.iter().filter(|(_, line)| line.count == 0);
            lines.map(|(number, line)| (name.as_str(), *number, line))
        })
    }
}

impl Line {
    /// gcov tells of a line once for each function that it was compiled into, and each boot tells of all.
    fn add(&mut self, told: &gcov::Line) {
        self.count += told.count;
        let function = told.function_name.clone().unwrap_or_default();
        let branches = self.branches.entry(function).or_default();
        let most = branches.len().max(told.branches.len());
        branches.resize(most, 0);
        for (sum, branch) in branches.iter_mut().zip(&told.branches) {
            *sum += branch.count;
        }
    }
}

#[cfg(test)]
mod tests;

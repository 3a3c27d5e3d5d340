// SPDX-License-Identifier: MIT OR Apache-2.0
//! Report: shows the progress and the results of a run.
//!
//! During the run, the reporter [`Term`](term::Term) shows each event at the terminal. After the run, [`write_all`]
//! writes the results to files.

pub(crate) mod annotations;
pub(crate) mod compare;
pub(crate) mod events;
pub(crate) mod html;
pub(crate) mod json;
pub(crate) mod junit;
pub(crate) mod kcidb;
pub(crate) mod ktap;
pub(crate) mod merge;
pub(crate) mod rows;
#[cfg(test)]
pub(crate) mod samples;
pub(crate) mod targets;
pub(crate) mod term;

use std::path::Path;

use anyhow::{Context, Result};

use html::PageContext;
pub(crate) use term::TermOptions;

use crate::files::write_atomically;
use crate::oracle::files::{self, Stories};
use crate::results::{CaseResult, FindingSummary, RunResult};
use crate::run_dir::RESULTS;
use crate::text::words;

/// Word for a case that failed before it passed.
pub(crate) const FLAKY: &str = "flaky";

/// Origin of the results that a report shows.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// A run on this machine.
    Run {
        /// Directory of the run, with the files of its boots.
        dir: &'a Path,
        /// Command to repeat the run, without the options that select targets and cases.
        rerun: &'a str,
    },
    /// Runs on other machines. The files of their boots are not available here.
    Elsewhere,
}

/// Returns a line for each finding of the oracle in a case.
fn findings(case: &CaseResult) -> Vec<String> {
    let findings = case.oracle.iter().flat_map(|oracle| &oracle.findings);
    findings
        .map(|finding| {
            let FindingSummary { id, text, repeats, .. } = finding;
            format!("{id} ({}): {text}", words::times(*repeats))
        })
        .collect()
}

/// A report format: one file, rendered from the results of a run.
pub struct Report {
    /// Name of the file.
    pub file: &'static str,
    render: fn(&RunResult, &PageContext) -> String,
}

/// All report formats. A new format is a module with a function that renders it, and a row here.
pub const REPORTS: [Report; 4] = [
    Report { file: RESULTS, render: |result, _| json::render(result) },
    Report { file: "report.html", render: html::render },
    Report { file: "junit.xml", render: |result, _| junit::render(result) },
    Report { file: "ktap.txt", render: |result, _| ktap::render(result) },
];

/// Returns the names of all report files as part of a sentence: `a, b and c`.
pub(crate) fn file_list() -> String {
    let files = REPORTS.each_ref().map(|report| report.file);
    let (last, others) = files.split_last().expect("there are reports");
    format!("{} and {last}", others.join(", "))
}

/// Writes all [`REPORTS`] to `dir`. Each file is replaced in one step.
///
/// # Errors
/// The directory cannot be created or written to. The error names the file. Existing files are never left incomplete.
pub fn write_all(dir: &Path, result: &RunResult, origin: Origin) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| {
        format!("create {}; choose another directory with --report-dir", dir.display())
    })?;
    let stories = match origin {
        Origin::Run { dir, .. } => files::stories(dir, result),
        Origin::Elsewhere => Stories::new(),
    };
    let context = PageContext {
        origin,
        stories,
        in_run_dir: matches!(origin, Origin::Run { dir: run_dir, .. } if run_dir == dir),
    };
    for report in REPORTS {
        let text = (report.render)(result, &context);
        write_atomically(&dir.join(report.file), text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_reports_and_nothing_else_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let reports = dir.path().join("some/reports");
        write_all(&reports, &samples::mixed(), Origin::Elsewhere).unwrap();
        let mut names: Vec<String> = std::fs::read_dir(&reports)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let mut expected = REPORTS.map(|report| report.file);
        expected.sort();
        assert_eq!(names, expected);
        let json = std::fs::read_to_string(reports.join("results.json")).unwrap();
        let read: RunResult = serde_json::from_str(&json).unwrap();
        assert_eq!(read, samples::mixed());
    }

    #[test]
    fn the_document_has_a_row_for_every_report() {
        let document = include_str!("../../../docs/results.md");
        for report in REPORTS {
            let row = format!("| `{}` |", report.file);
            assert!(document.contains(&row), "no row {row} in docs/results.md");
        }
    }

    #[test]
    fn the_error_names_a_directory_that_cannot_be_created() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error =
            write_all(&file.join("reports"), &samples::mixed(), Origin::Elsewhere).unwrap_err();
        let error = format!("{error:#}").replace(&*dir.path().to_string_lossy(), "DIR");
        insta::assert_snapshot!(error, @"create DIR/file/reports; choose another directory with --report-dir: Not a directory (os error 20)");
    }
}

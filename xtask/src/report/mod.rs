// SPDX-License-Identifier: MIT OR Apache-2.0
//! Report: says what the runner does and what came of it.
//!
//! While a run goes on, [`Term`](term::Term) is the reporter that shows each event at the terminal. When the run is
//! over, [`write_all`] writes the results as files.

pub(crate) mod html;
pub(crate) mod json;
pub(crate) mod junit;
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

use crate::oracle::files::{self, Stories};
use crate::paths::write_atomically;
use crate::results::{CaseResult, Found, RunResult};
use crate::run_dir::RESULTS;
use crate::text::words;

/// Where what a result tells of took place, as far as its reports say so.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// On this machine.
    Run {
        /// The directory of the run, with the files of its boots.
        dir: &'a Path,
        /// The command that runs it again, without what chooses targets and cases.
        again: &'a str,
    },
    /// Elsewhere, and the files of the boots have stayed there.
    Elsewhere,
}

/// What the oracle found in a case, a line each.
fn findings(case: &CaseResult) -> Vec<String> {
    let findings = case.oracle.iter().flat_map(|watched| &watched.findings);
    findings
        .map(|found| {
            let Found {
                id, text, repeats, ..
            } = found;
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
    Report {
        file: RESULTS,
        render: |result, _| json::render(result),
    },
    Report {
        file: "report.html",
        render: html::render,
    },
    Report {
        file: "junit.xml",
        render: |result, _| junit::render(result),
    },
    Report {
        file: "ktap.txt",
        render: |result, _| ktap::render(result),
    },
];

/// Returns the names of all report files for a sentence: `a, b and c`.
pub(crate) fn file_list() -> String {
    let files = REPORTS.each_ref().map(|report| report.file);
    let (last, others) = files.split_last().expect("there are reports");
    format!("{} and {last}", others.join(", "))
}

/// Writes every report of [`REPORTS`] into `dir`, each whole or not at all.
///
/// # Errors
/// The directory cannot be made or written to: names the file. Files that were there before are then still whole.
pub fn write_all(dir: &Path, result: &RunResult, origin: Origin) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| {
        format!(
            "make {}; choose another place with --report-dir",
            dir.display()
        )
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
        write_atomically(&dir.join(report.file), text.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_written_side_by_side_and_nothing_else_is() {
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
    fn a_place_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error =
            write_all(&file.join("reports"), &samples::mixed(), Origin::Elsewhere).unwrap_err();
        let error = format!("{error:#}").replace(&*dir.path().to_string_lossy(), "DIR");
        insta::assert_snapshot!(error, @"make DIR/file/reports; choose another place with --report-dir: Not a directory (os error 20)");
    }
}

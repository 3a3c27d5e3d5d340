// SPDX-License-Identifier: MIT OR Apache-2.0
//! Report: says what the runner does and what came of it.
//!
//! While a run goes on, [`Events`] passes each event to the reporters, of which [`term::Term`] is the one a person
//! sees. When it is over, [`write_all`] writes its result for programs.

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
pub(crate) mod words;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};

use html::Told;
pub(crate) use term::Style;

use crate::event::{Event, Reporter};
use crate::oracle::files::{self, Stories};
use crate::paths::write_whole;
use crate::results::{CaseResult, Found, RunResult, TargetResult};

/// The report for programs, in the directory of a run and in that of `--report-dir`.
pub(crate) const RESULTS: &str = "results.json";

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

/// Where events go. Clones are cheap and lead to the same reporters.
#[derive(Clone)]
pub(crate) struct Events {
    reporters: Arc<Mutex<Vec<Box<dyn Reporter>>>>,
}

impl Events {
    /// Leads to `reporters`, each of which hears every event.
    pub(crate) fn new(reporters: Vec<Box<dyn Reporter>>) -> Self {
        Self {
            reporters: Arc::new(Mutex::new(reporters)),
        }
    }

    /// Leads to the terminal alone, or to what stands in its place.
    pub(crate) fn to_terminal(style: Style) -> Self {
        Self::new(vec![Box::new(term::Term::new(style))])
    }

    /// Leads nowhere.
    pub(crate) fn silent() -> Self {
        Self::new(Vec::new())
    }

    /// Passes an event on; returns when every reporter has heard it.
    pub(crate) fn send(&self, event: Event) {
        // A reporter that panicked took its own thread down; the others still have a run to report.
        let mut reporters = self
            .reporters
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for reporter in reporters.iter_mut() {
            reporter.event(&event);
        }
    }
}

/// The directory of a boot: its console log, its records, the QEMU command to paste.
pub(crate) fn boot_dir(run_dir: &Path, target: &str, boot: usize) -> PathBuf {
    run_dir.join(target).join(format!("boot-{boot}"))
}

/// The suites of a target in the order they first appear, each with its cases.
fn suites(target: &TargetResult) -> Vec<(&str, Vec<&CaseResult>)> {
    let mut suites: Vec<(&str, Vec<&CaseResult>)> = Vec::new();
    for case in &target.cases {
        match suites.iter_mut().find(|(name, _)| *name == case.suite) {
            Some((_, cases)) => cases.push(case),
            None => suites.push((&case.suite, vec![case])),
        }
    }
    suites
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

/// Why a target could not be tested. One without any case has tested nothing, which must not look like success.
fn untested(target: &TargetResult) -> Option<&str> {
    let nothing = target.cases.is_empty().then_some("it had no case to run");
    target.failure.as_deref().or(nothing)
}

/// Writes `results.json`, `report.html`, `junit.xml` and `ktap.txt` into `dir`, each whole or not at all.
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
    let told = Told {
        origin,
        stories,
        beside: matches!(origin, Origin::Run { dir: run_dir, .. } if run_dir == dir),
    };
    let files = [
        (RESULTS, json::render(result)),
        ("report.html", html::render(result, &told)),
        ("junit.xml", junit::render(result)),
        ("ktap.txt", ktap::render(result)),
    ];
    for (name, text) in files {
        write_whole(&dir.join(name), text.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    struct Ear(Sender<String>);

    impl Reporter for Ear {
        fn event(&mut self, event: &Event) {
            if let Event::Note { text, .. } = event {
                self.0.send(text.clone()).unwrap();
            }
        }
    }

    #[test]
    fn every_reporter_hears_every_event_from_any_thread() {
        let (sender, heard) = channel();
        let ears = [sender.clone(), sender].map(|ear| Box::new(Ear(ear)) as Box<dyn Reporter>);
        let events = Events::new(ears.into());
        let threads = ["one", "two"].map(|text| {
            let events = events.clone();
            std::thread::spawn(move || {
                events.send(Event::Note {
                    target: None,
                    text: text.into(),
                });
            })
        });
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        drop(events);
        let mut heard: Vec<String> = heard.iter().collect();
        // One event reaches all reporters before the next one does.
        assert_eq!(heard[0], heard[1]);
        heard.sort();
        assert_eq!(heard, ["one", "one", "two", "two"]);
    }

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
        assert_eq!(
            names,
            ["junit.xml", "ktap.txt", "report.html", "results.json"]
        );
        let json = std::fs::read_to_string(reports.join("results.json")).unwrap();
        let read: RunResult = serde_json::from_str(&json).unwrap();
        assert_eq!(read, samples::mixed());
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

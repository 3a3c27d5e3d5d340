// SPDX-License-Identifier: MIT OR Apache-2.0
//! `report.html`: a run as a person reads it who was not there, in one file that needs no other, no network and no
//! script.
//!
//! What did not pass comes first, then every case. All that the guest, the kernel or another program has said goes
//! through [`words`](super::words), which takes out control characters, and through `html!`, which escapes it.

mod drawing;
mod failures;
mod finding;
mod lane;
mod page_map;
mod suites;
mod targets;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::oracle::files::Stories;
use crate::report::{Origin, rows};
use crate::results::Counts;
use crate::results::{CaseResult, RunResult, TargetResult, Verdict};
use crate::text::words::one_line;

/// How it looks; nothing else decides that.
const STYLE: &str = include_str!("style.css");

/// The page may load nothing and run nothing, should anything get past the escaping.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// What the page says beyond the result.
#[derive(Clone, Debug)]
pub(crate) struct Told<'a> {
    /// Where the run was.
    pub origin: Origin<'a>,
    /// The stories of its findings; none where the run was elsewhere.
    pub stories: Stories,
    /// Whether the page lies in the directory of the run, so that it can link to the files of the boots.
    pub beside: bool,
}

/// The whole page.
pub(crate) fn render(run: &RunResult, told: &Told) -> String {
    let title = title(run);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { "dmmap-lab: " (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 class=(class_of_run(run)) { (title) }
                    p {
                        (rows::end(run)) ", started " time { (one_line(&run.started)) }
                        "; " (one_line(&run.tool)) "; exit code " (run.exit_code())
                    }
                    nav aria-label="Sections" {
                        ul {
                            li { a href="#targets" { "Targets" } }
                            li { a href="#failures" { "What did not pass" } }
                            li { a href="#cases" { "All cases" } }
                        }
                    }
                }
                main {
                    (targets::section(run))
                    (failures::section(run, told))
                    (suites::section(run))
                }
            }
        }
    };
    page.into_string() + "\n"
}

/// `Did not pass: 2 passed, 5 failed, 1 skipped`.
fn title(run: &RunResult) -> String {
    let end = match (run.interrupted, run.exit_code()) {
        (true, _) => "Interrupted",
        (false, 0) => "Passed",
        (false, _) => "Did not pass",
    };
    format!("{end}: {}", Counts::of_run(run).line())
}

fn class_of_run(run: &RunResult) -> &'static str {
    match run.exit_code() {
        0 => "good",
        _ => "bad",
    }
}

/// The class of a verdict's word.
fn class_of(word: &str) -> &'static str {
    match word {
        "pass" => "good",
        "skip" => "skip",
        _ => "bad",
    }
}

/// The word of a verdict.
fn badge(verdict: &Verdict) -> Markup {
    let word = verdict.word();
    html! { span class={ "badge " (class_of(word)) } { (word) } }
}

/// The anchor of a case of the target at place `at` of the run: no name, as names may hold anything.
fn anchor(at: usize, target: &TargetResult, case: &CaseResult) -> String {
    let place = target.cases.iter().position(|other| other.id == case.id);
    format!("case-{at}-{}", place.unwrap_or_default())
}

#[cfg(test)]
mod tests;

// SPDX-License-Identifier: MIT OR Apache-2.0
//! `report.html`: a run for human readers. The page is a single file and loads nothing. Its only script is the search
//! among the cases; everything else works without scripts.
//!
//! The sections are targets, failures, growth and all cases. Every text from the guest, the kernel or another program
//! goes through [`words`](crate::text::words), which removes control characters, and through `html!`, which escapes it.

mod drawing;
mod failures;
mod filter;
mod finding;
mod growth;
mod lane;
mod page_map;
mod suites;
mod targets;

use base64::prelude::{BASE64_STANDARD, Engine};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use crate::machine::args::quote;
use crate::oracle::files::Stories;
use crate::report::{FLAKY, Origin, rows};
use crate::results::{CaseResult, Counts, RunResult, TargetResult, Verdict};
use crate::text::words::one_line;

const STYLE: &str = include_str!("style.css");

const SCRIPT: &str = include_str!("search.js");

/// Returns the policy that forbids the page to load or run anything but its own script, in case a text gets past the
/// escaping.
fn policy() -> String {
    let hash = BASE64_STANDARD.encode(Sha256::digest(SCRIPT));
    format!("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hash}'")
}

/// Information for the page that is not part of the results.
#[derive(Clone, Debug)]
pub(crate) struct PageContext<'a> {
    pub origin: Origin<'a>,
    /// Stories of the findings. Empty if the run took place elsewhere.
    pub stories: Stories,
    /// True if the page is in the directory of the run, where it can link to the files of the boots.
    pub in_run_dir: bool,
}

/// Renders the whole page.
pub(crate) fn render(run: &RunResult, context: &PageContext) -> String {
    let title = title(run);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(policy());
                title { "dmmap-lab: " (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 class=(class_of_run(run)) { (title) }
                    p {
                        (rows::end(run)) ", started " time { (one_line(&run.started)) }
                        "; version " (one_line(&run.tool)) "; exit code " (run.exit_code())
                    }
                    @for command in &run.commands { pre class="command" { (command_line(command)) } }
                    nav aria-label="Sections" {
                        ul {
                            li { a href="#targets" { "Targets" } }
                            li { a href="#failures" { "Failures" } " " small { (Counts::of_run(run).failed) } }
                            @if growth::has_curves(run) { li { a href="#growth" { "Growth" } } }
                            li { a href="#cases" { "All cases" } }
                        }
                    }
                }
                main {
                    (targets::section(run))
                    (failures::section(run, context))
                    (growth::section(run))
                    (suites::section(run))
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string() + "\n"
}

/// Returns the command of a run, to paste into a shell.
fn command_line(words: &[String]) -> String {
    words.iter().map(|word| quote(&one_line(word))).collect::<Vec<_>>().join(" ")
}

/// Returns the title: `Failed: 2 passed, 5 failed, 1 skipped`.
fn title(run: &RunResult) -> String {
    let end = match (run.interrupted, run.exit_code()) {
        (true, _) => "Interrupted",
        (false, 0) => "Passed",
        (false, _) => "Failed",
    };
    format!("{end}: {}", Counts::of_run(run).line())
}

fn class_of_run(run: &RunResult) -> &'static str {
    match run.exit_code() {
        0 => "good",
        _ => "bad",
    }
}

/// Returns the CSS class of a verdict, given by its word.
fn class_of(word: &str) -> &'static str {
    match word {
        "pass" => "good",
        "skip" | "not-run" => "skip",
        _ => "bad",
    }
}

fn badge(verdict: &Verdict) -> Markup {
    let word = verdict.word();
    html! { span class={ "badge " (class_of(word)) } { (word) } }
}

/// Renders the mark of a case that failed before it passed.
fn flaky_badge() -> Markup {
    html! { span class="badge skip" { (FLAKY) } }
}

/// Returns the anchor of a case. `at` is the index of its target in the run. The anchor consists of numbers, because
/// names may contain any character.
fn anchor(at: usize, target: &TargetResult, case: &CaseResult) -> String {
    let place = target.cases.iter().position(|other| other.id == case.id);
    format!("case-{at}-{}", place.unwrap_or_default())
}

#[cfg(test)]
mod tests;

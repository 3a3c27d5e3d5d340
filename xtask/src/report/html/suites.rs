// SPDX-License-Identifier: MIT OR Apache-2.0
//! Section of all cases, by target and suite.

use maud::{Markup, html};

use super::{anchor, badge, filter, flaky_badge};
use crate::report::rows::took_millis;
use crate::results::{CaseResult, Counts, OracleSummary, RunResult, TargetResult, Verdict};
use crate::text::words::one_line;

/// Class of the columns that narrow screens do not show.
const DETAIL: &str = "detail";

/// Columns, each with its class.
const COLUMNS: [(&str, Option<&str>); 8] = [
    ("verdict", None),
    ("case", None),
    ("checks", None),
    ("promises", Some(DETAIL)),
    ("time", None),
    ("boot", Some(DETAIL)),
    ("figures", Some(DETAIL)),
    ("oracle", Some(DETAIL)),
];

/// Renders a table for each suite of each target. The tables are collapsed until the reader opens them.
pub(super) fn section(run: &RunResult) -> Markup {
    html! {
        section id="cases" {
            h2 { "All cases" }
            (filter::form(run))
            @for (at, target) in run.targets.iter().enumerate() {
                div class="target" data-target=(one_line(&target.name)) {
                    h3 { (one_line(&target.name)) }
                    @if target.cases.is_empty() { p { "There were no cases to run." } }
                    @for (name, cases) in target.suites() { (suite(at, target, name, &cases)) }
                }
            }
        }
    }
}

fn suite(at: usize, target: &TargetResult, name: &str, cases: &[&CaseResult]) -> Markup {
    let mut counts = Counts::default();
    cases.iter().for_each(|case| counts.add(case));
    let label = format!("{} on {}", one_line(name), one_line(&target.name));
    html! {
        details class="suite" {
            summary { (one_line(name)) ": " (counts.brief()) }
            div class="wide" tabindex="0" role="region" aria-label=(label) {
                table {
                    thead {
                        tr {
                            @for (name, class) in COLUMNS { th scope="col" class=[class] { (name) } }
                        }
                    }
                    tbody { @for case in cases { (row(at, target, case)) } }
                }
            }
        }
    }
}

fn row(at: usize, target: &TargetResult, case: &CaseResult) -> Markup {
    let has_entry = case.verdict.is_failure() || case.flaky;
    let id = one_line(&case.id);
    let promises = case.promises.iter().map(u8::to_string);
    html! {
        tr data-is=(filter::group(case)) {
            td { (badge(&case.verdict)) @if case.flaky { " " (flaky_badge()) } }
            th scope="row" {
                @match has_entry {
                    false => (id),
                    true => a href={ "#" (anchor(at, target, case)) } { (id) },
                }
            }
            td {
                (one_line(&case.about))
                @if let Verdict::Skip { reason } = &case.verdict { p { "skipped: " (one_line(reason)) } }
                @if case.attempts > 1 { p { (case.tally()) } }
            }
            td class=(DETAIL) { (promises.collect::<Vec<_>>().join(", ")) }
            td class="count" { @if let Some(millis) = case.millis { (took_millis(millis)) } }
            td class={ "count " (DETAIL) } { @if let Some(boot) = case.boot { (boot) } }
            td class=(DETAIL) {
                @if !case.figures.is_empty() {
                    ul { @for (name, figure) in &case.figures { li { (one_line(name)) " " (figure) } } }
                }
            }
            td class=(DETAIL) { @if let Some(watched) = &case.oracle { (oracle_cell(watched)) } }
        }
    }
}

/// Returns the oracle column of a case: `12345 accesses; findings: 2`.
fn oracle_cell(watched: &OracleSummary) -> String {
    let OracleSummary { accesses, distinct, .. } = watched;
    format!("{accesses} accesses; findings: {distinct}")
}

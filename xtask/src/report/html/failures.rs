// SPDX-License-Identifier: MIT OR Apache-2.0
//! Section of the cases and targets that failed, with their logs and the command that runs them again.

use std::path::Path;

use maud::{Markup, html};

use super::{PageContext, anchor, badge, finding, flaky_badge};
use crate::report::Origin;
use crate::report::rows::{self, Rerun};
use crate::results::{CaseResult, Counts, RunResult, TargetResult};
use crate::run_dir::{CONSOLE, QEMU_COMMAND, RECORDS, boot_dir};
use crate::text::words::{lines, one_line};

/// Renders every failed case. Cases that never ran for the same reason share one entry.
pub(super) fn section(run: &RunResult, context: &PageContext) -> Markup {
    let all_tested = run.targets.iter().all(|target| target.untested().is_none());
    let counts = Counts::of_run(run);
    html! {
        section id="failures" {
            h2 { "Failures" }
            @match (all_tested && counts.failed == 0, counts.not_run) {
                (true, 0) => p { "None: every case passed or was skipped." },
                (true, _) => p { "None: every case that ran passed or was skipped." },
                (false, _) => {},
            }
            @for (at, target) in run.targets.iter().enumerate() {
                @if let Some(why) = target.untested() {
                    article {
                        h3 { span class="badge bad" { "not tested" } " " (one_line(&target.name)) }
                        pre { (lines(why).join("\n")) }
                    }
                }
                @for group in rows::failures(target) { (failure(at, target, &group, context)) }
            }
            @for (at, target) in run.targets.iter().enumerate() {
                @for case in target.cases.iter().filter(|case| case.passed_as_flaky()) {
                    (flaky(at, target, case, context))
                }
            }
        }
    }
}

/// Renders a case that failed before it passed.
fn flaky(at: usize, target: &TargetResult, case: &CaseResult, context: &PageContext) -> Markup {
    let anchor = anchor(at, target, case);
    html! {
        article id=(anchor) class="flaky" {
            h3 { (flaky_badge()) " " (one_line(&target.name)) " " (one_line(&case.id)) }
            p { (case.tally()) }
            (attempts(target, case, &anchor, context))
        }
    }
}

/// Renders the failed attempts of a case that ran more than once.
fn attempts(
    target: &TargetResult,
    case: &CaseResult,
    anchor: &str,
    context: &PageContext,
) -> Markup {
    html! {
        @for (number, attempt) in case.attempts_that_failed() {
            details {
                summary { "Attempt " (number) ": " (badge(&attempt.verdict)) " " small { (rows::when(&attempt)) } }
                (details(target, &attempt, &format!("{anchor}-attempt-{number}"), context))
            }
        }
    }
}

fn failure(
    at: usize,
    target: &TargetResult,
    group: &[&CaseResult],
    context: &PageContext,
) -> Markup {
    let case = group[0];
    let anchor = anchor(at, target, case);
    let when = rows::when(case);
    html! {
        article id=(anchor) {
            h3 {
                (badge(&case.verdict)) " " (one_line(&target.name)) " " (one_line(&rows::group_name(group)))
                @if !when.is_empty() { " " small { (when) } }
            }
            @if group.len() > 1 { (more_cases(at, target, group)) }
            (details(target, case, &anchor, context))
            (attempts(target, case, &anchor, context))
        }
    }
}

/// Renders the details of a failed case, or of one attempt of it. `anchor` is unique in the page.
fn details(
    target: &TargetResult,
    case: &CaseResult,
    anchor: &str,
    context: &PageContext,
) -> Markup {
    let command = command(target, context.origin);
    let rerun = Rerun { command: &command, name: &target.name, options: &target.options() };
    let boot = match context.origin {
        Origin::Run { dir, .. } => case.boot.map(|boot| (dir, boot)),
        Origin::Elsewhere => None,
    };
    html! {
        dl {
            @for (name, lines) in rows::failure(case, rerun, boot, usize::MAX) {
                @match name {
                    // The entry of the target has the full text.
                    "reason" if target.failure.is_some() && case.verdict.detail() == target.failure => {
                        dt { (name) }
                        dd { "not tested" }
                    }
                    // The findings are drawn below the list.
                    "oracle" => {}
                    "files" if context.in_run_dir => (files(target, case)),
                    _ => (field(name, &lines)),
                }
            }
        }
        @if let Some(watched) = &case.oracle { (finding::all(watched, case, anchor, context)) }
    }
}

/// Lists the cases of a group after the first, each with its anchor.
fn more_cases(at: usize, target: &TargetResult, group: &[&CaseResult]) -> Markup {
    html! {
        details {
            summary { "More cases, same reason" }
            ul {
                @for case in &group[1..] {
                    li id=(anchor(at, target, case)) { (one_line(&case.id)) }
                }
            }
        }
    }
}

/// Renders a name with its lines, or nothing if there are no lines.
fn field(name: &str, lines: &[String]) -> Markup {
    let lines: Vec<String> = lines.iter().map(|line| one_line(line)).collect();
    html! {
        @if !lines.is_empty() {
            dt { (name) }
            dd {
                @match name {
                    "checks" => (lines.join(" ")),
                    _ => pre { (lines.join("\n")) },
                }
            }
        }
    }
}

/// Renders links to the files of the boot. They are relative to the page, so they work wherever the run's directory is.
fn files(target: &TargetResult, case: &CaseResult) -> Markup {
    let dir = case.boot.map(|boot| boot_dir(Path::new(""), &target.name, boot));
    let dir = dir.map(|dir| one_line(&dir.display().to_string()));
    html! {
        @if let Some(dir) = dir {
            dt { "files" }
            dd class="files" {
                a href={ (dir) "/" } { (dir) "/" }
                @for file in [CONSOLE, RECORDS, QEMU_COMMAND] {
                    " " a href={ (dir) "/" (file) } { (file) }
                }
            }
        }
    }
}

/// Returns the command that repeats the run, without the options for target, kernel version and case.
fn command(target: &TargetResult, origin: Origin) -> String {
    match origin {
        Origin::Run { rerun, .. } => rerun.to_owned(),
        Origin::Elsewhere => match target.flavour.as_str() {
            "default" => "cargo xtask test".into(),
            flavour => format!("cargo xtask test --flavour {flavour}"),
        },
    }
}

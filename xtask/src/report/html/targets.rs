// SPDX-License-Identifier: MIT OR Apache-2.0
//! Section of the targets: the number of cases by verdict, and the versions of what ran.

use maud::{Markup, html};

use super::class_of;
use crate::report::rows::{self, or_dash};
use crate::results::{RunResult, TargetResult, Verdict};
use crate::text::words::one_line;

/// Renders the table of targets, and below it the details of each.
pub(super) fn section(run: &RunResult) -> Markup {
    let verdicts = verdicts(run);
    html! {
        section id="targets" {
            h2 { "Targets" }
            div class="wide" tabindex="0" role="region" aria-label="Targets" {
                table {
                    thead {
                        tr {
                            th scope="col" { "target" }
                            @for word in &verdicts { th scope="col" class="count" { (word) } }
                            th scope="col" { "kernel" }
                            @for name in ["QEMU", "accel", "oracle"] { th scope="col" class="detail" { (name) } }
                        }
                    }
                    tbody { @for target in &run.targets { (row(target, &verdicts)) } }
                }
            }
            @for target in &run.targets { (about(run, target)) }
        }
    }
}

/// Returns the verdicts that a case of the run has, and `pass`.
fn verdicts(run: &RunResult) -> Vec<&'static str> {
    let occurs = |word: &str| run.targets.iter().any(|target| target.count(word) > 0);
    let words = Verdict::WORDS.iter().copied();
    words.filter(|word| *word == Verdict::Pass.word() || occurs(word)).collect()
}

fn row(target: &TargetResult, verdicts: &[&str]) -> Markup {
    let ran = &target.provenance;
    html! {
        tr {
            th scope="row" { (one_line(&target.name)) }
            @for word in verdicts { (cell(target.count(word), word)) }
            td { (or_dash(&one_line(target.kernel_version()))) }
            td class="detail" { (or_dash(&one_line(&ran.qemu))) }
            td class="detail" { (with_reason(&ran.accel.to_string(), ran.accel_reason.as_deref())) }
            td class="detail" {
                @match rows::oracle_summary(target) {
                    Some(summary) => (one_line(&summary)),
                    None => (with_reason(&ran.oracle.to_string(), ran.oracle_reason.as_deref())),
                }
            }
        }
    }
}

fn cell(count: usize, word: &str) -> Markup {
    html! {
        @match count {
            0 => td class="count none" { "-" },
            count => td class={ "count " (class_of(word)) } { (count) },
        }
    }
}

/// Returns a value and the reason for it: `tcg: /dev/kvm does not exist`.
fn with_reason(value: &str, reason: Option<&str>) -> String {
    let value = one_line(value);
    match reason {
        Some(reason) => format!("{}: {}", or_dash(&value), one_line(reason)),
        None => or_dash(&value).to_owned(),
    }
}

/// Renders the versions, hashes and times of a target.
fn about(run: &RunResult, target: &TargetResult) -> Markup {
    let more = [("boots", target.boots.to_string()), ("time", rows::time(target))];
    html! {
        details {
            summary { "Details of " (one_line(&target.name)) }
            dl {
                @for (name, value) in rows::provenance(run, target).chain(more) {
                    dt { (name) }
                    dd { (one_line(&value)) }
                }
                @for (name, text) in rows::excuses(target) {
                    dt { (name) }
                    dd { (text) }
                }
                @for skipped in rows::skips(target) {
                    dt { "skipped" }
                    dd { (skipped) }
                }
            }
        }
    }
}

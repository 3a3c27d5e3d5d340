// SPDX-License-Identifier: MIT OR Apache-2.0
//! The targets: how many cases got which verdict, and on what.

use maud::{Markup, html};

use super::class_of;
use crate::report::rows::{self, or_dash};
use crate::results::{RunResult, TargetResult, Verdict};
use crate::text::words::one_line;

/// A row for each target, and below it what ran there.
pub(super) fn section(run: &RunResult) -> Markup {
    html! {
        section id="targets" {
            h2 { "Targets" }
            div class="wide" tabindex="0" role="region" aria-label="Targets" {
                table {
                    thead {
                        tr {
                            th scope="col" { "target" }
                            @for word in Verdict::WORDS { th scope="col" class="count" { (word) } }
                            @for name in ["kernel", "QEMU", "accel", "oracle"] { th scope="col" { (name) } }
                        }
                    }
                    tbody { @for target in &run.targets { (row(target)) } }
                }
            }
            @for target in &run.targets { (about(run, target)) }
        }
    }
}

fn row(target: &TargetResult) -> Markup {
    let ran = &target.provenance;
    html! {
        tr {
            th scope="row" { (one_line(&target.target)) }
            @for word in Verdict::WORDS { (cell(target.count(word), word)) }
            td { (or_dash(&one_line(&ran.kernel_version))) }
            td { (or_dash(&one_line(&ran.qemu))) }
            td { (because(&ran.accel, ran.accel_reason.as_deref())) }
            td {
                @match rows::seen(target) {
                    Some(seen) => (one_line(&seen)),
                    None => (because(&ran.oracle, ran.oracle_reason.as_deref())),
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

/// `tcg: /dev/kvm is not there`.
fn because(what: &str, why: Option<&str>) -> String {
    let what = one_line(what);
    match why {
        Some(why) => format!("{}: {}", or_dash(&what), one_line(why)),
        None => or_dash(&what).to_owned(),
    }
}

/// What ran on a target, from what it was built, and how long it took.
fn about(run: &RunResult, target: &TargetResult) -> Markup {
    let boots = target.boots.to_string();
    let time = rows::time(target);
    let more = [("boots", boots.as_str()), ("time", time.as_str())];
    html! {
        details {
            summary { "What ran on " (one_line(&target.target)) }
            dl {
                @for (name, value) in rows::provenance(run, target).chain(more) {
                    dt { (name) }
                    dd { (one_line(value)) }
                }
                @for why in rows::skips(target) {
                    dt { "skipped" }
                    dd { (why) }
                }
            }
        }
    }
}

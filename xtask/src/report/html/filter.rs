// SPDX-License-Identifier: MIT OR Apache-2.0
//! Filter of the cases by verdict, and the search field. The filter is a group of radio buttons that the style sheet
//! reads; the search needs the page's only script, which shows the field.

use maud::{Markup, html};

use crate::results::{CaseResult, RunResult, Verdict};

/// Groups of verdicts: the word in `data-is` of a case, and the label.
const GROUPS: [(&str, &str); 5] = [
    ("failed", "failed"),
    ("flaky", "flaky"),
    ("passed", "passed"),
    ("skipped", "skipped"),
    ("not-run", "not run"),
];

/// Returns the group of a case.
pub(super) fn group(case: &CaseResult) -> &'static str {
    match &case.verdict {
        Verdict::Pass if case.flaky => "flaky",
        Verdict::Pass => "passed",
        Verdict::Skip { .. } => "skipped",
        Verdict::NotRun { .. } => "not-run",
        _ => "failed",
    }
}

/// Renders the filter and the search field. The filter has no button for a group without cases.
pub(super) fn form(run: &RunResult) -> Markup {
    let cases = || run.targets.iter().flat_map(|target| &target.cases);
    let count = |word: &str| cases().filter(|case| group(case) == word).count();
    let groups = GROUPS.iter().map(|(word, label)| (*word, *label, count(word)));
    html! {
        form class="filter" {
            fieldset {
                legend { "Show" }
                (button("all", "all", cases().count(), true))
                @for (word, label, count) in groups.filter(|(.., count)| *count > 0) {
                    (button(word, label, count, false))
                }
            }
            label id="search" hidden="" { "Search " input type="search"; }
        }
    }
}

fn button(word: &str, label: &str, count: usize, checked: bool) -> Markup {
    html! {
        label {
            input type="radio" name="show" id={ "show-" (word) } value=(word) checked[checked];
            " " (label) " " small { (count) }
        }
    }
}

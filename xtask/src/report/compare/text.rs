// SPDX-License-Identifier: MIT OR Apache-2.0
//! Text of a comparison, for `cargo xtask compare` and for the end of a run.

use super::{Change, Comparison, Finding, Slower, TargetChanges};
use crate::report::rows::{or_dash, took_millis};
use crate::text::words::{cases, one_line};

/// Number of lines of each kind that the end of a run shows.
const SHOWN: usize = 10;

/// Renders all differences.
pub(crate) fn render(comparison: &Comparison) -> String {
    let mut out = String::new();
    for target in &comparison.targets {
        out += &format!("{}: {}\n", target.name, compared(target));
        for (name, before, now) in &target.provenance {
            let (before, now) = (one_line(before), one_line(now));
            out += &format!("  {name:11} {} -> {}\n", or_dash(&before), or_dash(&now));
        }
        for (kind, text) in lines(target) {
            out += &format!("  {kind:11} {text}\n");
        }
        out.push('\n');
    }
    let only = [("old", &comparison.only_old), ("new", &comparison.only_new)];
    for (run, names) in only.iter().filter(|(_, names)| !names.is_empty()) {
        out += &format!("only in the {run} run: {}\n", names.join(", "));
    }
    out + &totals(comparison) + "\n"
}

/// Renders the differences since the run `name` for the end of a run.
pub(crate) fn since(name: &str, comparison: &Comparison) -> String {
    let mut out = format!("since {name}: {}\n", totals(comparison));
    for target in &comparison.targets {
        let mut shown = std::collections::BTreeMap::new();
        for (kind, text) in lines(target) {
            let count: &mut usize = shown.entry(kind).or_default();
            *count += 1;
            if *count <= SHOWN {
                out += &format!("  {kind:11} {} {text}\n", target.name);
            }
        }
        let left_out: usize = shown.values().map(|count| count.saturating_sub(SHOWN)).sum();
        if left_out > 0 {
            out += &format!("  and {left_out} more; `cargo xtask compare {name}` shows them\n");
        }
    }
    out
}

/// Returns the number of cases of a target that were compared, and of those that were not.
fn compared(target: &TargetChanges) -> String {
    let mut text = format!("{} compared", cases(target.compared));
    for (run, count) in [("old", target.only_old), ("new", target.only_new)] {
        if count > 0 {
            text += &format!(", {} only in the {run} run", cases(count));
        }
    }
    text
}

/// Returns a line for each difference of a target, after its kind.
fn lines(target: &TargetChanges) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    lines.extend(target.untested.iter().map(|reason| ("not tested", one_line(reason))));
    let change = |change: &Change| {
        let detail = change.detail.as_deref().map(one_line);
        let detail = detail.map_or(String::new(), |detail| format!(": {detail}"));
        format!("{}: {} -> {}{detail}", change.case, change.before, change.now)
    };
    lines.extend(target.broke.iter().map(|item| ("broke", change(item))));
    lines.extend(target.fixed.iter().map(|item| ("fixed", change(item))));
    lines.extend(target.other.iter().map(|item| ("changed", change(item))));
    let slower = |slower: &Slower| {
        let Slower { case, before_millis, now_millis } = slower;
        // Times below a millisecond are reported as 0.
        let factor = *now_millis as f64 / (*before_millis).max(1) as f64;
        let (before, now) = (took_millis(*before_millis), took_millis(*now_millis));
        format!("{case}: {before} -> {now} ({factor:.1} times)")
    };
    lines.extend(target.slower.iter().map(|item| ("slower", slower(item))));
    let finding = |finding: &Finding| format!("{}: {}", finding.id, one_line(&finding.text));
    lines.extend(target.new_findings.iter().map(|item| ("new finding", finding(item))));
    lines.extend(target.gone_findings.iter().map(|item| ("no finding", finding(item))));
    lines
}

/// Returns the number of differences of each kind: `2 broke, 1 fixed`.
fn totals(comparison: &Comparison) -> String {
    let untested = comparison.targets.iter().filter(|target| target.untested.is_some()).count();
    let new = comparison.count(|target| &target.new_findings);
    let gone = comparison.count(|target| &target.gone_findings);
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let counts = [
        (untested, "not tested".to_owned()),
        (comparison.count(|target| &target.broke), "broke".into()),
        (comparison.count(|target| &target.fixed), "fixed".into()),
        (comparison.count(|target| &target.other), "changed otherwise".into()),
        (comparison.count(|target| &target.slower), "slower".into()),
        (new, format!("new finding{}", plural(new))),
        (gone, format!("finding{} gone", plural(gone))),
    ];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, what)| format!("{count} {what}")).collect();
    match counts.is_empty() {
        true => {
            let compared = comparison.targets.iter().map(|target| target.compared).sum();
            format!("no difference in {}", cases(compared))
        }
        false => counts.join(", "),
    }
}

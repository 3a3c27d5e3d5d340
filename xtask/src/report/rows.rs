// SPDX-License-Identifier: MIT OR Apache-2.0
//! Texts that the terminal and the HTML report share: details of a failed case, of a target and of the end of a run.

use std::collections::BTreeMap;
use std::path::Path;

use strum::VariantArray;

use crate::oracle::decision::{NO_ALIASES, NOT_REQUESTED};
use crate::report::findings;
use crate::results::{
    CaseResult, OracleState, OracleSummary, Phase, RunResult, TargetResult, Verdict,
};
use crate::run_dir::boot_dir;
use crate::text::words::{cases, lines, one_line, printable, shown, took_seconds};

/// Reasons for `oracle: off` that the reports do not mention, because the user expects them.
const EXPECTED_OFF: [&str; 2] = [NOT_REQUESTED, NO_ALIASES];

/// Start of a command that runs a program of the user.
pub(crate) const RUN: &str = "cargo xtask run ";

/// Parts of the command that runs one case again.
#[derive(Clone, Copy)]
pub(crate) struct Rerun<'a> {
    /// Command without the options for target, kernel version and case. A command of `cargo xtask run` names its program,
    /// and is complete.
    pub command: &'a str,
    /// Name of the target, with the version of its kernel.
    pub name: &'a str,
    /// Options that select the target and its kernel.
    pub options: &'a str,
}

impl Rerun<'_> {
    /// Returns the command that runs the case `id` again.
    pub(crate) fn of_case(&self, id: &str) -> String {
        let Rerun { command, options, .. } = self;
        match command.starts_with(RUN) {
            true => (*command).to_owned(),
            false => format!("{command} {options} --case {id}"),
        }
    }
}

/// Returns the details of a failed case: names, each with its lines. A name may have no lines.
///
/// `boot` is the directory of the run and the number of the boot that the case ran in. Log and console are cut to their
/// last `shown` lines.
pub(crate) fn failure(
    case: &CaseResult,
    rerun: Rerun,
    boot: Option<(&Path, usize)>,
    shown: usize,
) -> Vec<(&'static str, Vec<String>)> {
    let Rerun { name, .. } = rerun;
    let files = boot.map(|(run_dir, boot)| boot_dir(run_dir, name, boot).display().to_string());
    vec![
        ("checks", vec![printable(&case.about)]),
        ("attempts", (case.attempts > 1).then(|| case.tally()).into_iter().collect()),
        ("reason", lines(&case.verdict.detail().unwrap_or_default())),
        ("oracle", findings(case)),
        ("log", last_lines(&case.log, shown)),
        ("console", last_lines(&case.console, shown)),
        ("files", files.into_iter().collect()),
        ("rerun", vec![rerun.of_case(&case.id)]),
    ]
}

/// Returns time and boot of a case: `after 1.24 s in boot 1`. The text is empty if the case never ran.
pub(crate) fn when(case: &CaseResult) -> String {
    let time = case.millis.map(|millis| format!("after {}", took_millis(millis)));
    let boot = case.boot.map(|boot| format!("in boot {boot}"));
    let when: Vec<String> = time.into_iter().chain(boot).collect();
    when.join(" ")
}

/// Returns the failed cases of a target in groups. Consecutive cases that never ran and have the same verdict form one
/// group; every other case is a group of its own.
pub(crate) fn failures(target: &TargetResult) -> Vec<Vec<&CaseResult>> {
    let failed = |case: &&CaseResult| case.verdict.is_failure();
    let failed: Vec<&CaseResult> = target.cases.iter().filter(failed).collect();
    let alike = |a: &&CaseResult, b: &&CaseResult| b.boot.is_none() && a.verdict == b.verdict;
    failed.chunk_by(alike).map(<[_]>::to_vec).collect()
}

/// Returns the name of a group of [`failures`]: `smoke/boot`, `smoke/boot and 2 more`.
pub(crate) fn group_name(group: &[&CaseResult]) -> String {
    let first = group.first().map_or("", |case| &case.id);
    match group.len().saturating_sub(1) {
        0 => first.to_owned(),
        more => format!("{first} and {more} more"),
    }
}

/// Returns the details of a target that the table of targets has no room for.
///
/// `run_dir` is the directory of the run, or `None` if the run took place elsewhere. If it is given, the terminal has
/// already shown in full why the target was not tested, so only the first line of that reason is repeated.
pub(crate) fn about_target(
    target: &TargetResult,
    run_dir: Option<&Path>,
) -> Vec<(&'static str, String)> {
    let mut rows: Vec<(&str, String)> = Vec::new();
    if let Some(failure) = target.untested() {
        let reason = match run_dir {
            Some(_) => first_line(failure),
            None => one_line(failure),
        };
        rows.push(("not tested", reason));
    }
    if target.flavour != "default" {
        rows.push(("flavour", target.flavour.clone()));
    }
    if !target.stacks.is_empty() {
        rows.push(("stacks", one_line(&target.stacks.join(", "))));
    }
    if let Some(reason) = &target.provenance.accel_reason {
        rows.push(("KVM off", one_line(reason)));
    }
    rows.extend(oracle_row(target));
    rows.extend(excuses(target));
    rows.push(("time", time(target)));
    if target.boots > 1 {
        rows.push(("boots", target.boots.to_string()));
    }
    rows.extend(skips(target).map(|skipped| ("skipped", skipped)));
    rows.extend(not_run(target).map(|count| ("not run", count)));
    if let Some(run_dir) = run_dir {
        rows.push(("files", run_dir.join(&target.name).display().to_string()));
    }
    rows
}

/// Returns the time that a target took, in total and by phase: `1 min 48 s: setup 0.10 s, kernel 1 min 34 s`.
pub(crate) fn time(target: &TargetResult) -> String {
    let phases = Phase::VARIANTS.iter().map(Phase::to_string);
    let phases = phases.filter_map(|name| {
        let seconds = target.seconds.get(&name)?;
        Some(format!("{name} {}", took_seconds(*seconds)))
    });
    let all = took_seconds(target.seconds.values().sum());
    format!("{all}: {}", phases.collect::<Vec<_>>().join(", "))
}

/// Returns the row about the oracle, or `None` if the oracle is off for a reason that the user expects.
fn oracle_row(target: &TargetResult) -> Option<(&'static str, String)> {
    let ran = &target.provenance;
    match (ran.oracle.all(), &ran.oracle_reason) {
        ([OracleState::Off], Some(reason)) if EXPECTED_OFF.contains(&reason.as_str()) => None,
        ([OracleState::Off], reason) => {
            Some(("oracle off", one_line(reason.as_deref().unwrap_or_default())))
        }
        _ => Some(("oracle", oracle_summary(target)?)),
    }
}

/// Returns a row for each entry of `oracle/excused.yaml` that excused findings, and for each that should have.
pub(crate) fn excuses(target: &TargetResult) -> Vec<(&'static str, String)> {
    let mut used: Vec<(&str, &str, usize)> = Vec::new();
    for case in &target.cases {
        let excused = case.oracle.iter().flat_map(|oracle| &oracle.excused);
        let names: BTreeMap<&str, &str> =
            excused.map(|excused| (excused.name.as_str(), excused.reason.as_str())).collect();
        for (name, reason) in names {
            match used.iter_mut().find(|(known, ..)| *known == name) {
                Some((.., count)) => *count += 1,
                None => used.push((name, reason, 1)),
            }
        }
    }
    let used = used.into_iter().map(|(name, reason, count)| {
        ("excused", format!("{}, {}: {}", one_line(name), cases(count), one_line(reason)))
    });
    let unused = target.unused_excuses.iter().map(|name| {
        let name = one_line(name);
        let text = format!(
            "{name}, in oracle/excused.yaml, excused nothing, although the oracle watched cases that need it"
        );
        ("unused", text)
    });
    used.chain(unused).collect()
}

/// Returns a summary of the oracle's work on a target: `depth user; 2 cases watched; findings: 2`. Returns `None` if
/// the oracle was off.
pub(crate) fn oracle_summary(target: &TargetResult) -> Option<String> {
    let depth = match target.provenance.oracle.all() {
        [] | [OracleState::Off] => return None,
        _ => &target.provenance.oracle,
    };
    let watched: Vec<&OracleSummary> = target.cases.iter().flat_map(|case| &case.oracle).collect();
    let findings: u64 = watched.iter().map(|watched| watched.distinct).sum();
    Some(match watched.len() {
        0 => format!("depth {depth}; no case was watched to its end"),
        count => format!("depth {depth}; {} watched; findings: {findings}", cases(count)),
    })
}

/// Returns the first line of an error text, which names the problem. Details follow in the lines after it.
fn first_line(text: &str) -> String {
    printable(text.lines().next().unwrap_or_default()).trim_end_matches(':').to_owned()
}

/// Returns each reason for skipped cases with the number of cases: `2 cases: no CUSE on this target`.
pub(crate) fn skips(target: &TargetResult) -> impl Iterator<Item = String> {
    by_reason(target, |verdict| matches!(verdict, Verdict::Skip { .. }))
}

/// Returns when the run was interrupted, with the number of cases that had not ended: `2 cases: interrupted before it ran`.
pub(crate) fn not_run(target: &TargetResult) -> impl Iterator<Item = String> {
    by_reason(target, |verdict| matches!(verdict, Verdict::NotRun { .. }))
}

/// Returns the reasons of the `wanted` verdicts, each with the number of cases.
fn by_reason(
    target: &TargetResult,
    wanted: impl Fn(&Verdict) -> bool,
) -> impl Iterator<Item = String> {
    let mut reasons: Vec<(String, usize)> = Vec::new();
    for verdict in target.cases.iter().map(|case| &case.verdict) {
        if let Some(reason) = verdict.detail().filter(|_| wanted(verdict)) {
            match reasons.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, count)) => *count += 1,
                None => reasons.push((reason, 1)),
            }
        }
    }
    reasons.into_iter().map(|(reason, count)| format!("{}: {}", cases(count), one_line(&reason)))
}

/// Returns the versions and hashes of everything that ran on a target, by name. Leaves out values of steps that the run
/// did not reach.
pub(crate) fn provenance(
    run: &RunResult,
    target: &TargetResult,
) -> impl Iterator<Item = (&'static str, String)> {
    let ran = target.provenance.clone();
    let known = [
        ("tool", run.tool.clone()),
        ("flavour", target.flavour.clone()),
        ("stacks", target.stacks.join(", ")),
        ("kernel", target.kernel_version().to_owned()),
        ("kernel-hash", ran.kernel_hash),
        ("config-hash", ran.config_hash),
        ("image-hash", ran.image_hash),
        ("compiler", ran.compiler),
        ("rustc", ran.rustc),
        ("qemu", ran.qemu),
        ("accel", ran.accel.to_string()),
        ("oracle", ran.oracle.to_string()),
    ];
    known.into_iter().filter(|(_, value)| !value.is_empty())
}

/// Returns how a run ended: `finished in 2 min 11 s`.
pub(crate) fn end(run: &RunResult) -> String {
    let end = if run.interrupted { "interrupted after" } else { "finished in" };
    format!("{end} {}", took_seconds(run.seconds))
}

/// Returns the text, or a dash if it is empty.
pub(crate) fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// [`took_seconds`] for milliseconds.
pub(crate) fn took_millis(millis: u64) -> String {
    took_seconds(millis as f64 / 1000.0)
}

/// Returns the last `count` lines, each cut if it is too long. If lines are left out, a line before them gives their number.
pub(crate) fn last_lines(lines: &[String], count: usize) -> Vec<String> {
    let left_out = lines.len().saturating_sub(count);
    let before = (left_out > 0).then(|| format!("... {left_out} earlier lines"));
    let lines = lines[left_out..].iter().map(|line| shown(line));
    before.into_iter().chain(lines).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn an_excuse_counts_a_case_once() {
        let mut armv6 = samples::watched().targets.remove(0);
        let oracle = armv6.cases[0].oracle.as_mut().unwrap();
        let mut other = oracle.excused[0].clone();
        other.name = "other".into();
        oracle.excused.extend([other, oracle.excused[0].clone()]);
        let rows = excuses(&armv6);
        let counted: Vec<&str> =
            rows.iter().filter_map(|(_, text)| Some(text.split_once(':')?.0)).collect();
        assert_eq!(counted, ["other, 1 case", "time-page, 1 case"]);
    }
}

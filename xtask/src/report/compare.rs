// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compares the results of two runs: what broke, what was fixed, what became slower, and which findings of the oracle
//! are new.
//!
//! Only cases that both runs have are compared, because two runs may select different cases.

mod text;

use std::collections::BTreeSet;

use crate::results::{
    CaseResult, FindingSummary, OracleSummary, Provenance, RunResult, TargetResult, Verdict,
};

pub(crate) use text::{render, since};

/// Factor by which a case must be slower to be reported. Times of a guest differ between runs, because the machine has
/// other work to do.
const SLOWER: f64 = 1.5;

/// Minimum difference in milliseconds of a case that is reported as slower. Short cases vary by larger factors.
const SLOWER_MILLIS: u64 = 1000;

/// Result of a comparison.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Comparison {
    /// Targets that both runs have.
    pub targets: Vec<TargetChanges>,
    /// Names of the targets that only the old run has.
    pub only_old: Vec<String>,
    /// Names of the targets that only the new run has.
    pub only_new: Vec<String>,
}

/// Differences in the results of a target.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TargetChanges {
    pub name: String,
    /// Number of compared cases.
    pub compared: usize,
    /// Numbers of cases that only the old run, and only the new run has.
    pub only_old: usize,
    pub only_new: usize,
    /// Versions and hashes that differ: the name, the old value and the new one.
    pub provenance: Vec<(&'static str, String, String)>,
    /// Reason why the target could not be tested in the new run, if it could before.
    pub untested: Option<String>,
    /// Cases that fail now, and did not before.
    pub broke: Vec<Change>,
    /// Cases that failed before and pass now.
    pub fixed: Vec<Change>,
    /// Cases with another difference: another kind of failure, skipped now, flaky now.
    pub other: Vec<Change>,
    pub slower: Vec<Slower>,
    pub new_findings: Vec<Finding>,
    pub gone_findings: Vec<Finding>,
}

/// Case with another verdict.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub case: String,
    pub before: &'static str,
    pub now: &'static str,
    /// Reason of the new verdict.
    pub detail: Option<String>,
}

/// Case that takes longer than before.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slower {
    pub case: String,
    pub before_millis: u64,
    pub now_millis: u64,
}

/// Finding of the oracle that only one of the runs has.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finding {
    /// Name of the finding in its run.
    pub id: String,
    pub text: String,
}

impl Comparison {
    /// Returns true if something that worked in the old run fails in the new one. Slower cases do not count: their
    /// times depend on the load of the machine.
    pub(crate) fn is_regression(&self) -> bool {
        self.targets.iter().any(|target| {
            target.untested.is_some() || !target.broke.is_empty() || !target.new_findings.is_empty()
        })
    }

    /// Returns the number of items in a list of all targets.
    fn count<T>(&self, list: impl Fn(&TargetChanges) -> &Vec<T>) -> usize {
        self.targets.iter().map(|target| list(target).len()).sum()
    }
}

/// Compares the results of two runs.
pub(crate) fn compare(old: &RunResult, new: &RunResult) -> Comparison {
    let find = |run: &'_ RunResult, name: &str| run.targets.iter().position(|t| t.name == name);
    let mut comparison = Comparison::default();
    for now in &new.targets {
        match find(old, &now.name) {
            Some(at) => comparison.targets.push(compare_target(&old.targets[at], now)),
            None => comparison.only_new.push(now.name.clone()),
        }
    }
    let only_old = old.targets.iter().filter(|target| find(new, &target.name).is_none());
    comparison.only_old = only_old.map(|target| target.name.clone()).collect();
    comparison
}

fn compare_target(old: &TargetResult, new: &TargetResult) -> TargetChanges {
    let mut changes = TargetChanges {
        name: new.name.clone(),
        provenance: provenance(old, new),
        untested: new.untested().filter(|_| old.untested().is_none()).map(str::to_owned),
        ..TargetChanges::default()
    };
    for now in &new.cases {
        match old.cases.iter().find(|before| before.id == now.id) {
            Some(before) => {
                compare_case((old, before), (new, now), &mut changes);
            }
            None => changes.only_new += 1,
        }
    }
    let is_gone = |before: &&CaseResult| !new.cases.iter().any(|now| now.id == before.id);
    changes.only_old = old.cases.iter().filter(is_gone).count();
    changes
}

/// Compares the results of a case. Each comes with those of its target.
fn compare_case(
    (old, before): (&TargetResult, &CaseResult),
    (new, now): (&TargetResult, &CaseResult),
    changes: &mut TargetChanges,
) {
    let same_oracle = old.provenance.oracle == new.provenance.oracle;
    // Another accelerator or the oracle changes all times.
    let same_speed = same_oracle && old.provenance.accel == new.provenance.accel;
    let not_run = |case: &CaseResult| matches!(case.verdict, Verdict::NotRun { .. });
    // The reason of the target explains the cases that never ran.
    let explained = changes.untested.is_some() && now.boot.is_none();
    if not_run(before) || not_run(now) || explained {
        return;
    }
    changes.compared += 1;
    if word(before) != word(now) {
        let change = Change {
            case: now.id.clone(),
            before: word(before),
            now: word(now),
            detail: now.verdict.detail(),
        };
        // If the case could not be tested before, its failure is news too.
        let failed_before = before.verdict.is_failure() && before.boot.is_some();
        match (failed_before, now.verdict.is_failure()) {
            (false, true) if now.boot.is_some() || !before.verdict.is_failure() => {
                changes.broke.push(change);
            }
            (true, false) if now.verdict == Verdict::Pass => changes.fixed.push(change),
            _ => changes.other.push(change),
        }
    }
    if let (Verdict::Pass, Verdict::Pass, Some(before_millis), Some(now_millis), true) =
        (&before.verdict, &now.verdict, before.millis, now.millis, same_speed)
    {
        let slower = now_millis as f64 >= before_millis as f64 * SLOWER;
        if slower && now_millis >= before_millis + SLOWER_MILLIS {
            changes.slower.push(Slower { case: now.id.clone(), before_millis, now_millis });
        }
    }
    // Without the oracle, or at another depth, nothing is known about findings. Nor is it if the results do not have
    // all.
    if same_oracle && has_all_findings(before) && has_all_findings(now) {
        changes.new_findings.extend(missing(now, before));
        changes.gone_findings.extend(missing(before, now));
    }
}

/// Returns the verdict as a word, and `flaky` for a case that failed before it passed.
fn word(case: &CaseResult) -> &'static str {
    match case.passed_as_flaky() {
        true => super::FLAKY,
        false => case.verdict.word(),
    }
}

/// Returns true if the oracle watched the case, and the results have all that it found.
fn has_all_findings(case: &CaseResult) -> bool {
    let complete = |oracle: &OracleSummary| oracle.distinct == oracle.findings.len() as u64;
    case.oracle.as_ref().is_some_and(complete)
}

/// Returns the findings of a case, including those of its failed attempts.
fn findings(case: &CaseResult) -> impl Iterator<Item = &FindingSummary> {
    let attempts = case.failed_attempts.iter().flat_map(|attempt| &attempt.oracle);
    case.oracle.iter().chain(attempts).flat_map(|oracle| &oracle.findings)
}

/// Returns the findings of `case` that are not among those of `other`. Numbers and addresses differ between runs: two
/// findings are the same if their kind and the functions of both accesses are.
fn missing(case: &CaseResult, other: &CaseResult) -> Vec<Finding> {
    let identity = |finding: &FindingSummary| {
        [&finding.kind, &finding.earlier, &finding.later].map(String::clone)
    };
    let mut known: BTreeSet<_> = findings(other).map(identity).collect();
    let is_new = |finding: &&FindingSummary| known.insert(identity(finding));
    let new = findings(case).filter(is_new);
    new.map(|finding| Finding { id: finding.id.clone(), text: finding.text.clone() }).collect()
}

/// Returns the versions and hashes that differ and that can explain other results.
fn provenance(old: &TargetResult, new: &TargetResult) -> Vec<(&'static str, String, String)> {
    let values = |target: &TargetResult| {
        let Provenance { kernel_hash, image_hash, compiler, qemu, accel, oracle, .. } =
            &target.provenance;
        let hash = |hash: &str| hash.chars().take(12).collect::<String>();
        [
            ("flavour", target.flavour.clone()),
            ("kernel", target.kernel_version().to_owned()),
            ("kernel-hash", hash(kernel_hash)),
            ("image-hash", hash(image_hash)),
            ("compiler", compiler.clone()),
            ("qemu", qemu.clone()),
            ("accel", accel.to_string()),
            ("oracle", oracle.to_string()),
        ]
    };
    let both = values(old).into_iter().zip(values(new));
    let differs = both.filter(|((_, before), (_, now))| before != now);
    differs.map(|((name, before), (_, now))| (name, before, now)).collect()
}

#[cfg(test)]
mod tests;

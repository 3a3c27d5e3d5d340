// SPDX-License-Identifier: MIT OR Apache-2.0
//! Selftest of the oracle: plants errors that the oracle must notice.
//!
//! A run without findings means something only if the oracle would have found an error. Each trial plants one error.
//! Either a patch of `mutants/` breaks the kernel in a way that the cases do not notice without the oracle, or the
//! oracle itself ignores some of the kernel's flushes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use regex::Regex;
use serde::{Deserialize, Deserializer, de};

use crate::cli::{Machine, Selftest};
use crate::event::{Event, Events, Reporter, TargetEvent};
use crate::kernel::queue::range;
use crate::kernel_version::VersionRange;
use crate::machine::accel::Accel;
use crate::machine::qemu::Qemu;
use crate::oracle::{Depth, OracleMode, OracleRequest, decision};
use crate::output::{errln, out};
use crate::plan::Filter;
use crate::report::{self, Origin};
use crate::results::{RunResult, TargetResult, Verdict};
use crate::run::{self, KernelFrom};
use crate::target::{CacheKind, Target};
use crate::text::words;
use crate::tree::{Tree, ensure, job, units};
use crate::{interrupt, paths, yaml};

/// File of the trials in `mutants/`.
pub(crate) const TRIALS: &str = "oracle.yaml";

/// Trial of the selftest: an error that the oracle must notice.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trial {
    /// Name, as in `cargo xtask oracle selftest NAME`.
    pub name: String,
    /// Sentence that describes the error.
    pub breaks: String,
    /// Patch of `mutants/` that breaks the kernel. Without a patch, the oracle ignores flushes of single lines and pages.
    #[serde(default)]
    pub patch: Option<String>,
    /// Kinds of cache on which the error can be noticed.
    pub caches: Vec<CacheKind>,
    /// Depth of the oracle that the trial needs.
    pub depth: Depth,
    /// Pattern of the cases that the error affects.
    #[serde(deserialize_with = "regex")]
    pub cases: Regex,
    /// Reasons why the error cannot be noticed on a target, by the target's name.
    #[serde(default)]
    pub skip: BTreeMap<String, String>,
}

fn regex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Regex, D::Error> {
    Regex::new(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

impl Trial {
    /// Returns the reason why the trial skips `target`, if it does.
    pub(crate) fn skip_reason<'t>(&'t self, target: &Target) -> Option<&'t str> {
        let right_cache = self.caches.contains(&target.cache.kind);
        let reason = self.skip.get(&target.name).map(String::as_str);
        reason.or((!right_cache).then_some("the error has no effect on this kind of cache"))
    }
}

/// Loads all trials from the directory `mutants`.
///
/// # Errors
/// The file does not parse, or a patch does not exist. The error names the file or the patch.
pub(crate) fn load(mutants: &Path) -> Result<Vec<Trial>> {
    let path = mutants.join(TRIALS);
    let trials: Vec<Trial> = yaml::read(&path)?;
    for trial in &trials {
        let patch = trial.patch.iter().map(|name| mutants.join(name));
        if let Some(missing) = patch.into_iter().find(|patch| !patch.is_file()) {
            bail!("{}: trial {}: {} does not exist", path.display(), trial.name, missing.display());
        }
    }
    Ok(trials)
}

/// Returns the trials with the given names, or all trials if `names` is empty.
///
/// # Errors
/// A trial does not exist. The error lists the valid names.
pub(crate) fn select(trials: Vec<Trial>, names: &[String]) -> Result<Vec<Trial>> {
    if let Some(unknown) = names.iter().find(|name| trials.iter().all(|trial| trial.name != **name))
    {
        let known: Vec<&str> = trials.iter().map(|trial| trial.name.as_str()).collect();
        bail!("{unknown}: no such trial; choose one of: {}", known.join(", "));
    }
    let selected = |trial: &Trial| names.is_empty() || names.contains(&trial.name);
    Ok(trials.into_iter().filter(selected).collect())
}

/// Outcome of a trial on a target.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TrialOutcome {
    pub trial: String,
    /// Name of the target, with the version of its kernel.
    pub target: String,
    /// True if the oracle noticed the error and nothing else did. `None` if the trial skipped the target.
    pub noticed: Option<bool>,
    /// Explanation for the user.
    pub text: String,
}

impl TrialOutcome {
    /// Returns the outcome on the target `name` that the trial skips.
    pub(crate) fn skipped(trial: &Trial, name: &str, reason: &str) -> TrialOutcome {
        TrialOutcome {
            trial: trial.name.clone(),
            target: name.to_owned(),
            noticed: None,
            text: format!("skipped: {reason}"),
        }
    }
}

/// Returns the reason to skip a kernel whose version is outside the range of a trial's patch.
fn wrong_version(kernel: &KernelFrom, range: VersionRange) -> Option<String> {
    match kernel {
        KernelFrom::Version(kernel) if !range.contains(kernel.version) => {
            Some(format!("the patch is for {range}"))
        }
        _ => None,
    }
}

/// Returns the outcome of a trial. `watched` is the result under the oracle. `plain` is the result without the oracle,
/// which exists if the trial patches the kernel.
pub(crate) fn judge(
    trial: &Trial,
    plain: Option<&TargetResult>,
    watched: &TargetResult,
) -> TrialOutcome {
    if let Some(reason) = every_case_skipped(watched) {
        return TrialOutcome::skipped(trial, &watched.name, reason);
    }
    let evidence = evidence(plain, watched);
    TrialOutcome {
        trial: trial.name.clone(),
        target: watched.name.clone(),
        noticed: Some(evidence.is_ok()),
        text: evidence.unwrap_or_else(|reason| reason),
    }
}

/// Returns the reason why the first case was skipped, if no case ran.
fn every_case_skipped(watched: &TargetResult) -> Option<&str> {
    let mut reasons = watched.cases.iter().map(|case| match &case.verdict {
        Verdict::Skip { reason } => Some(reason.as_str()),
        _ => None,
    });
    let first = reasons.next()??;
    reasons.all(|reason| reason.is_some()).then_some(first)
}

/// Describes how the oracle noticed the error, or fails with the reason why it did not.
fn evidence(plain: Option<&TargetResult>, watched: &TargetResult) -> Result<String, String> {
    for result in plain.into_iter().chain([watched]) {
        if let Some(failure) = &result.failure {
            return Err(failure.clone());
        }
    }
    if let Some(reason) = &watched.provenance.oracle_reason {
        return Err(format!("ran without the oracle: {reason}"));
    }
    let mut text = String::new();
    if let Some(plain) = plain {
        let failed = plain
            .cases
            .iter()
            .find(|case| !matches!(case.verdict, Verdict::Pass | Verdict::Skip { .. }));
        if let Some(case) = failed {
            let detail = case.verdict.detail().unwrap_or_default();
            return Err(format!(
                "fails without the oracle too: {}: {}: {detail}",
                case.id,
                case.verdict.word()
            ));
        }
        text = format!("{} passed without the oracle; ", words::cases(plain.cases.len()));
    }
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    let mut failed = 0;
    for case in &watched.cases {
        let findings = case.oracle.as_ref().map_or(0, |oracle| oracle.distinct);
        match (&case.verdict, findings) {
            (Verdict::Pass | Verdict::Skip { .. }, _) => {}
            (Verdict::Fail { .. }, 1..) => failed += 1,
            // An oracle that ignores flushes may report a finding for coherent mappings; then it is not trusted.
            (Verdict::Infra { reason }, _) if plain.is_none() && case.distrust.is_some() => {
                return Ok(reason.clone());
            }
            (other, _) => {
                let detail = other.detail().unwrap_or_default();
                return Err(format!("{}: {}: {detail}", case.id, other.word()));
            }
        }
        for finding in case.oracle.iter().flat_map(|oracle| &oracle.findings) {
            *kinds.entry(&finding.kind).or_default() += 1;
        }
    }
    if failed == 0 {
        return Err(format!("{text}no findings in {}", words::cases(watched.cases.len())));
    }
    let kinds = kinds.iter().map(|(kind, count)| format!("{count} {kind}"));
    let kinds = kinds.collect::<Vec<_>>().join(", ");
    let cases = watched.cases.len();
    Ok(format!("{text}findings in {failed} of {cases}: {kinds}"))
}

/// Returns the outcomes as a Markdown table.
pub(crate) fn table(outcomes: &[TrialOutcome]) -> String {
    let mut text = "| trial | target | noticed | outcome |\n|---|---|---|---|\n".to_owned();
    for outcome in outcomes {
        let noticed = match outcome.noticed {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "-",
        };
        let TrialOutcome { trial, target, text: explanation, .. } = outcome;
        let explanation = explanation.replace('\n', "; ");
        let _ = writeln!(text, "| {trial} | {target} | {noticed} | {explanation} |");
    }
    text
}

/// Runs the trials and prints their outcomes. Returns exit code 0 if the oracle noticed every error.
pub(crate) fn run(args: &Selftest) -> Result<u8> {
    interrupt::install()?;
    let tree = Tree::load()?;
    let machine = Machine {
        arch: args.arch.clone(),
        flavour: "default".into(),
        kernel: args.kernel.clone(),
        stack: args.stack.clone(),
        jobs: args.jobs,
        no_setup: args.no_setup,
        ..Machine::default()
    };
    let (targets, _) = tree.select(&machine)?;
    let kernels = tree.kernels(&machine)?;
    let mutants = tree.checkout.join("mutants");
    let trials = select(load(&mutants)?, &args.trials)?;
    let oracle = OracleRequest { mode: OracleMode::On, ..OracleRequest::OFF };
    ensure(&targets, &machine, oracle)?;
    decision::check(oracle, &targets, Accel::Tcg, |program| Qemu::ask(program))?;

    let mut outcomes = Vec::new();
    'trials: for trial in &trials {
        let patch: Vec<PathBuf> = trial.patch.iter().map(|name| mutants.join(name)).collect();
        let range = patch.first().map_or(Ok(VersionRange::default()), |patch| range(patch))?;
        let machine = Machine { patch, ..machine.clone() };
        let ignore_flushes = trial.patch.is_none();
        for kernel in &kernels {
            let mut on = Vec::new();
            for target in &targets {
                let skip = trial.skip_reason(target).map(str::to_owned);
                match skip.or_else(|| wrong_version(kernel, range)) {
                    None => on.push(target.clone()),
                    Some(reason) => {
                        let name = kernel.name_on(target);
                        outcomes.push(TrialOutcome::skipped(trial, &name, &reason));
                    }
                }
            }
            if on.is_empty() {
                continue;
            }
            let run = |oracle| run_trial(&tree, &machine, trial, &on, kernel, oracle);
            let plain = if ignore_flushes { None } else { Some(run(OracleRequest::OFF)?) };
            let watched = run(OracleRequest { depth: trial.depth, ignore_flushes, ..oracle })?;
            for (at, watched) in watched.targets.iter().enumerate() {
                let plain = plain.as_ref().map(|plain| &plain.targets[at]);
                outcomes.push(judge(trial, plain, watched));
            }
            if interrupt::requested() {
                break 'trials;
            }
        }
    }
    out!("{}", table(&outcomes));
    let noticed: Vec<bool> = outcomes.iter().filter_map(|outcome| outcome.noticed).collect();
    if noticed.is_empty() && !interrupt::requested() {
        bail!(
            "all trials were skipped, for the reasons in the table; select targets whose caches alias (--arch aliasing)"
        );
    }
    Ok(match noticed.iter().all(|noticed| *noticed) {
        true if interrupt::requested() => 2,
        true => 0,
        false => 1,
    })
}

/// Reporter that prints the phases to standard error. Standard output contains only the table.
struct PhasePrinter;

impl Reporter for PhasePrinter {
    fn event(&mut self, event: &Event) {
        if let Event::Target { target, event: TargetEvent::Phase { phase, .. } } = event {
            errln!("  {target}: {phase}");
        }
    }
}

/// Runs the cases of a trial on `targets` with `kernel`, with or without the oracle.
fn run_trial(
    tree: &Tree,
    machine: &Machine,
    trial: &Trial,
    targets: &[Target],
    kernel: &KernelFrom,
    oracle: OracleRequest,
) -> Result<RunResult> {
    let (_, flavour) = tree.select(machine)?;
    let filter = Filter { pattern: Some(trial.cases.clone()), ..Filter::default() };
    let kernels = std::slice::from_ref(kernel);
    let units = units(tree, machine, targets, kernels, &filter, flavour.time, oracle)?;
    let run_dir = paths::new_run(&tree.checkout, false)?;
    let mut job = job(tree, machine, flavour, Accel::Tcg, 1.0, run_dir)?;
    job.oracle = oracle;
    let mode = match oracle.mode {
        OracleMode::Off => "without the oracle",
        _ => "under the oracle",
    };
    errln!("{}, {mode}: {}", trial.name, trial.breaks);
    let result = run::all(&job, &units, &Events::new(vec![Box::new(PhasePrinter)]));
    let origin = Origin::Run { dir: &job.run_dir, rerun: "cargo xtask test" };
    report::write_all(&job.run_dir, &result, origin)?;
    run::remove_initramfs(&job.run_dir);
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;
    use crate::results::CaseResult;

    fn trial() -> Trial {
        let text = "{name: load, breaks: x, caches: [vipt], depth: full, cases: ^by-id/, skip: {armv6: not there}}";
        crate::yaml::parse(text, Path::new("trial.yaml")).unwrap()
    }

    fn result(cases: Vec<CaseResult>) -> TargetResult {
        let mut result = samples::watched().targets.remove(0);
        result.cases = cases;
        result
    }

    fn judged(plain: Option<Vec<CaseResult>>, watched: Vec<CaseResult>) -> TrialOutcome {
        judge(&trial(), plain.map(result).as_ref(), &result(watched))
    }

    #[test]
    fn an_error_is_noticed_if_only_the_oracle_finds_it() {
        let good = || samples::pass("by-id/load.fuse");
        let outcomes = [
            judged(Some(vec![good()]), vec![good(), samples::stale()]),
            judged(Some(vec![good()]), vec![samples::skipped(), samples::stale()]),
            judged(Some(vec![good()]), vec![samples::skipped(), samples::skipped()]),
            judged(None, vec![samples::stale()]),
            judged(Some(vec![good()]), vec![good()]),
            judged(Some(vec![good(), samples::failed()]), vec![samples::stale()]),
            judged(Some(vec![good()]), vec![samples::stale(), samples::timed_out()]),
            TrialOutcome::skipped(&trial(), "x86_64", "nothing aliases"),
        ];
        insta::assert_snapshot!(table(&outcomes), @"
        | trial | target | noticed | outcome |
        |---|---|---|---|
        | load | armv6 | yes | 1 case passed without the oracle; findings in 1 of 2: 2 dirty-elsewhere |
        | load | armv6 | yes | 1 case passed without the oracle; findings in 1 of 2: 2 dirty-elsewhere |
        | load | armv6 | - | skipped: no CUSE on this target |
        | load | armv6 | yes | findings in 1 of 1: 2 dirty-elsewhere |
        | load | armv6 | **no** | 1 case passed without the oracle; no findings in 1 case |
        | load | armv6 | **no** | fails without the oracle too: smoke/redirect.fuse: fail: client 1 stored 0x5a at offset 4096; the server read 0x00 |
        | load | armv6 | **no** | coherency/seqlock.fuse: timeout: time limit exceeded in phase test: client waits in fuse_dmmap_req_wait |
        | load | x86_64 | - | skipped: nothing aliases |
        ");
    }

    #[test]
    fn a_patch_of_other_versions_is_skipped() {
        let range: VersionRange =
            crate::yaml::parse("{ before: \"7.3\" }", Path::new("x")).unwrap();
        let reason = |version: &str| {
            let kernel = crate::kernel_version::tests::kernel(version, false);
            wrong_version(&KernelFrom::Version(kernel), range)
        };
        assert_eq!(reason("6.12"), None);
        assert_eq!(reason("7.3").as_deref(), Some("the patch is for Linux before 7.3"));
        assert_eq!(wrong_version(&KernelFrom::Image { image: "x".into(), dtb: None }, range), None);
    }

    #[test]
    fn an_oracle_that_ignores_flushes_and_is_not_trusted_counts_as_noticed() {
        let infra = |reason: &str, distrust: bool| {
            let (reason, why) = (reason.into(), reason.to_owned());
            let case = samples::never_ran("smoke/boot", Verdict::Infra { reason });
            vec![CaseResult { distrust: distrust.then_some(why), ..case }]
        };
        let reason = String::from("it reported a finding for coherent mappings");
        let outcome = judged(None, infra(&reason, true));
        assert_eq!((outcome.noticed, &outcome.text), (Some(true), &reason));
        let good = samples::pass("smoke/boot");
        let not_noticed = [
            judged(Some(vec![good]), infra(&reason, true)),
            judged(None, infra("QEMU was killed", false)),
        ];
        assert!(not_noticed.iter().all(|outcome| outcome.noticed == Some(false)));
    }

    #[test]
    fn nothing_is_noticed_on_a_target_that_ran_without_the_oracle() {
        let mut watched = result(vec![samples::stale()]);
        watched.provenance.oracle_reason = Some("QEMU 7.2.22 is too old for it".into());
        let outcome = judge(&trial(), None, &watched);
        assert_eq!(outcome.noticed, Some(false));
        insta::assert_snapshot!(outcome.text, @"ran without the oracle: QEMU 7.2.22 is too old for it");
        watched.failure = Some("the kernel does not build".into());
        insta::assert_snapshot!(judge(&trial(), None, &watched).text, @"the kernel does not build");
    }

    #[test]
    fn the_trials_of_the_checkout_are_sound() {
        let mutants = crate::paths::checkout().join("mutants");
        let trials = load(&mutants).unwrap();
        let known = trials.iter().map(|trial| trial.name.clone()).collect::<Vec<_>>();
        let chosen = select(trials.clone(), &known[..1]).unwrap();
        assert_eq!(chosen[0].name, known[0]);
        assert_eq!(select(trials.clone(), &[]).unwrap().len(), known.len());
        let error = select(trials, &["nothing".into()]).unwrap_err().to_string();
        assert!(error.contains(&known.join(", ")), "{error}");
    }

    #[test]
    fn the_error_names_a_missing_patch() {
        let dir = tempfile::tempdir().unwrap();
        let text =
            "[{name: load, breaks: x, patch: lost.patch, caches: [vipt], depth: full, cases: x}]";
        std::fs::write(dir.path().join(TRIALS), text).unwrap();
        let error = load(dir.path()).unwrap_err().to_string();
        let error = error.replace(&*dir.path().to_string_lossy(), "DIR");
        insta::assert_snapshot!(error, @"DIR/oracle.yaml: trial load: DIR/lost.patch does not exist");
    }

    #[test]
    fn a_trial_skips_targets_where_nothing_can_be_noticed() {
        let mut target = crate::target::tests::x86_64();
        let reason = |target: &Target| trial().skip_reason(target).map(str::to_owned);
        assert!(reason(&target).is_some());
        target.cache.kind = CacheKind::Vipt;
        assert_eq!(reason(&target), None);
        target.name = "armv6".into();
        assert_eq!(reason(&target).as_deref(), Some("not there"));
    }
}

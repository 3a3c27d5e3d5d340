// SPDX-License-Identifier: MIT OR Apache-2.0
//! Selftest: breaks what the oracle watches, and sees that it notices.
//!
//! An oracle that finds nothing says something only if it would have found it. So each trial breaks one thing: the
//! kernel, by a patch of `mutants/` with which the cases still pass on QEMU alone, or the oracle's hearing.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use regex::Regex;
use serde::{Deserialize, Deserializer, de};

use crate::cli::{Machine, Selftest};
use crate::event::{Event, Events, Reporter};
use crate::machine::accel::Accel;
use crate::machine::qemu::Qemu;
use crate::oracle::{Depth, OracleMode, OracleRequest, choice};
use crate::plan::Filter;
use crate::report::{self, Origin};
use crate::results::{RunResult, TargetResult, Verdict};
use crate::target::{CacheKind, Target};
use crate::text::words;
use crate::tree::{Tree, ensure, job, plans};
use crate::{interrupt, paths, run};

/// Where the trials are, in `mutants/`.
pub(crate) const TRIALS: &str = "oracle.yaml";

/// One thing that is broken.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trial {
    /// Name, as in `cargo xtask oracle selftest NAME`.
    pub name: String,
    /// What is broken, in a sentence.
    pub breaks: String,
    /// The patch of `mutants/` that does it; without one the oracle is deaf to one of the ways to flush.
    #[serde(default)]
    pub patch: Option<String>,
    /// Kinds of cache on which it can be noticed.
    pub caches: Vec<CacheKind>,
    /// What the oracle has to model for it.
    pub depth: Depth,
    /// Which cases go that way.
    #[serde(deserialize_with = "regex")]
    pub cases: Regex,
    /// Why it cannot be noticed on a target, by the target's name.
    #[serde(default)]
    pub skip: BTreeMap<String, String>,
}

fn regex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Regex, D::Error> {
    let text = String::deserialize(deserializer)?;
    Regex::new(&text).map_err(de::Error::custom)
}

impl Trial {
    /// Why it is not made on `target`, if so.
    pub(crate) fn skipped<'t>(&'t self, target: &Target) -> Option<&'t str> {
        let of_cache = self.caches.contains(&target.cache.kind);
        let word = self.skip.get(&target.name).map(String::as_str);
        word.or((!of_cache).then_some("nothing to notice on its kind of cache"))
    }
}

/// All trials of the checkout's `mutants`.
///
/// # Errors
/// The file does not parse, a patch is not there: names it.
pub(crate) fn load(mutants: &Path) -> Result<Vec<Trial>> {
    let path = mutants.join(TRIALS);
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let trials: Vec<Trial> = crate::yaml::parse(&text, &path)?;
    for trial in &trials {
        let patch = trial.patch.iter().map(|name| mutants.join(name));
        if let Some(missing) = patch.into_iter().find(|patch| !patch.is_file()) {
            bail!(
                "{}: {}: there is no {}",
                path.display(),
                trial.name,
                missing.display()
            );
        }
    }
    Ok(trials)
}

/// The trials called `names`, or all.
///
/// # Errors
/// One that does not exist: says which there are.
pub(crate) fn select(trials: Vec<Trial>, names: &[String]) -> Result<Vec<Trial>> {
    if let Some(unknown) = names
        .iter()
        .find(|name| trials.iter().all(|trial| trial.name != **name))
    {
        let known: Vec<&str> = trials.iter().map(|trial| trial.name.as_str()).collect();
        bail!(
            "no trial is called {unknown:?}; there are: {}",
            known.join(", ")
        );
    }
    let wanted = |trial: &Trial| names.is_empty() || names.contains(&trial.name);
    Ok(trials.into_iter().filter(wanted).collect())
}

/// What a trial came to on a target.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    /// Name of the trial.
    pub trial: String,
    /// Name of the target.
    pub target: String,
    /// Whether the oracle noticed, and nothing else did; `None` where it was not tried.
    pub noticed: Option<bool>,
    /// For a person.
    pub text: String,
}

impl Outcome {
    /// That a trial was not made on a target.
    pub(crate) fn not_tried(trial: &Trial, target: &Target, why: &str) -> Outcome {
        Outcome {
            trial: trial.name.clone(),
            target: target.name.clone(),
            noticed: None,
            text: format!("not tried: {why}"),
        }
    }
}

/// Judges a trial by what became of its cases under the oracle, and without it where the kernel was broken.
pub(crate) fn judge(
    trial: &Trial,
    plain: Option<&TargetResult>,
    watched: &TargetResult,
) -> Outcome {
    let told = told(plain, watched);
    Outcome {
        trial: trial.name.clone(),
        target: watched.target.clone(),
        noticed: Some(told.is_ok()),
        text: told.unwrap_or_else(|why| why),
    }
}

fn told(plain: Option<&TargetResult>, watched: &TargetResult) -> Result<String, String> {
    for result in plain.into_iter().chain([watched]) {
        if let Some(failure) = &result.failure {
            return Err(failure.clone());
        }
    }
    if let Some(why) = &watched.provenance.oracle_reason {
        return Err(format!("not under the oracle: {why}"));
    }
    let mut text = String::new();
    if let Some(plain) = plain {
        let odd = plain
            .cases
            .iter()
            .find(|case| !matches!(case.verdict, Verdict::Pass | Verdict::Skip { .. }));
        if let Some(case) = odd {
            let why = case.verdict.detail().unwrap_or_default();
            return Err(format!(
                "fails without the oracle too: {}: {}: {why}",
                case.id,
                case.verdict.word()
            ));
        }
        text = format!("{} on QEMU alone; ", passed(plain.cases.len()));
    }
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    let mut failed = 0;
    for case in &watched.cases {
        let found = case.oracle.as_ref().map_or(0, |seen| seen.distinct);
        match (&case.verdict, found) {
            (Verdict::Pass | Verdict::Skip { .. }, _) => {}
            (Verdict::Fail { .. }, 1..) => failed += 1,
            // A deaf oracle finds something where nothing is wrong, and is not believed.
            (Verdict::Infra { reason }, _) if plain.is_none() && case.distrust.is_some() => {
                return Ok(reason.clone());
            }
            (other, _) => {
                let why = other.detail().unwrap_or_default();
                return Err(format!("{}: {}: {why}", case.id, other.word()));
            }
        }
        for found in case.oracle.iter().flat_map(|seen| &seen.findings) {
            *kinds.entry(&found.kind).or_default() += 1;
        }
    }
    if failed == 0 {
        return Err(format!(
            "{text}nothing was found in {}",
            words::cases(watched.cases.len())
        ));
    }
    let kinds = kinds.iter().map(|(kind, count)| format!("{count} {kind}"));
    let kinds = kinds.collect::<Vec<_>>().join(", ");
    let of = watched.cases.len();
    Ok(format!("{text}findings in {failed} of {of}: {kinds}"))
}

fn passed(count: usize) -> String {
    format!("{} passed", words::cases(count))
}

/// The outcomes as a Markdown table.
pub(crate) fn table(outcomes: &[Outcome]) -> String {
    let mut text = "| trial | target | noticed | what was seen |\n|---|---|---|---|\n".to_owned();
    for outcome in outcomes {
        let noticed = match outcome.noticed {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "-",
        };
        let Outcome {
            trial,
            target,
            text: seen,
            ..
        } = outcome;
        let seen = seen.replace('\n', "; ");
        let _ = writeln!(text, "| {trial} | {target} | {noticed} | {seen} |");
    }
    text
}

/// Makes the trials, and prints what came of each; whether the oracle noticed all decides the exit code.
pub(crate) fn run(args: &Selftest) -> Result<u8> {
    interrupt::install()?;
    let tree = Tree::load()?;
    let machine = Machine {
        arch: args.arch.clone(),
        flavour: "default".into(),
        kernel_src: None,
        no_queue: false,
        patch: Vec::new(),
        kernel_image: None,
        jobs: args.jobs,
        no_setup: args.no_setup,
    };
    let (targets, _) = tree.select(&machine)?;
    let mutants = tree.checkout.join("mutants");
    let trials = select(load(&mutants)?, &args.trials)?;
    let wanted = OracleRequest {
        wish: OracleMode::On,
        ..OracleRequest::OFF
    };
    ensure(&targets, &machine, wanted)?;
    choice::check(wanted, &targets, Accel::Tcg, |program| Qemu::ask(program))?;

    let mut outcomes = Vec::new();
    for trial in &trials {
        let mut on = Vec::new();
        for target in &targets {
            match trial.skipped(target) {
                None => on.push(target.clone()),
                Some(why) => outcomes.push(Outcome::not_tried(trial, target, why)),
            }
        }
        if on.is_empty() {
            continue;
        }
        let patch = trial.patch.iter().map(|name| mutants.join(name));
        let machine = Machine {
            patch: patch.collect(),
            ..machine.clone()
        };
        let deaf = trial.patch.is_none();
        let watch = |wanted| run_trial(&tree, &machine, trial, &on, wanted);
        let plain = match deaf {
            true => None,
            false => Some(watch(OracleRequest::OFF)?),
        };
        let watched = watch(OracleRequest {
            depth: trial.depth,
            deaf,
            ..wanted
        })?;
        for (at, watched) in watched.targets.iter().enumerate() {
            let plain = plain.as_ref().map(|plain| &plain.targets[at]);
            outcomes.push(judge(trial, plain, watched));
        }
        if interrupt::requested() {
            break;
        }
    }
    print!("{}", table(&outcomes));
    let noticed: Vec<bool> = outcomes
        .iter()
        .filter_map(|outcome| outcome.noticed)
        .collect();
    if noticed.is_empty() && !interrupt::requested() {
        bail!(
            "nothing was tried: the table says why; `--arch aliasing` has the targets where something can be noticed"
        );
    }
    Ok(match noticed.iter().all(|noticed| *noticed) {
        true if interrupt::requested() => 2,
        true => 0,
        false => 1,
    })
}

/// Says on standard error what is being done; the table alone is on standard output.
struct Steps;

impl Reporter for Steps {
    fn event(&mut self, event: &Event) {
        if let Event::Phase { target, phase, .. } = event {
            eprintln!("  {target}: {phase}");
        }
    }
}

/// Runs the cases of a trial on the targets where it can be noticed.
fn run_trial(
    tree: &Tree,
    machine: &Machine,
    trial: &Trial,
    targets: &[Target],
    oracle: OracleRequest,
) -> Result<RunResult> {
    let (_, flavour) = tree.select(machine)?;
    let filter = Filter {
        pattern: Some(trial.cases.clone()),
        ..Filter::default()
    };
    let plans = plans(tree, targets, &filter, flavour.time, oracle)?;
    let run_dir = paths::new_run(&tree.checkout, false)?;
    let mut job = job(tree, machine, flavour, Accel::Tcg, 1.0, run_dir)?;
    job.oracle = oracle;
    let how = match oracle.wish {
        OracleMode::Off => "without the oracle",
        _ => "under the oracle",
    };
    eprintln!("{}, {how}: {}", trial.name, trial.breaks);
    let result = run::all(&job, &plans, &Events::new(vec![Box::new(Steps)]));
    let origin = Origin::Run {
        dir: &job.run_dir,
        again: "cargo xtask test",
    };
    report::write_all(&job.run_dir, &result, origin)?;
    run::tidy(&job.run_dir);
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

    fn judged(plain: Option<Vec<CaseResult>>, watched: Vec<CaseResult>) -> Outcome {
        judge(&trial(), plain.map(result).as_ref(), &result(watched))
    }

    #[test]
    fn it_is_noticed_where_the_oracle_alone_finds_something() {
        let good = || samples::pass("by-id/load.fuse");
        let outcomes = [
            judged(Some(vec![good()]), vec![good(), samples::stale()]),
            judged(None, vec![samples::stale()]),
            judged(Some(vec![good()]), vec![good()]),
            judged(
                Some(vec![good(), samples::failed()]),
                vec![samples::stale()],
            ),
            judged(
                Some(vec![good()]),
                vec![samples::stale(), samples::timed_out()],
            ),
            Outcome::not_tried(&trial(), &crate::target::tests::x86_64(), "nothing aliases"),
        ];
        insta::assert_snapshot!(table(&outcomes), @"
        | trial | target | noticed | what was seen |
        |---|---|---|---|
        | load | armv6 | yes | 1 case passed on QEMU alone; findings in 1 of 2: 2 dirty-elsewhere |
        | load | armv6 | yes | findings in 1 of 1: 2 dirty-elsewhere |
        | load | armv6 | **no** | 1 case passed on QEMU alone; nothing was found in 1 case |
        | load | armv6 | **no** | fails without the oracle too: smoke/redirect.fuse: fail: client 1 stored 0x5a at offset 4096; the server read 0x00 |
        | load | armv6 | **no** | coherency/seqlock.fuse: timeout: time limit exceeded in phase test |
        | load | x86_64 | - | not tried: nothing aliases |
        ");
    }

    #[test]
    fn a_deaf_oracle_that_is_not_believed_has_been_noticed() {
        let infra = |reason: &str, distrust: bool| {
            let (reason, why) = (reason.into(), reason.to_owned());
            let case = samples::never_ran("smoke/boot", Verdict::Infra { reason });
            vec![CaseResult {
                distrust: distrust.then_some(why),
                ..case
            }]
        };
        let reason = String::from("it found a fault where there is none");
        let outcome = judged(None, infra(&reason, true));
        assert_eq!((outcome.noticed, &outcome.text), (Some(true), &reason));
        let good = samples::pass("smoke/boot");
        let not_noticed = [
            judged(Some(vec![good]), infra(&reason, true)),
            judged(None, infra("QEMU was killed", false)),
        ];
        assert!(
            not_noticed
                .iter()
                .all(|outcome| outcome.noticed == Some(false))
        );
    }

    #[test]
    fn a_target_that_did_not_run_under_it_has_noticed_nothing() {
        let mut watched = result(vec![samples::stale()]);
        watched.provenance.oracle_reason = Some("QEMU 7.2.22 is too old for it".into());
        let outcome = judge(&trial(), None, &watched);
        assert_eq!(outcome.noticed, Some(false));
        insta::assert_snapshot!(outcome.text, @"not under the oracle: QEMU 7.2.22 is too old for it");
        watched.failure = Some("the kernel does not build".into());
        insta::assert_snapshot!(judge(&trial(), None, &watched).text, @"the kernel does not build");
    }

    #[test]
    fn the_trials_of_the_checkout_are_sound() {
        let mutants = crate::paths::checkout().join("mutants");
        let trials = load(&mutants).unwrap();
        let known = trials
            .iter()
            .map(|trial| trial.name.clone())
            .collect::<Vec<_>>();
        let chosen = select(trials.clone(), &known[..1]).unwrap();
        assert_eq!(chosen[0].name, known[0]);
        assert_eq!(select(trials.clone(), &[]).unwrap().len(), known.len());
        let error = select(trials, &["nothing".into()]).unwrap_err().to_string();
        assert!(error.contains(&known.join(", ")), "{error}");
    }

    #[test]
    fn a_patch_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let text =
            "[{name: load, breaks: x, patch: lost.patch, caches: [vipt], depth: full, cases: x}]";
        std::fs::write(dir.path().join(TRIALS), text).unwrap();
        let error = load(dir.path()).unwrap_err().to_string();
        let error = error.replace(&*dir.path().to_string_lossy(), "DIR");
        insta::assert_snapshot!(error, @"DIR/oracle.yaml: load: there is no DIR/lost.patch");
    }

    #[test]
    fn a_trial_is_made_where_it_can_be_noticed() {
        let mut target = crate::target::tests::x86_64();
        let why = |target: &Target| trial().skipped(target).map(str::to_owned);
        assert!(why(&target).is_some());
        target.cache.kind = CacheKind::Vipt;
        assert_eq!(why(&target), None);
        target.name = "armv6".into();
        assert_eq!(why(&target).as_deref(), Some("not there"));
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask test --failed`: the cases that failed in the newest run or were not run any more, with the options of
//! that run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Parser;

use crate::cli::{CaseSelection, Cli, Command, Machine, Test};
use crate::paths::{self, Latest};
use crate::report::merge;
use crate::results::{RunResult, Verdict};
use crate::run::Unit;

/// Failed cases of the newest run.
#[derive(Debug)]
pub(super) struct Failed {
    run: PathBuf,
    /// Cases by the name of their target, with the version of its kernel.
    cases: BTreeMap<String, BTreeSet<String>>,
    args: Test,
}

impl Failed {
    /// Reads the failed cases from the newest run. Options that do not change the results are those of `args`.
    ///
    /// # Errors
    /// There is no run, or its command is not known.
    pub(super) fn of_newest_run(checkout: &Path, args: &Test) -> Result<Self> {
        let latest = paths::latest(checkout, Latest::Test);
        let run = latest.canonicalize().unwrap_or(latest);
        let result = merge::read(&run).context("--failed needs the results of a run")?;
        let earlier = options_of(&result)
            .with_context(|| format!("--failed: {}: the command of the run", run.display()))?;
        let cases = failed_cases(&result);
        if let (true, Some(target)) =
            (cases.is_empty(), result.targets.iter().find(|t| t.failure.is_some()))
        {
            bail!(
                "--failed: no case failed in {}, but the run did, on {}: {}; run `cargo xtask test` again",
                run.display(),
                target.name,
                target.failure.as_deref().unwrap_or_default()
            );
        }
        let all: BTreeSet<String> = cases.values().flatten().cloned().collect();
        let args = Test {
            machine: Machine {
                jobs: args.machine.jobs,
                no_setup: args.machine.no_setup,
                ..earlier.machine
            },
            cases: CaseSelection {
                suite: Vec::new(),
                case: all.into_iter().collect(),
                filter: None,
                not: None,
                promise: Vec::new(),
                device: None,
                shard: None,
                with: earlier.cases.with,
            },
            emulation: earlier.emulation,
            timeout_scale: earlier.timeout_scale,
            ..args.clone()
        };
        Ok(Self { run, cases, args })
    }

    /// Returns the options of the run, with the failed cases of all targets as selection.
    pub(super) fn args(&self) -> &Test {
        &self.args
    }

    /// Returns the directory of the newest run.
    pub(super) fn run(&self) -> std::path::Display<'_> {
        self.run.display()
    }

    /// Returns true if no case failed, and all were run.
    pub(super) fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// Removes the cases that did not fail on their target.
    pub(super) fn retain(&self, units: &mut Vec<Unit>) {
        for unit in units.iter_mut() {
            let failed = self.cases.get(&unit.name());
            unit.cases.retain(|case| failed.is_some_and(|failed| failed.contains(case.id())));
        }
        units.retain(|unit| !unit.cases.is_empty());
    }
}

/// Returns the cases of each target that failed or that were not run, if it has some.
fn failed_cases(result: &RunResult) -> BTreeMap<String, BTreeSet<String>> {
    let targets = result.targets.iter().map(|target| {
        let is_open = |verdict: &Verdict| matches!(verdict, Verdict::NotRun { .. });
        let cases = target.cases.iter();
        let failed = cases.filter(|case| case.verdict.is_failure() || is_open(&case.verdict));
        (target.name.clone(), failed.map(|case| case.id.clone()).collect())
    });
    targets.filter(|(_, cases): &(_, BTreeSet<String>)| !cases.is_empty()).collect()
}

/// Parses the command of a run.
fn options_of(result: &RunResult) -> Result<Test> {
    let [words] = result.commands.as_slice() else {
        bail!("expected one command, found {}", result.commands.len());
    };
    // The first word is `cargo`.
    match Cli::try_parse_from(words.iter().skip(1))?.command {
        Command::Test(args) | Command::Watch(args) => Ok(args),
        _ => bail!("{}: not a command of `cargo xtask test`", words.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn cases_that_did_not_run_are_run_with_those_that_failed() {
        let mut run = samples::watched();
        run.targets[0].cases = vec![
            samples::pass("smoke/boot"),
            samples::failed(),
            samples::skipped(),
            samples::never_ran(
                "smoke/open.cuse",
                Verdict::not_run("stopped because a case failed"),
            ),
        ];
        let cases: BTreeSet<String> = failed_cases(&run).into_values().flatten().collect();
        assert_eq!(cases, [samples::failed().id, "smoke/open.cuse".into()].into());
    }
}

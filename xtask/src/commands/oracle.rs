// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask oracle`: what the oracle found in a run, and whether it would have.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{Tree, ensure, job, plans};
use crate::cli::{Machine, Oracle, Selftest};
use crate::event::Events;
use crate::event::{Event, Reporter};
use crate::machine::accel::Accel;
use crate::machine::qemu::Qemu;
use crate::oracle::files::{self, Story, findings};
use crate::oracle::selftest::{self, Outcome, Trial};
use crate::oracle::{Wanted, Wish, choice, story};
use crate::paths::{self, checkout};
use crate::plan::Filter;
use crate::report::{self, Origin, merge};
use crate::results::RunResult;
use crate::target::Target;
use crate::text::columns::columns;
use crate::text::words;
use crate::{interrupt, run};

/// Does what the command line says; returns the exit code.
///
/// # Errors
/// There are no results; no such finding; the files of its boot are gone.
pub(super) fn run(args: &Oracle) -> Result<u8> {
    let text = match args {
        Oracle::Selftest(args) => return try_it(args),
        Oracle::List { results } => list(&read(results.as_deref())?.0),
        Oracle::Explain { finding, results } => {
            let (result, dir) = read(results.as_deref())?;
            explain(finding, &result, &dir)?
        }
    };
    print!("{text}");
    Ok(0)
}

/// Makes the trials, and prints what came of each; whether the oracle noticed all decides the exit code.
fn try_it(args: &Selftest) -> Result<u8> {
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
    let trials = selftest::select(selftest::load(&mutants)?, &args.trials)?;
    let wanted = Wanted {
        wish: Wish::On,
        ..Wanted::OFF
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
            false => Some(watch(Wanted::OFF)?),
        };
        let watched = watch(Wanted {
            depth: trial.depth,
            deaf,
            ..wanted
        })?;
        for (at, watched) in watched.targets.iter().enumerate() {
            let plain = plain.as_ref().map(|plain| &plain.targets[at]);
            outcomes.push(selftest::judge(trial, plain, watched));
        }
        if interrupt::requested() {
            break;
        }
    }
    print!("{}", selftest::table(&outcomes));
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
    oracle: Wanted,
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
        Wish::Off => "without the oracle",
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

/// The results of a run, the newest one unless another is named, and the directory of the run.
fn read(results: Option<&Path>) -> Result<(RunResult, PathBuf)> {
    let latest = checkout().join("target/lab/latest");
    let path = results.unwrap_or(&latest);
    let dir = match path.is_dir() {
        true => path,
        false => path.parent().unwrap_or(path),
    };
    Ok((merge::read(path)?, dir.to_owned()))
}

/// A line for each finding; where there is none, one for each target.
fn list(result: &RunResult) -> String {
    let rows: Vec<[String; 4]> = findings(result)
        .map(|(_, _, found)| {
            [
                found.id.clone(),
                found.kind.clone(),
                words::times(found.repeats),
                format!("page {}", found.page),
            ]
        })
        .collect();
    if !rows.is_empty() {
        let rows = rows.iter().map(|row| row.each_ref().map(String::as_str));
        return columns(&rows.collect::<Vec<_>>());
    }
    let said = result.targets.iter().map(|target| {
        let ran = &target.provenance;
        match (ran.oracle.as_str(), &ran.oracle_reason) {
            ("off" | "", why) => {
                let why = why.as_deref().unwrap_or("it was not reached");
                format!("{}: no oracle: {why}\n", target.target)
            }
            (depth, _) => format!("{}: nothing found, depth {depth}\n", target.target),
        }
    });
    said.collect()
}

/// The story of the finding called `id`, from the files of the run in `dir`.
fn explain(id: &str, result: &RunResult, dir: &Path) -> Result<String> {
    let Some((target, case, found)) = findings(result).find(|(_, _, found)| found.id == id) else {
        bail!(
            "no finding {id:?} in {}; `cargo xtask oracle list` shows what there is",
            dir.display()
        );
    };
    let boot = case.boot.context("a case that never ran has no finding")?;
    let Story { finding, config } = files::story(dir, target, case, found)?;
    Ok(story::explain(found, &case.id, boot, &finding, &config))
}

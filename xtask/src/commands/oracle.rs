// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask oracle`: what the oracle found in a run, and whether it would have.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cli::Oracle;
use crate::oracle::files::{self, Story, findings};
use crate::oracle::story;
use crate::paths::checkout;
use crate::report::merge;
use crate::results::{OracleState, RunResult};
use crate::text::columns::columns;
use crate::text::words;
use crate::trials;

/// Does what the command line says; returns the exit code.
///
/// # Errors
/// There are no results; no such finding; the files of its boot are gone.
pub(super) fn run(args: &Oracle) -> Result<u8> {
    let text = match args {
        Oracle::Selftest(args) => return trials::run(args),
        Oracle::List { results } => list(&read(results.as_deref())?.0),
        Oracle::Explain { finding, results } => {
            let (result, dir) = read(results.as_deref())?;
            explain(finding, &result, &dir)?
        }
    };
    print!("{text}");
    Ok(0)
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
        match (ran.oracle.all(), &ran.oracle_reason) {
            ([] | [OracleState::Off], why) => {
                let why = why.as_deref().unwrap_or("it was not reached");
                format!("{}: no oracle: {why}\n", target.target)
            }
            _ => format!("{}: nothing found, depth {}\n", target.target, ran.oracle),
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

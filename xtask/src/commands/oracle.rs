// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask oracle`: shows the oracle's findings of a run, or runs the oracle's selftest.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use xshell::cmd;

use crate::cli::{Cli, Command, Oracle};
use crate::machine::args::quote;
use crate::oracle::files::{FoundIn, Story, findings};
use crate::oracle::line::Hex;
use crate::oracle::mail::{self, Letter};
use crate::oracle::story;
use crate::output::out;
use crate::paths;
use crate::report::merge;
use crate::report::rows::Rerun;
use crate::results::{OracleState, RunResult, TargetResult};
use crate::shell;
use crate::target;
use crate::text::columns::columns;
use crate::text::words;
use crate::trials;

use super::test;

/// Runs the command and returns its exit code.
///
/// # Errors
/// The results, the finding or the files of its boot do not exist.
pub(super) fn run(args: &Oracle) -> Result<u8> {
    let text = match args {
        Oracle::Selftest(args) => return trials::run(args),
        Oracle::List { results } => list(&read(results.as_deref())?.0),
        Oracle::Explain { finding, results } => {
            let (result, dir) = read(results.as_deref())?;
            explain(finding, &result, &dir)?
        }
        Oracle::Mail { finding, results } => {
            let (result, dir) = read(results.as_deref())?;
            mail(finding, &result, &dir)?
        }
    };
    out!("{text}");
    Ok(0)
}

/// Reads the results of a run, by default of the newest one. Returns them with the run's directory.
fn read(results: Option<&Path>) -> Result<(RunResult, PathBuf)> {
    let latest = paths::newest_results(&paths::checkout());
    let path = results.unwrap_or(&latest);
    let dir = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    Ok((merge::read(path)?, dir.to_owned()))
}

/// Returns a line for each finding. Without findings, returns a line for each target.
fn list(result: &RunResult) -> String {
    let rows: Vec<[String; 4]> = findings(result)
        .map(|FoundIn { summary: finding, .. }| {
            [
                finding.id.clone(),
                finding.kind.clone(),
                words::times(finding.repeats),
                format!("page {}", finding.page),
            ]
        })
        .collect();
    if !rows.is_empty() {
        return columns(&rows);
    }
    let lines = result.targets.iter().map(|target| {
        let ran = &target.provenance;
        match (ran.oracle.all(), &ran.oracle_reason) {
            ([] | [OracleState::Off], reason) => {
                let reason =
                    reason.as_deref().unwrap_or("the run ended before the oracle was set up");
                format!("{}: ran without the oracle: {reason}\n", target.name)
            }
            _ => format!("{}: no findings, depth {}\n", target.name, ran.oracle),
        }
    });
    lines.collect()
}

/// Returns the description of the finding `id`, with its accesses from the files of the run in `dir`.
fn explain(id: &str, result: &RunResult, dir: &Path) -> Result<String> {
    let found = find(id, result, dir)?;
    let boot = found.boot.context("the case did not run, so it has no findings")?;
    let Story { finding, config } = found.story(dir)?;
    Ok(story::explain(found.summary, &found.case.id, boot, &finding, &config))
}

/// Returns the finding `id`.
fn find<'r>(id: &str, result: &'r RunResult, dir: &Path) -> Result<FoundIn<'r>> {
    findings(result).find(|found| found.summary.id == id).with_context(|| {
        format!(
            "no finding {id:?} in {}; `cargo xtask oracle list` lists all findings",
            dir.display()
        )
    })
}

/// Returns a mail about the finding `id`.
fn mail(id: &str, result: &RunResult, dir: &Path) -> Result<String> {
    let found = find(id, result, dir)?;
    let (name, case, summary) = (found.target, found.case, found.summary);
    let story = found.story(dir)?;
    let mut targets = result.targets.iter();
    let target = targets.find(|target| target.name == name).context("the target has no results")?;
    let machine =
        target::load(&paths::checkout().join(format!("kernel-configs/{}.yaml", target.target)))
            .ok();
    let vmlinux = story.config.symbols.as_ref().map(|symbols| symbols.with_file_name("vmlinux"));
    let cross = machine.as_ref().map_or("", |machine| machine.kernel.cross.as_str());
    let place = |pc: Hex| source_line(vmlinux.as_deref()?, cross, pc);
    let rerun = rerun(&result.commands, target, &case.id);
    let machine = machine.as_ref();
    let letter = Letter { target, machine, case, rerun, summary, story: &story, place: &place };
    Ok(mail::write(&letter))
}

/// Returns the command that runs the case `id` of `target` again, under the oracle. `commands` are those of the results,
/// one for each merged run.
fn rerun(commands: &[Vec<String>], target: &TargetResult, id: &str) -> String {
    // The first word is `cargo`.
    let parse = |words: &Vec<String>| Cli::try_parse_from(words.iter().skip(1)).ok();
    let command = match (commands, commands.first().and_then(parse).map(|cli| cli.command)) {
        ([words], Some(Command::Run(_))) => {
            let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
            words.join(" ")
        }
        ([_], Some(Command::Test(args))) => test::rerun_command(&args),
        _ => "cargo xtask test".into(),
    };
    let options = &target.options();
    let rerun = Rerun { command: &command, name: &target.name, options }.of_case(id);
    let oracle = if rerun.contains(" --oracle ") { "" } else { " --oracle on" };
    match rerun.split_once(" -- ") {
        Some((options, program)) => format!("{options}{oracle} -- {program}"),
        None => rerun + oracle,
    }
}

/// Returns file and line of an instruction, if the kernel has debug information and addr2line is installed.
fn source_line(vmlinux: &Path, cross: &str, pc: Hex) -> Option<String> {
    let sh = shell::here().ok()?;
    let (program, pc) = (format!("{cross}addr2line"), pc.to_string());
    let line = shell::read(cmd!(sh, "{program} -e {vmlinux} {pc}")).ok()?;
    // Paths begin with the directory in which the kernel was built, which is of no use to the reader.
    let line = line.trim().split(" (discriminator").next().unwrap_or_default().to_owned();
    let known = !line.contains('?') && !line.ends_with(":0");
    let inside = [
        "arch/",
        "block/",
        "drivers/",
        "fs/",
        "include/",
        "io_uring/",
        "ipc/",
        "kernel/",
        "lib/",
        "mm/",
        "net/",
    ];
    let start = inside.iter().filter_map(|dir| line.find(&format!("/{dir}"))).min();
    known.then(|| start.map_or(line.clone(), |start| line[start + 1..].to_owned()))
}

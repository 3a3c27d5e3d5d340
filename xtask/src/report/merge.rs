// SPDX-License-Identifier: MIT OR Apache-2.0
//! Merges the results of several runs into one. The runs may be of different targets or shards of one target.
//!
//! If all results have the same value in a field, the merged result has that value. Some fields may differ, such as the
//! accelerator of each shard; the merged result then lists all values: `kvm and tcg`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::results::{AND, CaseResult, Provenance, RunResult, SCHEMA, TargetResult};
use crate::run_dir::RESULTS;

/// Result of one run and the file that it was read from.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// File name for error messages.
    pub file: PathBuf,
    pub result: RunResult,
}

/// Merges all `parts`. Targets stay in the order of their first appearance. The cases of each target are sorted by
/// `plan`; cases that are not in the plan come last.
///
/// # Errors
/// - Two results of a target have different kernels or flavours, or contain the same case. The error names both files.
/// - There are no parts.
pub(crate) fn merge(parts: Vec<Part>, plan: &[String]) -> Result<RunResult> {
    let run = merge_run(&parts)?;
    let mut targets: Vec<MergedTarget> = Vec::new();
    for part in parts {
        for target in part.result.targets {
            match targets.iter_mut().find(|known| known.result.name == target.name) {
                Some(known) => known.add(target, &part.file)?,
                None => targets.push(MergedTarget::new(target, &part.file)),
            }
        }
    }
    let targets = targets.into_iter().map(|target| target.finish(plan));
    Ok(RunResult { targets: targets.collect(), ..run })
}

/// Merges the fields of the run itself. The list of targets is left empty.
fn merge_run(parts: &[Part]) -> Result<RunResult> {
    let mut times = Vec::new();
    let mut tool = String::new();
    let mut commands: Vec<Vec<String>> = Vec::new();
    for Part { file, result } in parts {
        let start = humantime::parse_rfc3339(&result.started)
            .with_context(|| format!("{}: `started` is {:?}", file.display(), result.started))?;
        times.push((start, start + crate::text::words::duration(result.seconds)));
        merge_text(&mut tool, &result.tool);
        for command in &result.commands {
            if !commands.contains(command) {
                commands.push(command.clone());
            }
        }
    }
    let start = times.iter().map(|(start, _)| *start).min();
    let end = times.iter().map(|(_, end)| *end).max();
    let (start, end) = start.zip(end).context("there are no results to merge")?;
    Ok(RunResult {
        schema: SCHEMA,
        tool,
        commands,
        started: humantime::format_rfc3339_seconds(start).to_string(),
        seconds: since(start, end).as_secs_f64(),
        interrupted: parts.iter().any(|part| part.result.interrupted),
        targets: Vec::new(),
    })
}

fn since(start: SystemTime, end: SystemTime) -> Duration {
    end.duration_since(start).unwrap_or_default()
}

/// Target whose results are being merged.
struct MergedTarget {
    result: TargetResult,
    /// File of each case, by case ID.
    files: BTreeMap<String, PathBuf>,
    /// File of the first result.
    first: PathBuf,
}

impl MergedTarget {
    fn new(result: TargetResult, file: &Path) -> Self {
        let cases = result.cases.iter();
        Self {
            files: cases.map(|case| (case.id.clone(), file.to_owned())).collect(),
            first: file.to_owned(),
            result,
        }
    }

    /// Adds another result of the same target.
    fn add(&mut self, other: TargetResult, file: &Path) -> Result<()> {
        self.check_same_kernel(&other, file)?;
        let ours = &mut self.result;
        for mut case in other.cases {
            if let Some(before) = self.files.insert(case.id.clone(), file.to_owned()) {
                bail!(
                    "{} {} is in both {} and {}; merge only one of them",
                    ours.name,
                    case.id,
                    before.display(),
                    file.display()
                );
            }
            // The boots of all parts are numbered consecutively.
            let boots = case.failed_attempts.iter_mut().map(|attempt| &mut attempt.boot);
            for boot in boots.chain([&mut case.boot]).flatten() {
                *boot += ours.boots;
            }
            ours.cases.push(case);
        }
        ours.boots += other.boots;
        for (phase, seconds) in other.seconds {
            *ours.seconds.entry(phase).or_default() += seconds;
        }
        for name in other.unused_excuses {
            if !ours.unused_excuses.contains(&name) {
                ours.unused_excuses.push(name);
            }
        }
        if ours.stacks.is_empty() {
            ours.stacks = other.stacks;
        }
        merge_provenance(&mut ours.provenance, &other.provenance);
        ours.failure = match (ours.failure.take(), other.failure) {
            (Some(one), Some(two)) if one != two => Some(format!("{one}\n{two}")),
            (one, two) => one.or(two),
        };
        Ok(())
    }

    /// Checks that both results are of the same kernel. A field that is empty in one of them, because that run did not
    /// get far enough, is not compared.
    fn check_same_kernel(&self, other: &TargetResult, file: &Path) -> Result<()> {
        let (ran, with) = (&self.result.provenance, &other.provenance);
        let (our_stacks, other_stacks) = (self.result.stacks.join(" "), other.stacks.join(" "));
        // Number of characters that the error shows at most. The first 12 are enough to distinguish hashes.
        const WHOLE: usize = u16::MAX as usize;
        let both = [
            ("flavour", &self.result.flavour, &other.flavour, WHOLE),
            ("stacks", &our_stacks, &other_stacks, WHOLE),
            ("kernel_hash", &ran.kernel_hash, &with.kernel_hash, 12),
            ("config_hash", &ran.config_hash, &with.config_hash, 12),
        ];
        let differ = both
            .iter()
            .filter(|(_, one, two, _)| one != two && !one.is_empty() && !two.is_empty())
            .map(|(name, one, two, shown)| format!("{name} ({one:.shown$} and {two:.shown$})"));
        let differ: Vec<String> = differ.collect();
        if !differ.is_empty() {
            bail!(
                "{}: {} and {} differ in {}; only results of the same kernel can be merged",
                self.result.name,
                self.first.display(),
                file.display(),
                differ.join(", ")
            );
        }
        Ok(())
    }

    fn finish(mut self, plan: &[String]) -> TargetResult {
        let place =
            |case: &CaseResult| plan.iter().position(|id| *id == case.id).unwrap_or(plan.len());
        self.result.cases.sort_by_key(place);
        self.result
    }
}

fn merge_provenance(ours: &mut Provenance, other: &Provenance) {
    let Provenance {
        kernel_version,
        kernel_hash,
        config_hash,
        compiler,
        image_hash,
        rustc,
        qemu,
        accel,
        accel_reason,
        oracle,
        oracle_reason,
    } = other;
    merge_text(&mut ours.kernel_version, kernel_version);
    merge_text(&mut ours.kernel_hash, kernel_hash);
    merge_text(&mut ours.config_hash, config_hash);
    merge_text(&mut ours.compiler, compiler);
    merge_text(&mut ours.image_hash, image_hash);
    merge_text(&mut ours.rustc, rustc);
    merge_text(&mut ours.qemu, qemu);
    accel.all().iter().for_each(|value| ours.accel.add(*value));
    oracle.all().iter().for_each(|value| ours.oracle.add(*value));
    merge_optional_text(&mut ours.accel_reason, accel_reason);
    merge_optional_text(&mut ours.oracle_reason, oracle_reason);
}

/// Like [`merge_text`], for texts that may be absent.
fn merge_optional_text(ours: &mut Option<String>, other: &Option<String>) {
    match (ours, other) {
        (Some(ours), Some(other)) => merge_text(ours, other),
        (ours, other) => *ours = ours.take().or_else(|| other.clone()),
    }
}

/// Appends `other` to `ours`, as in `kvm and tcg`, unless `ours` contains it already.
fn merge_text(ours: &mut String, other: &str) {
    let known = ours.split(AND).any(|part| part == other) || ours == other;
    match (ours.is_empty(), other.is_empty() || known) {
        (_, true) => {}
        (true, false) => *ours = other.to_owned(),
        (false, false) => *ours = format!("{ours}{AND}{other}"),
    }
}

/// Reads the results at `paths`: result files, or directories with `results.json` files in them or below.
///
/// # Errors
/// A file cannot be read, is not a result or has another layout, or a directory contains no result. The error names the
/// file and what was expected.
pub(crate) fn read_all(paths: &[PathBuf]) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for path in paths {
        for file in results_in(path)? {
            parts.push(Part { result: read(&file)?, file });
        }
    }
    Ok(parts)
}

/// Reads the result file at `path`, or `results.json` in the directory `path`.
///
/// # Errors
/// The file cannot be read, is not a result or has another layout.
pub(crate) fn read(path: &Path) -> Result<RunResult> {
    let file = if path.is_dir() { path.join(RESULTS) } else { path.to_owned() };
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("read {}; `cargo xtask test` writes this file", file.display()))?;
    parse(&text).with_context(|| file.display().to_string())
}

fn parse(text: &str) -> Result<RunResult> {
    let expected = "not the result of a run; expected a results.json written by `cargo xtask test` (docs/results.md)";
    let value: Value =
        serde_json::from_str(text).map_err(|error| anyhow!("{expected}: {error}"))?;
    let Some(schema) = value.get("schema").and_then(Value::as_u64) else {
        bail!("{expected}: the number `schema` is missing");
    };
    if schema != u64::from(SCHEMA) {
        bail!("the result has layout {schema}; this lab reads layout {SCHEMA}");
    }
    serde_json::from_value(value).map_err(|error| anyhow!("{expected}: {error}"))
}

/// Returns the result files at `path`, sorted by name.
fn results_in(path: &Path) -> Result<Vec<PathBuf>> {
    let own = path.join(RESULTS);
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    if own.is_file() {
        return Ok(vec![own]);
    }
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
        let entry = entry.with_context(|| format!("search {}", path.display()))?;
        if entry.file_type().is_file() && entry.file_name() == RESULTS {
            files.push(entry.into_path());
        }
    }
    if files.is_empty() {
        bail!(
            "{}: no {RESULTS} in this directory or below; `cargo xtask test --report-dir DIR` writes one into DIR",
            path.display()
        );
    }
    Ok(files)
}

#[cfg(test)]
mod tests;

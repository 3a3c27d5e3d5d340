// SPDX-License-Identifier: MIT OR Apache-2.0
//! Merge: one result of several, be they of different targets or of shards of one.
//!
//! What a text of the merged result says is what the parts agree on; where they differ in something that may differ
//! (the machine a shard ran on, say), it holds each, as in `kvm and tcg`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::results::{CaseResult, Provenance, RunResult, SCHEMA, TargetResult};
use crate::run_dir::RESULTS;

/// A result, and the file it was read from.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// The file, for what is said of it.
    pub file: PathBuf,
    /// What it holds.
    pub result: RunResult,
}

/// One result of all `parts`. Targets come in the order they are first met; the cases of each as `plan` names them,
/// and those it does not name after the rest.
///
/// # Errors
/// A target was tested with different kernels or flavours, or a case of it twice: names both files. There is no part.
pub(crate) fn merge(parts: Vec<Part>, plan: &[String]) -> Result<RunResult> {
    let run = frame(&parts)?;
    let mut targets: Vec<Joined> = Vec::new();
    for part in parts {
        for target in part.result.targets {
            match targets
                .iter_mut()
                .find(|known| known.result.target == target.target)
            {
                Some(known) => known.join(target, &part.file)?,
                None => targets.push(Joined::new(target, &part.file)),
            }
        }
    }
    let targets = targets.into_iter().map(|target| target.finish(plan));
    Ok(RunResult {
        targets: targets.collect(),
        ..run
    })
}

/// Everything about the run but its targets.
fn frame(parts: &[Part]) -> Result<RunResult> {
    let mut times = Vec::new();
    let mut tool = String::new();
    for Part { file, result } in parts {
        let start = humantime::parse_rfc3339(&result.started)
            .with_context(|| format!("{}: `started` is {:?}", file.display(), result.started))?;
        times.push((start, start + crate::text::words::duration(result.seconds)));
        agree(&mut tool, &result.tool);
    }
    let start = times.iter().map(|(start, _)| *start).min();
    let end = times.iter().map(|(_, end)| *end).max();
    let (start, end) = start.zip(end).context("there is no result to merge")?;
    Ok(RunResult {
        schema: SCHEMA,
        tool,
        started: humantime::format_rfc3339_seconds(start).to_string(),
        seconds: since(start, end).as_secs_f64(),
        interrupted: parts.iter().any(|part| part.result.interrupted),
        targets: Vec::new(),
    })
}

fn since(start: SystemTime, end: SystemTime) -> Duration {
    end.duration_since(start).unwrap_or_default()
}

/// A target as far as it has been joined.
struct Joined {
    result: TargetResult,
    /// The file each case is from.
    files: BTreeMap<String, PathBuf>,
    /// The file that the first of its results is from.
    first: PathBuf,
}

impl Joined {
    fn new(result: TargetResult, file: &Path) -> Self {
        let cases = result.cases.iter();
        Self {
            files: cases
                .map(|case| (case.id.clone(), file.to_owned()))
                .collect(),
            first: file.to_owned(),
            result,
        }
    }

    /// Takes another result of the same target.
    fn join(&mut self, other: TargetResult, file: &Path) -> Result<()> {
        self.compare(&other, file)?;
        let ours = &mut self.result;
        for mut case in other.cases {
            if let Some(before) = self.files.insert(case.id.clone(), file.to_owned()) {
                bail!(
                    "{} {} is in both {} and {}; which of the two counts?",
                    ours.target,
                    case.id,
                    before.display(),
                    file.display()
                );
            }
            // Boots are counted through all parts.
            case.boot = case.boot.map(|boot| boot + ours.boots);
            ours.cases.push(case);
        }
        ours.boots += other.boots;
        for (phase, seconds) in other.seconds {
            *ours.seconds.entry(phase).or_default() += seconds;
        }
        join_provenance(&mut ours.provenance, &other.provenance);
        ours.failure = match (ours.failure.take(), other.failure) {
            (Some(one), Some(two)) if one != two => Some(format!("{one}\n{two}")),
            (one, two) => one.or(two),
        };
        Ok(())
    }

    /// Sees that the other result is of the same kernel. What a result has not reached is no difference.
    fn compare(&self, other: &TargetResult, file: &Path) -> Result<()> {
        let (ran, with) = (&self.result.provenance, &other.provenance);
        let both = [
            ("flavour", &self.result.flavour, &other.flavour),
            ("kernel_hash", &ran.kernel_hash, &with.kernel_hash),
            ("config_hash", &ran.config_hash, &with.config_hash),
        ];
        let differ = both
            .iter()
            .filter(|(_, one, two)| one != two && !one.is_empty() && !two.is_empty())
            // As much of a hash as tells it from others.
            .map(|(name, one, two)| format!("{name} ({one:.12} and {two:.12})"));
        let differ: Vec<String> = differ.collect();
        if !differ.is_empty() {
            bail!(
                "{}: {} and {} differ in {}; only results of one kernel can be joined",
                self.result.target,
                self.first.display(),
                file.display(),
                differ.join(", ")
            );
        }
        Ok(())
    }

    fn finish(mut self, plan: &[String]) -> TargetResult {
        let place = |case: &CaseResult| {
            let place = plan.iter().position(|id| *id == case.id);
            place.unwrap_or(plan.len())
        };
        self.result.cases.sort_by_key(place);
        self.result
    }
}

fn join_provenance(ours: &mut Provenance, other: &Provenance) {
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
    agree(&mut ours.kernel_version, kernel_version);
    agree(&mut ours.kernel_hash, kernel_hash);
    agree(&mut ours.config_hash, config_hash);
    agree(&mut ours.compiler, compiler);
    agree(&mut ours.image_hash, image_hash);
    agree(&mut ours.rustc, rustc);
    agree(&mut ours.qemu, qemu);
    agree(&mut ours.accel, accel);
    agree(&mut ours.oracle, oracle);
    agree_if_any(&mut ours.accel_reason, accel_reason);
    agree_if_any(&mut ours.oracle_reason, oracle_reason);
}

/// As [`agree`], of what need not be said.
fn agree_if_any(ours: &mut Option<String>, other: &Option<String>) {
    match (ours, other) {
        (Some(ours), Some(other)) => agree(ours, other),
        (ours, other) => *ours = ours.take().or_else(|| other.clone()),
    }
}

/// Makes `ours` say what `other` says as well.
fn agree(ours: &mut String, other: &str) {
    let known = ours.split(" and ").any(|part| part == other) || ours == other;
    match (ours.is_empty(), other.is_empty() || known) {
        (_, true) => {}
        (true, false) => *ours = other.to_owned(),
        (false, false) => *ours = format!("{ours} and {other}"),
    }
}

/// Reads the results that `paths` name: files, or directories that have `results.json` in them or below.
///
/// # Errors
/// One cannot be read, is no result, is of another layout, or a directory has none: names it and says what was
/// expected.
pub(crate) fn read_all(paths: &[PathBuf]) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for path in paths {
        for file in results_in(path)? {
            parts.push(Part {
                result: read(&file)?,
                file,
            });
        }
    }
    Ok(parts)
}

/// The result in `path`, or in the directory `path`.
///
/// # Errors
/// As [`read_all`].
pub(crate) fn read(path: &Path) -> Result<RunResult> {
    let file = match path.is_dir() {
        true => path.join(RESULTS),
        false => path.to_owned(),
    };
    let text = std::fs::read_to_string(&file).with_context(|| {
        format!(
            "read {}; `cargo xtask test` writes such a file",
            file.display()
        )
    })?;
    parse(&text).with_context(|| file.display().to_string())
}

fn parse(text: &str) -> Result<RunResult> {
    let expected = "no result of a run; expected results.json as `cargo xtask test` writes it (docs/results.md)";
    let value: Value =
        serde_json::from_str(text).map_err(|error| anyhow!("{expected}: {error}"))?;
    let Some(schema) = value.get("schema").and_then(Value::as_u64) else {
        bail!("{expected}: it has no number `schema`");
    };
    if schema != u64::from(SCHEMA) {
        bail!("the result has layout {schema}; this lab reads layout {SCHEMA}");
    }
    serde_json::from_value(value).map_err(|error| anyhow!("{expected}: {error}"))
}

/// The results a path stands for, in the order of their names.
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
        let entry = entry.with_context(|| format!("look through {}", path.display()))?;
        if entry.file_type().is_file() && entry.file_name() == RESULTS {
            files.push(entry.into_path());
        }
    }
    if files.is_empty() {
        bail!(
            "{}: no {RESULTS} in it or below; `cargo xtask test --report-dir DIR` writes one into DIR",
            path.display()
        );
    }
    Ok(files)
}

#[cfg(test)]
mod tests;

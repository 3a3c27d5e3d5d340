// SPDX-License-Identifier: MIT OR Apache-2.0
//! Texts of the terminal output. All functions are pure.

use std::fmt::Write as _;
use std::path::Path;

use console::Style;

use crate::report::FLAKY;
use crate::report::rows::{self, Rerun, or_dash, took_millis};
use crate::results::{CaseResult, Counts, RunResult, TargetResult, Verdict};
use crate::text::words::{one_line, printable, took_seconds};

/// Number of lines shown of the log and of the console of a failed case. The report files have all of them.
const LINES_SHOWN: usize = 30;

/// Applies colours if they are enabled.
#[derive(Clone, Copy)]
pub(super) struct Paint {
    pub colour: bool,
}

impl Paint {
    fn with(self, style: Style, text: &str) -> String {
        style.force_styling(self.colour).apply_to(text).to_string()
    }

    /// Returns `text` in the colour of the verdict `word`.
    pub(super) fn verdict(self, word: &str, text: &str) -> String {
        match word {
            "pass" => self.with(Style::new().green(), text),
            "skip" | "not-run" | FLAKY => self.with(Style::new().yellow(), text),
            _ => self.with(Style::new().red().bold(), text),
        }
    }

    fn faint(self, text: &str) -> String {
        self.with(Style::new().dim(), text)
    }
}

/// Returns the progress of a phase: `412 of 1030: CC fs/fuse/dmmap.o`.
pub(super) fn progress(done: u64, of: Option<u64>, what: &str) -> String {
    let what = printable(what);
    match of {
        Some(of) => format!("{done} of {of}: {what}"),
        None if done > 0 => format!("{done}: {what}"),
        None => what,
    }
}

/// Returns the progress of the cases: `case 3 of 21 (2 passed): smoke/redirect.fuse`.
pub(super) fn case_of(case: &str, index: usize, of: usize, counts: &str) -> String {
    match counts {
        "" => format!("case {index} of {of}: {case}"),
        counts => format!("case {index} of {of} ({counts}): {case}"),
    }
}

/// Returns the result of a case in one line: `pass smoke/boot (1.24 s)`.
pub(super) fn case_line(case: &CaseResult, paint: Paint) -> String {
    let word = case.verdict.word();
    let word = paint.verdict(word, word);
    let detail = case.verdict.detail().map(|detail| format!(": {}", one_line(&detail)));
    let time = case.millis.map(|millis| format!(" ({})", took_millis(millis)));
    format!("{word} {}{}{}", case.id, time.unwrap_or_default(), detail.unwrap_or_default())
}

/// Returns a line for each curve of a case: `  munmap at 125 to 8000 mappings: n^1.01, at most 1.2 times a memfd`.
pub(super) fn curves(case: &CaseResult) -> impl Iterator<Item = String> {
    case.curves.iter().map(|curve| format!("  {}", one_line(&curve.line())))
}

/// Returns the number of failed attempts of a case: `flaky smoke/boot: failed in attempt 1 of 2`.
pub(super) fn attempts_line(case: &CaseResult, paint: Paint) -> String {
    let word = if case.flaky { FLAKY } else { case.verdict.word() };
    format!("{} {}: {}", paint.verdict(word, word), case.id, case.tally())
}

/// Returns the details of a failed case, or of one attempt of it. `boot` is the directory of the run and the number of the
/// boot that it ran in.
pub(super) fn failure(
    case: &CaseResult,
    rerun: Rerun,
    boot: Option<(&Path, usize)>,
    attempt: usize,
    paint: Paint,
) -> String {
    let word = case.verdict.word();
    let word = paint.verdict(word, &word.to_uppercase());
    let mut out = format!("{word} {} {}", rerun.name, case.id);
    if attempt > 1 {
        out += &format!(", attempt {attempt}");
    }
    let when = rows::when(case);
    if !when.is_empty() {
        out += &paint.faint(&format!(" {when}"));
    }
    out.push('\n');
    out += &details(rows::failure(case, rerun, boot, LINES_SHOWN), paint);
    out.push('\n');
    out
}

/// Returns details of a case: names, each with its lines.
pub(super) fn details(rows: Vec<(&'static str, Vec<String>)>, paint: Paint) -> String {
    let mut out = String::new();
    for (name, lines) in rows {
        for (at, line) in lines.iter().enumerate() {
            let name = if at == 0 { name } else { "" };
            let line = format!("  {} {line}", paint.faint(&format!("{name:8}")));
            out += line.trim_end();
            out.push('\n');
        }
    }
    out
}

/// Returns the summary of a run. Its last line has the counts only.
///
/// `run_dir` is the directory of the run, or `None` if the run took place elsewhere. If it is given, the terminal has
/// already shown each failure in full, so only the first line of a target's failure is repeated.
/// `since` is the text about the differences from an earlier run; it may be empty.
pub(super) fn summary(
    run: &RunResult,
    run_dir: Option<&Path>,
    since: &str,
    paint: Paint,
) -> String {
    let mut out = format!("\n{}", table(run, paint));
    for target in &run.targets {
        out.push('\n');
        out += &about_target(target, run_dir, paint);
    }
    for (heading, lines) in [("failures", failures(run, paint)), (FLAKY, flaky(run, paint))] {
        if !lines.is_empty() {
            out += &format!("\n{heading}:\n{lines}");
        }
    }
    if !since.is_empty() {
        out += &format!("\n{since}");
    }
    let _ = writeln!(out, "\n{}", rows::end(run));
    let counts = Counts::of_run(run);
    let style = match (run.exit_code(), counts.failed) {
        (0, _) => Style::new().green().bold(),
        _ => Style::new().red().bold(),
    };
    out += &paint.with(style, &counts.line());
    out.push('\n');
    out
}

/// Number of failures that [`verdict_line`] names.
const NAMED: usize = 3;

/// Returns the verdict of a run on one line: `failed in 12.3 s: 18 passed, 1 failed, 0 skipped; x86_64 smoke/redirect.fuse`.
pub(super) fn verdict_line(run: &RunResult, paint: Paint) -> String {
    let counts = Counts::of_run(run);
    let (word, style) = match (run.interrupted, run.exit_code()) {
        (true, _) => ("interrupted after", Style::new().yellow()),
        (false, 0) => ("passed in", Style::new().green().bold()),
        (false, _) => ("failed in", Style::new().red().bold()),
    };
    let time = took_seconds(run.seconds);
    let mut line = format!("{} {time}: {}", paint.with(style, word), counts.line());
    let untested = run.targets.iter().filter_map(|target| {
        let reason = one_line(target.untested()?.lines().next()?);
        Some(format!("{} not tested: {reason}", target.name))
    });
    let tested = run.targets.iter().filter(|target| target.untested().is_none());
    let failed = tested.flat_map(|target| {
        let failed = target.cases.iter().filter(|case| case.verdict.is_failure());
        failed.map(|case| format!("{} {}", target.name, case.id))
    });
    let failures: Vec<String> = untested.chain(failed).collect();
    if !failures.is_empty() {
        line += &format!("; {}", failures[..failures.len().min(NAMED)].join(", "));
    }
    if failures.len() > NAMED {
        line += &format!(" and {} more", failures.len() - NAMED);
    }
    line
}

/// Returns the table of targets: the number of cases by verdict, kernel and accelerator.
fn table(run: &RunResult, paint: Paint) -> String {
    let names = run.targets.iter().map(|target| target.name.len());
    let width = names.max().unwrap_or(0).max("target".len());
    let mut out = format!("{:width$}", "target");
    for word in Verdict::WORDS {
        out += &format!("  {word}");
    }
    let kernels = run.targets.iter().map(|target| target.kernel_version().len());
    let kernel_width = kernels.max().unwrap_or(0).max("kernel".len());
    let _ = writeln!(out, "  {:kernel_width$}  accel", "kernel");
    for target in &run.targets {
        let name = &target.name;
        let _ = write!(out, "{name:width$}");
        for word in Verdict::WORDS {
            out += &cell(target.count(word), word, paint);
        }
        let ran = &target.provenance;
        let kernel = or_dash(target.kernel_version());
        let _ = writeln!(out, "  {kernel:kernel_width$}  {}", or_dash(&ran.accel.to_string()));
    }
    out
}

/// Returns a count that is aligned with the heading `word`.
fn cell(count: usize, word: &str, paint: Paint) -> String {
    let width = word.len();
    match count {
        0 => paint.faint(&format!("  {:>width$}", "-")),
        count => paint.verdict(word, &format!("  {count:>width$}")),
    }
}

/// Returns the details of a target that the table has no room for.
fn about_target(target: &TargetResult, run_dir: Option<&Path>, paint: Paint) -> String {
    let mut out = format!("{}\n", target.name);
    for (name, text) in rows::about_target(target, run_dir) {
        let _ = writeln!(out, "  {} {text}", paint.faint(&format!("{name:10}")));
    }
    out
}

/// Returns a line for each failed case. Cases that never ran for the same reason share a line.
fn failures(run: &RunResult, paint: Paint) -> String {
    let mut out = String::new();
    for target in &run.targets {
        for group in rows::failures(target) {
            let verdict = &group[0].verdict;
            let word = verdict.word();
            let word = paint.verdict(word, &format!("{word:9}"));
            let name = rows::group_name(&group);
            let detail = verdict.detail().unwrap_or_default();
            let detail = match &target.failure {
                // The details of the target already give the reason.
                Some(failure) if *failure == detail => "not tested".into(),
                _ => one_line(&detail),
            };
            let _ = writeln!(out, "  {word} {} {name}: {detail}", target.name);
        }
    }
    out
}

/// Returns a line for each case that failed before it passed.
fn flaky(run: &RunResult, paint: Paint) -> String {
    let mut out = String::new();
    for target in &run.targets {
        for case in target.cases.iter().filter(|case| case.passed_as_flaky()) {
            let word = paint.verdict(FLAKY, &format!("{FLAKY:9}"));
            let first = &case.failed_attempts[0].verdict;
            let detail = one_line(&first.detail().unwrap_or_default());
            let (name, tally, failed) = (&target.name, case.tally(), first.word());
            let _ = writeln!(out, "  {word} {name} {}: {tally}: {failed}: {detail}", case.id);
        }
    }
    out
}

#[cfg(test)]
mod tests;

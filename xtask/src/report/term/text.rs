// SPDX-License-Identifier: MIT OR Apache-2.0
//! Text: what a person reads, made from results. Everything here only makes strings.

use std::fmt::Write as _;
use std::path::Path;

use console::Style;

use crate::oracle::choice::{NO_ALIASES, NOT_WANTED};
use crate::report::words::{Counts, VERDICTS, cases, lines, one_line, printable, took_seconds};
use crate::report::{boot_dir, findings, untested};
use crate::verdict::{CaseResult, Phase, RunResult, TargetResult, Verdict, Watched};

/// Log lines shown of a case that did not pass; all of them are in the reports.
const LOG_SHOWN: usize = 30;

/// Reasons for which the oracle is off that are no news.
const QUIET: [&str; 2] = [NOT_WANTED, NO_ALIASES];

/// Console lines shown of a case that did not pass.
const CONSOLE_SHOWN: usize = 30;

/// Colours, or none.
#[derive(Clone, Copy)]
pub struct Paint {
    /// Whether to use them.
    pub colour: bool,
}

impl Paint {
    fn with(self, style: Style, text: &str) -> String {
        style.force_styling(self.colour).apply_to(text).to_string()
    }

    /// `text` in the colour of `verdict`.
    pub fn verdict(self, verdict: &Verdict, text: &str) -> String {
        match verdict {
            Verdict::Pass => self.with(Style::new().green(), text),
            Verdict::Skip { .. } => self.with(Style::new().yellow(), text),
            _ => self.with(Style::new().red().bold(), text),
        }
    }

    fn faint(self, text: &str) -> String {
        self.with(Style::new().dim(), text)
    }
}

/// How to run one case again.
#[derive(Clone, Copy)]
pub struct Again<'a> {
    /// The command without its targets and cases.
    pub command: &'a str,
    /// The target.
    pub target: &'a str,
}

/// Progress inside a phase: `412 of 1030: CC fs/fuse/dmmap.o`.
pub fn progress(done: u64, of: Option<u64>, what: &str) -> String {
    let what = printable(what);
    match of {
        Some(of) => format!("{done} of {of}: {what}"),
        None if done > 0 => format!("{done}: {what}"),
        None => what,
    }
}

/// The case that runs: `case 3 of 21 (2 passed): smoke/redirect.fuse`.
pub fn case_of(case: &str, index: usize, of: usize, counts: &str) -> String {
    match counts {
        "" => format!("case {index} of {of}: {case}"),
        counts => format!("case {index} of {of} ({counts}): {case}"),
    }
}

/// A case that needs no more than a line.
pub fn case_line(case: &CaseResult, paint: Paint) -> String {
    let word = paint.verdict(&case.verdict, case.verdict.word());
    let detail = case
        .verdict
        .detail()
        .map(|detail| format!(": {}", one_line(&detail)));
    let time = case
        .millis
        .map(|millis| format!(" ({})", took_millis(millis)));
    format!(
        "{word} {}{}{}",
        case.id,
        time.unwrap_or_default(),
        detail.unwrap_or_default()
    )
}

/// A case that did not pass, with all that helps: `boot` is the run's directory and the boot it ran in.
pub fn failure(
    target: &str,
    case: &CaseResult,
    again: Again,
    boot: Option<(&Path, usize)>,
    paint: Paint,
) -> String {
    let word = case.verdict.word().to_uppercase();
    let mut out = format!(
        "{} {target} {}",
        paint.verdict(&case.verdict, &word),
        case.id
    );
    let time = case
        .millis
        .map(|millis| format!("after {}", took_millis(millis)));
    let boot_number = boot.map(|(_, boot)| format!("in boot {boot}"));
    let when: Vec<String> = time.into_iter().chain(boot_number).collect();
    if !when.is_empty() {
        out += &paint.faint(&format!(" {}", when.join(" ")));
    }
    out.push('\n');
    let mut field = |name: &str, lines: &[String]| {
        for (at, line) in lines.iter().enumerate() {
            let name = if at == 0 { name } else { "" };
            let line = format!("  {} {line}", paint.faint(&format!("{name:8}")));
            out += line.trim_end();
            out.push('\n');
        }
    };
    field("checks", &[printable(&case.about)]);
    field("reason", &lines(&case.verdict.detail().unwrap_or_default()));
    field("oracle", &findings(case));
    field("log", &last(&case.log, LOG_SHOWN));
    field("console", &last(&case.console, CONSOLE_SHOWN));
    if let Some((run_dir, boot)) = boot {
        field(
            "files",
            &[boot_dir(run_dir, target, boot).display().to_string()],
        );
    }
    let Again { command, target } = again;
    field(
        "again",
        &[format!("{command} --arch {target} --case {}", case.id)],
    );
    out.push('\n');
    out
}

/// The end of a run, whose files are in `run_dir` if they are here at all; if so, [`failure`] has told it as it went,
/// and why a target was not tested is not told in full again. The last line is the counts, and nothing else.
pub fn summary(run: &RunResult, run_dir: Option<&Path>, paint: Paint) -> String {
    let mut out = format!("\n{}", table(run, paint));
    for target in &run.targets {
        out.push('\n');
        out += &about_target(target, run_dir, paint);
    }
    let failures = failures(run, paint);
    if !failures.is_empty() {
        out += &format!("\ndid not pass:\n{failures}");
    }
    let end = if run.interrupted {
        "interrupted"
    } else {
        "done"
    };
    let _ = writeln!(out, "\n{end} after {}", took_seconds(run.seconds));
    let counts = Counts::of_run(run);
    let style = match (run.exit_code(), counts.failed) {
        (0, _) => Style::new().green().bold(),
        _ => Style::new().red().bold(),
    };
    out += &paint.with(style, &counts.line());
    out.push('\n');
    out
}

/// A row for each target: how many cases got which verdict, on what.
fn table(run: &RunResult, paint: Paint) -> String {
    let names = run.targets.iter().map(|target| target.target.len());
    let width = names.max().unwrap_or(0).max("target".len());
    let mut out = format!("{:width$}", "target");
    for word in VERDICTS {
        out += &format!("  {word}");
    }
    let kernels = run.targets.iter();
    let kernels = kernels.map(|target| target.provenance.kernel_version.len());
    let kernel_width = kernels.max().unwrap_or(0).max("kernel".len());
    let _ = writeln!(out, "  {:kernel_width$}  accel", "kernel");
    for target in &run.targets {
        let name = &target.target;
        let _ = write!(out, "{name:width$}");
        for word in VERDICTS {
            out += &cell(target.count(word), word, paint);
        }
        let ran = &target.provenance;
        let kernel = or_dash(&ran.kernel_version);
        let _ = writeln!(out, "  {kernel:kernel_width$}  {}", or_dash(&ran.accel));
    }
    out
}

/// A count under its word.
fn cell(count: usize, word: &str, paint: Paint) -> String {
    let shown = if count == 0 {
        "-".into()
    } else {
        count.to_string()
    };
    let style = match (count, word) {
        (0, _) => Style::new().dim(),
        (_, "pass") => Style::new().green(),
        (_, "skip") => Style::new().yellow(),
        _ => Style::new().red().bold(),
    };
    paint.with(style, &format!("  {shown:>0$}", word.len()))
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// What does not fit in a row.
fn about_target(target: &TargetResult, run_dir: Option<&Path>, paint: Paint) -> String {
    let mut rows: Vec<(&str, String)> = Vec::new();
    if let Some(failure) = untested(target) {
        let why = match run_dir {
            Some(_) => headline(failure),
            None => one_line(failure),
        };
        rows.push(("not tested", why));
    }
    if target.flavour != "default" {
        rows.push(("flavour", target.flavour.clone()));
    }
    if let Some(reason) = &target.provenance.accel_reason {
        rows.push(("not KVM", one_line(reason)));
    }
    rows.extend(watched(target));
    let phases = PHASES.iter().map(Phase::to_string);
    let phases = phases.filter_map(|name| {
        let seconds = target.seconds.get(&name)?;
        Some(format!("{name} {}", took_seconds(*seconds)))
    });
    let all = took_seconds(target.seconds.values().sum());
    let phases: Vec<String> = phases.collect();
    rows.push(("time", format!("{all}: {}", phases.join(", "))));
    if target.boots > 1 {
        rows.push(("boots", target.boots.to_string()));
    }
    rows.extend(skips(target));
    if let Some(run_dir) = run_dir {
        rows.push(("files", run_dir.join(&target.target).display().to_string()));
    }
    let mut out = format!("{}\n", target.target);
    for (name, text) in rows {
        let _ = writeln!(out, "  {} {text}", paint.faint(&format!("{name:10}")));
    }
    out
}

/// Whether the oracle watched; nothing where it was not to, or has nothing to see.
fn watched(target: &TargetResult) -> Option<(&'static str, String)> {
    let ran = &target.provenance;
    match (ran.oracle.as_str(), &ran.oracle_reason) {
        ("", _) => None,
        ("off", Some(why)) if QUIET.contains(&why.as_str()) => None,
        ("off", why) => Some(("no oracle", one_line(why.as_deref().unwrap_or_default()))),
        (depth, _) => {
            let seen: Vec<&Watched> = target.cases.iter().flat_map(|case| &case.oracle).collect();
            let found: u64 = seen.iter().map(|watched| watched.distinct).sum();
            let text = match seen.len() {
                0 => format!("{depth}, and no case was watched to its end"),
                count => format!("{depth}, watched {}; findings: {found}", cases(count)),
            };
            Some(("oracle", text))
        }
    }
}

/// What of an error stands before its details.
fn headline(text: &str) -> String {
    let first = printable(text.lines().next().unwrap_or_default());
    first.trim_end_matches(':').to_owned()
}

/// Why cases were skipped, each reason once.
fn skips(target: &TargetResult) -> Vec<(&'static str, String)> {
    let mut reasons: Vec<(&str, usize)> = Vec::new();
    for case in &target.cases {
        if let Verdict::Skip { reason } = &case.verdict {
            match reasons.iter_mut().find(|(known, _)| known == reason) {
                Some((_, count)) => *count += 1,
                None => reasons.push((reason, 1)),
            }
        }
    }
    let rows = reasons.into_iter();
    rows.map(|(reason, count)| ("skipped", format!("{}: {}", cases(count), one_line(reason))))
        .collect()
}

/// Every case that did not pass, in a line each; those that never ran stand together under their reason.
fn failures(run: &RunResult, paint: Paint) -> String {
    let mut out = String::new();
    for target in &run.targets {
        let failed = |case: &&CaseResult| case.verdict.exit_code() != 0;
        let failed: Vec<&CaseResult> = target.cases.iter().filter(failed).collect();
        let alike = |a: &&CaseResult, b: &&CaseResult| b.boot.is_none() && a.verdict == b.verdict;
        for group in failed.chunk_by(alike) {
            let CaseResult { id, verdict, .. } = group[0];
            let word = paint.verdict(verdict, &format!("{:9}", verdict.word()));
            let more = match group.len() - 1 {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let detail = verdict.detail().unwrap_or_default();
            let detail = match &target.failure {
                // Which is said of the target.
                Some(failure) if *failure == detail => "not tested".into(),
                _ => one_line(&detail),
            };
            let _ = writeln!(out, "  {word} {} {id}{more}: {detail}", target.target);
        }
    }
    out
}

/// The phases in their order.
const PHASES: [Phase; 6] = [
    Phase::Setup,
    Phase::Kernel,
    Phase::Image,
    Phase::Boot,
    Phase::Test,
    Phase::Shutdown,
];

fn took_millis(millis: u64) -> String {
    took_seconds(millis as f64 / 1000.0)
}

/// The last of `lines`, and how many came before.
fn last(lines: &[String], shown: usize) -> Vec<String> {
    let left_out = lines.len().saturating_sub(shown);
    let before = (left_out > 0).then(|| format!("... {left_out} lines before these"));
    let lines = lines[left_out..].iter().map(|line| printable(line));
    before.into_iter().chain(lines).collect()
}

#[cfg(test)]
mod tests;

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rows: what is said of a case that did not pass, of a target and of the end of a run. The terminal and the HTML report
//! say it in these words; how it looks is theirs.

use std::path::Path;

use crate::oracle::choice::{NO_ALIASES, NOT_WANTED};
use crate::report::findings;
use crate::results::{CaseResult, Phase, RunResult, TargetResult, Verdict, Watched};
use crate::run_dir::boot_dir;
use crate::text::words::{cases, lines, one_line, printable, took_seconds};

/// Reasons for which the oracle is off that are no news.
const QUIET: [&str; 2] = [NOT_WANTED, NO_ALIASES];

/// The phases in their order.
const PHASES: [Phase; 6] = [
    Phase::Setup,
    Phase::Kernel,
    Phase::Image,
    Phase::Boot,
    Phase::Test,
    Phase::Shutdown,
];

/// How to run one case again.
#[derive(Clone, Copy)]
pub(crate) struct Again<'a> {
    /// The command without its targets and cases.
    pub command: &'a str,
    /// The target.
    pub target: &'a str,
}

/// A case that did not pass, with all that helps: names, each with its lines, of which there may be none. Of its log and
/// its console these are the last `shown` lines; `boot` is the run's directory and the boot it ran in.
pub(crate) fn failure(
    case: &CaseResult,
    again: Again,
    boot: Option<(&Path, usize)>,
    shown: usize,
) -> Vec<(&'static str, Vec<String>)> {
    let Again { command, target } = again;
    let files = boot.map(|(run_dir, boot)| boot_dir(run_dir, target, boot).display().to_string());
    vec![
        ("checks", vec![printable(&case.about)]),
        ("reason", lines(&case.verdict.detail().unwrap_or_default())),
        ("oracle", findings(case)),
        ("log", last(&case.log, shown)),
        ("console", last(&case.console, shown)),
        ("files", files.into_iter().collect()),
        (
            "again",
            vec![format!("{command} --arch {target} --case {}", case.id)],
        ),
    ]
}

/// When a case ended: `after 1.24 s in boot 1`; empty where it neither ended nor ran.
pub(crate) fn when(case: &CaseResult) -> String {
    let time = case
        .millis
        .map(|millis| format!("after {}", took_millis(millis)));
    let boot = case.boot.map(|boot| format!("in boot {boot}"));
    let when: Vec<String> = time.into_iter().chain(boot).collect();
    when.join(" ")
}

/// The cases of a target that did not pass, those that never ran and have the same verdict together.
pub(crate) fn failures(target: &TargetResult) -> Vec<Vec<&CaseResult>> {
    let failed = |case: &&CaseResult| case.verdict.exit_code() != 0;
    let failed: Vec<&CaseResult> = target.cases.iter().filter(failed).collect();
    let alike = |a: &&CaseResult, b: &&CaseResult| b.boot.is_none() && a.verdict == b.verdict;
    failed.chunk_by(alike).map(<[_]>::to_vec).collect()
}

/// What a group of [`failures`] is called after its target: `smoke/boot`, `smoke/boot and 2 more`.
pub(crate) fn named(group: &[&CaseResult]) -> String {
    let first = group.first().map_or("", |case| &case.id);
    match group.len().saturating_sub(1) {
        0 => first.to_owned(),
        more => format!("{first} and {more} more"),
    }
}

/// What a table of targets has no room for; `run_dir` is where the files of its boots are, if they are here at all. If
/// so, why it was not tested has been told before, and is not told in full again.
pub(crate) fn about_target(
    target: &TargetResult,
    run_dir: Option<&Path>,
) -> Vec<(&'static str, String)> {
    let mut rows: Vec<(&str, String)> = Vec::new();
    if let Some(failure) = target.untested() {
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
    rows.push(("time", time(target)));
    if target.boots > 1 {
        rows.push(("boots", target.boots.to_string()));
    }
    rows.extend(skips(target).map(|why| ("skipped", why)));
    if let Some(run_dir) = run_dir {
        rows.push(("files", run_dir.join(&target.target).display().to_string()));
    }
    rows
}

/// How long a target took: `1 min 48 s: setup 0.10 s, kernel 1 min 34 s`.
pub(crate) fn time(target: &TargetResult) -> String {
    let phases = PHASES.iter().map(Phase::to_string);
    let phases = phases.filter_map(|name| {
        let seconds = target.seconds.get(&name)?;
        Some(format!("{name} {}", took_seconds(*seconds)))
    });
    let all = took_seconds(target.seconds.values().sum());
    format!("{all}: {}", phases.collect::<Vec<_>>().join(", "))
}

/// Whether the oracle watched; nothing where it was not to, or has nothing to see.
fn watched(target: &TargetResult) -> Option<(&'static str, String)> {
    let ran = &target.provenance;
    match (ran.oracle.as_str(), &ran.oracle_reason) {
        ("off", Some(why)) if QUIET.contains(&why.as_str()) => None,
        ("off", why) => Some(("no oracle", one_line(why.as_deref().unwrap_or_default()))),
        _ => Some(("oracle", seen(target)?)),
    }
}

/// What the oracle saw of a target: `user, watched 2 cases; findings: 2`. Nothing where it was not there.
pub(crate) fn seen(target: &TargetResult) -> Option<String> {
    let depth = match target.provenance.oracle.as_str() {
        "" | "off" => return None,
        depth => depth,
    };
    let seen: Vec<&Watched> = target.cases.iter().flat_map(|case| &case.oracle).collect();
    let found: u64 = seen.iter().map(|watched| watched.distinct).sum();
    Some(match seen.len() {
        0 => format!("{depth}, and no case was watched to its end"),
        count => format!("{depth}, watched {}; findings: {found}", cases(count)),
    })
}

/// What of an error stands before its details.
fn headline(text: &str) -> String {
    let first = printable(text.lines().next().unwrap_or_default());
    first.trim_end_matches(':').to_owned()
}

/// Why cases were skipped, each reason once.
pub(crate) fn skips(target: &TargetResult) -> impl Iterator<Item = String> {
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
    rows.map(|(reason, count)| format!("{}: {}", cases(count), one_line(reason)))
}

/// What ran on a target, and what it was made of: names and values, without what was not reached.
pub(crate) fn provenance<'a>(
    run: &'a RunResult,
    target: &'a TargetResult,
) -> impl Iterator<Item = (&'static str, &'a str)> {
    let ran = &target.provenance;
    let known = [
        ("tool", &run.tool),
        ("flavour", &target.flavour),
        ("kernel", &ran.kernel_version),
        ("kernel-hash", &ran.kernel_hash),
        ("config-hash", &ran.config_hash),
        ("image-hash", &ran.image_hash),
        ("compiler", &ran.compiler),
        ("rustc", &ran.rustc),
        ("qemu", &ran.qemu),
        ("accel", &ran.accel),
        ("oracle", &ran.oracle),
    ];
    let known = known.into_iter().filter(|(_, value)| !value.is_empty());
    known.map(|(name, value)| (name, value.as_str()))
}

/// How a run ended: `done after 2 min 11 s`.
pub(crate) fn end(run: &RunResult) -> String {
    let end = match run.interrupted {
        true => "interrupted",
        false => "done",
    };
    format!("{end} after {}", took_seconds(run.seconds))
}

/// A text, or a dash where there is none.
pub(crate) fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// [`took_seconds`] for milliseconds.
pub(crate) fn took_millis(millis: u64) -> String {
    took_seconds(millis as f64 / 1000.0)
}

/// The last of `lines`, and how many came before.
fn last(lines: &[String], shown: usize) -> Vec<String> {
    let left_out = lines.len().saturating_sub(shown);
    let before = (left_out > 0).then(|| format!("... {left_out} lines before these"));
    let lines = lines[left_out..].iter().map(|line| printable(line));
    before.into_iter().chain(lines).collect()
}

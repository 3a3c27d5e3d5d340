// SPDX-License-Identifier: MIT OR Apache-2.0
//! Table of targets for the README: the machine of each target and its results in a run.

use crate::results::{CaseResult, Counts, RunResult, TargetResult};
use crate::target::{CacheKind, CacheSpec, Target};
use crate::text::words::{bytes, one_line};

/// Line of a document that precedes the table.
pub(crate) const BEGIN: &str = "<!-- targets: begin -->";

/// Line of a document that follows the table.
pub(crate) const END: &str = "<!-- targets: end -->";

/// Number of failed cases that a note names; the others are only counted.
const NAMED: usize = 3;

/// Renders a Markdown table with a row for each target and each kernel that it ran with. Targets without a result in
/// `run` are marked `not run`.
pub(crate) fn table(targets: &[Target], run: &RunResult) -> String {
    let head =
        ["target", "machine", "cache", "period", "kernel", "passed", "failed", "skipped", "note"];
    let mut text = row(&head.map(String::from));
    text += "|---|---|---|---|---|--:|--:|--:|---|\n";
    for target in targets {
        let results = run.targets.iter().filter(|result| result.target == target.name);
        let mut outcomes: Vec<[String; 5]> = results.map(|result| outcome(Some(result))).collect();
        if outcomes.is_empty() {
            outcomes.push(outcome(None));
        }
        for [kernel, passed, failed, skipped, note] in outcomes {
            text += &row(&[
                target.name.clone(),
                machine(target),
                kind(&target.cache),
                period(&target.cache),
                kernel,
                passed,
                failed,
                skipped,
                note,
            ]);
        }
    }
    text
}

fn row(cells: &[String; 9]) -> String {
    let cells = cells.each_ref().map(|cell| one_line(cell).replace('|', "\\|"));
    format!("| {} |\n", cells.join(" | "))
}

/// Returns the last five cells of a row: kernel, numbers of passed, failed and skipped cases, and a note.
fn outcome(result: Option<&TargetResult>) -> [String; 5] {
    let none = || "-".to_owned();
    let Some(result) = result else {
        return [none(), none(), none(), none(), "not run".into()];
    };
    let version = result.kernel_version().to_owned();
    let kernel = match (version.as_str(), result.flavour.as_str()) {
        ("", _) => none(),
        (_, "default") => version,
        (_, flavour) => format!("{version}, {flavour}"),
    };
    let counts = Counts::of_target(result);
    let [passed, failed, skipped] =
        [counts.passed, counts.failed, counts.skipped].map(|count| count.to_string());
    let note = match result.untested() {
        Some(failure) => format!("not tested: {failure}"),
        None => failed_cases(result),
    };
    [kernel, passed, failed, skipped, note]
}

/// Returns the names of the first [`NAMED`] failed cases and the number of the others.
fn failed_cases(result: &TargetResult) -> String {
    let failed = |case: &&CaseResult| case.verdict.is_failure();
    let failed: Vec<_> = result.cases.iter().filter(failed).collect();
    let named: Vec<String> = failed
        .iter()
        .take(NAMED)
        .map(|case| format!("{} ({})", case.id, case.verdict.word()))
        .collect();
    match failed.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// Returns machine and CPU as named in QEMU's arguments. If the arguments name no machine, because QEMU's default is
/// used, returns the target's description up to the part about its caches.
fn machine(target: &Target) -> String {
    match (target.qemu.machine_type(), &target.qemu.cpu) {
        (Some(name), Some(cpu)) => format!("{name}, {cpu}"),
        (Some(name), None) => name.into(),
        (None, _) => target.about.split(';').next().unwrap_or_default().into(),
    }
}

fn kind(cache: &CacheSpec) -> String {
    let word = match cache.kind {
        CacheKind::Physical => "physical",
        CacheKind::Vipt => "VIPT",
        CacheKind::Vivt => "VIVT",
    };
    word.into()
}

/// Returns the period, as in `4 KiB`, or `none` if two different addresses never share a colour.
fn period(cache: &CacheSpec) -> String {
    match (cache.kind, cache.period) {
        (CacheKind::Vivt, _) => "none".into(),
        (_, period) => bytes(period),
    }
}

/// Returns the document with `table` between [`BEGIN`] and [`END`].
///
/// # Errors
/// The document lacks one of these lines. The error names both.
pub(crate) fn replace_table(document: &str, table: &str) -> Result<String, String> {
    let (before, _, after) = split(document)?;
    Ok(format!("{before}\n{table}{after}"))
}

/// Returns the name of the target of each row in the document's table.
///
/// # Errors
/// The document lacks the line [`BEGIN`] or [`END`].
pub(crate) fn listed_targets(document: &str) -> Result<Vec<&str>, String> {
    let (_, table, _) = split(document)?;
    let rows = table.lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("| ")?.split_once(" |")?;
        Some(name)
    });
    // The first row is the header.
    Ok(rows.skip(1).collect())
}

/// Returns the document up to the end of [`BEGIN`], the text between the two lines, and the rest.
fn split(document: &str) -> Result<(&str, &str, &str), String> {
    let missing = || format!("expected a line `{BEGIN}` followed by a line `{END}`");
    let begin = document.find(BEGIN).ok_or_else(missing)? + BEGIN.len();
    let end = begin + document[begin..].find(END).ok_or_else(missing)?;
    Ok((&document[..begin], &document[begin..end], &document[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    fn targets() -> Vec<Target> {
        let x86_64 = crate::target::tests::x86_64();
        let mut parisc = x86_64.clone();
        parisc.name = "parisc".into();
        parisc.about = "PA-RISC 1.1, B160L; data caches alias".into();
        parisc.qemu.machine = "graphics=off".into();
        parisc.cache.kind = CacheKind::Vipt;
        parisc.cache.period = 4 << 20;
        let mut arm64 = x86_64.clone();
        arm64.name = "arm64".into();
        arm64.qemu.machine = "virt|odd,gic-version=3".into();
        let mut armv5 = x86_64.clone();
        armv5.name = "armv5".into();
        armv5.cache.kind = CacheKind::Vivt;
        vec![arm64, armv5, parisc, x86_64]
    }

    #[test]
    fn every_target_has_a_row() {
        insta::assert_snapshot!(table(&targets(), &samples::mixed()), @r"
        | target | machine | cache | period | kernel | passed | failed | skipped | note |
        |---|---|---|---|---|--:|--:|--:|---|
        | arm64 | virt\|odd, Nehalem | physical | 4 KiB | 6.12.117 | 2 | 0 | 0 |  |
        | armv5 | q35, Nehalem | VIVT | none | - | - | - | - | not run |
        | parisc | PA-RISC 1.1, B160L | VIPT | 4 MiB | - | - | - | - | not run |
        | x86_64 | q35, Nehalem | physical | 4 KiB | 6.12.117 | 1 | 5 | 1 | smoke/redirect.fuse (fail), coherency/ping-pong.fuse (crash), coherency/seqlock.fuse (timeout) and 2 more |
        ");
    }

    #[test]
    fn a_target_has_a_row_for_each_kernel() {
        let table = table(&targets()[3..], &samples::two_kernels());
        insta::assert_snapshot!(table, @"
        | target | machine | cache | period | kernel | passed | failed | skipped | note |
        |---|---|---|---|---|--:|--:|--:|---|
        | x86_64 | q35, Nehalem | physical | 4 KiB | 6.12.117 | 1 | 0 | 0 |  |
        | x86_64 | q35, Nehalem | physical | 4 KiB | 7.3.4 | 0 | 1 | 0 | smoke/redirect.fuse (fail) |
        ");
        let document = format!("{BEGIN}\n{table}{END}\n");
        assert_eq!(listed_targets(&document).unwrap(), ["x86_64", "x86_64"]);
    }

    #[test]
    fn the_note_gives_the_reason_why_a_target_was_not_tested() {
        let mut run = samples::untested();
        run.targets[0].flavour = "debug".into();
        insta::assert_snapshot!(table(&targets()[3..], &run), @"
        | target | machine | cache | period | kernel | passed | failed | skipped | note |
        |---|---|---|---|---|--:|--:|--:|---|
        | x86_64 | q35, Nehalem | physical | 4 KiB | 6.12, debug | 0 | 2 | 0 | not tested: 0002-fuse-direct-mmap.patch does not apply: fs/fuse/dev.c, line 112; take it out of kernel-patches/6.12/series or make it fit |
        ");
    }

    #[test]
    fn the_table_replaces_the_previous_one() {
        let table = table(&targets(), &samples::mixed());
        let empty = format!("# Title\n{BEGIN}\n{END}\n\nText.\n");
        let full = replace_table(&empty, &table).unwrap();
        assert_eq!(full, format!("# Title\n{BEGIN}\n{table}{END}\n\nText.\n"));
        assert_eq!(replace_table(&full, &table).unwrap(), full);
        assert_eq!(listed_targets(&full).unwrap(), ["arm64", "armv5", "parisc", "x86_64"]);
        assert_eq!(listed_targets(&empty).unwrap(), [""; 0]);
    }

    #[test]
    fn a_document_without_the_two_lines_is_rejected() {
        for document in ["", BEGIN, END, &format!("{END}\n{BEGIN}")] {
            let error = replace_table(document, "").unwrap_err();
            insta::allow_duplicates! {
                insta::assert_snapshot!(error, @"expected a line `<!-- targets: begin -->` followed by a line `<!-- targets: end -->`");
            }
        }
    }
}

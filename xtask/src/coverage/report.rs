// SPDX-License-Identifier: MIT OR Apache-2.0
//! The report as text.

use std::fmt::Write;

use super::reasons::{Joined, Unreached};
use super::{Coverage, Source};

/// How many there are, and how many of them were reached.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    all: usize,
    reached: usize,
}

impl Share {
    fn of(counts: impl Iterator<Item = u64>) -> Self {
        let mut share = Share::default();
        for count in counts {
            share.all += 1;
            share.reached += usize::from(count > 0);
        }
        share
    }

    fn percent(self) -> f64 {
        match self.all {
            0 => 100.0,
            all => 100.0 * self.reached as f64 / all as f64,
        }
    }
}

impl std::iter::Sum for Share {
    fn sum<I: Iterator<Item = Share>>(shares: I) -> Share {
        shares.fold(Share::default(), |sum, share| Share {
            all: sum.all + share.all,
            reached: sum.reached + share.reached,
        })
    }
}

fn lines(source: &Source) -> Share {
    Share::of(source.lines.values().map(|line| line.count))
}

fn branches(source: &Source) -> Share {
    let of_lines = source
        .lines
        .values()
        .flat_map(|line| line.branches.values());
    Share::of(of_lines.flatten().copied())
}

/// For the terminal, in one line.
pub(super) fn summary(coverage: &Coverage, joined: &Joined) -> String {
    let lines: Share = coverage.sources.values().map(lines).sum();
    let branches: Share = coverage.sources.values().map(branches).sum();
    let mut text = format!(
        "coverage: {:.1} % of {} lines, {:.1} % of {} branches; lines not reached without a reason: {}",
        lines.percent(),
        lines.all,
        branches.percent(),
        branches.all,
        joined.unknown.len(),
    );
    if coverage.mute > 0 {
        let _ = write!(
            text,
            "; boots cut short before they could tell: {}",
            coverage.mute
        );
    }
    text
}

/// The report.
pub(super) fn render(coverage: &Coverage, joined: &Joined) -> String {
    let Coverage { boots, mute, .. } = coverage;
    let mut text = format!(
        "# Lines reached\n\nBoots that have counted: {boots}; that were cut short before they could tell: {mute}.\n\n"
    );
    text += &table(coverage);
    if !joined.unknown.is_empty() {
        text += "\n## Not reached, and nobody has said why\n";
        text += &listing(&joined.unknown);
    }
    for (why, lines) in &joined.known {
        let _ = write!(text, "\n## Not reached: {why}\n");
        text += &listing(lines);
    }
    if !joined.stale.is_empty() {
        text += "\n## Reasons that no line of this run needs\n\n";
        for (function, words) in &joined.stale {
            let _ = writeln!(text, "- `{function}`: `{words}`");
        }
    }
    text
}

fn table(coverage: &Coverage) -> String {
    let mut text = "| source | lines | reached | % | branches | reached | % |\n\
                    |---|--:|--:|--:|--:|--:|--:|\n"
        .to_owned();
    let mut row = |name: &str, lines: Share, branches: Share| {
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {:.1} | {} | {} | {:.1} |",
            lines.all,
            lines.reached,
            lines.percent(),
            branches.all,
            branches.reached,
            branches.percent()
        );
    };
    for (name, source) in &coverage.sources {
        row(name, lines(source), branches(source));
    }
    let all = || coverage.sources.values();
    row("all", all().map(lines).sum(), all().map(branches).sum());
    text
}

/// Lines below the functions that they are in.
fn listing(lines: &[Unreached]) -> String {
    let mut text = String::new();
    let mut last = ("", "");
    for (source, number, line) in lines {
        let here = (*source, line.function.as_str());
        if here != last {
            if !last.0.is_empty() {
                text += "```\n";
            }
            let _ = write!(text, "\n{source}, {}:\n\n```c\n", line.function);
            last = here;
        }
        let _ = writeln!(text, "{number:5}  {}", line.text);
    }
    text + "```\n"
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Text of the coverage report and of its summary.

use std::fmt::Write;

use super::reasons::{Explanation, Unreached};
use super::{Coverage, SourceFile};

/// Number of lines or branches, and how many of them were reached.
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

fn lines(source: &SourceFile) -> Share {
    Share::of(source.values().map(|line| line.count))
}

fn branches(source: &SourceFile) -> Share {
    Share::of(source.values().flat_map(|line| line.branches.values()).flatten().copied())
}

/// Returns a summary in one line, for the terminal.
pub(super) fn summary(coverage: &Coverage, explanation: &Explanation) -> String {
    let lines: Share = coverage.sources.values().map(lines).sum();
    let branches: Share = coverage.sources.values().map(branches).sum();
    let mut text = format!(
        "coverage: {:.1} % of {} lines, {:.1} % of {} branches; unreached lines without a reason: {}",
        lines.percent(),
        lines.all,
        branches.percent(),
        branches.all,
        explanation.unexplained.len(),
    );
    if coverage.boots_without_counts > 0 {
        let _ = write!(
            text,
            "; boots cut short before they sent counts: {}",
            coverage.boots_without_counts
        );
    }
    text
}

/// Returns the report in Markdown.
pub(super) fn render(coverage: &Coverage, explanation: &Explanation) -> String {
    let Coverage { boots, boots_without_counts, .. } = coverage;
    let mut text = format!(
        "# Coverage\n\nBoots with counts: {boots}. Boots cut short before they sent counts: {boots_without_counts}.\n\n"
    );
    text += &table(coverage);
    if !explanation.unexplained.is_empty() {
        text += "\n## Not reached, without a reason\n";
        text += &listing(&explanation.unexplained);
    }
    for (why, lines) in &explanation.explained {
        let _ = write!(text, "\n## Not reached: {why}\n");
        text += &listing(lines);
    }
    if !explanation.stale.is_empty() {
        text += "\n## Reasons that match no unreached line\n\n";
        for (function, part) in &explanation.stale {
            let _ = writeln!(text, "- `{function}`: `{part}`");
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

/// Returns the lines in groups by function, each group as a code block below the function's name.
fn listing(lines: &[Unreached]) -> String {
    let mut text = String::new();
    let mut current = ("", "");
    for (source, number, line) in lines {
        let here = (*source, line.function.as_str());
        if here != current {
            if !current.0.is_empty() {
                text += "```\n";
            }
            let _ = write!(text, "\n{source}, {}:\n\n```c\n", line.function);
            current = here;
        }
        let _ = writeln!(text, "{number:5}  {}", line.text);
    }
    text + "```\n"
}

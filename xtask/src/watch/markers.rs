// SPDX-License-Identifier: MIT OR Apache-2.0
//! Markers: the lines by which a console log gives trouble away.
//!
//! The table is [`table::MARKERS`]; [`Scanner`] holds the lines of one boot against it.

pub(crate) mod table;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use regex::RegexSet;

use table::MARKERS;

/// One kind of trouble.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    /// What to call it, in a word or two.
    pub name: &'static str,
    /// Regular expression that finds a match in a line of this kind. Not anchored: a line may start with a
    /// timestamp, or with what a program wrote without ending its line.
    pub pattern: &'static str,
    /// What it means for the boot.
    pub severity: Severity,
    /// How many such lines a boot may show before they count.
    pub allowed: u32,
    /// Where in the kernel's source the text comes from.
    pub source: &'static str,
}

/// What a marker means for the boot it is seen in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// The kernel is gone, or no longer worth asking. The boot ends after a grace for the trace.
    Crash,
    /// There will be no `init`: kernel and initramfs do not go together. The boot ends likewise.
    Boot,
    /// The kernel goes on, but what runs when it is seen has failed.
    Warning,
}

impl Severity {
    /// Whether waiting for more than the trace is useless.
    pub(crate) fn ends_boot(self) -> bool {
        matches!(self, Severity::Crash | Severity::Boot)
    }
}

/// A line that gives trouble away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    /// What it gives away.
    pub marker: &'static Marker,
    /// The line as it came.
    pub line: String,
}

/// Looks through the console of one boot, line by line.
#[derive(Clone, Debug)]
pub(crate) struct Scanner {
    /// Lines seen of each marker, in the order of the table.
    seen: Vec<u32>,
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            seen: vec![0; MARKERS.len()],
        }
    }
}

impl Scanner {
    /// Takes the next line. Where several markers match, the first of the table has it; none is told of a line that
    /// its marker [allows](Marker::allowed).
    ///
    /// One trouble often shows on several lines (the page fault, the oops, the panic): the first of them names it best.
    pub(crate) fn line(&mut self, line: &str) -> Option<Hit> {
        let at = PATTERNS.matches(line).into_iter().next()?;
        let marker = &MARKERS[at];
        self.seen[at] += 1;
        (self.seen[at] > marker.allowed).then(|| Hit {
            marker,
            line: line.to_owned(),
        })
    }
}

/// All patterns in one automaton: an ordinary line is read once, however many markers there are.
static PATTERNS: LazyLock<RegexSet> = LazyLock::new(|| {
    let patterns = MARKERS.iter().map(|marker| marker.pattern);
    RegexSet::new(patterns).expect("every pattern of the table is a regular expression")
});

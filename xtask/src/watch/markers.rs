// SPDX-License-Identifier: MIT OR Apache-2.0
//! Markers: patterns of console lines that show trouble in the kernel.
//!
//! The table is [`table::MARKERS`]; [`Scanner`] matches the lines of one boot against it.

pub(crate) mod table;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use regex::RegexSet;

use table::MARKERS;

/// Pattern of console lines that show one kind of trouble.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    /// Name of the trouble, in one to three words.
    pub name: &'static str,
    /// Regular expression for the line. Not anchored: a line may start with a time stamp, or with the output of a
    /// program that did not end its line.
    pub pattern: &'static str,
    pub severity: Severity,
    /// Number of matching lines in a boot that are ignored.
    pub allowed: u32,
    /// File of the kernel's source that prints the line.
    pub source: &'static str,
}

/// Consequence of a marker for the boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// The kernel has crashed or can no longer be relied on. The boot ends after the kernel has had time to print its
    /// trace.
    Crash,
    /// The kernel cannot start `init` from this initramfs. The boot ends as after a crash.
    Boot,
    /// The kernel goes on, but the case that is running has failed.
    Warning,
}

impl Severity {
    pub(crate) fn ends_boot(self) -> bool {
        matches!(self, Severity::Crash | Severity::Boot)
    }
}

/// Console line that matches a marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    pub marker: &'static Marker,
    pub line: String,
}

/// Matches the console of one boot against the table, line by line.
#[derive(Clone, Debug)]
pub(crate) struct Scanner {
    /// Number of matching lines so far for each marker, in the order of the table.
    counts: Vec<u32>,
}

impl Default for Scanner {
    fn default() -> Self {
        Self { counts: vec![0; MARKERS.len()] }
    }
}

impl Scanner {
    /// Takes the next line and returns a hit if a marker matches. If several match, the first in the table counts. The
    /// lines that a marker [allows](Marker::allowed) are not hits.
    ///
    /// One fault often prints several matching lines: the page fault, the oops, the panic. The first is the most
    /// specific.
    pub(crate) fn line(&mut self, line: &str) -> Option<Hit> {
        let at = PATTERNS.matches(line).into_iter().next()?;
        let marker = &MARKERS[at];
        self.counts[at] += 1;
        (self.counts[at] > marker.allowed).then(|| Hit { marker, line: line.to_owned() })
    }
}

/// All patterns in one automaton, so that a line is read only once for all markers.
static PATTERNS: LazyLock<RegexSet> = LazyLock::new(|| {
    let patterns = MARKERS.iter().map(|marker| marker.pattern);
    RegexSet::new(patterns).expect("every pattern in the table is a valid regular expression")
});

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why lines are not reached: `kernel-patches/VERSION/unreached.yaml`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{Coverage, Line};

/// Name of the file, beside the patch queue.
const FILE: &str = "unreached.yaml";

/// A reason and the lines that have it.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reason {
    /// Why none of the suites reaches them, in a sentence.
    pub why: String,
    /// By name of a function: a part of what the line says, so that it is found wherever it moves. `all` is every line
    /// of the function.
    pub lines: BTreeMap<String, Vec<String>>,
}

/// A line that was not reached.
pub(super) type Unreached<'a> = (&'a str, usize, &'a Line);

/// Lines that were not reached, by reason.
#[derive(Debug, Default)]
pub(super) struct Joined<'a> {
    /// Those without one.
    pub unknown: Vec<Unreached<'a>>,
    /// Those of each reason that has some, in the order of the file.
    pub known: Vec<(&'a str, Vec<Unreached<'a>>)>,
    /// What no line of the run answers to: function and words.
    pub stale: Vec<(&'a str, &'a str)>,
}

/// The reasons for a kernel of `version` (`6.12.117`): none where nobody has written any.
///
/// # Errors
/// The file does not parse.
pub(super) fn read(checkout: &Path, version: &str) -> Result<Vec<Reason>> {
    let series: Vec<&str> = version.split('.').take(2).collect();
    let path = checkout
        .join("kernel-patches")
        .join(series.join("."))
        .join(FILE);
    match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        text => {
            let text = text.with_context(|| format!("read {}", path.display()))?;
            crate::yaml::parse(&text, &path)
        }
    }
}

/// Finds the reason of each line that was not reached. The first that fits is it.
pub(super) fn join<'a>(coverage: &'a Coverage, reasons: &'a [Reason]) -> Joined<'a> {
    let mut joined = Joined::default();
    let mut lines: Vec<Unreached> = coverage.unreached().collect();
    for reason in reasons {
        let entries = reason.lines.iter();
        let entries =
            entries.flat_map(|(function, all)| all.iter().map(move |words| (function, words)));
        let entries: Vec<(&str, &str)> = entries
            .map(|(f, words)| (f.as_str(), words.as_str()))
            .collect();
        let stale = entries
            .iter()
            .filter(|entry| !lines.iter().any(|line| fits(entry, line)));
        joined.stale.extend(stale);
        let (known, rest) = lines
            .into_iter()
            .partition(|line| entries.iter().any(|entry| fits(entry, line)));
        lines = rest;
        joined.known.push((reason.why.as_str(), known));
    }
    joined.known.retain(|(_, lines)| !lines.is_empty());
    joined.unknown = lines;
    joined
}

fn fits((function, words): &(&str, &str), (_, _, line): &Unreached) -> bool {
    line.function == *function && (*words == "all" || line.text.contains(words))
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reasons for unreached lines: `kernel-patches/VERSION/unreached.yaml`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::Deserialize;

use super::{Coverage, Line};
use crate::{files, yaml};

/// Name of the file with the reasons, beside the patch queue.
const FILE: &str = "unreached.yaml";

/// A reason and the lines that it applies to.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reason {
    /// One sentence that explains why no suite reaches the lines.
    pub why: String,
    /// For each function, a part of the text of each line, which identifies the line even if its number changes. `all`
    /// stands for every line of the function.
    pub lines: BTreeMap<String, Vec<String>>,
}

/// An unreached line, with the name of the source file and the line number.
pub(super) type Unreached<'a> = (&'a str, usize, &'a Line);

/// Unreached lines, by reason.
#[derive(Debug, Default)]
pub(super) struct Explanation<'a> {
    /// Lines without a reason.
    pub unexplained: Vec<Unreached<'a>>,
    /// Lines of each reason, in the order of the file. Reasons without lines are left out.
    pub explained: Vec<(&'a str, Vec<Unreached<'a>>)>,
    /// Entries that match no unreached line: function and text.
    pub stale: Vec<(&'a str, &'a str)>,
}

/// Reads the reasons for a kernel of `version` (`6.12.117`). Returns an empty list if the version has no such file.
///
/// # Errors
/// The file does not parse.
pub(super) fn read(checkout: &Path, version: &str) -> Result<Vec<Reason>> {
    let series: Vec<&str> = version.split('.').take(2).collect();
    let path = checkout.join("kernel-patches").join(series.join(".")).join(FILE);
    match files::read_if_exists(&path)? {
        Some(text) => yaml::parse(&text, &path),
        None => Ok(Vec::new()),
    }
}

/// Assigns to each unreached line the first reason that matches it.
pub(super) fn explain<'a>(coverage: &'a Coverage, reasons: &'a [Reason]) -> Explanation<'a> {
    let mut explanation = Explanation::default();
    let mut lines: Vec<Unreached> = coverage.unreached().collect();
    for reason in reasons {
        let entries = reason.lines.iter();
        let entries =
            entries.flat_map(|(function, texts)| texts.iter().map(move |text| (function, text)));
        let entries: Vec<(&str, &str)> =
            entries.map(|(function, text)| (function.as_str(), text.as_str())).collect();
        let stale = entries.iter().filter(|entry| !lines.iter().any(|line| matches(entry, line)));
        explanation.stale.extend(stale);
        let (explained, rest) =
            lines.into_iter().partition(|line| entries.iter().any(|entry| matches(entry, line)));
        lines = rest;
        explanation.explained.push((reason.why.as_str(), explained));
    }
    explanation.explained.retain(|(_, lines)| !lines.is_empty());
    explanation.unexplained = lines;
    explanation
}

fn matches((function, text): &(&str, &str), (_, _, line): &Unreached) -> bool {
    line.function == *function && (*text == "all" || line.text.contains(text))
}

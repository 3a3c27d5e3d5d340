// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask compare`: compares the results of two runs.

use anyhow::{Result, bail};

use crate::cli::Compare;
use crate::history::{self, Past};
use crate::output::out;
use crate::paths;
use crate::report::compare;

/// Prints the differences. Returns 1 if something that worked in the old run fails in the new one.
///
/// # Errors
/// A run does not exist, its results cannot be read, or no run before it has the same targets.
pub(super) fn run(args: &Compare) -> Result<u8> {
    let checkout = paths::checkout();
    let new = match &args.new {
        Some(named) => history::find(&checkout, named)?,
        None => history::newest(&checkout)?,
    };
    let old = match &args.old {
        Some(named) => history::find(&checkout, named)?,
        None => {
            match history::last_like(&checkout, &history::tested(&new.result), Some(&new.name)) {
                Some(past) => past,
                None => bail!(
                    "no run before {} has the same targets and flavour; name the run to compare it with",
                    new.name
                ),
            }
        }
    };
    let comparison = compare::compare(&old.result, &new.result);
    out!("{}{}\n{}", line("old", &old), line("new", &new), compare::render(&comparison));
    Ok(u8::from(comparison.is_regression()))
}

/// Returns the name of a run and the command that it ran.
fn line(which: &str, past: &Past) -> String {
    let commands: Vec<String> = past.result.commands.iter().map(|words| words.join(" ")).collect();
    format!("{which}  {}  {}\n", past.name, commands.join("; "))
}

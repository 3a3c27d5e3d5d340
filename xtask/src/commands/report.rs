// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask report`.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};

use crate::cli::Report;
use crate::files;
use crate::output::{out, outln};
use crate::paths::{self, Latest, checkout};
use crate::report::{Origin, annotations, kcidb, merge, targets, term, write_all};
use crate::results::RunResult;
use crate::suite::{self, Suite};
use crate::target;

/// Runs the command and returns its exit code.
///
/// # Errors
/// As [`merge::read_all`] and [`merge::merge`]. A file cannot be written, or lacks the markers for the table.
pub(super) fn run(args: &Report) -> Result<u8> {
    match args {
        Report::Merge { results, report_dir } => merge_into(report_dir, results),
        Report::Targets { results, write } => table(results.as_deref(), write.as_deref()),
        Report::Kcidb { results, origin } => {
            out!("{}", kcidb::render(&read(results.as_deref())?, origin));
            Ok(0)
        }
        Report::Annotations { results } => {
            out!("{}", annotations::render(&read(results.as_deref())?));
            Ok(0)
        }
    }
}

fn merge_into(dir: &Path, paths: &[PathBuf]) -> Result<u8> {
    let parts = merge::read_all(paths)?;
    let files = parts.len();
    let result = merge::merge(parts, &plan()?)?;
    write_all(dir, &result, Origin::Elsewhere)?;
    outln!("input files: {files}; reports written to {}", dir.display());
    term::print_summary(&result);
    Ok(result.exit_code())
}

/// Returns the names of all cases, in the order in which they run.
fn plan() -> Result<Vec<String>> {
    let suites = suite::load_all(&checkout().join("suites"))?;
    Ok(suites.iter().flat_map(Suite::ids).collect())
}

/// Reads the results at this path, or those of the newest run.
fn read(results: Option<&Path>) -> Result<RunResult> {
    merge::read(results.unwrap_or(&paths::latest(&checkout(), Latest::Test)))
}

fn table(results: Option<&Path>, write: Option<&Path>) -> Result<u8> {
    let result = read(results)?;
    let targets = target::load_all(&checkout().join("kernel-configs"))?;
    let table = targets::table(&targets, &result);
    let Some(file) = write else {
        out!("{table}");
        return Ok(0);
    };
    let name = file.display();
    let text = files::read(file)?;
    let text =
        targets::replace_table(&text, &table).map_err(|problem| anyhow!("{name}: {problem}"))?;
    files::write_atomically(file, text)?;
    outln!("targets written to {name}: {}", targets.len());
    Ok(0)
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds packages of the checkout, by the cargo that runs this tool.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The cargo that runs this tool.
pub(crate) fn program() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// A build of `package`, chosen further by `args`, that tells in JSON what came of it. It has a `target_dir` of its own,
/// so that no build waits for another or throws it away.
pub(crate) fn build(package: &str, args: &[&str], target_dir: &Path) -> Command {
    let mut command = Command::new(program());
    command
        .args(["build", "--quiet", "--package", package])
        .args(args)
        .args(["--message-format", "json-render-diagnostics"])
        .arg("--target-dir")
        .arg(target_dir);
    command
}

/// Runs it in the checkout; the file that `named` finds in one of cargo's messages, the last one if there are more. `what` is
/// built, for a person, and `kind` the kind of that file.
///
/// # Errors
/// The build fails: carries what the compiler said. No message names such a file.
pub(crate) fn run(
    mut command: Command,
    checkout: &Path,
    (what, kind): (&str, &str),
    named: impl Fn(&serde_json::Value) -> Option<PathBuf>,
) -> Result<PathBuf> {
    let output = command
        .current_dir(checkout)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {command:?}"))?;
    if !output.status.success() {
        bail!(
            "build {what}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    last(&String::from_utf8_lossy(&output.stdout), named)
        .with_context(|| format!("{command:?} named no {kind}"))
}

/// What `named` finds in the last of cargo's `messages` that has it.
pub(crate) fn last(
    messages: &str,
    named: impl Fn(&serde_json::Value) -> Option<PathBuf>,
) -> Option<PathBuf> {
    let found = |line: &str| named(&serde_json::from_str(line).ok()?);
    messages.lines().filter_map(found).next_back()
}

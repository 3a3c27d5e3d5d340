// SPDX-License-Identifier: MIT OR Apache-2.0
//! Versions of the programs a result came from.

use std::path::Path;
use std::process::Command;

/// Version of this tool and, in a checkout, the commit.
pub fn tool(checkout: &Path) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut git = Command::new("git");
    git.arg("-C").arg(checkout);
    git.args(["describe", "--always", "--dirty", "--abbrev=12"]);
    match output(&mut git) {
        Some(commit) => format!("dmmap-lab {version} ({commit})"),
        None => format!("dmmap-lab {version}"),
    }
}

/// First line that `program argument` prints; empty where it cannot be run.
pub fn first_line(program: &str, argument: &str) -> String {
    output(Command::new(program).arg(argument)).unwrap_or_default()
}

/// The compiler of the guest's programs.
pub fn rustc() -> String {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    first_line(&rustc, "--version")
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|o| o.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(str::to_owned)
}

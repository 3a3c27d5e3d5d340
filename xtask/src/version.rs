// SPDX-License-Identifier: MIT OR Apache-2.0
//! Versions of the programs that produced a result.

use std::path::Path;

use regex::Regex;
use xshell::cmd;

use crate::shell;

/// Returns the version of this tool, with the commit if `checkout` is a git repository.
pub(crate) fn tool(checkout: &Path) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let commit = shell::in_dir(checkout)
        .and_then(|sh| shell::read(cmd!(sh, "git describe --always --dirty --abbrev=12")));
    match commit {
        Ok(commit) => format!("dmmap-lab {version} ({})", commit.trim()),
        Err(_) => format!("dmmap-lab {version}"),
    }
}

/// Returns the first line that `program argument` prints, or an empty string if the program cannot be run.
pub(crate) fn first_line(program: &str, argument: &str) -> String {
    let text = shell::here().and_then(|sh| shell::read(cmd!(sh, "{program} {argument}")));
    text.unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

/// Returns the version line of the compiler that builds the guest program.
pub(crate) fn rustc() -> String {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    first_line(&rustc, "--version")
}

/// Returns the first version number in `text`, such as `12.2.0`.
pub(crate) fn number_in(text: &str) -> Option<String> {
    let version = Regex::new(r"\d+(\.\d+)+").expect("the pattern is valid");
    version.find(text).map(|found| found.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_the_output_of_programs() {
        let version = |text: &str| number_in(text).unwrap_or_default();
        assert_eq!(version("gcc (Debian 12.2.0-14) 12.2.0\nCopyright 2022"), "12.2.0");
        assert_eq!(version("\nThis is perl 5, version 36 (v5.36.0) built"), "5.36.0");
        assert_eq!(version("bc 1.07.1\nCopyright 1991-1994"), "1.07.1");
        assert_eq!(version("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg)"), "7.2.22");
        assert_eq!(version("no number 5 here"), "");
    }
}

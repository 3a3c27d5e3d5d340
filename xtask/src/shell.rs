// SPDX-License-Identifier: MIT OR Apache-2.0
//! Short commands, such as git, or a compiler that prints its version.
//!
//! They get no input, and run in the C locale because the lab parses their output. Programs that take longer, or that
//! must end with the lab, are started through [`crate::guard`].

use std::path::Path;
use std::process::Output;

use anyhow::{Context, Result, anyhow, bail};
use xshell::{Cmd, Shell};

/// Returns a shell in the current directory.
///
/// # Errors
/// The current directory does not exist.
pub(crate) fn here() -> Result<Shell> {
    let sh = Shell::new()?;
    sh.set_var("LC_ALL", "C");
    Ok(sh)
}

/// Returns a shell in the directory `dir`.
///
/// # Errors
/// As [`here`].
pub(crate) fn in_dir(dir: &Path) -> Result<Shell> {
    let sh = here()?;
    sh.change_dir(dir);
    Ok(sh)
}

/// Runs `command` and returns its standard output.
///
/// # Errors
/// As [`output`], or the command fails, or its output is not UTF-8. The error shows the command and its standard error.
pub(crate) fn read(command: Cmd) -> Result<String> {
    let text = command.to_string();
    let output = output(command)?;
    if !output.status.success() {
        let messages = String::from_utf8_lossy(&output.stderr);
        bail!("{text} failed ({}): {}", output.status, messages.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("the output of {text} is not UTF-8"))
}

/// Runs `command` and returns its output and its exit status, which may be a failure.
///
/// # Errors
/// The program does not exist.
pub(crate) fn output(command: Cmd) -> Result<Output> {
    let output = command.ignore_status().output();
    output.map_err(|error| {
        anyhow!("{error}; `cargo xtask doctor` shows missing programs and their packages")
    })
}

/// Returns a git command in the directory of `sh` that ignores the user's settings and any repository around that
/// directory.
pub(crate) fn git(sh: &Shell) -> Cmd<'_> {
    let dir = sh.current_dir();
    sh.cmd("git")
        .env("GIT_CEILING_DIRECTORIES", dir.parent().unwrap_or(&dir))
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE")
}

#[cfg(test)]
mod tests {
    use super::*;
    use xshell::cmd;

    #[test]
    fn errors_show_the_command_and_its_messages() {
        let sh = here().unwrap();
        let script = "echo no such thing >&2; exit 3";
        let error = read(cmd!(sh, "sh -c {script}")).unwrap_err();
        insta::assert_snapshot!(error, @r#"sh -c "echo no such thing >&2; exit 3" failed (exit status: 3): no such thing"#);
        let error = read(cmd!(sh, "no-such-program --version")).unwrap_err();
        insta::assert_snapshot!(error, @"command not found: `no-such-program`; `cargo xtask doctor` shows missing programs and their packages");
    }

    #[test]
    fn commands_run_in_the_c_locale_without_input() {
        let sh = here().unwrap();
        let script = "cat; echo $LC_ALL";
        assert_eq!(read(cmd!(sh, "sh -c {script}")).unwrap(), "C\n");
    }
}

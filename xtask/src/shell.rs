// SPDX-License-Identifier: MIT OR Apache-2.0
//! Short commands: programs that answer within moments, such as git and compilers that are asked for their version.
//!
//! They get no input, and print in English because the lab reads it. Programs that take longer, or that have to end
//! with the lab, are started through [`crate::guard`].

use std::path::Path;
use std::process::Output;

use anyhow::{Context, Result, anyhow, bail};
use xshell::{Cmd, Shell};

/// A shell in the lab's own directory.
///
/// # Errors
/// That directory is gone.
pub(crate) fn here() -> Result<Shell> {
    let sh = Shell::new()?;
    sh.set_var("LC_ALL", "C");
    Ok(sh)
}

/// A shell in the directory `dir`.
///
/// # Errors
/// As [`here`].
pub(crate) fn in_dir(dir: &Path) -> Result<Shell> {
    let sh = here()?;
    sh.change_dir(dir);
    Ok(sh)
}

/// Runs `command` and returns what it printed to standard output.
///
/// # Errors
/// As [`output`]. The command fails: shows it, and what it printed to standard error. Its output is not UTF-8.
pub(crate) fn read(command: Cmd) -> Result<String> {
    let text = command.to_string();
    let output = output(command)?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{text} failed ({}): {}", output.status, complaint.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("the output of {text} is not UTF-8"))
}

/// Runs `command`, which may fail, and returns all that it printed.
///
/// # Errors
/// The program is not there.
pub(crate) fn output(command: Cmd) -> Result<Output> {
    let output = command.ignore_status().output();
    output.map_err(|error| {
        anyhow!("{error}; `cargo xtask doctor` shows what is missing and which package has it")
    })
}

/// git in the directory of `sh`: without the user's settings, and in no repository around that directory.
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
    fn errors_show_the_command_and_its_complaint() {
        let sh = here().unwrap();
        let script = "echo no such thing >&2; exit 3";
        let error = read(cmd!(sh, "sh -c {script}")).unwrap_err();
        insta::assert_snapshot!(error, @r#"sh -c "echo no such thing >&2; exit 3" failed (exit status: 3): no such thing"#);
        let error = read(cmd!(sh, "no-such-program --version")).unwrap_err();
        insta::assert_snapshot!(error, @"command not found: `no-such-program`; `cargo xtask doctor` shows what is missing and which package has it");
    }

    #[test]
    fn commands_print_in_english_and_read_nothing() {
        let sh = here().unwrap();
        let script = "cat; echo $LC_ALL";
        assert_eq!(read(cmd!(sh, "sh -c {script}")).unwrap(), "C\n");
    }
}

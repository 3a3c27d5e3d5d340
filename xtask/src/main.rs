// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask`: see the library's documentation, or `cargo xtask --help`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use xtask::{commands, config, guard, output};

fn main() -> ExitCode {
    // This must come first: the lab also starts itself as the guard of a program.
    if let Some(code) = guard::take_over(std::env::args_os()) {
        return code;
    }
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output::complain(format_args!("error: {error:#}"));
            ExitCode::from(commands::failure_code(std::env::args_os()))
        }
    }
}

/// Runs the command and returns its exit code.
fn run() -> Result<u8> {
    let code = match config::parse(std::env::args_os())? {
        Ok(cli) => commands::run(cli)?,
        Err(message) => show(&message)?,
    };
    match output::failure() {
        None => Ok(code),
        Some(error) => bail!("write to standard output: {error}"),
    }
}

/// Shows the help, the version or a mistake in the command line. Returns the exit code.
fn show(message: &clap::Error) -> Result<u8> {
    match message.print() {
        Err(error) if !message.use_stderr() && !output::is_closed(&error) => {
            bail!("write to standard output: {error}")
        }
        _ if message.use_stderr() => Ok(commands::failure_code(std::env::args_os())),
        _ => Ok(0),
    }
}

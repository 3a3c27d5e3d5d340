// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask`: see the library's documentation, or `cargo xtask --help`.

use std::process::ExitCode;

use clap::Parser;
use xtask::cli::Cli;
use xtask::commands;

fn main() -> ExitCode {
    // This must come first: the lab also starts itself as the guard of a program.
    if let Some(code) = xtask::guard::take_over(std::env::args_os()) {
        return code;
    }
    let failure = commands::failure_code(std::env::args_os().nth(1).as_deref());
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            // `--help` and `--version` are errors of clap too, with the exit code 0.
            return ExitCode::from(if error.use_stderr() { failure } else { 0 });
        }
    };
    match commands::run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(failure)
        }
    }
}

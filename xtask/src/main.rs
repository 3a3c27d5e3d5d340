// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask`: see the library's documentation, or `cargo xtask --help`.

use std::process::ExitCode;

use clap::Parser;
use xtask::cli::Cli;

fn main() -> ExitCode {
    // This must come first: the lab also starts itself as the guard of a program.
    if let Some(code) = xtask::guard::take_over(std::env::args_os()) {
        return code;
    }
    match xtask::commands::run(Cli::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

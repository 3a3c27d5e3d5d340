// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask watch`: runs the tests again when a file changes that they depend on.

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Result, bail};

use super::test::{self, Done};
use crate::changes::Changes;
use crate::cli::{MessageFormat, Test};
use crate::interrupt;
use crate::output::{errln, outln};
use crate::paths;
use crate::report::term::{self, Verbosity};
use crate::text::words::one_line;

/// Directories of the checkout that the results depend on. The lab itself is left out: the running program does not change.
const SOURCES: [&str; 6] =
    ["kernel-patches", "kernel-configs", "suites", "clients", "images", "oracle"];

/// Runs the tests, and then again after each change, until the user interrupts it.
///
/// # Errors
/// The files cannot be watched, or an option does not fit.
pub(super) fn run(args: &Test) -> Result<u8> {
    if args.bisect || args.dry_run || args.print_key {
        bail!("--bisect, --dry-run and --print-key are options of `cargo xtask test` only");
    }
    if args.records.message_format == MessageFormat::Json {
        bail!("`cargo xtask watch` prints a line for each run: omit --message-format json");
    }
    interrupt::install()?;
    let paths = paths_of(args);
    let changes = Changes::of(&paths)?;
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    let verbosity = if args.verbose { Verbosity::Verbose } else { Verbosity::Status };
    loop {
        match test::perform(args, verbosity) {
            Ok(Done::Ran(result)) => term::print_verdict(&clock(), &result),
            Ok(Done::Printed) => {}
            Err(_) if interrupt::requested() => {}
            // The next change may correct it.
            Err(error) => outln!("{}  error: {}", clock(), one_line(&format!("{error:#}"))),
        }
        errln!("waiting for a change in {}; Ctrl-C ends", names.join(", "));
        // Changes during the run are reported immediately.
        let Ok(path) = changes.wait() else {
            return Ok(0);
        };
        errln!("changed: {}", path.display());
    }
}

/// Returns everything that the results of a run depend on and that the user may edit.
fn paths_of(args: &Test) -> Vec<PathBuf> {
    let checkout = paths::checkout();
    let sources = SOURCES.iter().map(|dir| checkout.join(dir)).filter(|dir| dir.exists());
    let machine = &args.machine;
    let kernel = machine.kernel_src.iter().chain(&machine.kernel_image).chain(&machine.dtb);
    let of_user = kernel.chain(&machine.patch).cloned();
    // The value of --config is an option or a file.
    let configs = machine.config.iter().map(PathBuf::from).filter(|path| path.is_file());
    sources.chain(of_user).chain(configs).collect()
}

/// Returns the time of the day in UTC: `14:03:27`.
fn clock() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    now.split(['T', 'Z']).nth(1).unwrap_or_default().to_owned()
}

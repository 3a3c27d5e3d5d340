// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands whose output cannot be written: they never panic.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

/// Commands that print to standard output and need no guest.
const COMMANDS: [&[&str]; 9] = [
    &["--help"],
    &["--version"],
    &["test", "--help"],
    &["test", "--dry-run", "--suite", "smoke"],
    &["list"],
    &["list", "--json"],
    &["list", "--by-promise"],
    &["schema", "suite"],
    &["ci-matrix", "--format", "github"],
];

/// Runs the command with `stdout` as its standard output. Returns the exit code and standard error.
fn xtask(args: &[&str], stdout: impl Into<OwnedFd>) -> (Option<i32>, String) {
    let stdout = File::from(stdout.into());
    let command = duct::cmd(env!("CARGO_BIN_EXE_xtask"), args).stdout_file(stdout);
    let output = command.stderr_capture().unchecked().run().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Returns a socket that nobody reads. A write fails as with a pipe.
fn closed() -> UnixStream {
    let (_, writer) = UnixStream::pair().unwrap();
    writer
}

/// Returns a device that is full.
fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

#[test]
fn a_closed_pipe_is_no_failure() {
    for args in COMMANDS {
        assert_eq!(xtask(args, closed()), (Some(0), String::new()), "{args:?}");
    }
}

#[test]
fn a_full_device_is_an_error() {
    let message = "error: write to standard output: No space left on device (os error 28)\n";
    for args in COMMANDS {
        assert_eq!(xtask(args, full()), (Some(2), message.to_owned()), "{args:?}");
    }
}

#[test]
fn standard_error_may_be_closed_or_full() {
    let run = |stderr: OwnedFd| {
        let command = duct::cmd(env!("CARGO_BIN_EXE_xtask"), ["list", "--nonsense"]);
        let command = command.stdout_null().stderr_file(File::from(stderr)).unchecked();
        command.run().unwrap().status.code()
    };
    assert_eq!(run(closed().into()), Some(2));
    assert_eq!(run(full().into()), Some(2));
}

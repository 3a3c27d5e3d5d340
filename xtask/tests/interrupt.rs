// SPDX-License-Identifier: MIT OR Apache-2.0
//! Signals that ask the lab to stop. A signal affects the whole process, so each test that sends one runs in a process
//! of its own.

use nix::sys::signal::{Signal, raise};
use xtask::interrupt;

/// Runs an ignored test of this file in a process of its own, and returns the exit code.
fn alone(test: &str) -> Option<i32> {
    let args = ["--ignored", "--exact", test, "--test-threads=1"];
    let command = duct::cmd(std::env::current_exe().unwrap(), args);
    let command = command.stdout_capture().stderr_capture().unchecked();
    command.run().unwrap().status.code()
}

#[test]
#[ignore = "a part of the_first_signal_is_a_request"]
fn one_signal() {
    interrupt::install().unwrap();
    interrupt::install().unwrap();
    assert!(!interrupt::requested());
    raise(Signal::SIGTERM).unwrap();
    assert!(interrupt::requested());
}

#[test]
fn the_first_signal_is_a_request() {
    assert_eq!(alone("one_signal"), Some(0));
}

#[test]
#[ignore = "a part of the_second_signal_ends_the_process"]
fn two_signals() {
    interrupt::install().unwrap();
    raise(Signal::SIGINT).unwrap();
    raise(Signal::SIGHUP).unwrap();
}

#[test]
fn the_second_signal_ends_the_process() {
    assert_eq!(alone("two_signals"), Some(2));
}

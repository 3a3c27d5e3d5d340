// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask watch`.

use std::fs;
use std::io::{BufRead, BufReader};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::{ALL, Guest, Lab, SUITE, assert_code};

#[test]
fn tests_run_again_after_each_change() {
    let lab = Lab::new();
    lab.guest("1", Guest::up(3).pass(&ALL).goodbye(), "exit 0");
    let image = lab.path("bzImage");
    let args = ["watch", "--no-setup", "--accel", "tcg", "--kernel-image", image.to_str().unwrap()];
    let mut watch = lab.command(&args).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut errors = BufReader::new(watch.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut wait = || errors.find(|line| line.starts_with("waiting for a change")).unwrap();

    let first = lines.next().unwrap();
    assert!(
        first.contains("  passed in ") && first.ends_with(": 3 passed, 0 failed, 0 skipped"),
        "{first}"
    );
    wait();
    // A mistake does not end the command.
    let suite = lab.path("checkout/suites/smoke.yaml");
    fs::write(&suite, "suite: smoke\n").unwrap();
    let second = lines.next().unwrap();
    assert!(second.contains("  error: ") && second.contains("smoke.yaml"), "{second}");
    wait();
    lab.guest("1", Guest::up(3).pass(&["one", "two"]).goodbye(), "exit 0");
    fs::write(&suite, SUITE).unwrap();
    let third = lines.next().unwrap();
    assert!(third.ends_with(": 2 passed, 1 failed, 0 skipped; x86_64 smoke/three"), "{third}");
    wait();
    kill(Pid::from_raw(watch.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(watch.wait().unwrap().code(), Some(0));
    lab.assert_no_machine_left();
    assert_code(&lab.command(&["watch", "--dry-run"]).output().unwrap(), 2);
}

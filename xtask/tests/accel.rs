// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the lab concludes from how QEMU ends when it is asked to run the smallest of guests. Scripts play QEMU.

mod scripts;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use xtask::machine::accel::{Verdict, run_guest};

/// A program that does what `script` says.
fn qemu(script: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("qemu");
    scripts::write(&path, script);
    (dir, path)
}

fn verdict(script: &str, deadline: Duration) -> Verdict {
    let (_dir, path) = qemu(script);
    run_guest(path.to_str().unwrap(), "kvm", deadline).unwrap()
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn the_code_of_a_guest_that_ran_is_believed() {
    assert_eq!(verdict("exit 85", LONG), Ok(()));
}

#[test]
fn no_other_end_is() {
    let reason = verdict("exit 0", LONG).unwrap_err();
    insta::assert_snapshot!(reason, @"a guest under kvm ended with exit status: 0");
    let reason = verdict("echo some; echo 'kvm: no such thing' >&2; exit 1", LONG).unwrap_err();
    insta::assert_snapshot!(reason, @"a guest under kvm ended with exit status: 1: kvm: no such thing");
}

#[test]
fn a_guest_that_hangs_is_given_up() {
    let start = Instant::now();
    let reason = verdict("trap '' TERM; sleep 60", Duration::from_millis(300)).unwrap_err();
    insta::assert_snapshot!(reason, @"a guest under kvm hangs or crawls: 200 million instructions are not done after 300ms");
    assert!(start.elapsed() < LONG / 4);
}

#[test]
fn the_guest_gets_a_rom_and_the_accelerator() {
    let rom_size =
        "for last; do :; done; [ $(wc -c <\"$last\") = 65536 ] && [ $2 = kvm ] && exit 85";
    assert_eq!(verdict(rom_size, LONG), Ok(()));
}

#[test]
fn a_qemu_that_is_not_there_is_an_error() {
    let error = run_guest("no-such-qemu", "kvm", LONG).unwrap_err();
    insta::assert_snapshot!(
        format!("{error:#}"),
        @"look whether KVM works: xtask: cannot run `no-such-qemu`: No such file or directory (os error 2)"
    );
}

#[test]
#[ignore = "needs qemu-system-x86_64: cargo test -p xtask --test accel -- --ignored"]
fn the_rom_runs_under_tcg() {
    assert_eq!(
        run_guest("qemu-system-x86_64", "tcg", LONG).unwrap(),
        Ok(())
    );
}

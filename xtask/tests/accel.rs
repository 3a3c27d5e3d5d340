// SPDX-License-Identifier: MIT OR Apache-2.0
//! The KVM probe judges KVM by QEMU's exit. Shell scripts stand in for QEMU.

mod scripts;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use xtask::machine::accel::{KvmResult, run_guest};

/// Creates a program that runs `script`.
fn qemu(script: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("qemu");
    scripts::write(&path, script);
    (dir, path)
}

fn probe(script: &str, deadline: Duration) -> KvmResult {
    let (_dir, path) = qemu(script);
    run_guest(path.to_str().unwrap(), "kvm", deadline).unwrap()
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn the_exit_code_of_a_finished_guest_is_a_success() {
    assert_eq!(probe("exit 85", LONG), Ok(()));
}

#[test]
fn any_other_exit_is_a_failure() {
    let reason = probe("exit 0", LONG).unwrap_err();
    insta::assert_snapshot!(reason, @"QEMU ended before the probe guest finished (exit status: 0)");
    let reason = probe("echo some; echo 'kvm: no such thing' >&2; exit 1", LONG).unwrap_err();
    insta::assert_snapshot!(reason, @"QEMU ended before the probe guest finished (exit status: 1): kvm: no such thing");
}

#[test]
fn a_guest_that_hangs_is_stopped() {
    let start = Instant::now();
    let reason = probe("trap '' TERM; sleep 60", Duration::from_millis(300)).unwrap_err();
    insta::assert_snapshot!(reason, @"a probe guest did not finish within 0.3 s");
    assert!(start.elapsed() < LONG / 4);
}

#[test]
fn the_guest_gets_a_rom_and_the_accelerator() {
    let rom_size =
        "for last; do :; done; [ $(wc -c <\"$last\") = 65536 ] && [ $2 = kvm ] && exit 85";
    assert_eq!(probe(rom_size, LONG), Ok(()));
}

#[test]
fn a_missing_qemu_is_an_error() {
    let error = run_guest("no-such-qemu", "kvm", LONG).unwrap_err();
    insta::assert_snapshot!(
        format!("{error:#}"),
        @"test KVM: xtask: cannot run `no-such-qemu`: No such file or directory (os error 2)"
    );
}

#[test]
#[ignore = "needs qemu-system-x86_64: cargo test -p xtask --test accel -- --ignored"]
fn the_rom_runs_under_tcg() {
    assert_eq!(run_guest("qemu-system-x86_64", "tcg", LONG).unwrap(), Ok(()));
}

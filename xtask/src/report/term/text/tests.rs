// SPDX-License-Identifier: MIT OR Apache-2.0

use std::path::PathBuf;

use super::*;
use crate::report::samples;

const PLAIN: Paint = Paint { colour: false };

const RERUN: Rerun =
    Rerun { command: "cargo xtask test --flavour debug", name: "x86_64", options: "--arch x86_64" };

fn block(case: &CaseResult) -> String {
    let run_dir = PathBuf::from("target/lab/latest");
    let boot = case.boot.map(|boot| (run_dir.as_path(), boot));
    failure(case, RERUN, boot, 1, PLAIN)
}

fn end(run: &RunResult) -> String {
    summary(run, Some(Path::new("target/lab/2025-11-22T193300")), "", PLAIN)
}

#[test]
fn a_failure_has_log_console_files_and_command() {
    insta::assert_snapshot!(block(&samples::failed()), @"
    FAIL x86_64 smoke/redirect.fuse after 1.24 s in boot 1
      checks   smoke/redirect.fuse keeps its promise.
      reason   client 1 stored 0x5a at offset 4096
               the server read 0x00
      log      server: page 7 is mapped
               client 1: stored 0x5a
      console  [    1.214001] init: case 2/7 smoke/redirect.fuse
      files    target/lab/latest/x86_64/boot-1
      rerun    cargo xtask test --flavour debug --arch x86_64 --case smoke/redirect.fuse
    ");
}

#[test]
fn a_crash_shows_the_console() {
    insta::assert_snapshot!(block(&samples::crashed()), @"
    CRASH x86_64 coherency/ping-pong.fuse in boot 1
      checks   coherency/ping-pong.fuse keeps its promise.
      reason   [    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008
      console  [    2.310552] init: case 4/7 coherency/ping-pong.fuse
               [    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008
               [    2.514871] Oops: Oops: 0002 [#1] SMP
               [    2.519114] Kernel panic - not syncing: Fatal exception
      files    target/lab/latest/x86_64/boot-1
      rerun    cargo xtask test --flavour debug --arch x86_64 --case coherency/ping-pong.fuse
    ");
}

#[test]
fn a_timeout_names_the_phase() {
    insta::assert_snapshot!(block(&samples::timed_out()), @"
    TIMEOUT x86_64 coherency/seqlock.fuse after 1.24 s in boot 2
      checks   coherency/seqlock.fuse keeps its promise.
      reason   time limit exceeded in phase test: client waits in fuse_dmmap_req_wait
      log      client 2: waiting for turn 3
      files    target/lab/latest/x86_64/boot-2
      rerun    cargo xtask test --flavour debug --arch x86_64 --case coherency/seqlock.fuse
    ");
}

#[test]
fn a_case_that_never_ran_has_no_boot() {
    let reason = "interrupted before it ran".into();
    let case = samples::never_ran("drain/limit.fuse", Verdict::Infra { reason });
    insta::assert_snapshot!(block(&case), @"
    INFRA x86_64 drain/limit.fuse
      checks   drain/limit.fuse keeps its promise.
      reason   interrupted before it ran
      rerun    cargo xtask test --flavour debug --arch x86_64 --case drain/limit.fuse
    ");
}

#[test]
fn a_long_log_is_cut_at_its_start() {
    let mut case = samples::timed_out();
    case.log = (1..=33).map(|n| format!("line {n}")).collect();
    let text = block(&case);
    let log: Vec<&str> = text.lines().filter(|line| line.contains("line")).collect();
    insta::assert_snapshot!(log[..2].join("\n"), @"
    log      ... 3 earlier lines
             line 4
    ");
    assert_eq!(log.len(), 31);
    assert!(log[30].ends_with("line 33"));
}

#[test]
fn a_summary_of_cases_that_ran_more_than_once() {
    let summary = end(&samples::retried());
    let (_, lists) = summary.split_once("\nfailures:").unwrap();
    insta::assert_snapshot!(lists, @"
      fail      x86_64 smoke/redirect.fuse: client 1 stored 0x5a at offset 4096; the server read 0x00

    flaky:
      flaky     x86_64 coherency/ping-pong.fuse: failed in attempt 1 of 2: crash: [    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008

    finished in 2 min 11 s
    2 passed (1 flaky), 1 failed, 0 skipped
    ");
    let case = &samples::retried().targets[0].cases[1];
    let (number, attempt) = case.attempts_that_failed().nth(1).unwrap();
    let text = failure(&attempt, RERUN, None, number, PLAIN);
    insta::assert_snapshot!(text.lines().next().unwrap(), @"FAIL x86_64 smoke/redirect.fuse, attempt 2 after 1.24 s in boot 2");
}

#[test]
fn a_verdict_on_one_line() {
    let runs = [
        samples::mixed(),
        samples::retried(),
        samples::one_stack(),
        samples::untested(),
        samples::interrupted(),
    ];
    insta::assert_snapshot!(runs.map(|run| verdict_line(&run, PLAIN)).join("\n"), @"
    failed in 2 min 11 s: 3 passed, 5 failed, 1 skipped; x86_64 smoke/redirect.fuse, x86_64 coherency/ping-pong.fuse, x86_64 coherency/seqlock.fuse and 2 more
    failed in 2 min 11 s: 2 passed (1 flaky), 1 failed, 0 skipped; x86_64 smoke/redirect.fuse
    passed in 2 min 11 s: 1 passed, 0 failed, 0 skipped
    failed in 2 min 11 s: 0 passed, 2 failed, 0 skipped; x86_64 not tested: 0002-fuse-direct-mmap.patch does not apply: fs/fuse/dev.c, line 112
    interrupted after 2 min 11 s: 1 passed, 0 failed, 0 skipped, 3 not run
    ");
}

#[test]
fn a_summary_of_every_verdict() {
    insta::assert_snapshot!(end(&samples::mixed()), @"
    target  pass  fail  skip  crash  timeout  boot-fail  infra  kernel    accel
    x86_64     1     1     1      1        1          1      1  6.12.117  tcg
    arm64      2     -     -      -        -          -      -  6.12.117  kvm

    x86_64
      KVM off    a probe guest did not finish within 3 s
      time       1 min 48 s: setup 0.10 s, kernel 1 min 34 s, image 0.02 s, boot 2.40 s, test 11.8 s, shutdown 0.30 s
      boots      3
      skipped    1 case: no CUSE on this target
      files      target/lab/2025-11-22T193300/x86_64

    arm64
      time       1 min 48 s: setup 0.10 s, kernel 1 min 34 s, image 0.02 s, boot 2.40 s, test 11.8 s, shutdown 0.30 s
      files      target/lab/2025-11-22T193300/arm64

    failures:
      fail      x86_64 smoke/redirect.fuse: client 1 stored 0x5a at offset 4096; the server read 0x00
      crash     x86_64 coherency/ping-pong.fuse: [    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008
      timeout   x86_64 coherency/seqlock.fuse: time limit exceeded in phase test: client waits in fuse_dmmap_req_wait
      infra     x86_64 drain/limit.cuse: a record of this case did not arrive whole: truncated
      boot-fail x86_64 drain/exit.fuse: no first record from the guest: the kernel crashed: No working init found.

    finished in 2 min 11 s
    3 passed, 5 failed, 1 skipped
    ");
}

#[test]
fn a_summary_of_an_interrupted_run() {
    insta::assert_snapshot!(end(&samples::interrupted()), @"
    target  pass  fail  skip  crash  timeout  boot-fail  infra  kernel    accel
    x86_64     1     -     -      -        -          -      -  6.12.117  tcg

    x86_64
      KVM off    a probe guest did not finish within 3 s
      time       1 min 48 s: setup 0.10 s, kernel 1 min 34 s, image 0.02 s, boot 2.40 s, test 11.8 s, shutdown 0.30 s
      not run    3 cases: interrupted before it ran
      files      target/lab/2025-11-22T193300/x86_64

    interrupted after 2 min 11 s
    1 passed, 0 failed, 0 skipped, 3 not run
    ");
}

#[test]
fn a_summary_of_a_target_that_could_not_be_tested() {
    insta::assert_snapshot!(end(&samples::untested()), @"
    target  pass  fail  skip  crash  timeout  boot-fail  infra  kernel  accel
    x86_64     -     -     -      -        -          -      2  6.12    -

    x86_64
      not tested 0002-fuse-direct-mmap.patch does not apply: fs/fuse/dev.c, line 112
      time       2.60 s: setup 0.10 s, kernel 2.50 s
      files      target/lab/2025-11-22T193300/x86_64

    failures:
      infra     x86_64 smoke/boot and 1 more: not tested

    finished in 2 min 11 s
    0 passed, 2 failed, 0 skipped
    ");
}

#[test]
fn a_summary_of_a_run_without_cases() {
    insta::assert_snapshot!(end(&samples::empty()), @"
    target  pass  fail  skip  crash  timeout  boot-fail  infra  kernel    accel
    x86_64     -     -     -      -        -          -      -  6.12.117  tcg

    x86_64
      not tested no cases to run
      KVM off    a probe guest did not finish within 3 s
      time       1 min 48 s: setup 0.10 s, kernel 1 min 34 s, image 0.02 s, boot 2.40 s, test 11.8 s, shutdown 0.30 s
      files      target/lab/2025-11-22T193300/x86_64

    finished in 2 min 11 s
    0 passed, 1 failed, 0 skipped
    ");
}

#[test]
fn the_last_line_has_only_the_counts() {
    for run in [samples::mixed(), samples::interrupted(), samples::untested(), samples::empty()] {
        let text = end(&run);
        let last = text.lines().last().unwrap();
        assert_eq!(last, Counts::of_run(&run).line());
        assert!(text.ends_with('\n'));
    }
}

#[test]
fn colours_are_used_only_if_enabled() {
    let colour = Paint { colour: true };
    let run = samples::mixed();
    let coloured = summary(&run, None, "", colour);
    let counts = "\x1b[31m\x1b[1m3 passed, 5 failed, 1 skipped\x1b[0m\n";
    assert!(coloured.ends_with(counts), "{coloured:?}");
    let plain = summary(&run, None, "", PLAIN);
    assert!(!plain.contains('\x1b'));
    assert_eq!(console::strip_ansi_codes(&coloured), plain);
    let crash = samples::crashed();
    insta::assert_snapshot!(case_line(&crash, colour).escape_debug(), @r"\u{1b}[31m\u{1b}[1mcrash\u{1b}[0m coherency/ping-pong.fuse: [    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008");
    assert!(!block(&samples::failed()).contains('\x1b'));
}

#[test]
fn a_line_for_each_kind_of_progress() {
    insta::assert_snapshot!(progress(412, Some(1030), "CC fs/fuse/dmmap.o"), @"412 of 1030: CC fs/fuse/dmmap.o");
    insta::assert_snapshot!(progress(412, None, "CC fs/fuse/dmmap.o"), @"412: CC fs/fuse/dmmap.o");
    insta::assert_snapshot!(progress(0, None, "waiting for another build"), @"waiting for another build");
    insta::assert_snapshot!(case_of("smoke/boot", 1, 21, ""), @"case 1 of 21: smoke/boot");
    insta::assert_snapshot!(case_of("smoke/redirect.fuse", 3, 21, "2 passed"), @"case 3 of 21 (2 passed): smoke/redirect.fuse");
    insta::assert_snapshot!(case_line(&samples::pass("smoke/boot"), PLAIN), @"pass smoke/boot (1.24 s)");
    insta::assert_snapshot!(case_line(&samples::skipped(), PLAIN), @"skip smoke/redirect.cuse: no CUSE on this target");
}

#[test]
fn a_line_for_each_curve() {
    let lines: Vec<String> = curves(&samples::grown()).collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    touch at 100 to 10000 mappings: n^1.00, at most 1.5 times a memfd
    FREE at 100 to 10000 mappings: n^2.00, at most 50.0 times a memfd
    ");
}

#[test]
fn oracle_findings_are_listed_with_the_case() {
    insta::assert_snapshot!(block(&samples::stale()), @"
    FAIL x86_64 coherency/ping-pong.fuse after 1.24 s in boot 1
      checks   coherency/ping-pong.fuse keeps its promise.
      reason   may be stale on hardware: a finding of the oracle
      oracle   armv6/coherency/ping-pong.fuse/1 (once): dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache
               armv6/coherency/ping-pong.fuse/2 (once): dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache
      files    target/lab/latest/x86_64/boot-1
      rerun    cargo xtask test --flavour debug --arch x86_64 --case coherency/ping-pong.fuse
    ");
}

#[test]
fn a_summary_has_a_row_about_the_oracle() {
    let mut run = samples::watched();
    insta::assert_snapshot!(end(&run), @"

    target  pass  fail  skip  crash  timeout  boot-fail  infra  kernel    accel
    armv6      1     1     -      -        -          -      -  6.12.117  tcg

    armv6
      oracle     depth user; 2 cases watched; findings: 2
      excused    time-page, 1 case: A process may read a time that is slightly old.
      unused     spliced-page, in oracle/excused.yaml, excused nothing, although the oracle watched cases that need it
      time       1 min 48 s: setup 0.10 s, kernel 1 min 34 s, image 0.02 s, boot 2.40 s, test 11.8 s, shutdown 0.30 s
      files      target/lab/2025-11-22T193300/armv6

    failures:
      fail      armv6 coherency/ping-pong.fuse: may be stale on hardware: a finding of the oracle

    finished in 2 min 11 s
    1 passed, 1 failed, 0 skipped
    ");
    run.targets[0].cases.truncate(1);
    run.targets[0].cases[0].oracle = None;
    let text = end(&run);
    let row = text.lines().find(|line| line.contains("oracle"));
    insta::assert_snapshot!(row.unwrap(), @"  oracle     depth user; no case was watched to its end");
    let ran = &mut run.targets[0].provenance;
    ran.oracle = crate::results::OracleState::Off.into();
    ran.oracle_reason = Some("QEMU 7.2.22 is too old for it".into());
    let text = end(&run);
    let row = text.lines().find(|line| line.contains("oracle off"));
    insta::assert_snapshot!(row.unwrap(), @"  oracle off QEMU 7.2.22 is too old for it");
}

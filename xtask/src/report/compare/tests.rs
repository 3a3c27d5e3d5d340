// SPDX-License-Identifier: MIT OR Apache-2.0

use super::*;
use crate::report::samples;
use crate::results::Accelerator;

/// Returns a run of one target with these cases.
fn run(cases: Vec<CaseResult>) -> RunResult {
    let mut run = samples::watched();
    run.targets[0].cases = cases;
    run
}

fn compared(old: Vec<CaseResult>, new: Vec<CaseResult>) -> Comparison {
    compare(&run(old), &run(new))
}

fn timed(millis: u64) -> CaseResult {
    CaseResult { millis: Some(millis), ..samples::pass("smoke/boot") }
}

fn with_id(id: &str, case: CaseResult) -> CaseResult {
    CaseResult { id: id.into(), ..case }
}

#[test]
fn every_kind_of_difference() {
    let mut old = run(vec![
        samples::pass("smoke/redirect.fuse"),
        with_id("a/fixed", samples::failed()),
        with_id("a/worse", samples::failed()),
        with_id("a/skipped", samples::pass("a/skipped")),
        timed(800),
        with_id("a/gone", samples::failed()),
    ]);
    let new = run(vec![
        samples::failed(),
        samples::pass("a/fixed"),
        with_id("a/worse", samples::crashed()),
        with_id("a/skipped", samples::skipped()),
        timed(2400),
        with_id("a/new", samples::failed()),
    ]);
    old.targets[0].provenance.kernel_hash = "0011223344556677".into();
    old.targets.push(samples::mixed().targets.remove(1));
    let comparison = compare(&old, &new);
    assert!(comparison.is_regression());
    insta::assert_snapshot!(render(&comparison), @"
    armv6: 5 cases compared, 1 case only in the old run, 1 case only in the new run
      kernel-hash 001122334455 -> 4f1c
      broke       smoke/redirect.fuse: pass -> fail: client 1 stored 0x5a at offset 4096; the server read 0x00
      fixed       a/fixed: fail -> pass
      changed     a/worse: fail -> crash: [    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008
      changed     a/skipped: pass -> skip: no CUSE on this target
      slower      smoke/boot: 0.80 s -> 2.40 s (3.0 times)

    only in the old run: arm64
    1 broke, 1 fixed, 2 changed otherwise, 1 slower
    ");
    insta::assert_snapshot!(since("2026-11-30T021500", &comparison), @"
    since 2026-11-30T021500: 1 broke, 1 fixed, 2 changed otherwise, 1 slower
      broke       armv6 smoke/redirect.fuse: pass -> fail: client 1 stored 0x5a at offset 4096; the server read 0x00
      fixed       armv6 a/fixed: fail -> pass
      changed     armv6 a/worse: fail -> crash: [    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008
      changed     armv6 a/skipped: pass -> skip: no CUSE on this target
      slower      armv6 smoke/boot: 0.80 s -> 2.40 s (3.0 times)
    ");
}

#[test]
fn runs_with_the_same_results_do_not_differ() {
    let comparison = compare(&samples::mixed(), &samples::mixed());
    assert!(!comparison.is_regression());
    insta::assert_snapshot!(render(&comparison), @"
    x86_64: 7 cases compared

    arm64: 2 cases compared

    no difference in 9 cases
    ");
}

#[test]
fn findings_are_the_same_if_kind_and_functions_are() {
    let stale = || {
        let mut case = samples::stale();
        let oracle = case.oracle.as_mut().unwrap();
        oracle.findings.truncate(1);
        oracle.distinct = 1;
        case
    };
    let by = |function: &str| {
        let mut case = stale();
        let finding = &mut case.oracle.as_mut().unwrap().findings[0];
        finding.later = function.into();
        finding.number = 7;
        case
    };
    assert!(!compared(vec![stale()], vec![stale()]).is_regression());
    let comparison = compared(vec![by("lo_read")], vec![by("lo_write")]);
    assert!(comparison.is_regression());
    let only_gone = compared(vec![samples::stale()], vec![samples::pass(&stale().id)]);
    assert!(!only_gone.is_regression());
    // The results have only some of these findings, so the missing one may be the other.
    let mut some = by("lo_write");
    some.oracle.as_mut().unwrap().distinct = 2;
    assert!(compared(vec![stale()], vec![some]).targets[0].new_findings.is_empty());
    insta::assert_snapshot!(render(&comparison), @"
    armv6: 1 case compared
      new finding armv6/coherency/ping-pong.fuse/1: dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache
      no finding  armv6/coherency/ping-pong.fuse/1: dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache

    1 new finding, 1 finding gone
    ");
}

#[test]
fn short_or_slightly_longer_times_are_noise() {
    let slower =
        |before, now| compared(vec![timed(before)], vec![timed(now)]).targets[0].slower.len();
    assert_eq!(slower(100, 900), 0, "less than a second more");
    assert_eq!(slower(10_000, 14_000), 0, "less than 1.5 times");
    assert_eq!(slower(2000, 3000), 1);
    let mut fast = run(vec![timed(1000)]);
    fast.targets[0].provenance.accel = Accelerator::Kvm.into();
    assert!(compare(&fast, &run(vec![timed(9000)])).targets[0].slower.is_empty());
}

#[test]
fn a_case_that_did_not_run_is_not_compared() {
    let not_run = || samples::never_ran("smoke/boot", Verdict::not_run("interrupted"));
    for (old, new) in [(not_run(), samples::failed()), (samples::failed(), not_run())] {
        let (old, new) = (with_id("smoke/boot", old), with_id("smoke/boot", new));
        assert_eq!(compared(vec![old], vec![new]).targets[0].compared, 0);
    }
}

#[test]
fn a_target_that_cannot_be_tested_any_more_is_a_regression() {
    let (old, new) = (samples::one_stack(), samples::untested());
    assert!(compare(&old, &new).is_regression());
    assert!(!compare(&new, &old).is_regression());
    insta::assert_snapshot!(since("2026-11-30T021500", &compare(&old, &new)), @"
    since 2026-11-30T021500: 1 not tested
      not tested  x86_64 0002-fuse-direct-mmap.patch does not apply: fs/fuse/dev.c, line 112; take it out of kernel-patches/6.12/series or make it fit
    ");
}

#[test]
fn the_end_of_a_run_shows_the_first_differences() {
    let cases = |case: fn() -> CaseResult| -> Vec<CaseResult> {
        (0..13).map(|n| with_id(&format!("a/{n}"), case())).collect()
    };
    let comparison = compared(cases(|| samples::pass("x")), cases(samples::failed));
    let text = since("2026-11-30T021500", &comparison);
    assert_eq!(text.lines().count(), 12);
    insta::assert_snapshot!(text.lines().last().unwrap(), @"  and 3 more; `cargo xtask compare 2026-11-30T021500` shows them");
}

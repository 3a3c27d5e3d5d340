// SPDX-License-Identifier: MIT OR Apache-2.0

use super::*;
use crate::report::samples;
use crate::results::RunResult;

const TARGET: &str = "x86_64";

/// Returns the events of a run. `None` stands for three seconds in which nothing happens.
fn events(run: &RunResult) -> Vec<Option<Event>> {
    let on_target = |event| Some(Event::Target { target: TARGET.to_owned(), event });
    let cases = &run.targets[0].cases;
    let of = cases.len();
    let phase =
        |phase, detail: &str| on_target(TargetEvent::Phase { phase, detail: detail.into() });
    let progress = |done, what: &str| {
        on_target(TargetEvent::Progress { done, of: Some(1030), what: what.into() })
    };
    let mut events = vec![
        Some(Event::RunStart {
            run_dir: "target/lab/latest".into(),
            targets: vec![TARGET.to_owned()],
            cases: of,
        }),
        on_target(TargetEvent::Start { options: "--arch x86_64".into() }),
        phase(Phase::Kernel, "building 6.12.117 (default)"),
        progress(1, "CC init/main.o"),
        None,
        progress(100, "CC mm/shmem.o"),
        None,
        None,
        None,
        progress(400, "CC fs/fuse/dmmap.o"),
        phase(Phase::Boot, ""),
        phase(Phase::Test, "6.12.117"),
        on_target(TargetEvent::Note(
            "the guest read 6 cases from a plan of 7\nsecond line of the note".into(),
        )),
    ];
    for (at, case) in cases.iter().enumerate() {
        if case.boot.is_some() {
            let (case, index) = (case.id.clone(), at + 1);
            events.push(on_target(TargetEvent::CaseStart { case, index, of }));
        }
        events.push(None);
        for (number, attempt) in case.attempts_that_failed() {
            let result = Box::new(attempt);
            events.push(on_target(TargetEvent::AttemptEnd { number, result }));
        }
        events.push(on_target(TargetEvent::CaseEnd(Box::new(case.clone()))));
    }
    events.push(on_target(TargetEvent::End(Box::new(run.targets[0].clone()))));
    events
}

/// Returns everything that is printed of a run except the summary, which has tests of its own.
fn printed(run: &RunResult, verbosity: Verbosity, live: bool) -> String {
    let options = TermOptions::new(verbosity, "cargo xtask test");
    let mut view = View::new(options, live, Paint { colour: false });
    let mut now = Duration::ZERO;
    let mut out = String::new();
    for event in events(run) {
        match event {
            Some(event) => out += &view.handle(&event, now),
            None => now += Duration::from_secs(3),
        }
    }
    out
}

#[test]
fn nothing_is_printed_beside_the_status_lines() {
    for run in [samples::mixed(), samples::untested(), samples::retried()] {
        assert_eq!(printed(&run, Verbosity::Status, true), "");
    }
}

#[test]
fn failed_attempts_are_printed_when_they_end() {
    let text = printed(&samples::retried(), Verbosity::Normal, true);
    let lines = text.lines().filter(|line| !line.starts_with(' ') && !line.is_empty());
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @"
    3 cases on x86_64; results in target/lab/latest
    x86_64: the guest read 6 cases from a plan of 7
    FAIL x86_64 smoke/redirect.fuse after 1.24 s in boot 1
    FAIL x86_64 smoke/redirect.fuse, attempt 2 after 1.24 s in boot 2
    x86_64: fail smoke/redirect.fuse: failed in each of 2 attempts
    CRASH x86_64 coherency/ping-pong.fuse in boot 1
    x86_64: flaky coherency/ping-pong.fuse: failed in attempt 1 of 2
    ");
}

#[test]
fn a_normal_log_has_progress_suites_and_failures() {
    insta::assert_snapshot!(printed(&samples::mixed(), Verbosity::Normal, false), @"
    7 cases on x86_64; results in target/lab/latest
    [ 0:00] x86_64: kernel: building 6.12.117 (default)
    [ 0:12] x86_64: 400 of 1030: CC fs/fuse/dmmap.o
    [ 0:12] x86_64: boot
    [ 0:12] x86_64: test: 6.12.117
    [ 0:12] x86_64: the guest read 6 cases from a plan of 7
        second line of the note
    FAIL x86_64 smoke/redirect.fuse after 1.24 s in boot 1
      checks   smoke/redirect.fuse keeps its promise.
      reason   client 1 stored 0x5a at offset 4096
               the server read 0x00
      log      server: page 7 is mapped
               client 1: stored 0x5a
      console  [    1.214001] init: case 2/7 smoke/redirect.fuse
      files    target/lab/latest/x86_64/boot-1
      rerun    cargo xtask test --arch x86_64 --case smoke/redirect.fuse

    [ 0:24] x86_64: smoke: 1 passed, 1 failed (9.00 s)
    CRASH x86_64 coherency/ping-pong.fuse in boot 1
      checks   coherency/ping-pong.fuse keeps its promise.
      reason   [    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008
      console  [    2.310552] init: case 4/7 coherency/ping-pong.fuse
               [    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008
               [    2.514871] Oops: Oops: 0002 [#1] SMP
               [    2.519114] Kernel panic - not syncing: Fatal exception
      files    target/lab/latest/x86_64/boot-1
      rerun    cargo xtask test --arch x86_64 --case coherency/ping-pong.fuse

    TIMEOUT x86_64 coherency/seqlock.fuse after 1.24 s in boot 2
      checks   coherency/seqlock.fuse keeps its promise.
      reason   time limit exceeded in phase test: client waits in fuse_dmmap_req_wait
      log      client 2: waiting for turn 3
      files    target/lab/latest/x86_64/boot-2
      rerun    cargo xtask test --arch x86_64 --case coherency/seqlock.fuse

    [ 0:30] x86_64: coherency: 2 failed (6.00 s)
    INFRA x86_64 drain/limit.cuse after 1.24 s in boot 2
      checks   drain/limit.cuse keeps its promise.
      reason   a record of this case did not arrive whole: truncated
      files    target/lab/latest/x86_64/boot-2
      rerun    cargo xtask test --arch x86_64 --case drain/limit.cuse

    BOOT-FAIL x86_64 drain/exit.fuse
      checks   drain/exit.fuse keeps its promise.
      reason   no first record from the guest: the kernel crashed: No working init found.
      rerun    cargo xtask test --arch x86_64 --case drain/exit.fuse

    [ 0:33] x86_64: drain: 2 failed (3.00 s)
    ");
}

#[test]
fn a_verbose_log_has_a_line_for_each_case() {
    let all = printed(&samples::mixed(), Verbosity::Verbose, false);
    let lines: Vec<&str> =
        all.lines().filter(|line| line.contains(" pass ") || line.contains(" skip ")).collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    [ 0:15] x86_64: pass smoke/boot (1.24 s)
    [ 0:21] x86_64: skip smoke/redirect.cuse: no CUSE on this target
    ");
}

#[test]
fn a_quiet_log_has_only_failures_and_notes() {
    let mut run = samples::mixed();
    run.targets[0].cases.truncate(2);
    insta::assert_snapshot!(printed(&run, Verbosity::Quiet, false), @"
    [ 0:12] x86_64: the guest read 6 cases from a plan of 7
        second line of the note
    FAIL x86_64 smoke/redirect.fuse after 1.24 s in boot 1
      checks   smoke/redirect.fuse keeps its promise.
      reason   client 1 stored 0x5a at offset 4096
               the server read 0x00
      log      server: page 7 is mapped
               client 1: stored 0x5a
      console  [    1.214001] init: case 2/7 smoke/redirect.fuse
      files    target/lab/latest/x86_64/boot-1
      rerun    cargo xtask test --arch x86_64 --case smoke/redirect.fuse
    ");
}

#[test]
fn with_status_lines_only_notes_and_failures_are_printed() {
    let mut run = samples::mixed();
    run.targets[0].cases.truncate(2);
    insta::assert_snapshot!(printed(&run, Verbosity::Normal, true), @"
    2 cases on x86_64; results in target/lab/latest
    x86_64: the guest read 6 cases from a plan of 7
        second line of the note
    FAIL x86_64 smoke/redirect.fuse after 1.24 s in boot 1
      checks   smoke/redirect.fuse keeps its promise.
      reason   client 1 stored 0x5a at offset 4096
               the server read 0x00
      log      server: page 7 is mapped
               client 1: stored 0x5a
      console  [    1.214001] init: case 2/7 smoke/redirect.fuse
      files    target/lab/latest/x86_64/boot-1
      rerun    cargo xtask test --arch x86_64 --case smoke/redirect.fuse
    ");
}

#[test]
fn cases_that_never_ran_for_one_reason_are_printed_once() {
    insta::assert_snapshot!(printed(&samples::untested(), Verbosity::Quiet, false), @"
    [ 0:12] x86_64: the guest read 6 cases from a plan of 7
        second line of the note
    INFRA x86_64 smoke/boot
      checks   smoke/boot keeps its promise.
      reason   0002-fuse-direct-mmap.patch does not apply: fs/fuse/dev.c, line 112
               take it out of kernel-patches/6.12/series or make it fit
      rerun    cargo xtask test --arch x86_64 --case smoke/boot

    [ 0:18] x86_64: infra: 1 more case, same reason
    ");
}

#[test]
fn cases_that_were_not_run_are_no_failures() {
    insta::assert_snapshot!(printed(&samples::interrupted(), Verbosity::Quiet, false), @"
    [ 0:12] x86_64: the guest read 6 cases from a plan of 7
        second line of the note
    ");
}

#[test]
fn repeats_are_counted_when_another_reason_follows() {
    let mut run = samples::untested();
    run.targets[0].cases.push(samples::failed());
    let text = printed(&run, Verbosity::Quiet, false);
    let lines = text.lines();
    let lines: Vec<&str> = lines.filter(|line| line.contains("x86_64")).collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    [ 0:12] x86_64: the guest read 6 cases from a plan of 7
    INFRA x86_64 smoke/boot
      rerun    cargo xtask test --arch x86_64 --case smoke/boot
    [ 0:21] x86_64: infra: 1 more case, same reason
    FAIL x86_64 smoke/redirect.fuse after 1.24 s in boot 1
      files    target/lab/latest/x86_64/boot-1
      rerun    cargo xtask test --arch x86_64 --case smoke/redirect.fuse
    [ 0:21] x86_64: not tested: 0002-fuse-direct-mmap.patch does not apply: fs/fuse/dev.c, line 112
    ");
}

#[test]
fn a_failure_of_the_target_that_no_case_has_shown_is_printed() {
    let mut run = samples::untested();
    run.targets[0].cases.clear();
    insta::assert_snapshot!(printed(&run, Verbosity::Quiet, false), @"
    [ 0:12] x86_64: the guest read 6 cases from a plan of 7
        second line of the note
    [ 0:12] x86_64: not tested: 0002-fuse-direct-mmap.patch does not apply: fs/fuse/dev.c, line 112
        take it out of kernel-patches/6.12/series or make it fit
    ");
}

#[test]
fn a_run_without_cases_prints_its_start() {
    let text = printed(&samples::empty(), Verbosity::Normal, false);
    assert!(text.starts_with("0 cases on x86_64; "), "{text}");
}

#[test]
fn the_status_line_follows_the_run() {
    let options = TermOptions::new(Verbosity::Normal, "cargo xtask test");
    let mut view = View::new(options, true, Paint { colour: false });
    let mut lines = vec![view.status_line(TARGET)];
    for event in events(&samples::mixed()).into_iter().flatten().take(18) {
        view.handle(&event, Duration::ZERO);
        lines.push(view.status_line(TARGET));
    }
    lines.dedup();
    insta::assert_snapshot!(lines.join("\n"), @"
    x86_64
    x86_64  kernel    building 6.12.117 (default)
    x86_64  kernel    1 of 1030: CC init/main.o
    x86_64  kernel    100 of 1030: CC mm/shmem.o
    x86_64  kernel    400 of 1030: CC fs/fuse/dmmap.o
    x86_64  boot
    x86_64  test      6.12.117
    x86_64  test      case 1 of 7: smoke/boot
    x86_64  test      case 2 of 7 (1 passed): smoke/redirect.fuse
    x86_64  test      case 4 of 7 (1 passed, 1 failed, 1 skipped): coherency/ping-pong.fuse
    x86_64  test      case 5 of 7 (1 passed, 2 failed, 1 skipped): coherency/seqlock.fuse
    ");
}

#[test]
fn status_lines_of_several_targets_are_aligned() {
    let options = TermOptions::new(Verbosity::Normal, "cargo xtask test");
    let mut view = View::new(options, true, Paint { colour: false });
    for (target, phase) in [("arm64", Phase::Kernel), ("x86_64", Phase::Test)] {
        let (target, detail) = (target.to_owned(), "something".into());
        let event = TargetEvent::Phase { phase, detail };
        view.handle(&Event::Target { target, event }, Duration::ZERO);
    }
    let lines = [view.status_line("arm64"), view.status_line("x86_64")];
    insta::assert_snapshot!(lines.join("\n"), @"
    arm64   kernel    something
    x86_64  test      something
    ");
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cases that run more than once, and runs that stop early.

use protocol::record::Outcome;

use crate::world::{ALL, Guest, Lab, QUICK, assert_code, text};

fn wrong() -> Outcome {
    Outcome::Fail { reason: "it did not hold".into() }
}

/// Returns `CASE VERDICT ATTEMPTS [FAILED ATTEMPTS]` for each case of the newest run.
fn attempts(lab: &Lab) -> Vec<String> {
    let results = lab.results();
    let cases = results.targets.iter().flat_map(|target| &target.cases);
    let line = |case: &xtask::results::CaseResult| {
        let failed: Vec<usize> = case.failed_attempts.iter().map(|a| a.number).collect();
        let flaky = if case.flaky { " flaky" } else { "" };
        format!("{} {} {} {failed:?}{flaky}", case.id, case.verdict.word(), case.attempts)
    };
    cases.map(line).collect()
}

#[test]
fn a_failed_case_is_retried_in_a_new_boot() {
    let lab = Lab::new();
    let mut first = Guest::up(3);
    first.pass(&["one"]).start("two").end("two", wrong()).pass(&["three"]).goodbye();
    lab.guest("1", &first, "exit 0");
    lab.guest("2", Guest::up(1).pass(&["two#2"]).goodbye(), "exit 0");
    let output = lab.test(&["--retries", "2"]);
    assert_code(&output, 0);
    assert_eq!(
        attempts(&lab),
        ["smoke/one pass 1 []", "smoke/two pass 2 [1] flaky", "smoke/three pass 1 []"]
    );
    let printed = text(&output);
    assert!(printed.contains("flaky smoke/two: failed in attempt 1 of 2"), "{printed}");
    assert!(printed.ends_with("3 passed (1 flaky), 0 failed, 0 skipped\n"), "{printed}");
    let junit = std::fs::read_to_string(lab.path("checkout/target/lab/latest/junit.xml")).unwrap();
    assert!(junit.contains("<flakyFailure"), "{junit}");

    let output = lab.test(&["--retries", "2", "--strict"]);
    assert_code(&output, 1);
    assert_eq!(attempts(&lab)[1], "smoke/two fail 2 [1] flaky");
}

#[test]
fn a_case_that_crashes_the_kernel_is_retried_with_the_rest() {
    let lab = Lab::new();
    let mut first = Guest::up(3);
    first.pass(&["one"]).start("two");
    first.print("[    2.0] Kernel panic - not syncing: sysrq triggered crash");
    lab.guest("1", &first, "exec sleep 600");
    lab.guest("2", Guest::up(2).pass(&["two#2", "three"]).goodbye(), "exit 0");
    assert_code(&lab.test(&["--retries", "1"]), 0);
    assert_eq!(
        attempts(&lab),
        ["smoke/one pass 1 []", "smoke/two pass 2 [1] flaky", "smoke/three pass 1 []"]
    );
}

#[test]
fn cases_repeat_in_one_boot() {
    let lab = Lab::new();
    let mut guest = Guest::up(6);
    guest.pass(&["one", "two", "one#2"]).start("two#2").end("two#2", wrong());
    guest.pass(&["one#3", "two#3"]).goodbye();
    lab.guest("1", &guest, "exit 0");
    assert_code(&lab.test(&["--repeat", "3", "--not", "three"]), 1);
    assert_eq!(attempts(&lab), ["smoke/one pass 3 []", "smoke/two fail 3 [2]"]);
    assert_eq!(lab.results().targets[0].boots, 1);
}

#[test]
fn a_case_that_the_guest_skips_has_one_attempt() {
    let skip = || Outcome::Skip { reason: "the kernel has no io_uring".into() };
    let lab = Lab::new();
    let mut guest = Guest::up(4);
    guest.start("one").end("one", skip()).pass(&["two"]);
    guest.start("one#2").end("one#2", skip()).pass(&["two#2"]).goodbye();
    lab.guest("1", &guest, "exit 0");
    assert_code(&lab.test(&["--repeat", "2", "--not", "three"]), 0);
    assert_eq!(attempts(&lab), ["smoke/one skip 1 []", "smoke/two pass 2 []"]);
}

#[test]
fn cases_repeat_in_a_new_boot_each_time() {
    let lab = Lab::new();
    lab.guest("1", Guest::up(3).pass(&ALL).goodbye(), "exit 0");
    lab.guest("2", Guest::up(3).pass(&["one#2", "two#2", "three#2"]).goodbye(), "exit 0");
    assert_code(&lab.test(&["--repeat", "2", "--fresh-boot"]), 0);
    assert_eq!(attempts(&lab)[2], "smoke/three pass 2 []");
    assert_eq!(lab.results().targets[0].boots, 2);
}

#[test]
fn a_repetition_that_does_not_boot_is_a_failed_attempt() {
    let lab = Lab::new();
    lab.guest("1", Guest::up(1).pass(&["one"]).goodbye(), "exit 0");
    let mut dead = Guest::default();
    dead.print("[    1.0] Kernel panic - not syncing: No working init found.");
    lab.guest("2", &dead, "exit 0");
    lab.guest("3", Guest::up(1).pass(&["one#3"]).goodbye(), "exit 0");
    let output = lab.test(&["--repeat", "3", "--fresh-boot", "--case", "smoke/one"]);
    assert_code(&output, 2);
    assert_eq!(attempts(&lab), ["smoke/one boot-fail 3 [2]"]);
}

#[test]
fn repetition_without_a_limit_ends_with_the_first_failure() {
    let lab = Lab::new();
    let mut guest = Guest::up(1000);
    guest.pass(&["one", "one#2"]).start("one#3").end("one#3", wrong()).start("one#4");
    lab.guest("1", &guest, "exec sleep 600");
    let output = lab.test(&["--until-fail", "--case", "smoke/one"]);
    assert_code(&output, 1);
    assert_eq!(attempts(&lab), ["smoke/one fail 3 [3]"]);
    lab.assert_no_machine_left();
}

#[test]
fn a_run_stops_after_its_limit_of_failures() {
    let lab = Lab::new();
    let mut guest = Guest::up(3);
    guest.start("one").end("one", wrong()).start("two");
    lab.guest("1", &guest, "exec sleep 600");
    let output = lab.test(&["--fail-fast"]);
    assert_code(&output, 1);
    assert_eq!(lab.verdicts(), ["smoke/one fail", "smoke/two not-run", "smoke/three not-run"]);
    let printed = text(&output);
    assert!(printed.contains("2 cases: stopped because a case failed"), "{printed}");
    assert!(printed.ends_with("0 passed, 1 failed, 0 skipped, 2 not run\n"), "{printed}");
    lab.assert_no_machine_left();
}

#[test]
fn a_target_stops_after_consecutive_timeouts() {
    let lab = Lab::new();
    lab.guest("1", Guest::up(3).start("one"), "exec sleep 600");
    lab.guest("2", Guest::up(2).start("two"), "exec sleep 600");
    let output = lab.test(&[&QUICK[..], &["--max-timeouts", "2"]].concat());
    assert_code(&output, 1);
    assert_eq!(lab.verdicts(), ["smoke/one timeout", "smoke/two timeout", "smoke/three not-run"]);
    let printed = text(&output);
    assert!(printed.contains("1 case: stopped because 2 cases in a row timed out"), "{printed}");
}

#[test]
fn options_that_contradict_each_other_are_rejected() {
    let lab = Lab::new();
    let mistakes: [&[&str]; 6] = [
        &["--repeat", "2", "--retries", "2"],
        &["--until-fail", "--retries", "2"],
        &["--fresh-boot"],
        &["--strict"],
        &["--fail-fast", "--max-fail", "2"],
        &["--repeat", "0"],
    ];
    for args in mistakes {
        assert_code(&lab.test(args), 2);
    }
}

#[test]
fn what_failed_runs_again_with_the_same_options() {
    let lab = Lab::new();
    let nothing = lab.command(&["test", "--failed"]).output().unwrap();
    assert_code(&nothing, 2);
    assert!(text(&nothing).contains("--failed needs the results of a run"), "{}", text(&nothing));

    let mut guest = Guest::up(3);
    guest.pass(&["one"]).start("two").end("two", wrong()).start("three").end("three", wrong());
    lab.guest("1", guest.goodbye(), "exit 0");
    assert_code(&lab.test(&["--timeout-scale", "3"]), 1);

    let mut guest = Guest::up(2);
    guest.pass(&["two"]).start("three").end("three", wrong()).goodbye();
    lab.guest("1", &guest, "exit 0");
    let failed = |args: &[&str]| {
        lab.command(&[&["test", "--failed", "--no-setup"], args].concat()).output().unwrap()
    };
    assert_code(&failed(&[]), 1);
    assert_eq!(lab.verdicts(), ["smoke/two pass", "smoke/three fail"]);
    let command = lab.results().commands[0].join(" ");
    let image = lab.path("bzImage").display().to_string();
    let expected = format!(
        "cargo xtask test --kernel-image {image} --accel tcg --timeout-scale 3 --arch x86_64 --case smoke/three,smoke/two"
    );
    assert_eq!(command, expected);

    // The newest run is now one of `--failed`.
    lab.guest("1", Guest::up(1).pass(&["three"]).goodbye(), "exit 0");
    assert_code(&failed(&["--repeat", "1"]), 0);
    assert_eq!(lab.verdicts(), ["smoke/three pass"]);
    let output = failed(&[]);
    assert_code(&output, 0);
    assert!(text(&output).contains("all cases of the newest run passed"), "{}", text(&output));
    assert_code(&failed(&["--suite", "smoke"]), 2);
}

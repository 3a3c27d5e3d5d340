// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of the tool as a user runs it. A shell script stands in for QEMU and writes what a guest would write.

mod comparing;
mod events;
mod kernels;
mod oracle;
mod programs;
mod repeating;
mod watching;
mod world;

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Child;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use protocol::record::{Outcome, Record};

use xtask::report::REPORTS;

use world::{ALL, Guest, Lab, QUICK, SUITE, assert_code, text, wait_until};

#[test]
fn a_run_in_which_all_cases_pass() {
    let lab = Lab::new();
    lab.guest("1", Guest::up(3).pass(&ALL).goodbye(), "exit 0");
    let reports = lab.path("reports");
    let output = lab.test(&["--report-dir", reports.to_str().unwrap()]);
    assert_code(&output, 0);
    assert_eq!(lab.verdicts(), ["smoke/one pass", "smoke/two pass", "smoke/three pass"]);
    for report in REPORTS.map(|report| report.file) {
        let text = fs::read_to_string(reports.join(report)).unwrap();
        assert!(text.contains("smoke"), "{report}: {text}");
    }
    let run = lab.path("checkout/target/lab/latest/x86_64/boot-1");
    assert!(run.join("qemu.sh").exists() && run.join("initramfs.cpio").exists());
    let run = run.canonicalize().unwrap();
    assert_code(&lab.test(&[]), 0);
    assert!(!run.join("initramfs.cpio").exists(), "it is deleted after the next run");
    lab.assert_no_machine_left();
}

/// Fake gcov. Like the real one, it expects the counts of a boot (`.gcda`) beside the notes of the kernel (`.gcno`).
const GCOV: &str = r#"#!/bin/sh
for name; do :; done
[ -f "${name%.gcda}.gcno" ] || { echo "no notes for $name" >&2; exit; }
count=$(cat "$name")
cat <<END
{"files": [{"file": "/tree/fs/fuse/dmmap.c", "lines": [
  {"line_number": 3, "count": $count}, {"line_number": 4, "count": 0}]}]}
END
"#;

#[test]
fn the_coverage_counts_of_all_boots_are_reported() {
    let lab = Lab::new();
    lab.program("gcov", GCOV);
    fs::create_dir(lab.path("counted")).unwrap();
    let source = "static void end(void)\n{\n\tfirst();\n\tsecond();\n}\n";
    fs::write(lab.path("counted/dmmap.c"), source).unwrap();
    fs::write(lab.path("counted/dmmap.gcno"), "").unwrap();
    let counts = Record::File { name: "dmmap.gcda".into(), size: 1, part: b"5".to_vec() };
    let mut first = Guest::up(3);
    first.pass(&["one"]).start("two");
    lab.guest("1", &first, "exit 0");
    let mut second = Guest::up(1);
    second.pass(&["three"]).record(&counts).goodbye();
    lab.guest("2", &second, "exit 0");

    let output = lab.test(&["--flavour", "gcov"]);
    assert_code(&output, 1);
    let printed = text(&output);
    let totals = "coverage: 50.0 % of 2 lines, 100.0 % of 0 branches; unreached lines without a reason: 1; \
                  boots cut short before they sent counts: 1";
    assert!(printed.contains(totals), "{printed}");
    let report = lab.path("checkout/target/lab/latest/x86_64/coverage.md");
    let report = fs::read_to_string(report).unwrap();
    assert!(report.contains("dmmap.c, end:\n\n```c\n    4  second();\n```"), "{report}");
    assert_eq!(lab.results().targets[0].failure, None);
}

#[test]
fn a_kernel_that_sends_no_coverage_counts_is_an_error() {
    let lab = Lab::new();
    fs::create_dir(lab.path("counted")).unwrap();
    lab.guest("1", Guest::up(3).pass(&ALL).goodbye(), "exit 0");
    let output = lab.test(&["--flavour", "gcov"]);
    assert_code(&output, 2);
    let printed = text(&output);
    assert!(printed.contains("sent coverage counts"), "{printed}");
    // With another flavour, missing counts are not an error.
    assert_code(&lab.test(&[]), 0);
}

#[test]
fn a_panic_fails_its_case_and_the_next_boot_continues() {
    let lab = Lab::new();
    let mut first = Guest::up(3);
    first.pass(&["one"]).start("two");
    first.print("[    2.0] Kernel panic - not syncing: sysrq triggered crash");
    lab.guest("1", &first, "exec sleep 600");
    lab.guest("2", Guest::up(1).pass(&["three"]).goodbye(), "exit 0");
    assert_code(&lab.test(&[]), 1);
    assert_eq!(lab.verdicts(), ["smoke/one pass", "smoke/two crash", "smoke/three pass"]);
    assert_eq!(lab.results().targets[0].boots, 2);
    lab.assert_no_machine_left();
}

#[test]
fn a_guest_that_hangs_is_stopped_and_the_next_boot_continues() {
    let lab = Lab::new();
    lab.guest("1", Guest::up(3).pass(&["one"]).start("two"), "exec sleep 600");
    lab.guest("2", Guest::up(1).pass(&["three"]).goodbye(), "exit 0");
    assert_code(&lab.test(&QUICK), 1);
    assert_eq!(lab.verdicts(), ["smoke/one pass", "smoke/two timeout", "smoke/three pass"]);
    lab.assert_no_machine_left();
}

#[test]
fn a_silent_reset_is_a_crash() {
    let lab = Lab::new();
    lab.guest("1", Guest::up(3).pass(&["one"]).start("two"), "exit 0");
    lab.guest("2", Guest::up(1).pass(&["three"]).goodbye(), "exit 0");
    assert_code(&lab.test(&[]), 1);
    assert_eq!(lab.verdicts()[1], "smoke/two crash");
}

#[test]
fn an_oom_kill_in_the_guest_fails_the_case() {
    let lab = Lab::new();
    let mut guest = Guest::up(3);
    guest.pass(&["one"]).start("two");
    guest.print("[    2.0] Out of memory: Killed process 71 (init) total-vm:1kB, anon-rss:1kB");
    guest.end("two", Outcome::Pass).pass(&["three"]).goodbye();
    lab.guest("1", &guest, "exit 0");
    assert_code(&lab.test(&[]), 1);
    assert_eq!(lab.verdicts(), ["smoke/one pass", "smoke/two fail", "smoke/three pass"]);
}

#[test]
fn a_kernel_without_init_is_a_boot_failure() {
    let lab = Lab::new();
    let mut guest = Guest::default();
    guest.print("[    1.0] Kernel panic - not syncing: No working init found.");
    lab.guest("last", &guest, "exit 0");
    assert_code(&lab.test(&[]), 2);
    assert_eq!(
        lab.verdicts(),
        ["smoke/one boot-fail", "smoke/two boot-fail", "smoke/three boot-fail"]
    );
    assert_eq!(lab.results().targets[0].boots, 1, "a second boot would fail in the same way");
}

#[test]
fn a_damaged_record_is_not_trusted() {
    let damage: [fn(&mut Vec<u8>); 2] = [
        // Truncated: the machine stopped while it wrote the record.
        |frame| frame.truncate(frame.len() / 2),
        // Corrupted: the content does not match the checksum.
        |frame| {
            let text = String::from_utf8(frame.clone()).unwrap();
            *frame = text.replace(r#""millis":5"#, r#""millis":6"#).into_bytes();
        },
    ];
    for damage in damage {
        let lab = Lab::new();
        let mut guest = Guest::up(3);
        guest.pass(&["one"]).start("two");
        let before = guest.records.len();
        guest.end("two", Outcome::Pass);
        let mut frame = guest.records.split_off(before);
        damage(&mut frame);
        guest.records.extend(frame);
        lab.guest("1", &guest, "exec sleep 600");
        lab.guest("2", Guest::up(1).pass(&["three"]).goodbye(), "exit 0");
        let code = lab.test(&QUICK).status.code();
        assert!(code == Some(1) || code == Some(2), "{code:?}");
        assert_ne!(lab.verdicts()[1], "smoke/two pass");
        assert_eq!(lab.verdicts()[2], "smoke/three pass");
        lab.assert_no_machine_left();
    }
}

#[test]
fn a_killed_qemu_is_an_infrastructure_failure() {
    let lab = Lab::new();
    lab.guest("1", Guest::up(3).pass(&["one"]).start("two"), "kill -9 $$");
    lab.guest("2", Guest::up(1).pass(&["three"]).goodbye(), "exit 0");
    assert_code(&lab.test(&[]), 2);
    assert_eq!(lab.verdicts(), ["smoke/one pass", "smoke/two infra", "smoke/three pass"]);
}

#[test]
fn the_error_quotes_the_messages_of_qemu() {
    let lab = Lab::new();
    lab.guest("last", &Guest::default(), "echo 'unsupported machine type' >&2; exit 1");
    let output = lab.test(&[]);
    assert_code(&output, 2);
    assert!(text(&output).contains("unsupported machine type"), "{}", text(&output));
}

#[test]
fn the_error_names_the_package_of_a_missing_qemu() {
    let lab = Lab::new();
    fs::remove_file(lab.path("bin/qemu-system-x86_64")).unwrap();
    let mut command = lab.test_command(&[]);
    // The machine that runs this test may have QEMU, so its directories must not be in PATH.
    let output = command.env("PATH", lab.path("bin")).output().unwrap();
    assert_code(&output, 2);
    let text = text(&output);
    for word in ["qemu-system-x86_64", "qemu-system-x86", "Debian", "Fedora", "Arch"] {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[test]
fn a_typo_in_a_suite_is_found_before_anything_starts() {
    let lab = Lab::new();
    let typo = SUITE.replace("about: The second", "abuot: The second");
    fs::write(lab.path("checkout/suites/smoke.yaml"), typo).unwrap();
    let output = lab.test(&[]);
    assert_code(&output, 2);
    let text = text(&output);
    assert!(
        text.contains("smoke.yaml:6:") && text.contains("expected one of `name`, `about`"),
        "{text}"
    );
    assert!(!lab.path("checkout/target").exists());
}

#[test]
fn a_case_without_records_is_not_a_pass() {
    let lab = Lab::new();
    lab.guest("1", Guest::up(3).pass(&["one"]).goodbye(), "exit 0");
    assert_code(&lab.test(&[]), 2);
    assert_eq!(lab.verdicts(), ["smoke/one pass", "smoke/two infra", "smoke/three infra"]);
}

#[test]
fn a_case_without_an_end_record_is_not_a_pass() {
    let lab = Lab::new();
    let mut guest = Guest::up(3);
    guest.pass(&["one"]).start("two").pass(&["three"]).goodbye();
    lab.guest("1", &guest, "exit 0");
    assert_code(&lab.test(&[]), 2);
    assert_eq!(lab.verdicts(), ["smoke/one pass", "smoke/two infra", "smoke/three pass"]);
}

/// Starts the tool on a guest that never ends, and waits until its second case runs.
fn start_and_wait(lab: &Lab) -> Child {
    lab.guest("last", Guest::up(3).pass(&["one"]).start("two"), "exec sleep 600");
    let child = lab.test_command(&[]).process_group(0).spawn().unwrap();
    let running = wait_until(|| {
        let runs = fs::read_dir(lab.path("checkout/target/lab")).into_iter().flatten().flatten();
        let records = runs.map(|run| run.path().join("x86_64/boot-1/records.log"));
        records
            .into_iter()
            .any(|records| fs::read_to_string(records).is_ok_and(|text| text.contains("smoke/two")))
    });
    assert!(running);
    child
}

#[test]
fn ctrl_c_leaves_reports_and_no_process() {
    let lab = Lab::new();
    let child = start_and_wait(&lab);
    // Like a terminal, send the signal to the whole foreground group.
    kill(Pid::from_raw(-(child.id() as i32)), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_code(&output, 2);
    assert!(lab.results().interrupted);
    assert_eq!(lab.verdicts(), ["smoke/one pass", "smoke/two not-run", "smoke/three not-run"]);
    assert!(
        text(&output).ends_with("1 passed, 0 failed, 0 skipped, 2 not run\n"),
        "{}",
        text(&output)
    );
    lab.assert_no_machine_left();
}

#[test]
fn sigkill_of_the_tool_kills_the_machine() {
    let lab = Lab::new();
    let mut child = start_and_wait(&lab);
    assert!(!lab.machines_left().is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    lab.assert_no_machine_left();
    // The next run is not affected.
    lab.guest("1", Guest::up(3).pass(&ALL).goodbye(), "exit 0");
    assert_code(&lab.test(&[]), 0);
}

#[test]
fn two_simultaneous_runs_use_separate_directories() {
    let lab = Lab::new();
    lab.guest("1", Guest::up(3).pass(&ALL).goodbye(), "exit 0");
    let runs = [(), ()].map(|()| lab.test_command(&[]).spawn().unwrap());
    for run in runs {
        assert_code(&run.wait_with_output().unwrap(), 0);
    }
    let runs = fs::read_dir(lab.path("checkout/target/lab")).unwrap().flatten();
    let runs = runs.filter(|run| run.file_type().unwrap().is_dir());
    assert_eq!(runs.filter(|run| run.file_name() != "history").count(), 2);
}

#[test]
fn a_dry_run_starts_nothing() {
    let lab = Lab::new();
    let output = lab.test(&["--dry-run", "--case", "smoke/two"]);
    assert_code(&output, 0);
    let text = text(&output);
    assert!(text.contains("smoke/two") && !text.contains("smoke/one"), "{text}");
    assert!(text.contains("-serial chardev:records"), "{text}");
    assert!(!lab.path("checkout/target").exists() && !lab.path("guests/pids").exists());
}

#[test]
fn a_bisection_learns_what_a_commit_is() {
    let code = |guest: &mut Guest, args: &[&str]| {
        let lab = Lab::new();
        lab.guest("last", guest, "exit 0");
        let output = lab.test(&[&["--bisect", "--case", "smoke/one"], args].concat());
        output.status.code()
    };
    let wrong = || Outcome::Fail { reason: "it did not hold".into() };
    assert_eq!(code(Guest::up(1).pass(&["one"]).goodbye(), &[]), Some(0));
    assert_eq!(code(Guest::up(1).start("one").end("one", wrong()).goodbye(), &[]), Some(1));
    assert_eq!(code(&mut Guest::default(), &[]), Some(125));
    // A case that failed counts more than one that could not be tested.
    let both = ["--case", "smoke/two"];
    assert_eq!(code(Guest::up(2).start("one").end("one", wrong()).goodbye(), &both), Some(1));
    assert_eq!(code(&mut Guest::default(), &["--case", "smoke/four"]), Some(255));
    assert_eq!(code(&mut Guest::default(), &["--nonsense"]), Some(255));
}

#[test]
fn what_does_not_exist_is_found_before_anything_starts() {
    let lab = Lab::new();
    fs::create_dir(lab.path("dir")).unwrap();
    let dir = lab.path("dir");
    let dir = dir.to_str().unwrap();
    let mistakes: [(&[&str], &str); 8] = [
        (&["--patch", "/nowhere"], "--patch /nowhere: No such file or directory"),
        (&["--patch", dir], "this is a directory; pass a file"),
        (&["--kernel-src", "/nowhere"], "--kernel-src /nowhere: No such file or directory"),
        (&["--kernel-image", "/nowhere"], "--kernel-image /nowhere: No such file or directory"),
        (&["--kernel-image", dir], "this is a directory; pass a file"),
        (&["--arch", "vax"], "--arch vax: no such target or group"),
        (&["--suite", "smoek"], "--suite smoek: no such suite"),
        (&["--case", "smoke/on"], "--case smoke/on: no such case; did you mean smoke/one or"),
    ];
    for (args, expected) in mistakes {
        for dry_run in [&[][..], &["--dry-run"]] {
            let args = [&["test", "--no-setup"], args, dry_run].concat();
            let output = lab.command(&args).output().unwrap();
            assert_code(&output, 2);
            assert!(text(&output).contains(expected), "{args:?}: {}", text(&output));
            assert!(!lab.path("checkout/target").exists(), "{args:?}");
        }
    }
}

#[test]
fn a_parameter_is_set_and_is_in_the_command_to_rerun() {
    let lab = Lab::new();
    let suite = SUITE.replace("run: two", "run: two, with: { seed: 1 }");
    fs::write(lab.path("checkout/suites/smoke.yaml"), suite).unwrap();
    let why = Outcome::Fail { reason: "it did not hold".into() };
    let mut guest = Guest::up(1);
    guest.start("two").end("two", why).goodbye();
    lab.guest("1", &guest, "exit 0");
    let output = lab.test(&["--case", "smoke/two", "--with", "seed=7"]);
    assert_code(&output, 1);
    let text = text(&output);
    assert!(text.contains("--with seed=7 --arch x86_64 --case smoke/two"), "{text}");
}

#[test]
fn a_parameter_that_no_selected_case_has_is_found_before_anything_starts() {
    let lab = Lab::new();
    let output = lab.test(&["--with", "seed=7"]);
    assert_code(&output, 2);
    let text = text(&output);
    assert!(
        text.contains(
            "the selected cases have no parameter \"seed\"; they have no parameters at all"
        ),
        "{text}"
    );
    assert!(!lab.path("checkout/target").exists());
}

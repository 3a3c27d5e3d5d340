// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs `cargo xtask report` and checks its output, exit codes and files.

use std::path::Path;
use std::process::Output;

use xtask::report::{Origin, REPORTS, write_all};
use xtask::results::{CaseResult, Provenance, RunResult, SCHEMA, TargetResult, Verdict};

fn report(dir: &Path, args: &[&str]) -> Output {
    let words = ["report"].iter().chain(args);
    let xtask = duct::cmd(env!("CARGO_BIN_EXE_xtask"), words).dir(dir);
    let xtask = xtask.stdout_capture().stderr_capture().unchecked();
    xtask.run().unwrap()
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8(bytes.into()).unwrap()
}

fn case(id: &str, verdict: Verdict) -> CaseResult {
    CaseResult {
        id: id.into(),
        suite: "smoke".into(),
        about: "Something.".into(),
        promises: Vec::new(),
        verdict,
        flaky: false,
        attempts: 1,
        failed_attempts: Vec::new(),
        millis: Some(10),
        boot: Some(1),
        figures: Default::default(),
        curves: Default::default(),
        oracle: None,
        distrust: None,
        log: Vec::new(),
        console: Vec::new(),
    }
}

/// Writes the reports of a run with one case on x86_64 into `dir`.
fn write(dir: &Path, case: CaseResult) {
    let target = TargetResult {
        name: "x86_64".into(),
        target: "x86_64".into(),
        kernel: None,
        flavour: "default".into(),
        stacks: Vec::new(),
        provenance: Provenance { kernel_version: "6.12.117".into(), ..Provenance::default() },
        failure: None,
        unused_excuses: Vec::new(),
        boots: 1,
        seconds: [("test".to_owned(), 1.5)].into(),
        cases: vec![case],
    };
    let run = RunResult {
        schema: SCHEMA,
        tool: "0.1.0".into(),
        commands: Vec::new(),
        started: "2025-11-22T19:33:00Z".into(),
        seconds: 12.5,
        interrupted: false,
        targets: vec![target],
    };
    write_all(dir, &run, Origin::Elsewhere).unwrap();
}

#[test]
fn merging_writes_all_reports_and_returns_the_exit_code_of_the_results() {
    let dir = tempfile::tempdir().unwrap();
    let reason = "expected SIGBUS, but the access succeeded".into();
    write(&dir.path().join("reports/2"), case("smoke/boot", Verdict::Pass));
    write(&dir.path().join("reports/1"), case("smoke/redirect.fuse", Verdict::Fail { reason }));
    let merge = ["merge", "reports", "--report-dir", "merged"];
    let output = report(dir.path(), &merge);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    insta::assert_snapshot!(words(&output.stdout), @"
    input files: 2; reports written to merged

    target  pass  fail  skip  crash  timeout  boot-fail  infra  kernel    accel
    x86_64     1     1     -      -        -          -      -  6.12.117  -

    x86_64
      time       3.00 s: test 3.00 s
      boots      2

    failures:
      fail      x86_64 smoke/redirect.fuse: expected SIGBUS, but the access succeeded

    finished in 12.5 s
    1 passed, 1 failed, 0 skipped
    ");
    let merged = std::fs::read_to_string(dir.path().join("merged/results.json")).unwrap();
    let merged: RunResult = serde_json::from_str(&merged).unwrap();
    let ids: Vec<_> = merged.targets[0].cases.iter().map(|c| &c.id).collect();
    assert_eq!(ids, ["smoke/boot", "smoke/redirect.fuse"]);
    for report in REPORTS {
        let path = dir.path().join("merged").join(report.file);
        assert!(path.is_file(), "{}", report.file);
    }

    let twice = ["merge", "reports", "merged", "--report-dir", "again"];
    let output = report(dir.path(), &twice);
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!(words(&output.stderr), @"error: x86_64 smoke/boot is in both reports/2/results.json and merged/results.json; merge only one of them");
    assert!(!dir.path().join("again").exists());
}

#[test]
fn the_table_of_targets_is_written_between_the_two_lines() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("run"), case("smoke/boot", Verdict::Pass));
    let printed = report(dir.path(), &["targets", "run"]);
    assert!(words(&printed.stdout).contains("\n| x86_64 | "));
    let readme = dir.path().join("README.md");
    let write_it = ["targets", "run/results.json", "--write", "README.md"];

    std::fs::write(&readme, "# Title\n").unwrap();
    let output = report(dir.path(), &write_it);
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!(words(&output.stderr), @"error: README.md: expected a line `<!-- targets: begin -->` followed by a line `<!-- targets: end -->`");

    std::fs::write(&readme, "<!-- targets: begin -->\n<!-- targets: end -->\n").unwrap();
    let output = report(dir.path(), &write_it);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let table = words(&printed.stdout);
    let expected = format!("<!-- targets: begin -->\n{table}<!-- targets: end -->\n");
    assert_eq!(std::fs::read_to_string(&readme).unwrap(), expected);
}

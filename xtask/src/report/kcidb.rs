// SPDX-License-Identifier: MIT OR Apache-2.0
//! Results for KCIDB, the database of kernel test results: <https://docs.kernelci.org/kcidb/>. The layout is version 5.3
//! of the schema in the Python package kcidb-io.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::results::{CaseResult, RunResult, TargetResult, Verdict};

/// Version of the schema: major and minor.
const VERSION: (u32, u32) = (5, 3);

/// Longest excerpt of a log that the schema accepts, in characters.
const LONGEST_EXCERPT: usize = 16_384;

/// Renders the results as a report of the CI system `origin`: a checkout for each kernel version, a build for each kernel,
/// and a test for each case.
pub(crate) fn render(run: &RunResult, origin: &str) -> String {
    let mut checkouts = BTreeMap::new();
    let (mut builds, mut tests) = (Vec::new(), Vec::new());
    for target in &run.targets {
        let ids = Ids::of(run, target, origin);
        checkouts
            .entry(ids.checkout.clone())
            .or_insert_with(|| checkout(run, target, &ids, origin));
        builds.push(build(run, target, &ids, origin));
        tests.extend(target.cases.iter().map(|case| test(run, target, case, &ids, origin)));
    }
    let report = json!({
        "version": { "major": VERSION.0, "minor": VERSION.1 },
        "checkouts": checkouts.into_values().collect::<Vec<_>>(),
        "builds": builds,
        "tests": tests,
    });
    format!("{report:#}\n")
}

/// IDs of the objects of a target. Objects of several reports with the same ID are the same object in the database.
struct Ids {
    checkout: String,
    build: String,
    /// Start of the IDs of its tests.
    test: String,
}

impl Ids {
    fn of(run: &RunResult, target: &TargetResult, origin: &str) -> Self {
        let test = format!("{origin}:{}/{}", run.started, target.name);
        let build = match target.provenance.kernel_hash.as_str() {
            "" => test.clone(),
            hash => format!("{origin}:{hash}"),
        };
        Self { checkout: format!("{origin}:{}/{}", target.kernel_version(), run.tool), build, test }
    }
}

fn checkout(run: &RunResult, target: &TargetResult, ids: &Ids, origin: &str) -> Value {
    let source = match target.kernel_version() {
        "" => "a kernel of the user".to_owned(),
        version => format!("Linux {version}"),
    };
    json!({
        "id": ids.checkout,
        "origin": origin,
        "comment": format!("{source}, tested by dmmap-lab {}", run.tool),
        "start_time": run.started,
        "valid": true,
    })
}

fn build(run: &RunResult, target: &TargetResult, ids: &Ids, origin: &str) -> Value {
    let provenance = &target.provenance;
    let built = !provenance.kernel_hash.is_empty();
    let mut build = object(json!({
        "checkout_id": ids.checkout,
        "id": ids.build,
        "origin": origin,
        "start_time": run.started,
        "architecture": target.target,
        "config_name": target.flavour,
        "status": if built { "PASS" } else { "ERROR" },
        "misc": { "stacks": target.stacks, "config_hash": provenance.config_hash },
    }));
    if !provenance.compiler.is_empty() {
        build.insert("compiler".into(), provenance.compiler.clone().into());
    }
    if let Some(seconds) = target.seconds.get("kernel") {
        build.insert("duration".into(), (*seconds).into());
    }
    if let Some(failure) = target.failure.as_deref().filter(|_| !built) {
        build.insert("log_excerpt".into(), excerpt(failure).into());
    }
    build.into()
}

fn test(
    run: &RunResult,
    target: &TargetResult,
    case: &CaseResult,
    ids: &Ids,
    origin: &str,
) -> Value {
    let provenance = &target.provenance;
    let mut test = object(json!({
        "build_id": ids.build,
        "id": format!("{}/{}", ids.test, case.id),
        "origin": origin,
        "environment": {
            "comment": format!("{} in QEMU", target.target),
            "misc": {
                "qemu": provenance.qemu,
                "accelerator": provenance.accel,
                "oracle": provenance.oracle,
            },
        },
        "path": format!("dmmap.{}", path(&case.id)),
        "comment": case.about,
        "status": status(&case.verdict),
        "start_time": run.started,
        "misc": { "verdict": case.verdict.word(), "detail": case.verdict.detail() },
    }));
    if let Some(millis) = case.millis {
        test.insert("duration".into(), (millis as f64 / 1000.0).into());
    }
    let lines: Vec<&str> = case.log.iter().chain(&case.console).map(String::as_str).collect();
    if !lines.is_empty() {
        test.insert("log_excerpt".into(), excerpt(&lines.join("\n")).into());
    }
    test.into()
}

/// Returns the ID of a case as a path: letters, digits, `_` and `-` between dots.
fn path(id: &str) -> String {
    let valid = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    id.replace('/', ".").chars().map(|c| if valid(c) { c } else { '_' }).collect()
}

/// Returns the status of a test with this verdict. ERROR shows nothing about the kernel, and MISS did not run.
fn status(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "PASS",
        Verdict::Fail { .. } | Verdict::Crash { .. } | Verdict::Timeout { .. } => "FAIL",
        Verdict::Skip { .. } => "SKIP",
        Verdict::BootFail { .. } | Verdict::Infra { .. } => "ERROR",
        Verdict::NotRun { .. } => "MISS",
    }
}

/// Returns the end of a log, because the end says most, without NUL characters, which the schema rejects.
fn excerpt(log: &str) -> String {
    let log = log.replace('\0', "");
    let extra = log.chars().count().saturating_sub(LONGEST_EXCERPT);
    log.chars().skip(extra).collect()
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::report::samples;

    /// Validates its input with the package kcidb-io.
    const VALIDATE: &str =
        "import json, sys, kcidb_io\nkcidb_io.schema.LATEST.validate(json.load(sys.stdin))";

    /// Returns a Python that has kcidb-io: that on PATH, or the one that docs/events.md names.
    fn python() -> Option<PathBuf> {
        let own = crate::paths::cache().ok().map(|cache| cache.join("kcidb-io/bin/python3"));
        let candidates = std::iter::once(PathBuf::from("python3")).chain(own);
        candidates.into_iter().find(|python| {
            let import = duct::cmd!(python, "-c", "import kcidb_io").stderr_null().unchecked();
            import.run().is_ok_and(|output| output.status.success())
        })
    }

    #[test]
    fn reports_are_valid() {
        let samples = [
            samples::mixed(),
            samples::two_kernels(),
            samples::one_stack(),
            samples::interrupted(),
            samples::untested(),
            samples::watched(),
        ];
        let Some(python) = python() else {
            crate::output::errln!(
                "skipped: no Python has the package kcidb-io; docs/events.md says how to install it"
            );
            return;
        };
        for sample in samples {
            let report = render(&sample, "dmmap_lab");
            let validate = duct::cmd!(&python, "-c", VALIDATE).stdin_bytes(report.clone());
            let output = validate.stderr_to_stdout().stdout_capture().unchecked().run().unwrap();
            let messages = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{messages}\n{report}");
        }
    }

    #[test]
    fn a_case_in_full() {
        let mut run = samples::mixed();
        run.targets.truncate(1);
        run.targets[0].cases.retain(|case| case.verdict.word() == "crash");
        insta::assert_snapshot!(render(&run, "dmmap_lab"), @r#"
        {
          "builds": [
            {
              "architecture": "x86_64",
              "checkout_id": "dmmap_lab:6.12.117/0.1.0 (850347e)",
              "compiler": "gcc (Debian 12.2.0-14+deb12u1) 12.2.0",
              "config_name": "default",
              "duration": 94.3,
              "id": "dmmap_lab:4f1c",
              "misc": {
                "config_hash": "a0b1",
                "stacks": []
              },
              "origin": "dmmap_lab",
              "start_time": "2025-11-22T19:33:00Z",
              "status": "PASS"
            }
          ],
          "checkouts": [
            {
              "comment": "Linux 6.12.117, tested by dmmap-lab 0.1.0 (850347e)",
              "id": "dmmap_lab:6.12.117/0.1.0 (850347e)",
              "origin": "dmmap_lab",
              "start_time": "2025-11-22T19:33:00Z",
              "valid": true
            }
          ],
          "tests": [
            {
              "build_id": "dmmap_lab:4f1c",
              "comment": "coherency/ping-pong.fuse keeps its promise.",
              "environment": {
                "comment": "x86_64 in QEMU",
                "misc": {
                  "accelerator": "tcg",
                  "oracle": "off",
                  "qemu": "QEMU emulator version 7.2.19"
                }
              },
              "id": "dmmap_lab:2025-11-22T19:33:00Z/x86_64/coherency/ping-pong.fuse",
              "log_excerpt": "[    2.310552] init: case 4/7 coherency/ping-pong.fuse\n[    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008\n[    2.514871] Oops: Oops: 0002 [#1] SMP\n[    2.519114] Kernel panic - not syncing: Fatal exception",
              "misc": {
                "detail": "[    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008",
                "verdict": "crash"
              },
              "origin": "dmmap_lab",
              "path": "dmmap.coherency.ping-pong.fuse",
              "start_time": "2025-11-22T19:33:00Z",
              "status": "FAIL"
            }
          ],
          "version": {
            "major": 5,
            "minor": 3
          }
        }
        "#);
    }

    #[test]
    fn every_verdict_has_a_status() {
        let run = samples::mixed();
        let statuses = run.targets[0]
            .cases
            .iter()
            .map(|case| format!("{} {}", case.verdict.word(), status(&case.verdict)));
        insta::assert_snapshot!(statuses.collect::<Vec<_>>().join("\n"), @"
        pass PASS
        fail FAIL
        skip SKIP
        crash FAIL
        timeout FAIL
        infra ERROR
        boot-fail ERROR
        ");
    }

    #[test]
    fn a_long_log_loses_its_beginning() {
        let excerpt = excerpt(&format!("first{}\0last", "x".repeat(LONGEST_EXCERPT)));
        assert_eq!(excerpt.len(), LONGEST_EXCERPT);
        assert!(excerpt.starts_with('x') && excerpt.ends_with("xlast"));
    }
}

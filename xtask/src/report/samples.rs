// SPDX-License-Identifier: MIT OR Apache-2.0
//! Invented results for the tests of the reports.

use std::collections::BTreeMap;

use protocol::curve::{Curve, Point};

use crate::oracle::line::tests::finding;
use crate::oracle::listener::Window;
use crate::oracle::story::summary;
use crate::results::{
    Accelerator, CaseResult, ExcusedSummary, FailedAttempt, OracleState, OracleSummary, Phase,
    Provenance, RunResult, SCHEMA, TargetResult, Verdict,
};

/// Two targets. The first has a case of every verdict; all cases of the second passed.
pub fn mixed() -> RunResult {
    let mut arm64 = target("arm64", vec![pass("smoke/boot"), pass("smoke/redirect.fuse")]);
    arm64.provenance.accel = Accelerator::Kvm.into();
    arm64.provenance.accel_reason = None;
    let mut boot = pass("smoke/boot");
    boot.figures = BTreeMap::from([("free_kib".into(), 870_412.0)]);
    let cases =
        vec![boot, failed(), skipped(), crashed(), timed_out(), not_reported(), not_booted()];
    let mut x86_64 = target("x86_64", cases);
    x86_64.boots = 3;
    run(vec![x86_64, arm64])
}

/// One target with two kernels, of which the second is not the default version.
pub fn two_kernels() -> RunResult {
    let old = target("x86_64", vec![pass("smoke/boot")]);
    let mut new = target("x86_64", vec![failed()]);
    new.name = "x86_64-7.3".into();
    new.kernel = Some("7.3".into());
    new.provenance.kernel_version = "7.3.4".into();
    new.provenance.kernel_hash = "5e2d".into();
    run(vec![old, new])
}

/// A run with `--stack core`.
pub fn one_stack() -> RunResult {
    let mut x86_64 = target("x86_64", vec![pass("smoke/boot")]);
    x86_64.stacks = ["fixes", "core"].map(String::from).into();
    run(vec![x86_64])
}

/// A case with curves: one that grows linearly, and one that grows with the square.
pub fn grown() -> CaseResult {
    let points = |time: fn(f64) -> f64| {
        let point = |n: u64| {
            let baseline_seconds = 2e-6 * n as f64;
            Point { n, seconds: time(n as f64), baseline_seconds }
        };
        [100, 1000, 10_000].map(point).into()
    };
    let linear = Curve::new("touch", "mappings", "touch", points(|n| 3e-6 * n));
    let square = Curve::new("FREE", "mappings", "punching a hole", points(|n| 1e-8 * n * n));
    CaseResult { curves: vec![linear, square], ..pass("scale/mappings.fuse") }
}

/// A run with curves.
pub fn scaled() -> RunResult {
    run(vec![target("x86_64", vec![pass("smoke/boot"), grown()])])
}

/// A run that was interrupted.
pub fn interrupted() -> RunResult {
    let mut cases = vec![pass("smoke/boot")];
    for id in ["smoke/redirect.fuse", "smoke/redirect.cuse", "drain/limit.fuse"] {
        let reason = "interrupted before it ran".into();
        cases.push(never_ran(id, Verdict::NotRun { reason }));
    }
    let mut result = run(vec![target("x86_64", cases)]);
    result.interrupted = true;
    result
}

/// A target whose kernel could not be built.
pub fn untested() -> RunResult {
    let reason = "0002-fuse-direct-mmap.patch does not apply: fs/fuse/dev.c, line 112\n\
                  take it out of kernel-patches/6.12/series or make it fit";
    let infra = || Verdict::Infra { reason: reason.into() };
    let mut x86_64 = target(
        "x86_64",
        ["smoke/boot", "drain/limit.fuse"].map(|id| never_ran(id, infra())).into(),
    );
    x86_64.failure = Some(reason.into());
    x86_64.boots = 0;
    x86_64.provenance = Provenance::default();
    x86_64.seconds = BTreeMap::from([("setup".into(), 0.1), ("kernel".into(), 2.5)]);
    run(vec![x86_64])
}

/// A run without cases.
pub fn empty() -> RunResult {
    run(vec![target("x86_64", Vec::new())])
}

/// A case in which a check failed.
pub fn failed() -> CaseResult {
    let reason = "client 1 stored 0x5a at offset 4096\nthe server read 0x00";
    CaseResult {
        log: vec!["server: page 7 is mapped".into(), "client 1: \x1b[1mstored\x1b[0m 0x5a".into()],
        console: vec!["[    1.214001] init: case 2/7 smoke/redirect.fuse".into()],
        ..case("smoke/redirect.fuse", Verdict::Fail { reason: reason.into() })
    }
}

/// A run with `--retries 2`: a flaky case, and a case that failed in each attempt.
pub fn retried() -> RunResult {
    let attempt = |number, case: &CaseResult| FailedAttempt::of(number, case, true);
    let stale = CaseResult { boot: Some(2), ..stale() };
    let failed = CaseResult {
        attempts: 2,
        failed_attempts: vec![attempt(1, &failed()), attempt(2, &stale)],
        ..failed()
    };
    let flaky = CaseResult {
        flaky: true,
        attempts: 2,
        failed_attempts: vec![attempt(1, &crashed())],
        boot: Some(2),
        ..pass("coherency/ping-pong.fuse")
    };
    let mut x86_64 = target("x86_64", vec![pass("smoke/boot"), failed, flaky]);
    x86_64.boots = 2;
    run(vec![x86_64])
}

/// A case of armv6 with two oracle findings.
pub fn stale() -> CaseResult {
    let id = "coherency/ping-pong.fuse";
    let window = Window { page: 4096, ..Window::default() };
    let found = |number| summary(&finding(16, number), &window, "armv6", id);
    let reason = "may be stale on hardware: a finding of the oracle".into();
    CaseResult {
        oracle: Some(OracleSummary {
            accesses: 12345,
            distinct: 2,
            findings: vec![found(1), found(2)],
            excused: Vec::new(),
        }),
        ..case(id, Verdict::Fail { reason })
    }
}

/// A run with the oracle.
pub fn watched() -> RunResult {
    let mut quiet = pass("smoke/boot");
    let excused = ExcusedSummary {
        name: "time-page".into(),
        reason: "A process may read a time that is slightly old.".into(),
        finding: summary(
            &finding(17, 1),
            &Window { page: 4096, ..Window::default() },
            "armv6",
            "smoke/boot",
        ),
    };
    quiet.oracle = Some(OracleSummary {
        accesses: 678,
        distinct: 0,
        findings: Vec::new(),
        excused: vec![excused],
    });
    let mut armv6 = target("armv6", vec![quiet, stale()]);
    armv6.provenance.oracle = OracleState::User.into();
    armv6.provenance.oracle_reason = None;
    armv6.unused_excuses = vec!["spliced-page".into()];
    armv6.provenance.accel_reason = None;
    run(vec![armv6])
}

/// A case in which the kernel crashed.
pub fn crashed() -> CaseResult {
    let marker = "[    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008";
    CaseResult {
        console: [
            "[    2.310552] init: case 4/7 coherency/ping-pong.fuse",
            marker,
            "[    2.514871] Oops: Oops: 0002 [#1] SMP",
            "[    2.519114] Kernel panic - not syncing: Fatal exception",
        ]
        .map(String::from)
        .into(),
        millis: None,
        ..case("coherency/ping-pong.fuse", Verdict::Crash { marker: marker.into() })
    }
}

pub fn pass(id: &str) -> CaseResult {
    case(id, Verdict::Pass)
}

pub fn timed_out() -> CaseResult {
    let place = Some("client waits in fuse_dmmap_req_wait".into());
    CaseResult {
        boot: Some(2),
        log: vec!["client 2: waiting for turn 3".into()],
        ..case("coherency/seqlock.fuse", Verdict::Timeout { phase: Phase::Test, place })
    }
}

pub fn skipped() -> CaseResult {
    let reason = "no CUSE on this target".into();
    never_ran("smoke/redirect.cuse", Verdict::Skip { reason })
}

pub fn never_ran(id: &str, verdict: Verdict) -> CaseResult {
    CaseResult { millis: None, boot: None, attempts: 0, ..case(id, verdict) }
}

fn not_reported() -> CaseResult {
    let reason = "a record of this case did not arrive whole: truncated";
    CaseResult {
        boot: Some(2),
        ..case("drain/limit.cuse", Verdict::Infra { reason: reason.into() })
    }
}

fn not_booted() -> CaseResult {
    let reason = "no first record from the guest: the kernel crashed: No working init found.";
    never_ran("drain/exit.fuse", Verdict::BootFail { reason: reason.into() })
}

fn case(id: &str, verdict: Verdict) -> CaseResult {
    CaseResult {
        id: id.into(),
        suite: id.split('/').next().unwrap_or_default().into(),
        about: format!("{id} keeps its promise."),
        promises: vec![1, 2],
        verdict,
        flaky: false,
        attempts: 1,
        failed_attempts: Vec::new(),
        millis: Some(1240),
        boot: Some(1),
        figures: BTreeMap::new(),
        curves: Vec::new(),
        oracle: None,
        distrust: None,
        log: Vec::new(),
        console: Vec::new(),
    }
}

fn target(name: &str, cases: Vec<CaseResult>) -> TargetResult {
    let phases = [
        ("setup", 0.1),
        ("kernel", 94.3),
        ("image", 0.02),
        ("boot", 2.4),
        ("test", 11.75),
        ("shutdown", 0.3),
    ];
    TargetResult {
        name: name.into(),
        target: name.into(),
        kernel: Some("6.12".into()),
        flavour: "default".into(),
        stacks: Vec::new(),
        provenance: Provenance {
            kernel_version: "6.12.117".into(),
            kernel_hash: "4f1c".into(),
            config_hash: "a0b1".into(),
            compiler: "gcc (Debian 12.2.0-14+deb12u1) 12.2.0".into(),
            image_hash: "77aa".into(),
            rustc: "rustc 1.85.0".into(),
            qemu: "QEMU emulator version 7.2.19".into(),
            accel: Accelerator::Tcg.into(),
            accel_reason: Some("a probe guest did not finish within 3 s".into()),
            oracle: OracleState::Off.into(),
            oracle_reason: Some("data caches do not alias".into()),
        },
        failure: None,
        unused_excuses: Vec::new(),
        boots: 1,
        seconds: phases.map(|(name, time)| (name.to_owned(), time)).into(),
        cases,
    }
}

fn run(targets: Vec<TargetResult>) -> RunResult {
    RunResult {
        schema: SCHEMA,
        tool: "0.1.0 (850347e)".into(),
        commands: vec!["cargo xtask test --timeout-scale 2".split(' ').map(String::from).collect()],
        started: "2025-11-22T19:33:00Z".into(),
        seconds: 131.07,
        interrupted: false,
        targets,
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Judge: derives the verdict of a case from its observation.
//!
//! QEMU's exit status does not count. A case passes if its end record arrived intact and reports success, no
//! frame was damaged while the case ran, the kernel printed no warning and set no taint flag, and the oracle, if it runs,
//! found nothing but what the case expects.

mod hang;

use std::time::Duration;

use protocol::record::Outcome;

use crate::machine::process::End;
use crate::oracle::line::{Access, Finding};
use crate::oracle::{listener::Window, story};
use crate::results::{Phase, Verdict};
use crate::suite::{Expect, ExpectedFinding};
use crate::text::words::shown;
use crate::watch::{BootEnd, EndRecord, Observation};

/// Returns the verdict of a case that started on `target`.
pub(crate) fn judge(seen: &Observation, target: &str, expected: &Expected) -> Verdict {
    if let Some(end) = &seen.boot_end {
        return verdict_at_end(end, seen);
    }
    if let Some(error) = seen.broken.first() {
        return Verdict::infra(format!("a record of this case did not arrive whole: {error}"));
    }
    let Some(record) = &seen.end_record else {
        return Verdict::infra(
            "the end record of this case is missing, although the guest continued",
        );
    };
    let findings = match &seen.oracle {
        Some(Err(reason)) => return Verdict::infra(distrust(reason)),
        Some(Ok(window)) => {
            // A case that was skipped did not use the interface.
            let ran = !matches!(record.outcome, Outcome::Skip { .. });
            let missing_fails = expected.missing_fails && ran;
            findings(seen, window, target, &Expected { missing_fails, ..*expected })
        }
        None => None,
    };
    let problems: Vec<String> = kernel_problem(seen, record).into_iter().chain(findings).collect();
    let problems = (!problems.is_empty()).then(|| problems.join("; "));
    match (&record.outcome, problems) {
        (Outcome::Timeout | Outcome::Fail { .. }, None) if clock_is_unreliable(record) => {
            Verdict::Infra {
                reason: format!(
                    "the guest's clock is unreliable: it advanced {} ms in {} ms, and then the case {}",
                    record.millis,
                    record.host_time.as_millis(),
                    match &record.outcome {
                        Outcome::Fail { reason } => format!("failed: {reason}"),
                        _ => "reached its deadline".into(),
                    }
                ),
            }
        }
        (Outcome::Timeout, _) => Verdict::Timeout { phase: Phase::Test, place: hang::place(seen) },
        (Outcome::Fail { reason }, None) => Verdict::fail(reason),
        (Outcome::Fail { reason }, Some(problems)) => {
            Verdict::fail(format!("{reason}; {problems}"))
        }
        (Outcome::Pass | Outcome::Skip { .. }, Some(problems)) => Verdict::fail(problems),
        (Outcome::Skip { reason }, None) => Verdict::Skip { reason: reason.clone() },
        (Outcome::Pass, None) => Verdict::Pass,
    }
}

/// Returns true if the guest's clock was much faster than the host's. On a host that is itself virtual, QEMU's cycle
/// counter may stand still while the guest calibrates its clock. All time limits in the guest are then too short.
fn clock_is_unreliable(record: &EndRecord) -> bool {
    let guest = Duration::from_millis(record.millis);
    // The host may have read the start record late.
    guest > 4 * record.host_time + Duration::from_secs(2)
}

/// Compares the verdict with the one that the suite expects. If that is not `pass`, the expected verdict becomes
/// a pass, and any other becomes a failure. Failures of the lab and of the boot stay as they are.
pub(crate) fn as_expected(verdict: Verdict, expect: Expect) -> Verdict {
    match (expect, &verdict) {
        (Expect::Pass, _)
        | (_, Verdict::Infra { .. } | Verdict::BootFail { .. } | Verdict::NotRun { .. }) => verdict,
        _ if verdict.word() == expect.as_ref() => Verdict::Pass,
        _ => {
            let detail = verdict.detail().map_or(String::new(), |text| format!(": {text}"));
            let (expected, word) = (expect.as_ref(), verdict.word());
            Verdict::fail(format!("expected the verdict {expected}, got {word}{detail}"))
        }
    }
}

/// Returns the verdict of a case that was running when the boot ended.
fn verdict_at_end(end: &BootEnd, seen: &Observation) -> Verdict {
    match end {
        BootEnd::Crash(line) => Verdict::Crash { marker: shown(line) },
        BootEnd::Silence(phase) | BootEnd::Overtime(phase) => {
            Verdict::Timeout { phase: *phase, place: hang::place(seen) }
        }
        BootEnd::Qemu(End::Exit) => {
            Verdict::Crash { marker: "the machine stopped without a message".into() }
        }
        BootEnd::Interrupted => Verdict::not_run("interrupted while it ran"),
        BootEnd::Stopped(reason) => Verdict::not_run(reason),
        end => Verdict::infra(describe_end(end)),
    }
}

/// Returns the verdict of a case that did not start before its boot ended. `came_up` is true if the boot sent a record.
pub(crate) fn never_started(end: &BootEnd, came_up: bool) -> Verdict {
    match (came_up, end) {
        (_, BootEnd::Interrupted) => Verdict::not_run("interrupted before it ran"),
        (_, BootEnd::Stopped(reason)) => Verdict::not_run(reason),
        (
            _,
            BootEnd::Qemu(End::Signal(_) | End::Error(..))
            | BootEnd::WrongCache(_)
            | BootEnd::Oracle(_),
        ) => Verdict::infra(describe_end(end)),
        (false, end) => Verdict::BootFail {
            reason: format!("no first record from the guest: {}", describe_end(end)),
        },
        (true, end) => {
            Verdict::infra(format!("the guest did not start the case: {}", describe_end(end)))
        }
    }
}

/// Describes the end of a boot.
pub(crate) fn describe_end(end: &BootEnd) -> String {
    match end {
        BootEnd::Goodbye => "the guest shut down".into(),
        BootEnd::Crash(line) => format!("the kernel crashed: {line}"),
        BootEnd::Silence(phase) => {
            format!("no output from the guest for too long in phase {phase}")
        }
        BootEnd::Overtime(phase) => format!("time limit exceeded in phase {phase}"),
        BootEnd::Qemu(End::Exit) => "QEMU exited before the guest reported its shutdown".into(),
        BootEnd::Qemu(End::Signal(signal)) => format!("QEMU was killed by signal {signal}"),
        BootEnd::Qemu(End::Error(code, text)) => format!("QEMU exited with status {code}: {text}"),
        BootEnd::WrongCache(text) => format!("the machine has the wrong cache: {text}"),
        BootEnd::Oracle(reason) => distrust(reason),
        BootEnd::Stopped(reason) => reason.clone(),
        BootEnd::Interrupted => "interrupted".into(),
    }
}

/// Returns the reason of a verdict for a case in which the oracle cannot be trusted. `why` is the cause.
fn distrust(reason: &str) -> String {
    format!(
        "the oracle cannot be trusted: {reason} (docs/oracle.md; `--oracle off` runs without it)"
    )
}

/// Findings that a case expects.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Expected<'a> {
    pub findings: &'a [ExpectedFinding],
    /// True if a missing finding fails the case. At depth `user`, the oracle misses most bugs of the kernel.
    pub missing_fails: bool,
}

/// Describes the findings of the oracle that the case does not expect, or else an expected finding that is missing.
fn findings(
    seen: &Observation,
    window: &Window,
    target: &str,
    expected: &Expected,
) -> Option<String> {
    let is_expected =
        |found: &&Finding| expected.findings.iter().any(|finding| matches(found, finding));
    let known = window.findings.iter().filter(is_expected).count() as u64;
    let more = match window.distinct() - known {
        0 => return missing(window, expected),
        1 => String::new(),
        distinct => format!(", and {} more", distinct - 1),
    };
    let Some(first) = window.findings.iter().find(|found| !is_expected(found)) else {
        return Some(match known {
            0 => "the oracle counted findings, but wrote none".into(),
            _ => "the oracle counted more findings than it wrote; others may be among them".into(),
        });
    };
    let id = story::id(target, &seen.case, first.number);
    let sentence = story::sentence(first, window.page);
    Some(format!(
        "may be stale on hardware: {sentence}{more}; `cargo xtask oracle explain {id}` shows the accesses before it"
    ))
}

/// Describes the first bug that the oracle was expected to report and did not.
fn missing(window: &Window, expected: &Expected) -> Option<String> {
    let is_missing =
        |finding: &&ExpectedFinding| !window.findings.iter().any(|found| matches(found, finding));
    let finding = expected.findings.iter().find(is_missing).filter(|_| expected.missing_fails)?;
    let kinds: Vec<String> = finding.kinds.iter().map(|kind| kind.to_string()).collect();
    Some(format!(
        "the oracle no longer finds {} in {}, which the suite expects; if the bug is fixed, remove the expectation",
        kinds.join(" or "),
        finding.functions.join(" or ")
    ))
}

/// Returns true if `found` is one of the expected findings.
fn matches(found: &Finding, expected: &ExpectedFinding) -> bool {
    let is_culprit = |access: &Access| {
        access.culprit.as_ref().is_some_and(|name| expected.functions.contains(name))
    };
    expected.kinds.contains(&found.kind) && (is_culprit(&found.earlier) || is_culprit(&found.later))
}

/// Returns a description of the kernel's first warning, or of its taint.
fn kernel_problem(seen: &Observation, record: &EndRecord) -> Option<String> {
    if let Some(hit) = seen.hits.first() {
        return Some(format!("the kernel printed: {}", shown(&hit.line)));
    }
    let letters = taint_letters(record.taint);
    (!letters.is_empty()).then(|| format!("the kernel was tainted: {letters}"))
}

/// Returns the letters of taint bits, as in Documentation/admin-guide/tainted-kernels.rst.
fn taint_letters(taint: u64) -> String {
    const LETTERS: &str = "PFSRMBUDAWCIOELKXTN";
    let named = LETTERS.chars().enumerate();
    let mut letters: String =
        named.filter(|(bit, _)| taint >> bit & 1 == 1).map(|(_, letter)| letter).collect();
    if taint >> LETTERS.len() != 0 {
        letters += &format!("+{taint:#x}");
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::line::tests::finding;
    use crate::oracle::line::{By, FindingKind};
    use crate::watch::markers::Scanner;
    use protocol::frame::FrameError;

    fn seen(outcome: Outcome) -> Observation {
        let mut seen = Observation::of("smoke/boot".into());
        seen.end_record = Some(EndRecord {
            outcome,
            millis: 1,
            host_time: Duration::from_millis(1),
            taint: 0,
            figures: Default::default(),
        });
        seen
    }

    fn fail(reason: &str) -> Verdict {
        Verdict::Fail { reason: reason.into() }
    }

    #[test]
    fn a_whole_record_and_a_quiet_kernel_pass() {
        assert_eq!(judge(&seen(Outcome::Pass), "armv6", &Expected::default()), Verdict::Pass);
    }

    #[test]
    fn a_case_without_a_whole_record_does_not_pass() {
        let mut none = seen(Outcome::Pass);
        none.end_record = None;
        assert_eq!(judge(&none, "armv6", &Expected::default()).word(), "infra");
        let mut broken = seen(Outcome::Pass);
        broken.broken.push(FrameError::Truncated("=dmmap= 4".into()));
        assert_eq!(judge(&broken, "armv6", &Expected::default()).word(), "infra");
    }

    #[test]
    fn a_warning_or_a_taint_fails_the_case() {
        let mut warned = seen(Outcome::Pass);
        let line = "[    2.1] WARNING: CPU: 0 PID: 60 at fs/fuse/dmmap.c:7 f+0x1/0x2";
        warned.hits.extend(Scanner::default().line(line));
        assert_eq!(
            judge(&warned, "armv6", &Expected::default()),
            fail(&format!("the kernel printed: {line}"))
        );

        let mut tainted = seen(Outcome::Pass);
        tainted.end_record.as_mut().unwrap().taint = 1 << 9 | 1 << 7;
        assert_eq!(
            judge(&tainted, "armv6", &Expected::default()),
            fail("the kernel was tainted: DW")
        );

        let mut both = seen(Outcome::Fail { reason: "lost a store".into() });
        both.end_record.as_mut().unwrap().taint = 1 << 9;
        assert_eq!(
            judge(&both, "armv6", &Expected::default()),
            fail("lost a store; the kernel was tainted: W")
        );
    }

    #[test]
    fn a_finding_of_the_oracle_fails_the_case() {
        let window = |numbers: &[u32]| Window {
            findings: numbers.iter().map(|number| finding(16, *number)).collect(),
            page: 4096,
            ..Window::default()
        };
        let judged = |outcome, oracle| {
            let mut seen = seen(outcome);
            seen.oracle = Some(oracle);
            let verdict = judge(&seen, "armv6", &Expected::default());
            format!("{}: {}", verdict.word(), verdict.detail().unwrap_or_default())
        };
        assert_eq!(judged(Outcome::Pass, Ok(window(&[]))), "pass: ");
        insta::assert_snapshot!(judged(Outcome::Pass, Ok(window(&[4]))), @"fail: may be stale on hardware: dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache; `cargo xtask oracle explain armv6/smoke/boot/4` shows the accesses before it");
        let reason = "lost a store".into();
        insta::assert_snapshot!(judged(Outcome::Fail { reason }, Ok(window(&[1, 2, 3]))), @"fail: lost a store; may be stale on hardware: dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache, and 2 more; `cargo xtask oracle explain armv6/smoke/boot/1` shows the accesses before it");
        insta::assert_snapshot!(judged(Outcome::Pass, Err("it saw no access".into())), @"infra: the oracle cannot be trusted: it saw no access (docs/oracle.md; `--oracle off` runs without it)");
        // The timeout is certain, whatever the oracle found.
        assert_eq!(
            judged(Outcome::Timeout, Ok(window(&[1]))),
            "timeout: time limit exceeded in phase test"
        );
    }

    #[test]
    fn a_case_passes_with_exactly_the_expected_findings() {
        // In the recorded finding, processes make the accesses; here, functions of the kernel do.
        let found = |number, function: &str| {
            let mut found = finding(16, number);
            found.earlier.by = By::Kernel;
            found.earlier.culprit = Some(function.into());
            found
        };
        let expected = |kind, function: &str| ExpectedFinding {
            on: vec!["armv6".into()],
            kinds: vec![kind],
            functions: vec![function.into()],
            reason: "It does not flush.".into(),
            fixed_by: Vec::new(),
        };
        let (dirty, stale) = (FindingKind::DirtyElsewhere, FindingKind::StaleCopy);
        let judged = |outcome, found: &[Finding], findings: &[ExpectedFinding], missing_fails| {
            let mut seen = seen(outcome);
            let window = Window { findings: found.to_vec(), page: 4096, ..Window::default() };
            seen.oracle = Some(Ok(window));
            let verdict = judge(&seen, "armv6", &Expected { findings, missing_fails });
            format!("{}: {}", verdict.word(), verdict.detail().unwrap_or_default())
        };
        let read = [expected(dirty, "lo_read")];
        let both = [expected(dirty, "lo_read"), expected(dirty, "lo_write")];
        let pass = || Outcome::Pass;
        assert_eq!(judged(pass(), &[found(1, "lo_read")], &read, true), "pass: ");
        let two = [found(1, "lo_read"), found(2, "lo_read")];
        assert_eq!(judged(pass(), &two, &read, true), "pass: ");
        let missing = judged(pass(), &[found(1, "lo_read")], &both, true);
        insta::assert_snapshot!(missing, @"fail: the oracle no longer finds dirty-elsewhere in lo_write, which the suite expects; if the bug is fixed, remove the expectation");
        // At depth `user`, a finding may be missing.
        assert_eq!(judged(pass(), &[], &both, false), "pass: ");
        let new = judged(pass(), &[found(1, "lo_read"), found(2, "lo_write")], &read, true);
        insta::assert_snapshot!(new, @"fail: may be stale on hardware: dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that lo_write() stored to 0x40013020 (colour 3) may be only in the cache; `cargo xtask oracle explain armv6/smoke/boot/2` shows the accesses before it");
        let other_kind =
            judged(pass(), &[found(1, "lo_read")], &[expected(stale, "lo_read")], true);
        assert!(other_kind.starts_with("fail: may be stale"), "{other_kind}");
        let other_name = judged(pass(), &[found(1, "lo_read_simple")], &read, true);
        assert!(other_name.starts_with("fail: may be stale"), "{other_name}");
        // A program that was skipped, or that found wrong data, keeps its outcome.
        let skip = Outcome::Skip { reason: "no loop device".into() };
        assert_eq!(judged(skip, &[], &read, true), "skip: no loop device");
        let reason = "byte 3: expected 0x01, found 0x02".to_owned();
        let wrong = judged(Outcome::Fail { reason }, &[found(1, "lo_read")], &read, true);
        assert_eq!(wrong, "fail: byte 3: expected 0x01, found 0x02");
    }

    #[test]
    fn findings_that_were_not_written_are_not_expected() {
        let mut seen = seen(Outcome::Pass);
        let mut window = Window { findings: vec![finding(16, 1)], page: 4096, ..Window::default() };
        window.findings[0].earlier.culprit = Some("lo_read".into());
        let end = r#"{"window":16,"findings":9,"distinct":2,"repeats":[8],"accesses":12}"#;
        window.end = Some(serde_json::from_str(end).unwrap());
        seen.oracle = Some(Ok(window));
        let findings = [ExpectedFinding {
            on: Vec::new(),
            kinds: vec![FindingKind::DirtyElsewhere],
            functions: vec!["lo_read".into()],
            reason: "It does not flush.".into(),
            fixed_by: Vec::new(),
        }];
        let expected = Expected { findings: &findings, missing_fails: true };
        let verdict = judge(&seen, "armv6", &expected);
        insta::assert_snapshot!(verdict.detail().unwrap(), @"the oracle counted more findings than it wrote; others may be among them");
    }

    #[test]
    fn a_failure_with_an_unreliable_clock_is_infra() {
        let judged = |outcome, millis| {
            let mut seen = seen(outcome);
            seen.end_record = seen.end_record.map(|report| EndRecord {
                millis,
                host_time: Duration::from_millis(900),
                ..report
            });
            let verdict = judge(&seen, "x86_64", &Expected::default());
            format!("{}: {}", verdict.word(), verdict.detail().unwrap_or_default())
        };
        insta::assert_snapshot!(judged(Outcome::Timeout, 20_000), @"infra: the guest's clock is unreliable: it advanced 20000 ms in 900 ms, and then the case reached its deadline");
        let reason = "server: FUSE_MUNMAPs: expected 1, found 0 after 5000 ms";
        let failed = || Outcome::Fail { reason: reason.into() };
        insta::assert_snapshot!(judged(failed(), 6_000), @"infra: the guest's clock is unreliable: it advanced 6000 ms in 900 ms, and then the case failed: server: FUSE_MUNMAPs: expected 1, found 0 after 5000 ms");
        assert_eq!(judged(failed(), 5_000), format!("fail: {reason}"));
        assert_eq!(judged(Outcome::Pass, 20_000), "pass: ");
    }

    #[test]
    fn the_end_of_the_boot_outweighs_the_record() {
        let ends = [
            (BootEnd::Crash("Kernel panic".into()), "crash"),
            (BootEnd::Silence(Phase::Test), "timeout"),
            (BootEnd::Overtime(Phase::Test), "timeout"),
            (BootEnd::Qemu(End::Exit), "crash"),
            (BootEnd::Qemu(End::Signal(9)), "infra"),
            (BootEnd::Interrupted, "not-run"),
            (BootEnd::Stopped("stopped because a case failed".into()), "not-run"),
        ];
        for (end, word) in ends {
            let mut cut = seen(Outcome::Pass);
            cut.boot_end = Some(end.clone());
            assert_eq!(judge(&cut, "armv6", &Expected::default()).word(), word, "{end:?}");
        }
    }

    #[test]
    fn a_case_that_must_fail_passes_only_by_failing() {
        let judged = |verdict| as_expected(verdict, Expect::Fail);
        assert_eq!(judged(fail("as it should")), Verdict::Pass);
        assert_eq!(judged(Verdict::Pass), fail("expected the verdict fail, got pass"));
        let timeout = Verdict::Timeout { phase: Phase::Test, place: None };
        let reason = "expected the verdict fail, got timeout: time limit exceeded in phase test";
        assert_eq!(judged(timeout), fail(reason));
        let infra = Verdict::Infra { reason: "QEMU is gone".into() };
        assert_eq!(judged(infra.clone()), infra);
    }

    #[test]
    fn a_boot_failure_differs_from_a_failure_of_the_lab() {
        let crash = BootEnd::Crash("No working init found".into());
        assert_eq!(never_started(&crash, false).word(), "boot-fail");
        let qemu = BootEnd::Qemu(End::Error(1, "no such machine".into()));
        assert_eq!(never_started(&qemu, false).word(), "infra");
        assert_eq!(never_started(&BootEnd::Interrupted, true).word(), "not-run");
    }
}

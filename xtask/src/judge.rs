// SPDX-License-Identifier: MIT OR Apache-2.0
//! Judge: from what was seen of a case to its verdict.
//!
//! QEMU's exit status means nothing here. A case passes when a whole record says so, no frame of it was broken,
//! the kernel neither warned nor got tainted while it ran, and the oracle, where it watches, found nothing.

use std::time::Duration;

use protocol::record::Outcome;

use crate::machine::process::End;
use crate::oracle::{listener::Window, story};
use crate::results::{Phase, Verdict};
use crate::suite::Expect;
use crate::watch::{BootEnd, EndRecord, Observation};

/// The verdict on a case that started, on this target.
pub(crate) fn judge(seen: &Observation, target: &str) -> Verdict {
    if let Some(end) = &seen.boot_end {
        return cut_short(end);
    }
    if let Some(error) = seen.broken.first() {
        return Verdict::Infra {
            reason: format!("a record of this case did not arrive whole: {error}"),
        };
    }
    let Some(report) = &seen.end_record else {
        return Verdict::Infra {
            reason: "no record of its end arrived, yet the guest went on".into(),
        };
    };
    let found = match &seen.oracle {
        Some(Err(why)) => {
            return Verdict::Infra {
                reason: distrust(why),
            };
        }
        Some(Ok(window)) => findings(seen, window, target),
        None => None,
    };
    let against: Vec<String> = trouble(seen, report).into_iter().chain(found).collect();
    let against = (!against.is_empty()).then(|| against.join("; "));
    match (&report.outcome, against) {
        (Outcome::Timeout | Outcome::Fail { .. }, None) if runs_wild(report) => Verdict::Infra {
            reason: format!(
                "the guest's clock cannot be trusted: {} ms of it passed in {} ms, and then the case ended with {}",
                report.millis,
                report.host_time.as_millis(),
                match &report.outcome {
                    Outcome::Fail { reason } => reason,
                    _ => "its deadline",
                }
            ),
        },
        (Outcome::Timeout, _) => Verdict::Timeout { phase: Phase::Test },
        (Outcome::Fail { reason }, None) => Verdict::Fail {
            reason: reason.clone(),
        },
        (Outcome::Fail { reason }, Some(trouble)) => Verdict::Fail {
            reason: format!("{reason}; {trouble}"),
        },
        (Outcome::Pass | Outcome::Skip { .. }, Some(trouble)) => Verdict::Fail { reason: trouble },
        (Outcome::Skip { reason }, None) => Verdict::Skip {
            reason: reason.clone(),
        },
        (Outcome::Pass, None) => Verdict::Pass,
    }
}

/// Whether the guest's clock went much faster than the host's: on a machine that is itself virtual, QEMU's counter of
/// processor cycles may stand still while the guest measures how fast it is. Then every patience is at its end too soon.
fn runs_wild(report: &EndRecord) -> bool {
    let guest = Duration::from_millis(report.millis);
    // The host may have come late to the record of the start.
    guest > 4 * report.host_time + Duration::from_secs(2)
}

/// The verdict on a case that is to get the verdict `expect`: a pass if it did. What the lab or the machine failed at
/// stays what it is.
pub(crate) fn as_expected(verdict: Verdict, expect: Expect) -> Verdict {
    match (expect, &verdict) {
        (Expect::Pass, _) | (_, Verdict::Infra { .. } | Verdict::BootFail { .. }) => verdict,
        _ if verdict.word() == expect.word() => Verdict::Pass,
        _ => {
            let detail = verdict
                .detail()
                .map_or(String::new(), |text| format!(": {text}"));
            let (wanted, word) = (expect.word(), verdict.word());
            Verdict::Fail {
                reason: format!("expected the verdict {wanted}, got {word}{detail}"),
            }
        }
    }
}

/// The verdict on a case that was running when the boot ended.
fn cut_short(end: &BootEnd) -> Verdict {
    match end {
        BootEnd::Crash(line) => Verdict::Crash {
            marker: line.clone(),
        },
        BootEnd::Silence(phase) | BootEnd::Overtime(phase) => Verdict::Timeout { phase: *phase },
        BootEnd::Qemu(End::Exit) => Verdict::Crash {
            marker: "the machine went down without a word".into(),
        },
        end => Verdict::Infra {
            reason: in_words(end),
        },
    }
}

/// The verdict on a case that never started because its boot ended first.
pub(crate) fn never_started(end: &BootEnd, up: bool) -> Verdict {
    match (up, end) {
        (_, BootEnd::Interrupted) => Verdict::Infra {
            reason: "interrupted before it ran".into(),
        },
        (
            _,
            BootEnd::Qemu(End::Signal(_) | End::Error(..))
            | BootEnd::WrongCache(_)
            | BootEnd::Oracle(_),
        ) => Verdict::Infra {
            reason: in_words(end),
        },
        (false, end) => Verdict::BootFail {
            reason: format!("no first record from the guest: {}", in_words(end)),
        },
        (true, end) => Verdict::Infra {
            reason: format!("the guest never started it: {}", in_words(end)),
        },
    }
}

/// The end of a boot in words.
pub(crate) fn in_words(end: &BootEnd) -> String {
    match end {
        BootEnd::Goodbye => "the guest said goodbye".into(),
        BootEnd::Crash(line) => format!("the kernel crashed: {line}"),
        BootEnd::Silence(phase) => format!("nothing was heard for too long in phase {phase}"),
        BootEnd::Overtime(phase) => format!("phase {phase} took too long"),
        BootEnd::Qemu(End::Exit) => "QEMU ended, and the guest had not said goodbye".into(),
        BootEnd::Qemu(End::Signal(signal)) => format!("QEMU was killed by signal {signal}"),
        BootEnd::Qemu(End::Error(code, text)) => format!("QEMU ended with status {code}: {text}"),
        BootEnd::WrongCache(said) => format!("this is not the machine it is to be: {said}"),
        BootEnd::Oracle(why) => distrust(why),
        BootEnd::Interrupted => "interrupted".into(),
    }
}

/// What an oracle that is not trusted means.
fn distrust(why: &str) -> String {
    format!("the oracle cannot be trusted: {why} (docs/oracle.md; `--oracle off` runs without it)")
}

/// What the oracle has against the case.
fn findings(seen: &Observation, window: &Window, target: &str) -> Option<String> {
    let more = match window.distinct() {
        0 => return None,
        1 => String::new(),
        distinct => format!(", and {} more", distinct - 1),
    };
    let Some(first) = window.findings.first() else {
        return Some("the oracle counted findings and told of none".into());
    };
    let id = story::id(target, &seen.case, first.number);
    let sentence = story::sentence(first, window.page);
    Some(format!(
        "may be stale on hardware: {sentence}{more}; `cargo xtask oracle explain {id}` tells how it came to that"
    ))
}

/// What the kernel has against the case.
fn trouble(seen: &Observation, report: &EndRecord) -> Option<String> {
    let first = seen.hits.first();
    match (first, taint_letters(report.taint)) {
        (Some(hit), _) => Some(format!("the kernel said: {}", hit.line.trim())),
        (None, letters) if !letters.is_empty() => {
            Some(format!("the kernel got tainted: {letters}"))
        }
        _ => None,
    }
}

/// The letters of taint bits, as in Documentation/admin-guide/tainted-kernels.rst.
fn taint_letters(taint: u64) -> String {
    const LETTERS: &str = "PFSRMBUDAWCIOELKXTN";
    let named = LETTERS.chars().enumerate();
    let mut letters: String = named
        .filter(|(bit, _)| taint >> bit & 1 == 1)
        .map(|(_, letter)| letter)
        .collect();
    if taint >> LETTERS.len() != 0 {
        letters += &format!("+{taint:#x}");
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::line::tests::finding;
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
        Verdict::Fail {
            reason: reason.into(),
        }
    }

    #[test]
    fn a_whole_record_and_a_quiet_kernel_pass() {
        assert_eq!(judge(&seen(Outcome::Pass), "armv6"), Verdict::Pass);
    }

    #[test]
    fn a_case_without_a_whole_record_does_not_pass() {
        let mut none = seen(Outcome::Pass);
        none.end_record = None;
        assert_eq!(judge(&none, "armv6").word(), "infra");
        let mut broken = seen(Outcome::Pass);
        broken
            .broken
            .push(FrameError::Truncated("=dmmap= 4".into()));
        assert_eq!(judge(&broken, "armv6").word(), "infra");
    }

    #[test]
    fn a_kernel_that_warned_or_got_tainted_fails_the_case() {
        let mut warned = seen(Outcome::Pass);
        let line = "[    2.1] WARNING: CPU: 0 PID: 60 at fs/fuse/dmmap.c:7 f+0x1/0x2";
        warned.hits.extend(Scanner::default().line(line));
        assert_eq!(
            judge(&warned, "armv6"),
            fail(&format!("the kernel said: {line}"))
        );

        let mut tainted = seen(Outcome::Pass);
        tainted.end_record.as_mut().unwrap().taint = 1 << 9 | 1 << 7;
        assert_eq!(judge(&tainted, "armv6"), fail("the kernel got tainted: DW"));

        let mut both = seen(Outcome::Fail {
            reason: "lost a store".into(),
        });
        both.end_record.as_mut().unwrap().taint = 1 << 9;
        assert_eq!(
            judge(&both, "armv6"),
            fail("lost a store; the kernel got tainted: W")
        );
    }

    #[test]
    fn what_the_oracle_found_fails_the_case() {
        let window = |numbers: &[u32]| Window {
            findings: numbers.iter().map(|number| finding(16, *number)).collect(),
            page: 4096,
            ..Window::default()
        };
        let judged = |outcome, oracle| {
            let mut seen = seen(outcome);
            seen.oracle = Some(oracle);
            let verdict = judge(&seen, "armv6");
            format!(
                "{}: {}",
                verdict.word(),
                verdict.detail().unwrap_or_default()
            )
        };
        assert_eq!(judged(Outcome::Pass, Ok(window(&[]))), "pass: ");
        insta::assert_snapshot!(judged(Outcome::Pass, Ok(window(&[4]))), @"fail: may be stale on hardware: dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while what a process stored to 0x40013020 (colour 3) may be in the cache only; `cargo xtask oracle explain armv6/smoke/boot/4` tells how it came to that");
        let reason = "lost a store".into();
        insta::assert_snapshot!(judged(Outcome::Fail { reason }, Ok(window(&[1, 2, 3]))), @"fail: lost a store; may be stale on hardware: dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while what a process stored to 0x40013020 (colour 3) may be in the cache only, and 2 more; `cargo xtask oracle explain armv6/smoke/boot/1` tells how it came to that");
        insta::assert_snapshot!(judged(Outcome::Pass, Err("it saw no access".into())), @"infra: the oracle cannot be trusted: it saw no access (docs/oracle.md; `--oracle off` runs without it)");
        // That much is certain.
        assert_eq!(
            judged(Outcome::Timeout, Ok(window(&[1]))),
            "timeout: time limit exceeded in phase test"
        );
    }

    #[test]
    fn what_a_wild_clock_brought_about_is_not_held_against_the_kernel() {
        let judged = |outcome, millis| {
            let mut seen = seen(outcome);
            seen.end_record = seen.end_record.map(|report| EndRecord {
                millis,
                host_time: Duration::from_millis(900),
                ..report
            });
            let verdict = judge(&seen, "x86_64");
            format!(
                "{}: {}",
                verdict.word(),
                verdict.detail().unwrap_or_default()
            )
        };
        insta::assert_snapshot!(judged(Outcome::Timeout, 20_000), @"infra: the guest's clock cannot be trusted: 20000 ms of it passed in 900 ms, and then the case ended with its deadline");
        let reason = "server: expected 1 FUSE_MUNMAPs, found 0 after 5000 ms";
        let failed = || Outcome::Fail {
            reason: reason.into(),
        };
        insta::assert_snapshot!(judged(failed(), 6_000), @"infra: the guest's clock cannot be trusted: 6000 ms of it passed in 900 ms, and then the case ended with server: expected 1 FUSE_MUNMAPs, found 0 after 5000 ms");
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
            (BootEnd::Interrupted, "infra"),
        ];
        for (end, word) in ends {
            let mut cut = seen(Outcome::Pass);
            cut.boot_end = Some(end.clone());
            assert_eq!(judge(&cut, "armv6").word(), word, "{end:?}");
        }
    }

    #[test]
    fn a_case_that_is_to_fail_passes_by_failing_and_in_no_other_way() {
        let wanted = |verdict| as_expected(verdict, Expect::Fail);
        assert_eq!(wanted(fail("as it should")), Verdict::Pass);
        assert_eq!(
            wanted(Verdict::Pass),
            fail("expected the verdict fail, got pass")
        );
        let timeout = Verdict::Timeout { phase: Phase::Test };
        let reason = "expected the verdict fail, got timeout: time limit exceeded in phase test";
        assert_eq!(wanted(timeout), fail(reason));
        let infra = Verdict::Infra {
            reason: "QEMU is gone".into(),
        };
        assert_eq!(wanted(infra.clone()), infra);
    }

    #[test]
    fn a_boot_that_never_got_up_is_told_from_a_broken_lab() {
        let crash = BootEnd::Crash("No working init found".into());
        assert_eq!(never_started(&crash, false).word(), "boot-fail");
        let qemu = BootEnd::Qemu(End::Error(1, "no such machine".into()));
        assert_eq!(never_started(&qemu, false).word(), "infra");
        assert_eq!(never_started(&BootEnd::Interrupted, true).word(), "infra");
    }
}

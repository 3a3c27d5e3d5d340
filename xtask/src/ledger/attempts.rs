// SPDX-License-Identifier: MIT OR Apache-2.0
//! Attempts of a case: how often it has run, and the one result that follows from all of its runs.

use crate::policy::Policy;
use crate::results::{CaseResult, FailedAttempt, Verdict};

/// Number of failed attempts of a case with log, console and findings in the results. The files of the boots have all
/// of them.
const DETAILED: usize = 10;

/// Separator of the case and the number of its attempt in the plan of a boot.
const SEPARATOR: char = '#';

/// Returns the name of an attempt in the plan of a boot: the ID of the case, and from the second attempt on its number.
pub(super) fn name(case: &str, attempt: usize) -> String {
    match attempt {
        1 => case.to_owned(),
        number => format!("{case}{SEPARATOR}{number}"),
    }
}

/// Returns the ID of the case from the name of an attempt.
pub(super) fn case_of(name: &str) -> &str {
    name.split_once(SEPARATOR).map_or(name, |(case, _)| case)
}

/// Attempts of one case.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    count: usize,
    failed: Vec<FailedAttempt>,
    /// Result that the reports show: of the first failed attempt if the case fails, else of the last attempt.
    shown: Option<CaseResult>,
    last_failed: bool,
    skipped: bool,
}

impl Attempts {
    /// Returns the number of attempts.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Returns the number of failed attempts.
    pub(super) fn failed(&self) -> usize {
        self.failed.len()
    }

    /// Adds the result of the next attempt. A result without a boot counts only if the case has run before.
    pub(super) fn add(&mut self, result: CaseResult, policy: &Policy) {
        if result.boot.is_some() || self.count > 0 {
            self.count += 1;
        }
        self.last_failed = result.verdict.is_failure();
        self.skipped = matches!(result.verdict, Verdict::Skip { .. });
        if self.last_failed {
            let detailed = self.failed.len() < DETAILED;
            self.failed.push(FailedAttempt::of(self.count, &result, detailed));
        }
        let first_failure = self.shown.as_ref().is_some_and(|shown| shown.verdict.is_failure());
        if !first_failure || (result.verdict == Verdict::Pass && !policy.repeats()) {
            self.shown = Some(result);
        }
    }

    /// Returns true if the case must run again.
    pub(super) fn wants_another(&self, policy: &Policy) -> bool {
        if self.skipped || self.count == 0 {
            return false;
        }
        match policy.repeats() {
            true => policy.repeat.is_none_or(|limit| self.count < limit),
            false => self.last_failed && self.count <= policy.retries,
        }
    }

    /// Makes the last attempt final and returns the result of the case.
    pub(super) fn close(&mut self, policy: &Policy) -> CaseResult {
        let mut result = self.shown.take().expect("the case has a result");
        result.attempts = self.count;
        if self.count > 1 {
            result.failed_attempts = std::mem::take(&mut self.failed);
        }
        result.flaky = !result.failed_attempts.is_empty() && !result.verdict.is_failure();
        if result.flaky && policy.strict {
            result.verdict = Verdict::fail(flaky_reason(&result));
        }
        result
    }
}

/// Returns the reason for the failure of a flaky case with `--strict`.
fn flaky_reason(case: &CaseResult) -> String {
    let first = &case.failed_attempts[0];
    let detail = first.verdict.detail().map_or(String::new(), |detail| format!(": {detail}"));
    format!("flaky: {}; attempt {}: {}{detail}", case.tally(), first.number, first.verdict.word())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    const REPEAT: Policy = Policy {
        repeat: Some(3),
        fresh_boot: false,
        retries: 0,
        strict: false,
        max_fail: None,
        max_timeouts: None,
    };
    const RETRY: Policy = Policy { repeat: Some(1), retries: 2, ..REPEAT };

    fn pass() -> CaseResult {
        CaseResult { boot: Some(2), ..samples::pass("smoke/redirect.fuse") }
    }

    /// Runs a case until it needs no other attempt, and describes its result.
    fn outcome(policy: &Policy, results: Vec<CaseResult>) -> String {
        let mut attempts = Attempts::default();
        let mut used = 0;
        for result in results {
            attempts.add(result, policy);
            used += 1;
            if !attempts.wants_another(policy) {
                break;
            }
        }
        let case = attempts.close(policy);
        let failed: Vec<usize> = case.failed_attempts.iter().map(|a| a.number).collect();
        let (word, boot) = (case.verdict.word(), case.boot);
        format!(
            "{used} used: {word}, flaky {}, attempts {}, failed {failed:?}, boot {boot:?}",
            case.flaky, case.attempts
        )
    }

    #[test]
    fn a_case_that_runs_once_has_one_attempt() {
        let once = Policy::default();
        let lines = [outcome(&once, vec![pass()]), outcome(&once, vec![samples::failed()])];
        insta::assert_snapshot!(lines.join("\n"), @"
        1 used: pass, flaky false, attempts 1, failed [], boot Some(2)
        1 used: fail, flaky false, attempts 1, failed [], boot Some(1)
        ");
    }

    #[test]
    fn a_retried_case_passes_if_one_attempt_passes() {
        let fail = samples::failed;
        let lines = [
            outcome(&RETRY, vec![pass(), pass()]),
            outcome(&RETRY, vec![fail(), pass(), pass()]),
            outcome(&RETRY, vec![fail(), fail(), fail(), fail()]),
            outcome(&Policy { strict: true, ..RETRY }, vec![fail(), pass()]),
        ];
        insta::assert_snapshot!(lines.join("\n"), @"
        1 used: pass, flaky false, attempts 1, failed [], boot Some(2)
        2 used: pass, flaky true, attempts 2, failed [1], boot Some(2)
        3 used: fail, flaky false, attempts 3, failed [1, 2, 3], boot Some(1)
        2 used: fail, flaky true, attempts 2, failed [1], boot Some(2)
        ");
    }

    #[test]
    fn a_skip_does_not_hide_the_failure_before_it() {
        let line = outcome(&RETRY, vec![samples::failed(), samples::skipped()]);
        insta::assert_snapshot!(line, @"2 used: fail, flaky false, attempts 2, failed [1], boot Some(1)");
    }

    #[test]
    fn a_repeated_case_fails_if_one_attempt_fails() {
        let fail = samples::failed;
        let lines = [
            outcome(&REPEAT, vec![pass(), pass(), pass(), pass()]),
            outcome(&REPEAT, vec![pass(), fail(), pass()]),
            outcome(&Policy { repeat: None, ..REPEAT }, vec![pass(), pass(), pass(), pass()]),
        ];
        insta::assert_snapshot!(lines.join("\n"), @"
        3 used: pass, flaky false, attempts 3, failed [], boot Some(2)
        3 used: fail, flaky false, attempts 3, failed [2], boot Some(1)
        4 used: pass, flaky false, attempts 4, failed [], boot Some(2)
        ");
    }

    #[test]
    fn a_case_that_is_skipped_or_never_ran_does_not_run_again() {
        let never = || samples::never_ran("smoke/boot", Verdict::infra("QEMU is gone"));
        for policy in [REPEAT, RETRY] {
            for result in [samples::skipped(), never()] {
                let mut attempts = Attempts::default();
                attempts.add(result, &policy);
                assert!(!attempts.wants_another(&policy));
                assert_eq!(attempts.close(&policy).attempts, 0);
            }
        }
        // A boot that fails between two repetitions is an attempt.
        let mut attempts = Attempts::default();
        attempts.add(pass(), &REPEAT);
        attempts.add(never(), &REPEAT);
        assert!(attempts.wants_another(&REPEAT));
        assert_eq!((attempts.count(), attempts.failed()), (2, 1));
    }

    #[test]
    fn the_reason_of_a_strict_failure_names_the_first_failed_attempt() {
        let mut attempts = Attempts::default();
        let policy = Policy { strict: true, ..RETRY };
        attempts.add(samples::timed_out(), &policy);
        attempts.add(pass(), &policy);
        let verdict = attempts.close(&policy).verdict;
        insta::assert_snapshot!(verdict.detail().unwrap(), @"flaky: failed in attempt 1 of 2; attempt 1: timeout: time limit exceeded in phase test: client waits in fuse_dmmap_req_wait");
    }

    #[test]
    fn only_the_first_failures_keep_their_details() {
        let mut attempts = Attempts::default();
        let policy = Policy { repeat: None, ..REPEAT };
        (0..=DETAILED).for_each(|_| attempts.add(samples::failed(), &policy));
        let case = attempts.close(&policy);
        let kept = case.failed_attempts.iter().filter(|attempt| !attempt.log.is_empty());
        assert_eq!((kept.count(), case.failed_attempts.len()), (DETAILED, DETAILED + 1));
    }

    #[test]
    fn names_of_attempts() {
        assert_eq!(name("smoke/boot", 1), "smoke/boot");
        assert_eq!(name("smoke/boot", 12), "smoke/boot#12");
        assert_eq!(case_of("smoke/boot#12"), "smoke/boot");
        assert_eq!(case_of("smoke/boot"), "smoke/boot");
    }
}

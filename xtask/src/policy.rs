// SPDX-License-Identifier: MIT OR Apache-2.0
//! Policy: how often each case runs, and when a run stops early.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Default of [`Policy::max_timeouts`] on the command line.
pub(crate) const MAX_TIMEOUTS: usize = 5;

/// Repetition of cases, and limits that stop a run early. By default, each case runs once, and nothing stops the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Number of times that each case runs; `None` to repeat the cases until the run stops. A case fails if one of its
    /// attempts fails.
    pub repeat: Option<usize>,
    /// Boots the machine again for each repetition.
    pub fresh_boot: bool,
    /// Number of times that a failed case runs again. A case passes if one of its attempts passes.
    pub retries: usize,
    /// Fails a case that failed before it passed.
    pub strict: bool,
    /// Number of failed cases, on all targets, after which the run stops.
    pub max_fail: Option<usize>,
    /// Number of consecutive timeouts after which the tests of a target stop.
    pub max_timeouts: Option<usize>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            repeat: Some(1),
            fresh_boot: false,
            retries: 0,
            strict: false,
            max_fail: None,
            max_timeouts: None,
        }
    }
}

impl Policy {
    /// Returns true if the attempts of a case are repetitions, all of which must pass.
    pub(crate) fn repeats(&self) -> bool {
        self.repeat != Some(1)
    }

    /// Returns the reason for stopping a target after `timeouts` consecutive timeouts, or `None` if it may go on.
    pub(crate) fn after_timeouts(&self, timeouts: usize) -> Option<String> {
        let reached = self.max_timeouts.is_some_and(|limit| timeouts >= limit);
        reached.then(|| match timeouts {
            1 => "stopped because a case timed out".into(),
            count => format!("stopped because {count} cases in a row timed out"),
        })
    }
}

/// Counter of the failed cases of a run, on all targets. It stops the run at the limit.
#[derive(Debug)]
pub(crate) struct Failures {
    limit: Option<usize>,
    count: AtomicUsize,
}

impl Failures {
    /// Returns a counter that stops the run after `limit` failed cases.
    pub(crate) fn new(limit: Option<usize>) -> Self {
        Self { limit, count: AtomicUsize::new(0) }
    }

    /// Counts one failed case.
    pub(crate) fn add(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns the reason for stopping the run, or `None` if it may go on.
    pub(crate) fn stop_reason(&self) -> Option<String> {
        let limit = self.limit.filter(|limit| self.count.load(Ordering::SeqCst) >= *limit)?;
        Some(match limit {
            1 => "stopped because a case failed".into(),
            limit => format!("stopped because {limit} cases failed"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_stops_at_its_limit_of_failures() {
        let failures = Failures::new(Some(2));
        failures.add();
        assert_eq!(failures.stop_reason(), None);
        failures.add();
        insta::assert_snapshot!(failures.stop_reason().unwrap(), @"stopped because 2 cases failed");
        let one = Failures::new(Some(1));
        one.add();
        insta::assert_snapshot!(one.stop_reason().unwrap(), @"stopped because a case failed");
        let without_limit = Failures::new(None);
        without_limit.add();
        assert_eq!(without_limit.stop_reason(), None);
    }

    #[test]
    fn a_target_stops_at_its_limit_of_timeouts() {
        let policy = Policy { max_timeouts: Some(3), ..Policy::default() };
        assert_eq!(policy.after_timeouts(2), None);
        insta::assert_snapshot!(policy.after_timeouts(3).unwrap(), @"stopped because 3 cases in a row timed out");
        assert_eq!(Policy::default().after_timeouts(100), None);
    }
}

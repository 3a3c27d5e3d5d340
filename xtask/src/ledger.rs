// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ledger of a target's run: records the verdict of each case that has run, and plans the next boot. At the end, every
//! planned case has exactly one verdict.
//!
//! A case may run more than once. In the plan of a boot, each of its attempts has a name of its own (`smoke/boot#2`),
//! so that the guest, the watch and the oracle need not know of attempts.

mod attempts;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::event::{Events, TargetEvent};
use crate::judge::{Expected, as_expected, describe_end, judge, never_started};
use crate::machine::accel::Chosen;
use crate::oracle::excuse::{self, Excuse};
use crate::oracle::listener::{Excused, WindowResult};
use crate::oracle::{Depth, OracleDecision, story};
use crate::plan::Case;
use crate::policy::{Failures, Policy};
use crate::results::{
    CaseResult, ExcusedSummary, OracleState, OracleSummary, Phase, Provenance, TargetResult,
    Verdict,
};
use crate::watch::{BootEnd, BootEvent, Observation};
use attempts::Attempts;

/// Maximum number of findings of a case in the results. The files of the boot contain all of them.
const FINDINGS_KEPT: usize = 10;

/// Maximum number of attempts in one boot, if the cases repeat. More repetitions run in further boots.
const ATTEMPTS_IN_BOOT: usize = 1000;

/// Policy of a run, its counter of failures and its event bus. All targets share them.
#[derive(Clone, Copy)]
pub(crate) struct Control<'a> {
    pub policy: &'a Policy,
    pub failures: &'a Failures,
    pub events: &'a Events,
}

/// Record of one target's run.
pub(crate) struct Ledger<'a> {
    control: Control<'a>,
    cases: &'a [Case],
    /// Attempts of each case.
    attempts: Vec<Attempts>,
    /// Result of each case that does not run again.
    results: Vec<Option<CaseResult>>,
    result: TargetResult,
    phase: Option<(Phase, Instant)>,
    /// Attempts in the current boot that have no result yet, in the order of its plan: the index of the case, and the
    /// name of the attempt.
    queue: Vec<(usize, String)>,
    /// Number of attempts in the plan of the current boot.
    planned: usize,
    /// True if the current boot has sent its first record.
    up: bool,
    /// True if any boot has sent its first record.
    was_up: bool,
    /// True if the previous boot ended before its plan.
    cut_short: bool,
    /// Number of consecutive attempts that timed out.
    timeouts: usize,
    /// True if the run stopped before all cases had run.
    stopped: bool,
    /// Findings of the oracle that are accepted on this target.
    excuses: Vec<Excuse>,
}

impl<'a> Ledger<'a> {
    /// Starts the record of a target. `result` has its names, and nothing else yet. Cases that the plan skips get their
    /// verdict immediately.
    pub(crate) fn open(result: TargetResult, cases: &'a [Case], control: Control<'a>) -> Self {
        let options = result.options();
        control.events.send_of(&result.name, TargetEvent::Start { options });
        let mut ledger = Self {
            control,
            cases,
            attempts: cases.iter().map(|_| Attempts::default()).collect(),
            results: vec![None; cases.len()],
            result,
            phase: None,
            queue: Vec::new(),
            planned: 0,
            up: false,
            was_up: false,
            cut_short: false,
            timeouts: 0,
            stopped: false,
            excuses: Vec::new(),
        };
        for (at, case) in cases.iter().enumerate() {
            if let Some(reason) = case.skip.clone() {
                ledger.enter(at, None, Verdict::Skip { reason });
            }
        }
        ledger
    }

    /// Returns the provenance of the results, for the caller to fill in.
    pub(crate) fn provenance(&mut self) -> &mut Provenance {
        &mut self.result.provenance
    }

    /// Sets the accelerator of the next boot. Sends a note if it differs from that of the previous boot.
    pub(crate) fn set_accel(&mut self, chosen: &Chosen) {
        let before = std::mem::replace(&mut self.result.provenance.accel, chosen.accel.into());
        self.result.provenance.accel_reason.clone_from(&chosen.reason);
        if before.all().iter().any(|before| *before != chosen.accel) {
            let reason = chosen.reason.as_deref().unwrap_or_default();
            self.note(format!("continuing with {}: {reason}", chosen.accel));
        }
    }

    /// Sets the state of the oracle.
    pub(crate) fn set_oracle(&mut self, choice: &OracleDecision) {
        let provenance = &mut self.result.provenance;
        (provenance.oracle, provenance.oracle_reason) = match choice {
            OracleDecision::On(Depth::User) => (OracleState::User.into(), None),
            OracleDecision::On(Depth::Full) => (OracleState::Full.into(), None),
            OracleDecision::On(Depth::Strict) => (OracleState::Strict.into(), None),
            OracleDecision::Off(why) => (OracleState::Off.into(), Some(why.clone())),
        };
    }

    /// Sets the findings of the oracle that are accepted on this target.
    pub(crate) fn set_excuses(&mut self, excuses: &[Excuse]) {
        self.excuses = excuses.to_owned();
    }

    /// Returns the names of the excuses that excused nothing although a case must need them.
    fn unused_excuses(&self) -> Vec<String> {
        let depth = self.result.provenance.oracle.all();
        if !depth.contains(&OracleState::Full) {
            return Vec::new();
        }
        let cases = &self.result.cases;
        let watched = cases
            .iter()
            .filter(|case| case.oracle.as_ref().is_some_and(|oracle| oracle.accesses > 0));
        let watched: Vec<&str> = watched.map(|case| case.id.as_str()).collect();
        let used = cases.iter().flat_map(|case| &case.oracle).flat_map(|oracle| &oracle.excused);
        let used: Vec<&str> = used.map(|excused| excused.name.as_str()).collect();
        let unused = excuse::unused(&self.excuses, &watched, &used);
        unused.into_iter().map(|excuse| excuse.name.clone()).collect()
    }

    /// Returns true if the current boot has sent its first record.
    pub(crate) fn came_up(&self) -> bool {
        self.up
    }

    /// Ends the current phase and begins the next one.
    pub(crate) fn phase(&mut self, phase: Phase, detail: impl Into<String>) {
        self.end_phase();
        self.phase = Some((phase, Instant::now()));
        self.send(TargetEvent::Phase { phase, detail: detail.into() });
    }

    /// Ends the current phase and reports that the next one is waiting. `what` begins with "for", as in "for a lock".
    pub(crate) fn waiting(&mut self, what: &str) {
        self.end_phase();
        self.progress(0, None, format!("waiting {what}"));
    }

    /// Reports progress within the current phase.
    pub(crate) fn progress(&self, done: u64, of: Option<u64>, what: String) {
        self.send(TargetEvent::Progress { done, of, what });
    }

    /// Returns true if no case has to run any more, because all have their verdict or because the run stops. In the
    /// second case, the remaining ones get the verdict `not-run`.
    pub(crate) fn is_over(&mut self) -> bool {
        if let Some(reason) = self.stop_reason() {
            self.stopped = true;
            for at in self.open_positions() {
                self.give_up(at, Verdict::not_run(&reason));
            }
        }
        self.open_positions().is_empty()
    }

    /// Returns true if the run of the target stopped before its end.
    pub(crate) fn has_stopped(&self) -> bool {
        self.stopped
    }

    /// Plans the next boot and returns its cases; none if the run is over. Each has the name of an attempt.
    pub(crate) fn plan_boot(&mut self) -> Vec<Case> {
        self.is_over();
        self.queue = self.next_attempts();
        self.planned = self.queue.len();
        let named = |(at, name): &(usize, String)| {
            let mut case = self.cases[*at].clone();
            case.planned.id.clone_from(name);
            case
        };
        self.queue.iter().map(named).collect()
    }

    /// Returns the attempts for the next boot, in order. Repetitions run in rounds: each case once, then each case
    /// again.
    fn next_attempts(&self) -> Vec<(usize, String)> {
        let policy = self.control.policy;
        let open = self.open_positions();
        let next = |at: usize| self.attempts[at].count() + 1;
        let named = |at: usize, number: usize| (at, attempts::name(self.cases[at].id(), number));
        if !policy.repeats() {
            return open.into_iter().map(|at| named(at, next(at))).collect();
        }
        let mut queue = Vec::new();
        let Some(first) = open.iter().map(|at| next(*at)).min() else {
            return queue;
        };
        for round in first.. {
            let of_round = open.iter().filter(|at| next(**at) <= round);
            queue.extend(of_round.map(|at| named(*at, round)));
            let last = policy.repeat.is_some_and(|limit| round >= limit);
            if last || policy.fresh_boot || queue.len() + open.len() > ATTEMPTS_IN_BOOT {
                break;
            }
        }
        queue
    }

    /// Returns the reason for stopping the current boot, or `None` if it may go on. A boot that has run all of its
    /// cases ends by itself.
    pub(crate) fn stop_boot(&self) -> Option<String> {
        self.stop_reason().filter(|_| !self.queue.is_empty())
    }

    fn stop_reason(&self) -> Option<String> {
        let Control { policy, failures, .. } = self.control;
        policy.after_timeouts(self.timeouts).or_else(|| failures.stop_reason())
    }

    /// Begins a boot and returns its number. The first is 1.
    pub(crate) fn boot(&mut self) -> usize {
        self.result.boots += 1;
        self.up = false;
        let detail = match self.result.boots {
            1 => String::new(),
            n if self.cut_short => format!("boot {n}, because the previous one was cut short"),
            n => format!("boot {n}"),
        };
        self.phase(Phase::Boot, detail);
        self.result.boots
    }

    /// Records an event of the current boot.
    pub(crate) fn record(&mut self, event: BootEvent) {
        match event {
            BootEvent::InitStarted { release } => {
                self.up = true;
                self.was_up = true;
                self.phase(Phase::Test, release);
            }
            BootEvent::CaseStarted(case) => {
                if let Some(at) = self.position(&case) {
                    let (index, of) = (at + 1, self.cases.len());
                    self.send(TargetEvent::CaseStart { case, index, of });
                }
            }
            BootEvent::CaseEnded(observation) => {
                if let Some(at) = self.position(&observation.case) {
                    let case = &self.cases[at];
                    let depth = self.result.provenance.oracle.all();
                    let expected = Expected {
                        findings: &case.expect_findings,
                        missing_fails: depth == [OracleState::Full],
                    };
                    let verdict = judge(&observation, &self.result.name, &expected);
                    let verdict = as_expected(verdict, case.expect);
                    self.queue.retain(|(_, name)| *name != observation.case);
                    // A case that the guest has skipped may have further attempts in the plan of the boot.
                    if self.results[at].is_none() {
                        self.enter(at, Some(*observation), verdict);
                    }
                }
            }
            BootEvent::Output { stream, bytes } => self.send(TargetEvent::Output { stream, bytes }),
            // The boot saves the file.
            BootEvent::File { .. } => {}
            BootEvent::Anomaly(text) => self.note(text),
        }
    }

    /// Records the end of a boot, and gives verdicts to the attempts that must not be tried again. If the boot
    /// completed no attempt, that includes the next one, so that the run always ends.
    pub(crate) fn boot_ended(&mut self, end: &BootEnd, last_lines: Vec<String>) {
        let queue = std::mem::take(&mut self.queue);
        self.cut_short = !queue.is_empty();
        let stuck = queue.len() == self.planned;
        // In these situations, another boot would end in the same way.
        let hopeless = !self.was_up
            || matches!(
                end,
                BootEnd::Interrupted
                    | BootEnd::Stopped(_)
                    | BootEnd::WrongCache(_)
                    | BootEnd::Oracle(_)
            );
        let lost = match (hopeless, !self.up || *end == BootEnd::Goodbye, stuck) {
            (true, ..) => self.open_positions(),
            (false, true, _) => queue.iter().map(|(at, _)| *at).collect(),
            (false, false, true) => queue.iter().take(1).map(|(at, _)| *at).collect(),
            (false, false, false) => Vec::new(),
        };
        // A boot may have several attempts of a case.
        for at in BTreeSet::from_iter(lost) {
            let mut observation = Observation::of(self.cases[at].id().into());
            observation.console = last_lines.clone().into();
            if let BootEnd::Oracle(why) = end {
                observation.oracle = Some(Err(why.clone()));
            }
            self.enter(at, Some(observation), never_started(end, self.up));
            if hopeless && self.results[at].is_none() {
                self.close_case(at);
            }
        }
        if let BootEnd::Silence(Phase::Shutdown) | BootEnd::Overtime(Phase::Shutdown) = end {
            self.note(format!("{}; QEMU was stopped", describe_end(end)));
        }
    }

    /// Records that the target cannot be tested, or that its test cannot continue. Cases that have not run get the
    /// verdict `infra`.
    pub(crate) fn fail(&mut self, reason: String) {
        for at in self.open_positions() {
            self.give_up(at, Verdict::infra(&reason));
        }
        self.result.failure = Some(reason);
    }

    /// Records that the run was interrupted before the target was ready.
    pub(crate) fn interrupted(&mut self) {
        for at in self.open_positions() {
            self.give_up(at, never_started(&BootEnd::Interrupted, self.up));
        }
    }

    /// Ends a case that does not run again. If it has not run at all, `verdict` is its verdict.
    fn give_up(&mut self, at: usize, verdict: Verdict) {
        if self.attempts[at].count() == 0 {
            self.enter(at, None, verdict);
        } else {
            self.close_case(at);
        }
    }

    /// Ends the record and returns the results.
    pub(crate) fn close(mut self) -> TargetResult {
        self.end_phase();
        self.result.cases = std::mem::take(&mut self.results).into_iter().flatten().collect();
        debug_assert_eq!(self.result.cases.len(), self.cases.len());
        self.result.unused_excuses = self.unused_excuses();
        self.send(TargetEvent::End(Box::new(self.result.clone())));
        self.result
    }

    /// Reports a note that belongs to no case.
    pub(crate) fn note(&self, text: String) {
        self.send(TargetEvent::Note(text));
    }

    fn send(&self, event: TargetEvent) {
        self.control.events.send_of(&self.result.name, event);
    }

    /// Records the verdict of an attempt. The case ends unless it has to run again.
    fn enter(&mut self, at: usize, observation: Option<Observation>, verdict: Verdict) {
        let policy = self.control.policy;
        // A case that has run keeps its result if the run ends before its next attempt.
        if matches!(verdict, Verdict::NotRun { .. }) && self.attempts[at].count() > 0 {
            return self.close_case(at);
        }
        let result = self.case_result(at, observation, verdict);
        match result.verdict {
            Verdict::Timeout { .. } => self.timeouts += 1,
            _ if result.boot.is_some() => self.timeouts = 0,
            _ => {}
        }
        let attempts = &mut self.attempts[at];
        let failed_before = attempts.failed() > 0;
        let failed = result.verdict.is_failure();
        attempts.add(result.clone(), policy);
        let (number, again) = (attempts.count(), attempts.wants_another(policy));
        // A case that is retried fails only with its last attempt.
        if policy.retries == 0 && failed && !failed_before {
            self.control.failures.add();
        }
        if again || number > 1 {
            self.send(TargetEvent::AttemptEnd { number, result: Box::new(result) });
        }
        if !again {
            self.close_case(at);
        }
    }

    /// Ends a case with the attempts that it has.
    fn close_case(&mut self, at: usize) {
        let policy = self.control.policy;
        let result = self.attempts[at].close(policy);
        if policy.retries > 0 && result.verdict.is_failure() {
            self.control.failures.add();
        }
        self.results[at] = Some(result.clone());
        self.send(TargetEvent::CaseEnd(Box::new(result)));
    }

    /// Returns the result of an attempt.
    fn case_result(
        &self,
        at: usize,
        observation: Option<Observation>,
        verdict: Verdict,
    ) -> CaseResult {
        let case = &self.cases[at];
        let observation = observation.unwrap_or_else(|| Observation::of(case.id().into()));
        let ran = observation.end_record.is_some() || observation.boot_end.is_some();
        let distrust = match (&observation.boot_end, &observation.oracle) {
            (Some(BootEnd::Oracle(why)), _) | (_, Some(Err(why))) => Some(why.clone()),
            _ => None,
        };
        let passed = !verdict.is_failure();
        let (millis, figures) = match observation.end_record {
            Some(report) => (Some(report.millis), report.figures),
            None => (None, BTreeMap::new()),
        };
        CaseResult {
            id: case.id().into(),
            suite: case.suite.clone(),
            about: case.about.clone(),
            promises: case.promises.clone(),
            verdict,
            flaky: false,
            attempts: usize::from(ran),
            failed_attempts: Vec::new(),
            millis,
            boot: ran.then_some(self.result.boots),
            figures,
            curves: observation.curves,
            // Findings have the name of the attempt.
            oracle: watched(observation.oracle, &self.result.name, &observation.case),
            distrust,
            log: observation.log.into(),
            console: if passed { Vec::new() } else { observation.console.into() },
        }
    }

    /// Returns the index of the case of which `name` names an attempt.
    fn position(&self, name: &str) -> Option<usize> {
        let id = attempts::case_of(name);
        self.cases.iter().position(|case| case.id() == id)
    }

    fn open_positions(&self) -> Vec<usize> {
        let results = self.results.iter().enumerate();
        results.filter(|(_, result)| result.is_none()).map(|(at, _)| at).collect()
    }

    fn end_phase(&mut self) {
        if let Some((phase, since)) = self.phase.take() {
            *self.result.seconds.entry(phase.to_string()).or_default() +=
                since.elapsed().as_secs_f64();
        }
    }
}

/// Returns the oracle's result for a case, for the reports.
fn watched(window: Option<WindowResult>, target: &str, case: &str) -> Option<OracleSummary> {
    let window = window?.ok()?;
    let findings = window.findings.iter().take(FINDINGS_KEPT);
    Some(OracleSummary {
        accesses: window.end.as_ref().map_or(0, |end| end.accesses),
        distinct: window.distinct(),
        findings: findings.map(|finding| story::summary(finding, &window, target, case)).collect(),
        excused: window
            .excused
            .iter()
            .take(FINDINGS_KEPT)
            .map(|Excused { finding, excuse }| ExcusedSummary {
                name: excuse.name.clone(),
                reason: excuse.reason.clone(),
                finding: story::summary(finding, &window, target, case),
            })
            .collect(),
    })
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ledger of a target's run: records the verdict of each case that has run, and which cases remain. At the end, every
//! planned case has exactly one verdict.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::event::{Events, TargetEvent};
use crate::judge::{Expected, as_expected, describe_end, judge, never_started};
use crate::machine::accel::Chosen;
use crate::oracle::excuse::{self, Excuse};
use crate::oracle::listener::{Excused, WindowResult};
use crate::oracle::{Depth, OracleDecision, story};
use crate::plan::Case;
use crate::results::{
    CaseResult, ExcusedSummary, OracleState, OracleSummary, Phase, Provenance, TargetResult,
    Verdict,
};
use crate::watch::{BootEnd, BootEvent, Observation};

/// Maximum number of findings of a case in the results. The files of the boot contain all of them.
const FINDINGS_KEPT: usize = 10;

/// Record of one target's run.
pub(crate) struct Ledger<'a> {
    events: &'a Events,
    cases: &'a [Case],
    results: Vec<Option<CaseResult>>,
    result: TargetResult,
    phase: Option<(Phase, Instant)>,
    /// True if the current boot has sent its first record.
    up: bool,
    /// Findings of the oracle that are accepted on this target.
    excuses: Vec<Excuse>,
}

impl<'a> Ledger<'a> {
    /// Starts the record of a target. `result` has its names, and nothing else yet. Cases that the plan skips get their
    /// verdict immediately.
    pub(crate) fn open(result: TargetResult, cases: &'a [Case], events: &'a Events) -> Self {
        events.send_of(&result.name, TargetEvent::Start { options: result.options() });
        let mut ledger = Self {
            events,
            cases,
            results: vec![None; cases.len()],
            result,
            phase: None,
            up: false,
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

    /// Returns the cases without a verdict, in the order of the plan.
    pub(crate) fn remaining(&self) -> Vec<&'a Case> {
        let open = self.cases.iter().zip(&self.results);
        open.filter(|(_, result)| result.is_none()).map(|(case, _)| case).collect()
    }

    /// Begins a boot and returns its number. The first is 1.
    pub(crate) fn boot(&mut self) -> usize {
        self.result.boots += 1;
        self.up = false;
        let detail = match self.result.boots {
            1 => String::new(),
            n => format!("boot {n}, because the previous one was cut short"),
        };
        self.phase(Phase::Boot, detail);
        self.result.boots
    }

    /// Records an event of the current boot.
    pub(crate) fn record(&mut self, event: BootEvent) {
        match event {
            BootEvent::InitStarted { release } => {
                self.up = true;
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
                    self.enter(at, Some(*observation), verdict);
                }
            }
            BootEvent::Output { stream, bytes } => self.send(TargetEvent::Output { stream, bytes }),
            // The boot saves the file.
            BootEvent::File { .. } => {}
            BootEvent::Anomaly(text) => self.note(text),
        }
    }

    /// Records the end of a boot that began with `before` remaining cases, and gives verdicts to the cases that must
    /// not be tried again. If the boot completed no case, that includes the next case, so that the run always ends.
    pub(crate) fn boot_ended(&mut self, end: &BootEnd, before: usize, last_lines: Vec<String>) {
        let remaining: Vec<usize> = self.open_positions();
        let stuck = remaining.len() == before;
        // In these situations, another boot would end in the same way.
        let all = !self.up
            || matches!(
                end,
                BootEnd::Goodbye
                    | BootEnd::Interrupted
                    | BootEnd::WrongCache(_)
                    | BootEnd::Oracle(_)
            );
        let lost = match (all, stuck) {
            (true, _) => remaining.len(),
            (false, true) => 1,
            (false, false) => 0,
        };
        for at in remaining.into_iter().take(lost) {
            let mut observation = Observation::of(self.cases[at].id().into());
            observation.console = last_lines.clone().into();
            if let BootEnd::Oracle(why) = end {
                observation.oracle = Some(Err(why.clone()));
            }
            self.enter(at, Some(observation), never_started(end, self.up));
        }
        if let BootEnd::Silence(Phase::Shutdown) | BootEnd::Overtime(Phase::Shutdown) = end {
            self.note(format!("{}; QEMU was stopped", describe_end(end)));
        }
    }

    /// Records that the target cannot be tested, or that its test cannot continue. All remaining cases get the verdict
    /// `infra`.
    pub(crate) fn fail(&mut self, reason: String) {
        for at in self.open_positions() {
            self.enter(at, None, Verdict::infra(&reason));
        }
        self.result.failure = Some(reason);
    }

    /// Records that the run was interrupted before the target was ready.
    pub(crate) fn interrupted(&mut self) {
        for at in self.open_positions() {
            self.enter(at, None, never_started(&BootEnd::Interrupted, self.up));
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
        self.events.send_of(&self.result.name, event);
    }

    fn enter(&mut self, at: usize, observation: Option<Observation>, verdict: Verdict) {
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
        let result = CaseResult {
            id: case.id().into(),
            suite: case.suite.clone(),
            about: case.about.clone(),
            promises: case.promises.clone(),
            verdict,
            millis,
            boot: ran.then_some(self.result.boots),
            figures,
            curves: observation.curves,
            oracle: watched(observation.oracle, &self.result.name, case.id()),
            distrust,
            log: observation.log.into(),
            console: if passed { Vec::new() } else { observation.console.into() },
        };
        self.results[at] = Some(result.clone());
        self.send(TargetEvent::CaseEnd(Box::new(result)));
    }

    fn position(&self, id: &str) -> Option<usize> {
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

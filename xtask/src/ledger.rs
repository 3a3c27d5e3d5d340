// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ledger: who ran, with what verdict, and who still has to. Every planned case leaves it with exactly one verdict.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::event::Event;
use crate::event::Events;
use crate::judge::{as_expected, in_words, judge, never_started};
use crate::machine::accel::Chosen;
use crate::oracle::{Depth, OracleDecision, listener::Heard, story};
use crate::plan::Case;
use crate::results::{
    CaseResult, Named, OracleState, Phase, Provenance, TargetResult, Verdict, Watched,
};
use crate::watch::{BootEnd, BootEvent, Observation};

/// Findings of a case that reports have; the rest is in the files of the boot.
const FINDINGS_KEPT: usize = 10;

/// The books of one target's run.
pub(crate) struct Ledger<'a> {
    events: &'a Events,
    cases: &'a [Case],
    results: Vec<Option<CaseResult>>,
    result: TargetResult,
    phase: Option<(Phase, Instant)>,
    /// Whether the present boot has reached its first record.
    up: bool,
}

impl<'a> Ledger<'a> {
    /// Opens the books; cases that cannot hold on the target are skipped at once.
    pub(crate) fn open(target: &str, flavour: &str, cases: &'a [Case], events: &'a Events) -> Self {
        events.send(Event::TargetStart {
            target: target.into(),
        });
        let mut ledger = Self {
            events,
            cases,
            results: vec![None; cases.len()],
            result: TargetResult {
                target: target.into(),
                flavour: flavour.into(),
                provenance: Provenance::default(),
                failure: None,
                boots: 0,
                seconds: BTreeMap::new(),
                cases: Vec::new(),
            },
            phase: None,
            up: false,
        };
        for (at, case) in cases.iter().enumerate() {
            if let Some(reason) = case.skip.clone() {
                ledger.enter(at, None, Verdict::Skip { reason });
            }
        }
        ledger
    }

    /// What ran; filled in as it becomes known.
    pub(crate) fn provenance(&mut self) -> &mut Provenance {
        &mut self.result.provenance
    }

    /// The next boot runs this way; says so where it is not how the last one ran.
    pub(crate) fn accel(&mut self, chosen: &Chosen) {
        let before = std::mem::replace(&mut self.result.provenance.accel, chosen.accel.into());
        self.result
            .provenance
            .accel_reason
            .clone_from(&chosen.reason);
        if before.all().iter().any(|before| *before != chosen.accel) {
            let reason = chosen.reason.as_deref().unwrap_or_default();
            self.note(format!("{} from here on: {reason}", chosen.accel.word()));
        }
    }

    /// Whether the oracle watches.
    pub(crate) fn oracle(&mut self, choice: &OracleDecision) {
        let provenance = &mut self.result.provenance;
        (provenance.oracle, provenance.oracle_reason) = match choice {
            OracleDecision::On(Depth::User) => (OracleState::User.into(), None),
            OracleDecision::On(Depth::Full) => (OracleState::Full.into(), None),
            OracleDecision::Off(why) => (OracleState::Off.into(), Some(why.clone())),
        };
    }

    /// Whether the present boot has reached its first record.
    pub(crate) fn came_up(&self) -> bool {
        self.up
    }

    /// A phase begins; the one before it ends.
    pub(crate) fn phase(&mut self, phase: Phase, detail: impl Into<String>) {
        self.end_phase();
        self.phase = Some((phase, Instant::now()));
        self.events.send(Event::Phase {
            target: self.result.target.clone(),
            phase,
            detail: detail.into(),
        });
    }

    /// The phase is over, and the next one waits.
    pub(crate) fn waits(&mut self, what: &str) {
        self.end_phase();
        self.progress(0, None, format!("waits {what}"));
    }

    /// Something moved inside the phase.
    pub(crate) fn progress(&self, done: u64, of: Option<u64>, what: String) {
        let target = self.result.target.clone();
        self.events.send(Event::Progress {
            target,
            done,
            of,
            what,
        });
    }

    /// The cases without a verdict, in plan order.
    pub(crate) fn remaining(&self) -> Vec<&'a Case> {
        let open = self.cases.iter().zip(&self.results);
        let open = open.filter(|(_, result)| result.is_none());
        open.map(|(case, _)| case).collect()
    }

    /// The machine starts once more; returns the number of this boot, from 1.
    pub(crate) fn boot(&mut self) -> usize {
        self.result.boots += 1;
        self.up = false;
        let detail = match self.result.boots {
            1 => String::new(),
            n => format!("boot {n}, after the last one was cut short"),
        };
        self.phase(Phase::Boot, detail);
        self.result.boots
    }

    /// Takes what the watch saw.
    pub(crate) fn seen(&mut self, seen: BootEvent) {
        match seen {
            BootEvent::InitStarted { release } => {
                self.up = true;
                self.phase(Phase::Test, release);
            }
            BootEvent::CaseStarted(case) => {
                if let Some(at) = self.place(&case) {
                    self.events.send(Event::CaseStart {
                        target: self.result.target.clone(),
                        case,
                        index: at + 1,
                        of: self.cases.len(),
                    });
                }
            }
            BootEvent::CaseEnded(observation) => {
                if let Some(at) = self.place(&observation.case) {
                    let verdict = as_expected(
                        judge(&observation, &self.result.target),
                        self.cases[at].expect,
                    );
                    self.enter(at, Some(*observation), verdict);
                }
            }
            // The boot keeps it.
            BootEvent::File { .. } => {}
            BootEvent::Anomaly(text) => self.note(text),
        }
    }

    /// The boot is over. A boot that took no case any further takes the next one down with it, so that the run ends.
    pub(crate) fn boot_ended(&mut self, end: &BootEnd, before: usize, last_lines: Vec<String>) {
        let remaining: Vec<usize> = self.open_places();
        let stuck = remaining.len() == before;
        // Next time it would come up no better.
        let all = !self.up
            || matches!(
                end,
                BootEnd::Interrupted | BootEnd::WrongCache(_) | BootEnd::Oracle(_)
            );
        let lost = match (all, stuck || *end == BootEnd::Goodbye) {
            (true, _) => remaining.len(),
            // A guest that says goodbye with cases left will not do better next time.
            (false, true) if *end == BootEnd::Goodbye => remaining.len(),
            (false, true) => 1,
            (false, false) => 0,
        };
        for at in remaining.into_iter().take(lost) {
            let mut seen = Observation::of(self.cases[at].id().into());
            seen.console = last_lines.clone().into();
            if let BootEnd::Oracle(why) = end {
                seen.oracle = Some(Err(why.clone()));
            }
            self.enter(at, Some(seen), never_started(end, self.up));
        }
        match end {
            BootEnd::Silence(Phase::Shutdown) | BootEnd::Overtime(Phase::Shutdown) => {
                self.note(format!("{} and QEMU was stopped", in_words(end)));
            }
            _ => {}
        }
    }

    /// The target cannot be tested (any further).
    pub(crate) fn fail(&mut self, reason: String) {
        for at in self.open_places() {
            let reason = reason.clone();
            self.enter(at, None, Verdict::Infra { reason });
        }
        self.result.failure = Some(reason);
    }

    /// Closes the books.
    pub(crate) fn close(mut self) -> TargetResult {
        self.end_phase();
        let results = std::mem::take(&mut self.results);
        self.result.cases = results.into_iter().flatten().collect();
        debug_assert_eq!(self.result.cases.len(), self.cases.len());
        self.events.send(Event::TargetEnd {
            result: Box::new(self.result.clone()),
        });
        self.result
    }

    /// Says something that is no case's.
    pub(crate) fn note(&self, text: String) {
        let target = Some(self.result.target.clone());
        self.events.send(Event::Note { target, text });
    }

    fn enter(&mut self, at: usize, seen: Option<Observation>, verdict: Verdict) {
        let case = &self.cases[at];
        let ran = seen
            .as_ref()
            .is_some_and(|s| s.end_record.is_some() || s.boot_end.is_some());
        let seen = seen.unwrap_or_else(|| Observation::of(case.id().into()));
        let distrust = match (&seen.boot_end, &seen.oracle) {
            (Some(BootEnd::Oracle(why)), _) | (_, Some(Err(why))) => Some(why.clone()),
            _ => None,
        };
        let held = verdict.exit_code() == 0;
        let (millis, figures) = match seen.end_record {
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
            oracle: watched(seen.oracle, &self.result.target, case.id()),
            distrust,
            log: seen.log.into(),
            console: if held {
                Vec::new()
            } else {
                seen.console.into()
            },
        };
        self.results[at] = Some(result.clone());
        self.events.send(Event::CaseEnd {
            target: self.result.target.clone(),
            result: Box::new(result),
        });
    }

    fn place(&self, id: &str) -> Option<usize> {
        self.cases.iter().position(|case| case.id() == id)
    }

    fn open_places(&self) -> Vec<usize> {
        let places = self.results.iter().enumerate();
        let open = places.filter(|(_, result)| result.is_none());
        open.map(|(at, _)| at).collect()
    }

    fn end_phase(&mut self) {
        if let Some((phase, since)) = self.phase.take() {
            *self.result.seconds.entry(phase.to_string()).or_default() +=
                since.elapsed().as_secs_f64();
        }
    }
}

/// What the reports have of what the oracle saw.
fn watched(heard: Option<Heard>, target: &str, case: &str) -> Option<Watched> {
    let window = heard?.ok()?;
    let findings = window.findings.iter().take(FINDINGS_KEPT);
    Some(Watched {
        accesses: window.end.as_ref().map_or(0, |end| end.accesses),
        distinct: window.distinct(),
        findings: findings
            .map(|finding| story::found(finding, &window, target, case))
            .collect(),
    })
}

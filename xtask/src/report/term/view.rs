// SPDX-License-Identifier: MIT OR Apache-2.0
//! Turns the events of a run into lines to print. The module accesses neither the terminal nor the clock.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::text::{self, Paint};
use super::{TermOptions, Verbosity};
use crate::event::{Event, TargetEvent};
use crate::report::compare;
use crate::report::rows::Rerun;
use crate::results::{CaseResult, Counts, Phase, TargetResult, Verdict};
use crate::text::words::{cases, clock, lines, took};

/// Minimum time between a line about a target and the next progress line about it, if there are no status lines.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// State of a run.
pub(super) struct View {
    options: TermOptions,
    /// True if [`View::status_line`] is shown, in which case no progress lines are printed.
    live: bool,
    paint: Paint,
    run_dir: PathBuf,
    targets: BTreeMap<String, TargetState>,
}

/// State of a target.
#[derive(Default)]
struct TargetState {
    /// Options that select the target and its kernel.
    options: String,
    phase: Option<Phase>,
    /// Description of the phase.
    detail: String,
    /// Current step of the phase.
    step: String,
    counts: Counts,
    /// Suite of the cases that are running, with their counts and the start time.
    suite: Option<(String, Counts, Duration)>,
    /// Verdict of the last printed case that never ran, and the number of cases with the same verdict since then.
    repeated: Option<(Verdict, usize)>,
    /// Time of the last printed line about the target.
    last_line: Duration,
}

impl View {
    pub(super) fn new(options: TermOptions, live: bool, paint: Paint) -> Self {
        Self { options, live, paint, run_dir: PathBuf::new(), targets: BTreeMap::new() }
    }

    /// Takes an event and returns the lines to print. `now` is counted from the start of the run.
    pub(super) fn handle(&mut self, event: &Event, now: Duration) -> String {
        let text = self.text(event, now);
        match self.options.verbosity {
            Verbosity::Status => String::new(),
            _ => text,
        }
    }

    fn text(&mut self, event: &Event, now: Duration) -> String {
        match event {
            Event::RunStart { run_dir, targets, cases } => {
                self.run_dir = run_dir.clone();
                self.run_start(targets, *cases)
            }
            Event::Target { target, event } => self.target_event(target, event, now),
            Event::RunEnd { result } => {
                let previous = self.options.previous.as_ref().and_then(|find| find(result));
                let since = previous.map(|(name, previous)| {
                    compare::since(&name, &compare::compare(&previous, result))
                });
                let since = since.unwrap_or_default();
                text::summary(result, Some(&self.run_dir), &since, self.paint)
            }
        }
    }

    fn target_event(&mut self, target: &str, event: &TargetEvent, now: Duration) -> String {
        match event {
            TargetEvent::Start { options } => {
                self.target(target).options.clone_from(options);
                String::new()
            }
            TargetEvent::Phase { phase, detail } => self.phase(target, *phase, detail, now),
            TargetEvent::Progress { done, of, what } => {
                self.progress(target, text::progress(*done, *of, what), now)
            }
            TargetEvent::Note(text) => self.note(target, text, now),
            TargetEvent::CaseStart { case, index, of } => {
                let counts = self.target(target).counts.brief();
                self.progress(target, text::case_of(case, *index, *of, &counts), now)
            }
            // Only `cargo xtask run` shows the output of a program.
            TargetEvent::Output { .. } => String::new(),
            TargetEvent::AttemptEnd { number, result } => {
                self.attempt_end(target, *number, result, now)
            }
            TargetEvent::CaseEnd(result) => self.case_end(target, result, now),
            TargetEvent::End(result) => self.target_end(result, now),
        }
    }

    /// Returns the status line of a target: its phase and the current step.
    pub(super) fn status_line(&self, target: &str) -> String {
        let width = self.targets.keys().map(String::len).max().unwrap_or(0);
        let state = self.targets.get(target);
        let phase = state.and_then(|state| state.phase);
        let phase = phase.map_or(String::new(), |phase| phase.to_string());
        let detail = state.map_or("", |state| match state.step.as_str() {
            "" => &state.detail,
            step => step,
        });
        format!("{target:width$}  {phase:8}  {detail}").trim_end().to_owned()
    }

    fn run_start(&self, targets: &[String], count: usize) -> String {
        if self.options.verbosity == Verbosity::Quiet {
            return String::new();
        }
        let targets = targets.join(", ");
        format!("{} on {targets}; results in {}\n", cases(count), self.run_dir.display())
    }

    fn phase(&mut self, target: &str, phase: Phase, detail: &str, now: Duration) -> String {
        let state = self.target(target);
        state.phase = Some(phase);
        state.detail = detail.into();
        state.step.clear();
        let colon = if detail.is_empty() { "" } else { ": " };
        match self.options.verbosity {
            Verbosity::Quiet => String::new(),
            Verbosity::Normal if self.live => String::new(),
            _ => self.line(target, &format!("{phase}{colon}{detail}"), now),
        }
    }

    /// Takes the current step. Returns a line only if there are no status lines and the last line is old enough.
    fn progress(&mut self, target: &str, step: String, now: Duration) -> String {
        let state = self.target(target);
        state.step = step.clone();
        let due = now.saturating_sub(state.last_line) >= PROGRESS_INTERVAL;
        if self.live || !due || self.options.verbosity == Verbosity::Quiet {
            return String::new();
        }
        self.line(target, &step, now)
    }

    fn note(&mut self, target: &str, text: &str, now: Duration) -> String {
        self.line(target, &lines(text).join("\n    "), now)
    }

    /// Returns the details of a failed attempt.
    fn attempt_end(
        &mut self,
        target: &str,
        number: usize,
        result: &CaseResult,
        now: Duration,
    ) -> String {
        match result.verdict.is_failure() {
            true => self.end_repeats(target, now) + &self.failure(target, result, number, now),
            false => String::new(),
        }
    }

    /// Returns the details of a failed case, or of a failed attempt of a case that runs more than once.
    fn failure(
        &mut self,
        target: &str,
        result: &CaseResult,
        attempt: usize,
        now: Duration,
    ) -> String {
        let options = self.target(target).options.clone();
        let boot = result.boot.map(|boot| (self.run_dir.as_path(), boot));
        let rerun = Rerun { command: &self.options.rerun, name: target, options: &options };
        let out = text::failure(result, rerun, boot, attempt, self.paint);
        self.target(target).last_line = now;
        out
    }

    fn case_end(&mut self, target: &str, result: &CaseResult, now: Duration) -> String {
        self.target(target).counts.add(result);
        let mut out = String::new();
        // Skipped cases may be reported long before their suite runs, so they do not start it.
        if !matches!(result.verdict, Verdict::Skip { .. } | Verdict::NotRun { .. }) {
            out += &self.count_in_suite(target, result, now);
        }
        let failed = result.verdict.is_failure();
        if result.attempts > 1 && (failed || result.flaky) {
            // The failed attempts are already printed.
            out += &self.end_repeats(target, now);
            return out + &self.line(target, &text::attempts_line(result, self.paint), now);
        }
        if !failed && self.options.verbosity == Verbosity::Verbose {
            out += &self.line(target, &text::case_line(result, self.paint), now);
            for curve in text::curves(result) {
                out += &self.line(target, &curve, now);
            }
        }
        if failed && !self.is_repeat(target, result) {
            out += &self.end_repeats(target, now);
            out += &self.failure(target, result, 1, now);
            let never_ran = result.boot.is_none();
            self.target(target).repeated = never_ran.then(|| (result.verdict.clone(), 0));
        }
        out
    }

    /// Counts the case in its suite. If the previous case belongs to another suite, that suite has ended, and its line
    /// is returned.
    fn count_in_suite(&mut self, target: &str, result: &CaseResult, now: Duration) -> String {
        let state = self.target(target);
        let same = state.suite.as_ref().is_some_and(|(name, ..)| *name == result.suite);
        let out = if same { String::new() } else { self.suite_end(target, now) };
        let fresh = || (result.suite.clone(), Counts::default(), now);
        let (_, counts, _) = self.target(target).suite.get_or_insert_with(fresh);
        counts.add(result);
        out
    }

    fn suite_end(&mut self, target: &str, now: Duration) -> String {
        let Some((name, counts, since)) = self.target(target).suite.take() else {
            return String::new();
        };
        if self.live || self.options.verbosity == Verbosity::Quiet {
            return String::new();
        }
        let time = took(now.saturating_sub(since));
        self.line(target, &format!("{name}: {} ({time})", counts.brief()), now)
    }

    /// Returns true if the case never ran and has the same verdict as the last printed case. Such a case is counted.
    fn is_repeat(&mut self, target: &str, result: &CaseResult) -> bool {
        match &mut self.target(target).repeated {
            Some((verdict, more)) if result.boot.is_none() && *verdict == result.verdict => {
                *more += 1;
                true
            }
            _ => false,
        }
    }

    /// Returns the line with the number of repeats, if there are any.
    fn end_repeats(&mut self, target: &str, now: Duration) -> String {
        match self.target(target).repeated.take() {
            Some((verdict, count)) if count > 0 => {
                let word = self.paint.verdict(verdict.word(), verdict.word());
                let noun = if count == 1 { "case" } else { "cases" };
                self.line(target, &format!("{word}: {count} more {noun}, same reason"), now)
            }
            _ => String::new(),
        }
    }

    fn target_end(&mut self, result: &TargetResult, now: Duration) -> String {
        let name = &result.name;
        let mut out = self.suite_end(name, now);
        let printed = self.target(name).repeated.as_ref();
        let printed = printed.and_then(|(verdict, _)| verdict.detail());
        out += &self.end_repeats(name, now);
        if let Some(failure) = &result.failure {
            // The cases that never ran may already have shown this reason.
            if printed.as_ref() != Some(failure) {
                out += &self.note(name, &format!("not tested: {failure}"), now);
            }
        }
        self.targets.remove(name);
        out
    }

    fn target(&mut self, name: &str) -> &mut TargetState {
        self.targets.entry(name.to_owned()).or_default()
    }

    /// Returns a line about a target. Without status lines it begins with the time.
    fn line(&mut self, target: &str, text: &str, now: Duration) -> String {
        self.target(target).last_line = now;
        if self.live {
            format!("{target}: {text}\n")
        } else {
            format!("[{:>5}] {target}: {text}\n", clock(now))
        }
    }
}

#[cfg(test)]
mod tests;

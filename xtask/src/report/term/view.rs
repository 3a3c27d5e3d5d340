// SPDX-License-Identifier: MIT OR Apache-2.0
//! View: what has been seen of a run, and what a person should hear of it now. Knows no terminal and no clock.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::text::{self, Paint};
use super::{Style, Verbosity};
use crate::event::Event;
use crate::report::rows::Again;
use crate::results::Counts;
use crate::results::{CaseResult, Phase, TargetResult, Verdict};
use crate::text::words::{cases, clock, lines, took};

/// Where nothing lives on the screen, how long a target may go on without a line.
const QUIET_TIME: Duration = Duration::from_secs(10);

/// A run as far as it has been seen.
pub(super) struct View {
    style: Style,
    /// Whether [`View::live_line`] is shown, which makes lines of progress needless.
    live: bool,
    paint: Paint,
    run_dir: PathBuf,
    targets: BTreeMap<String, Target>,
}

/// A target as far as it has been seen.
#[derive(Default)]
struct Target {
    phase: Option<Phase>,
    /// What is done in the phase.
    detail: String,
    /// What is done right now.
    step: String,
    counts: Counts,
    /// The suite whose cases run now, what they gave, and since when.
    suite: Option<(String, Counts, Duration)>,
    /// The verdict last told of a case that never ran, and how many more have had the same since.
    same: Option<(Verdict, usize)>,
    /// When a line about it was last printed.
    spoke: Duration,
}

impl View {
    /// Has seen nothing yet.
    pub(super) fn new(style: Style, live: bool, paint: Paint) -> Self {
        Self {
            style,
            live,
            paint,
            run_dir: PathBuf::new(),
            targets: BTreeMap::new(),
        }
    }

    /// Takes an event that came `now`, counted from the start; returns what to print, as whole lines.
    pub(super) fn hear(&mut self, event: &Event, now: Duration) -> String {
        match event {
            Event::RunStart {
                run_dir,
                targets,
                cases,
            } => {
                self.run_dir = run_dir.clone();
                self.run_start(targets, *cases)
            }
            Event::TargetStart { target } => {
                self.target(target);
                String::new()
            }
            Event::Phase {
                target,
                phase,
                detail,
            } => self.phase(target, *phase, detail, now),
            Event::Progress {
                target,
                done,
                of,
                what,
            } => self.step(target, text::progress(*done, *of, what), now),
            Event::Note { target, text } => self.note(target.as_deref(), text, now),
            Event::CaseStart {
                target,
                case,
                index,
                of,
            } => {
                let counts = self.target(target).counts.brief();
                self.step(target, text::case_of(case, *index, *of, &counts), now)
            }
            Event::CaseEnd { target, result, .. } => self.case_end(target, result, now),
            Event::TargetEnd { result } => self.target_end(result, now),
            Event::RunEnd { result } => text::summary(result, Some(&self.run_dir), self.paint),
        }
    }

    /// What the target is doing, for a line that is written over and over.
    pub(super) fn live_line(&self, target: &str) -> String {
        let width = self.targets.keys().map(String::len).max().unwrap_or(0);
        let known = self.targets.get(target);
        let phase = known.and_then(|known| known.phase);
        let phase = phase.map_or(String::new(), |phase| phase.to_string());
        let detail = known.map_or("", |known| match known.step.as_str() {
            "" => &known.detail,
            step => step,
        });
        format!("{target:width$}  {phase:8}  {detail}")
            .trim_end()
            .to_owned()
    }

    fn run_start(&self, targets: &[String], each: usize) -> String {
        if self.style.verbosity == Verbosity::Quiet {
            return String::new();
        }
        let targets = targets.join(", ");
        format!(
            "{} on {targets}; all about it in {}\n",
            cases(each),
            self.run_dir.display()
        )
    }

    fn phase(&mut self, target: &str, phase: Phase, detail: &str, now: Duration) -> String {
        let known = self.target(target);
        known.phase = Some(phase);
        known.detail = detail.into();
        known.step.clear();
        let colon = if detail.is_empty() { "" } else { ": " };
        match self.style.verbosity {
            Verbosity::Quiet => String::new(),
            Verbosity::Normal if self.live => String::new(),
            _ => self.say(target, &format!("{phase}{colon}{detail}"), now),
        }
    }

    /// Something moved; worth a line only where nothing else shows it and nothing was said for a while.
    fn step(&mut self, target: &str, step: String, now: Duration) -> String {
        let known = self.target(target);
        known.step = step.clone();
        let silent = now.saturating_sub(known.spoke) >= QUIET_TIME;
        if self.live || !silent || self.style.verbosity == Verbosity::Quiet {
            return String::new();
        }
        self.say(target, &step, now)
    }

    fn note(&mut self, target: Option<&str>, text: &str, now: Duration) -> String {
        let text = lines(text).join("\n    ");
        match target {
            Some(target) => self.say(target, &text, now),
            None => format!("{text}\n"),
        }
    }

    fn case_end(&mut self, target: &str, result: &CaseResult, now: Duration) -> String {
        self.target(target).counts.add(&result.verdict);
        let mut out = String::new();
        // Skips may come long before their suite; they open none.
        if !matches!(result.verdict, Verdict::Skip { .. }) {
            out += &self.in_suite(target, result, now);
        }
        let held = result.verdict.exit_code() == 0;
        if held && self.style.verbosity == Verbosity::Verbose {
            out += &self.say(target, &text::case_line(result, self.paint), now);
        }
        if !held && !self.folds(target, result) {
            out += &self.unfold(target, now);
            let boot = result.boot.map(|boot| (self.run_dir.as_path(), boot));
            let again = Again {
                command: &self.style.again,
                target,
            };
            out += &text::failure(result, again, boot, self.paint);
            let never_ran = boot.is_none();
            let known = self.target(target);
            known.spoke = now;
            known.same = never_ran.then(|| (result.verdict.clone(), 0));
        }
        out
    }

    /// Counts the case in its suite; the last suite is over when a case of another one comes.
    fn in_suite(&mut self, target: &str, result: &CaseResult, now: Duration) -> String {
        let known = self.target(target);
        let same = known
            .suite
            .as_ref()
            .is_some_and(|(name, ..)| *name == result.suite);
        let out = if same {
            String::new()
        } else {
            self.suite_end(target, now)
        };
        let fresh = || (result.suite.clone(), Counts::default(), now);
        let (_, counts, _) = self.target(target).suite.get_or_insert_with(fresh);
        counts.add(&result.verdict);
        out
    }

    fn suite_end(&mut self, target: &str, now: Duration) -> String {
        let over = self.target(target).suite.take();
        let Some((name, counts, since)) = over else {
            return String::new();
        };
        if self.live || self.style.verbosity == Verbosity::Quiet {
            return String::new();
        }
        let time = took(now.saturating_sub(since));
        self.say(target, &format!("{name}: {} ({time})", counts.brief()), now)
    }

    /// Whether a case that never ran has nothing new to tell after the last one that did not.
    fn folds(&mut self, target: &str, result: &CaseResult) -> bool {
        match &mut self.target(target).same {
            Some((verdict, more)) if result.boot.is_none() && *verdict == result.verdict => {
                *more += 1;
                true
            }
            _ => false,
        }
    }

    fn unfold(&mut self, target: &str, now: Duration) -> String {
        match self.target(target).same.take() {
            Some((verdict, more)) if more > 0 => {
                let word = self.paint.verdict(&verdict, verdict.word());
                let text = format!("{word}: {} more for the same reason", cases(more));
                self.say(target, &text, now)
            }
            _ => String::new(),
        }
    }

    fn target_end(&mut self, result: &TargetResult, now: Duration) -> String {
        let name = &result.target;
        let mut out = self.suite_end(name, now);
        let told = self.target(name).same.as_ref();
        let told = told.and_then(|(verdict, _)| verdict.detail());
        out += &self.unfold(name, now);
        if let Some(failure) = &result.failure {
            // The cases that it kept from running have said it.
            if told.as_ref() != Some(failure) {
                out += &self.note(Some(name), &format!("not tested: {failure}"), now);
            }
        }
        self.targets.remove(name);
        out
    }

    fn target(&mut self, name: &str) -> &mut Target {
        self.targets.entry(name.to_owned()).or_default()
    }

    fn say(&mut self, target: &str, text: &str, now: Duration) -> String {
        self.target(target).spoke = now;
        if self.live {
            format!("{target}: {text}\n")
        } else {
            format!("[{:>5}] {target}: {text}\n", clock(now))
        }
    }
}

#[cfg(test)]
mod tests;

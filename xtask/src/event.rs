// SPDX-License-Identifier: MIT OR Apache-2.0
//! Events: the only thing the runner says, and all that a report hears.
//!
//! Order for a run: `RunStart`, then for each target `TargetStart`, any number of `Phase`, `Progress`, `Note`,
//! `CaseStart`, `CaseEnd`, then `TargetEnd`; at last `RunEnd`. Targets may interleave. A `CaseEnd` may come
//! without a `CaseStart` (a case that never ran).

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::results::{CaseResult, Phase, RunResult, TargetResult};

/// Something that happened in a run.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// The run begins.
    RunStart {
        /// Where everything about it is written.
        run_dir: PathBuf,
        /// Names of the targets.
        targets: Vec<String>,
        /// Cases planned, all targets together.
        cases: usize,
    },
    /// Work on a target begins.
    TargetStart {
        /// Name of the target.
        target: String,
    },
    /// A target enters a phase.
    Phase {
        /// Name of the target.
        target: String,
        /// The phase.
        phase: Phase,
        /// What is done, in a few words: `building 6.12.117 (default)`, `boot 2, after a crash`.
        detail: String,
    },
    /// Something moved inside the phase.
    Progress {
        /// Name of the target.
        target: String,
        /// Steps done.
        done: u64,
        /// Steps in all, where known.
        of: Option<u64>,
        /// What is being done right now: `CC fs/fuse/dmmap.o`.
        what: String,
    },
    /// Something a person should read even if all goes well.
    Note {
        /// Name of the target; `None` for the whole run.
        target: Option<String>,
        /// The text, one or more lines.
        text: String,
    },
    /// A case began.
    CaseStart {
        /// Name of the target.
        target: String,
        /// Name of the case.
        case: String,
        /// Its place in the plan, from 1.
        index: usize,
        /// Cases in the plan.
        of: usize,
    },
    /// A case has its verdict.
    CaseEnd {
        /// Name of the target.
        target: String,
        /// The case with its verdict.
        result: Box<CaseResult>,
    },
    /// A target is done.
    TargetEnd {
        /// Its result.
        result: Box<TargetResult>,
    },
    /// The run is over.
    RunEnd {
        /// Everything about it.
        result: Box<RunResult>,
    },
}

/// Hears events. Called from several threads, one call at a time.
pub(crate) trait Reporter: Send {
    /// Takes the next event.
    fn event(&mut self, event: &Event);
}

/// Where events go. Clones are cheap and lead to the same reporters.
#[derive(Clone)]
pub(crate) struct Events {
    reporters: Arc<Mutex<Vec<Box<dyn Reporter>>>>,
}

impl Events {
    /// Leads to `reporters`, each of which hears every event.
    pub(crate) fn new(reporters: Vec<Box<dyn Reporter>>) -> Self {
        Self {
            reporters: Arc::new(Mutex::new(reporters)),
        }
    }

    /// Leads nowhere.
    pub(crate) fn silent() -> Self {
        Self::new(Vec::new())
    }

    /// Passes an event on; returns when every reporter has heard it.
    pub(crate) fn send(&self, event: Event) {
        // A reporter that panicked took its own thread down; the others still have a run to report.
        let mut reporters = self
            .reporters
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for reporter in reporters.iter_mut() {
            reporter.event(&event);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    struct Ear(Sender<String>);

    impl Reporter for Ear {
        fn event(&mut self, event: &Event) {
            if let Event::Note { text, .. } = event {
                self.0.send(text.clone()).unwrap();
            }
        }
    }

    #[test]
    fn every_reporter_hears_every_event_from_any_thread() {
        let (sender, heard) = channel();
        let ears = [sender.clone(), sender].map(|ear| Box::new(Ear(ear)) as Box<dyn Reporter>);
        let events = Events::new(ears.into());
        let threads = ["one", "two"].map(|text| {
            let events = events.clone();
            std::thread::spawn(move || {
                events.send(Event::Note {
                    target: None,
                    text: text.into(),
                });
            })
        });
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        drop(events);
        let mut heard: Vec<String> = heard.iter().collect();
        // One event reaches all reporters before the next one does.
        assert_eq!(heard[0], heard[1]);
        heard.sort();
        assert_eq!(heard, ["one", "one", "two", "two"]);
    }
}

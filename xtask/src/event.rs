// SPDX-License-Identifier: MIT OR Apache-2.0
//! Events: the only output of the runner, and the only input of the reporters.
//!
//! A run sends `RunStart`, then the events of each target, and finally `RunEnd`. A target sends `Start`, then any
//! number of `Phase`, `Progress`, `Note`, `CaseStart`, `Output`, `AttemptEnd` and `CaseEnd`, and finally `End`. The
//! events of several targets may interleave. A case that did not run has a `CaseEnd` without a `CaseStart`. A case that
//! may run more than once has a `CaseStart` and an `AttemptEnd` for each attempt, and one `CaseEnd` after the last.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::record::Stream;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::results::{CaseResult, Phase, RunResult, TargetResult};

/// Event of a run. With `--message-format json`, doc comments become descriptions in the schema of a line.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum Event {
    /// The run starts.
    RunStart {
        /// Directory of the run, with the files of its boots.
        run_dir: PathBuf,
        /// Names of the targets, with the versions of their kernels.
        targets: Vec<String>,
        /// Number of planned cases on all targets.
        cases: usize,
    },
    /// Something happened on a target.
    Target {
        /// Name of the target, with the version of its kernel.
        target: String,
        /// The event.
        event: TargetEvent,
    },
    /// The run is over.
    RunEnd {
        /// Content of `results.json`.
        result: Box<RunResult>,
    },
}

/// Event of one target with one kernel.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "type", content = "data", rename_all = "kebab-case")]
pub(crate) enum TargetEvent {
    /// Work on the target starts.
    Start {
        /// Options that select the target and its kernel: `--arch x86_64`.
        options: String,
    },
    /// The target enters a phase.
    Phase {
        /// The phase.
        phase: Phase,
        /// Details in a few words: `flavour default`, `boot 2, because the previous one was cut short`.
        detail: String,
    },
    /// A step of the current phase is done.
    Progress {
        /// Number of steps done.
        done: u64,
        /// Total number of steps, if known.
        of: Option<u64>,
        /// Current step: `CC fs/fuse/dmmap.o`.
        what: String,
    },
    /// A message that the user should read even if all cases pass, in one or more lines.
    Note(String),
    /// A case started.
    CaseStart {
        /// ID of the case; from the second attempt on, with its number: `smoke/boot#2`.
        case: String,
        /// Position in the plan, from 1.
        index: usize,
        /// Number of cases in the plan.
        of: usize,
    },
    /// The program of a case printed something.
    Output {
        /// Stream that the program wrote to.
        stream: Stream,
        /// Printed bytes. In JSON, those that are not UTF-8 are replaced. A line may come in several parts.
        #[serde(rename = "text", serialize_with = "as_text")]
        #[schemars(with = "String")]
        bytes: Vec<u8>,
    },
    /// An attempt ended, of a case that runs again or has run before.
    AttemptEnd {
        /// Number of the attempt, from 1.
        number: usize,
        /// Result of the attempt.
        result: Box<CaseResult>,
    },
    /// A case has its verdict, and does not run again.
    CaseEnd(Box<CaseResult>),
    /// The target is done.
    End(Box<TargetResult>),
}

fn as_text<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(bytes))
}

/// Consumer of events. Several threads call it, but never two at the same time.
pub(crate) trait Reporter: Send {
    /// Handles the next event.
    fn event(&mut self, event: &Event);
}

/// Sender of events. A clone is cheap and sends to the same reporters.
#[derive(Clone)]
pub(crate) struct Events {
    reporters: Arc<Mutex<Vec<Box<dyn Reporter>>>>,
}

impl Events {
    /// Returns a sender that passes every event to each of `reporters`.
    pub(crate) fn new(reporters: Vec<Box<dyn Reporter>>) -> Self {
        Self { reporters: Arc::new(Mutex::new(reporters)) }
    }

    /// Returns a sender without reporters.
    pub(crate) fn silent() -> Self {
        Self::new(Vec::new())
    }

    /// Sends an event of `target`, as [`Events::send`] does.
    pub(crate) fn send_of(&self, target: &str, event: TargetEvent) {
        self.send(Event::Target { target: target.to_owned(), event });
    }

    /// Sends an event and returns when every reporter has handled it.
    pub(crate) fn send(&self, event: Event) {
        // A panic of a reporter ends only the thread that sent the event. The other threads still need the reporters.
        let mut reporters = self.reporters.lock().unwrap_or_else(PoisonError::into_inner);
        for reporter in reporters.iter_mut() {
            reporter.event(&event);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    struct Recorder(Sender<String>);

    impl Reporter for Recorder {
        fn event(&mut self, event: &Event) {
            if let Event::Target { event: TargetEvent::Note(text), .. } = event {
                self.0.send(text.clone()).unwrap();
            }
        }
    }

    #[test]
    fn every_reporter_receives_every_event_from_any_thread() {
        let (sender, received) = channel();
        let recorders =
            [sender.clone(), sender].map(|sender| Box::new(Recorder(sender)) as Box<dyn Reporter>);
        let events = Events::new(recorders.into());
        let threads = ["one", "two"].map(|text| {
            let events = events.clone();
            std::thread::spawn(move || {
                events.send_of("x86_64", TargetEvent::Note(text.into()));
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        drop(events);
        let mut texts: Vec<String> = received.iter().collect();
        // All reporters receive an event before the next event.
        assert_eq!(texts[0], texts[1]);
        texts.sort();
        assert_eq!(texts, ["one", "one", "two", "two"]);
    }
}

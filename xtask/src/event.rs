// SPDX-License-Identifier: MIT OR Apache-2.0
//! Events: the only thing the runner says, and all that a report hears.
//!
//! Order for a run: `RunStart`, then for each target `TargetStart`, any number of `Phase`, `Progress`, `Note`,
//! `CaseStart`, `CaseEnd`, then `TargetEnd`; at last `RunEnd`. Targets may interleave. A `CaseEnd` may come
//! without a `CaseStart` (a case that never ran).

use std::path::PathBuf;

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

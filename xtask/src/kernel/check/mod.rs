// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks each patch of the queue as the maintainers of the kernel and their robots do: style, documentation, and
//! builds with several compilers, analysers and configurations.
//!
//! | module | task |
//! |---|---|
//! | [`plan`] | selects patches and checks |
//! | `objects` | finds the make targets that compile the files of a patch |
//! | `messages` | parses warnings, and compares those before and after a patch |
//! | `scripts` | runs checkpatch.pl and kernel-doc |
//! | `compile` | compiles the states of a queue, and runs analysers |
//! | `steps` | makes the checks that compile |
//! | `programs` | finds the programs that a check needs |
//! | `run` | runs the checks |

mod compile;
mod messages;
mod objects;
pub mod plan;
mod programs;
mod run;
mod scripts;
mod steps;

use std::ffi::OsStr;
use std::path::Path;

use serde::Serialize;

use super::{Progress, Source};
use crate::target::Target;

pub use plan::{Check, Series};
pub use programs::missing_program;
pub use run::run;

/// Parameters of [`run()`].
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Root of the checkout.
    pub checkout: &'a Path,
    /// The lab's directory in the user's cache.
    pub cache: &'a Path,
    /// Kernel source that the queue applies to.
    pub source: &'a Source,
    /// Targets that build variants refer to.
    pub targets: &'a [Target],
    /// Content of `PATH`.
    pub path: &'a OsStr,
    /// Number of parallel jobs of make.
    pub jobs: usize,
}

/// Verdict of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "result", content = "details")]
pub enum Verdict {
    /// The check found nothing.
    Ok,
    /// The check found problems: lines of text about them.
    Failed(Vec<String>),
    /// The check was not made, for this reason.
    Skipped(String),
}

/// Result of one check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// Name of the stack; absent if the queue has no stacks.
    pub stack: Option<String>,
    /// File name of the patch; absent for a check after the last patch of a stack.
    pub patch: Option<String>,
    /// Name of the check.
    pub check: String,
    /// Verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Duration.
    pub seconds: f64,
}

/// Report of [`run()`] while it works.
#[derive(Clone, Debug)]
pub enum Event {
    /// The checks of a patch begin, or those after the last patch of a stack.
    Subject(String),
    /// Current step.
    Progress(Progress),
    /// A check has ended.
    Outcome(Outcome),
}

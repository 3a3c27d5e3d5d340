// SPDX-License-Identifier: MIT OR Apache-2.0
//! The functions that the cases of the suites run. The suite's YAML names one after `run:`.
//!
//! A function gets a [`Case`] and drives other processes with it, a server and clients. Each of them does one thing when
//! commanded, and answers. So a case reads from top to bottom, and nothing depends on who is faster. Processes that run
//! against each other each play a role.
//!
//! - `stage` has the case, its processes, and the commands between them. It knows no case.
//! - `cases` has one module a suite, and finds a function by its name.

mod cases;
mod stage;

pub use cases::find;
pub use stage::counters::{LIMIT_MAPS, LIMIT_PER_CONNECTION, LIMIT_TOTAL, PAGES_TOTAL};
pub use stage::group::GROUPS;
pub use stage::{Case, Failure, Workload};

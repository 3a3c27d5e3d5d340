// SPDX-License-Identifier: MIT OR Apache-2.0
//! Functions of the suites' cases. The YAML of a suite names a case's function after `run:`.
//!
//! A function gets a [`Case`], starts a server and clients with it, and sends them commands. Each process executes one
//! command at a time and answers. A case therefore reads from top to bottom, and its result does not depend on timing.
//! Processes that must run concurrently play roles.
//!
//! - `stage` has the case, its processes, and their commands. It does not use `cases`.
//! - `cases` has one module per suite, and finds a function by its name.

mod cases;
mod stage;

pub use cases::find;
pub use stage::counters::{
    CONNECTIONS, LIMIT_MAPS, LIMIT_PER_CONNECTION, LIMIT_TOTAL, PAGES_TOTAL,
};
pub use stage::group::GROUPS;
pub use stage::modules::load_missing as load_missing_modules;
pub use stage::{Case, Failure, Workload};

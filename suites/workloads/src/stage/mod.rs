// SPDX-License-Identifier: MIT OR Apache-2.0
//! What cases play on: the case itself, its processes, what these are told and answer, and what they find.
//!
//! Nothing here knows a case: `cases` imports `stage`, and never the other way round.

mod case;
mod client_party;
pub(crate) mod command;
pub(crate) mod counters;
pub(crate) mod failing;
mod failure;
pub(crate) mod group;
mod maps;
pub(crate) mod memory_call;
mod party;
pub(crate) mod pattern;
pub(crate) mod process;
pub mod role;
pub(crate) mod server_party;
pub(crate) mod waiting;

pub use case::{Case, Workload};
pub use failure::{Failure, expect, expect_that};
pub use process::Process;
pub use server_party::Server;

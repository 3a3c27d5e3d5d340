// SPDX-License-Identifier: MIT OR Apache-2.0
//! Building blocks of cases: parameters, processes, commands and their answers, checks.
//!
//! `cases` imports `stage`; `stage` never imports `cases`.

mod answer;
mod case;
mod client;
mod client_party;
pub(crate) mod command;
pub(crate) mod counters;
pub(crate) mod crowd;
pub(crate) mod failing;
pub(crate) mod failure;
pub(crate) mod group;
pub(crate) mod growth;
mod mapping;
mod maps;
pub(crate) mod modules;
mod party;
pub(crate) mod pattern;
pub(crate) mod pins;
pub(crate) mod place;
pub(crate) mod process;
pub(crate) mod role;
pub(crate) mod server;
mod server_party;
pub(crate) mod waiting;

pub use case::{Case, Workload};
pub(crate) use client::Client;
pub use failure::Failure;
pub(crate) use failure::{expect, expect_that};
pub(crate) use process::Process;
pub(crate) use server::Server;

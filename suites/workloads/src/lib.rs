// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the cases of the suites do: one function each, found by the name after `run:` in the suite's YAML.
//!
//! A function gets a [`Case`] and drives other processes with it: a [`Server`] and clients, each a [`Process`] that does
//! one thing when told and answers. So a case reads from top to bottom, and nothing depends on who is faster. Where processes
//! shall run against each other, each is given a [`role::Role`] to play.

mod abi;
mod bench;
mod by_id;
mod case;
mod client_party;
mod coherency;
mod colour;
mod command;
mod counters;
mod drain;
mod failure;
mod fuzz;
mod group;
mod hostile;
mod injection;
mod lazy;
mod maps;
mod memory_call;
mod party;
mod pattern;
mod process;
pub mod role;
mod server_party;
mod shared_memory;
mod smoke;
mod trouble;

pub use case::Case;
pub use counters::{LIMIT_MAPS, LIMIT_PER_CONNECTION, LIMIT_TOTAL, PAGES_TOTAL};
pub use failure::{Failure, expect, expect_that};
pub use group::GROUPS;
pub use process::Process;
pub use server_party::Server;

/// A case's function.
pub type Workload = fn(&mut Case) -> Result<(), Failure>;

/// The function called `name` in the suites.
pub fn find(name: &str) -> Option<Workload> {
    let tables = [
        smoke::WORKLOADS,
        coherency::WORKLOADS,
        colour::WORKLOADS,
        drain::WORKLOADS,
        fuzz::WORKLOADS,
        hostile::WORKLOADS,
        hostile::answers::WORKLOADS,
        hostile::repeated::WORKLOADS,
        hostile::notifications::WORKLOADS,
        hostile::init::WORKLOADS,
        hostile::ends::WORKLOADS,
        hostile::deaf::WORKLOADS,
        hostile::stopped::WORKLOADS,
        hostile::meanwhile::WORKLOADS,
        injection::WORKLOADS,
        injection::connect::WORKLOADS,
        lazy::WORKLOADS,
        abi::WORKLOADS,
        bench::WORKLOADS,
        by_id::WORKLOADS,
        shared_memory::processes::WORKLOADS,
        shared_memory::moves::WORKLOADS,
        shared_memory::fixed::WORKLOADS,
        shared_memory::advice::WORKLOADS,
        shared_memory::buffers::WORKLOADS,
        trouble::WORKLOADS,
    ];
    tables
        .iter()
        .copied()
        .flatten()
        .find(|(known, _)| *known == name)
        .map(|(_, workload)| *workload)
}

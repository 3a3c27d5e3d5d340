// SPDX-License-Identifier: MIT OR Apache-2.0
//! The functions of the cases: one module a suite, by the suite's name.

mod abi;
mod bench;
mod by_id;
mod coherency;
mod drain;
mod fault_injection;
mod fuzz;
mod hostile;
mod lazy;
mod shared_memory;
mod smoke;
mod soak;
mod trouble;

use crate::stage::Workload;

/// The function called `name` in the suites.
pub fn find(name: &str) -> Option<Workload> {
    let tables = [
        smoke::WORKLOADS,
        coherency::WORKLOADS,
        coherency::colour::WORKLOADS,
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
        fault_injection::WORKLOADS,
        fault_injection::connect::WORKLOADS,
        lazy::WORKLOADS,
        abi::WORKLOADS,
        bench::WORKLOADS,
        by_id::WORKLOADS,
        shared_memory::processes::WORKLOADS,
        shared_memory::moves::WORKLOADS,
        shared_memory::fixed::WORKLOADS,
        shared_memory::advice::WORKLOADS,
        shared_memory::buffers::WORKLOADS,
        soak::WORKLOADS,
        trouble::WORKLOADS,
    ];
    tables
        .iter()
        .copied()
        .flatten()
        .find(|(known, _)| *known == name)
        .map(|(_, workload)| *workload)
}

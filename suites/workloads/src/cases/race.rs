// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything at the same time: processes and threads that take random steps without waiting for each other.
//!
//! A [`world`] is a server with its clients. Three worlds run at a time: in the first, pages are not lazy; in the second,
//! they are lazy; in the third, the server is killed again and again. A [`director`] kills and stops clients, changes
//! limits and has the kernel reclaim pages. It also checks that every worker makes progress.
//!
//! The order of events is not predictable, so a worker checks what holds in every order. Each page has an owner, and
//! only the owner stores in it: a [`stamp`](layout) that counts up. Other processes read stamps between two values that
//! the owner keeps on a [`board`] in ordinary shared memory.

mod access;
mod board;
mod client;
mod director;
mod keeper;
mod layout;
mod server;
mod steps;
mod world;

use std::time::Duration;

use sys::{Fd, OpenFlags};

use crate::stage::{Case, Failure, Workload};
use director::{Director, Times};
use world::Sizes;

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[("everything", everything)];

/// Runs all worlds for the time of the case, ends them, and checks that nothing is left.
fn everything(case: &mut Case) -> Result<(), Failure> {
    let seed = match case.param::<u64>("seed")? {
        0 => random_seed()?,
        seed => seed,
    };
    case.log(&format!("seed {seed}"));
    let seconds = Duration::from_secs(case.param("seconds")?);
    let budget = case.deadline().saturating_sub(seconds);
    let times = Times { run: seconds, patience: budget / 6 };
    let threads = if sys::has_threads() { case.param("threads")? } else { 1 };
    let sizes = Sizes { clients: case.param("clients")?, threads, pages: case.param("pages")? };
    let steps: u32 = case.param("steps")?;
    let without: String = case.param("without")?;
    let failure = |failure| match failure {
        Failure::Fail(reason) => Failure::Fail(format!("seed {seed}: {reason}")),
        skip => skip,
    };
    let mut director =
        Director::new(case.device()?, seed, sizes, case.period(), &without).map_err(failure)?;
    director.run(times, steps).map_err(failure)?;
    for (name, value) in director.end(times.patience).map_err(failure)? {
        case.figure(name, value);
    }
    Ok(())
}

/// Returns a random number that is short enough to type.
fn random_seed() -> Result<u64, Failure> {
    let mut bytes = [0; 4];
    Fd::open("/dev/urandom", OpenFlags::READ)?.read(&mut bytes)?;
    Ok(u64::from(u32::from_le_bytes(bytes)) | 1)
}

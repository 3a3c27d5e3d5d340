// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random steps, legal and illegal, against a model of what the interface promises.
//!
//! [`script`] makes [`step`]s of a number, [`model`] knows what should come of each, [`player`] has processes take them.
//! A script that fails is made short by [`shrink`], and is told as text that the case's parameter `script` takes.

mod model;
mod player;
mod script;
mod shrink;
mod step;

use std::time::Duration;

use sys::{Instant, page_size};

use crate::stage::{Case, Failure, Workload};
use model::World;
use player::ScriptFailure;
use step::Step;

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[("random", random)];

/// How long a script that failed is made shorter: well below the deadline of the case, beside its seconds.
const SHRINKING: Duration = Duration::from_secs(25);

/// One script after the other until time is over, or the one that is given.
fn random(case: &mut Case) -> Result<(), Failure> {
    let pages: u64 = case.param("pages")?;
    let world = World {
        page: page_size(),
        big_endian: sys::big_endian(),
        lazy: case.param("lazy")?,
        limit: pages,
    };
    let given: String = case.param("script")?;
    if !given.is_empty() {
        let steps = step::parse(&given).map_err(Failure::new)?;
        return match player::run(case, world, &steps)? {
            None => Ok(()),
            Some(broken) => Err(Failure::new(format!(
                "step {} of {}, {}",
                broken.steps,
                steps.len(),
                broken.why
            ))),
        };
    }

    let time = Duration::from_secs(case.param("seconds")?);
    let length: u32 = case.param("steps")?;
    let first: u64 = case.param("seed")?;
    let start = Instant::now();
    let mut scripts = 0;
    while scripts == 0 || start.elapsed() < time {
        let seed = first + scripts;
        // The last one in the log is the one that hung or crashed, or not far from it: a log takes 200 lines.
        if scripts < 100 || scripts % 100 == 0 {
            case.log(&format!("seed {seed}"));
        }
        let steps = script::script(seed, length, pages, world);
        if let Some(broken) = player::run(case, world, &steps)? {
            return Err(failure(case, world, seed, &steps, broken));
        }
        scripts += 1;
    }
    case.figure("scripts", scripts as f64);
    case.figure("steps", (scripts * u64::from(length)) as f64);
    Ok(())
}

/// Makes a script that failed shorter; what to say of it.
fn failure(
    case: &mut Case,
    world: World,
    seed: u64,
    steps: &[Step],
    broken: ScriptFailure,
) -> Failure {
    let start = Instant::now();
    let mut why = broken.why;
    let short = shrink::shrink(&steps[..broken.steps], |steps| {
        if start.elapsed() > SHRINKING {
            return None;
        }
        // Where no server starts any more, what was found so far is told.
        let broken = player::run(case, world, steps).ok()?;
        if let Some(broken) = &broken {
            why.clone_from(&broken.why);
        }
        Some(broken.is_some())
    });
    Failure::new(format!(
        "seed {seed}: {why}; the script to run again: {}",
        step::text(&short)
    ))
}

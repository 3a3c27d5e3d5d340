// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random steps, legal and illegal, compared with a model of the interface.
//!
//! [`script`] generates [`step`]s from a seed, [`model`] predicts the outcome of each, and [`player`] has processes
//! execute them. [`shrink`] shortens a script that fails. The failure shows the script as text for the case's parameter
//! `script`.

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

/// Time to shorten a script that failed. Together with the `seconds` of the case, it is well below the deadline.
const SHRINK_TIME: Duration = Duration::from_secs(25);

/// Longest time by which the case exceeds its `seconds` to play as many scripts as it should.
const EXTRA_TIME: Duration = Duration::from_secs(20);

/// Runs the given script, or random scripts until the time is over. A busy machine gets some more time, so that it plays
/// enough scripts.
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
            Some(found) => {
                Err(Failure::new(format!("step {} of {}, {}", found.steps, steps.len(), found.why)))
            }
        };
    }

    let time = Duration::from_secs(case.param("seconds")?);
    let length: u32 = case.param("steps")?;
    let (first, least): (u64, u64) = (case.param("seed")?, case.param("scripts")?);
    let start = Instant::now();
    let mut scripts = 0;
    let is_over = |scripts| {
        let elapsed = start.elapsed();
        elapsed >= time && (scripts >= least || elapsed >= time + EXTRA_TIME)
    };
    while scripts == 0 || !is_over(scripts) {
        let seed = first + scripts;
        // The last seed in the log is the one that hung or crashed, or close to it. The log keeps 200 lines.
        if scripts < 100 || scripts % 100 == 0 {
            case.log(&format!("seed {seed}"));
        }
        let steps = script::generate(seed, length, pages, world);
        if let Some(found) = player::run(case, world, &steps)? {
            return Err(failure(case, world, seed, &steps, found));
        }
        scripts += 1;
    }
    case.figure("scripts", scripts as f64);
    case.figure("steps", (scripts * u64::from(length)) as f64);
    Ok(())
}

/// Shortens a script that failed, and returns the failure with its text.
fn failure(
    case: &mut Case,
    world: World,
    seed: u64,
    steps: &[Step],
    found: ScriptFailure,
) -> Failure {
    let start = Instant::now();
    let mut why = found.why;
    let short = shrink::shrink(&steps[..found.steps], |steps| {
        if start.elapsed() > SHRINK_TIME {
            return None;
        }
        // If no server can be started any more, the shortest script so far is reported.
        let found = player::run(case, world, steps).ok()?;
        if let Some(found) = &found {
            why.clone_from(&found.why);
        }
        Some(found.is_some())
    });
    Failure::new(format!("seed {seed}: {why}; the script to run again: {}", step::text(&short)))
}

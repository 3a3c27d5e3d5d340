// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernel builds with a source of three files and a shell script in place of make.

mod builds;
mod checking;
mod editing;
mod fixes;
mod mailing;
mod porting;
mod refusals;
mod sources;
mod stacks;
mod trouble;
mod versions;
mod world;

/// Not a test: the process that runs a build for another test.
#[test]
#[ignore = "started by the other tests"]
fn act() {
    world::act();
}

/// Not a test: the process that runs `queue check` for another test.
#[test]
#[ignore = "started by the other tests"]
fn act_check() {
    checking::act();
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernel builds, on a source of three files and with a shell script for make.

mod builds;
mod editing;
mod refusals;
mod sources;
mod trouble;
mod world;

/// Not a test: the process in which a build of the tests runs.
#[test]
#[ignore = "started by the other tests"]
fn act() {
    world::act();
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Monotonic clock.

use std::time::Duration;

use super::imports;

/// Returns the time of CLOCK_MONOTONIC in nanoseconds.
pub(crate) fn now() -> u64 {
    imports::now()
}

pub(crate) fn sleep(time: Duration) {
    imports::sleep(time.as_nanos() as u64);
}

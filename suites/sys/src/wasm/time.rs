// SPDX-License-Identifier: MIT OR Apache-2.0
//! The clock.

use std::time::Duration;

use super::imports;

/// Nanoseconds of CLOCK_MONOTONIC.
pub(crate) fn now() -> u64 {
    imports::now()
}

pub(crate) fn sleep(time: Duration) {
    imports::sleep(time.as_nanos() as u64);
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Monotonic clock.

use std::time::Duration;

use crate::backend::time as backend;

/// Point in time on the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl Instant {
    /// Returns the current time.
    pub fn now() -> Instant {
        Instant(Duration::from_nanos(backend::now()))
    }

    /// Returns the time that has passed since.
    pub fn elapsed(self) -> Duration {
        Instant::now().0.saturating_sub(self.0)
    }
}

/// Suspends the process for `time`.
pub fn sleep(time: Duration) {
    backend::sleep(time);
}

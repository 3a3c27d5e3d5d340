// SPDX-License-Identifier: MIT OR Apache-2.0
//! The clock.

use std::time::Duration;

use crate::backend::time as backend;

/// A moment, by a clock that never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl Instant {
    /// Now.
    pub fn now() -> Instant {
        Instant(Duration::from_nanos(backend::now()))
    }

    /// How long ago it was.
    pub fn elapsed(self) -> Duration {
        Instant::now().0.saturating_sub(self.0)
    }
}

/// Waits.
pub fn sleep(time: Duration) {
    backend::sleep(time);
}

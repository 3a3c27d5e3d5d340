// SPDX-License-Identifier: MIT OR Apache-2.0
//! Monotonic clock.

use std::time::Duration;

/// Returns the time of CLOCK_MONOTONIC in nanoseconds.
pub(crate) fn now() -> u64 {
    let mut time = timespec(Duration::ZERO);
    // SAFETY: `time` outlives the call, which cannot fail for this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

pub(crate) fn sleep(time: Duration) {
    std::thread::sleep(time);
}

/// Converts a duration to the kernel's format.
pub(super) fn timespec(time: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: time.as_secs() as libc::time_t,
        tv_nsec: time.subsec_nanos() as libc::c_long,
    }
}

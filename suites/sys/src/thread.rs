// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads of this process.

use crate::backend::thread as backend;
use crate::errno::{Context, Result};

/// Runs `body(0)` to `body(count - 1)` concurrently, each in its own thread of this process, and waits for all of them.
/// `body(0)` runs in the calling thread.
///
/// A machine for which rustc has no code generator has no threads. There, only `body(0)` runs.
///
/// # Errors
/// Fails as pthread_create(3). Threads that were started run to their end.
pub fn run_threads(count: usize, body: &(dyn Fn(usize) + Sync)) -> Result<()> {
    backend::run_threads(count, body).context(|| format!("start {count} threads"))
}

/// Returns true if [`run_threads`] can run more than one thread.
pub fn has_threads() -> bool {
    backend::HAS_THREADS
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn every_thread_runs_once() {
        let sum = AtomicUsize::new(0);
        run_threads(4, &|index| {
            sum.fetch_add(1 << (8 * index), Ordering::Relaxed);
        })
        .unwrap();
        assert_eq!(sum.into_inner(), 0x0101_0101);
        assert!(has_threads());
    }
}

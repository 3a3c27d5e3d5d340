// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ctrl-C, SIGTERM and SIGHUP: the first asks the lab to wind up, the second ends it on the spot.
//!
//! Programs started through [`crate::guard`] die with the lab, so the second leaves nothing behind either.

use std::io;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// Exit code after the second signal: the lab could not do what was asked.
const ENDED_AT_ONCE: i32 = 2;

/// Somebody asked the lab to stop, and it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

static REQUESTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on these signals are requests to stop. Calling it again changes nothing.
///
/// # Errors
/// The operating system refuses a handler.
pub fn install() -> io::Result<()> {
    let asked = Arc::new(AtomicBool::new(false));
    if REQUESTED.set(Arc::clone(&asked)).is_err() {
        return Ok(());
    }
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // In this order: the first of them acts only on what an earlier signal has set.
        flag::register_conditional_shutdown(signal, ENDED_AT_ONCE, Arc::clone(&asked))?;
        flag::register(signal, Arc::clone(&asked))?;
    }
    Ok(())
}

/// Whether somebody asked the lab to stop. Loops that wait look at it several times a second.
pub fn requested() -> bool {
    REQUESTED
        .get()
        .is_some_and(|asked| asked.load(Ordering::SeqCst))
}

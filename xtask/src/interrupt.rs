// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ctrl-C, SIGTERM and SIGHUP: the first signal asks the lab to stop in an orderly way, the second ends it immediately.
//!
//! Programs that were started through [`crate::guard`] die with the lab, so the second signal leaves no process behind.

use std::io;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// Exit code after the second signal: the command was not completed.
const EXIT_CODE: i32 = 2;

/// Error of an operation that stopped because the user interrupted the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

static REQUESTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Installs the signal handlers. A second call has no effect.
///
/// # Errors
/// The operating system rejects a handler.
pub fn install() -> io::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    if REQUESTED.set(Arc::clone(&stop)).is_err() {
        return Ok(());
    }
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // The order matters: the shutdown handler runs first and acts only if an earlier signal has set the flag.
        flag::register_conditional_shutdown(signal, EXIT_CODE, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(())
}

/// Returns true once the user has asked the lab to stop. Loops that wait check this several times a second.
pub fn requested() -> bool {
    REQUESTED.get().is_some_and(|stop| stop.load(Ordering::SeqCst))
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waits that end at a deadline or when the lab is interrupted.

use std::time::{Duration, Instant};

use crate::interrupt;

/// Interval between two calls of the caller's function. A call takes microseconds, a boot takes a second.
const PAUSE: Duration = Duration::from_millis(5);

/// Limit of a wait without a deadline.
pub(crate) const FOREVER: Duration = Duration::MAX;

/// Outcome of [`until`].
#[derive(Debug)]
pub(crate) enum Waited<T> {
    /// The value that was waited for.
    Done(T),
    /// The limit passed first.
    TimedOut,
    /// The lab was interrupted.
    Interrupted,
}

/// Calls `poll` until it returns a value, `limit` has passed, or the lab is interrupted.
///
/// # Errors
/// The first error of `poll`, which ends the wait.
pub(crate) fn until<T, E>(
    limit: Duration,
    mut poll: impl FnMut() -> Result<Option<T>, E>,
) -> Result<Waited<T>, E> {
    let waited = within(limit, || {
        Ok(match poll()? {
            Some(value) => Some(Waited::Done(value)),
            None => interrupt::requested().then_some(Waited::Interrupted),
        })
    })?;
    Ok(waited.unwrap_or(Waited::TimedOut))
}

/// As [`until`], but an interruption does not end the wait. Returns `None` if `limit` passes first.
///
/// # Errors
/// The first error of `poll`, which ends the wait.
pub(crate) fn within<T, E>(
    limit: Duration,
    mut poll: impl FnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    let start = Instant::now();
    loop {
        let value = poll()?;
        if value.is_some() || start.elapsed() >= limit {
            return Ok(value);
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_ends_a_wait() {
        let mut calls = 0;
        let waited = until(FOREVER, || {
            calls += 1;
            Ok::<_, ()>((calls == 3).then_some("value"))
        });
        assert!(matches!(waited, Ok(Waited::Done("value"))));
        assert_eq!(calls, 3);
    }

    #[test]
    fn the_function_is_called_at_least_once() {
        let waited = until(Duration::ZERO, || Ok::<_, ()>(Some(())));
        assert!(matches!(waited, Ok(Waited::Done(()))));
        let waited = until(Duration::ZERO, || Ok::<Option<()>, ()>(None));
        assert!(matches!(waited, Ok(Waited::TimedOut)));
    }

    #[test]
    fn an_error_ends_a_wait() {
        assert_eq!(within(FOREVER, || Err::<Option<()>, _>("no")), Err("no"));
    }
}

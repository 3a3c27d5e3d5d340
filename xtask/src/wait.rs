// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waits that end: with an answer, at a deadline, or when the lab is interrupted.

use std::time::{Duration, Instant};

use crate::interrupt;

/// Time between two questions: short beside a boot, and long beside what a question costs.
const PAUSE: Duration = Duration::from_millis(5);

/// A limit for waits that only an answer or an interruption ends.
pub(crate) const FOREVER: Duration = Duration::MAX;

/// Outcome of [`until`].
#[derive(Debug)]
pub(crate) enum Waited<T> {
    /// The answer.
    Done(T),
    /// No answer came within the limit.
    Overtime,
    /// The lab was interrupted.
    Interrupted,
}

/// Calls `ask` until it returns something, `limit` has passed, or the lab is interrupted.
///
/// # Errors
/// The first error of `ask`.
pub(crate) fn until<T, E>(
    limit: Duration,
    mut ask: impl FnMut() -> Result<Option<T>, E>,
) -> Result<Waited<T>, E> {
    let waited = within(limit, || {
        Ok(match ask()? {
            Some(answer) => Some(Waited::Done(answer)),
            None => interrupt::requested().then_some(Waited::Interrupted),
        })
    })?;
    Ok(waited.unwrap_or(Waited::Overtime))
}

/// As [`until`], but an interruption does not end the wait. Returns `None` once `limit` has passed.
///
/// # Errors
/// The first error of `ask`.
pub(crate) fn within<T, E>(
    limit: Duration,
    mut ask: impl FnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    let start = Instant::now();
    loop {
        let answer = ask()?;
        if answer.is_some() || start.elapsed() >= limit {
            return Ok(answer);
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_answer_ends_a_wait() {
        let mut asked = 0;
        let waited = until(FOREVER, || {
            asked += 1;
            Ok::<_, ()>((asked == 3).then_some("answer"))
        });
        assert!(matches!(waited, Ok(Waited::Done("answer"))));
        assert_eq!(asked, 3);
    }

    #[test]
    fn a_limit_is_not_reached_before_one_question() {
        let waited = until(Duration::ZERO, || Ok::<_, ()>(Some(())));
        assert!(matches!(waited, Ok(Waited::Done(()))));
        let waited = until(Duration::ZERO, || Ok::<Option<()>, ()>(None));
        assert!(matches!(waited, Ok(Waited::Overtime)));
    }

    #[test]
    fn an_error_ends_a_wait() {
        assert_eq!(within(FOREVER, || Err::<Option<()>, _>("no")), Err("no"));
    }
}

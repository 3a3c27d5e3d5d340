// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a case ends when it does not pass.

use std::fmt::Debug;

use protocol::record::Outcome;

/// Why a case did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Something did not hold: what was expected, and what was found.
    Fail(String),
    /// The case cannot hold on this machine, and why.
    Skip(String),
}

impl Failure {
    /// Something did not hold.
    pub fn new(reason: impl Into<String>) -> Failure {
        Failure::Fail(reason.into())
    }

    /// The same, and what was done before.
    pub fn after(self, what: &str) -> Failure {
        match self {
            Failure::Fail(reason) => Failure::Fail(format!("after {what}: {reason}")),
            skip @ Failure::Skip(_) => skip,
        }
    }

    /// The outcome of a case that ended like this.
    pub fn into_outcome(self) -> Outcome {
        match self {
            Failure::Fail(reason) => Outcome::Fail { reason },
            Failure::Skip(reason) => Outcome::Skip { reason },
        }
    }
}

impl From<sys::Error> for Failure {
    fn from(error: sys::Error) -> Failure {
        Failure::Fail(error.to_string())
    }
}

/// `what` has the value it should have.
///
/// # Errors
/// What was expected and what was found.
pub fn expect<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Result<(), Failure> {
    match found == expected {
        true => Ok(()),
        false => Err(Failure::Fail(format!(
            "{what}: expected {expected:?}, found {found:?}"
        ))),
    }
}

/// `holds`, or else what `says` says.
///
/// # Errors
/// The text of `says`.
pub fn expect_that(holds: bool, says: impl FnOnce() -> String) -> Result<(), Failure> {
    match holds {
        true => Ok(()),
        false => Err(Failure::Fail(says())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_was_expected_and_found() {
        let failure = expect("pages", 3, 4).unwrap_err();
        assert_eq!(failure, Failure::new("pages: expected 4, found 3"));
        assert_eq!(expect("pages", 4, 4), Ok(()));
    }
}

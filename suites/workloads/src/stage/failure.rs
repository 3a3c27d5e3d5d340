// SPDX-License-Identifier: MIT OR Apache-2.0
//! Failures of cases, and the texts that users read.

use protocol::record::Outcome;
use sys::Errno;

/// Reason why a case did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A check failed. The text says what was expected and what was found.
    Fail(String),
    /// The case cannot hold on this machine. The text says why.
    Skip(String),
}

impl Failure {
    /// Returns a [`Failure::Fail`].
    pub(crate) fn new(reason: impl Into<String>) -> Failure {
        Failure::Fail(reason.into())
    }

    /// Names the step that preceded the failure: `after WHAT: REASON`.
    pub(crate) fn after(self, what: &str) -> Failure {
        match self {
            Failure::Fail(reason) => Failure::Fail(format!("after {what}: {reason}")),
            skip @ Failure::Skip(_) => skip,
        }
    }

    /// Returns the outcome of the case.
    pub fn into_outcome(self) -> Outcome {
        match self {
            Failure::Fail(reason) => Outcome::Fail { reason },
            Failure::Skip(reason) => Outcome::Skip { reason },
        }
    }
}

/// Result of a call that the kernel may refuse: the error number is not a failure of the case.
pub(crate) type Tried<T> = Result<Result<T, Errno>, Failure>;

impl From<sys::Error> for Failure {
    fn from(error: sys::Error) -> Failure {
        Failure::Fail(error.to_string())
    }
}

/// Fails unless `found`, the value of `what`, equals `expected`.
///
/// # Errors
/// Names both values.
pub(crate) fn expect<T: Words + PartialEq>(
    what: &str,
    found: T,
    expected: T,
) -> Result<(), Failure> {
    expect_that(found == expected, || {
        format!("{what}: expected {}, {}", expected.words(), found.found())
    })
}

/// Returns the value of a system call that must succeed.
///
/// # Errors
/// Names the error of the system call.
pub(crate) fn expect_ok<T>(what: &str, result: Result<T, Errno>) -> Result<T, Failure> {
    result.map_err(|errno| Failure::Fail(format!("{what}: expected success, found {errno}")))
}

/// Fails with the text of `why` unless `holds`.
pub(crate) fn expect_that(holds: bool, why: impl FnOnce() -> String) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::Fail(why())) }
}

/// Values as a user reads them in a failure.
pub(crate) trait Words {
    /// Returns the value in words.
    fn words(&self) -> String;

    /// Returns the words for this value where another was expected.
    fn found(&self) -> String {
        format!("found {}", self.words())
    }
}

macro_rules! words_of_display {
    ($($kind:ty),*) => {
        $(impl Words for $kind {
            fn words(&self) -> String {
                self.to_string()
            }
        })*
    };
}

words_of_display!(u32, u64, usize, &str, String, &String, Errno);

/// Success of a system call without a value.
impl Words for () {
    fn words(&self) -> String {
        "success".into()
    }

    fn found(&self) -> String {
        "but it succeeded".into()
    }
}

/// Result of a system call.
impl<T: Words> Words for Result<T, Errno> {
    fn words(&self) -> String {
        match self {
            Ok(value) => value.words(),
            Err(errno) => errno.words(),
        }
    }

    fn found(&self) -> String {
        match self {
            Ok(value) => value.found(),
            Err(errno) => errno.found(),
        }
    }
}

/// Error of a system call, if there was one.
impl Words for Option<Errno> {
    fn words(&self) -> String {
        self.map_or(Ok(()), Err).words()
    }

    fn found(&self) -> String {
        self.map_or(Ok(()), Err).found()
    }
}

impl Words for Option<u64> {
    fn words(&self) -> String {
        self.map_or("none".into(), |number| number.to_string())
    }
}

impl<T: Words> Words for Vec<T> {
    fn words(&self) -> String {
        let words: Vec<String> = self.iter().map(Words::words).collect();
        match &words[..] {
            [] => "none".into(),
            [first, _, ..] if words.iter().all(|word| word == first) => {
                format!("{} times {first}", words.len())
            }
            words => words.join(", "),
        }
    }
}

impl<A: Words, B: Words> Words for (A, B) {
    fn words(&self) -> String {
        format!("{} and {}", self.0.words(), self.1.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::command::Touch;

    fn text<T: Words + PartialEq>(what: &str, found: T, expected: T) -> String {
        match expect(what, found, expected) {
            Err(Failure::Fail(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn expected_values_pass() {
        assert_eq!(expect("pages", 4u64, 4), Ok(()));
        assert_eq!(expect("mmap", Err::<(), _>(Errno::EINVAL), Err(Errno::EINVAL)), Ok(()));
    }

    #[test]
    fn values_are_named() {
        insta::assert_snapshot!(text("pages", 3u64, 4), @"pages: expected 4, found 3");
        insta::assert_snapshot!(text("FUSE_MMAPs and FUSE_MUNMAPs", (2u64, 1u64), (2, 0)), @"FUSE_MMAPs and FUSE_MUNMAPs: expected 2 and 0, found 2 and 1");
        insta::assert_snapshot!(text("the last page ID", None, Some(7u64)), @"the last page ID: expected 7, found none");
        insta::assert_snapshot!(text("connections", vec!["30".to_owned(), "31".into()], vec!["30".into()]), @"connections: expected 30, found 30, 31");
    }

    #[test]
    fn results_of_system_calls_are_named() {
        let done: Result<(), Errno> = Ok(());
        let refused = Err(Errno::EINVAL);
        insta::assert_snapshot!(text("mmap", done, refused), @"mmap: expected EINVAL, but it succeeded");
        insta::assert_snapshot!(text("mmap", refused, done), @"mmap: expected success, found EINVAL");
        insta::assert_snapshot!(text("mmap", None, Some(Errno::ENOMEM)), @"mmap: expected ENOMEM, but it succeeded");
        insta::assert_snapshot!(text("mmap", Some(Errno::EIO), None), @"mmap: expected success, found EIO");
        insta::assert_snapshot!(text("bytes saved", Err(Errno::ENXIO), Ok(8usize)), @"bytes saved: expected 8, found ENXIO");
        insta::assert_snapshot!(text("saves", vec![done; 2], vec![refused; 2]), @"saves: expected 2 times EINVAL, found 2 times success");
    }

    #[test]
    fn touches_are_named() {
        let text = |found, expected| text("a touch over the limit", found, expected);
        insta::assert_snapshot!(text(Touch::Success, Touch::Sigbus), @"a touch over the limit: expected SIGBUS, but the access succeeded");
        insta::assert_snapshot!(text(Touch::Efault, Touch::Success), @"a touch over the limit: expected success, found EFAULT");
        insta::assert_snapshot!(text(Touch::Other, Touch::Sigsegv), @"a touch over the limit: expected SIGSEGV, found another exit status");
    }

    #[test]
    fn the_value_of_a_success_is_returned() {
        assert_eq!(expect_ok("mmap", Ok(7)), Ok(7));
        let refused = expect_ok::<u64>("mmap", Err(Errno::EINVAL));
        let expected = Failure::new("mmap: expected success, found EINVAL");
        assert_eq!(refused, Err(expected));
    }

    #[test]
    fn a_failure_can_name_what_was_done_before() {
        let failure = Failure::new("pages: expected 4, found 3").after("the end of the server");
        let expected = Failure::new("after the end of the server: pages: expected 4, found 3");
        assert_eq!(failure, expected);
    }
}

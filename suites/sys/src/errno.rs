// SPDX-License-Identifier: MIT OR Apache-2.0
//! Error numbers by name, and errors that name the failed action.

use std::fmt;

use crate::backend::number;

macro_rules! errnos {
    ($($name:ident),* $(,)?) => {
        /// Error number of the kernel. Architectures use different values for the same name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(clippy::upper_case_acronyms)]
        pub enum Errno {
            $(
                #[doc = concat!("`", stringify!($name), "` of errno(3).")]
                $name,
            )*
            /// Error number that this type has no name for.
            Other(i32),
        }

        impl Errno {
            /// Returns the error with the given number on this machine.
            pub fn from_raw(raw: i32) -> Errno {
                $(if raw == number!($name) { return Errno::$name; })*
                Errno::Other(raw)
            }

            /// Returns the number on this machine, positive.
            pub fn raw(self) -> i32 {
                match self {
                    $(Errno::$name => number!($name),)*
                    Errno::Other(raw) => raw,
                }
            }
        }

        impl fmt::Display for Errno {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Errno::$name => f.write_str(stringify!($name)),)*
                    Errno::Other(raw) => write!(f, "errno {raw}"),
                }
            }
        }
    };
}

errnos! {
    E2BIG, EACCES, EADDRINUSE, EAGAIN, EBADF, EBADMSG, EBUSY, ECHILD, ECONNABORTED, ECONNREFUSED, ECONNRESET, EDEADLK,
    EEXIST, EFAULT, EFBIG, EINTR, EINVAL, EIO, EISDIR, ELOOP, EMFILE, EMLINK, ENAMETOOLONG, ENFILE, ENODATA, ENODEV,
    ENOENT, ENOEXEC, ENOMEM, ENOSPC, ENOSYS, ENOTCONN, ENOTDIR, ENOTEMPTY, ENOTTY, ENXIO, EOPNOTSUPP, EOVERFLOW,
    EPERM, EPIPE, EPROTO, ERANGE, EROFS, ESPIPE, ESRCH, ESTALE, ETIMEDOUT, ETXTBSY, EXDEV,
}

/// A failed action and its error number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {errno}")]
pub struct Error {
    /// The action and its object, such as `open /dev/fuse`.
    pub what: String,
    /// Error number from the kernel.
    pub errno: Errno,
}

/// Result of a system call.
pub type Result<T> = std::result::Result<T, Error>;

/// Extension trait that turns a bare error number into an [`Error`].
pub(crate) trait Context<T> {
    /// Adds the action. `what` is only called after a failure.
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for std::result::Result<T, Errno> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| Error { what: what(), errno })
    }
}

/// Checks that a call transferred all of `len` bytes. If it transferred fewer, the error is `partial`.
pub(crate) fn require_all(
    done: std::result::Result<usize, Errno>,
    len: usize,
    partial: Errno,
) -> std::result::Result<(), Errno> {
    match done? {
        n if n == len => Ok(()),
        _ => Err(partial),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_agree() {
        assert_eq!(Errno::from_raw(libc::EINVAL), Errno::EINVAL);
        assert_eq!(Errno::ENOTCONN.raw(), libc::ENOTCONN);
        assert_eq!(Errno::from_raw(Errno::EAGAIN.raw()).to_string(), "EAGAIN");
        assert_eq!(Errno::from_raw(9999).to_string(), "errno 9999");
    }

    #[test]
    fn an_error_names_the_failed_action() {
        let error = crate::read_text("/no/such/file").unwrap_err();
        assert_eq!(error.to_string(), "open /no/such/file: ENOENT");
    }
}

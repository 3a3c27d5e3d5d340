// SPDX-License-Identifier: MIT OR Apache-2.0
//! Error numbers by name, and errors that say what was attempted.

use std::fmt;

use crate::backend::number;

macro_rules! errnos {
    ($($name:ident),* $(,)?) => {
        /// An error number of the kernel. Its value differs between architectures; its name does not.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(clippy::upper_case_acronyms)]
        pub enum Errno {
            $(
                #[doc = concat!("`", stringify!($name), "` of errno(3).")]
                $name,
            )*
            /// A number without a name here.
            Other(i32),
        }

        impl Errno {
            /// The error with this number on this machine.
            pub fn from_raw(raw: i32) -> Errno {
                $(if raw == number!($name) { return Errno::$name; })*
                Errno::Other(raw)
            }

            /// Its number on this machine, positive.
            pub fn raw(self) -> i32 {
                match self {
                    $(Errno::$name => number!($name),)*
                    Errno::Other(raw) => raw,
                }
            }

            /// Its name, such as `EINVAL`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Errno::$name => stringify!($name),)*
                    Errno::Other(_) => "E?",
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

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Errno::Other(raw) => write!(f, "errno {raw}"),
            named => f.write_str(named.name()),
        }
    }
}

/// What was attempted, on what, and the kernel's answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {errno}")]
pub struct Error {
    /// What was attempted, on what.
    pub what: String,
    /// The kernel's answer.
    pub errno: Errno,
}

/// The result of asking the operating system for something.
pub type Result<T> = std::result::Result<T, Error>;

/// Puts words to a bare error number.
pub(crate) trait During<T> {
    /// Says what was attempted; `what` is only asked where it failed.
    fn during(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> During<T> for std::result::Result<T, Errno> {
    fn during(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| Error {
            what: what(),
            errno,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_agree() {
        assert_eq!(Errno::from_raw(libc::EINVAL), Errno::EINVAL);
        assert_eq!(Errno::ENOTCONN.raw(), libc::ENOTCONN);
        assert_eq!(Errno::from_raw(Errno::EAGAIN.raw()).name(), "EAGAIN");
        assert_eq!(Errno::from_raw(9999).to_string(), "errno 9999");
    }

    #[test]
    fn an_error_says_what_was_attempted() {
        let error = crate::read_text("/no/such/file").unwrap_err();
        assert_eq!(error.to_string(), "open /no/such/file: ENOENT");
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Standard output and standard error, which may be closed or full.
//!
//! The macros of the standard library panic if they cannot write. Those of this module never do. A reader that has seen
//! enough (`| head`) changes nothing: the command goes on and keeps its exit code. Any other failure of standard output,
//! such as a full disk, is remembered, and [`failure`] returns it to `main` when the command is over.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;

/// First failure to write to standard output, unless the reader had closed it.
static FAILURE: OnceLock<io::Error> = OnceLock::new();

/// Prints to standard output like [`std::print!`], without its panic.
macro_rules! out {
    ($($argument:tt)*) => { $crate::output::print(format_args!($($argument)*)) };
}

/// Prints a line to standard output like [`std::println!`], without its panic.
macro_rules! outln {
    () => { $crate::output::print(format_args!("\n")) };
    ($($argument:tt)*) => {
        $crate::output::print(format_args!("{}\n", format_args!($($argument)*)))
    };
}

/// Prints a line to standard error like [`std::eprintln!`], without its panic.
macro_rules! errln {
    ($($argument:tt)*) => { $crate::output::complain(format_args!($($argument)*)) };
}

pub(crate) use {errln, out, outln};

/// Writes `text` to standard output.
pub(crate) fn print(text: fmt::Arguments) {
    remember(write(&mut io::stdout().lock(), |out| out.write_fmt(text)));
}

/// Writes output of another program to standard output.
pub(crate) fn pass_on(bytes: &[u8]) {
    remember(write(&mut io::stdout().lock(), |out| out.write_all(bytes)));
}

/// Writes output of another program, or a text with its line ends, to standard error.
pub(crate) fn pass_on_to_stderr(bytes: &[u8]) {
    let _ = write(&mut io::stderr().lock(), |out| out.write_all(bytes));
}

/// Remembers the first failure.
fn remember(failure: Option<io::Error>) {
    if let Some(error) = failure {
        let _ = FAILURE.set(error);
    }
}

/// Writes a line to standard error. If that fails, there is nobody left to complain to.
pub fn complain(text: fmt::Arguments) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Returns the first failure to write to standard output. A reader that closed it is no failure.
pub fn failure() -> Option<&'static io::Error> {
    FAILURE.get()
}

/// Returns true if `error` says that the reader of a pipe or a terminal does not read any more.
pub fn is_closed(error: &io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe
}

/// Writes something and returns the failure that counts.
fn write<W: Write>(
    out: &mut W,
    something: impl FnOnce(&mut W) -> io::Result<()>,
) -> Option<io::Error> {
    let done = something(out).and_then(|()| out.flush());
    done.err().filter(|error| !is_closed(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Output that fails in a given way.
    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn only_a_closed_pipe_is_no_failure() {
        let written = |kind| {
            let failure = write(&mut Broken(kind), |out| out.write_all(b"text"));
            failure.map(|error| error.kind())
        };
        assert_eq!(written(ErrorKind::BrokenPipe), None);
        assert_eq!(written(ErrorKind::StorageFull), Some(ErrorKind::StorageFull));
        assert!(write(&mut Vec::new(), |out| out.write_all(b"text")).is_none());
    }
}

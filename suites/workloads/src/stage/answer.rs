// SPDX-License-Identifier: MIT OR Apache-2.0
//! Answers of a case's processes to commands.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use server::RequestLog;
use sys::{Errno, ExitStatus, Instant, Signal};

use crate::stage::command::Map;
use crate::stage::failure::Words;

/// Answer to a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    Done,
    Number(u64),
    Words(Vec<u64>),
    Map(Map),
    Maps(Map, Map),
    Figures(Vec<(String, u64)>),
    /// Time of all writes and of all reads, in nanoseconds.
    Nanos {
        written: u64,
        read: u64,
    },
    /// Result of write(2) for each message: 0 or an error number of this machine.
    Errnos(Vec<i32>),
    /// Process ID of a forked process, and its parent's descriptors of the pipes to and from it.
    Forked {
        pid: i32,
        to: i32,
        from: i32,
    },
    Area(Area),
    Touch(Touch),
    RequestLog(Box<RequestLog>),
    /// Answer to a command that was executed while its n-th allocation was set to fail. `failed` is false if the
    /// command made fewer allocations.
    Failing {
        failed: bool,
        answer: Box<Answer>,
    },
    /// Answers to the commands of a batch.
    Batch(Vec<Answer>),
    /// A system call failed. `errno` is the error number of this machine.
    Refused {
        what: String,
        errno: i32,
    },
    /// A check failed, or the command could not be executed.
    Failed(String),
}

impl Answer {
    pub(crate) fn is_error(&self) -> bool {
        matches!(self, Answer::Refused { .. } | Answer::Failed(_))
    }

    /// Returns the answer to a system call: `ok` of its value, or its error.
    pub(crate) fn of<T>(result: sys::Result<T>, ok: impl FnOnce(T) -> Answer) -> Answer {
        match result {
            Ok(value) => ok(value),
            Err(error) => error.into(),
        }
    }

    /// Returns the answer to a system call without a value.
    pub(crate) fn done(result: sys::Result<()>) -> Answer {
        Answer::of(result, |()| Answer::Done)
    }

    /// Returns the answer to a comparison that found `difference`, if any.
    pub(crate) fn compared(difference: Option<String>) -> Answer {
        difference.map_or(Answer::Done, Answer::Failed)
    }

    /// Returns the answer to a measurement of writes and reads.
    pub(crate) fn nanos(written: Duration, read: Duration) -> Answer {
        let [written, read] = [written, read].map(|time| time.as_nanos() as u64);
        Answer::Nanos { written, read }
    }

    /// Returns the answer to a measurement of `work`: its time, or its error.
    pub(crate) fn time_of(work: impl FnOnce() -> Result<(), Answer>) -> Answer {
        let start = Instant::now();
        match work() {
            Ok(()) => Answer::Number(start.elapsed().as_nanos() as u64),
            Err(answer) => answer,
        }
    }

    /// Returns the text of an error, for a person.
    pub(crate) fn describe(&self) -> String {
        match self {
            Answer::Refused { what, errno } => format!("{what}: {}", Errno::from_raw(*errno)),
            Answer::Failed(why) => why.clone(),
            other => format!("{other:?}"),
        }
    }
}

impl From<sys::Error> for Answer {
    fn from(error: sys::Error) -> Answer {
        Answer::Refused { what: error.what, errno: error.errno.raw() }
    }
}

/// Line of `/proc/PID/maps`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Area {
    /// First address.
    pub start: u64,
    /// Address behind the last.
    pub end: u64,
    /// Access rights, such as `rw-s`.
    pub mode: String,
    /// Byte in the file.
    pub offset: u64,
    /// Path of the file.
    pub path: String,
}

/// Result of an access to a byte, by a process or by the kernel on its behalf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Touch {
    Success,
    /// The process was killed by SIGBUS.
    Sigbus,
    /// The process was killed by SIGSEGV.
    Sigsegv,
    /// The kernel returned EFAULT.
    Efault,
    /// The process ended in another way.
    Other,
}

impl Words for Touch {
    fn words(&self) -> String {
        match self {
            Touch::Success => "success",
            Touch::Sigbus => "SIGBUS",
            Touch::Sigsegv => "SIGSEGV",
            Touch::Efault => "EFAULT",
            Touch::Other => "another exit status",
        }
        .into()
    }

    fn found(&self) -> String {
        match self {
            Touch::Success => "but the access succeeded".into(),
            other => format!("found {}", other.words()),
        }
    }
}

impl From<ExitStatus> for Touch {
    fn from(status: ExitStatus) -> Touch {
        match status {
            ExitStatus::Code(0) => Touch::Success,
            ExitStatus::Signal(Signal::Bus) => Touch::Sigbus,
            ExitStatus::Signal(Signal::Segv) => Touch::Sigsegv,
            _ => Touch::Other,
        }
    }
}

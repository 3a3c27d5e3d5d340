// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a process of a case answers to a command.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use server::RequestLog;
use sys::{Errno, ExitStatus, Signal};

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
    /// Nanoseconds that all writes took, and all reads.
    Nanos {
        written: u64,
        read: u64,
    },
    /// What the kernel returned for each message: 0 or an error number of this machine.
    Errnos(Vec<i32>),
    /// A process was forked: its number, and the ends of its pipes in the process that forked it.
    Forked {
        pid: i32,
        to: i32,
        from: i32,
    },
    Area(Area),
    Touch(Touch),
    RequestLog(Box<RequestLog>),
    /// Answer to a command during which an allocation was to fail; `failed` if there were so many.
    Failing {
        failed: bool,
        answer: Box<Answer>,
    },
    /// Answers to commands that were run together.
    Each(Vec<Answer>),
    /// The operating system refused; `errno` is its number on this machine.
    Refused {
        what: String,
        errno: i32,
    },
    /// Something did not hold.
    Failed(String),
}

impl Answer {
    /// Returns true for a refusal or a failure.
    pub(crate) fn is_bad(&self) -> bool {
        matches!(self, Answer::Refused { .. } | Answer::Failed(_))
    }

    /// Answer to a system call: `ok`, or the refusal.
    pub(crate) fn of<T>(result: sys::Result<T>, ok: impl FnOnce(T) -> Answer) -> Answer {
        match result {
            Ok(value) => ok(value),
            Err(error) => error.into(),
        }
    }

    /// Answer to a system call that returns nothing.
    pub(crate) fn done(result: sys::Result<()>) -> Answer {
        Answer::of(result, |()| Answer::Done)
    }

    /// Answer to a comparison; `difference` says what is wrong.
    pub(crate) fn compared(difference: Option<String>) -> Answer {
        difference.map_or(Answer::Done, Answer::Failed)
    }

    /// Answer to a measurement of writes and reads.
    pub(crate) fn nanos(written: Duration, read: Duration) -> Answer {
        let [written, read] = [written, read].map(|time| time.as_nanos() as u64);
        Answer::Nanos { written, read }
    }

    /// Text for a person: the reason of a refusal or a failure.
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
        Answer::Refused {
            what: error.what,
            errno: error.errno.raw(),
        }
    }
}

/// A line of `/proc/PID/maps`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Area {
    /// First address.
    pub start: u64,
    /// Address behind the last.
    pub end: u64,
    /// Such as `rw-s`.
    pub mode: String,
    /// Byte in the file.
    pub offset: u64,
    /// The file.
    pub path: String,
}

/// End of a touch of a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Touch {
    /// It went well.
    Success,
    /// The process died of SIGBUS.
    Sigbus,
    /// The process died of SIGSEGV.
    Sigsegv,
    /// The kernel said EFAULT.
    Efault,
    /// The process ended otherwise.
    Other,
}

impl Words for Touch {
    fn words(&self) -> String {
        match self {
            Touch::Success => "success",
            Touch::Sigbus => "SIGBUS",
            Touch::Sigsegv => "SIGSEGV",
            Touch::Efault => "EFAULT",
            Touch::Other => "another end of the process",
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
    fn from(ended: ExitStatus) -> Touch {
        match ended {
            ExitStatus::Code(0) => Touch::Success,
            ExitStatus::Signal(Signal::Bus) => Touch::Sigbus,
            ExitStatus::Signal(Signal::Segv) => Touch::Sigsegv,
            _ => Touch::Other,
        }
    }
}

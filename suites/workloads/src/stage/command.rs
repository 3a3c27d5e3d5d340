// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a case tells its processes, and what they answer: one JSON line each, through pipes.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use server::{Behaviour, Message, Seen};
use sys::{Access, Ended, Errno, Prot, Sharing, Signal};

use crate::stage::memory_call::MemoryCall;
use crate::stage::role::Role;

/// A mapping of a process, by the number it was given there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Map(pub u32);

/// What a process is told to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Command {
    /// Maps what this process maps: a client its file from byte `offset`, a server the channel.
    Map(MapRequest),
    /// Maps twice, the second right behind the first in memory and in the file.
    MapAdjacent(MapRequest),
    /// Something about one of its mappings.
    Memory(Map, MemoryCommand),
    /// Maps at an address that is `residue` modulo `period`.
    MapAt {
        request: MapRequest,
        residue: u64,
        period: u64,
    },
    /// Puts a mapping in the place of one of its mappings, which is as long.
    MapOver(Map, MapRequest),
    /// A client writes `len` bytes from byte `at` of a mapping to its file at byte `offset`, by write(2) with the mapping
    /// as buffer.
    WriteMapped {
        map: Map,
        at: usize,
        len: usize,
        offset: u64,
    },
    /// A client reads them, by read(2) with the mapping as buffer.
    ReadMapped {
        map: Map,
        at: usize,
        len: usize,
        offset: u64,
    },
    /// A process forks one like itself, which the case speaks to by pipes of its parent's. A server's child does not
    /// listen to the channel.
    Fork { name: String },
    /// A client becomes a program that has nothing mapped and waits, and does not answer.
    Exec,
    /// A client opens its file for reading alone.
    OpenReadonly,
    /// A client opens its file (again).
    Open,
    /// A client closes it.
    Close,
    /// A client writes `len` bytes of the pattern of `seed` to its file with write(2), and reads them back with read(2).
    WriteRead { offset: u64, len: usize, seed: u64 },
    /// A client does that with `size` bytes `rounds` times: what throughput is measured with.
    Throughput { size: usize, rounds: u32 },
    /// A client maps, touches, unmaps; or children of it map, touch, die.
    Cycle {
        offset: u64,
        pages: usize,
        times: u32,
        die: bool,
    },
    /// A client touches memory it does not have.
    Segfault,
    /// A server changes its ways.
    Behave(Behaviour),
    /// A server tells what it was asked.
    Seen,
    /// A server tells how many FUSE_MMAPs and FUSE_MUNMAPs it was sent: of what it was asked, what is told fast.
    Counted,
    /// A server answers requests until it has seen this many FUSE_MUNMAPs, for at most so many milliseconds.
    AwaitMunmaps { count: u64, millis: u64 },
    /// A server writes `len` bytes of the pattern of `seed` into its pages, from byte `at` of page `page_id`.
    LoadPages {
        page_id: u64,
        at: usize,
        len: usize,
        seed: u64,
    },
    /// A server reads them and compares; how many came.
    SavePages {
        page_id: u64,
        at: usize,
        len: usize,
        seed: u64,
    },
    /// A server writes and then reads `size` bytes from page `page_id` on, `rounds` times: what throughput is measured with.
    TimeById {
        page_id: u64,
        size: usize,
        rounds: u32,
    },
    /// A server reads the word of 8 bytes at byte `at` of each of so many pages; the words of those that came.
    SaveWords {
        page_id: u64,
        at: usize,
        pages: usize,
    },
    /// A server lets go of pages.
    FreePages { page_id: u64, count: u64 },
    /// A server writes messages, right or wrong, and reads none before all are written.
    Write(Vec<Message>),
    /// A server closes its channel.
    CloseChannel,
    /// A server gives up root.
    BecomeNobody,
    /// Does something with the `nth` allocation on the way failing.
    Failing { nth: u32, command: Box<Command> },
    /// Does one thing after the other, up to the first that does not go well, and answers once: no other process has to run
    /// in between.
    AtOnce(Vec<Command>),
    /// Ends the process.
    Quit,
}

/// A mapping to be made.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct MapRequest {
    /// Byte of the file or channel.
    pub offset: u64,
    /// Bytes.
    pub len: usize,
    pub writable: bool,
    pub shared: bool,
}

impl MapRequest {
    pub(crate) fn prot(&self) -> Prot {
        match self.writable {
            true => Prot::ReadWrite,
            false => Prot::Read,
        }
    }

    pub(crate) fn sharing(&self) -> Sharing {
        match self.shared {
            true => Sharing::Shared,
            false => Sharing::Private,
        }
    }
}

/// What can be done with a mapping. Offsets and lengths are bytes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MemoryCommand {
    /// The word of 8 bytes there.
    Load { at: usize },
    /// Writes it.
    Store { at: usize, value: u64 },
    /// Writes the pattern of `seed`.
    Fill { at: usize, len: usize, seed: u64 },
    /// Compares with the pattern of `seed`.
    Verify { at: usize, len: usize, seed: u64 },
    /// Compares with zeros.
    VerifyZero { at: usize, len: usize },
    /// Loads a word of every page, in order; how many nanoseconds that takes.
    TimeTouches,
    /// Lets the kernel read a byte.
    Probe { at: usize },
    /// Lets a child touch a byte.
    Touch { at: usize, store: bool },
    /// The page frame number under a byte, once it has been touched here.
    Frame { at: usize },
    /// What `/proc/self/maps` says.
    Area,
    /// Unmaps a part in the middle; what is in front keeps the number, what is behind gets a new one.
    Punch { at: usize, len: usize },
    /// Treats it as two from now on, the second behind byte `at` with a new number. The kernel does not hear of it.
    Cut { at: usize },
    /// Allows loads alone.
    ProtectReadonly,
    /// Unmaps it.
    Unmap,
    /// Plays a role in it.
    Play(Role),
    /// Makes a system call about it.
    Call(MemoryCall),
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    Done,
    Number(u64),
    Words(Vec<u64>),
    Map(Map),
    Maps(Map, Map),
    Figures(Vec<(String, u64)>),
    /// Nanoseconds in all of what was written, and of what was read.
    Nanos {
        written: u64,
        read: u64,
    },
    /// What the kernel said to each: 0 or an error number of this machine.
    Errnos(Vec<i32>),
    /// A process was forked: its number, and the ends of its pipes in the process that forked it.
    Forked {
        pid: i32,
        to: i32,
        from: i32,
    },
    Area(Area),
    /// A touch or a probe ended well or of a signal.
    Touched(Touched),
    Seen(Box<Seen>),
    /// What came of something with an allocation failing, if there were so many.
    Failing {
        failed: bool,
        answer: Box<Answer>,
    },
    /// What came of each of several things.
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
    /// Whether it did not go well.
    pub(crate) fn is_bad(&self) -> bool {
        matches!(self, Answer::Refused { .. } | Answer::Failed(_))
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

/// How a touch of a byte ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Touched {
    /// It went well.
    Well,
    /// The process died of SIGBUS.
    Bus,
    /// The process died of SIGSEGV.
    Segv,
    /// The kernel said EFAULT.
    Fault,
    /// The process ended otherwise.
    Otherwise,
}

impl From<Ended> for Touched {
    fn from(ended: Ended) -> Touched {
        match ended {
            Ended::Code(0) => Touched::Well,
            Ended::Signal(Signal::Bus) => Touched::Bus,
            Ended::Signal(Signal::Segv) => Touched::Segv,
            _ => Touched::Otherwise,
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

impl Answer {
    /// Success or refusal as one value.
    pub(crate) fn of<T>(result: sys::Result<T>, ok: impl FnOnce(T) -> Answer) -> Answer {
        match result {
            Ok(value) => ok(value),
            Err(error) => error.into(),
        }
    }

    /// Success or what did not hold as one value.
    pub(crate) fn checked(result: Result<(), String>) -> Answer {
        match result {
            Ok(()) => Answer::Done,
            Err(why) => Answer::Failed(why),
        }
    }

    /// How long both ways took.
    pub(crate) fn nanos(written: Duration, read: Duration) -> Answer {
        let [written, read] = [written, read].map(|time| time.as_nanos() as u64);
        Answer::Nanos { written, read }
    }

    /// For a person.
    pub(crate) fn describe(&self) -> String {
        match self {
            Answer::Refused { what, errno } => format!("{what}: {}", Errno::from_raw(*errno)),
            Answer::Failed(why) => why.clone(),
            other => format!("{other:?}"),
        }
    }
}

/// The access a touch makes.
pub(crate) fn access(store: bool) -> Access {
    match store {
        true => Access::Store,
        false => Access::Load,
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands that a case sends to its processes, and their answers: one line of JSON each, through pipes.
//!
//! A client takes a [`Command`] of [`ClientCommand`], a server one of [`ServerCommand`]. Both take [`MemoryCommand`]s.

use serde::{Deserialize, Serialize};
use server::{Behaviour, Message};
use sys::{Advice, Prot, Sharing};

use crate::stage::role::Role;

pub(crate) use crate::stage::answer::{Answer, Area, Touch};

/// A mapping of a process, by the number that the process gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Map(pub u32);

/// A command for a process whose own commands are `Own`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Command<Own> {
    /// Does something with its memory.
    Memory(MemoryCommand),
    /// Does something that only processes of its kind can do.
    Own(Own),
    /// Forks a process of the same kind. The case reaches the child by pipes that its parent holds open.
    Fork { name: String },
    /// Runs a command while the `nth` allocation on the way fails.
    Failing {
        nth: u32,
        command: Box<Command<Own>>,
    },
    /// Runs commands in order, up to the first that fails, and answers once: no other process has to run in between.
    AtOnce(Vec<Command<Own>>),
    /// Ends.
    Quit,
}

/// What only a client can do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ClientCommand {
    /// Opens its file.
    Open,
    /// Opens its file for reading alone.
    OpenReadonly,
    /// Closes its file. Mappings stay.
    Close,
    /// Becomes a program that has nothing mapped, waits, and does not answer.
    Exec,
    /// Touches memory that it does not have.
    Segfault,
    /// Writes `len` bytes of the pattern of `seed` to the file with write(2), and reads them back with read(2).
    WriteRead { offset: u64, len: usize, seed: u64 },
    /// Writes and reads `size` bytes `rounds` times, and measures both.
    Throughput { size: usize, rounds: u32 },
    /// Maps, touches and unmaps pages `times` times. With `die`, children map and touch them and kill themselves.
    Cycle {
        offset: u64,
        pages: usize,
        times: u32,
        die: bool,
    },
    /// Writes to the file, or reads from it, with a mapping as buffer.
    Transfer(Transfer),
}

/// Bytes that go from a mapping to the client's file, or back.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Transfer {
    pub direction: Direction,
    pub map: Map,
    /// Byte of the mapping.
    pub at: usize,
    /// Bytes.
    pub len: usize,
    /// Byte of the file.
    pub offset: u64,
}

/// Direction of a transfer between a mapping and a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Direction {
    /// write(2).
    ToFile,
    /// read(2).
    FromFile,
}

/// What only a server can do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ServerCommand {
    /// Changes how it answers.
    Behave(Behaviour),
    /// Reports all that it was asked.
    RequestLog,
    /// Reports how many FUSE_MMAPs and FUSE_MUNMAPs it was sent: the part of [`ServerCommand::RequestLog`] that is short.
    CountMaps,
    /// Answers requests until it has seen `count` FUSE_MUNMAPs, for at most `millis` milliseconds.
    AwaitMunmaps { count: u64, millis: u64 },
    /// Writes bytes of a pattern into pages by their IDs.
    LoadPages(PageBytes),
    /// Reads them by their IDs, compares them, and reports how many bytes came.
    SavePages(PageBytes),
    /// Loads and saves `size` bytes from page `page_id` on, `rounds` times, and measures both.
    TimeById {
        page_id: u64,
        size: usize,
        rounds: u32,
    },
    /// Reads the word of 8 bytes at byte `at` of each of `pages` pages, and reports the words that came.
    SaveWords {
        page_id: u64,
        at: usize,
        pages: usize,
    },
    /// Frees pages.
    FreePages { page_id: u64, count: u64 },
    /// Writes messages, right or wrong, and reads none before all are written.
    Write(Vec<Message>),
    /// Closes its channel.
    CloseChannel,
    /// Gives up root.
    DropPrivileges,
}

/// `len` bytes of the pattern of `seed`, from byte `at` of page `page_id`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct PageBytes {
    pub page_id: u64,
    pub at: usize,
    pub len: usize,
    pub seed: u64,
}

/// What any process can do with its memory.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MemoryCommand {
    /// Maps what this process maps: a client its file, a server its channel.
    Map(MapRequest, Place),
    /// Maps twice, the second mapping right behind the first in memory and in the file.
    MapAdjacent(MapRequest),
    /// Does something with one mapping.
    Mapping(Map, MappingCommand),
}

/// A mapping to make.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct MapRequest {
    /// Byte of the file or channel.
    pub offset: u64,
    /// Bytes.
    pub len: usize,
    pub prot: Prot,
    pub sharing: Sharing,
}

impl MapRequest {
    /// A shared mapping for reading and writing.
    pub(crate) fn shared(offset: u64, len: usize) -> MapRequest {
        MapRequest {
            offset,
            len,
            prot: Prot::ReadWrite,
            sharing: Sharing::Shared,
        }
    }
}

/// Address of a mapping to make.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Place {
    /// The kernel chooses.
    Anywhere,
    /// An address that is `residue` modulo `period`.
    At { residue: u64, period: u64 },
    /// The address of another mapping, which is as long and goes away.
    Over(Map),
}

/// What can be done with one mapping. Offsets and lengths are bytes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MappingCommand {
    /// Loads the word of 8 bytes at `at`.
    Load { at: usize },
    /// Stores it.
    Store { at: usize, value: u64 },
    /// Loads the word of 4 bytes at `at`: the size of a futex.
    LoadU32 { at: usize },
    /// Writes the pattern of `seed`.
    Fill { at: usize, len: usize, seed: u64 },
    /// Compares with the pattern of `seed`.
    Verify { at: usize, len: usize, seed: u64 },
    /// Compares with zeros.
    VerifyZero { at: usize, len: usize },
    /// Loads a word of every page, in order, and reports how many nanoseconds that took.
    TimeTouches,
    /// Lets the kernel read a byte.
    Probe { at: usize },
    /// Lets a child touch a byte.
    Touch { at: usize, store: bool },
    /// Plays a role.
    Play(Role),
    /// Reports its first address.
    Address,
    /// Reports its line in `/proc/self/maps`.
    Area,
    /// Reports the page frame number under a byte that this process has touched.
    Frame { at: usize },
    /// Unmaps it.
    Unmap,
    /// Unmaps a part in the middle. What is in front keeps the number; what is behind gets a new one.
    Punch { at: usize, len: usize },
    /// Treats it as two mappings from now on, the second from byte `at` with a new number. Makes no system call.
    Cut { at: usize },
    /// mremap to this length.
    Resize { len: usize },
    /// mremap of its first `len` bytes, and no others, to an address that is `residue` modulo `period`.
    Move {
        len: usize,
        residue: u64,
        period: u64,
    },
    /// mremap with MREMAP_DONTUNMAP.
    RemapDontUnmap,
    /// mprotect.
    Protect(Prot),
    /// madvise.
    Advise(Advice),
    /// mlock.
    Lock,
    /// munlock.
    Unlock,
    /// msync.
    Sync { wait: bool },
    /// write(2) from byte `at` into `into`, which must hold the pattern of `seed` afterwards.
    Write {
        into: Endpoint,
        at: usize,
        len: usize,
        seed: u64,
    },
    /// read(2) to byte `at` out of `from`, which holds the pattern of `seed`.
    Read {
        from: Endpoint,
        at: usize,
        len: usize,
        seed: u64,
    },
    /// set_robust_list, with an entry at `at` and, 8 bytes behind it, a futex that this process owns and others wait for.
    SetRobustList { at: usize },
    /// futex: waits until another process sleeps on it.
    AwaitFutexWaiter { at: usize },
    /// futex: sleeps until it is woken or the word is no longer `expected`.
    FutexWait { at: usize, expected: u32 },
}

/// Other side of a read or a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Endpoint {
    Pipe,
    /// A file in memory, of tmpfs.
    File,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_survives_its_way_to_another_process() {
        let map = Map(3);
        for command in [
            MappingCommand::Protect(Prot::ReadWrite),
            MappingCommand::Advise(Advice::DontNeed),
            MappingCommand::RemapDontUnmap,
        ] {
            let command: Command<ClientCommand> =
                Command::Memory(MemoryCommand::Mapping(map, command));
            let text = serde_json::to_string(&command).unwrap();
            let back: Command<ClientCommand> = serde_json::from_str(&text).unwrap();
            assert_eq!(format!("{back:?}"), format!("{command:?}"));
        }
    }
}

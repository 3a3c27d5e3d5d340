// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands that a case sends to its processes, as lines of JSON through pipes.
//!
//! A client executes `Command<ClientCommand>`, a server `Command<ServerCommand>`. Both execute [`MemoryCommand`]s.

use serde::{Deserialize, Serialize};
use server::{Behaviour, Message};
use sys::{Advice, Prot, Sharing};

use crate::stage::crowd::CrowdCommand;
use crate::stage::pins::PinBy;
use crate::stage::role::Role;

pub(crate) use crate::stage::answer::{Answer, Area, Touch};

/// Number of a mapping in its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Map(pub u32);

/// Command for a process. `Own` has the commands that only processes of its kind can execute.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Command<Own> {
    Memory(MemoryCommand),
    Own(Own),
    /// Forks a process of the same kind. The parent keeps the pipes to the child open until the case has opened them.
    Fork {
        name: String,
    },
    /// Executes a command while its `nth` allocation fails.
    Failing {
        nth: u32,
        command: Box<Command<Own>>,
    },
    /// Executes commands in order, up to the first that fails, and sends one answer, so that no other process has to
    /// run in between.
    Batch(Vec<Command<Own>>),
    Quit,
}

/// Command that only a client can execute.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ClientCommand {
    /// Opens its file for reading and writing.
    Open,
    /// Opens its file read-only.
    OpenReadonly,
    /// Closes its file. Mappings stay.
    Close,
    /// Executes a program that maps nothing, waits, and sends no answer.
    Exec,
    /// Loads from a page without access rights.
    Segfault,
    /// Writes `len` bytes of the pattern of `seed` to the file with write(2), and reads them back with read(2).
    WriteRead {
        offset: u64,
        len: usize,
        seed: u64,
    },
    /// Reads `len` bytes of the file with read(2), and compares them with the pattern of `seed`.
    ReadFile {
        offset: u64,
        len: usize,
        seed: u64,
    },
    /// Opens the file at a path in place of its file. Mappings stay.
    OpenPath {
        path: String,
    },
    /// Reads the file at a path, and reports its length in bytes.
    ReadPath {
        path: String,
    },
    /// Reads `len` bytes at the address `at` of another process with process_vm_readv.
    ReadMemory {
        pid: i32,
        at: u64,
        len: usize,
    },
    /// Maps its file while a thread of the process executes commands of its own. Sends [`Answer::Forked`] for the
    /// thread, and, when the thread has ended, the answer to the mmap.
    MapBesideThread {
        name: String,
        request: MapRequest,
    },
    /// Maps, touches, protects and unmaps memory of its own.
    UseMemory,
    /// Maps memory of its own, fills its pages with equal bytes, and lets the kernel merge them.
    MergeMemory,
    /// Writes and reads `size` bytes `rounds` times, and reports the time of all writes and of all reads.
    Throughput {
        size: usize,
        rounds: u32,
    },
    /// Maps, touches and unmaps pages `times` times. With `die`, each time a child maps and touches the pages and then
    /// kills itself.
    Cycle {
        offset: u64,
        pages: usize,
        times: u32,
        die: bool,
    },
    Transfer(Transfer),
    /// Does something with many mappings and processes, and reports the time.
    Crowd(CrowdCommand),
    /// Maps, touches and unmaps the page at byte `offset` again and again for `millis` milliseconds, and keeps the
    /// processor busy for `work` nanoseconds in each round. Reports the number of rounds, the time of all and of the
    /// longest in nanoseconds.
    Rounds {
        offset: u64,
        millis: u64,
        work: u64,
    },
    /// Calls fsync(2), which is one request to a server, `times` times. Reports the time.
    TimeSyncs {
        times: u32,
    },
    /// Writes or reads `count` blocks of `size` bytes, from the start of the file on. Reports the time.
    TimeBlocks {
        direction: Direction,
        size: usize,
        count: usize,
    },
}

/// Write to the client's file, or read from it, with a mapping as buffer.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Transfer {
    pub direction: Direction,
    pub map: Map,
    /// Byte in the mapping.
    pub at: usize,
    /// Length in bytes.
    pub len: usize,
    /// Byte in the file.
    pub offset: u64,
}

/// Direction of a transfer: to a file or to pages, or from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Direction {
    /// write(2).
    ToFile,
    /// read(2).
    FromFile,
}

/// Command that only a server can execute.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ServerCommand {
    /// Changes its behaviour.
    Behave(Behaviour),
    /// Reports its [`RequestLog`](server::RequestLog).
    RequestLog,
    /// Reports the numbers of FUSE_MMAPs and FUSE_MUNMAPs, which is shorter than [`ServerCommand::RequestLog`].
    CountMaps,
    /// Answers requests until it has received `count` FUSE_MUNMAPs, for at most `millis` milliseconds.
    AwaitMunmaps {
        count: u64,
        millis: u64,
    },
    /// Writes bytes of a pattern into pages by ID.
    LoadPages(PageBytes),
    /// Reads bytes of pages by ID, compares them with a pattern, and reports how many bytes it received.
    SavePages(PageBytes),
    /// Loads and saves `size` bytes from the start of page `page_id`, `rounds` times, and reports the time of all loads
    /// and of all saves.
    TimeById {
        page_id: u64,
        size: usize,
        rounds: u32,
    },
    /// Reads the 8-byte word at byte `at` of each of `pages` pages by ID, and reports the words that it received.
    SaveWords {
        page_id: u64,
        at: usize,
        pages: usize,
    },
    FreePages {
        page_id: u64,
        count: u64,
    },
    /// Writes `count` blocks of `size` bytes into pages by ID, or reads them, from the start of page `page_id` on. Reports
    /// the time. `size` is a multiple of the page size.
    TimeBlocksById {
        direction: Direction,
        page_id: u64,
        size: usize,
        count: usize,
    },
    /// Frees pages, and reports the time.
    TimeFree {
        page_id: u64,
        count: u64,
    },
    /// Writes valid or invalid messages, and reads nothing until all are written.
    Write(Vec<Message>),
    CloseChannel,
    /// Gives up root.
    DropPrivileges,
}

/// `len` bytes of the pattern of `seed`, starting at byte `at` of page `page_id`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct PageBytes {
    pub page_id: u64,
    pub at: usize,
    pub len: usize,
    pub seed: u64,
}

/// Command about the memory of a process, which any process can execute.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MemoryCommand {
    /// Maps the file of a client, or the channel of a server.
    Map(MapRequest, Place),
    /// Makes two mappings of the requested length that are adjacent in memory and in the file.
    MapAdjacent(MapRequest),
    /// Ends all [`MappingCommand::Pin`]s of the process.
    Unpin,
    Mapping(Map, MappingCommand),
}

/// Parameters of mmap(2), except the address.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct MapRequest {
    /// Byte in the file or channel.
    pub offset: u64,
    /// Length in bytes.
    pub len: usize,
    pub prot: Prot,
    pub sharing: Sharing,
}

impl MapRequest {
    /// Returns the request for a shared mapping with read and write access.
    pub(crate) fn shared(offset: u64, len: usize) -> MapRequest {
        MapRequest { offset, len, prot: Prot::ReadWrite, sharing: Sharing::Shared }
    }
}

/// Address at which to map.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Place {
    /// Any address that the kernel chooses.
    Anywhere,
    /// An address that is `residue` modulo `period`.
    At { residue: u64, period: u64 },
    /// The address of an existing mapping of the same length, which is replaced.
    Over(Map),
}

/// Command about one mapping. Offsets and lengths are in bytes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MappingCommand {
    /// Loads the 8-byte word at `at`.
    Load {
        at: usize,
    },
    /// Stores the 8-byte word at `at`.
    Store {
        at: usize,
        value: u64,
    },
    /// Loads the 4-byte word at `at`, which is the size of a futex.
    LoadU32 {
        at: usize,
    },
    /// Writes the pattern of `seed`.
    Fill {
        at: usize,
        len: usize,
        seed: u64,
    },
    /// Compares with the pattern of `seed`.
    Verify {
        at: usize,
        len: usize,
        seed: u64,
    },
    /// Compares with zeros.
    VerifyZero {
        at: usize,
        len: usize,
    },
    /// Loads a word of every page, in order, and reports the time in nanoseconds.
    TimeTouches,
    /// Has the kernel read a byte, so that a fault does not kill the process.
    Probe {
        at: usize,
    },
    /// Has a child access a byte, so that a fault kills the child only.
    Touch {
        at: usize,
        store: bool,
    },
    Play(Role),
    /// Reports its first address.
    Address,
    /// Reports its line in `/proc/self/maps`.
    Area,
    /// Reports the page frame number of a byte. The process must have touched the page.
    Frame {
        at: usize,
    },
    Unmap,
    /// Unmaps a part. The part in front keeps the number of the mapping; the part behind gets a new number.
    Punch {
        at: usize,
        len: usize,
    },
    /// Treats the mapping as two from now on. The second starts at byte `at` and has a new number. Makes no system
    /// call.
    Cut {
        at: usize,
    },
    /// Keeps the pages of `len` bytes at byte `at` alive, until [`MemoryCommand::Unpin`].
    Pin {
        at: usize,
        len: usize,
        by: PinBy,
    },
    /// mremap to this length.
    Resize {
        len: usize,
    },
    /// mremap of its first `len` bytes to an address that is `residue` modulo `period`. Unmaps the rest.
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
    /// madvise. Reports the time in nanoseconds.
    TimeAdvise(Advice),
    /// mlock.
    Lock,
    /// munlock.
    Unlock,
    /// msync.
    Sync {
        wait: bool,
    },
    /// write(2) from byte `at` to `into`, which must contain the pattern of `seed` afterwards.
    Write {
        into: Endpoint,
        at: usize,
        len: usize,
        seed: u64,
    },
    /// read(2) from `from`, which contains the pattern of `seed`, to byte `at`.
    Read {
        from: Endpoint,
        at: usize,
        len: usize,
        seed: u64,
    },
    /// set_robust_list with one entry, at `at`. Its futex is 8 bytes behind it; this process owns the futex, and other
    /// processes wait for it.
    SetRobustList {
        at: usize,
    },
    /// Waits until another process waits on the futex at `at`.
    AwaitFutexWaiter {
        at: usize,
    },
    /// Waits on the futex at `at` until it is woken or no longer `expected`.
    FutexWait {
        at: usize,
        expected: u32,
    },
}

/// Source of a read or destination of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Endpoint {
    Pipe,
    /// File in tmpfs.
    File,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_the_same_after_json() {
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

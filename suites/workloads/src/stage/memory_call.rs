// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls about a mapping, or with it as their buffer: what a case can have a process call, and how that does it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sys::{Advice, Errno, Fd, FutexWait, Instant, Mapping, Pid, Prot};

use crate::stage::command::{Answer, Command, Map, MemoryCommand};
use crate::stage::failure::Failure;
use crate::stage::party::Party;
use crate::stage::pattern;
use crate::stage::process::{Process, shared};

/// How long a process waits for another, as in [`crate::stage::role`].
const PATIENCE: Duration = Duration::from_secs(8);

/// A system call about a mapping. Offsets and lengths are bytes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MemoryCall {
    /// mremap to this length.
    Resize { len: usize },
    /// mremap of its first bytes, and no others, to an address that is `residue` modulo `period`.
    Move {
        len: usize,
        residue: u64,
        period: u64,
    },
    /// mremap of what is in it, the mapping staying (MREMAP_DONTUNMAP).
    Leave,
    /// mprotect.
    Protect(#[serde(with = "ProtName")] Prot),
    /// madvise.
    Advise(#[serde(with = "AdviceName")] Advice),
    /// mlock.
    Lock,
    /// munlock.
    Unlock,
    /// msync.
    Sync { wait: bool },
    /// write from byte `at`, into something that gives back the pattern of `seed` then.
    Write {
        into: Other,
        at: usize,
        len: usize,
        seed: u64,
    },
    /// read to byte `at`, out of something that has the pattern of `seed` in it.
    Read {
        from: Other,
        at: usize,
        len: usize,
        seed: u64,
    },
    /// Its address. No system call.
    Address,
    /// The word of 4 bytes there: what futexes are.
    Word { at: usize },
    /// set_robust_list, with an entry at `at` and a futex 8 bytes behind it that this process owns and others wait for.
    OwnRobustly { at: usize },
    /// futex: waits until somebody sleeps on it.
    AwaitSleeper { at: usize },
    /// futex: sleeps until it is woken, or the word is not `expected` any more.
    AwaitWake { at: usize, expected: u32 },
}

/// What is on the other side of a read or a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Other {
    /// A pipe.
    Pipe,
    /// A file in memory, of tmpfs.
    File,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Prot", rename_all = "kebab-case")]
enum ProtName {
    None,
    Read,
    ReadWrite,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Advice", rename_all = "kebab-case")]
enum AdviceName {
    Cold,
    DoDump,
    DoFork,
    DontFork,
    DontNeed,
    Free,
    HugePage,
    Mergeable,
    NoHugePage,
    Normal,
    PageOut,
    PopulateRead,
    PopulateWrite,
    Random,
    Remove,
    Sequential,
    Unmergeable,
    WillNeed,
    WipeOnFork,
}

/// Makes a call.
pub(crate) fn make(mapping: &mut Mapping, call: MemoryCall) -> Answer {
    let done = match call {
        MemoryCall::Resize { len } => mapping.resize(len),
        MemoryCall::Move {
            len,
            residue,
            period,
        } => Mapping::room_at(len, residue, period).and_then(|room| mapping.move_to(room, len)),
        MemoryCall::Leave => mapping.leave().map(drop),
        MemoryCall::Protect(prot) => mapping.protect(prot),
        MemoryCall::Advise(advice) => mapping.advise(advice),
        MemoryCall::Lock => mapping.lock(),
        MemoryCall::Unlock => mapping.unlock(),
        MemoryCall::Sync { wait } => mapping.sync(wait),
        MemoryCall::Read {
            from,
            at,
            len,
            seed,
        } => read(mapping, from, at, &pattern::bytes(seed, at, len)),
        MemoryCall::Write {
            into,
            at,
            len,
            seed,
        } => {
            return match write(mapping, into, at, len) {
                Err(error) => error.into(),
                Ok(found) => {
                    let expected = pattern::bytes(seed, at, len);
                    let difference = pattern::difference(at, &found, &expected);
                    Answer::checked(difference.map_or(Ok(()), Err))
                }
            };
        }
        MemoryCall::Address => return Answer::Number(mapping.address()),
        MemoryCall::Word { at } => return Answer::Number(mapping.load::<u32>(at).into()),
        MemoryCall::OwnRobustly { at } => mapping.own_robustly(at),
        MemoryCall::AwaitSleeper { at } => return await_sleeper(mapping, at),
        MemoryCall::AwaitWake { at, expected } => {
            return match mapping.futex_wait(at, expected, PATIENCE) {
                Err(error) => error.into(),
                Ok(FutexWait::TimedOut) => Answer::Failed(format!(
                    "nobody woke the futex at {at:#x}; its word went from {expected:#x} to {:#x}",
                    mapping.load::<u32>(at)
                )),
                // The kernel looks at the word again when a sleeper was disturbed.
                Ok(FutexWait::Woken | FutexWait::Changed) => Answer::Done,
            };
        }
    };
    Answer::of(done, |()| Answer::Done)
}

fn read(mapping: &Mapping, from: Other, at: usize, bytes: &[u8]) -> sys::Result<()> {
    match from {
        Other::Pipe => {
            let (reads, writes) = sys::pipe()?;
            writes.write_all(bytes)?;
            mapping.read_from(at, bytes.len(), &reads, None)
        }
        Other::File => {
            let file = sys::memfd("other", 0)?;
            file.write_all(bytes)?;
            mapping.read_from(at, bytes.len(), &file, Some(0))
        }
    }
}

fn write(mapping: &Mapping, into: Other, at: usize, len: usize) -> sys::Result<Vec<u8>> {
    let whole = |fd: Fd| fd.read_to_end();
    match into {
        Other::Pipe => {
            let (reads, writes) = sys::pipe()?;
            mapping.write_to(at, len, &writes, None)?;
            drop(writes);
            whole(reads)
        }
        Other::File => {
            let file = sys::memfd("other", 0)?;
            mapping.write_to(at, len, &file, Some(0))?;
            whole(file)
        }
    }
}

fn await_sleeper(mapping: &Mapping, at: usize) -> Answer {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        match mapping.futex_sleepers(at, 1) {
            Ok(0) => sys::yield_now(),
            Ok(_) => return Answer::Done,
            Err(error) => return error.into(),
        }
    }
    Answer::Failed(format!("nobody came to wait on the futex at {at:#x}"))
}

impl Process {
    /// Has it make a call; the error number where the kernel refuses.
    pub(crate) fn try_call(
        &mut self,
        map: Map,
        call: MemoryCall,
    ) -> Result<Result<(), Errno>, Failure> {
        self.party
            .try_done(&Command::Memory(map, MemoryCommand::Call(call)))
    }

    /// Has it make a call that must go well.
    pub(crate) fn call(&mut self, map: Map, call: MemoryCall) -> Result<(), Failure> {
        self.start_call(map, call)?;
        self.finish_call()
    }

    /// Starts a call; [`Process::finish_call`] waits for it.
    pub(crate) fn start_call(&mut self, map: Map, call: MemoryCall) -> Result<(), Failure> {
        let command = Command::Memory(map, MemoryCommand::Call(call));
        self.party.tell(&command)
    }

    /// The call that was started has gone well.
    pub(crate) fn finish_call(&mut self) -> Result<(), Failure> {
        self.party.hear_good().map(drop)
    }

    /// The call that was started has gone well; the error number where the kernel refused.
    pub(crate) fn finish_try_call(&mut self) -> Result<Result<(), Errno>, Failure> {
        self.party.hear_done()
    }

    /// The word of 4 bytes at byte `at`.
    pub(crate) fn word(&mut self, map: Map, at: usize) -> Result<u32, Failure> {
        self.number(map, MemoryCall::Word { at })
            .map(|word| word as u32)
    }

    /// The first address of a mapping, which need not be that of its [`Process::area`] where it was cut.
    pub(crate) fn address(&mut self, map: Map) -> Result<u64, Failure> {
        self.number(map, MemoryCall::Address)
    }

    fn number(&mut self, map: Map, call: MemoryCall) -> Result<u64, Failure> {
        self.start_call(map, call)?;
        match self.party.hear_good()? {
            Answer::Number(number) => Ok(number),
            other => Err(self.party.strange(&other)),
        }
    }

    /// Maps as [`Process::map`] does, with MAP_FIXED, at an address that is `residue` modulo `period`.
    pub(crate) fn try_map_at(
        &mut self,
        offset: u64,
        len: usize,
        residue: u64,
        period: u64,
    ) -> Result<Result<Map, Errno>, Failure> {
        self.try_command(&Command::MapAt {
            request: shared(offset, len),
            residue,
            period,
        })
    }

    /// Starts to map over a mapping as [`Process::map_over`] does; [`Process::finish_map`] waits for it.
    pub(crate) fn start_map_over(
        &mut self,
        map: Map,
        offset: u64,
        len: usize,
    ) -> Result<(), Failure> {
        self.party.tell(&Command::MapOver(map, shared(offset, len)))
    }

    /// Maps as [`Process::map`] does, with MAP_FIXED, over a mapping of this length.
    pub(crate) fn map_over(&mut self, map: Map, offset: u64, len: usize) -> Result<Map, Failure> {
        self.start_map_over(map, offset, len)?;
        self.finish_map()
    }

    /// Writes `len` bytes from byte `at` of a mapping to byte `offset` of the file.
    pub(crate) fn write_mapped(
        &mut self,
        map: Map,
        at: usize,
        len: usize,
        offset: u64,
    ) -> Result<(), Failure> {
        self.start_write_mapped(map, at, len, offset)?;
        self.finish_write()
    }

    /// Starts that; [`Process::finish_write`] waits for it.
    pub(crate) fn start_write_mapped(
        &mut self,
        map: Map,
        at: usize,
        len: usize,
        offset: u64,
    ) -> Result<(), Failure> {
        self.party.tell(&Command::WriteMapped {
            map,
            at,
            len,
            offset,
        })
    }

    /// The write that [`Process::start_write_mapped`] was about went well.
    pub(crate) fn finish_write(&mut self) -> Result<(), Failure> {
        self.party.hear_good().map(drop)
    }

    /// Reads `len` bytes from byte `offset` of the file to byte `at` of a mapping.
    pub(crate) fn read_mapped(
        &mut self,
        map: Map,
        at: usize,
        len: usize,
        offset: u64,
    ) -> Result<(), Failure> {
        let command = Command::ReadMapped {
            map,
            at,
            len,
            offset,
        };
        self.party.ask_good(&command).map(drop)
    }

    /// Opens the file for reading alone.
    pub(crate) fn open_readonly(&mut self) -> Result<(), Failure> {
        self.party.ask_good(&Command::OpenReadonly).map(drop)
    }

    /// Lets it fork a process like itself, with everything it has mapped under the same numbers. That one lives on when
    /// its parent ends.
    pub(crate) fn fork(&mut self, name: &str) -> Result<Process, Failure> {
        let command = Command::Fork {
            name: name.to_owned(),
        };
        match self.party.ask_good(&command)? {
            Answer::Forked { pid, to, from } => self.adopt(name, pid, (to, from)),
            other => Err(self.party.strange(&other)),
        }
    }

    /// The process `pid` that it has forked; `pipes` are the ends there of how to speak to it and how it answers.
    pub(crate) fn adopt(
        &self,
        name: &str,
        pid: i32,
        pipes: (i32, i32),
    ) -> Result<Process, Failure> {
        let party = Party::adopt(name, Pid(pid), self.party.pid, pipes)?;
        Ok(Process { party })
    }

    /// Lets it become a program that maps nothing, waits and answers nothing: it can only be killed.
    pub(crate) fn start_exec(&mut self) -> Result<(), Failure> {
        self.party.tell(&Command::Exec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sys::{Sharing, memfd, page_size};

    fn mapping() -> Mapping {
        let file = memfd("calls", page_size() as u64).unwrap();
        Mapping::of(&file, 0, page_size(), Prot::ReadWrite, Sharing::Shared).unwrap()
    }

    #[test]
    fn a_call_survives_its_way_to_another_process() {
        for call in [
            MemoryCall::Protect(Prot::ReadWrite),
            MemoryCall::Advise(Advice::DontNeed),
            MemoryCall::Leave,
        ] {
            let text = serde_json::to_string(&call).unwrap();
            let back: MemoryCall = serde_json::from_str(&text).unwrap();
            assert_eq!(format!("{back:?}"), format!("{call:?}"));
        }
    }

    #[test]
    fn what_goes_through_a_pipe_or_a_file_is_compared() {
        let mut mapping = mapping();
        let (at, len, seed) = (5, 300, 1);
        for other in [Other::Pipe, Other::File] {
            let read = MemoryCall::Read {
                from: other,
                at,
                len,
                seed,
            };
            assert_eq!(make(&mut mapping, read), Answer::Done);
            let write = |seed| MemoryCall::Write {
                into: other,
                at,
                len,
                seed,
            };
            assert_eq!(make(&mut mapping, write(1)), Answer::Done);
            let wrong = make(&mut mapping, write(2));
            assert!(matches!(wrong, Answer::Failed(_)), "{wrong:?}");
        }
    }
}

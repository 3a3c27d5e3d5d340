// SPDX-License-Identifier: MIT OR Apache-2.0
//! A process that maps, as the case sees it: one method for each thing it can be told to do.

use std::time::Duration;

use sys::{Errno, Instant, Signal, Target, page_size};

use crate::stage::command::{Answer, Area, Command, Map, MapRequest, MemoryCommand, Touched};
use crate::stage::failure::{Failure, expect_that};
use crate::stage::party::Party;
use crate::stage::role::Role;

/// How long a process may take to stop: it does at once, unless it waits for something that no signal can end.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// A process that maps: a client, or (by way of [`crate::stage::Server`]) the server.
#[derive(Debug)]
pub struct Process {
    pub(crate) party: Party,
}

impl Process {
    /// Number of its process.
    pub fn pid(&self) -> u32 {
        self.party.pid.0 as u32
    }

    /// Opens the file.
    pub fn open(&mut self) -> Result<(), Failure> {
        self.party.ask_good(&Command::Open).map(drop)
    }

    /// Starts to open the file; [`Process::finish_open`] waits for it.
    pub fn start_open(&mut self) -> Result<(), Failure> {
        self.party.tell(&Command::Open)
    }

    /// How [`Process::start_open`] went; the error number where the kernel refuses.
    pub fn finish_open(&mut self) -> Result<Result<(), Errno>, Failure> {
        self.party.hear_done()
    }

    /// Closes it; mappings stay.
    pub fn close(&mut self) -> Result<(), Failure> {
        self.party.ask_good(&Command::Close).map(drop)
    }

    /// Maps `len` bytes from byte `offset`, shared, for reading and writing.
    pub fn map(&mut self, offset: u64, len: usize) -> Result<Map, Failure> {
        let answer = self.party.ask_good(&map_command(offset, len))?;
        self.expect_map(answer)
    }

    /// Maps shared and for reading alone.
    pub fn map_readonly(&mut self, offset: u64, len: usize) -> Result<Map, Failure> {
        let answer = self.party.ask_good(&look_command(offset, len))?;
        self.expect_map(answer)
    }

    /// Maps as [`Process::map_readonly`] does; the error number where the kernel refuses.
    pub fn try_map_readonly(
        &mut self,
        offset: u64,
        len: usize,
    ) -> Result<Result<Map, Errno>, Failure> {
        self.try_command(&look_command(offset, len))
    }

    /// Maps privately; the error number where the kernel refuses.
    pub fn try_map_private(
        &mut self,
        offset: u64,
        len: usize,
    ) -> Result<Result<Map, Errno>, Failure> {
        self.try_command(&Command::Map(MapRequest {
            shared: false,
            ..shared(offset, len)
        }))
    }

    /// Maps as [`Process::map`] does; the error number where the kernel refuses.
    pub fn try_map(&mut self, offset: u64, len: usize) -> Result<Result<Map, Errno>, Failure> {
        self.try_command(&map_command(offset, len))
    }

    /// Two mappings of `len` bytes, neighbours in memory and in the file.
    pub fn map_adjacent(&mut self, offset: u64, len: usize) -> Result<(Map, Map), Failure> {
        let command = Command::MapAdjacent(shared(offset, len));
        match self.party.ask_good(&command)? {
            Answer::Maps(first, second) => Ok((first, second)),
            other => Err(self.party.strange(&other)),
        }
    }

    pub(crate) fn try_command(&mut self, command: &Command) -> Result<Result<Map, Errno>, Failure> {
        let answer = self.party.ask(command)?;
        self.map_or_errno(answer)
    }

    fn map_or_errno(&self, answer: Answer) -> Result<Result<Map, Errno>, Failure> {
        match answer {
            Answer::Map(map) => Ok(Ok(map)),
            Answer::Refused { errno, .. } => Ok(Err(Errno::from_raw(errno))),
            other => Err(self.party.strange(&other)),
        }
    }

    pub(crate) fn expect_map(&self, answer: Answer) -> Result<Map, Failure> {
        match answer {
            Answer::Map(map) => Ok(map),
            other => Err(self.party.strange(&other)),
        }
    }

    fn memory(&mut self, map: Map, command: MemoryCommand) -> Result<Answer, Failure> {
        self.party.ask_good(&Command::Memory(map, command))
    }

    /// The word of 8 bytes at byte `at`.
    pub fn load(&mut self, map: Map, at: usize) -> Result<u64, Failure> {
        match self.memory(map, MemoryCommand::Load { at })? {
            Answer::Number(word) => Ok(word),
            other => Err(self.party.strange(&other)),
        }
    }

    /// Writes the word of 8 bytes at byte `at`.
    pub fn store(&mut self, map: Map, at: usize, value: u64) -> Result<(), Failure> {
        self.memory(map, MemoryCommand::Store { at, value })
            .map(drop)
    }

    /// Writes a word of its own to each of the first `pages` pages.
    pub fn touch_all(&mut self, map: Map, pages: usize) -> Result<(), Failure> {
        (0..pages).try_for_each(|index| self.store(map, index * page_size(), index as u64 + 1))
    }

    /// Writes the pattern of `seed` to `len` bytes from byte `at`.
    pub fn fill(&mut self, map: Map, at: usize, len: usize, seed: u64) -> Result<(), Failure> {
        self.memory(map, MemoryCommand::Fill { at, len, seed })
            .map(drop)
    }

    /// There is the pattern of `seed` in `len` bytes from byte `at`.
    pub fn verify(&mut self, map: Map, at: usize, len: usize, seed: u64) -> Result<(), Failure> {
        self.memory(map, MemoryCommand::Verify { at, len, seed })
            .map(drop)
    }

    /// Does [`Process::fill`] in one mapping and [`Process::verify`] in another, with no other process in between.
    pub fn fill_and_verify(
        &mut self,
        (map, other): (Map, Map),
        at: usize,
        len: usize,
        seed: u64,
    ) -> Result<(), Failure> {
        let fill = Command::Memory(map, MemoryCommand::Fill { at, len, seed });
        let verify = Command::Memory(other, MemoryCommand::Verify { at, len, seed });
        self.party.ask_at_once(vec![fill, verify]).map(drop)
    }

    /// There is nothing but zeros in `len` bytes from byte `at`.
    pub fn verify_zero(&mut self, map: Map, at: usize, len: usize) -> Result<(), Failure> {
        self.memory(map, MemoryCommand::VerifyZero { at, len })
            .map(drop)
    }

    /// Lets the kernel read the byte at `at` on its behalf.
    pub fn probe(&mut self, map: Map, at: usize) -> Result<Touched, Failure> {
        let answer = self.memory(map, MemoryCommand::Probe { at })?;
        self.expect_touched(answer)
    }

    /// Lets a child of it touch the byte at `at`.
    pub fn touch(&mut self, map: Map, at: usize, store: bool) -> Result<Touched, Failure> {
        let answer = self.memory(map, MemoryCommand::Touch { at, store })?;
        self.expect_touched(answer)
    }

    fn expect_touched(&self, answer: Answer) -> Result<Touched, Failure> {
        match answer {
            Answer::Touched(touched) => Ok(touched),
            other => Err(self.party.strange(&other)),
        }
    }

    /// The page frame number under byte `at`, which it has touched before.
    pub fn frame(&mut self, map: Map, at: usize) -> Result<u64, Failure> {
        match self.memory(map, MemoryCommand::Frame { at })? {
            Answer::Number(frame) => Ok(frame),
            other => Err(self.party.strange(&other)),
        }
    }

    /// What its `/proc/PID/maps` says about a mapping.
    pub fn area(&mut self, map: Map) -> Result<Area, Failure> {
        match self.memory(map, MemoryCommand::Area)? {
            Answer::Area(area) => Ok(area),
            other => Err(self.party.strange(&other)),
        }
    }

    /// Unmaps `len` bytes from byte `at`; the mapping behind them.
    pub fn punch(&mut self, map: Map, at: usize, len: usize) -> Result<Map, Failure> {
        let answer = self.memory(map, MemoryCommand::Punch { at, len })?;
        self.expect_map(answer)
    }

    /// Treats a mapping as two from now on; the part behind byte `at`.
    pub fn cut(&mut self, map: Map, at: usize) -> Result<Map, Failure> {
        let answer = self.memory(map, MemoryCommand::Cut { at })?;
        self.expect_map(answer)
    }

    /// Allows loads alone.
    pub fn protect_readonly(&mut self, map: Map) -> Result<(), Failure> {
        self.memory(map, MemoryCommand::ProtectReadonly).map(drop)
    }

    /// Unmaps.
    pub fn unmap(&mut self, map: Map) -> Result<(), Failure> {
        self.memory(map, MemoryCommand::Unmap).map(drop)
    }

    /// Starts to load the word of 8 bytes at byte `at`; [`Process::finish_load`] waits for it.
    pub fn start_load(&mut self, map: Map, at: usize) -> Result<(), Failure> {
        self.party
            .tell(&Command::Memory(map, MemoryCommand::Load { at }))
    }

    /// The word that [`Process::start_load`] was about.
    pub fn finish_load(&mut self) -> Result<u64, Failure> {
        match self.party.hear_good()? {
            Answer::Number(word) => Ok(word),
            other => Err(self.party.strange(&other)),
        }
    }

    /// Starts to let the kernel read the byte at `at` on its behalf; [`Process::finish_touch`] waits for it.
    pub fn start_probe(&mut self, map: Map, at: usize) -> Result<(), Failure> {
        self.party
            .tell(&Command::Memory(map, MemoryCommand::Probe { at }))
    }

    /// Starts to let a child touch the byte at `at`; [`Process::finish_touch`] waits for it.
    pub fn start_touch(&mut self, map: Map, at: usize, store: bool) -> Result<(), Failure> {
        self.party
            .tell(&Command::Memory(map, MemoryCommand::Touch { at, store }))
    }

    /// How the touch ended that [`Process::start_touch`] or [`Process::start_probe`] was about.
    pub fn finish_touch(&mut self) -> Result<Touched, Failure> {
        let answer = self.party.hear_good()?;
        self.expect_touched(answer)
    }

    /// Starts to map; [`Process::finish_map`] waits for it.
    pub fn start_map(&mut self, offset: u64, len: usize) -> Result<(), Failure> {
        self.party.tell(&map_command(offset, len))
    }

    /// The mapping that [`Process::start_map`] was about.
    pub fn finish_map(&mut self) -> Result<Map, Failure> {
        let answer = self.party.hear_good()?;
        self.expect_map(answer)
    }

    /// The mapping that [`Process::start_map`] was about; the error number where the kernel refuses.
    pub fn finish_try_map(&mut self) -> Result<Result<Map, Errno>, Failure> {
        let answer = self.party.hear()?;
        self.map_or_errno(answer)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<(), Failure> {
        Ok(sys::kill(Target::Process(self.party.pid), signal)?)
    }

    /// Waits until it has stopped, by SIGSTOP.
    pub fn await_stopped(&self) -> Result<(), Failure> {
        let start = Instant::now();
        while !self.party.is_stopped()? {
            expect_that(start.elapsed() < STOP_PATIENCE, || {
                format!("{} does not stop", self.party.name)
            })?;
            sys::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// It has done what it was told to start, or does so within `time`.
    pub fn is_done_within(&self, time: Duration) -> Result<bool, Failure> {
        self.party.answers_within(time)
    }

    /// Starts to play a role; [`Process::finish`] waits for its end.
    pub fn start(&mut self, map: Map, role: Role) -> Result<(), Failure> {
        self.party
            .tell(&Command::Memory(map, MemoryCommand::Play(role)))
    }

    /// The figures of the role that was started.
    pub fn finish(&mut self) -> Result<Vec<(String, u64)>, Failure> {
        match self.party.hear_good()? {
            Answer::Figures(figures) => Ok(figures),
            other => Err(self.party.strange(&other)),
        }
    }

    /// Writes a pattern with write(2) and reads it back with read(2).
    pub fn write_read(&mut self, offset: u64, len: usize, seed: u64) -> Result<(), Failure> {
        self.party
            .ask_good(&Command::WriteRead { offset, len, seed })
            .map(drop)
    }

    /// How long it takes to write and to read `size` bytes with write(2) and read(2), `rounds` times.
    pub fn throughput(&mut self, size: usize, rounds: u32) -> Result<[Duration; 2], Failure> {
        self.time(&Command::Throughput { size, rounds })
    }

    /// What writing and what reading took, of a command that is about both.
    pub(crate) fn time(&mut self, command: &Command) -> Result<[Duration; 2], Failure> {
        match self.party.ask_good(command)? {
            Answer::Nanos { written, read } => Ok([written, read].map(Duration::from_nanos)),
            other => Err(self.party.strange(&other)),
        }
    }

    /// Maps, writes to every page, unmaps; so many times. Or children of it do, and `die` instead of unmapping.
    pub fn cycle(
        &mut self,
        offset: u64,
        pages: usize,
        times: u32,
        die: bool,
    ) -> Result<(), Failure> {
        self.party
            .ask_good(&Command::Cycle {
                offset,
                pages,
                times,
                die,
            })
            .map(drop)
    }

    /// Touches memory that it does not have.
    pub fn segfault(&mut self) -> Result<(), Failure> {
        self.party.ask_good(&Command::Segfault).map(drop)
    }

    /// Lets the process end by itself, with everything still mapped.
    pub fn quit(mut self) -> Result<(), Failure> {
        self.party.quit()
    }

    /// Kills the process, and waits until it is gone.
    pub fn kill(mut self) -> Result<(), Failure> {
        self.party.kill()
    }
}

/// A shared mapping for reading and writing.
pub(crate) fn map_command(offset: u64, len: usize) -> Command {
    Command::Map(shared(offset, len))
}

/// A shared mapping for reading alone.
fn look_command(offset: u64, len: usize) -> Command {
    Command::Map(MapRequest {
        writable: false,
        ..shared(offset, len)
    })
}

pub(crate) fn shared(offset: u64, len: usize) -> MapRequest {
    MapRequest {
        offset,
        len,
        writable: true,
        shared: true,
    }
}

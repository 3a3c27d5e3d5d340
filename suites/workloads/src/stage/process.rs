// SPDX-License-Identifier: MIT OR Apache-2.0
//! Methods that clients and servers share: map, load and store, and system calls on mappings.

use std::time::Duration;

use sys::{Advice, Instant, KillTarget, Prot, Sharing, Signal, page_size};

use crate::stage::command::{
    Answer, Area, Map, MapRequest, MappingCommand, MemoryCommand, Place, Touch,
};
use crate::stage::failure::{Failure, Tried, expect_that};
use crate::stage::party::Link;
use crate::stage::pins::PinBy;
use crate::stage::role::Role;

/// Longest time for a process to stop. It stops immediately, unless it waits uninterruptibly.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// [`Client`](crate::stage::Client) or [`Server`](crate::stage::Server).
///
/// If a system call of the process fails, a method named `try_x` returns the error, and `x` fails. A method named
/// `start_x` sends a command without waiting; a method named `finish_x` waits for the answer.
pub(crate) trait Process {
    /// Sends a command. The caller must receive the answer from [`Process::link_mut`].
    fn send(&mut self, command: MemoryCommand) -> Result<(), Failure>;

    /// Sends commands that must all succeed, and returns their answers. No other process has to run in between.
    fn execute_batch(&mut self, commands: Vec<MemoryCommand>) -> Result<Vec<Answer>, Failure>;

    /// Returns the pipes to the process.
    fn link(&self) -> &Link;

    /// Returns the pipes to the process, to receive answers.
    fn link_mut(&mut self) -> &mut Link;

    /// Sends a command that must succeed, and returns the answer.
    fn execute(&mut self, command: MemoryCommand) -> Result<Answer, Failure> {
        self.send(command)?;
        self.link_mut().receive()
    }

    /// Sends a command about a mapping that must succeed, and returns the answer.
    fn mapping(&mut self, map: Map, command: MappingCommand) -> Result<Answer, Failure> {
        self.execute(MemoryCommand::Mapping(map, command))
    }

    /// Returns the process ID.
    fn pid(&self) -> u32 {
        self.link().pid.0 as u32
    }

    /// Makes the mapping of a command.
    fn make(&mut self, command: MemoryCommand) -> Result<Map, Failure> {
        self.send(command)?;
        self.finish_map()
    }

    /// Makes the mapping of a command, or returns the error.
    fn try_make(&mut self, command: MemoryCommand) -> Tried<Map> {
        self.send(command)?;
        self.finish_try_map()
    }

    /// Maps `len` bytes from byte `offset`, shared, with read and write access.
    fn map(&mut self, offset: u64, len: usize) -> Result<Map, Failure> {
        self.make(map_command(offset, len))
    }

    /// Does [`Process::map`], or returns the error.
    fn try_map(&mut self, offset: u64, len: usize) -> Tried<Map> {
        self.try_make(map_command(offset, len))
    }

    /// Maps shared and read-only.
    fn map_readonly(&mut self, offset: u64, len: usize) -> Result<Map, Failure> {
        self.make(map_readonly_command(offset, len))
    }

    /// Does [`Process::map_readonly`], or returns the error.
    fn try_map_readonly(&mut self, offset: u64, len: usize) -> Tried<Map> {
        self.try_make(map_readonly_command(offset, len))
    }

    /// Maps privately, or returns the error.
    fn try_map_private(&mut self, offset: u64, len: usize) -> Tried<Map> {
        let request = MapRequest { sharing: Sharing::Private, ..MapRequest::shared(offset, len) };
        self.try_make(MemoryCommand::Map(request, Place::Anywhere))
    }

    /// Does [`Process::try_map`] with MAP_FIXED, at an address that is `residue` modulo `period`.
    fn try_map_at(&mut self, offset: u64, len: usize, residue: u64, period: u64) -> Tried<Map> {
        let place = Place::At { residue, period };
        self.try_make(MemoryCommand::Map(MapRequest::shared(offset, len), place))
    }

    /// Does [`Process::map`] with MAP_FIXED, and replaces a mapping of the same length.
    fn map_over(&mut self, map: Map, offset: u64, len: usize) -> Result<Map, Failure> {
        self.start_map_over(map, offset, len)?;
        self.finish_map()
    }

    /// Starts a [`Process::map_over`]. [`Process::finish_map`] waits for it.
    fn start_map_over(&mut self, map: Map, offset: u64, len: usize) -> Result<(), Failure> {
        self.send(MemoryCommand::Map(MapRequest::shared(offset, len), Place::Over(map)))
    }

    /// Makes two mappings of `len` bytes that are adjacent in memory and in the file.
    fn map_adjacent(&mut self, offset: u64, len: usize) -> Result<(Map, Map), Failure> {
        match self.execute(MemoryCommand::MapAdjacent(MapRequest::shared(offset, len)))? {
            Answer::Maps(first, second) => Ok((first, second)),
            other => Err(self.link().unexpected(&other)),
        }
    }

    /// Starts a [`Process::map`]. [`Process::finish_map`] waits for it.
    fn start_map(&mut self, offset: u64, len: usize) -> Result<(), Failure> {
        self.send(map_command(offset, len))
    }

    /// Waits for the mapping that was started, and returns it.
    fn finish_map(&mut self) -> Result<Map, Failure> {
        let answer = self.link_mut().receive()?;
        self.link().map(answer)
    }

    /// Waits for the mapping that was started, and returns it or the error.
    fn finish_try_map(&mut self) -> Tried<Map> {
        match self.link_mut().try_receive()? {
            Ok(answer) => self.link().map(answer).map(Ok),
            Err(errno) => Ok(Err(errno)),
        }
    }

    /// Returns the 8-byte word at byte `at`.
    fn load(&mut self, map: Map, at: usize) -> Result<u64, Failure> {
        self.number(map, MappingCommand::Load { at })
    }

    /// Starts a [`Process::load`]. [`Process::finish_load`] waits for it.
    fn start_load(&mut self, map: Map, at: usize) -> Result<(), Failure> {
        self.start_call(map, MappingCommand::Load { at })
    }

    /// Waits for the load that was started, and returns the word.
    fn finish_load(&mut self) -> Result<u64, Failure> {
        let answer = self.link_mut().receive()?;
        self.link().number(answer)
    }

    /// Returns the 4-byte word at byte `at`.
    fn load_u32(&mut self, map: Map, at: usize) -> Result<u32, Failure> {
        self.number(map, MappingCommand::LoadU32 { at }).map(|word| word as u32)
    }

    /// Stores an 8-byte word at byte `at`.
    fn store(&mut self, map: Map, at: usize, value: u64) -> Result<(), Failure> {
        self.call(map, MappingCommand::Store { at, value })
    }

    /// Stores a different word at the start of each of the first `pages` pages.
    fn touch_all(&mut self, map: Map, pages: usize) -> Result<(), Failure> {
        (0..pages).try_for_each(|index| self.store(map, index * page_size(), index as u64 + 1))
    }

    /// Loads a word of every page, in order, and returns the time in nanoseconds.
    fn time_touches(&mut self, map: Map) -> Result<u64, Failure> {
        self.number(map, MappingCommand::TimeTouches)
    }

    /// Writes the pattern of `seed` to `len` bytes from byte `at`.
    fn fill(&mut self, map: Map, at: usize, len: usize, seed: u64) -> Result<(), Failure> {
        self.call(map, MappingCommand::Fill { at, len, seed })
    }

    /// Fails unless the `len` bytes from byte `at` are the pattern of `seed`.
    fn verify(&mut self, map: Map, at: usize, len: usize, seed: u64) -> Result<(), Failure> {
        self.call(map, MappingCommand::Verify { at, len, seed })
    }

    /// Does [`Process::fill`] in one mapping and [`Process::verify`] in another. No other process has to run in
    /// between.
    fn fill_and_verify(
        &mut self,
        (map, other): (Map, Map),
        at: usize,
        len: usize,
        seed: u64,
    ) -> Result<(), Failure> {
        self.execute_batch(vec![
            MemoryCommand::Mapping(map, MappingCommand::Fill { at, len, seed }),
            MemoryCommand::Mapping(other, MappingCommand::Verify { at, len, seed }),
        ])
        .map(drop)
    }

    /// Fails unless the `len` bytes from byte `at` are zeros.
    fn verify_zero(&mut self, map: Map, at: usize, len: usize) -> Result<(), Failure> {
        self.call(map, MappingCommand::VerifyZero { at, len })
    }

    /// Has the kernel read the byte at `at` on behalf of the process.
    fn probe(&mut self, map: Map, at: usize) -> Result<Touch, Failure> {
        self.start_probe(map, at)?;
        self.finish_touch()
    }

    /// Starts a [`Process::probe`]. [`Process::finish_touch`] waits for it.
    fn start_probe(&mut self, map: Map, at: usize) -> Result<(), Failure> {
        self.start_call(map, MappingCommand::Probe { at })
    }

    /// Has a child of the process access the byte at `at`.
    fn touch(&mut self, map: Map, at: usize, store: bool) -> Result<Touch, Failure> {
        self.start_touch(map, at, store)?;
        self.finish_touch()
    }

    /// Starts a [`Process::touch`]. [`Process::finish_touch`] waits for it.
    fn start_touch(&mut self, map: Map, at: usize, store: bool) -> Result<(), Failure> {
        self.start_call(map, MappingCommand::Touch { at, store })
    }

    /// Waits for the touch or probe that was started, and returns its result.
    fn finish_touch(&mut self) -> Result<Touch, Failure> {
        match self.link_mut().receive()? {
            Answer::Touch(touch) => Ok(touch),
            other => Err(self.link().unexpected(&other)),
        }
    }

    /// Returns the page frame number of byte `at`. The process must have touched the page.
    fn frame(&mut self, map: Map, at: usize) -> Result<u64, Failure> {
        self.number(map, MappingCommand::Frame { at })
    }

    /// Returns the first address of a mapping. It differs from the start of [`Process::area`] for a part made by
    /// [`Process::cut`].
    fn address(&mut self, map: Map) -> Result<u64, Failure> {
        self.number(map, MappingCommand::Address)
    }

    /// Returns the line of `/proc/PID/maps` for a mapping.
    fn area(&mut self, map: Map) -> Result<Area, Failure> {
        match self.mapping(map, MappingCommand::Area)? {
            Answer::Area(area) => Ok(area),
            other => Err(self.link().unexpected(&other)),
        }
    }

    /// Unmaps `len` bytes from byte `at`, and returns the mapping behind them.
    fn punch(&mut self, map: Map, at: usize, len: usize) -> Result<Map, Failure> {
        self.start_call(map, MappingCommand::Punch { at, len })?;
        self.finish_map()
    }

    /// Treats a mapping as two from now on, without a system call, and returns the part from byte `at`.
    fn cut(&mut self, map: Map, at: usize) -> Result<Map, Failure> {
        self.start_call(map, MappingCommand::Cut { at })?;
        self.finish_map()
    }

    fn unmap(&mut self, map: Map) -> Result<(), Failure> {
        self.call(map, MappingCommand::Unmap)
    }

    /// Sends a command about a mapping that must succeed.
    fn call(&mut self, map: Map, command: MappingCommand) -> Result<(), Failure> {
        self.start_call(map, command)?;
        self.finish_call()
    }

    /// Sends a command about a mapping, and returns the error if there is one.
    fn try_call(&mut self, map: Map, command: MappingCommand) -> Tried<()> {
        self.start_call(map, command)?;
        self.finish_try_call()
    }

    /// Starts a command about a mapping. [`Process::finish_call`] waits for it.
    fn start_call(&mut self, map: Map, command: MappingCommand) -> Result<(), Failure> {
        self.send(MemoryCommand::Mapping(map, command))
    }

    /// Waits for the command that was started, which must succeed.
    fn finish_call(&mut self) -> Result<(), Failure> {
        self.link_mut().receive().map(drop)
    }

    /// Waits for the command that was started, and returns the error if there is one.
    fn finish_try_call(&mut self) -> Tried<()> {
        Ok(self.link_mut().try_receive()?.map(drop))
    }

    /// Sends a command about a mapping, and returns the number in the answer.
    fn number(&mut self, map: Map, command: MappingCommand) -> Result<u64, Failure> {
        let answer = self.mapping(map, command)?;
        self.link().number(answer)
    }

    /// Keeps the pages of `len` bytes at byte `at` alive until [`Process::unpin`], or returns the error.
    fn try_pin(&mut self, map: Map, at: usize, len: usize, by: PinBy) -> Tried<()> {
        self.try_call(map, MappingCommand::Pin { at, len, by })
    }

    /// Ends all [`Process::try_pin`]s.
    fn unpin(&mut self) -> Result<(), Failure> {
        self.execute(MemoryCommand::Unpin).map(drop)
    }

    /// Changes the access rights of a mapping with mprotect.
    fn protect(&mut self, map: Map, prot: Prot) -> Result<(), Failure> {
        self.call(map, MappingCommand::Protect(prot))
    }

    /// Calls madvise for a mapping.
    fn advise(&mut self, map: Map, advice: Advice) -> Result<(), Failure> {
        self.call(map, MappingCommand::Advise(advice))
    }

    /// Does [`Process::advise`], or returns the error.
    fn try_advise(&mut self, map: Map, advice: Advice) -> Tried<()> {
        self.try_call(map, MappingCommand::Advise(advice))
    }

    /// Starts to play a role. [`Process::finish_role`] waits for its end.
    fn start_role(&mut self, map: Map, role: Role) -> Result<(), Failure> {
        self.start_call(map, MappingCommand::Play(role))
    }

    /// Waits for the role that was started, and returns its figures.
    fn finish_role(&mut self) -> Result<Vec<(String, u64)>, Failure> {
        match self.link_mut().receive()? {
            Answer::Figures(figures) => Ok(figures),
            other => Err(self.link().unexpected(&other)),
        }
    }

    fn signal(&self, signal: Signal) -> Result<(), Failure> {
        Ok(sys::kill(KillTarget::Process(self.link().pid), signal)?)
    }

    /// Waits until SIGSTOP has stopped the process.
    fn await_stopped(&self) -> Result<(), Failure> {
        let start = Instant::now();
        while !self.link().is_stopped()? {
            expect_that(start.elapsed() < STOP_TIMEOUT, || {
                let name = &self.link().name;
                format!("{name} did not stop within {STOP_TIMEOUT:?} of SIGSTOP")
            })?;
            sys::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Returns true if the command that was started is done, or is done within `time`.
    fn is_done_within(&self, time: Duration) -> Result<bool, Failure> {
        self.link().answers_within(time)
    }
}

/// Returns the command for a shared mapping with read and write access.
pub(crate) fn map_command(offset: u64, len: usize) -> MemoryCommand {
    MemoryCommand::Map(MapRequest::shared(offset, len), Place::Anywhere)
}

fn map_readonly_command(offset: u64, len: usize) -> MemoryCommand {
    let request = MapRequest { prot: Prot::Read, ..MapRequest::shared(offset, len) };
    MemoryCommand::Map(request, Place::Anywhere)
}

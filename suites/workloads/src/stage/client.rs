// SPDX-License-Identifier: MIT OR Apache-2.0
//! The case's side of a client.

use std::time::Duration;

use crate::stage::client_party::{self, Source};
use crate::stage::command::{
    Answer, ClientCommand, Command, Direction, Map, MapRequest, MemoryCommand, Transfer,
};
use crate::stage::crowd::CrowdCommand;
use crate::stage::failure::{Failure, Tried};
use crate::stage::party::{Link, Party};
use crate::stage::process::Process;

/// Process that maps the file of a server, or a descriptor of the case.
#[derive(Debug)]
pub(crate) struct Client {
    pub(super) party: Party<ClientCommand>,
}

impl Process for Client {
    fn send(&mut self, command: MemoryCommand) -> Result<(), Failure> {
        self.party.send(&Command::Memory(command))
    }

    fn execute_batch(&mut self, commands: Vec<MemoryCommand>) -> Result<Vec<Answer>, Failure> {
        self.party.execute_batch(commands.into_iter().map(Command::Memory).collect())
    }

    fn link(&self) -> &Link {
        &self.party.link
    }

    fn link_mut(&mut self) -> &mut Link {
        &mut self.party.link
    }
}

impl Client {
    /// Starts a client that maps `source`.
    pub(super) fn start(name: &str, source: &Source<'_>) -> Result<Client, Failure> {
        let party = Party::fork(name, |control| client_party::run(control, source))?;
        Ok(Client { party })
    }

    /// Has the client fork a child that has all its mappings, under the same numbers. The child survives its parent.
    pub(crate) fn fork(&mut self, name: &str) -> Result<Client, Failure> {
        let party = self.party.fork_child(name)?;
        Ok(Client { party })
    }

    pub(crate) fn open(&mut self) -> Result<(), Failure> {
        self.party.call_own(ClientCommand::Open)
    }

    /// Opens the file read-only.
    pub(crate) fn open_readonly(&mut self) -> Result<(), Failure> {
        self.party.call_own(ClientCommand::OpenReadonly)
    }

    /// Opens the file at `path` in place of the client's file. Mappings stay.
    pub(crate) fn open_path(&mut self, path: &str) -> Result<(), Failure> {
        self.party.call_own(ClientCommand::OpenPath { path: path.to_owned() })
    }

    /// Opens the file, or returns the error.
    pub(crate) fn try_open(&mut self) -> Tried<()> {
        self.start_open()?;
        self.finish_try_call()
    }

    /// Starts to open the file. [`Process::finish_try_call`] waits for it.
    pub(crate) fn start_open(&mut self) -> Result<(), Failure> {
        self.party.send(&Command::Own(ClientCommand::Open))
    }

    /// Closes the file. Mappings stay.
    pub(crate) fn close(&mut self) -> Result<(), Failure> {
        self.party.call_own(ClientCommand::Close)
    }

    /// Writes a pattern with write(2) and reads it back with read(2).
    pub(crate) fn write_read(&mut self, offset: u64, len: usize, seed: u64) -> Result<(), Failure> {
        self.party.call_own(ClientCommand::WriteRead { offset, len, seed })
    }

    /// Starts to read `len` bytes of the file with read(2), which must be the pattern of `seed`.
    /// [`Process::finish_call`] waits for the read.
    pub(crate) fn start_read_file(
        &mut self,
        offset: u64,
        len: usize,
        seed: u64,
    ) -> Result<(), Failure> {
        let command = ClientCommand::ReadFile { offset, len, seed };
        self.party.send(&Command::Own(command))
    }

    /// Starts to read the file at `path`. [`Process::finish_call`] waits for it.
    pub(crate) fn start_read_path(&mut self, path: &str) -> Result<(), Failure> {
        let command = ClientCommand::ReadPath { path: path.to_owned() };
        self.party.send(&Command::Own(command))
    }

    /// Starts to read `len` bytes at the address `at` of the process `pid`. [`Process::finish_call`] waits for it.
    pub(crate) fn start_read_memory(
        &mut self,
        pid: u32,
        at: u64,
        len: usize,
    ) -> Result<(), Failure> {
        let command = ClientCommand::ReadMemory { pid: pid as i32, at, len };
        self.party.send(&Command::Own(command))
    }

    /// Starts a [`Process::map`] and, before it, a thread of the process. Returns the thread, which must end before
    /// [`Process::finish_map`].
    pub(crate) fn start_map_beside_thread(
        &mut self,
        name: &str,
        offset: u64,
        len: usize,
    ) -> Result<Client, Failure> {
        let request = MapRequest::shared(offset, len);
        let command = ClientCommand::MapBesideThread { name: name.to_owned(), request };
        let answer = self.party.execute_own(command)?;
        let party = self.party.adopt(name, &answer)?;
        let party = party.ok_or_else(|| self.party.link.unexpected(&answer))?;
        Ok(Client { party })
    }

    /// Starts to map, touch, protect and unmap memory of its own. [`Process::finish_call`] waits for it.
    pub(crate) fn start_use_memory(&mut self) -> Result<(), Failure> {
        self.party.send(&Command::Own(ClientCommand::UseMemory))
    }

    /// Has the process map memory of equal pages that the kernel may merge.
    pub(crate) fn merge_memory(&mut self) -> Result<(), Failure> {
        self.party.call_own(ClientCommand::MergeMemory)
    }

    /// Has the process or thread exit, without waiting for its end.
    pub(crate) fn start_quit(&mut self) -> Result<(), Failure> {
        self.party.send(&Command::Quit)
    }

    /// Writes and reads `size` bytes with write(2) and read(2), `rounds` times. Returns the time of all writes and of
    /// all reads.
    pub(crate) fn throughput(
        &mut self,
        size: usize,
        rounds: u32,
    ) -> Result<[Duration; 2], Failure> {
        let answer = self.party.execute_own(ClientCommand::Throughput { size, rounds })?;
        self.party.link.times(answer)
    }

    /// Maps pages, writes to each, and unmaps them, `times` times. With `die`, each time a child maps and writes, and
    /// then kills itself without unmapping.
    pub(crate) fn cycle(
        &mut self,
        offset: u64,
        pages: usize,
        times: u32,
        die: bool,
    ) -> Result<(), Failure> {
        self.party.call_own(ClientCommand::Cycle { offset, pages, times, die })
    }

    /// Does something with many mappings and processes, and returns the time.
    pub(crate) fn crowd(&mut self, command: CrowdCommand) -> Result<Duration, Failure> {
        self.party.time_own(ClientCommand::Crowd(command))
    }

    /// Starts to map, touch and unmap the page at byte `offset` again and again for `time`. Each round also keeps the
    /// processor busy for the time `work`. [`Client::finish_rounds`] waits for the end.
    pub(crate) fn start_rounds(
        &mut self,
        offset: u64,
        time: Duration,
        work: Duration,
    ) -> Result<(), Failure> {
        let (millis, work) = (time.as_millis() as u64, work.as_nanos() as u64);
        self.party.send(&Command::Own(ClientCommand::Rounds { offset, millis, work }))
    }

    /// Returns the number of the rounds that were started, the time of all, and the time of the longest.
    pub(crate) fn finish_rounds(&mut self) -> Result<(u32, Duration, Duration), Failure> {
        match self.party.link.receive()? {
            Answer::Words(words) if words.len() == 3 => {
                let [all, longest] = [words[1], words[2]].map(Duration::from_nanos);
                Ok((words[0] as u32, all, longest))
            }
            other => Err(self.party.link.unexpected(&other)),
        }
    }

    /// Calls fsync(2) `times` times, and returns the time. With the file of a server, each call is one request.
    pub(crate) fn time_syncs(&mut self, times: u32) -> Result<Duration, Failure> {
        self.party.time_own(ClientCommand::TimeSyncs { times })
    }

    /// Writes or reads `count` blocks of `size` bytes from the start of the file, and returns the time.
    pub(crate) fn time_blocks(
        &mut self,
        direction: Direction,
        size: usize,
        count: usize,
    ) -> Result<Duration, Failure> {
        self.party.time_own(ClientCommand::TimeBlocks { direction, size, count })
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
        self.finish_call()
    }

    /// Starts a [`Client::write_mapped`]. [`Process::finish_call`] waits for it.
    pub(crate) fn start_write_mapped(
        &mut self,
        map: Map,
        at: usize,
        len: usize,
        offset: u64,
    ) -> Result<(), Failure> {
        self.start_transfer(Transfer { direction: Direction::ToFile, map, at, len, offset })
    }

    /// Reads `len` bytes from byte `offset` of the file to byte `at` of a mapping.
    pub(crate) fn read_mapped(
        &mut self,
        map: Map,
        at: usize,
        len: usize,
        offset: u64,
    ) -> Result<(), Failure> {
        self.start_read_mapped(map, at, len, offset)?;
        self.finish_call()
    }

    /// Starts a [`Client::read_mapped`]. [`Process::finish_call`] waits for it.
    pub(crate) fn start_read_mapped(
        &mut self,
        map: Map,
        at: usize,
        len: usize,
        offset: u64,
    ) -> Result<(), Failure> {
        self.start_transfer(Transfer { direction: Direction::FromFile, map, at, len, offset })
    }

    fn start_transfer(&mut self, transfer: Transfer) -> Result<(), Failure> {
        self.party.send(&Command::Own(ClientCommand::Transfer(transfer)))
    }

    /// Loads from a page without access rights, which kills the process.
    pub(crate) fn segfault(&mut self) -> Result<(), Failure> {
        self.party.call_own(ClientCommand::Segfault)
    }

    /// Starts to execute a program that maps nothing, waits, and sends no answer. It can only be killed.
    pub(crate) fn start_exec(&mut self) -> Result<(), Failure> {
        self.party.send(&Command::Own(ClientCommand::Exec))
    }

    /// Has the process exit, with its mappings still mapped.
    pub(crate) fn quit(mut self) -> Result<(), Failure> {
        self.party.quit()
    }

    /// Kills the process and waits until it is gone.
    pub(crate) fn kill(mut self) -> Result<(), Failure> {
        self.party.link.kill()
    }
}

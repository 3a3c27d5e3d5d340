// SPDX-License-Identifier: MIT OR Apache-2.0
//! The case's side of a server.

use std::time::Duration;

use protocol::plan::Device;
use server::{Behaviour, Message, RequestLog};
use sys::{Errno, page_size};

use crate::stage::client::Client;
use crate::stage::command::{
    Answer, Command, Direction, Map, MappingCommand, MemoryCommand, PageBytes, ServerCommand,
};
use crate::stage::counters::{self, PAGES_TOTAL};
use crate::stage::failure::{Failure, Tried, expect};
use crate::stage::party::{Link, Party};
use crate::stage::place::Place;
use crate::stage::process::Process;
use crate::stage::server_party;

/// Longest wait for FUSE_MUNMAPs. The kernel sends them at the unmap, so this limit only makes sure that the failure
/// names what is missing before the case's deadline passes.
const MUNMAP_TIMEOUT: Duration = Duration::from_secs(5);

/// Resource limits that a server applies to itself before it starts its session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    /// Number of pages that the server can lock. It gives up the privilege to lock more.
    pub locked_pages: Option<usize>,
    /// [`procs_path`](crate::stage::group::Group::procs_path) of the memory cgroup to join.
    pub group: Option<String>,
}

impl Limits {
    /// Applies the limits to this process.
    pub(super) fn apply(&self) -> sys::Result<()> {
        if let Some(procs_path) = &self.group {
            // 0 stands for the process that writes.
            sys::write_file(procs_path, b"0")?;
        }
        if let Some(pages) = self.locked_pages {
            sys::limit_locked_memory((pages * page_size()) as u64)?;
        }
        Ok(())
    }
}

/// Process that serves a filesystem or device. It answers requests between commands, and can map its channel.
#[derive(Debug)]
pub(crate) struct Server {
    pub(super) party: Party<ServerCommand>,
    behaviour: Behaviour,
    /// File that clients open.
    pub(crate) path: String,
    /// Directory of its connection's counters.
    counters: String,
    place: Place,
}

impl Process for Server {
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

impl Server {
    /// Starts a server, and waits until it serves.
    pub(super) fn start(
        device: Device,
        name: &str,
        behaviour: Behaviour,
        limits: &Limits,
    ) -> Result<Server, Failure> {
        let place = Place::make(device, name)?;
        let mut party = Party::fork("server", |control| {
            server_party::run(control, &place, behaviour, limits);
        })?;
        party.link.receive()?;
        Ok(Server { party, behaviour, path: place.file(), counters: place.counters()?, place })
    }

    /// Maps `pages` pages of the channel, starting at page ID `page_id`.
    pub(crate) fn map_pages(&mut self, page_id: u64, pages: usize) -> Result<Map, Failure> {
        let page = page_size();
        self.map(page_id * page as u64, pages * page)
    }

    /// Returns the page ID that this server assigns to byte `offset` of its file.
    pub(crate) fn page_id(&self, offset: u64) -> Result<u64, Failure> {
        let id = self.behaviour.mmap.page_id(offset, page_size() as u64);
        id.ok_or_else(|| Failure::new("this server assigns no page IDs"))
    }

    /// Changes the behaviour. The new behaviour also applies to the requests that the server has held.
    pub(crate) fn behave(&mut self, behaviour: Behaviour) -> Result<(), Failure> {
        self.behaviour = behaviour;
        self.party.call_own(ServerCommand::Behave(behaviour))
    }

    /// Returns the requests that the server has received.
    pub(crate) fn log(&mut self) -> Result<RequestLog, Failure> {
        match self.party.execute_own(ServerCommand::RequestLog)? {
            Answer::RequestLog(log) => Ok(*log),
            other => Err(self.party.link.unexpected(&other)),
        }
    }

    /// Returns the numbers of FUSE_MMAPs and FUSE_MUNMAPs that the server has received.
    pub(crate) fn count_maps(&mut self) -> Result<(u64, u64), Failure> {
        match self.party.execute_own(ServerCommand::CountMaps)? {
            Answer::Words(words) if words.len() == 2 => Ok((words[0], words[1])),
            other => Err(self.party.link.unexpected(&other)),
        }
    }

    /// Waits until the server has received `count` FUSE_MUNMAPs and no more, and returns its log.
    pub(crate) fn await_munmaps(&mut self, count: u64) -> Result<RequestLog, Failure> {
        let millis = MUNMAP_TIMEOUT.as_millis() as u64;
        self.party.execute_own(ServerCommand::AwaitMunmaps { count, millis })?;
        let log = self.log()?;
        expect("FUSE_MUNMAPs", log.munmaps, count)?;
        Ok(log)
    }

    /// Writes `len` bytes of the pattern of `seed` to byte `at` of page `page_id` by ID, or returns the error.
    pub(crate) fn load_pages(
        &mut self,
        page_id: u64,
        at: usize,
        len: usize,
        seed: u64,
    ) -> Tried<()> {
        let command = ServerCommand::LoadPages(PageBytes { page_id, at, len, seed });
        Ok(self.party.try_execute_own(command)?.map(drop))
    }

    /// Reads up to `len` bytes from byte `at` of page `page_id` by ID. Fails unless they are the pattern of `seed`.
    /// Returns the number of bytes, or the error.
    pub(crate) fn save_pages(
        &mut self,
        page_id: u64,
        at: usize,
        len: usize,
        seed: u64,
    ) -> Tried<usize> {
        let command = ServerCommand::SavePages(PageBytes { page_id, at, len, seed });
        match self.party.try_execute_own(command)? {
            Ok(answer) => Ok(Ok(self.party.link.number(answer)? as usize)),
            Err(errno) => Ok(Err(errno)),
        }
    }

    /// Writes `len` bytes of the pattern of `first` to byte `at` of page `page_id` by ID, verifies them in `map`, which
    /// shows the page, and reads them by ID. Then fills `map` with the pattern of `second`, and reads that by ID. No
    /// other process has to run in between.
    pub(crate) fn load_and_save(
        &mut self,
        (page_id, map): (u64, Map),
        at: usize,
        len: usize,
        (first, second): (u64, u64),
    ) -> Result<(), Failure> {
        let memory = |command| Command::Memory(MemoryCommand::Mapping(map, command));
        let bytes = |seed| PageBytes { page_id, at, len, seed };
        let save = |seed| Command::Own(ServerCommand::SavePages(bytes(seed)));
        let verify = MappingCommand::Verify { at, len, seed: first };
        let fill = MappingCommand::Fill { at, len, seed: second };
        let commands = vec![
            Command::Own(ServerCommand::LoadPages(bytes(first))),
            memory(verify),
            save(first),
            memory(fill),
            save(second),
        ];
        for answer in self.party.execute_batch(commands)? {
            if let Answer::Number(saved) = answer {
                expect("bytes saved", saved, len as u64)?;
            }
        }
        Ok(())
    }

    /// Reads the 8-byte word at byte `at` of each of `pages` pages by ID. Returns the words that the server received,
    /// or the error.
    pub(crate) fn save_words(&mut self, page_id: u64, at: usize, pages: usize) -> Tried<Vec<u64>> {
        match self.party.try_execute_own(ServerCommand::SaveWords { page_id, at, pages })? {
            Ok(Answer::Words(words)) => Ok(Ok(words)),
            Ok(other) => Err(self.party.link.unexpected(&other)),
            Err(errno) => Ok(Err(errno)),
        }
    }

    /// Frees pages, or returns the error.
    pub(crate) fn free_pages(&mut self, page_id: u64, count: u64) -> Tried<()> {
        Ok(self.party.try_execute_own(ServerCommand::FreePages { page_id, count })?.map(drop))
    }

    /// Loads or saves `count` blocks of `size` bytes from the start of its file, and returns the time.
    pub(crate) fn time_blocks(
        &mut self,
        direction: Direction,
        size: usize,
        count: usize,
    ) -> Result<Duration, Failure> {
        let page_id = self.page_id(0)?;
        self.party.time_own(ServerCommand::TimeBlocksById { direction, page_id, size, count })
    }

    /// Frees the first `count` pages of its file, and returns the time.
    pub(crate) fn time_free(&mut self, count: u64) -> Result<Duration, Failure> {
        let page_id = self.page_id(0)?;
        self.party.time_own(ServerCommand::TimeFree { page_id, count })
    }

    /// Writes a notification, or returns the error.
    pub(crate) fn notify(&mut self, code: i32, body: &[u8]) -> Tried<()> {
        self.write(Message::notification(code, body))
    }

    /// Writes a valid or invalid message, or returns the error.
    pub(crate) fn write(&mut self, message: Message) -> Tried<()> {
        Ok(self.write_all(vec![message])?[0])
    }

    /// Writes messages, and returns the result of each write. The server reads nothing until all are written.
    pub(crate) fn write_all(
        &mut self,
        messages: Vec<Message>,
    ) -> Result<Vec<Result<(), Errno>>, Failure> {
        let result = |errno| match errno {
            0 => Ok(()),
            errno => Err(Errno::from_raw(errno)),
        };
        match self.party.execute_own(ServerCommand::Write(messages))? {
            Answer::Errnos(errnos) => Ok(errnos.into_iter().map(result).collect()),
            other => Err(self.party.link.unexpected(&other)),
        }
    }

    /// Closes the channel. Mappings stay.
    pub(crate) fn close_channel(&mut self) -> Result<(), Failure> {
        self.party.call_own(ServerCommand::CloseChannel)
    }

    /// Forks a server that inherits the channel, the mappings and the held requests. The child does not read the
    /// channel until its behaviour is set.
    pub(crate) fn fork(&mut self, name: &str) -> Result<Server, Failure> {
        Ok(Server {
            party: self.party.fork_child(name)?,
            behaviour: self.behaviour,
            path: self.path.clone(),
            counters: self.counters.clone(),
            place: self.place.clone(),
        })
    }

    /// Aborts the connection, as `echo 1 > abort` does.
    pub(crate) fn abort(&self) -> Result<(), Failure> {
        Ok(sys::write_file(&format!("{}/abort", self.counters), b"1")?)
    }

    /// Returns the name of its file, without the directory.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    pub(crate) fn device(&self) -> Device {
        self.place.device
    }

    /// Gives up root.
    pub(crate) fn drop_privileges(&mut self) -> Result<(), Failure> {
        self.party.call_own(ServerCommand::DropPrivileges)
    }

    /// Returns the number of direct-mapped pages of its connection, or of all connections if the kernel has no counters of
    /// connections.
    pub(crate) fn pages(&self) -> Result<u64, Failure> {
        if self.has_counters() { self.counter("pages") } else { counters::read(PAGES_TOTAL) }
    }

    /// Fails unless its connection has `expected` mappings. Checks nothing if the kernel has no counters of connections.
    pub(crate) fn expect_maps(&self, what: &str, expected: u64) -> Result<(), Failure> {
        if self.has_counters() { expect(what, self.counter("maps")?, expected) } else { Ok(()) }
    }

    /// Returns false for a kernel without the patches that count for each connection.
    pub(crate) fn has_counters(&self) -> bool {
        sys::exists(&format!("{}/dmmap_pages", self.counters))
    }

    /// Returns a counter of its connection: `pages`, `maps`, `faults`, `reclaimed` or `refused`.
    pub(crate) fn counter(&self, name: &str) -> Result<u64, Failure> {
        counters::read(&format!("{}/dmmap_{name}", self.counters))
    }

    /// Returns the number of requests that the kernel has made for the server and that are not answered yet.
    pub(crate) fn pending_requests(&self) -> Result<u64, Failure> {
        counters::read(&format!("{}/waiting", self.counters))
    }

    /// Has the client store `word` at the start of `map`, which shows the start of the file, and fails unless the
    /// server loads it. `what` names the load.
    pub(crate) fn expect_store(
        &mut self,
        what: &str,
        client: &mut Client,
        map: Map,
        word: u64,
    ) -> Result<(), Failure> {
        let here = self.map_pages(self.page_id(0)?, 1)?;
        client.store(map, 0, word)?;
        expect(what, self.load(here, 0)?, word)?;
        self.unmap(here)
    }

    /// Writes and reads `size` bytes by ID, from the start of its file, `rounds` times. Returns the time of all writes
    /// and of all reads.
    pub(crate) fn time_by_id(
        &mut self,
        size: usize,
        rounds: u32,
    ) -> Result<[Duration; 2], Failure> {
        let page_id = self.page_id(0)?;
        let answer = self.party.execute_own(ServerCommand::TimeById { page_id, size, rounds })?;
        self.party.link.times(answer)
    }

    /// Unmounts the filesystem, and has the server exit.
    pub(crate) fn quit(mut self) -> Result<(), Failure> {
        self.place.unmount()?;
        self.party.quit()
    }

    /// Has the clients exit, and then does [`Server::quit`].
    pub(crate) fn quit_after(
        self,
        clients: impl IntoIterator<Item = Client>,
    ) -> Result<(), Failure> {
        clients.into_iter().try_for_each(Client::quit)?;
        self.quit()
    }

    /// Unmounts the filesystem. A device stays.
    pub(crate) fn unmount(&self) -> Result<(), Failure> {
        self.place.unmount()
    }

    /// Kills the process and waits until it is gone. The mount remains until the case has ended.
    pub(crate) fn kill(mut self) -> Result<(), Failure> {
        self.party.link.kill()
    }
}

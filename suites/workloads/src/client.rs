// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clients: processes that open the server's file and map it.

use sys::{Errno, Fd, Instant, Mapping, OpenFlags, Prot, Sharing};

use crate::command::{Answer, Area, Command, Map, MapRequest, MemoryCommand, Touched};
use crate::failure::Failure;
use crate::maps::Maps;
use crate::party::{Control, Party};
use crate::pattern;
use crate::role::Role;

/// What a client maps.
pub(crate) enum Source<'f> {
    /// The file at this path, opened when the case says so.
    Path(String),
    /// A descriptor that the case already has.
    Descriptor(&'f Fd),
}

/// A process that maps, as the case sees it: a client, or (by [`crate::Server`]) the server.
#[derive(Debug)]
pub struct Client {
    pub(crate) party: Party,
}

impl Client {
    pub(crate) fn fork(name: &str, source: &Source<'_>) -> Result<Client, Failure> {
        let party = Party::fork(name, |control| run(control, source))?;
        Ok(Client { party })
    }

    /// Number of its process.
    pub fn pid(&self) -> u32 {
        self.party.pid.0 as u32
    }

    /// Opens the file.
    pub fn open(&mut self) -> Result<(), Failure> {
        self.party.ask_good(&Command::Open).map(drop)
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
        let command = Command::Map(MapRequest {
            writable: false,
            ..shared(offset, len)
        });
        let answer = self.party.ask_good(&command)?;
        self.expect_map(answer)
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

    /// Maps as [`Client::map`] does; the error number where the kernel refuses.
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

    fn try_command(&mut self, command: &Command) -> Result<Result<Map, Errno>, Failure> {
        match self.party.ask(command)? {
            Answer::Map(map) => Ok(Ok(map)),
            Answer::Refused { errno, .. } => Ok(Err(Errno::from_raw(errno))),
            other => Err(self.party.strange(&other)),
        }
    }

    fn expect_map(&self, answer: Answer) -> Result<Map, Failure> {
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

    /// There is nothing but zeros in `len` bytes from byte `at`.
    pub fn verify_zero(&mut self, map: Map, at: usize, len: usize) -> Result<(), Failure> {
        self.memory(map, MemoryCommand::VerifyZero { at, len })
            .map(drop)
    }

    /// Lets the kernel read the byte at `at` on behalf of the client.
    pub fn probe(&mut self, map: Map, at: usize) -> Result<Touched, Failure> {
        let answer = self.memory(map, MemoryCommand::Probe { at })?;
        self.expect_touched(answer)
    }

    /// Lets a child of the client touch the byte at `at`.
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

    /// The page frame number under byte `at`, which the client has touched before.
    pub fn frame(&mut self, map: Map, at: usize) -> Result<u64, Failure> {
        match self.memory(map, MemoryCommand::Frame { at })? {
            Answer::Number(frame) => Ok(frame),
            other => Err(self.party.strange(&other)),
        }
    }

    /// What `/proc/PID/maps` of the client says about a mapping.
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

    /// Unmaps.
    pub fn unmap(&mut self, map: Map) -> Result<(), Failure> {
        self.memory(map, MemoryCommand::Unmap).map(drop)
    }

    /// Starts to play a role; [`Client::finish`] waits for its end.
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

    /// Nanoseconds for `rounds` times a write and a read of `size` bytes.
    pub fn throughput(&mut self, size: usize, rounds: u32) -> Result<u64, Failure> {
        match self.party.ask_good(&Command::Throughput { size, rounds })? {
            Answer::Number(nanos) => Ok(nanos),
            other => Err(self.party.strange(&other)),
        }
    }

    /// Maps, writes to every page, unmaps; so many times.
    pub fn cycle(&mut self, offset: u64, pages: usize, times: u32) -> Result<(), Failure> {
        self.party
            .ask_good(&Command::Cycle {
                offset,
                pages,
                times,
            })
            .map(drop)
    }

    /// Touches memory that the client does not have.
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

fn shared(offset: u64, len: usize) -> MapRequest {
    MapRequest {
        offset,
        len,
        writable: true,
        shared: true,
    }
}

/// The client's side: does as told until told to quit.
fn run(mut control: Control, source: &Source<'_>) {
    let mut process = ClientProcess {
        source,
        opened: None,
        maps: Maps::default(),
    };
    while let Some(command) = control.command() {
        if matches!(command, Command::Quit) {
            return;
        }
        control.answer(&process.obey(command));
    }
}

struct ClientProcess<'f> {
    source: &'f Source<'f>,
    opened: Option<Fd>,
    maps: Maps,
}

impl ClientProcess<'_> {
    fn obey(&mut self, command: Command) -> Answer {
        match command {
            Command::Open => match self.source {
                Source::Descriptor(_) => Answer::Done,
                Source::Path(path) => {
                    let file = Fd::open(path, OpenFlags::READ | OpenFlags::WRITE);
                    Answer::of(file, |file| {
                        self.opened = Some(file);
                        Answer::Done
                    })
                }
            },
            Command::Close => {
                self.opened = None;
                Answer::Done
            }
            Command::Memory(map, command) => self.maps.act(map, command),
            Command::Segfault => {
                match Mapping::anonymous(sys::page_size(), Prot::None) {
                    // The load does not come back.
                    Ok(nothing) => Answer::Number(u64::from(nothing.load::<u8>(0))),
                    Err(error) => error.into(),
                }
            }
            with_file => {
                let file = match self.source {
                    Source::Descriptor(fd) => Some(*fd),
                    Source::Path(_) => self.opened.as_ref(),
                };
                match file {
                    None => Answer::Failed("the file is not open".into()),
                    Some(file) => obey_with_file(&mut self.maps, file, &with_file),
                }
            }
        }
    }
}

fn obey_with_file(maps: &mut Maps, file: &Fd, command: &Command) -> Answer {
    match *command {
        Command::Map(request) => maps.map(file, &request),
        Command::MapAdjacent(request) => maps.map_adjacent(file, &request),
        Command::WriteRead { offset, len, seed } => {
            let expected = pattern::bytes(seed, 0, len);
            let mut found = vec![0; len];
            let done = io_all(&expected, offset, |b, o| file.write_at(b, o))
                .and_then(|()| read_all(file, &mut found, offset));
            match done {
                Err(error) => error.into(),
                Ok(()) => Answer::checked(match pattern::difference(0, &found, &expected) {
                    None => Ok(()),
                    Some(difference) => Err(difference),
                }),
            }
        }
        Command::Throughput { size, rounds } => throughput(file, size, rounds),
        Command::Cycle {
            offset,
            pages,
            times,
        } => cycle(file, offset, pages, times),
        _ => Answer::Failed(format!("a client does not know {command:?}")),
    }
}

fn io_all(
    bytes: &[u8],
    offset: u64,
    write: impl Fn(&[u8], u64) -> sys::Result<usize>,
) -> sys::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        done += write(&bytes[done..], offset + done as u64)?;
    }
    Ok(())
}

fn read_all(file: &Fd, into: &mut [u8], offset: u64) -> sys::Result<()> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], offset + done as u64)? {
            0 => {
                return Err(sys::Error {
                    what: format!("read {} bytes at {offset:#x}: {done} came", into.len()),
                    errno: Errno::EIO,
                });
            }
            n => done += n,
        }
    }
    Ok(())
}

fn throughput(file: &Fd, size: usize, rounds: u32) -> Answer {
    let mut block = vec![0; size];
    let start = Instant::now();
    for round in 0..rounds {
        block[0] = round as u8;
        block[size - 1] = round as u8;
        let done = io_all(&block, 0, |b, o| file.write_at(b, o))
            .and_then(|()| read_all(file, &mut block, 0));
        if let Err(error) = done {
            return error.into();
        }
        if block[0] != round as u8 || block[size - 1] != round as u8 {
            return Answer::Failed(format!(
                "round {round}: the block read is not the one written"
            ));
        }
    }
    Answer::Number(start.elapsed().as_nanos() as u64)
}

fn cycle(file: &Fd, offset: u64, pages: usize, times: u32) -> Answer {
    let page = sys::page_size();
    for time in 0..times {
        let mapping = Mapping::of(file, offset, pages * page, Prot::ReadWrite, Sharing::Shared);
        let mapping = match mapping {
            Ok(mapping) => mapping,
            Err(error) => return error.into(),
        };
        for index in 0..pages {
            let found: u64 = mapping.load(index * page);
            if found != 0 {
                return Answer::Failed(format!(
                    "cycle {time}, page {index}: expected a new page of zeros, found {found:#x}"
                ));
            }
            mapping.store(
                index * page,
                pattern::word(u64::from(time), index as u64) | 1,
            );
        }
        if let Err(error) = mapping.unmap() {
            return error.into();
        }
    }
    Answer::Done
}

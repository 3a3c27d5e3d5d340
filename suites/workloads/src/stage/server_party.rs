// SPDX-License-Identifier: MIT OR Apache-2.0
//! The server of a case: a process of its own, told through a pipe what to do between requests.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use protocol::plan::Device;
use server::{Behaviour, Flow, Message, Seen, ServerError, Session};
use sys::{Errno, Fd, Instant, page_size, poll};

use crate::stage::command::{Answer, Command, Map, MemoryCommand};
use crate::stage::counters;
use crate::stage::failing::failing;
use crate::stage::failure::{Failure, expect, expect_that};
use crate::stage::maps::Maps;
use crate::stage::party::{Control, Party, answer_forked, fork_with_pipes, obey_each};
use crate::stage::pattern;
use crate::stage::process::Process;

/// How long a server waits for FUSE_MUNMAPs that are on their way: they are sent when the unmap happens, so
/// this is only there to say what is missing before the case's deadline does.
const MUNMAP_PATIENCE: Duration = Duration::from_secs(5);

/// What a server is held to from before it accepts direct mmap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Confines {
    /// It may lock so many pages, and no more by privilege.
    pub locked_pages: Option<usize>,
    /// It is in the memory cgroup with this door ([`crate::stage::group::Group::door`]).
    pub door: Option<String>,
}

impl Confines {
    /// Holds this process to them.
    fn enter(&self) -> sys::Result<()> {
        if let Some(door) = &self.door {
            // 0 is whoever writes.
            sys::write_file(door, b"0")?;
        }
        if let Some(pages) = self.locked_pages {
            sys::limit_locked_memory((pages * page_size()) as u64)?;
        }
        Ok(())
    }
}

/// The server of a case. What it does with its own mappings is what a client does: see [`Process`].
#[derive(Debug)]
pub struct Server {
    process: Process,
    /// How it answers now.
    pub behaviour: Behaviour,
    /// The file that clients open.
    pub(crate) path: String,
    counters: String,
    place: String,
    device: Device,
}

impl Deref for Server {
    type Target = Process;
    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Server {
    /// Starts a server; it serves when this returns.
    pub(crate) fn start(
        device: Device,
        name: &str,
        behaviour: Behaviour,
        confines: &Confines,
    ) -> Result<Server, Failure> {
        let place = match device {
            Device::Fuse => format!("/run/dmmap/{name}"),
            Device::Cuse => name.to_owned(),
        };
        if device == Device::Fuse && !sys::is_there(&place) {
            sys::make_dir(&place)?;
        }
        let mut party = Party::fork("server", |control| match confines.enter() {
            Ok(()) => run(control, device, &place, behaviour),
            Err(error) => control.answer(&error.into()),
        })?;
        party.hear_good()?;
        let (path, counters) = match device {
            Device::Fuse => (
                format!("{place}/{}", Session::FILE),
                counters::dir_of_mount(&place)?,
            ),
            Device::Cuse => (format!("/dev/{place}"), format!("/sys/class/cuse/{place}")),
        };
        Ok(Server {
            process: Process { party },
            behaviour,
            path,
            counters,
            place,
            device,
        })
    }

    /// Maps `pages` pages of the channel, from page ID `page_id`.
    pub fn map_pages(&mut self, page_id: u64, pages: usize) -> Result<Map, Failure> {
        let page = page_size();
        self.map(page_id * page as u64, pages * page)
    }

    /// The page ID this server gives to byte `offset` of its file.
    pub fn page_id(&self, offset: u64) -> Result<u64, Failure> {
        let id = self.behaviour.mmap.page_id(offset, page_size() as u64);
        id.ok_or_else(|| Failure::new("this server gives no page IDs"))
    }

    /// Changes how it answers.
    pub fn behave(&mut self, behaviour: Behaviour) -> Result<(), Failure> {
        self.behaviour = behaviour;
        self.process
            .party
            .ask_good(&Command::Behave(behaviour))
            .map(drop)
    }

    /// What it was asked so far.
    pub fn seen(&mut self) -> Result<Seen, Failure> {
        match self.process.party.ask_good(&Command::Seen)? {
            Answer::Seen(seen) => Ok(*seen),
            other => Err(self.process.party.strange(&other)),
        }
    }

    /// How many FUSE_MMAPs and FUSE_MUNMAPs it was sent so far.
    pub fn counted(&mut self) -> Result<(u64, u64), Failure> {
        match self.process.party.ask_good(&Command::Counted)? {
            Answer::Words(words) if words.len() == 2 => Ok((words[0], words[1])),
            other => Err(self.process.party.strange(&other)),
        }
    }

    /// What it was asked, once `count` FUSE_MUNMAPs have come in.
    pub fn await_munmaps(&mut self, count: u64) -> Result<Seen, Failure> {
        let millis = MUNMAP_PATIENCE.as_millis() as u64;
        self.process
            .party
            .ask_good(&Command::AwaitMunmaps { count, millis })?;
        let seen = self.seen()?;
        expect("FUSE_MUNMAPs the server saw", seen.munmaps, count)?;
        Ok(seen)
    }

    /// Writes `len` bytes of the pattern of `seed` from byte `at` of page `page_id`, without mapping it; the error number
    /// where the kernel refuses.
    pub fn load_pages(
        &mut self,
        page_id: u64,
        at: usize,
        len: usize,
        seed: u64,
    ) -> Result<Result<(), Errno>, Failure> {
        self.process.party.try_done(&Command::LoadPages {
            page_id,
            at,
            len,
            seed,
        })
    }

    /// Reads up to `len` bytes from byte `at` of page `page_id`, which have to be of the pattern of `seed`, without mapping
    /// it; how many there were, or the error number where the kernel refuses.
    pub fn save_pages(
        &mut self,
        page_id: u64,
        at: usize,
        len: usize,
        seed: u64,
    ) -> Result<Result<usize, Errno>, Failure> {
        let command = Command::SavePages {
            page_id,
            at,
            len,
            seed,
        };
        match self.process.party.ask(&command)? {
            Answer::Number(came) => Ok(Ok(came as usize)),
            Answer::Refused { errno, .. } => Ok(Err(Errno::from_raw(errno))),
            other => Err(Failure::new(format!("the server: {}", other.describe()))),
        }
    }

    /// Writes `len` bytes of the pattern of `first` from byte `at` of page `page_id` without mapping it and reads them so,
    /// having verified them in `map`, which shows the page; then fills `map` with the pattern of `second`, which it reads
    /// without mapping. No other process runs in between.
    pub fn load_and_save(
        &mut self,
        (page_id, map): (u64, Map),
        at: usize,
        len: usize,
        (first, second): (u64, u64),
    ) -> Result<(), Failure> {
        let memory = |command| Command::Memory(map, command);
        let save = |seed| Command::SavePages {
            page_id,
            at,
            len,
            seed,
        };
        let commands = vec![
            Command::LoadPages {
                page_id,
                at,
                len,
                seed: first,
            },
            memory(MemoryCommand::Verify {
                at,
                len,
                seed: first,
            }),
            save(first),
            memory(MemoryCommand::Fill {
                at,
                len,
                seed: second,
            }),
            save(second),
        ];
        let done = Answer::Done;
        let saved = Answer::Number(len as u64);
        let expected = [&done, &done, &saved, &done, &saved];
        let answers = self.process.party.ask_at_once(commands)?;
        expect_that(answers.iter().eq(expected), || {
            format!("the server answered {answers:?}")
        })
    }

    /// Reads the word of 8 bytes at byte `at` of each of `pages` pages, without mapping them; those that came, or the
    /// error number where the kernel refuses.
    pub fn save_words(
        &mut self,
        page_id: u64,
        at: usize,
        pages: usize,
    ) -> Result<Result<Vec<u64>, Errno>, Failure> {
        let command = Command::SaveWords { page_id, at, pages };
        match self.process.party.ask(&command)? {
            Answer::Words(words) => Ok(Ok(words)),
            Answer::Refused { errno, .. } => Ok(Err(Errno::from_raw(errno))),
            other => Err(Failure::new(format!("the server: {}", other.describe()))),
        }
    }

    /// Lets go of pages; the error number where the kernel refuses.
    pub fn free_pages(&mut self, page_id: u64, count: u64) -> Result<Result<(), Errno>, Failure> {
        self.process
            .party
            .try_done(&Command::FreePages { page_id, count })
    }

    /// Sends a notification; the error number where the kernel refuses.
    pub fn notify(&mut self, code: i32, body: Vec<u8>) -> Result<Result<(), Errno>, Failure> {
        self.write(Message::notification(code, &body))
    }

    /// Writes a message, right or wrong; the error number where the kernel refuses.
    pub fn write(&mut self, message: Message) -> Result<Result<(), Errno>, Failure> {
        let said = self.write_all(vec![message])?;
        Ok(said[0])
    }

    /// Writes messages and reads nothing before all are written; what the kernel says to each.
    pub fn write_all(&mut self, messages: Vec<Message>) -> Result<Vec<Result<(), Errno>>, Failure> {
        match self.process.party.ask_good(&Command::Write(messages))? {
            Answer::Errnos(errnos) => Ok(errnos.into_iter().map(said).collect()),
            other => Err(self.process.party.strange(&other)),
        }
    }

    /// Closes the channel; what is mapped stays.
    pub fn close_channel(&mut self) -> Result<(), Failure> {
        self.process
            .party
            .ask_good(&Command::CloseChannel)
            .map(drop)
    }

    /// Forks: another process has the channel, and what was mapped and held. It does not listen until it is told how to
    /// behave.
    pub fn fork(&mut self, name: &str) -> Result<Server, Failure> {
        Ok(Server {
            process: self.process.fork(name)?,
            behaviour: self.behaviour,
            path: self.path.clone(),
            counters: self.counters.clone(),
            place: self.place.clone(),
            device: self.device,
        })
    }

    /// Ends the connection: what echo 1 > abort does.
    pub fn abort(&self) -> Result<(), Failure> {
        Ok(sys::write_file(&format!("{}/abort", self.counters), b"1")?)
    }

    /// What its file is called: in its directory, or in /dev.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// A filesystem or a device.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Gives up root.
    pub fn become_nobody(&mut self) -> Result<(), Failure> {
        self.process
            .party
            .ask_good(&Command::BecomeNobody)
            .map(drop)
    }

    /// Direct-mapped pages of its connection that exist now.
    pub fn pages(&self) -> Result<u64, Failure> {
        self.counter("pages")
    }

    /// A counter of its connection: `pages`, `maps`, `faults`, `reclaimed` or `refused`.
    pub fn counter(&self, name: &str) -> Result<u64, Failure> {
        counters::read(&format!("{}/dmmap_{name}", self.counters))
    }

    /// What a client stores at the start of `map`, which shows the start of its file, is what the server loads there; `what`
    /// is expected.
    pub(crate) fn expect_store(
        &mut self,
        what: &str,
        client: &mut Process,
        map: Map,
        word: u64,
    ) -> Result<(), Failure> {
        let here = self.map_pages(self.page_id(0)?, 1)?;
        client.store(map, 0, word)?;
        expect(what, self.load(here, 0)?, word)?;
        self.unmap(here)
    }

    /// How long it takes to write and to read `size` bytes by page ID, `rounds` times, from the page at its file's start on.
    pub fn time_by_id(&mut self, size: usize, rounds: u32) -> Result<[Duration; 2], Failure> {
        let page_id = self.page_id(0)?;
        self.process.time(&Command::TimeById {
            page_id,
            size,
            rounds,
        })
    }

    /// Lets the server end by itself, its filesystem unmounted before.
    pub fn quit(mut self) -> Result<(), Failure> {
        if self.device == Device::Fuse {
            sys::unmount(&self.place)?;
        }
        self.process.party.quit()
    }

    /// Kills the process, and waits until it is gone. A mount stays until the case is over.
    pub fn kill(mut self) -> Result<(), Failure> {
        self.process.party.kill()
    }
}

/// The server's side.
fn run(mut control: Control, device: Device, place: &str, behaviour: Behaviour) {
    let session = match device {
        Device::Fuse => Session::mount(place, behaviour),
        Device::Cuse => Session::create(place, behaviour),
    };
    let mut session = match session {
        Ok(session) => session,
        Err(error) => return control.answer(&Answer::Failed(error.to_string())),
    };
    control.answer(&Answer::Done);
    serve(&mut control, &mut session, &mut ServerMemory::default());
}

/// What a server has beside its session.
#[derive(Default)]
struct ServerMemory {
    maps: Maps,
    /// The pipes of the process it forked last, open for the case to find them.
    pipes: Option<(Fd, Fd)>,
}

fn serve(control: &mut Control, session: &mut Session, memory: &mut ServerMemory) {
    let commands = control.fd();
    let served = session.serve::<ServerError>(&commands, &mut |session| match control.command() {
        None | Some(Command::Quit) => Ok(Flow::Stop),
        Some(Command::Fork { name }) => {
            let answer = fork(control, session, memory, &name);
            control.answer(&answer);
            Ok(Flow::On)
        }
        Some(command) => {
            let answer = obey(session, &mut memory.maps, command)?;
            control.answer(&answer);
            Ok(Flow::On)
        }
    });
    if let Err(error) = served {
        control.answer(&Answer::Failed(format!("the server gave up: {error}")));
        sys::exit(1);
    }
}

fn fork(
    control: &mut Control,
    session: &mut Session,
    memory: &mut ServerMemory,
    name: &str,
) -> Answer {
    let forked = fork_with_pipes(name, |own| {
        // As with a client's child: the pipes of its parent are not its own.
        *control = own;
        session.behaviour.deaf = true;
        serve(control, session, memory);
    });
    answer_forked(forked, &mut memory.pipes)
}

/// What the kernel said: 0 or an error number of this machine.
fn said(errno: i32) -> Result<(), Errno> {
    match errno {
        0 => Ok(()),
        errno => Err(Errno::from_raw(errno)),
    }
}

fn obey(session: &mut Session, maps: &mut Maps, command: Command) -> Result<Answer, ServerError> {
    Ok(match command {
        Command::Map(request) => maps.map(session.channel(), &request),
        Command::MapAdjacent(request) => maps.map_adjacent(session.channel(), &request),
        Command::MapAt {
            request,
            residue,
            period,
        } => maps.map_at(session.channel(), &request, residue, period),
        Command::Memory(map, command) => maps.act(map, command),
        Command::Behave(behaviour) => answer_of(session.behave(behaviour), |()| Answer::Done)?,
        Command::Failing { nth, command } => {
            let mut done = None;
            let answer = failing(nth, || match obey(session, maps, *command) {
                Ok(answer) => answer,
                Err(error) => {
                    done = Some(error);
                    Answer::Done
                }
            });
            done.map_or(Ok(answer), Err)?
        }
        Command::AtOnce(commands) => obey_each(commands, |command| obey(session, maps, command))?,
        Command::Seen => Answer::Seen(Box::new(session.seen.clone())),
        Command::Counted => Answer::Words(vec![session.seen.mmaps, session.seen.munmaps]),
        Command::AwaitMunmaps { count, millis } => await_munmaps(session, count, millis)?,
        Command::LoadPages {
            page_id,
            at,
            len,
            seed,
        } => {
            let bytes = pattern::bytes(seed, at, len);
            Answer::of(session.load(page_id, at as u32, &bytes), |()| Answer::Done)
        }
        Command::SavePages {
            page_id,
            at,
            len,
            seed,
        } => {
            let saved = session.save(page_id, at as u32, len as u32);
            answer_of(saved, |found| {
                let expected = pattern::bytes(seed, at, found.len());
                match pattern::difference(at, &found, &expected) {
                    None => Answer::Number(found.len() as u64),
                    Some(difference) => Answer::Failed(difference),
                }
            })?
        }
        Command::TimeById {
            page_id,
            size,
            rounds,
        } => time_by_id(session, page_id, size, rounds)?,
        Command::SaveWords { page_id, at, pages } => {
            let len = (pages - 1) * page_size() + 8;
            let saved = session.save(page_id, at as u32, len as u32);
            answer_of(saved, |found| Answer::Words(words(&found)))?
        }
        Command::FreePages { page_id, count } => {
            Answer::of(session.free(page_id, count), |()| Answer::Done)
        }
        Command::Write(messages) => {
            let say = |message| {
                session
                    .write(message)
                    .map_or_else(|error| error.errno.raw(), |()| 0)
            };
            Answer::Errnos(messages.iter().map(say).collect())
        }
        Command::CloseChannel => {
            session.close();
            Answer::Done
        }
        Command::BecomeNobody => Answer::of(sys::become_nobody(), |()| Answer::Done),
        _ => Answer::Failed(format!("a server does not know {command:?}")),
    })
}

/// What came of something: that the system refused it is an answer, anything else is the server's end.
fn answer_of<T>(
    done: Result<T, ServerError>,
    ok: impl FnOnce(T) -> Answer,
) -> Result<Answer, ServerError> {
    match done {
        Ok(value) => Ok(ok(value)),
        Err(ServerError::Sys(error)) => Ok(error.into()),
        Err(other) => Err(other),
    }
}

/// Nanoseconds for all writes, and for all reads.
fn time_by_id(
    session: &mut Session,
    page_id: u64,
    size: usize,
    rounds: u32,
) -> Result<Answer, ServerError> {
    let (mut loads, mut saves) = (Duration::ZERO, Duration::ZERO);
    let bytes = vec![1; size];
    for _ in 0..rounds {
        let start = Instant::now();
        session.load(page_id, 0, &bytes)?;
        loads += start.elapsed();
        let start = Instant::now();
        let came = session.save(page_id, 0, size as u32)?.len();
        saves += start.elapsed();
        if came != size {
            return Ok(Answer::Failed(format!("{came} of {size} bytes were read")));
        }
    }
    Ok(Answer::nanos(loads, saves))
}

/// The first 8 bytes of every page's length of bytes, as numbers of this machine.
fn words(bytes: &[u8]) -> Vec<u64> {
    let words = bytes
        .chunks(page_size())
        .filter_map(|page| page.first_chunk());
    words
        .map(|word| match sys::big_endian() {
            true => u64::from_be_bytes(*word),
            false => u64::from_le_bytes(*word),
        })
        .collect()
}

fn await_munmaps(session: &mut Session, count: u64, millis: u64) -> Result<Answer, ServerError> {
    let patience = Duration::from_millis(millis);
    let start = Instant::now();
    while session.seen.munmaps < count {
        let Some(left) = patience.checked_sub(start.elapsed()) else {
            let found = session.seen.munmaps;
            return Ok(Answer::Failed(format!(
                "expected {count} FUSE_MUNMAPs, found {found} after {millis} ms"
            )));
        };
        if poll(&[session.channel()], Some(left))?[0].any() && !session.step()? {
            return Ok(Answer::Failed("the connection has ended".into()));
        }
    }
    Ok(Answer::Done)
}

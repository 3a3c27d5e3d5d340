// SPDX-License-Identifier: MIT OR Apache-2.0
//! The client process: opens and maps the file, and executes the commands of the case.

use std::convert::Infallible;
use std::sync::Mutex;
use std::time::Duration;

use sys::{
    Advice, Errno, ExitStatus, Fd, ForkResult, Instant, KillTarget, Mapping, OpenFlags, Pid, Prot,
    Sharing, Signal,
};

use crate::stage::command::{Answer, ClientCommand, Command, Direction, MapRequest, Transfer};
use crate::stage::crowd::Crowd;
use crate::stage::failing::failing;
use crate::stage::maps::Maps;
use crate::stage::party::{Control, execute_batch, fork_answer, fork_with_pipes, thread_pipes};
use crate::stage::pattern;

type ClientControl = Control<ClientCommand>;

/// File that a client maps.
pub(crate) enum Source<'f> {
    /// Path of a file, which the client opens on command.
    Path(String),
    /// Open descriptor of the case.
    Descriptor(&'f Fd),
}

/// Arguments with which this program maps nothing and waits: the process of a case reads its plan from descriptor 0
/// until the end of the file.
const WAITING: &[&str] = &["/init", "case"];

/// Executes commands until [`Command::Quit`] or the end of the case.
pub(super) fn run(mut control: ClientControl, source: &Source<'_>) {
    let mut process = ClientProcess {
        source,
        opened: None,
        maps: Maps::default(),
        crowd: Crowd::default(),
        pipes: None,
    };
    process.serve(&mut control);
}

struct ClientProcess<'f> {
    source: &'f Source<'f>,
    opened: Option<Fd>,
    maps: Maps,
    crowd: Crowd,
    /// Pipes to the process that it forked last, kept open until the case has opened them.
    pipes: Option<(Fd, Fd)>,
}

impl ClientProcess<'_> {
    fn serve(&mut self, control: &mut ClientControl) {
        while let Some(command) = control.command() {
            if matches!(command, Command::Quit) {
                return;
            }
            let answer = self.execute(control, command);
            control.answer(&answer);
        }
    }

    fn open(&mut self, flags: OpenFlags) -> Answer {
        match self.source {
            Source::Descriptor(_) => Answer::Done,
            Source::Path(path) => Answer::of(Fd::open(path, flags), |file| {
                self.opened = Some(file);
                Answer::Done
            }),
        }
    }

    fn fork(&mut self, control: &mut ClientControl, name: &str) -> Answer {
        let forked = fork_with_pipes(name, |own| {
            // Drops the pipes of the parent. The case interprets the end of a pipe as the end of the process.
            *control = own;
            self.serve(control);
        });
        fork_answer(forked, &mut self.pipes)
    }

    fn execute(&mut self, control: &mut ClientControl, command: Command<ClientCommand>) -> Answer {
        match command {
            Command::Memory(command) => {
                let (source, opened) = (self.source, self.opened.as_ref());
                self.maps.execute(|| file(source, opened), command)
            }
            Command::Own(command) => self.execute_own(control, command),
            Command::Fork { name } => self.fork(control, &name),
            Command::Failing { nth, command } => failing(nth, || self.execute(control, *command)),
            Command::Batch(commands) => {
                let answer = execute_batch(commands, |command| Ok(self.execute(control, command)));
                answer.unwrap_or_else(|never: Infallible| match never {})
            }
            Command::Quit => Answer::Failed("a client cannot quit within another command".into()),
        }
    }

    fn execute_own(&mut self, control: &ClientControl, command: ClientCommand) -> Answer {
        match command {
            ClientCommand::Open => self.open(OpenFlags::READ | OpenFlags::WRITE),
            ClientCommand::OpenReadonly => self.open(OpenFlags::READ),
            ClientCommand::OpenPath { path } => {
                Answer::of(Fd::open(&path, OpenFlags::READ | OpenFlags::WRITE), |file| {
                    self.opened = Some(file);
                    Answer::Done
                })
            }
            ClientCommand::Close => {
                self.opened = None;
                Answer::Done
            }
            ClientCommand::Exec => Answer::done(control.exec(WAITING)),
            ClientCommand::Segfault => match Mapping::anonymous(sys::page_size(), Prot::None) {
                // The load does not return.
                Ok(mapping) => Answer::Number(u64::from(mapping.load::<u8>(0))),
                Err(error) => error.into(),
            },
            ClientCommand::WriteRead { offset, len, seed } => {
                self.with_file(|_, file| write_read(file, offset, len, seed))
            }
            ClientCommand::ReadFile { offset, len, seed } => {
                self.with_file(|_, file| compare_read(file, offset, len, seed))
            }
            ClientCommand::ReadPath { path } => {
                Answer::of(sys::read_file(&path), |bytes| Answer::Number(bytes.len() as u64))
            }
            ClientCommand::ReadMemory { pid, at, len } => {
                Answer::done(sys::read_memory(Pid(pid), at, &mut vec![0; len]))
            }
            ClientCommand::MapBesideThread { name, request } => {
                self.map_beside_thread(control, &name, &request).unwrap_or_else(|answer| answer)
            }
            ClientCommand::UseMemory => Answer::done(use_memory()),
            ClientCommand::MergeMemory => Answer::of(mergeable_memory(), |memory| {
                self.maps.keep(memory);
                Answer::Done
            }),
            ClientCommand::Throughput { size, rounds } => {
                self.with_file(|_, file| throughput(file, size, rounds))
            }
            ClientCommand::Cycle { offset, pages, times, die } => {
                self.with_file(|_, file| cycle(file, offset, pages, times, die))
            }
            ClientCommand::Crowd(command) => {
                self.crowd.execute(file(self.source, self.opened.as_ref()), command)
            }
            ClientCommand::Rounds { offset, millis, work } => self.with_file(|_, file| {
                rounds(file, offset, Duration::from_millis(millis), Duration::from_nanos(work))
            }),
            ClientCommand::TimeSyncs { times } => self.with_file(|_, file| {
                Ok(Answer::time_of(|| Ok((0..times).try_for_each(|_| file.sync())?)))
            }),
            ClientCommand::TimeBlocks { direction, size, count } => {
                self.with_file(|_, file| Ok(time_blocks(file, direction, size, count)))
            }
            ClientCommand::Transfer(transfer) => {
                self.with_file(|maps, file| transfer_bytes(maps, file, transfer))
            }
        }
    }

    /// Maps the file in this thread, while another thread executes commands.
    fn map_beside_thread(
        &mut self,
        control: &ClientControl,
        name: &str,
        request: &MapRequest,
    ) -> Result<Answer, Answer> {
        let (offset, len) = (request.offset, request.len);
        let file = file(self.source, self.opened.as_ref());
        let file = file.ok_or_else(|| Answer::Failed("the file is not open".into()))?;
        let ((to, from), thread) = thread_pipes()?;
        let pid = sys::own_pid().0;
        control.answer(&Answer::Forked { pid, to: to.number(), from: from.number() });
        let (thread, mapped) = (Mutex::new(Some(thread)), Mutex::new(None));
        sys::run_threads(2, &|index| {
            if index == 0 {
                let mapping = Mapping::of(file, offset, len, request.prot, request.sharing);
                *mapped.lock().expect("no thread panics") = Some(mapping);
            } else if let Some(thread) = thread.lock().expect("no thread panics").take() {
                sys::name_process(name);
                run(thread.into_control(), &Source::Descriptor(file));
            }
        })?;
        let mapped = mapped.into_inner().expect("no thread panics");
        let mapping = mapped.expect("the first thread has mapped the file")?;
        Ok(Answer::Map(self.maps.keep(mapping)))
    }

    /// Calls `act` with the file, which must be open.
    fn with_file(&self, act: impl FnOnce(&Maps, &Fd) -> Result<Answer, Answer>) -> Answer {
        let Some(file) = file(self.source, self.opened.as_ref()) else {
            return Answer::Failed("the file is not open".into());
        };
        act(&self.maps, file).unwrap_or_else(|answer| answer)
    }
}

/// Returns the file that the client maps, if it is open.
fn file<'f>(source: &'f Source<'_>, opened: Option<&'f Fd>) -> Option<&'f Fd> {
    match source {
        Source::Descriptor(fd) => Some(fd),
        Source::Path(_) => opened,
    }
}

fn transfer_bytes(maps: &Maps, file: &Fd, transfer: Transfer) -> Result<Answer, Answer> {
    let (at, len, offset) = (transfer.at, transfer.len, transfer.offset);
    let memory = maps.get(transfer.map)?;
    match transfer.direction {
        Direction::ToFile => memory.write_to(at, len, file, Some(offset))?,
        Direction::FromFile => memory.read_from(at, len, file, Some(offset))?,
    }
    Ok(Answer::Done)
}

/// Writes a pattern with write(2), and compares it with the bytes that read(2) returns.
fn write_read(file: &Fd, offset: u64, len: usize, seed: u64) -> Result<Answer, Answer> {
    let expected = pattern::bytes(seed, 0, len);
    let mut found = vec![0; len];
    write_all(file, &expected, offset)?;
    read_all(file, &mut found, offset)?;
    Ok(Answer::compared(pattern::difference(0, &found, &expected)))
}

/// Compares the bytes that read(2) returns with a pattern.
fn compare_read(file: &Fd, offset: u64, len: usize, seed: u64) -> Result<Answer, Answer> {
    let mut found = vec![0; len];
    read_all(file, &mut found, offset)?;
    Ok(Answer::compared(pattern::difference(0, &found, &pattern::bytes(seed, 0, len))))
}

/// Maps eight equal pages that the kernel may merge.
fn mergeable_memory() -> sys::Result<Mapping> {
    let len = 8 * sys::page_size();
    let memory = Mapping::anonymous(len, Prot::ReadWrite)?;
    memory.copy_in(0, &vec![7; len]);
    memory.advise(Advice::Mergeable)?;
    Ok(memory)
}

/// Maps, touches, protects and unmaps two pages.
fn use_memory() -> sys::Result<()> {
    let page = sys::page_size();
    let memory = Mapping::anonymous(2 * page, Prot::ReadWrite)?;
    memory.store(0, 1u64);
    memory.protect(Prot::Read)?;
    memory.load::<u64>(page);
    memory.advise(Advice::DontNeed)?;
    memory.unmap()
}

fn write_all(file: &Fd, bytes: &[u8], offset: u64) -> sys::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        done += file.write_at(&bytes[done..], offset + done as u64)?;
    }
    Ok(())
}

fn read_all(file: &Fd, into: &mut [u8], offset: u64) -> sys::Result<()> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], offset + done as u64)? {
            0 => {
                return Err(sys::Error {
                    what: format!("read {} bytes at {offset:#x}: got {done}", into.len()),
                    errno: Errno::EIO,
                });
            }
            n => done += n,
        }
    }
    Ok(())
}

fn rounds(file: &Fd, offset: u64, time: Duration, work: Duration) -> Result<Answer, Answer> {
    let (mut rounds, mut longest) = (0u64, Duration::ZERO);
    let start = Instant::now();
    while rounds == 0 || start.elapsed() < time {
        let start = Instant::now();
        let map = Mapping::of(file, offset, sys::page_size(), Prot::ReadWrite, Sharing::Shared)?;
        map.store::<u32>(0, 1);
        map.unmap()?;
        let end = start.elapsed() + work;
        while start.elapsed() < end {
            std::hint::spin_loop();
        }
        longest = longest.max(start.elapsed());
        rounds += 1;
    }
    let [all, longest] = [start.elapsed(), longest].map(|time| time.as_nanos() as u64);
    Ok(Answer::Words(vec![rounds, all, longest]))
}

fn time_blocks(file: &Fd, direction: Direction, size: usize, count: usize) -> Answer {
    let mut block = vec![1; size];
    let mut offsets = (0..count).map(|index| (index * size) as u64);
    Answer::time_of(|| {
        Ok(offsets.try_for_each(|offset| match direction {
            Direction::ToFile => write_all(file, &block, offset),
            Direction::FromFile => read_all(file, &mut block, offset),
        })?)
    })
}

fn throughput(file: &Fd, size: usize, rounds: u32) -> Result<Answer, Answer> {
    let mut block = vec![0; size];
    let (mut writes, mut reads) = (Duration::ZERO, Duration::ZERO);
    for round in 0..rounds {
        block[0] = round as u8;
        block[size - 1] = round as u8;
        let start = Instant::now();
        write_all(file, &block, 0)?;
        writes += start.elapsed();
        let start = Instant::now();
        read_all(file, &mut block, 0)?;
        reads += start.elapsed();
        if block[0] != round as u8 || block[size - 1] != round as u8 {
            return Err(Answer::Failed(format!(
                "round {round}: the block that was read differs from the block that was written"
            )));
        }
    }
    Ok(Answer::nanos(writes, reads))
}

fn cycle(file: &Fd, offset: u64, pages: usize, times: u32, die: bool) -> Result<Answer, Answer> {
    for time in 0..times {
        match die {
            false => map_and_touch(file, offset, pages, time)?.unmap()?,
            true => touch_and_die(file, offset, pages, time)?,
        }
    }
    Ok(Answer::Done)
}

/// Maps new pages, and writes to each.
fn map_and_touch(file: &Fd, offset: u64, pages: usize, time: u32) -> Result<Mapping, Answer> {
    let page = sys::page_size();
    let mapping = Mapping::of(file, offset, pages * page, Prot::ReadWrite, Sharing::Shared)?;
    for index in 0..pages {
        let found: u64 = mapping.load(index * page);
        if found != 0 {
            return Err(Answer::Failed(format!(
                "cycle {time}, page {index}: expected a new page of zeros, found {found:#x}"
            )));
        }
        mapping.store(index * page, pattern::word(u64::from(time), index as u64) | 1);
    }
    Ok(mapping)
}

/// Has a child map new pages, write to each, and kill itself without unmapping.
fn touch_and_die(file: &Fd, offset: u64, pages: usize, time: u32) -> Result<(), Answer> {
    let ForkResult::Parent(child) = sys::fork()? else {
        if let Err(answer) = map_and_touch(file, offset, pages, time) {
            let _ = sys::print_line(&answer.describe());
            sys::exit(1);
        }
        let _ = sys::kill(KillTarget::Process(sys::own_pid()), Signal::Kill);
        sys::exit(2)
    };
    match sys::wait(child)? {
        ExitStatus::Signal(Signal::Kill) => Ok(()),
        other => Err(Answer::Failed(format!("cycle {time}: a child {other}"))),
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client's own side: opens the file, maps it, and does as it is told.

use std::convert::Infallible;
use std::time::Duration;

use sys::{Ended, Errno, Fd, Forked, Instant, Mapping, OpenFlags, Prot, Sharing, Signal, Target};

use crate::stage::command::{Answer, Command};
use crate::stage::failing::failing;
use crate::stage::maps::Maps;
use crate::stage::party::{Control, answer_forked, fork_with_pipes, obey_each};
use crate::stage::pattern;

/// What a client maps.
pub(crate) enum Source<'f> {
    /// The file at this path, opened when the case says so.
    Path(String),
    /// A descriptor that the case already has.
    Descriptor(&'f Fd),
}

/// What starts this program anew as one that has nothing mapped, and waits: the process of a case reads what to do from
/// descriptor 0 up to its end.
const WAITING: &[&str] = &["/init", "case"];

/// Does as told until told to quit.
pub(crate) fn run(mut control: Control, source: &Source<'_>) {
    let mut process = ClientProcess {
        source,
        opened: None,
        maps: Maps::default(),
        pipes: None,
    };
    process.serve(&mut control);
}

struct ClientProcess<'f> {
    source: &'f Source<'f>,
    opened: Option<Fd>,
    maps: Maps,
    /// The pipes of the process it forked last, open for the case to find them.
    pipes: Option<(Fd, Fd)>,
}

impl ClientProcess<'_> {
    fn serve(&mut self, control: &mut Control) {
        while let Some(command) = control.command() {
            if matches!(command, Command::Quit) {
                return;
            }
            let answer = self.obey(control, command);
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

    fn fork(&mut self, control: &mut Control, name: &str) -> Answer {
        let forked = fork_with_pipes(name, |own| {
            // The end of a pipe tells the end of a process: this one must not keep those of its parent open.
            *control = own;
            self.serve(control);
        });
        answer_forked(forked, &mut self.pipes)
    }

    fn obey(&mut self, control: &mut Control, command: Command) -> Answer {
        match command {
            Command::Open => self.open(OpenFlags::READ | OpenFlags::WRITE),
            Command::OpenReadonly => self.open(OpenFlags::READ),
            Command::Fork { name } => self.fork(control, &name),
            Command::Exec => Answer::of(control.exec(WAITING), |()| Answer::Done),
            Command::Close => {
                self.opened = None;
                Answer::Done
            }
            Command::Memory(map, command) => self.maps.act(map, command),
            Command::Failing { nth, command } => failing(nth, || self.obey(control, *command)),
            Command::AtOnce(commands) => {
                let obeyed = obey_each(commands, |command| Ok(self.obey(control, command)));
                obeyed.unwrap_or_else(|never: Infallible| match never {})
            }
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
        Command::MapAt {
            request,
            residue,
            period,
        } => maps.map_at(file, &request, residue, period),
        Command::MapOver(map, request) => maps.map_over(file, map, &request),
        Command::WriteMapped {
            map,
            at,
            len,
            offset,
        } => match maps.get(map) {
            Ok(memory) => Answer::of(memory.write_to(at, len, file, Some(offset)), |()| {
                Answer::Done
            }),
            Err(answer) => answer,
        },
        Command::ReadMapped {
            map,
            at,
            len,
            offset,
        } => match maps.get(map) {
            Ok(memory) => Answer::of(memory.read_from(at, len, file, Some(offset)), |()| {
                Answer::Done
            }),
            Err(answer) => answer,
        },
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
            die,
        } => cycle(file, offset, pages, times, die),
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
    let (mut writes, mut reads) = (Duration::ZERO, Duration::ZERO);
    for round in 0..rounds {
        block[0] = round as u8;
        block[size - 1] = round as u8;
        let start = Instant::now();
        if let Err(error) = io_all(&block, 0, |b, o| file.write_at(b, o)) {
            return error.into();
        }
        writes += start.elapsed();
        let start = Instant::now();
        if let Err(error) = read_all(file, &mut block, 0) {
            return error.into();
        }
        reads += start.elapsed();
        if block[0] != round as u8 || block[size - 1] != round as u8 {
            return Answer::Failed(format!(
                "round {round}: the block read is not the one written"
            ));
        }
    }
    Answer::nanos(writes, reads)
}

fn cycle(file: &Fd, offset: u64, pages: usize, times: u32, die: bool) -> Answer {
    for time in 0..times {
        let answer = match die {
            false => map_and_touch(file, offset, pages, time)
                .and_then(|mapping| mapping.unmap().map_err(Answer::from)),
            true => touch_and_die(file, offset, pages, time),
        };
        if let Err(answer) = answer {
            return answer;
        }
    }
    Answer::Done
}

/// Maps new pages and writes to them.
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
        mapping.store(
            index * page,
            pattern::word(u64::from(time), index as u64) | 1,
        );
    }
    Ok(mapping)
}

/// A child does so, and kills itself with everything mapped.
fn touch_and_die(file: &Fd, offset: u64, pages: usize, time: u32) -> Result<(), Answer> {
    let Forked::Parent(child) = sys::fork()? else {
        if let Err(answer) = map_and_touch(file, offset, pages, time) {
            let _ = sys::print_line(&answer.describe());
            sys::exit(1);
        }
        let _ = sys::kill(Target::Process(sys::own_pid()), Signal::Kill);
        sys::exit(2)
    };
    match sys::wait(child)? {
        Ended::Signal(Signal::Kill) => Ok(()),
        other => Err(Answer::Failed(format!("cycle {time}: a child {other}"))),
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The server process: answers requests, and executes the commands of the case between them.

use std::time::Duration;

use server::{Behaviour, Flow, ServerError, Session};
use sys::{Fd, Instant, page_size};

use crate::stage::command::{Answer, Command, Direction, ServerCommand};
use crate::stage::failing::failing;
use crate::stage::maps::Maps;
use crate::stage::party::{Control, execute_batch, fork_answer, fork_with_pipes};
use crate::stage::pattern;
use crate::stage::place::Place;
use crate::stage::server::Limits;

type ServerControl = Control<ServerCommand>;

/// Applies the limits, creates the filesystem or device, answers [`Answer::Done`], and serves until [`Command::Quit`].
pub(super) fn run(
    mut control: ServerControl,
    place: &Place,
    behaviour: Behaviour,
    limits: &Limits,
) {
    if let Err(error) = limits.apply() {
        return control.answer(&error.into());
    }
    let mut session = match place.serve(behaviour) {
        Ok(session) => session,
        Err(error) => return control.answer(&Answer::Failed(error.to_string())),
    };
    control.answer(&Answer::Done);
    serve(&mut control, &mut session, &mut ServerMemory::default());
}

/// State of a server apart from its session.
#[derive(Default)]
struct ServerMemory {
    maps: Maps,
    /// Pipes to the process that it forked last, kept open until the case has opened them.
    pipes: Option<(Fd, Fd)>,
}

fn serve(control: &mut ServerControl, session: &mut Session, memory: &mut ServerMemory) {
    let commands = control.fd();
    let served = session.serve::<ServerError>(&commands, &mut |session| match control.command() {
        None | Some(Command::Quit) => Ok(Flow::Stop),
        Some(Command::Fork { name }) => {
            let answer = fork(control, session, memory, &name);
            control.answer(&answer);
            Ok(Flow::Continue)
        }
        Some(command) => {
            let answer = execute(session, &mut memory.maps, command)?;
            control.answer(&answer);
            Ok(Flow::Continue)
        }
    });
    if let Err(error) = served {
        control.answer(&Answer::Failed(format!("the server stopped: {error}")));
        sys::exit(1);
    }
}

fn fork(
    control: &mut ServerControl,
    session: &mut Session,
    memory: &mut ServerMemory,
    name: &str,
) -> Answer {
    let forked = fork_with_pipes(name, |own| {
        // Drops the pipes of the parent, as a client's child does.
        *control = own;
        session.behaviour.reads_nothing = true;
        serve(control, session, memory);
    });
    fork_answer(forked, &mut memory.pipes)
}

fn execute(
    session: &mut Session,
    maps: &mut Maps,
    command: Command<ServerCommand>,
) -> Result<Answer, ServerError> {
    match command {
        Command::Memory(command) => Ok(maps.execute(|| Some(session.channel()), command)),
        Command::Own(command) => execute_own(session, command),
        Command::Failing { nth, command } => {
            let mut fatal = None;
            let answer = failing(nth, || match execute(session, maps, *command) {
                Ok(answer) => answer,
                Err(error) => {
                    fatal = Some(error);
                    Answer::Done
                }
            });
            fatal.map_or(Ok(answer), Err)
        }
        Command::Batch(commands) => {
            execute_batch(commands, |command| execute(session, maps, command))
        }
        Command::Fork { .. } | Command::Quit => {
            Ok(Answer::Failed("a server cannot fork or quit within another command".into()))
        }
    }
}

fn execute_own(session: &mut Session, command: ServerCommand) -> Result<Answer, ServerError> {
    match command {
        ServerCommand::Behave(behaviour) => {
            answer_of(session.set_behaviour(behaviour), |()| Answer::Done)
        }
        ServerCommand::RequestLog => Ok(Answer::RequestLog(Box::new(session.log.clone()))),
        ServerCommand::CountMaps => Ok(Answer::Words(vec![session.log.mmaps, session.log.munmaps])),
        ServerCommand::AwaitMunmaps { count, millis } => await_munmaps(session, count, millis),
        ServerCommand::LoadPages(to) => {
            let bytes = pattern::bytes(to.seed, to.at, to.len);
            Ok(Answer::done(session.load(to.page_id, to.at as u32, &bytes)))
        }
        ServerCommand::SavePages(from) => {
            let saved = session.save(from.page_id, from.at as u32, from.len as u32);
            answer_of(saved, |found| {
                let expected = pattern::bytes(from.seed, from.at, found.len());
                match pattern::difference(from.at, &found, &expected) {
                    None => Answer::Number(found.len() as u64),
                    Some(difference) => Answer::Failed(difference),
                }
            })
        }
        ServerCommand::TimeById { page_id, size, rounds } => {
            time_by_id(session, page_id, size, rounds)
        }
        ServerCommand::SaveWords { page_id, at, pages } => {
            let len = (pages - 1) * page_size() + 8;
            let saved = session.save(page_id, at as u32, len as u32);
            answer_of(saved, |found| Answer::Words(words(&found)))
        }
        ServerCommand::FreePages { page_id, count } => {
            Ok(Answer::done(session.free(page_id, count)))
        }
        ServerCommand::TimeBlocksById { direction, page_id, size, count } => {
            let start = Instant::now();
            let moved = move_blocks(session, direction, page_id, size, count);
            answer_of(moved, |()| Answer::Number(start.elapsed().as_nanos() as u64))
        }
        ServerCommand::TimeFree { page_id, count } => {
            Ok(Answer::time_of(|| Ok(session.free(page_id, count)?)))
        }
        ServerCommand::Write(messages) => {
            let mut write = |message| match session.write(message) {
                Ok(()) => 0,
                Err(error) => error.errno.raw(),
            };
            Ok(Answer::Errnos(messages.iter().map(&mut write).collect()))
        }
        ServerCommand::CloseChannel => {
            session.close();
            Ok(Answer::Done)
        }
        ServerCommand::DropPrivileges => Ok(Answer::done(sys::drop_privileges())),
    }
}

/// Returns the answer to a call of the session: `ok` of its value, or the error of a system call. Any other error ends
/// the server.
fn answer_of<T>(
    result: Result<T, ServerError>,
    ok: impl FnOnce(T) -> Answer,
) -> Result<Answer, ServerError> {
    match result {
        Ok(value) => Ok(ok(value)),
        Err(ServerError::Sys(error)) => Ok(error.into()),
        Err(other) => Err(other),
    }
}

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
        let saved = session.save(page_id, 0, size as u32)?.len();
        saves += start.elapsed();
        if saved != size {
            return Ok(Answer::Failed(format!("{saved} of {size} bytes were read")));
        }
    }
    Ok(Answer::nanos(loads, saves))
}

/// Loads or saves `count` blocks of `size` bytes, from the start of page `page_id` on.
fn move_blocks(
    session: &mut Session,
    direction: Direction,
    page_id: u64,
    size: usize,
    count: usize,
) -> Result<(), ServerError> {
    let block = vec![1; size];
    let pages = (size / page_size()) as u64;
    for index in 0..count as u64 {
        let page_id = page_id + index * pages;
        match direction {
            Direction::ToFile => session.load(page_id, 0, &block)?,
            Direction::FromFile => drop(session.save(page_id, 0, size as u32)?),
        }
    }
    Ok(())
}

/// Returns the first 8 bytes of each page-sized chunk, as words in the byte order of this machine.
fn words(bytes: &[u8]) -> Vec<u64> {
    bytes
        .chunks(page_size())
        .filter_map(|page| page.first_chunk())
        .map(|word| match sys::big_endian() {
            true => u64::from_be_bytes(*word),
            false => u64::from_le_bytes(*word),
        })
        .collect()
}

fn await_munmaps(session: &mut Session, count: u64, millis: u64) -> Result<Answer, ServerError> {
    let timeout = Duration::from_millis(millis);
    let start = Instant::now();
    while session.log.munmaps < count {
        let Some(left) = timeout.checked_sub(start.elapsed()) else {
            let found = session.log.munmaps;
            return Ok(Answer::Failed(format!(
                "FUSE_MUNMAPs: expected {count}, found {found} after {millis} ms"
            )));
        };
        if session.wait(left)? && !session.serve_one()? {
            return Ok(Answer::Failed("the connection has ended".into()));
        }
    }
    Ok(Answer::Done)
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The server of a world, and its assistant. The server answers requests, and between them saves and frees pages, and
//! maps its channel. The assistant is a process with the same channel that loads and frees pages; it never reads the
//! channel. The server kills it again and again.

use std::time::Duration;

use fastrand::Rng;
use server::{Behaviour, ServerError, Session};
use sys::{
    Errno, Fd, ForkResult, KillTarget, Mapping, Pid, Prot, Sharing, Signal, page_size, sleep,
};

use super::access::{Checker, Scratch, Stop, View, Way, draw_spot, tolerate, word};
use super::board::{Board, Phase};
use super::layout::{Class, Layout};
use super::steps::{Step, Steps};
use super::world::Shared;
use crate::stage::place::Place;

/// Errors of notifications about pages that do not exist, that a limit refuses, or for which the kernel awaits an answer.
const REFUSED: &[Errno] =
    &[Errno::ENXIO, Errno::ENOSPC, Errno::EBUSY, Errno::ENOMEM, Errno::ENOENT, Errno::EAGAIN];

/// Errors of mmap of the channel that limits cause.
const LIMITED: &[Errno] = &[Errno::ENOMEM, Errno::EAGAIN];

/// Mappings of the channel that a process has at most.
const VIEWS: usize = 3;

impl From<ServerError> for Stop {
    fn from(error: ServerError) -> Stop {
        match error {
            ServerError::Sys(error) => error.into(),
            other => Stop::Failed(other.to_string()),
        }
    }
}

/// Mappings of the channel, which keep pages that no client maps. A server of lazy pages must know whether a page has
/// content, and so whether there is such a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LazyWay {
    /// Pages are not lazy. The server and its assistant map and unmap pages as they like.
    NotLazy,
    /// The server maps all pages for as long as it serves, and it and its assistant map and unmap pages besides.
    MapsAll,
    /// There is no mapping of the channel.
    MapsNothing,
}

/// Parameters of a server.
pub(super) struct Server<'a> {
    pub(super) layout: Layout,
    pub(super) shared: &'a Shared,
    pub(super) place: &'a Place,
    pub(super) way: LazyWay,
    /// Number under which the steps of the server are counted. Those of the assistant have the next one.
    pub(super) worker: usize,
    pub(super) seed: u64,
}

impl Server<'_> {
    /// Serves until the world ends. Writes a byte to `ready` once the file can be opened.
    pub(super) fn run(&self, ready: Fd) -> Result<(), Stop> {
        let (board, world) = (&self.shared.board, self.layout.world);
        let behaviour = if self.layout.lazy { Behaviour::lazy() } else { Behaviour::default() };
        let mut session = self.place.serve(behaviour)?;
        ready.write_all(b".")?;
        drop(ready);
        let mut hands = Hands::new(self, SERVER_STEPS, self.seed)?;
        if self.way == LazyWay::MapsAll {
            hands.whole = Some(self.map_all(&mut session)?);
        }
        let mut assistant = None;
        loop {
            let phase = board.phase(world);
            if phase == Phase::ServerEnds {
                return Ok(());
            }
            if phase >= Phase::ServerRests {
                hands.rest(&mut session)?;
                dismiss(&mut assistant)?;
            } else if assistant.is_none() {
                assistant = Some(self.assistant(&mut session, hands.rng.u64(..))?);
            } else if hands.rng.u32(0..400) == 0 {
                dismiss(&mut assistant)?;
            }
            while session.wait(Duration::from_millis(2))? {
                if !session.serve_one()? {
                    // The director unmounts the filesystem before the server ends.
                    return if phase >= Phase::ServerRests {
                        Ok(())
                    } else {
                        Err(Stop::ConnectionEnded)
                    };
                }
                if hands.rng.u32(0..8) == 0 {
                    break;
                }
            }
            if phase < Phase::ServerRests {
                hands.step(&mut session)?;
            }
            board.count_step(world, self.worker);
        }
    }

    /// Maps the whole channel.
    fn map_all(&self, session: &mut Session) -> Result<Mapping, Stop> {
        let (page, pages) = (page_size(), self.layout.pages);
        let first = page_id(session, 0);
        session.note_own_mapping(first, pages as u64);
        let (prot, sharing) = (Prot::ReadWrite, Sharing::Shared);
        let offset = first * page as u64;
        Ok(Mapping::of(session.channel(), offset, pages * page, prot, sharing)?)
    }

    /// Starts an assistant. It ends with the server.
    fn assistant(&self, session: &mut Session, seed: u64) -> Result<Pid, Stop> {
        let server = format!("/proc/{}", sys::own_pid());
        match sys::fork()? {
            ForkResult::Parent(pid) => Ok(pid),
            ForkResult::Child => {
                let _ = sys::die_with_parent();
                sys::name_process("assistant");
                self.shared.reports.end_process(self.assist(session, &server, seed))
            }
        }
    }

    fn assist(&self, session: &mut Session, server: &str, seed: u64) -> Result<(), Stop> {
        let mut hands = Hands { is_assistant: true, ..Hands::new(self, ASSISTANT_STEPS, seed)? };
        // The server kills it, unless the server itself was killed before `die_with_parent`.
        while hands.rng.u32(0..16) > 0 || sys::exists(server) {
            hands.step(session)?;
            self.shared.board.count_step(self.layout.world, self.worker + 1);
            sleep(Duration::from_micros(hands.rng.u64(0..2000)));
        }
        Ok(())
    }
}

/// Kills the assistant.
fn dismiss(assistant: &mut Option<Pid>) -> Result<(), Stop> {
    if let Some(pid) = assistant.take() {
        sys::kill(KillTarget::Process(pid), Signal::Kill)?;
        match sys::wait(pid)? {
            sys::ExitStatus::Signal(Signal::Kill) => {}
            other => return Err(Stop::Failed(format!("the server's assistant {other}"))),
        }
    }
    Ok(())
}

type Action = fn(&mut Hands, &mut Session) -> Result<(), Stop>;

/// Steps of the server, besides answering requests.
#[rustfmt::skip]
pub(super) const SERVER_STEPS: &[Step<Action>] = &[
    (2, "server-map", |hands, session| hands.map(session)),
    (1, "server-unmap", |hands, _| hands.unmap()),
    (3, "server-look", |hands, session| hands.look(session)),
    (2, "server-save", |hands, session| hands.save(session)),
    (1, "server-free", |hands, session| hands.free(session)),
    (1, "server-idle", |_, _| Ok(())),
];

/// Steps of the assistant.
#[rustfmt::skip]
pub(super) const ASSISTANT_STEPS: &[Step<Action>] = &[
    (1, "assistant-map", |hands, session| hands.map(session)),
    (1, "assistant-unmap", |hands, _| hands.unmap()),
    (1, "assistant-look", |hands, session| hands.look(session)),
    (1, "assistant-free", |hands, session| hands.free(session)),
    (4, "assistant-load", |hands, session| hands.load(session)),
];

/// Work of the server or of its assistant besides answering requests.
pub(super) struct Hands<'a> {
    steps: Steps<Action>,
    way: LazyWay,
    is_assistant: bool,
    /// Mapping of all pages that exists as long as the server.
    whole: Option<Mapping>,
    layout: Layout,
    board: &'a Board,
    checker: Checker<'a>,
    rng: Rng,
    scratch: Scratch,
    views: Vec<View>,
}

impl<'a> Hands<'a> {
    fn new(
        server: &Server<'a>,
        steps: &'static [Step<Action>],
        seed: u64,
    ) -> Result<Hands<'a>, Stop> {
        let steps = Steps::of(steps, &server.shared.without);
        let (layout, board) = (server.layout, &server.shared.board);
        let rng = Rng::with_seed(seed);
        let checker = Checker { board, layout, by_server: true };
        let way = server.way;
        Ok(Hands {
            steps,
            way,
            is_assistant: false,
            whole: None,
            layout,
            board,
            checker,
            rng,
            scratch: Scratch::new()?,
            views: Vec::new(),
        })
    }

    /// Unmaps everything.
    fn rest(&mut self, session: &mut Session) -> Result<(), Stop> {
        while !self.views.is_empty() {
            self.unmap()?;
        }
        if let Some(whole) = self.whole.take() {
            whole.unmap()?;
            session.note_own_unmapping(page_id(session, 0), self.layout.pages as u64);
        }
        Ok(())
    }

    /// Takes a step.
    fn step(&mut self, session: &mut Session) -> Result<(), Stop> {
        match self.steps.draw(&mut self.rng) {
            Some(step) => step(self, session),
            None => Ok(()),
        }
    }

    /// Draws a page of this class.
    fn draw_page(&mut self, class: Class) -> usize {
        loop {
            let page = self.rng.usize(0..self.layout.pages);
            if self.layout.class(page) == class {
                return page;
            }
        }
    }

    fn map(&mut self, session: &Session) -> Result<(), Stop> {
        if self.way == LazyWay::MapsNothing {
            return Ok(());
        }
        let first = self.rng.usize(0..self.layout.pages);
        let pages = self.rng.usize(1..=4).min(self.layout.pages - first);
        let offset = page_id(session, first) * page_size() as u64;
        let len = pages * page_size();
        let (prot, sharing) = (Prot::ReadWrite, Sharing::Shared);
        let map = Mapping::of(session.channel(), offset, len, prot, sharing);
        if let Some(map) = tolerate(map, LIMITED)? {
            if self.views.len() >= VIEWS {
                self.unmap()?;
            }
            self.views.push(View::new(map, first, true));
        }
        Ok(())
    }

    fn unmap(&mut self) -> Result<(), Stop> {
        match self.views.len() {
            0 => Ok(()),
            len => Ok(self.views.swap_remove(self.rng.usize(0..len)).map.unmap()?),
        }
    }

    /// Checks a page through a mapping of the channel.
    fn look(&mut self, session: &Session) -> Result<(), Stop> {
        if self.views.is_empty() {
            return Ok(());
        }
        let view = &self.views[self.rng.usize(0..self.views.len())];
        let page = view.first + self.rng.usize(0..view.pages());
        let spot = draw_spot(&mut self.rng, page);
        // The assistant, which does not answer requests, does not know this.
        if self.layout.lazy && (self.is_assistant || !session.is_filled(page_id(session, page))) {
            return Ok(());
        }
        self.checker.check(view, spot, Way::BySystemCall(&self.scratch))
    }

    /// Reads a page by ID.
    fn save(&mut self, session: &mut Session) -> Result<(), Stop> {
        let page = self.rng.usize(0..self.layout.pages);
        let spot = draw_spot(&mut self.rng, page);
        let low = self.board.stored(&self.layout, spot);
        let id = page_id(session, page);
        let bytes = match session.save(id, spot.byte() as u32, 4) {
            Err(ServerError::Sys(error)) if REFUSED.contains(&error.errno) => return Ok(()),
            result => result?,
        };
        // A page that does not exist has no bytes.
        match bytes.try_into() {
            Ok(bytes) => self.checker.check_found(spot, low, word(bytes)),
            Err(_) => Ok(()),
        }
    }

    /// Writes a stamp to a page of the server by ID.
    fn load(&mut self, session: &mut Session) -> Result<(), Stop> {
        let page = self.draw_page(Class::Server);
        let spot = draw_spot(&mut self.rng, page);
        let (board, layout) = (self.board, &self.layout);
        let stamp = layout.successor(page, spot.slot, board.announced(layout, spot));
        board.announce(layout, spot, stamp);
        let bytes = match sys::big_endian() {
            true => stamp.to_be_bytes(),
            false => stamp.to_le_bytes(),
        };
        let id = page_id(session, page);
        tolerate(session.load(id, spot.byte() as u32, &bytes), REFUSED).map(drop)
    }

    /// Frees pages that may disappear.
    fn free(&mut self, session: &mut Session) -> Result<(), Stop> {
        let class = if self.rng.bool() { Class::Loose } else { Class::Server };
        let page = self.draw_page(class);
        let id = page_id(session, page);
        tolerate(session.free(id, 1), REFUSED).map(drop)
    }
}

/// Returns the page ID of a page of the file.
fn page_id(session: &Session, page: usize) -> u64 {
    let page_size = page_size() as u64;
    let id = session.behaviour.mmap.page_id(page as u64 * page_size, page_size);
    id.expect("this server assigns page IDs")
}

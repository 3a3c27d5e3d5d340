// SPDX-License-Identifier: MIT OR Apache-2.0
//! A world: a server, its keeper, and its clients.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use protocol::plan::Device;
use sys::{Fd, ForkResult, Pid, poll};

use super::access::Stop;
use super::board::Board;
use super::client::Client;
use super::keeper::Keeper;
use super::layout::Layout;
use super::server::{LazyWay, Server};
use super::steps::Without;
use crate::stage::place::Place;
use crate::stage::{Failure, counters};

/// Exit status of a process that stopped because the server has died.
pub(super) const CONNECTION_ENDED: i32 = 3;

/// Number of names of the servers of a world. When a name is used again, nothing refers to its last server any more.
const NAMES: u64 = 8;

/// Numbers of a world's processes, threads and pages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) clients: usize,
    /// Threads of each client.
    pub(super) threads: usize,
    pub(super) pages: usize,
}

/// Role of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Server,
    Keeper,
    /// Client with this number, from 0.
    Client(usize),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Role::Server => f.write_str("the server"),
            Role::Keeper => f.write_str("the keeper"),
            Role::Client(number) => write!(f, "client {number}"),
        }
    }
}

/// Pipe for the texts of failures, which all processes inherit.
#[derive(Debug)]
pub(super) struct Reports {
    out: Fd,
    into: Fd,
}

impl Reports {
    pub(super) fn open() -> sys::Result<Reports> {
        let (out, into) = sys::pipe()?;
        Ok(Reports { out, into })
    }

    /// Returns the texts that processes have written.
    pub(super) fn take(&self) -> sys::Result<String> {
        let mut text = [0; 4096];
        let ready = poll(&[&self.out], Some(Duration::ZERO))?;
        let len = if ready[0].readable { self.out.read(&mut text)? } else { 0 };
        Ok(String::from_utf8_lossy(&text[..len]).into_owned())
    }

    /// Ends this process, and reports a failure.
    pub(super) fn end_process(&self, result: Result<(), Stop>) -> ! {
        match result {
            Ok(()) => sys::exit(0),
            Err(Stop::ConnectionEnded) => sys::exit(CONNECTION_ENDED),
            Err(Stop::Failed(why)) => {
                // If that fails, the exit status shows that there was a failure.
                let _ = self.into.write_all(format!("{why}; ").as_bytes());
                sys::exit(1)
            }
        }
    }
}

/// Objects that all processes of the case use.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) board: Board,
    pub(super) reports: Reports,
    /// Steps to leave out.
    pub(super) without: Without,
}

/// A world. The director starts its processes and reaps them.
#[derive(Debug)]
pub(super) struct World {
    pub(super) layout: Layout,
    pub(super) sizes: Sizes,
    pub(super) place: Place,
    /// Seed of the next process.
    seed: u64,
    /// Distance after which cache colours repeat, in bytes.
    period: u64,
    /// True once the server has been killed.
    pub(super) dead: bool,
}

impl World {
    /// Returns world `number` without processes. A world that replaces a dead one has the next `generation`.
    pub(super) fn new(
        device: Device,
        (number, generation): (usize, u64),
        sizes: Sizes,
        lazy: bool,
        (seed, period): (u64, u64),
    ) -> Result<World, Failure> {
        let workers = sizes.clients * sizes.threads;
        let place = Place::make(device, &format!("race{number}-{}", generation % NAMES))?;
        Ok(World {
            layout: Layout { world: number, pages: sizes.pages, workers, lazy },
            sizes,
            place,
            seed: seed.wrapping_add(generation << 32).wrapping_add((number as u64) << 56),
            period,
            dead: false,
        })
    }

    /// Returns the name of the world, for failures.
    pub(super) fn name(&self) -> &'static str {
        match (self.layout.world, self.layout.lazy) {
            (0, _) => "world 0 (not lazy)",
            (1, _) => "world 1 (lazy)",
            (_, false) => "world 2 (not lazy, its server dies)",
            (_, true) => "world 2 (lazy, its server dies)",
        }
    }

    /// Number of workers that count steps: threads of clients, the keeper, the server and its assistant.
    pub(super) fn workers(&self) -> usize {
        self.layout.workers + 3
    }

    pub(super) fn keeper_worker(&self) -> usize {
        self.layout.workers
    }

    pub(super) fn server_worker(&self) -> usize {
        self.layout.workers + 1
    }

    /// Returns the name of a worker, for failures.
    pub(super) fn worker_name(&self, worker: usize) -> String {
        match worker.checked_sub(self.layout.workers) {
            None => {
                let (client, thread) = (worker / self.sizes.threads, worker % self.sizes.threads);
                format!("{}, thread {thread}", Role::Client(client))
            }
            Some(0) => Role::Keeper.to_string(),
            Some(1) => Role::Server.to_string(),
            Some(_) => "the server's assistant".into(),
        }
    }

    /// Starts the server, and waits until the file can be opened.
    pub(super) fn start_server(
        &mut self,
        shared: &Shared,
        patience: Duration,
    ) -> Result<Pid, Failure> {
        let (ready_out, ready_in) = sys::pipe()?;
        let seed = self.next_seed();
        let pid = match sys::fork()? {
            ForkResult::Parent(pid) => pid,
            ForkResult::Child => {
                become_process("server");
                drop(ready_out);
                let (layout, place) = (self.layout, &self.place);
                let worker = self.server_worker();
                let way = match (layout.lazy, Rng::with_seed(seed).bool()) {
                    (false, _) => LazyWay::NotLazy,
                    (true, false) => LazyWay::MapsNothing,
                    (true, true) => LazyWay::MapsAll,
                };
                let server = Server { layout, shared, place, way, worker, seed };
                shared.reports.end_process(server.run(ready_in))
            }
        };
        drop(ready_in);
        let ready = poll(&[&ready_out], Some(patience))?[0];
        match ready.readable && ready_out.read(&mut [0])? == 1 {
            true => Ok(pid),
            false => {
                let why = shared.reports.take()?;
                Err(Failure::new(format!("{}: the server does not serve: {why}", self.name())))
            }
        }
    }

    /// Starts a client or the keeper.
    pub(super) fn start_client(&mut self, shared: &Shared, role: Role) -> Result<Pid, Failure> {
        let seed = self.next_seed();
        if let ForkResult::Parent(pid) = sys::fork()? {
            return Ok(pid);
        }
        let (layout, path) = (self.layout, self.place.file());
        let result = match role {
            Role::Client(number) => {
                become_process("client");
                let Sizes { threads, .. } = self.sizes;
                let (first_worker, period) = (number * threads, self.period);
                let client = Client { layout, shared, path, first_worker, threads, seed, period };
                client.run()
            }
            _ => {
                become_process("keeper");
                let worker = self.keeper_worker();
                Keeper { layout, board: &shared.board, path, worker, seed }.run()
            }
        };
        shared.reports.end_process(result)
    }

    fn next_seed(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x1_0000);
        self.seed
    }

    /// Returns a counter of the connection: `pages` or `maps`.
    pub(super) fn counter(&self, name: &str) -> Result<u64, Failure> {
        counters::read(&format!("{}/dmmap_{name}", self.place.counters()?))
    }
}

fn become_process(name: &str) {
    let _ = sys::die_with_parent();
    sys::name_process(name);
}

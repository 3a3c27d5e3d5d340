// SPDX-License-Identifier: MIT OR Apache-2.0
//! The director: starts the worlds, kills and stops their processes, changes limits, has the kernel reclaim pages, and
//! checks that every worker makes progress.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use protocol::plan::Device;
use sys::{
    Errno, ExitStatus, Instant, KillTarget, Pid, Signal, list_dir, read_text, sleep, write_file,
};

use super::board::{Board, MAX_WORKERS, Phase};
use super::layout::MAX_PAGES;
use super::steps::{Step, Steps, Without, names};
use super::world::{CONNECTION_ENDED, Reports, Role, Shared, Sizes, World};
use super::{client, server};
use crate::stage::counters::{self, LIMIT_MAPS, LIMIT_PER_CONNECTION, LIMIT_TOTAL, PAGES_TOTAL};
use crate::stage::failure::expect_that;
use crate::stage::{Failure, expect};

/// Number of worlds: one that is not lazy, one that is, and one whose server dies.
const WORLDS: usize = 3;

/// Number of the world whose server dies.
const MORTAL: usize = 2;

/// Limit of mappings of a connection, unless the director changes it. Clients unmap without waiting for the server, so a
/// slow server of lazy pages has as many FUSE_MUNMAPs to answer at the end, and saves pages for each.
const MAPS: u64 = 256;

/// Longest wait for counters after all processes that use pages are gone. Kernel threads end connections.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Times of a case.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Time for which the worlds run.
    pub(super) run: Duration,
    /// Longest time without a step of a worker, and for the last steps of all workers.
    pub(super) patience: Duration,
}

type Action = fn(&mut Director, Duration) -> Result<(), Failure>;

/// Actions of the director on the worlds.
#[rustfmt::skip]
const STEPS: &[Step<Action>] = &[
    (6, "kill-client", |director, _| director.kill_client()),
    (3, "stop-client", |director, _| director.stop_client()),
    (3, "limit-pages", |director, _| director.limit_pages()),
    (1, "limit-all-pages", |director, _| director.limit_all_pages()),
    (1, "limit-maps", |director, _| director.limit_maps()),
    (5, "restore-limits", |director, _| director.restore_limits()),
    (4, "shrink", |director, _| director.shrink()),
    (1, "kill-server", |director, patience| director.replace_mortal_world(patience)),
    (16, "idle", |_, _| Ok(())),
];

/// Runs the worlds.
#[derive(Debug)]
pub(super) struct Director {
    device: Device,
    seed: u64,
    sizes: Sizes,
    period: u64,
    rng: Rng,
    shared: Shared,
    steps: Steps<Action>,
    worlds: Vec<World>,
    /// Number of servers of the mortal world so far.
    generations: u64,
    /// World and role of each process that has not been reaped.
    processes: BTreeMap<Pid, (usize, Role)>,
    /// Processes that were killed and have not been reaped.
    killed: BTreeSet<Pid>,
    /// Steps of each worker of each world when they last changed, and the time of the change.
    progress: Vec<Vec<(u32, Instant)>>,
    /// Values of the limits that the director restores.
    limits: [(&'static str, u64); 3],
    deaths: u32,
    sigbus: u32,
}

impl Director {
    pub(super) fn new(
        device: Device,
        seed: u64,
        sizes: Sizes,
        period: u64,
        without: &str,
    ) -> Result<Director, Failure> {
        let known: Vec<&str> = names(STEPS)
            .chain(names(client::STEPS))
            .chain(names(server::SERVER_STEPS))
            .chain(names(server::ASSISTANT_STEPS))
            .collect();
        let without = Without::parse(without, &known).map_err(Failure::new)?;
        let workers = sizes.clients * sizes.threads;
        expect_that(sizes.pages <= MAX_PAGES && workers + 3 <= MAX_WORKERS, || {
            format!("at most {MAX_PAGES} pages and {} workers are possible", MAX_WORKERS - 3)
        })?;
        expect_that(sizes.pages >= 4 * workers, || "each worker needs 4 pages".into())?;
        Ok(Director {
            device,
            seed,
            sizes,
            period,
            rng: Rng::with_seed(seed),
            steps: Steps::of(STEPS, &without),
            shared: Shared {
                board: Board::new(WORLDS, sizes.pages)?,
                reports: Reports::open()?,
                without,
            },
            worlds: Vec::new(),
            generations: 0,
            processes: BTreeMap::new(),
            killed: BTreeSet::new(),
            progress: Vec::new(),
            limits: [
                (LIMIT_PER_CONNECTION, counters::read(LIMIT_PER_CONNECTION)?),
                (LIMIT_TOTAL, counters::read(LIMIT_TOTAL)?),
                (LIMIT_MAPS, MAPS),
            ],
            deaths: 0,
            sigbus: 0,
        })
    }

    /// Starts all worlds and disturbs them until the time is over and each worker has taken `steps` steps.
    pub(super) fn run(&mut self, times: Times, steps: u32) -> Result<(), Failure> {
        for number in 0..WORLDS {
            self.start_world(number, times.patience)?;
        }
        let start = Instant::now();
        loop {
            self.reap()?;
            self.check_progress(times.patience)?;
            let late = start.elapsed().checked_sub(times.run);
            match (late, self.laggard(steps)) {
                (Some(_), None) => return Ok(()),
                (Some(late), Some(laggard)) if late > times.patience => {
                    return Err(Failure::new(laggard));
                }
                _ => {}
            }
            self.disturb(times.patience)?;
            sleep(Duration::from_millis(self.rng.u64(1..15)));
        }
    }

    /// Starts a world; waits until its server serves and its keeper has all pages that must not disappear.
    fn start_world(&mut self, number: usize, patience: Duration) -> Result<(), Failure> {
        self.restore_limits()?;
        let lazy = match number {
            MORTAL => self.generations % 2 == 1,
            _ => number == 1,
        };
        let generation = if number == MORTAL { self.generations } else { 0 };
        let of = (self.seed, self.period);
        let world = World::new(self.device, (number, generation), self.sizes, lazy, of)?;
        self.shared.board.forget_stamps(&world.layout);
        self.shared.board.set_phase(number, Phase::Run);
        self.worlds.truncate(number);
        self.progress.truncate(number);
        self.worlds.push(world);
        let world = &mut self.worlds[number];
        let server = world.start_server(&self.shared, patience)?;
        self.processes.insert(server, (number, Role::Server));
        let worker = self.worlds[number].keeper_worker();
        let before = self.shared.board.steps(number, worker);
        self.start_client(number, Role::Keeper)?;
        self.wait(patience, "the keeper did not touch its pages", |director| {
            Ok(director.shared.board.steps(number, worker) != before)
        })?;
        for client in 0..self.sizes.clients {
            self.start_client(number, Role::Client(client))?;
        }
        let workers = self.worlds[number].workers();
        let steps = |worker| (self.shared.board.steps(number, worker), Instant::now());
        self.progress.push((0..workers).map(steps).collect());
        Ok(())
    }

    fn start_client(&mut self, world: usize, role: Role) -> Result<(), Failure> {
        let pid = self.worlds[world].start_client(&self.shared, role)?;
        self.processes.insert(pid, (world, role));
        Ok(())
    }

    /// Waits until `done` returns true, and reaps processes meanwhile. `what` describes the failure.
    fn wait(
        &mut self,
        patience: Duration,
        what: &str,
        mut done: impl FnMut(&mut Director) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let start = Instant::now();
        loop {
            self.reap()?;
            if done(self)? {
                return Ok(());
            }
            expect_that(start.elapsed() < patience, || {
                format!("{what} within {patience:?}; {}", self.describe_processes())
            })?;
            sleep(Duration::from_millis(1));
        }
    }

    /// Reaps all processes that have ended, and starts clients again that have died.
    fn reap(&mut self) -> Result<(), Failure> {
        loop {
            let (pid, status) = match sys::wait_any() {
                Ok(Some(ended)) => ended,
                Ok(None) => return Ok(()),
                Err(error) if error.errno == Errno::ECHILD => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let Some((number, role)) = self.processes.remove(&pid) else {
                continue;
            };
            let killed = self.killed.remove(&pid);
            let world = &self.worlds[number];
            let runs = !world.dead && self.shared.board.phase(number) == Phase::Run;
            let expected = match status {
                ExitStatus::Signal(Signal::Kill) => killed,
                // A limit refused a page that the server has to fill.
                ExitStatus::Signal(Signal::Bus) => {
                    self.sigbus += 1;
                    matches!(role, Role::Client(_)) && world.layout.lazy
                }
                ExitStatus::Code(0) => !runs,
                ExitStatus::Code(CONNECTION_ENDED) => world.dead,
                _ => false,
            };
            if !expected {
                let (name, why) = (world.name(), self.shared.reports.take()?);
                let lost = match status {
                    ExitStatus::Code(CONNECTION_ENDED) => " (it lost the connection to the server)",
                    _ => "",
                };
                return Err(Failure::new(format!("{name}: {role} {status}{lost}: {why}")));
            }
            if runs && matches!(role, Role::Client(_)) {
                self.start_client(number, role)?;
            }
        }
    }

    /// Fails if a worker has taken no step for too long.
    fn check_progress(&mut self, patience: Duration) -> Result<(), Failure> {
        for (number, world) in self.worlds.iter().enumerate() {
            for (worker, (steps, since)) in self.progress[number].iter_mut().enumerate() {
                let now = self.shared.board.steps(number, worker);
                if now != *steps {
                    (*steps, *since) = (now, Instant::now());
                } else if since.elapsed() > patience {
                    let (name, worker) = (world.name(), world.worker_name(worker));
                    let processes = self.describe_processes();
                    // Has the kernel print what each CPU does (Documentation/admin-guide/sysrq.rst).
                    write_file("/proc/sysrq-trigger", b"l")?;
                    return Err(Failure::new(format!(
                        "{name}: {worker} has hung for {patience:?}; {processes}"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Describes a worker that has taken fewer than `steps` steps, if there is one.
    fn laggard(&self, steps: u32) -> Option<String> {
        self.worlds.iter().find_map(|world| {
            let number = world.layout.world;
            let taken = |worker| self.shared.board.steps(number, worker);
            let worker = (0..world.layout.workers).find(|&worker| taken(worker) < steps)?;
            Some(format!(
                "{}: {} has taken only {} of {steps} steps",
                world.name(),
                world.worker_name(worker),
                taken(worker)
            ))
        })
    }

    /// Does one random thing to the worlds.
    fn disturb(&mut self, patience: Duration) -> Result<(), Failure> {
        match self.steps.draw(&mut self.rng) {
            Some(step) => step(self, patience),
            None => Ok(()),
        }
    }

    fn limit_pages(&mut self) -> Result<(), Failure> {
        let pages = self.sizes.pages as u64;
        counters::set(LIMIT_PER_CONNECTION, self.rng.u64(pages / 4..2 * pages))
    }

    fn limit_all_pages(&mut self) -> Result<(), Failure> {
        let pages = self.sizes.pages as u64;
        counters::set(LIMIT_TOTAL, self.rng.u64(pages..4 * pages))
    }

    fn limit_maps(&mut self) -> Result<(), Failure> {
        counters::set(LIMIT_MAPS, self.rng.u64(8..64))
    }

    /// Calls the shrinkers (Documentation/admin-guide/sysctl/vm.rst).
    fn shrink(&mut self) -> Result<(), Failure> {
        Ok(write_file("/proc/sys/vm/drop_caches", b"2")?)
    }

    fn restore_limits(&self) -> Result<(), Failure> {
        self.limits.iter().try_for_each(|(path, value)| counters::set(path, *value))
    }

    /// Draws a client of a random world.
    fn draw_client(&mut self) -> Option<Pid> {
        let is_client = |(_, role): &(usize, Role)| matches!(role, Role::Client(_));
        let clients = self.processes.iter().filter(|(_, process)| is_client(process));
        let clients: Vec<Pid> = clients.map(|(pid, _)| *pid).collect();
        self.rng.choice(clients)
    }

    fn kill_client(&mut self) -> Result<(), Failure> {
        match self.draw_client() {
            None => Ok(()),
            Some(pid) => self.kill(pid),
        }
    }

    fn kill(&mut self, pid: Pid) -> Result<(), Failure> {
        self.deaths += 1;
        self.killed.insert(pid);
        Ok(sys::kill(KillTarget::Process(pid), Signal::Kill)?)
    }

    /// Stops a client for a moment, and continues it.
    fn stop_client(&mut self) -> Result<(), Failure> {
        if let Some(pid) = self.draw_client() {
            sys::kill(KillTarget::Process(pid), Signal::Stop)?;
            sleep(Duration::from_millis(self.rng.u64(0..10)));
            sys::kill(KillTarget::Process(pid), Signal::Continue)?;
        }
        Ok(())
    }

    /// Kills the server of the mortal world, then its clients, and starts the world again.
    fn replace_mortal_world(&mut self, patience: Duration) -> Result<(), Failure> {
        let of_world = |director: &Director| -> Vec<(Pid, Role)> {
            let processes = director.processes.iter();
            let processes = processes.filter(|(_, (world, _))| *world == MORTAL);
            processes.map(|(pid, (_, role))| (*pid, *role)).collect()
        };
        self.worlds[MORTAL].dead = true;
        for (pid, role) in of_world(self) {
            if role == Role::Server {
                self.kill(pid)?;
            }
        }
        sleep(Duration::from_millis(self.rng.u64(0..30)));
        self.reap()?;
        for (pid, _) in of_world(self) {
            self.kill(pid)?;
        }
        self.wait(patience, "killed processes did not end", |director| {
            Ok(of_world(director).is_empty())
        })?;
        self.worlds[MORTAL].place.unmount()?;
        self.generations += 1;
        self.start_world(MORTAL, patience)
    }

    /// Ends all worlds, and checks that nothing is left. Returns figures.
    pub(super) fn end(mut self, patience: Duration) -> Result<Vec<(&'static str, f64)>, Failure> {
        self.restore_limits()?;
        let steps = |world: &World| -> u64 {
            let workers = 0..world.layout.workers;
            workers
                .map(|worker| u64::from(self.shared.board.steps(world.layout.world, worker)))
                .sum()
        };
        let steps: u64 = self.worlds.iter().map(steps).sum();
        self.end_role(Phase::ClientsEnd, patience, |role| matches!(role, Role::Client(_)))?;
        self.rest_servers(patience)?;
        self.end_role(Phase::KeeperEnds, patience, |role| role == Role::Keeper)?;
        for number in 0..WORLDS {
            for counter in ["pages", "maps"] {
                // The timeout is an upper limit only; the counters are 0 once the server has answered.
                let mut left = 0;
                let zero = |director: &mut Director| {
                    left = director.worlds[number].counter(counter)?;
                    Ok(left == 0)
                };
                let name = self.worlds[number].name();
                let what = format!("{name}: dmmap_{counter} did not return to 0");
                self.wait(patience.max(RELEASE_TIMEOUT), &what, zero)?;
            }
            self.worlds[number].place.unmount()?;
            self.shared.board.set_phase(number, Phase::ServerEnds);
        }
        self.end_role(Phase::ServerEnds, patience, |role| role == Role::Server)?;
        expect("direct-mapped pages at the end", counters::read(PAGES_TOTAL)?, 0)?;
        Ok(vec![
            ("steps", steps as f64),
            ("killed", self.deaths.into()),
            ("killed_by_sigbus", self.sigbus.into()),
            ("servers", (self.generations + WORLDS as u64) as f64),
        ])
    }

    /// Has all servers unmap their own mappings, and waits until they have done so.
    fn rest_servers(&mut self, patience: Duration) -> Result<(), Failure> {
        for number in 0..WORLDS {
            self.shared.board.set_phase(number, Phase::ServerRests);
            let worker = self.worlds[number].server_worker();
            let before = self.shared.board.steps(number, worker);
            // The first step may have begun before.
            self.wait(patience, "the server did not rest", |director| {
                Ok(director.shared.board.steps(number, worker).wrapping_sub(before) >= 2)
            })?;
        }
        Ok(())
    }

    /// Moves all worlds to `phase`, and waits until the processes that this phase ends are gone.
    fn end_role(
        &mut self,
        phase: Phase,
        patience: Duration,
        ends: impl Fn(Role) -> bool,
    ) -> Result<(), Failure> {
        for world in 0..WORLDS {
            self.shared.board.set_phase(world, phase);
        }
        self.wait(patience, "processes did not exit", |director| {
            Ok(!director.processes.values().any(|(_, role)| ends(*role)))
        })
    }

    /// Describes all processes and what their threads wait for.
    fn describe_processes(&self) -> String {
        let describe = |(pid, (world, role)): (&Pid, &(usize, Role))| {
            let tasks = list_dir(&format!("/proc/{pid}/task")).unwrap_or_default();
            let waits = tasks.iter().map(|task| {
                let path = format!("/proc/{pid}/task/{task}/wchan");
                read_text(&path).unwrap_or_default()
            });
            let waits: Vec<String> = waits.collect();
            let (state, user, kernel) = read_state(*pid).unwrap_or_default();
            format!(
                "world {world}, {role}, process {pid}: {state}, {user} ticks in user mode, {kernel} in the kernel; waits \
                 in {}",
                waits.join(", ")
            )
        };
        let all: Vec<String> = self.processes.iter().map(describe).collect();
        all.join("; ")
    }
}

/// Returns the state of a process, and the clock ticks that it has spent in user mode and in the kernel (proc_pid_stat(5),
/// fields 3, 14 and 15).
fn read_state(pid: Pid) -> Option<(String, u64, u64)> {
    let stat = read_text(&format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse().ok();
    Some((fields.first()?.to_string(), ticks(11)?, ticks(12)?))
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cost of operations as the number of mappings, pages or clients grows, compared with a memfd in the same boot.
//!
//! See [`crate::stage::growth`] for the verdict.

pub(crate) mod bystander;

use std::time::Duration;

use server::{Behaviour, Lazy, OnFault, OnReclaim};
use sys::{Advice, Fd, Instant, memfd, page_size};

use crate::stage::command::{Direction, Map, MappingCommand};
use crate::stage::counters::{self, LIMIT_PER_CONNECTION, LIMIT_TOTAL};
use crate::stage::crowd::CrowdCommand;
use crate::stage::growth::{Growth, Operation, measure};
use crate::stage::{Case, Client, Failure, Process, Server, Workload, expect_that};

pub(crate) const WORKLOADS: &[(&str, Workload)] =
    &[("mappings", mappings), ("page", page), ("pages", pages)];

const MMAP: Operation = Operation { name: "mmap", baseline: "mmap and one request for each" };
const TOUCH: Operation = Operation { name: "touch", baseline: "touch" };
const MUNMAP: Operation = Operation { name: "munmap", baseline: "munmap" };
const EXIT: Operation = Operation { name: "exit", baseline: "exit" };
const LOAD: Operation = Operation { name: "LOAD", baseline: "pwrite" };
/// The kernel answers with a request, FUSE_NOTIFY_REPLY.
const SAVE: Operation = Operation { name: "SAVE", baseline: "pread and one request for each" };
/// LOAD where caches alias. There, LOAD and SAVE take the page out of all page tables, so that no store meets them in
/// another colour. A write to a memfd does not, and loses such a store.
const LOAD_UNMAPPED: Operation =
    Operation { name: "LOAD", baseline: "punching a hole, and pwrite" };
/// SAVE where caches alias.
const SAVE_UNMAPPED: Operation =
    Operation { name: "SAVE", baseline: "punching a hole, pread and one request for each" };
const FREE: Operation = Operation { name: "FREE", baseline: "punching a hole" };
const RECLAIM: Operation =
    Operation { name: "RECLAIM", baseline: "punching a hole, and the requests of RECLAIM" };

const RECLAIM_SOME: Operation =
    Operation { name: "touch at the limit", baseline: "touch, punching a hole, and the requests" };

/// Page limit of the connection of a [`DirectPage`]. The page and the other page cannot exist at the same time: a touch
/// of either has the server give back the other.
const PAGES: u64 = 1;

/// Limit of pages that no case reaches.
const NO_LIMIT: u64 = 1 << 20;

/// Number of requests that are timed together.
const REQUESTS: u32 = 32;

/// Number of parts in which a client maps. Requests are timed after each part, because their time depends most on what
/// else the machine does.
const PARTS: u32 = 10;

/// Address space in bytes for the mappings of one page. Mappings of one page lie a colour period apart, and the period
/// of PA-RISC is 4 MiB.
const ROOM: u64 = 1 << 30;

/// Block of LOAD and SAVE in bytes.
const BLOCK: usize = 64 << 10;

/// Number of pages that a client touches above the limit.
const PAGES_OVER_LIMIT: usize = 128;

/// Number of FUSE_DMMAP_RECLAIMs for these pages: the kernel asks for 64 pages each time (`RECLAIM_PAGES` of
/// fs/fuse/dmmap_reclaim.c).
const RECLAIMS: u32 = 2;

/// Longest wait without progress for FUSE_MUNMAPs.
const MUNMAP_TIMEOUT: Duration = Duration::from_secs(10);

/// Number of samples at size `n`. A large sample is long enough for noise to weigh little.
fn rounds(n: u64) -> u32 {
    if n > 10_000 { 1 } else { 2 }
}

/// Returns the behaviour of a server that does as little as possible for its lazy pages.
fn quick_behaviour() -> Behaviour {
    let lazy = Lazy { fault: OnFault::LeaveZeros, reclaim: OnReclaim::Discard };
    Behaviour { lazy: Some(lazy), ..Behaviour::default() }
}

/// Returns the shortest of several times.
fn shortest(
    times: u32,
    mut time: impl FnMut() -> Result<Duration, Failure>,
) -> Result<Duration, Failure> {
    let mut best = Duration::MAX;
    for _ in 0..times {
        best = best.min(time()?);
    }
    Ok(best)
}

/// Returns the time of one request to the server of a client.
fn time_request(client: &mut Client) -> Result<Duration, Failure> {
    Ok(shortest(4, || client.time_syncs(REQUESTS))? / REQUESTS)
}

/// A client maps a page n times, touches the mappings, unmaps half of them and exits with the other half.
fn mappings(case: &mut Case) -> Result<(), Failure> {
    measure(case, "mappings", |case, growth, n| {
        for _ in 0..rounds(n) {
            let direct = direct_mappings(case, n as usize)?;
            let memfd = memfd_mappings(case, n as usize)?;
            let half = n / 2;
            growth.add(MMAP, n, direct.mmap, memfd.mmap + direct.requests);
            growth.add(TOUCH, n, direct.touch, memfd.touch);
            growth.add(MUNMAP, half, direct.munmap, memfd.munmap);
            growth.add(EXIT, n - half, direct.exit, memfd.exit);
        }
        Ok(())
    })
}

/// Times of a client with many mappings.
struct MappingTimes {
    /// Time of as many requests as there are mappings, or 0 for the memfd.
    requests: Duration,
    mmap: Duration,
    touch: Duration,
    munmap: Duration,
    exit: Duration,
}

/// The server answers while the client maps, and reads nothing while the client unmaps and exits: the times are those of
/// the client alone.
fn direct_mappings(case: &mut Case, n: usize) -> Result<MappingTimes, Failure> {
    let mut server = case.serve()?;
    let mut client = case.client("client", &server)?;
    // Another process has the file open, so that the client does not wait for FUSE_FLUSH or FUSE_RELEASE at its end.
    let keeper = client.fork("keeper")?;
    let (mut mmap, mut requests) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..PARTS {
        let part = n / PARTS as usize;
        mmap += client.crowd(many(case, part, n))?;
        requests += client.time_syncs(REQUESTS)?.mul_f64(part as f64 / f64::from(REQUESTS));
    }
    client.close()?;
    let touch = client.crowd(CrowdCommand::Touch)?;
    server.behave(Behaviour { reads_nothing: true, ..Behaviour::default() })?;
    let munmap = client.crowd(CrowdCommand::Unmap { count: n / 2 })?;
    let exit = time_exit(client)?;
    server.behave(Behaviour::default())?;
    await_munmaps(&mut server, n as u64)?;
    keeper.quit()?;
    server.quit()?;
    case.reuse_server_name();
    Ok(MappingTimes { requests, mmap, touch, munmap, exit })
}

fn memfd_mappings(case: &Case, n: usize) -> Result<MappingTimes, Failure> {
    let file = memfd("mappings", case.period().max(page_size() as u64))?;
    let mut client = case.client_of("client", &file)?;
    Ok(MappingTimes {
        requests: Duration::ZERO,
        mmap: client.crowd(many(case, n, n))?,
        touch: client.crowd(CrowdCommand::Touch)?,
        munmap: client.crowd(CrowdCommand::Unmap { count: n / 2 })?,
        exit: time_exit(client)?,
    })
}

/// Returns the command that makes `count` mappings of one page. If the address space has no room for `all` of them, they
/// show as many pages as fit into a colour period.
fn many(case: &Case, count: usize, all: usize) -> CrowdCommand {
    let period = case.period();
    let fits = all as u64 * period <= ROOM;
    let parts = if fits { 1 } else { period as usize / page_size() / 2 };
    CrowdCommand::Map { count, len: page_size(), parts }
}

fn time_exit(client: Client) -> Result<Duration, Failure> {
    let start = Instant::now();
    client.quit()?;
    Ok(start.elapsed())
}

/// Waits until the server has received `count` FUSE_MUNMAPs.
fn await_munmaps(server: &mut Server, count: u64) -> Result<(), Failure> {
    let (mut received, mut since) = (0, Instant::now());
    while received < count {
        let now = server.count_maps()?.1;
        if now > received {
            (received, since) = (now, Instant::now());
        }
        expect_that(since.elapsed() < MUNMAP_TIMEOUT, || {
            format!(
                "FUSE_MUNMAPs: expected {count}, found {received}, and none within {MUNMAP_TIMEOUT:?}"
            )
        })?;
        sys::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// The server loads, saves, frees and gives back a page that n mappings show. Processes with `each` mappings share it.
fn page(case: &mut Case) -> Result<(), Failure> {
    let each: u64 = case.param("each")?;
    let counted = if each == 1 { "clients" } else { "mappings of the page" };
    let aliases = case.aliases();
    let (load, save) = if aliases { (LOAD_UNMAPPED, SAVE_UNMAPPED) } else { (LOAD, SAVE) };
    counters::set(LIMIT_PER_CONNECTION, PAGES)?;
    measure(case, counted, |case, growth, n| {
        let processes = (n / each).saturating_sub(1) as usize;
        let mut memfd = MemfdPage::start(case, each as usize, processes)?;
        let mut direct = DirectPage::start(case, each as usize, processes)?;
        for _ in 0..3 {
            let unmapping = if aliases { memfd.punch()? } else { Duration::ZERO };
            growth.add(load, n, direct.load()?, unmapping + memfd.write()?);
            growth.add(save, n, direct.save()?, unmapping + memfd.read()? + direct.request);
            growth.add(FREE, n, direct.free()?, memfd.punch()?);
            growth.add(RECLAIM, n, direct.reclaim()?, memfd.punch()? + direct.requests);
        }
        let times = [direct.quit()?, memfd.quit()?];
        case.reuse_server_name();
        if processes > 0 {
            growth.add(EXIT, each * processes as u64, times[0], times[1]);
        }
        Ok(())
    })
}

/// Page of a server that many mappings show.
struct DirectPage {
    server: Server,
    client: Client,
    /// Mapping of another page.
    other: Map,
    /// Time of one request.
    request: Duration,
    /// Time of a RECLAIM of a page with one mapping: that of its requests.
    requests: Duration,
}

impl DirectPage {
    /// Starts a client and processes that share the page, each with `each` mappings.
    fn start(case: &mut Case, each: usize, processes: usize) -> Result<DirectPage, Failure> {
        let page = page_size();
        let server = case.serve_as(quick_behaviour())?;
        let mut client = case.client("client", &server)?;
        let request = time_request(&mut client)?;
        let other = client.map(page as u64, page)?;
        client.crowd(CrowdCommand::Map { count: 1, len: page, parts: 1 })?;
        let requests = shortest(5, || {
            client.crowd(CrowdCommand::Touch)?;
            client.time_touches(other).map(Duration::from_nanos)
        })?;
        client.crowd(CrowdCommand::Map { count: each - 1, len: page, parts: 1 })?;
        client.crowd(CrowdCommand::Fork { processes })?;
        Ok(DirectPage { server, client, other, request, requests })
    }

    fn touch(&mut self) -> Result<(), Failure> {
        self.client.crowd(CrowdCommand::Touch).map(drop)
    }

    fn load(&mut self) -> Result<Duration, Failure> {
        self.touch()?;
        self.server.time_blocks(Direction::ToFile, page_size(), 1)
    }

    fn save(&mut self) -> Result<Duration, Failure> {
        self.touch()?;
        self.server.time_blocks(Direction::FromFile, page_size(), 1)
    }

    fn free(&mut self) -> Result<Duration, Failure> {
        self.touch()?;
        self.server.time_free(1)
    }

    fn reclaim(&mut self) -> Result<Duration, Failure> {
        self.touch()?;
        self.client.time_touches(self.other).map(Duration::from_nanos)
    }

    /// Ends the processes, and forks as many new ones.
    fn renew(&mut self, processes: usize) -> Result<(), Failure> {
        renew(&mut self.client, processes)
    }

    /// Ends the processes, and returns the time of their ends.
    fn quit(mut self) -> Result<Duration, Failure> {
        self.touch()?;
        let time = self.client.crowd(CrowdCommand::Dismiss)?;
        self.client.quit()?;
        self.server.quit()?;
        Ok(time)
    }
}

/// Page of a memfd that as many mappings show.
struct MemfdPage {
    file: Fd,
    client: Client,
    /// Mapping of the page that belongs to no crowd.
    view: Map,
}

impl MemfdPage {
    fn start(case: &Case, each: usize, processes: usize) -> Result<MemfdPage, Failure> {
        let page = page_size();
        let file = memfd("page", (bystander::OWN_PAGE + 1) * page as u64)?;
        let mut client = case.client_of("memfd client", &file)?;
        let view = client.map(0, page)?;
        client.crowd(CrowdCommand::Map { count: each, len: page, parts: 1 })?;
        client.crowd(CrowdCommand::Fork { processes })?;
        Ok(MemfdPage { file, client, view })
    }

    /// Starts a client of the memfd that maps other pages.
    fn neighbour(&self, case: &Case) -> Result<Client, Failure> {
        case.client_of("neighbour", &self.file)
    }

    fn touch(&mut self) -> Result<(), Failure> {
        self.client.crowd(CrowdCommand::Touch).map(drop)
    }

    fn write(&mut self) -> Result<Duration, Failure> {
        self.touch()?;
        self.client.time_blocks(Direction::ToFile, page_size(), 1)
    }

    fn read(&mut self) -> Result<Duration, Failure> {
        self.touch()?;
        self.client.time_blocks(Direction::FromFile, page_size(), 1)
    }

    fn punch(&mut self) -> Result<Duration, Failure> {
        self.touch()?;
        time_punch(&mut self.client, self.view)
    }

    fn renew(&mut self, processes: usize) -> Result<(), Failure> {
        renew(&mut self.client, processes)
    }

    fn quit(mut self) -> Result<Duration, Failure> {
        self.touch()?;
        let time = self.client.crowd(CrowdCommand::Dismiss)?;
        self.client.quit()?;
        Ok(time)
    }
}

/// Ends the processes of a client after a touch of all mappings, and forks as many new ones.
fn renew(client: &mut Client, processes: usize) -> Result<(), Failure> {
    client.crowd(CrowdCommand::Touch)?;
    client.crowd(CrowdCommand::Dismiss)?;
    client.crowd(CrowdCommand::Fork { processes }).map(drop)
}

/// Punches a hole into the memfd where `map` shows it, and returns the time.
fn time_punch(client: &mut Client, map: Map) -> Result<Duration, Failure> {
    client.number(map, MappingCommand::TimeAdvise(Advice::Remove)).map(Duration::from_nanos)
}

/// The server loads, saves, frees and gives back pages of one mapping of n pages, which a client touches and unmaps.
fn pages(case: &mut Case) -> Result<(), Failure> {
    counters::set(LIMIT_TOTAL, NO_LIMIT)?;
    measure(case, "pages", |case, growth, n| {
        for _ in 0..rounds(n) {
            direct_pages(case, n as usize)?.add(memfd_pages(case, n as usize)?, n, growth);
        }
        Ok(())
    })
}

/// Times of operations on many pages.
struct PageTimes {
    /// Time of one request, or 0 for the memfd.
    request: Duration,
    load: Duration,
    touch: Duration,
    save: Duration,
    free: Duration,
    /// Time of [`PAGES_OVER_LIMIT`] touches above the limit.
    reclaim: Duration,
    munmap: Duration,
    exit: Duration,
}

impl PageTimes {
    fn add(self, memfd: PageTimes, n: u64, growth: &mut Growth) {
        growth.add(LOAD, n, self.load, memfd.load);
        growth.add(TOUCH, n, self.touch, memfd.touch);
        growth.add(SAVE, n, self.save, memfd.save + self.request * blocks(n as usize).1 as u32);
        growth.add(FREE, n, self.free, memfd.free);
        growth.add(MUNMAP, n, self.munmap, memfd.munmap);
        growth.add(EXIT, n, self.exit, memfd.exit);
        let requests = self.request * (PAGES_OVER_LIMIT as u32 + RECLAIMS);
        growth.add(RECLAIM_SOME, n, self.reclaim, memfd.reclaim + requests);
    }
}

fn direct_pages(case: &mut Case, n: usize) -> Result<PageTimes, Failure> {
    let page = page_size();
    counters::set(LIMIT_PER_CONNECTION, NO_LIMIT)?;
    let mut server = case.serve_as(quick_behaviour())?;
    let mut client = case.client("client", &server)?;
    let request = time_request(&mut client)?;
    let keeper = client.fork("keeper")?;
    let map = CrowdCommand::Map { count: 1, len: n * page, parts: 1 };
    let (size, count) = blocks(n);

    client.crowd(map)?;
    let load = server.time_blocks(Direction::ToFile, size, count)?;
    let touch = client.crowd(CrowdCommand::Touch)?;
    let save = server.time_blocks(Direction::FromFile, size, count)?;
    let free = server.time_free(n as u64)?;

    let over = client.map((n * page) as u64, PAGES_OVER_LIMIT * page)?;
    server.time_blocks(Direction::ToFile, size, count)?;
    client.crowd(CrowdCommand::Touch)?;
    counters::set(LIMIT_PER_CONNECTION, n as u64)?;
    let reclaim = Duration::from_nanos(client.time_touches(over)?);
    counters::set(LIMIT_PER_CONNECTION, NO_LIMIT)?;
    client.unmap(over)?;

    server.time_blocks(Direction::ToFile, size, count)?;
    client.crowd(CrowdCommand::Touch)?;
    let munmap = client.crowd(CrowdCommand::Unmap { count: 1 })?;

    client.crowd(map)?;
    client.close()?;
    server.time_blocks(Direction::ToFile, size, count)?;
    client.crowd(CrowdCommand::Touch)?;
    let exit = time_exit(client)?;
    keeper.quit()?;
    server.quit()?;
    case.reuse_server_name();
    Ok(PageTimes { request, load, touch, save, free, reclaim, munmap, exit })
}

fn memfd_pages(case: &Case, n: usize) -> Result<PageTimes, Failure> {
    let page = page_size();
    let file = memfd("pages", ((n + PAGES_OVER_LIMIT) * page) as u64)?;
    let mut client = case.client_of("memfd client", &file)?;
    let map = CrowdCommand::Map { count: 1, len: n * page, parts: 1 };
    let (size, count) = blocks(n);
    let view = client.map(0, n * page)?;

    client.crowd(map)?;
    let load = client.time_blocks(Direction::ToFile, size, count)?;
    let touch = client.crowd(CrowdCommand::Touch)?;
    let save = client.time_blocks(Direction::FromFile, size, count)?;
    let free = time_punch(&mut client, view)?;

    let over = client.map((n * page) as u64, PAGES_OVER_LIMIT * page)?;
    let touches = client.time_touches(over)?;
    let reclaim = Duration::from_nanos(touches) + time_punch(&mut client, over)?;

    client.crowd(CrowdCommand::Touch)?;
    let munmap = client.crowd(CrowdCommand::Unmap { count: 1 })? + time_punch(&mut client, view)?;

    client.unmap(view)?;
    client.crowd(map)?;
    client.crowd(CrowdCommand::Touch)?;
    drop(file);
    let exit = time_exit(client)?;
    let request = Duration::ZERO;
    Ok(PageTimes { request, load, touch, save, free, reclaim, munmap, exit })
}

/// Returns the size and the number of the blocks that cover at least `pages` pages.
fn blocks(pages: usize) -> (usize, usize) {
    let size = BLOCK.min(pages * page_size());
    (size, (pages * page_size()).div_ceil(size))
}

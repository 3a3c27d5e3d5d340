// SPDX-License-Identifier: MIT OR Apache-2.0
//! A server that reads what it is asked and never answers: whoever waits for it can be killed, and nobody else waits.

use std::time::Duration;

use server::abi::op;
use server::{Behaviour, OnFault, OnMmap, OnReclaim, Unanswered};
use sys::{Instant, Signal, page_size};

use crate::stage::counters::{self, LIMIT_PER_CONNECTION, PAGES_TOTAL};
use crate::stage::waiting::{HOLD_FAULTS, MOMENT, await_request, lazy_behaviour};
use crate::stage::{Case, Client, Failure, Process, Server, Workload, expect, expect_that};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[("deaf", deaf)];

/// How long a process that is killed may take to be gone, on a machine that is emulated; the figure says how long it took.
const PATIENCE: Duration = Duration::from_secs(5);

/// Requests that the kernel lets wait in the background, as the server has answered to FUSE_INIT; it is the default as well.
const MAX_BACKGROUND: u64 = 12;

/// Another connection, and a client of it.
struct Elsewhere {
    server: Server,
    client: Client,
    rounds: u64,
}

impl Elsewhere {
    /// Nothing is held up there.
    fn expect_usable(&mut self) -> Result<(), Failure> {
        let page = page_size();
        self.rounds += 1;
        let map = self.client.map(0, page)?;
        let here = self.server.map_pages(self.server.page_id(0)?, 1)?;
        self.client.fill(map, 0, page, self.rounds)?;
        self.server.verify(here, 0, page, self.rounds)?;
        self.client.unmap(map)?;
        self.server.unmap(here)?;
        self.server.await_munmaps(self.rounds).map(drop)
    }
}

/// A client that waits for `opcode` is gone soon after it was killed, without an answer.
fn expect_killable(
    case: &mut Case,
    what: &str,
    client: Client,
    elsewhere: &mut Elsewhere,
) -> Result<(), Failure> {
    expect_that(!client.is_done_within(MOMENT)?, || {
        format!("a client did not wait for {what}")
    })?;
    elsewhere
        .expect_usable()
        .map_err(|failure| failure.after(what))?;
    let start = Instant::now();
    client.signal(Signal::Kill)?;
    // The end of its pipe is the end of the process.
    expect_that(client.is_done_within(PATIENCE)?, || {
        format!("a client that waits for {what} was still there {PATIENCE:?} after SIGKILL")
    })?;
    client.kill()?;
    let name = format!("kill_{what}_us");
    case.figure(name, start.elapsed().as_micros() as f64);
    elsewhere
        .expect_usable()
        .map_err(|failure| failure.after(what))
}

/// In each state in which a client can wait.
fn deaf(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let server = case.serve()?;
    let client = case.client("client elsewhere", &server)?;
    let mut elsewhere = Elsewhere {
        server,
        client,
        rounds: 0,
    };
    let mut server = case.serve_as(Behaviour::lazy())?;
    let silent = Behaviour {
        mmap: OnMmap::Hold,
        unanswered: Some(Unanswered::Munmap),
        ..lazy_behaviour(HOLD_FAULTS, OnReclaim::Hold)
    };

    // FUSE_MMAP, at a new address and in the place of a mapping.
    server.behave(silent)?;
    let mut client = case.client("client", &server)?;
    client.start_map(0, page)?;
    await_request(&mut server, op::MMAP, None)?;
    expect_killable(case, "mmap", client, &mut elsewhere)?;

    server.behave(Behaviour::lazy())?;
    server.await_munmaps(1)?;
    let mut client = case.client("client", &server)?;
    let map = client.map(0, page)?;
    let before = server.log()?.unique(op::MMAP);
    server.behave(silent)?;
    client.start_map_over(map, 0, page)?;
    await_request(&mut server, op::MMAP, before)?;
    expect_killable(case, "mmap_over", client, &mut elsewhere)?;

    // FUSE_DMMAP_FAULT.
    server.behave(Behaviour::lazy())?;
    let mut client = case.client("client", &server)?;
    let map = client.map(0, 5 * page)?;
    server.behave(silent)?;
    client.start_load(map, 0)?;
    await_request(&mut server, op::DMMAP_FAULT, None)?;
    expect_killable(case, "fault", client, &mut elsewhere)?;

    // FUSE_DMMAP_RECLAIM: for room, and for a page that was asked back.
    server.behave(Behaviour::lazy())?;
    server.await_munmaps(4)?;
    let mut client = case.client("client", &server)?;
    let mut other = case.client("other client", &server)?;
    let map = client.map(0, 5 * page)?;
    let there = other.map(0, 5 * page)?;
    counters::set(LIMIT_PER_CONNECTION, 4)?;
    client.fill(map, 0, 4 * page, 1)?;
    server.behave(Behaviour {
        mmap: silent.mmap,
        unanswered: silent.unanswered,
        ..lazy_behaviour(OnFault::Fill, OnReclaim::Hold)
    })?;
    client.start_load(map, 4 * page)?;
    await_request(&mut server, op::DMMAP_RECLAIM, None)?;
    other.start_load(there, 0)?;
    expect_killable(case, "reclaim", client, &mut elsewhere)?;
    expect_killable(case, "reclaimed_page", other, &mut elsewhere)?;

    // FUSE_MUNMAP: nobody waits for that, however many there are.
    await_request(&mut server, op::MUNMAP, None)?;
    expect("pages that can be saved", server.pages()?, 4)?;
    server.behave(Behaviour {
        unanswered: silent.unanswered,
        ..Behaviour::lazy()
    })?;
    let mut client = case.client("client", &server)?;
    for round in 1..=2 * MAX_BACKGROUND {
        let map = client.map(0, page)?;
        client.store(map, 0, round)?;
        client.unmap(map)?;
    }
    client.quit()?;
    elsewhere.expect_usable()?;
    server.kill()?;
    expect("pages at the end", counters::read(PAGES_TOTAL)?, 0)?;

    // A server that does not even read, and a client that waits for a page. That one has closed the file, and another
    // holds it by its mapping: who closes it, or is the last to have a device, waits for FUSE_FLUSH or FUSE_RELEASE,
    // even if it is killed, as with every server.
    let mut server = case.serve_as(Behaviour::lazy())?;
    let mut client = case.client("client", &server)?;
    let map = client.map(0, page)?;
    client.close()?;
    let child = client.fork("child of the client")?;
    server.behave(Behaviour {
        deaf: true,
        ..Behaviour::lazy()
    })?;
    client.start_load(map, 0)?;
    expect_killable(case, "unread_fault", client, &mut elsewhere)?;
    server.kill()?;
    child.quit()?;
    elsewhere.expect_usable()?;
    elsewhere.client.quit()?;
    elsewhere.server.quit()
}

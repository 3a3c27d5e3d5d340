// SPDX-License-Identifier: MIT OR Apache-2.0
//! A server that reads requests and never answers. A client that waits for it can be killed, and no other process
//! waits.

use std::time::Duration;

use server::abi::op;
use server::{Behaviour, OnFault, OnMmap, OnReclaim, Unanswered};
use sys::{Instant, Signal, page_size};

use crate::stage::counters::{self, LIMIT_PER_CONNECTION, PAGES_TOTAL};
use crate::stage::waiting::{
    HOLD_FAULTS, MOMENT, await_request, await_requests, holding_faults, lazy_behaviour,
};
use crate::stage::{Case, Client, Failure, Process, Server, Workload, expect, expect_that};

pub(crate) const WORKLOADS: &[(&str, Workload)] =
    &[("silent", silent), ("faults-bounded", faults_bounded)];

/// Longest time from SIGKILL to the end of the process, on an emulated machine. A figure reports the measured time.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of background requests that the server sets in its answer to FUSE_INIT. It is the kernel's default.
const MAX_BACKGROUND: u64 = 12;

/// Another connection and its client, which the silent server must not delay.
struct Bystander {
    server: Server,
    client: Client,
    rounds: u64,
}

impl Bystander {
    /// Fails unless the client can map, access and unmap a page.
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

/// Kills a client that waits for `what`. Fails unless the client ends in time without an answer.
fn expect_killable(
    case: &mut Case,
    what: &str,
    client: Client,
    bystander: &mut Bystander,
) -> Result<(), Failure> {
    expect_that(!client.is_done_within(MOMENT)?, || format!("a client did not wait for {what}"))?;
    bystander.expect_usable().map_err(|failure| failure.after(what))?;
    let start = Instant::now();
    client.signal(Signal::Kill)?;
    // The pipe ends when the process has ended.
    expect_that(client.is_done_within(KILL_TIMEOUT)?, || {
        format!("a client that waits for {what} still ran {KILL_TIMEOUT:?} after SIGKILL")
    })?;
    client.kill()?;
    case.figure(format!("kill_{what}_us"), start.elapsed().as_micros() as f64);
    bystander.expect_usable().map_err(|failure| failure.after(what))
}

/// Kills a client in each state in which it can wait for the server.
fn silent(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let server = case.serve()?;
    let client = case.client("bystander", &server)?;
    let mut bystander = Bystander { server, client, rounds: 0 };
    let mut server = case.serve_as(Behaviour::lazy())?;
    let silent = Behaviour {
        mmap: OnMmap::Hold,
        unanswered: Some(Unanswered::Munmap),
        ..lazy_behaviour(HOLD_FAULTS, OnReclaim::Hold)
    };

    // FUSE_MMAP, at a new address and over an existing mapping.
    server.behave(silent)?;
    let mut client = case.client("client", &server)?;
    client.start_map(0, page)?;
    await_request(&mut server, op::MMAP, None)?;
    expect_killable(case, "mmap", client, &mut bystander)?;

    server.behave(Behaviour::lazy())?;
    server.await_munmaps(1)?;
    let mut client = case.client("client", &server)?;
    let map = client.map(0, page)?;
    let before = server.log()?.unique(op::MMAP);
    server.behave(silent)?;
    client.start_map_over(map, 0, page)?;
    await_request(&mut server, op::MMAP, before)?;
    expect_killable(case, "mmap_over", client, &mut bystander)?;

    // FUSE_DMMAP_FAULT.
    server.behave(Behaviour::lazy())?;
    let mut client = case.client("client", &server)?;
    let map = client.map(0, 5 * page)?;
    server.behave(silent)?;
    client.start_load(map, 0)?;
    await_request(&mut server, op::DMMAP_FAULT, None)?;
    expect_killable(case, "fault", client, &mut bystander)?;

    // FUSE_DMMAP_RECLAIM: one client waits for room, another for a page that is being reclaimed.
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
    expect_killable(case, "reclaim", client, &mut bystander)?;
    expect_killable(case, "reclaimed_page", other, &mut bystander)?;

    // FUSE_MUNMAP: no client waits for the answer, even if there are many requests.
    await_request(&mut server, op::MUNMAP, None)?;
    expect("pages that can be saved", server.pages()?, 4)?;
    server.behave(Behaviour { unanswered: silent.unanswered, ..Behaviour::lazy() })?;
    let mut client = case.client("client", &server)?;
    for round in 1..=2 * MAX_BACKGROUND {
        let map = client.map(0, page)?;
        client.store(map, 0, round)?;
        client.unmap(map)?;
    }
    client.quit()?;
    bystander.expect_usable()?;
    server.kill()?;
    expect("pages at the end", counters::read(PAGES_TOTAL)?, 0)?;

    // A server that does not even read requests, and a client that waits for a page. The client has closed the file,
    // and its child keeps the file open by its mapping. Otherwise the client would wait for FUSE_FLUSH when it closes
    // the file, or for FUSE_RELEASE as the last user of a device, even after SIGKILL. That is so for every FUSE server.
    let (mut server, mut client) = case.serve_with_client(Behaviour::lazy())?;
    let map = client.map(0, page)?;
    client.close()?;
    let child = client.fork("child of the client")?;
    server.behave(Behaviour { reads_nothing: true, ..Behaviour::lazy() })?;
    client.start_load(map, 0)?;
    expect_killable(case, "unread_fault", client, &mut bystander)?;
    server.kill()?;
    child.quit()?;
    bystander.expect_usable()?;
    bystander.client.quit()?;
    bystander.server.quit()
}

/// A FUSE_DMMAP_FAULT counts until the server answers, even if its page is gone. Over the limit, a client that touches
/// another page waits and causes no further request.
fn faults_bounded(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let limit: u64 = case.param("limit")?;
    counters::set(LIMIT_PER_CONNECTION, limit)?;
    let mut server = case.serve_as(holding_faults())?;
    for number in 0..limit {
        let mut client = case.client(&format!("client {number}"), &server)?;
        let map = client.map(number * page as u64, page)?;
        client.start_load(map, 0)?;
        await_requests(&mut server, "a FUSE_DMMAP_FAULT", |log| log.faults > number)?;
        client.kill()?;
    }
    server.await_munmaps(limit)?;
    expect("pages while only requests are left", server.pages()?, 0)?;

    let mut client = case.client("client", &server)?;
    let map = client.map(limit * page as u64, page)?;
    client.start_load(map, 0)?;
    expect_that(!client.is_done_within(MOMENT)?, || {
        format!("a client did not wait, although {limit} FUSE_DMMAP_FAULTs are unanswered")
    })?;
    expect("FUSE_DMMAP_FAULTs at the limit", server.log()?.faults, limit)?;
    server.behave(Behaviour::lazy())?;
    client.finish_load()?;
    expect("FUSE_DMMAP_FAULTs after the answers", server.log()?.faults, limit + 1)?;
    server.quit_after([client])
}

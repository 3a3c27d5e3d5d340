// SPDX-License-Identifier: MIT OR Apache-2.0
//! Servers that die while they handle a request, and channels that outlive their server.

use server::abi::op;
use server::{Behaviour, OnFault, OnMmap, OnReclaim, Unanswered};
use sys::{Errno, page_size};

use crate::stage::command::{Map, Touch};
use crate::stage::counters::{self, LIMIT_PER_CONNECTION, PAGES_TOTAL};
use crate::stage::waiting::{
    MOMENT, await_request, await_requests, holding_faults, lazy_behaviour,
};
use crate::stage::{Case, Client, Failure, Process, Server, Workload, expect, expect_that};

pub(crate) const WORKLOADS: &[(&str, Workload)] =
    &[("dies-at", dies_at), ("passed-on", passed_on), ("closed", closed)];

/// A server that fills pages with the pattern of 1, and a client that maps three of them and has touched the first.
struct Setup {
    server: Server,
    client: Client,
    map: Map,
}

/// Function that kills the server while it handles a request. Returns the client and its mapping.
type Step = fn(&Case, Setup) -> Result<(Client, Map), Failure>;

const STEPS: &[(&str, Step)] = &[
    ("FUSE_OPEN", at_open),
    ("FUSE_MMAP", at_mmap),
    ("FUSE_DMMAP_FAULT", at_fault),
    ("FUSE_DMMAP_RECLAIM", at_reclaim),
    ("FUSE_MUNMAP", at_munmap),
    ("half a load", at_half_a_load),
];

/// Kills a server at each of [`STEPS`]. Clients must keep the pages that they have and get no new ones, and all pages
/// must be freed at the end.
fn dies_at(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let limit = counters::read(LIMIT_PER_CONNECTION)?;
    for (what, step) in STEPS {
        let (mut server, mut client) = case.serve_with_client(Behaviour::lazy())?;
        client.write_read(0, 3 * page, 1)?;
        let map = client.map(0, 3 * page)?;
        client.verify(map, 0, page, 1)?;
        expect("pages", server.pages()?, 1)?;
        server.log()?;
        step(case, Setup { server, client, map })
            .and_then(|(client, map)| expect_left(client, map))
            .map_err(|failure| failure.after(&format!("the end of the server at {what}")))?;
        counters::set(LIMIT_PER_CONNECTION, limit)?;
    }
    Ok(())
}

/// Fails unless a client whose server is gone has its first page, and can get no other.
fn expect_left(mut client: Client, map: Map) -> Result<(), Failure> {
    let page = page_size();
    client.verify(map, 0, page, 1)?;
    expect("pages", counters::read(PAGES_TOTAL)?, 1)?;
    expect("a touch of a new page", client.touch(map, 2 * page, true)?, Touch::Sigbus)?;
    expect("the kernel's touch of a new page", client.probe(map, 2 * page)?, Touch::Efault)?;
    expect("a new mmap", client.try_map(0, page)?.map(drop), Err(Errno::ENOTCONN))?;
    client.verify(map, 0, page, 1)?;
    client.quit()?;
    expect("pages at the end", counters::read(PAGES_TOTAL)?, 0)
}

fn at_open(case: &Case, mut setup: Setup) -> Result<(Client, Map), Failure> {
    setup.server.behave(Behaviour { unanswered: Some(Unanswered::Open), ..Behaviour::lazy() })?;
    let before = setup.server.log()?.unique(op::OPEN);
    let mut other = case.client_without_file("other client", &setup.server)?;
    other.start_open()?;
    await_request(&mut setup.server, op::OPEN, before)?;
    setup.server.kill()?;
    expect("open", other.finish_try_call()?, Err(Errno::ECONNABORTED))?;
    other.quit()?;
    Ok((setup.client, setup.map))
}

fn at_mmap(case: &Case, mut setup: Setup) -> Result<(Client, Map), Failure> {
    setup.server.behave(Behaviour { mmap: OnMmap::Hold, ..Behaviour::lazy() })?;
    let mut other = case.client("other client", &setup.server)?;
    other.start_map(0, page_size())?;
    await_requests(&mut setup.server, "a FUSE_MMAP", |log| log.mmaps == 2)?;
    setup.server.kill()?;
    expect("mmap", other.finish_try_map()?.map(drop), Err(Errno::ECONNABORTED))?;
    other.quit()?;
    Ok((setup.client, setup.map))
}

fn at_fault(case: &Case, mut setup: Setup) -> Result<(Client, Map), Failure> {
    let page = page_size();
    setup.server.behave(holding_faults())?;
    let mut other = case.client("other client", &setup.server)?;
    let there = other.map(0, 3 * page)?;
    setup.client.start_touch(setup.map, page, true)?;
    other.start_probe(there, page)?;
    await_requests(&mut setup.server, "a FUSE_DMMAP_FAULT", |log| log.faults == 2)?;
    // The server dies when it has loaded half of the page.
    let id = setup.server.page_id(0)?;
    expect("half a load", setup.server.load_pages(id, page, page / 2, 7)?, Ok(()))?;
    setup.server.kill()?;
    expect("the touch", setup.client.finish_touch()?, Touch::Sigbus)?;
    expect("the kernel's touch", other.finish_touch()?, Touch::Efault)?;
    other.verify(there, 0, page, 1)?;
    other.quit()?;
    Ok((setup.client, setup.map))
}

fn at_reclaim(case: &Case, mut setup: Setup) -> Result<(Client, Map), Failure> {
    let page = page_size();
    setup.server.behave(lazy_behaviour(OnFault::Fill, OnReclaim::Hold))?;
    let mut other = case.client("other client", &setup.server)?;
    let there = other.map(0, 3 * page)?;
    counters::set(LIMIT_PER_CONNECTION, 1)?;
    setup.client.start_touch(setup.map, page, true)?;
    await_requests(&mut setup.server, "a FUSE_DMMAP_RECLAIM", |log| log.reclaims == 1)?;
    // The kernel is reclaiming the first page. An access to that page must wait.
    other.start_load(there, 0)?;
    expect_that(!other.is_done_within(MOMENT)?, || {
        "a client could load a page during its reclaim".into()
    })?;
    setup.server.kill()?;
    expect("the touch", setup.client.finish_touch()?, Touch::Sigbus)?;
    other.finish_load()?;
    other.verify(there, 0, page, 1)?;
    other.quit()?;
    // Raises the limit, so that the next touch fails because of the missing server and not because of the limit.
    counters::set(LIMIT_PER_CONNECTION, 3)?;
    Ok((setup.client, setup.map))
}

fn at_munmap(case: &Case, mut setup: Setup) -> Result<(Client, Map), Failure> {
    let page = page_size();
    setup.server.behave(Behaviour { unanswered: Some(Unanswered::Munmap), ..Behaviour::lazy() })?;
    let mut other = case.client("other client", &setup.server)?;
    let there = other.map(0, 3 * page)?;
    let far = other.map(9 * page as u64, page)?;
    other.fill(far, 0, page, 5)?;
    other.unmap(far)?;
    await_request(&mut setup.server, op::MUNMAP, None)?;
    expect("pages that can be saved", setup.server.pages()?, 2)?;
    setup.server.kill()?;
    other.verify(there, 0, page, 1)?;
    other.quit()?;
    Ok((setup.client, setup.map))
}

fn at_half_a_load(case: &Case, mut setup: Setup) -> Result<(Client, Map), Failure> {
    let page = page_size();
    let far = 9 * page as u64;
    let mut other = case.client("other client", &setup.server)?;
    let there = other.map(far, 2 * page)?;
    let id = setup.server.page_id(far)?;
    let loaded = setup.server.load_pages(id, 0, 3 * page, 6)?;
    expect("a load past the end of the mapping", loaded, Err(Errno::ENXIO))?;
    setup.server.kill()?;
    other.verify(there, 0, 2 * page, 6)?;
    other.quit()?;
    Ok((setup.client, setup.map))
}

/// Kills a server whose child has inherited the channel. The child must be able to continue without its clients
/// noticing. Only root can map the channel.
fn passed_on(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut first = case.serve_as(Behaviour::lazy())?;
    let id = first.page_id(0)?;
    let mut client = case.client("client", &first)?;
    client.write_read(0, 2 * page, 1)?;
    let map = client.map(0, 3 * page)?;
    client.verify(map, 0, page, 1)?;
    let here = first.map_pages(id, 1)?;

    // One client waits for a page and another for a mapping. The server dies after it has read both requests.
    let mut other = case.client("other client", &first)?;
    first.behave(Behaviour { mmap: OnMmap::Hold, ..holding_faults() })?;
    client.start_probe(map, page)?;
    other.start_map(0, page)?;
    await_requests(&mut first, "both requests", |log| (log.faults, log.mmaps) == (2, 2))?;
    let mut second = first.fork("second server")?;
    let mut third = first.fork("third process")?;
    first.kill()?;
    expect_that(!other.is_done_within(MOMENT)? && !client.is_done_within(MOMENT)?, || {
        "a client that waited returned after the end of the first server".into()
    })?;
    second.behave(Behaviour::lazy())?;
    expect("the touch", client.finish_touch()?, Touch::Success)?;
    let there = other.finish_map()?;
    client.verify(map, 0, 2 * page, 1)?;
    other.fill(there, 0, page, 2)?;
    client.verify(map, 0, page, 2)?;
    // The second server has inherited the mappings of the first.
    second.verify(here, 0, page, 2)?;
    second.map_pages(id, 2)?;
    client.write_read(0, page, 3)?;

    third.drop_privileges()?;
    expect("mmap without root", third.try_map(id * page as u64, page)?.err(), Some(Errno::EPERM))?;
    // It keeps the mapping that it has inherited.
    third.verify(here, 0, page, 2)?;
    third.kill()?;

    client.quit()?;
    other.quit()?;
    second.await_munmaps(2)?;
    second.quit()
}

/// Closes and unmaps the channel, in both orders. A mapping keeps the channel open, so the connection must end with the
/// second of the two.
fn closed(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    for unmaps_first in [true, false] {
        let mut server = case.serve()?;
        let id = server.page_id(0)?;
        let mut client = case.client("client", &server)?;
        let mut other = case.client("other client", &server)?;
        let map = client.map(0, 3 * page)?;
        let here = server.map_pages(id, 3)?;
        client.fill(map, 0, page, 1)?;
        server.verify(here, 0, page, 1)?;
        match unmaps_first {
            true => {
                server.unmap(here)?;
                server.close_channel()?;
            }
            false => {
                server.close_channel()?;
                // To clients, the server now looks slow.
                client.fill(map, page, page, 2)?;
                server.verify(here, page, page, 2)?;
                other.start_map(0, page)?;
                expect_that(!other.is_done_within(MOMENT)?, || {
                    "mmap did not wait for a server whose channel is mapped".into()
                })?;
                server.unmap(here)?;
                let mapped = other.finish_try_map()?.map(drop);
                expect("the mmap that waited", mapped, Err(Errno::ECONNABORTED))?;
            }
        }
        client.verify(map, 0, page, 1)?;
        client.fill(map, 0, page, 3)?;
        expect("a touch of a new page", client.touch(map, 2 * page, true)?, Touch::Sigbus)?;
        for process in [&mut client, &mut other] {
            expect("a new mmap", process.try_map(0, page)?.map(drop), Err(Errno::ENOTCONN))?;
        }
        client.verify(map, 0, page, 3)?;
        client.quit()?;
        other.quit()?;
        expect("pages at the end", counters::read(PAGES_TOTAL)?, 0)?;
        server.quit()?;
    }
    Ok(())
}

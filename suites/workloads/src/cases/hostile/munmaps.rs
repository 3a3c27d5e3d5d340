// SPDX-License-Identifier: MIT OR Apache-2.0
//! A server that does not answer FUSE_MUNMAP, or does not read it. Nothing waits for the answer, and what the server has
//! not answered counts as mappings of the connection.

use server::abi::op;
use server::{Behaviour, Unanswered};
use sys::{Errno, Signal, page_size, sleep};

use crate::stage::counters::{self, LIMIT_MAPS};
use crate::stage::waiting::{CALL_TIMEOUT, MOMENT, await_requests, await_that, expect_returns};
use crate::stage::{Case, Client, Failure, Process, Workload, expect, expect_that};

pub(crate) const WORKLOADS: &[(&str, Workload)] =
    &[("munmaps-unanswered", unanswered), ("munmaps-bounded", bounded), ("unread", unread)];

/// Has a client map, touch and unmap a page `times` times.
fn map_and_unmap(client: &mut Client, times: u64) -> Result<(), Failure> {
    for time in 1..=times {
        let map = client.map(0, page_size())?;
        client.store(map, 0, time)?;
        client.unmap(map)?;
    }
    Ok(())
}

/// Leaves more FUSE_MUNMAPs unanswered than the kernel sends requests in the background. Reads of the file, opens and
/// closes must reach the server all the same, and so must all FUSE_MUNMAPs.
fn unanswered(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let count: u64 = case.param("munmaps")?;
    let answering = Behaviour { cached: true, ..Behaviour::default() };
    let mut server = case.serve_as(answering)?;
    let mut reader = case.client("reader", &server)?;
    reader.write_read(0, page, 1)?;
    reader.close()?;
    await_requests(&mut server, "a FUSE_RELEASE", |log| log.releases == 1)?;
    // A file of the same server that is open from now on.
    let mut opened = case.client("client with an open file", &server)?;
    server.behave(Behaviour { unanswered: Some(Unanswered::Munmap), ..answering })?;
    let mut client = case.client("client", &server)?;
    map_and_unmap(&mut client, count)?;

    // The kernel drops the pages of a file from its cache when the file is opened, so the read sends FUSE_READ.
    reader.open()?;
    reader.start_read_file(0, page, 1)?;
    let what = format!("a read while {count} FUSE_MUNMAPs are unanswered");
    expect_returns(&what, &mut reader)?;
    opened.close()?;
    reader.close()?;
    let releases = |log: &server::RequestLog| log.releases == 3;
    await_requests(&mut server, "the FUSE_RELEASE of two files", releases)?;
    await_requests(&mut server, "every FUSE_MUNMAP", |log| log.held == count)?;
    server.expect_maps("mappings before the answers", count)?;
    expect("pages before the answers", server.pages()?, 0)?;

    server.behave(answering)?;
    server.await_munmaps(count)?;
    server.expect_maps("mappings after the answers", 0)?;
    // FUSE_RELEASE of a file comes behind the FUSE_MUNMAPs of its mappings.
    let releases = server.log()?.releases;
    map_and_unmap(&mut client, 1)?;
    client.quit()?;
    let log = await_requests(&mut server, "a FUSE_RELEASE", |log| log.releases > releases)?;
    let last = log.last_requests.iter().rev().map(|request| request.opcode);
    let last: Vec<u32> =
        last.filter(|opcode| [op::MUNMAP, op::RELEASE].contains(opcode)).take(2).collect();
    expect("the last two requests of a client", last, vec![op::RELEASE, op::MUNMAP])?;
    reader.quit()?;
    opened.quit()?;
    server.quit()
}

/// Maps and unmaps while the server answers FUSE_MMAP but not FUSE_MUNMAP. At the limit on mappings, mmap must fail
/// with ENOMEM; when the server has answered, it must succeed again.
fn bounded(case: &mut Case) -> Result<(), Failure> {
    let limit: u64 = case.param("limit")?;
    counters::set(LIMIT_MAPS, limit)?;
    let mut server = case.serve()?;
    let mut client = case.client("client", &server)?;
    let mut munmaps = 0;
    for round in 1..=case.param::<u64>("rounds")? {
        server
            .behave(Behaviour { unanswered: Some(Unanswered::Munmap), ..Behaviour::default() })?;
        let (mut mapped, mut refused) = (0, None);
        while refused.is_none() && mapped < 4 * limit {
            match client.try_map(0, page_size())? {
                Ok(map) => {
                    client.store(map, 0, round)?;
                    client.unmap(map)?;
                    mapped += 1;
                }
                Err(errno) => refused = Some(errno),
            }
        }
        expect("mmaps with unanswered FUSE_MUNMAPs", mapped, limit)?;
        expect("the next mmap", refused, Some(Errno::ENOMEM))?;
        munmaps += limit;
        let counts = (server.count_maps()?.0, server.counter("maps")?);
        expect("FUSE_MMAPs and mappings", counts, (munmaps, limit))?;
        expect("pages", server.pages()?, 0)?;
        server.behave(Behaviour::default())?;
        server.await_munmaps(munmaps)?;
        server.expect_maps("mappings after the answers", 0)?;
        map_and_unmap(&mut client, 1)?;
        munmaps += 1;
        server.await_munmaps(munmaps)?;
    }
    client.quit()?;
    server.quit()
}

/// Unmaps, and maps, while the server reads nothing. FUSE_MUNMAPs and FUSE_MMAPs that it has not read count as mappings;
/// over the limit, mmap must fail with ENOMEM instead of waiting. That includes the FUSE_MMAP of a client that is killed.
fn unread(case: &mut Case) -> Result<(), Failure> {
    let (page, limit) = (page_size(), case.param::<u64>("limit")?);
    counters::set(LIMIT_MAPS, limit)?;
    let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
    let mut maps = Vec::new();
    for _ in 0..limit / 2 {
        maps.push(client.map(0, page)?);
    }
    let mut waiting = Vec::new();
    for number in 0..limit - limit / 2 {
        waiting.push(case.client(&format!("waiting client {number}"), &server)?);
    }

    server.behave(Behaviour { reads_nothing: true, ..Behaviour::default() })?;
    for map in maps {
        client.unmap(map)?;
    }
    server.expect_maps("mappings with unread FUSE_MUNMAPs", limit / 2)?;
    for client in &mut waiting {
        client.start_map(0, page)?;
    }
    await_that("FUSE_MMAPs that the server has not read did not count", || {
        Ok(server.pending_requests()? >= limit)
    })?;
    expect_at_limit(&mut client)?;
    let killed = waiting.pop().expect("clients wait");
    expect_that(!killed.is_done_within(MOMENT)?, || "a client did not wait in mmap".into())?;
    // It ends when the server reads again: until then it waits for FUSE_FLUSH of its file.
    killed.signal(Signal::Kill)?;
    sleep(MOMENT);
    server.expect_maps("mappings after a client was killed", limit)?;
    expect_at_limit(&mut client)?;

    server.behave(Behaviour::default())?;
    killed.kill()?;
    for (client, word) in waiting.iter_mut().zip(1..) {
        let map = client.finish_map()?;
        server.expect_store("a store, loaded by the server", client, map, word)?;
    }
    let log = server.await_munmaps(limit / 2 + 1)?;
    expect("FUSE_MMAPs", log.mmaps, limit)?;
    map_and_unmap(&mut client, 1)?;
    waiting.push(client);
    for client in waiting {
        client.quit()?;
    }
    server.await_munmaps(limit + 1)?;
    server.expect_maps("mappings at the end", 0)?;
    server.quit()
}

/// Fails unless a client's mmap fails with ENOMEM, and does not wait.
fn expect_at_limit(client: &mut Client) -> Result<(), Failure> {
    client.start_map(0, page_size())?;
    expect_that(client.is_done_within(CALL_TIMEOUT)?, || {
        "an mmap over the limit on mappings waits for the server".into()
    })?;
    expect("an mmap over the limit", client.finish_try_map()?.err(), Some(Errno::ENOMEM))
}

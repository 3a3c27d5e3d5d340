// SPDX-License-Identifier: MIT OR Apache-2.0
//! A server that dies half-way, or whose channel lives on without it.

use server::abi::op;
use server::{Behaviour, OnFault, OnMmap, OnReclaim, Unanswered};
use sys::{Errno, page_size};

use crate::stage::command::{Map, Touch};
use crate::stage::counters::{self, LIMIT_PER_CONNECTION, PAGES_TOTAL};
use crate::stage::waiting::{
    MOMENT, await_request, await_requests, holding_faults, lazy_behaviour,
};
use crate::stage::{Case, Client, Failure, Process, Server, Workload, expect, expect_that};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("dies-at", dies_at),
    ("passed-on", passed_on),
    ("closed", closed),
];

/// A server that fills pages, and a client with the first of three pages in use, filled with the pattern of 1.
struct Scene {
    server: Server,
    client: Client,
    map: Map,
}

/// What the server dies at.
type Step = fn(&Case, Scene) -> Result<(Client, Map), Failure>;

const STEPS: &[(&str, Step)] = &[
    ("FUSE_OPEN", at_open),
    ("FUSE_MMAP", at_mmap),
    ("FUSE_DMMAP_FAULT", at_fault),
    ("FUSE_DMMAP_RECLAIM", at_reclaim),
    ("FUSE_MUNMAP", at_munmap),
    ("half a load", at_half_a_load),
];

/// Whatever the server has left undone, what clients have stays, they get nothing new, and all comes back.
fn dies_at(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let limit = counters::read(LIMIT_PER_CONNECTION)?;
    for (what, step) in STEPS {
        let mut server = case.serve_as(Behaviour::lazy())?;
        let mut client = case.client("client", &server)?;
        client.write_read(0, 3 * page, 1)?;
        let map = client.map(0, 3 * page)?;
        client.verify(map, 0, page, 1)?;
        expect("pages", server.pages()?, 1)?;
        server.log()?;
        let scene = Scene {
            server,
            client,
            map,
        };
        step(case, scene)
            .and_then(|(client, map)| expect_left(client, map))
            .map_err(|failure| failure.after(&format!("the end of the server at {what}")))?;
        counters::set(LIMIT_PER_CONNECTION, limit)?;
    }
    Ok(())
}

/// What a client has of a server that is gone: its first page, and nothing else.
fn expect_left(mut client: Client, map: Map) -> Result<(), Failure> {
    let page = page_size();
    client.verify(map, 0, page, 1)?;
    expect("pages", counters::read(PAGES_TOTAL)?, 1)?;
    let touched = client.touch(map, 2 * page, true)?;
    expect("a touch of a new page", touched, Touch::Sigbus)?;
    expect(
        "the kernel's touch of a new page",
        client.probe(map, 2 * page)?,
        Touch::Efault,
    )?;
    let mapped = client.try_map(0, page)?.map(drop);
    expect("a new mmap", mapped, Err(Errno::ENOTCONN))?;
    client.verify(map, 0, page, 1)?;
    client.quit()?;
    expect("pages at the end", counters::read(PAGES_TOTAL)?, 0)
}

fn at_open(case: &Case, mut scene: Scene) -> Result<(Client, Map), Failure> {
    scene.server.behave(Behaviour {
        unanswered: Some(Unanswered::Open),
        ..Behaviour::lazy()
    })?;
    let before = scene.server.log()?.unique(op::OPEN);
    let mut other = case.client_without_file("other client", &scene.server)?;
    other.start_open()?;
    await_request(&mut scene.server, op::OPEN, before)?;
    scene.server.kill()?;
    expect("open", other.finish_try_call()?, Err(Errno::ECONNABORTED))?;
    other.quit()?;
    Ok((scene.client, scene.map))
}

fn at_mmap(case: &Case, mut scene: Scene) -> Result<(Client, Map), Failure> {
    scene.server.behave(Behaviour {
        mmap: OnMmap::Hold,
        ..Behaviour::lazy()
    })?;
    let mut other = case.client("other client", &scene.server)?;
    other.start_map(0, page_size())?;
    await_requests(&mut scene.server, "a FUSE_MMAP", |log| log.mmaps == 2)?;
    scene.server.kill()?;
    let mapped = other.finish_try_map()?.map(drop);
    expect("mmap", mapped, Err(Errno::ECONNABORTED))?;
    other.quit()?;
    Ok((scene.client, scene.map))
}

fn at_fault(case: &Case, mut scene: Scene) -> Result<(Client, Map), Failure> {
    let page = page_size();
    scene.server.behave(holding_faults())?;
    let mut other = case.client("other client", &scene.server)?;
    let there = other.map(0, 3 * page)?;
    scene.client.start_touch(scene.map, page, true)?;
    other.start_probe(there, page)?;
    await_requests(&mut scene.server, "a FUSE_DMMAP_FAULT", |log| {
        log.faults == 2
    })?;
    // As a server does: half of it is there.
    let id = scene.server.page_id(0)?;
    let loaded = scene.server.load_pages(id, page, page / 2, 7)?;
    expect("half a load", loaded, Ok(()))?;
    scene.server.kill()?;
    expect("the touch", scene.client.finish_touch()?, Touch::Sigbus)?;
    expect("the kernel's touch", other.finish_touch()?, Touch::Efault)?;
    other.verify(there, 0, page, 1)?;
    other.quit()?;
    Ok((scene.client, scene.map))
}

fn at_reclaim(case: &Case, mut scene: Scene) -> Result<(Client, Map), Failure> {
    let page = page_size();
    scene
        .server
        .behave(lazy_behaviour(OnFault::Fill, OnReclaim::Hold))?;
    let mut other = case.client("other client", &scene.server)?;
    let there = other.map(0, 3 * page)?;
    counters::set(LIMIT_PER_CONNECTION, 1)?;
    scene.client.start_touch(scene.map, page, true)?;
    await_requests(&mut scene.server, "a FUSE_DMMAP_RECLAIM", |log| {
        log.reclaims == 1
    })?;
    // It is asked for the first page, which waits.
    other.start_load(there, 0)?;
    expect_that(!other.is_done_within(MOMENT)?, || {
        "a page that was asked back could be loaded".into()
    })?;
    scene.server.kill()?;
    expect("the touch", scene.client.finish_touch()?, Touch::Sigbus)?;
    other.finish_load()?;
    other.verify(there, 0, page, 1)?;
    other.quit()?;
    // A limit that is not met, so that it is the server that is missing.
    counters::set(LIMIT_PER_CONNECTION, 3)?;
    Ok((scene.client, scene.map))
}

fn at_munmap(case: &Case, mut scene: Scene) -> Result<(Client, Map), Failure> {
    let page = page_size();
    scene.server.behave(Behaviour {
        unanswered: Some(Unanswered::Munmap),
        ..Behaviour::lazy()
    })?;
    let mut other = case.client("other client", &scene.server)?;
    let there = other.map(0, 3 * page)?;
    let far = other.map(9 * page as u64, page)?;
    other.fill(far, 0, page, 5)?;
    other.unmap(far)?;
    await_request(&mut scene.server, op::MUNMAP, None)?;
    expect("pages that can be saved", scene.server.pages()?, 2)?;
    scene.server.kill()?;
    other.verify(there, 0, page, 1)?;
    other.quit()?;
    Ok((scene.client, scene.map))
}

fn at_half_a_load(case: &Case, mut scene: Scene) -> Result<(Client, Map), Failure> {
    let page = page_size();
    let far = 9 * page as u64;
    let mut other = case.client("other client", &scene.server)?;
    let there = other.map(far, 2 * page)?;
    let id = scene.server.page_id(far)?;
    let loaded = scene.server.load_pages(id, 0, 3 * page, 6)?;
    expect(
        "a load past the end of the mapping",
        loaded,
        Err(Errno::ENXIO),
    )?;
    scene.server.kill()?;
    other.verify(there, 0, 2 * page, 6)?;
    other.quit()?;
    Ok((scene.client, scene.map))
}

/// Who inherits the channel can go on where another has stopped; clients notice nothing. To map it is for root alone.
fn passed_on(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut first = case.serve_as(Behaviour::lazy())?;
    let id = first.page_id(0)?;
    let mut client = case.client("client", &first)?;
    client.write_read(0, 2 * page, 1)?;
    let map = client.map(0, 3 * page)?;
    client.verify(map, 0, page, 1)?;
    let here = first.map_pages(id, 1)?;

    // One client waits for a page, another for its mapping, and the server that has read that dies.
    let mut other = case.client("other client", &first)?;
    first.behave(Behaviour {
        mmap: OnMmap::Hold,
        ..holding_faults()
    })?;
    client.start_probe(map, page)?;
    other.start_map(0, page)?;
    await_requests(&mut first, "both requests", |log| {
        (log.faults, log.mmaps) == (2, 2)
    })?;
    let mut second = first.fork("second server")?;
    let mut third = first.fork("third process")?;
    first.kill()?;
    expect_that(
        !other.is_done_within(MOMENT)? && !client.is_done_within(MOMENT)?,
        || "a client has noticed the end of the first server".into(),
    )?;
    second.behave(Behaviour::lazy())?;
    expect("the touch", client.finish_touch()?, Touch::Success)?;
    let there = other.finish_map()?;
    client.verify(map, 0, 2 * page, 1)?;
    other.fill(there, 0, page, 2)?;
    client.verify(map, 0, page, 2)?;
    // What the first has mapped the second has inherited.
    second.verify(here, 0, page, 2)?;
    second.map_pages(id, 2)?;
    client.write_read(0, page, 3)?;

    third.drop_privileges()?;
    let offset = id * page as u64;
    let mapped = third.try_map(offset, page)?.map(drop);
    expect(
        "mmap of the channel without root",
        mapped,
        Err(Errno::EPERM),
    )?;
    // What it has inherited it has.
    third.verify(here, 0, page, 2)?;
    third.kill()?;

    client.quit()?;
    other.quit()?;
    second.await_munmaps(2)?;
    second.quit()
}

/// A mapping holds the channel open: the connection ends with the last of both.
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
                // It is as if the server were slow.
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
        let touched = client.touch(map, 2 * page, true)?;
        expect("a touch of a new page", touched, Touch::Sigbus)?;
        for process in [&mut client, &mut other] {
            let mapped = process.try_map(0, page)?.map(drop);
            expect("a new mmap", mapped, Err(Errno::ENOTCONN))?;
        }
        client.verify(map, 0, page, 3)?;
        client.quit()?;
        other.quit()?;
        expect("pages at the end", counters::read(PAGES_TOTAL)?, 0)?;
        server.quit()?;
    }
    Ok(())
}

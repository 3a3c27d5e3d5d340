// SPDX-License-Identifier: MIT OR Apache-2.0
//! Servers that do not answer, or answer nonsense: their clients get an error or can be killed, and nothing is left over.

pub(crate) mod answers;
pub(crate) mod deaf;
pub(crate) mod ends;
pub(crate) mod init;
pub(crate) mod meanwhile;
pub(crate) mod notifications;
pub(crate) mod repeated;
pub(crate) mod stopped;

use server::{Behaviour, Message, OnMmap};
use sys::{Errno, Instant, Signal, page_size};

use crate::lazy::{await_seen, holding};
use crate::{Case, Failure, Process, Server, Workload, expect};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("mmap-killed", mmap_killed),
    ("mmap-unanswered", mmap_unanswered),
    ("mmap-server-dies", mmap_server_dies),
    ("mmap-signals", mmap_signals),
    ("fault-signals", fault_signals),
];

fn held() -> Behaviour {
    Behaviour {
        mmap: OnMmap::Hold,
        ..Behaviour::default()
    }
}

/// `unique` of the next request with this opcode that is not `before`: the server has read it, and holds it.
fn await_request(server: &mut Server, opcode: u32, before: Option<u64>) -> Result<u64, Failure> {
    let fresh = |unique: &u64| Some(*unique) != before;
    let what = format!("a request with opcode {opcode}");
    let seen = await_seen(server, &what, |seen| {
        seen.unique(opcode).as_ref().is_some_and(fresh)
    })?;
    seen.unique(opcode)
        .ok_or_else(|| Failure::new("the server has forgotten a request"))
}

/// The kernel says `expected` to a message.
fn expect_said(
    server: &mut Server,
    what: &str,
    message: Message,
    expected: Result<(), Errno>,
) -> Result<(), Failure> {
    let what = format!("write of {what}");
    expect(&what, server.write(message)?, expected)
}

/// The first page ID that is none: page cache indices end there (MAX_LFS_FILESIZE, and on 32-bit machines ULONG_MAX).
fn id_end() -> u64 {
    let bytes = match usize::BITS {
        64 => i64::MAX as u64,
        _ => u64::from(u32::MAX),
    };
    bytes / page_size() as u64
}

/// A client that waits in mmap of the first `len` bytes: the server has read the request, and holds it.
fn waiting_client(
    case: &Case,
    server: &mut Server,
    name: &str,
    len: usize,
) -> Result<Process, Failure> {
    let before = server.counted()?.0;
    let mut client = case.client(name, server)?;
    client.start_map(0, len)?;
    await_seen(server, "a FUSE_MMAP", |seen| seen.mmaps > before)?;
    Ok(client)
}

/// A client that waits in mmap can be killed, although the server has read the request. What the server answers then is
/// taken back by FUSE_MUNMAP; others map as if nothing had been.
fn mmap_killed(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut server = case.serve()?;
    let mut unmapped = 0;
    for round in 1..=case.param::<u64>("rounds")? {
        server.behave(held())?;
        let mmaps = server.seen()?.mmaps;
        let client = waiting_client(case, &mut server, "client", 2 * page)?;
        let start = Instant::now();
        client.kill()?;
        case.figure("kill_us", start.elapsed().as_micros() as f64);
        expect("FUSE_MMAPs", server.seen()?.mmaps, mmaps + 1)?;

        server.behave(Behaviour::default())?;
        unmapped += 1;
        let seen = server.await_munmaps(unmapped)?;
        let last = seen.last_munmaps.last().map(|last| last.length);
        expect("its length", last, Some(2 * page as u64))?;
        expect("mappings", server.counter("maps")?, 0)?;

        let mut client = case.client("next client", &server)?;
        let map = client.map(0, page)?;
        server.expect_store("a store, loaded by the server", &mut client, map, round)?;
        client.quit()?;
        unmapped += 1;
        server.await_munmaps(unmapped)?;
    }
    server.quit()
}

/// Clients that were killed leave behind what they had asked for, and with a server that answers none of it that piles up:
/// up to a limit, and then mmap fails at once. When all is answered, there is room again.
fn mmap_unanswered(case: &mut Case) -> Result<(), Failure> {
    let (page, limit) = (page_size(), case.param::<u64>("limit")?);
    let mut server = case.serve_as(held())?;
    for _ in 0..limit {
        waiting_client(case, &mut server, "client", page)?.kill()?;
    }
    let mut client = case.client("one more client", &server)?;
    let refused = client.try_map(0, page)?.err();
    expect("one more mmap", refused, Some(Errno::ENOMEM))?;
    expect("FUSE_MMAPs", server.counted()?.0, limit)?;

    server.behave(Behaviour::default())?;
    server.await_munmaps(limit)?;
    let map = client.map(0, page)?;
    server.expect_store("a store, loaded by the server", &mut client, map, 1)?;
    client.quit()?;
    server.await_munmaps(limit + 1)?;
    server.quit()
}

/// The server dies with a FUSE_MMAP that it has not answered: an error, at once.
fn mmap_server_dies(case: &mut Case) -> Result<(), Failure> {
    let mut server = case.serve_as(held())?;
    let mut client = case.client("client", &server)?;
    client.start_map(0, page_size())?;
    await_seen(&mut server, "a FUSE_MMAP", |seen| seen.mmaps == 1)?;
    server.kill()?;
    let errno = client.finish_try_map()?.err();
    expect("the mmap", errno, Some(Errno::ECONNABORTED))?;
    client.quit()
}

/// Stops a process and lets it go on, `times` times. It has to stop, whatever it waits for.
fn stop_and_go(process: &Process, times: u32) -> Result<(), Failure> {
    for _ in 0..times {
        process.signal(Signal::Stop)?;
        process.await_stopped()?;
        process.signal(Signal::Continue)?;
    }
    Ok(())
}

/// A signal does not wait for the server: mmap goes on after it, and the server is asked once.
fn mmap_signals(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut server = case.serve_as(held())?;
    let mut client = case.client("client", &server)?;
    client.start_map(0, page)?;
    await_seen(&mut server, "a FUSE_MMAP", |seen| seen.mmaps == 1)?;
    stop_and_go(&client, case.param("times")?)?;
    server.behave(Behaviour::default())?;
    let map = client.finish_map()?;
    let here = server.map_pages(server.page_id(0)?, 1)?;
    client.store(map, 0, 3)?;
    expect("a store, loaded by the server", server.load(here, 0)?, 3)?;
    let seen = server.seen()?;
    expect("FUSE_MMAPs", seen.mmaps, 1)?;
    expect("FUSE_MUNMAPs", seen.munmaps, 0)?;
    client.quit()?;
    server.await_munmaps(1)?;
    server.quit()
}

/// The same for a touch of a page that the server has to fill.
fn fault_signals(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut server = case.serve_as(holding())?;
    let mut client = case.client("client", &server)?;
    client.write_read(0, page, 4)?;
    let map = client.map(0, page)?;
    client.start_load(map, 0)?;
    await_seen(&mut server, "a FUSE_DMMAP_FAULT", |seen| seen.faults == 1)?;
    stop_and_go(&client, case.param("times")?)?;
    server.behave(Behaviour::lazy())?;
    client.finish_load()?;
    client.verify(map, 0, page, 4)?;
    expect("FUSE_DMMAP_FAULTs", server.seen()?.faults, 1)?;
    client.quit()?;
    server.await_munmaps(1)?;
    server.quit()
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Servers that do not answer, or answer nonsense. Their clients get an error or can be killed, and nothing leaks.

pub(crate) mod answers;
pub(crate) mod ends;
pub(crate) mod init;
pub(crate) mod locked;
pub(crate) mod meanwhile;
mod messages;
pub(crate) mod munmaps;
pub(crate) mod notifications;
pub(crate) mod repeated;
pub(crate) mod silent;
pub(crate) mod stopped;

use std::time::Duration;

use server::Behaviour;
use sys::{Errno, Instant, Signal, page_size, sleep};

use crate::stage::waiting::{
    MOMENT, await_requests, holding_faults, holding_mmaps, waiting_client,
};
use crate::stage::{Case, Client, Failure, Process, Workload, expect, expect_that};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("mmap-killed", mmap_killed),
    ("mmap-server-dies", mmap_server_dies),
    ("mmap-signals", mmap_signals),
    ("fault-signals", fault_signals),
];

/// Kills a client that waits in mmap after the server has read the request. When the server answers, the kernel must
/// send FUSE_MUNMAP for the mapping. Other clients can map afterwards.
fn mmap_killed(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut server = case.serve()?;
    let mut unmapped = 0;
    for round in 1..=case.param::<u64>("rounds")? {
        server.behave(holding_mmaps())?;
        let mmaps = server.log()?.mmaps;
        let client = waiting_client(case, &mut server, "client", 2 * page)?;
        let start = Instant::now();
        client.kill()?;
        case.figure("kill_us", start.elapsed().as_micros() as f64);
        expect("FUSE_MMAPs", server.log()?.mmaps, mmaps + 1)?;

        server.behave(Behaviour::default())?;
        unmapped += 1;
        let last = server.await_munmaps(unmapped)?.last_munmaps.last().map(|last| last.length);
        expect("length of the FUSE_MUNMAP", last, Some(2 * page as u64))?;
        server.expect_maps("mappings", 0)?;

        let mut client = case.client("next client", &server)?;
        let map = client.map(0, page)?;
        server.expect_store("a store, loaded by the server", &mut client, map, round)?;
        client.quit()?;
        unmapped += 1;
        server.await_munmaps(unmapped)?;
    }
    server.quit()
}

/// Kills a server that has not answered FUSE_MMAP. The client's mmap must fail.
fn mmap_server_dies(case: &mut Case) -> Result<(), Failure> {
    let (mut server, mut client) = case.serve_with_client(holding_mmaps())?;
    client.start_map(0, page_size())?;
    await_requests(&mut server, "a FUSE_MMAP", |log| log.mmaps == 1)?;
    server.kill()?;
    expect("the mmap", client.finish_try_map()?.err(), Some(Errno::ECONNABORTED))?;
    client.quit()
}

/// Time for a process to react to a signal.
const SIGNAL_TIME: Duration = Duration::from_millis(2);

/// Stops and continues a process `times` times. The process must stop even while it waits for the server.
fn stop_and_continue(process: &Client, times: u32) -> Result<(), Failure> {
    for _ in 0..times {
        process.signal(Signal::Stop)?;
        process.await_stopped()?;
        process.signal(Signal::Continue)?;
    }
    Ok(())
}

/// Sends signals to a client that waits in mmap. It gets its mapping once the server has answered, and the kernel must
/// send one FUSE_MMAP only.
fn mmap_signals(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let (mut server, mut client) = case.serve_with_client(holding_mmaps())?;
    client.start_map(0, page)?;
    await_requests(&mut server, "a FUSE_MMAP", |log| log.mmaps == 1)?;
    for _ in 0..case.param("times")? {
        client.signal(Signal::Stop)?;
        sleep(SIGNAL_TIME);
        client.signal(Signal::Continue)?;
        sleep(SIGNAL_TIME);
    }
    expect_that(!client.is_done_within(MOMENT)?, || "mmap returned before the answer".into())?;
    server.behave(Behaviour::default())?;
    let map = client.finish_map()?;
    let here = server.map_pages(server.page_id(0)?, 1)?;
    client.store(map, 0, 3)?;
    expect("a store, loaded by the server", server.load(here, 0)?, 3)?;
    let log = server.log()?;
    expect("FUSE_MMAPs", log.mmaps, 1)?;
    expect("FUSE_MUNMAPs", log.munmaps, 0)?;
    client.quit()?;
    server.await_munmaps(1)?;
    server.quit()
}

/// Stops a client that waits for the server to fill a page. The kernel must send one FUSE_DMMAP_FAULT only.
fn fault_signals(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let (mut server, mut client) = case.serve_with_client(holding_faults())?;
    client.write_read(0, page, 4)?;
    let map = client.map(0, page)?;
    client.start_load(map, 0)?;
    await_requests(&mut server, "a FUSE_DMMAP_FAULT", |log| log.faults == 1)?;
    stop_and_continue(&client, case.param("times")?)?;
    server.behave(Behaviour::lazy())?;
    client.finish_load()?;
    client.verify(map, 0, page, 4)?;
    expect("FUSE_DMMAP_FAULTs", server.log()?.faults, 1)?;
    client.quit()?;
    server.await_munmaps(1)?;
    server.quit()
}

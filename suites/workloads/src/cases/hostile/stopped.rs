// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clients that are stopped while they wait in mmap.

use sys::{Errno, Signal, page_size, sleep};

use crate::stage::waiting::{MOMENT, await_requests, holding_mmaps, waiting_client};
use crate::stage::{Case, Client, Failure, Process, Server, Workload, expect};
use server::{Behaviour, OnMmap};

pub(crate) const WORKLOADS: &[(&str, Workload)] =
    &[("mmap-stopped", mmap_stopped), ("mmap-crowd", mmap_crowd)];

/// Starts a client that waits for the answer to its FUSE_MMAP, and sends it SIGSTOP. It stops at the latest when the
/// server has answered.
fn stopped_client(case: &Case, server: &mut Server, name: &str) -> Result<Client, Failure> {
    let client = waiting_client(case, server, name, 2 * page_size())?;
    client.signal(Signal::Stop)?;
    Ok(client)
}

/// Continues a client, and fails unless it gets its mapping and shares the page with the server.
fn expect_maps(server: &mut Server, client: &mut Client, word: u64) -> Result<(), Failure> {
    client.signal(Signal::Continue)?;
    let map = client.finish_map()?;
    server.expect_store("its store, loaded by the server", client, map, word)
}

/// Answers FUSE_MMAP of a client that has got SIGSTOP. A client that continues must get this answer. If it is killed
/// instead, the kernel must send FUSE_MUNMAP.
fn mmap_stopped(case: &mut Case) -> Result<(), Failure> {
    let mut server = case.serve_as(holding_mmaps())?;
    let mut client = stopped_client(case, &mut server, "client")?;
    server.behave(Behaviour::default())?;
    client.await_stopped()?;
    expect_maps(&mut server, &mut client, 1)?;
    expect("FUSE_MMAPs and FUSE_MUNMAPs", server.count_maps()?, (1, 0))?;
    client.quit()?;
    server.await_munmaps(1)?;

    server.behave(holding_mmaps())?;
    let mut client = stopped_client(case, &mut server, "refused client")?;
    let errno = Errno::EACCES.raw();
    server.behave(Behaviour::with_mmap(OnMmap::Refuse { errno }))?;
    client.await_stopped()?;
    client.signal(Signal::Continue)?;
    expect("mmap of the stopped client", client.finish_try_map()?.err(), Some(Errno::EACCES))?;
    expect("FUSE_MMAPs and FUSE_MUNMAPs", server.count_maps()?, (2, 1))?;
    client.quit()?;

    // Killed before the answer, and after it.
    let mut munmaps = 1;
    for answered in [false, true] {
        server.behave(holding_mmaps())?;
        let client = stopped_client(case, &mut server, "killed client")?;
        if answered {
            server.behave(Behaviour::default())?;
            client.await_stopped()?;
            expect("FUSE_MUNMAPs", server.count_maps()?.1, munmaps)?;
        }
        client.kill()?;
        server.behave(Behaviour::default())?;
        munmaps += 1;
        server.await_munmaps(munmaps)?;
        server.expect_maps("mappings", 0)?;
    }
    expect("FUSE_MMAPs in all", server.count_maps()?.0, 4)?;
    server.quit()
}

/// Stops and continues many clients that wait in mmap. The kernel must send one FUSE_MMAP for each client, and each
/// must get its mapping.
fn mmap_crowd(case: &mut Case) -> Result<(), Failure> {
    let (page, count): (usize, u64) = (page_size(), case.param("clients")?);
    let mut server = case.serve_as(holding_mmaps())?;
    let mut clients = Vec::new();
    for number in 0..count {
        let mut client = case.client(&format!("client {number}"), &server)?;
        client.start_map(0, page)?;
        clients.push(client);
    }
    await_requests(&mut server, "a FUSE_MMAP of each client", |log| log.mmaps >= count)?;
    for _ in 0..case.param("rounds")? {
        for signal in [Signal::Stop, Signal::Continue] {
            for client in &clients {
                client.signal(signal)?;
            }
            sleep(MOMENT);
        }
    }
    server.behave(Behaviour::default())?;
    for (client, word) in clients.iter_mut().zip(1..) {
        let map = client.finish_map()?;
        server.expect_store("a store, loaded by the server", client, map, word)?;
    }
    let counts = server.count_maps()?;
    expect("FUSE_MMAPs and FUSE_MUNMAPs", counts, (count, 0))?;
    server.expect_maps("mappings", count)?;
    for client in clients {
        client.quit()?;
    }
    server.await_munmaps(count)?;
    server.expect_maps("mappings at the end", 0)?;
    server.quit()
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Several processes with one inherited mapping: fork, exec, and the end of one of the processes.

use std::time::Duration;

use sys::{Instant, OWNER_DIED, WAITERS, page_size, read_text, yield_now};

use super::Pair;
use crate::stage::command::{Map, MappingCommand};
use crate::stage::{Case, Client, Failure, Process, Workload, expect, expect_that};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("fork", fork),
    ("last-process", last_process),
    ("exec", exec),
    ("exec-of-parent", exec_of_parent),
    ("robust", robust),
];

/// A child shares its parent's mapping. All processes see each other's stores, whichever process touched a page first,
/// and each keeps the pages that another unmaps.
fn fork(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let offset = 5 * page as u64;
    let mut pair = Pair::new(case, offset, 3)?;
    let (server_map, client_map) = (pair.server_map, pair.client_map);
    // Page 0 exists before the fork. The child touches page 1 first, and the server page 2.
    pair.client.fill(client_map, 0, page, 1)?;
    let mut child = pair.client.fork("child")?;
    child.verify(client_map, 0, page, 1)?;
    child.fill(client_map, page, page, 2)?;
    pair.server.fill(server_map, 2 * page, page, 3)?;
    for (index, seed) in [1, 2, 3].into_iter().enumerate() {
        let at = index * page;
        for process in [&mut pair.client, &mut child] {
            process.verify(client_map, at, page, seed)?;
        }
        pair.server.verify(server_map, at, page, seed)?;
        let frame = pair.server.frame(server_map, at)?;
        expect("page frame of the parent", pair.client.frame(client_map, at)?, frame)?;
        expect("page frame of the child", child.frame(client_map, at)?, frame)?;
    }
    child.fill(client_map, 0, 3 * page, 4)?;
    pair.client.verify(client_map, 0, 3 * page, 4)?;
    pair.server.verify(server_map, 0, 3 * page, 4)?;
    pair.expect_shared(5)?;
    child.verify(client_map, 0, 3 * page, 6)?;
    expect("FUSE_MMAPs", pair.server.log()?.mmaps, 1)?;

    // Now only parent and child map the pages.
    pair.server.unmap(server_map)?;
    let tail = child.punch(client_map, page, page)?;
    expect("pages after the child unmapped one", pair.server.pages()?, 3)?;
    pair.server.expect_maps("mappings of both", 1)?;
    pair.client.verify(client_map, 0, 3 * page, 6)?;
    pair.client.unmap(client_map)?;
    expect("pages after the parent's unmap", pair.server.pages()?, 3)?;
    expect("FUSE_MUNMAPs while the child maps a part", pair.server.log()?.munmaps, 0)?;
    pair.server_map = pair.server.map_pages(pair.server.page_id(offset)?, 3)?;
    child.verify(client_map, 0, page, 6)?;
    // The page that no process maps any more has its contents as long as the child maps a part.
    pair.server.verify(pair.server_map, page, page, 6)?;
    pair.server.store(pair.server_map, 2 * page, 7)?;
    expect("the server's store", child.load(tail, 0)?, 7)?;
    child.quit()?;
    let munmap = pair.server.await_munmaps(1)?.last_munmaps[0];
    expect("offset of the FUSE_MUNMAP", munmap.offset, offset)?;
    expect("length of the FUSE_MUNMAP", munmap.length, 3 * page as u64)?;
    let page_id = pair.server.page_id(offset)?;
    expect("page ID of the FUSE_MUNMAP", munmap.page_id, page_id)?;
    pair.server.quit_after([pair.client])
}

/// A way to end a process.
type End = fn(Client) -> Result<(), Failure>;

/// Parent, child and grandchild end in various orders. The last of them still shares the pages with the server, and
/// only its end sends FUSE_MUNMAP.
fn last_process(case: &mut Case) -> Result<(), Failure> {
    let orders: [([usize; 3], End); 3] =
        [([0, 1, 2], Client::quit), ([2, 0, 1], Client::kill), ([1, 2, 0], Client::quit)];
    for (order, end) in orders {
        let mut pair = Pair::new(case, 0, 2)?;
        let (server_map, client_map) = (pair.server_map, pair.client_map);
        let mut child = pair.client.fork("child")?;
        let grandchild = child.fork("grandchild")?;
        let mut family = [Some(pair.client), Some(child), Some(grandchild)];
        for (rank, index) in order.into_iter().enumerate() {
            let mut process = family[index].take().expect("each process ends once");
            let seed = 10 * rank as u64;
            process.fill(client_map, 0, pair.len, seed)?;
            pair.server.verify(server_map, 0, pair.len, seed)?;
            pair.server.fill(server_map, 0, pair.len, seed + 1)?;
            process.verify(client_map, 0, pair.len, seed + 1)?;
            expect("FUSE_MUNMAPs", pair.server.log()?.munmaps, 0)?;
            end(process)?;
        }
        expect("FUSE_MMAPs", pair.server.await_munmaps(1)?.mmaps, 1)?;
        pair.server.quit()?;
    }
    Ok(())
}

/// exec removes the mapping, and FUSE_MUNMAP is sent while the process lives.
fn exec(case: &mut Case) -> Result<(), Failure> {
    let mut pair = Pair::new(case, 0, 2)?;
    pair.expect_shared(1)?;
    pair.server.unmap(pair.server_map)?;
    pair.client.start_exec()?;
    pair.server.await_munmaps(1)?;
    expect("pages", pair.server.pages()?, 0)?;
    let maps = read_text(&format!("/proc/{}/maps", pair.client.pid()))?;
    expect_that(!maps.contains(&pair.server.path), || {
        format!("the new program has the file mapped:\n{maps}")
    })?;
    // Fails if the process has already ended.
    pair.client.kill()?;
    pair.server.quit()
}

/// exec in the parent leaves the child's mapping unchanged.
fn exec_of_parent(case: &mut Case) -> Result<(), Failure> {
    let mut pair = Pair::new(case, 0, 2)?;
    let mut child = pair.client.fork("child")?;
    pair.expect_shared(1)?;
    pair.client.start_exec()?;
    await_exec(pair.client.pid(), &pair.server.path)?;
    child.verify(pair.client_map, 0, pair.len, 2)?;
    child.fill(pair.client_map, 0, pair.len, 3)?;
    pair.server.verify(pair.server_map, 0, pair.len, 3)?;
    expect("FUSE_MUNMAPs while the child has the mapping", pair.server.log()?.munmaps, 0)?;
    child.quit()?;
    pair.server.await_munmaps(1)?;
    pair.client.kill()?;
    pair.server.quit()
}

/// Waits until a process has no mapping of `path`.
fn await_exec(pid: u32, path: &str) -> Result<(), Failure> {
    let start = Instant::now();
    while read_text(&format!("/proc/{pid}/maps"))?.contains(path) {
        expect_that(start.elapsed() < Duration::from_secs(8), || {
            format!("process {pid} still has {path} mapped")
        })?;
        yield_now();
    }
    Ok(())
}

/// Offset in the mapping of the entry in the owner's robust list.
const ENTRY: usize = 64;
/// Offset in the mapping of the futex that is owned, 8 bytes behind the entry.
const FUTEX: usize = ENTRY + 8;

/// If the owner of a robust futex dies or calls exec, a process that waits for the futex is woken and sees
/// FUTEX_OWNER_DIED. Owner and waiter are two clients, or a client and the server.
fn robust(case: &mut Case) -> Result<(), Failure> {
    let mut pair = Pair::new(case, 0, 1)?;
    let (server_map, client_map) = (pair.server_map, pair.client_map);

    for by_exec in [false, true] {
        let (mut owner, futex_map) = start_owner(case, &pair)?;
        take_and_await(&mut owner, futex_map, &mut pair.client, client_map)?;
        end_owner(owner, by_exec, &mut pair.client, client_map)?;

        let (mut owner, futex_map) = start_owner(case, &pair)?;
        take_and_await(&mut owner, futex_map, &mut pair.server, server_map)?;
        end_owner(owner, by_exec, &mut pair.server, server_map)?;
    }

    take_and_await(&mut pair.server, server_map, &mut pair.client, client_map)?;
    pair.server.kill()?;
    expect_owner_died(&mut pair.client, client_map)?;
    pair.client.quit()
}

/// Starts a client that maps the page and closes the file. A server that sleeps on the futex could not answer the
/// requests of a later close.
fn start_owner(case: &Case, pair: &Pair) -> Result<(Client, Map), Failure> {
    let mut owner = case.client("owner", &pair.server)?;
    let futex_map = owner.map(0, pair.len)?;
    owner.close()?;
    Ok((owner, futex_map))
}

/// Has `owner` take the futex and `waiter` sleep on it. Returns when `waiter` sleeps.
fn take_and_await(
    owner: &mut impl Process,
    owner_map: Map,
    waiter: &mut impl Process,
    waiter_map: Map,
) -> Result<(), Failure> {
    owner.call(owner_map, MappingCommand::SetRobustList { at: ENTRY })?;
    let owned = owner.pid() | WAITERS;
    expect("the futex while it is owned", waiter.load_u32(waiter_map, FUTEX)?, owned)?;
    waiter.start_call(waiter_map, MappingCommand::FutexWait { at: FUTEX, expected: owned })?;
    // Without this, the owner could end before the waiter sleeps.
    owner.call(owner_map, MappingCommand::AwaitFutexWaiter { at: FUTEX })
}

/// Kills the owner, or has it call exec, which also ends its ownership. Fails unless `waiter` is woken.
fn end_owner(
    mut owner: Client,
    by_exec: bool,
    waiter: &mut impl Process,
    waiter_map: Map,
) -> Result<(), Failure> {
    if by_exec {
        owner.start_exec()?;
        expect_owner_died(waiter, waiter_map)?;
        return owner.kill();
    }
    owner.kill()?;
    expect_owner_died(waiter, waiter_map)
}

/// Fails unless `waiter` is woken and the futex has the bit FUTEX_OWNER_DIED.
fn expect_owner_died(waiter: &mut impl Process, map: Map) -> Result<(), Failure> {
    waiter.finish_call()?;
    let word = waiter.load_u32(map, FUTEX)?;
    expect("the futex after its owner has ended", word, OWNER_DIED | WAITERS)
}

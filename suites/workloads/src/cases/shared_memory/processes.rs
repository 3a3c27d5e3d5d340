// SPDX-License-Identifier: MIT OR Apache-2.0
//! Several processes with one mapping: fork, exec, and what the kernel does for those who are left.

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

/// A child has its parent's mapping: stores are seen by all, whoever came first to a page, and what one unmaps the other
/// keeps.
fn fork(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let offset = 5 * page as u64;
    let mut pair = Pair::new(case, offset, 3)?;
    let (here, there) = (pair.here, pair.there);
    // Page 0 is there before the fork, 1 is first touched by the child, 2 by the server.
    pair.client.fill(there, 0, page, 1)?;
    let mut child = pair.client.fork("child")?;
    child.verify(there, 0, page, 1)?;
    child.fill(there, page, page, 2)?;
    pair.server.fill(here, 2 * page, page, 3)?;
    for (index, seed) in [1, 2, 3].into_iter().enumerate() {
        let at = index * page;
        for process in [&mut pair.client, &mut child] {
            process.verify(there, at, page, seed)?;
        }
        pair.server.verify(here, at, page, seed)?;
        let frame = pair.server.frame(here, at)?;
        expect(
            "page frame of the parent",
            pair.client.frame(there, at)?,
            frame,
        )?;
        expect("page frame of the child", child.frame(there, at)?, frame)?;
    }
    child.fill(there, 0, 3 * page, 4)?;
    pair.client.verify(there, 0, 3 * page, 4)?;
    pair.server.verify(here, 0, 3 * page, 4)?;
    pair.agree(5)?;
    child.verify(there, 0, 3 * page, 6)?;
    expect("FUSE_MMAPs", pair.server.log()?.mmaps, 1)?;

    // Now they are the pages of parent and child alone.
    pair.server.unmap(here)?;
    let tail = child.punch(there, page, page)?;
    expect(
        "pages after the child unmapped one",
        pair.server.pages()?,
        3,
    )?;
    pair.client.verify(there, 0, 3 * page, 6)?;
    pair.client.unmap(there)?;
    expect("pages that are left to the child", pair.server.pages()?, 2)?;
    expect(
        "FUSE_MUNMAPs while the child has a part",
        pair.server.log()?.munmaps,
        0,
    )?;
    pair.here = pair.server.map_pages(pair.server.page_id(offset)?, 3)?;
    child.verify(there, 0, page, 6)?;
    pair.server.verify_zero(pair.here, page, page)?;
    pair.server.store(pair.here, 2 * page, 7)?;
    expect("the server's store", child.load(tail, 0)?, 7)?;
    child.quit()?;
    let munmap = pair.server.await_munmaps(1)?.last_munmaps[0];
    expect("offset of the FUSE_MUNMAP", munmap.offset, offset)?;
    expect("length of the FUSE_MUNMAP", munmap.length, 3 * page as u64)?;
    expect(
        "page ID of the FUSE_MUNMAP",
        munmap.page_id,
        pair.server.page_id(offset)?,
    )?;
    pair.client.quit()?;
    pair.server.quit()
}

/// A way for a process to end.
type End = fn(Client) -> Result<(), Failure>;

/// However parent, child and grandchild come to their ends, the last of them still shares, and its end is FUSE_MUNMAP.
fn last_process(case: &mut Case) -> Result<(), Failure> {
    let orders: [([usize; 3], End); 3] = [
        ([0, 1, 2], Client::quit),
        ([2, 0, 1], Client::kill),
        ([1, 2, 0], Client::quit),
    ];
    for (order, end) in orders {
        let mut pair = Pair::new(case, 0, 2)?;
        let (here, there) = (pair.here, pair.there);
        let mut child = pair.client.fork("child")?;
        let grandchild = child.fork("grandchild")?;
        let mut family = [Some(pair.client), Some(child), Some(grandchild)];
        for (rank, index) in order.into_iter().enumerate() {
            let mut process = family[index].take().expect("each ends once");
            let seed = 10 * rank as u64;
            process.fill(there, 0, pair.len, seed)?;
            pair.server.verify(here, 0, pair.len, seed)?;
            pair.server.fill(here, 0, pair.len, seed + 1)?;
            process.verify(there, 0, pair.len, seed + 1)?;
            expect("FUSE_MUNMAPs", pair.server.log()?.munmaps, 0)?;
            end(process)?;
        }
        let log = pair.server.await_munmaps(1)?;
        expect("FUSE_MMAPs", log.mmaps, 1)?;
        pair.server.quit()?;
    }
    Ok(())
}

/// A process that becomes another program has nothing mapped any more, and the server hears of it while it lives.
fn exec(case: &mut Case) -> Result<(), Failure> {
    let mut pair = Pair::new(case, 0, 2)?;
    pair.agree(1)?;
    pair.server.unmap(pair.here)?;
    pair.client.start_exec()?;
    pair.server.await_munmaps(1)?;
    expect("pages", pair.server.pages()?, 0)?;
    let maps = read_text(&format!("/proc/{}/maps", pair.client.pid()))?;
    expect_that(!maps.contains(&pair.server.path), || {
        format!("the new program has the file mapped:\n{maps}")
    })?;
    // It did not end by itself.
    pair.client.kill()?;
    pair.server.quit()
}

/// A parent that becomes another program takes nothing from its child.
fn exec_of_parent(case: &mut Case) -> Result<(), Failure> {
    let mut pair = Pair::new(case, 0, 2)?;
    let mut child = pair.client.fork("child")?;
    pair.agree(1)?;
    pair.client.start_exec()?;
    await_exec(pair.client.pid(), &pair.server.path)?;
    child.verify(pair.there, 0, pair.len, 2)?;
    child.fill(pair.there, 0, pair.len, 3)?;
    pair.server.verify(pair.here, 0, pair.len, 3)?;
    expect(
        "FUSE_MUNMAPs while the child has the mapping",
        pair.server.log()?.munmaps,
        0,
    )?;
    child.quit()?;
    pair.server.await_munmaps(1)?;
    pair.client.kill()?;
    pair.server.quit()
}

/// Waits until a process has nothing of `path` mapped.
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

/// Entry of the owner's robust list.
const ENTRY: usize = 64;
/// The futex that is owned.
const LOCK: usize = ENTRY + 8;

/// The owner of a futex ends, and whoever waits for it is woken and told: among clients, and between client and server.
fn robust(case: &mut Case) -> Result<(), Failure> {
    let mut pair = Pair::new(case, 0, 1)?;
    let (here, there) = (pair.here, pair.there);

    for by_exec in [false, true] {
        let (mut owner, lock) = self::owner(case, &pair)?;
        wait_for(&mut owner, lock, &mut pair.client, there)?;
        end_and_inherit(owner, by_exec, &mut pair.client, there)?;

        let (mut owner, lock) = self::owner(case, &pair)?;
        wait_for(&mut owner, lock, &mut pair.server, here)?;
        end_and_inherit(owner, by_exec, &mut pair.server, here)?;
    }

    wait_for(&mut pair.server, here, &mut pair.client, there)?;
    pair.server.kill()?;
    inherit(&mut pair.client, there)?;
    pair.client.quit()
}

/// A client with nothing open: the server, while it sleeps, cannot answer to a close.
fn owner(case: &Case, pair: &Pair) -> Result<(Client, Map), Failure> {
    let mut owner = case.client("owner", &pair.server)?;
    let lock = owner.map(0, pair.len)?;
    owner.close()?;
    Ok((owner, lock))
}

/// `owner` has the lock, and `waiter` sleeps until it has not.
fn wait_for(
    owner: &mut impl Process,
    of_owner: Map,
    waiter: &mut impl Process,
    of_waiter: Map,
) -> Result<(), Failure> {
    owner.call(of_owner, MappingCommand::SetRobustList { at: ENTRY })?;
    let owned = owner.pid() | WAITERS;
    expect(
        "the word of the lock while it is owned",
        waiter.load_u32(of_waiter, LOCK)?,
        owned,
    )?;
    let sleep = MappingCommand::FutexWait {
        at: LOCK,
        expected: owned,
    };
    waiter.start_call(of_waiter, sleep)?;
    // Nothing depends on who is faster.
    owner.call(of_owner, MappingCommand::AwaitFutexWaiter { at: LOCK })
}

/// The owner is killed, or becomes another program, which is an end to what it owned as well.
fn end_and_inherit(
    mut owner: Client,
    by_exec: bool,
    waiter: &mut impl Process,
    of_waiter: Map,
) -> Result<(), Failure> {
    if by_exec {
        owner.start_exec()?;
        inherit(waiter, of_waiter)?;
        return owner.kill();
    }
    owner.kill()?;
    inherit(waiter, of_waiter)
}

/// The owner has ended: `waiter` is woken and told.
fn inherit(waiter: &mut impl Process, map: Map) -> Result<(), Failure> {
    waiter.finish_call()?;
    let word = waiter.load_u32(map, LOCK)?;
    expect(
        "the word of the lock after its owner's end",
        word,
        OWNER_DIED | WAITERS,
    )
}

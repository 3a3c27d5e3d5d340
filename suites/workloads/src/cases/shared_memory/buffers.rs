// SPDX-License-Identifier: MIT OR Apache-2.0
//! The pages as the kernel reaches them: as buffers of read and write, and through the memory of another process.

use sys::{Errno, Pid, Tracee, page_size, read_memory, write_memory};

use super::{Pair, expect_pattern};
use crate::stage::command::{Endpoint, MappingCommand};
use crate::stage::{Case, Failure, Process, Workload, expect, pattern};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("read-write", read_write),
    ("direct-io", direct_io),
    ("process-vm", process_vm),
    ("ptrace", ptrace),
];

/// Bytes that are moved: neither their start nor their end is that of a page or of a cache line.
fn ranges() -> [(usize, usize); 3] {
    let page = page_size();
    [(0, page), (5, 2 * page + 333), (page - 3, 7)]
}

/// read(2) stores what both sides load, and write(2) takes what either stored, with a pipe and with a file.
fn read_write(case: &mut Case) -> Result<(), Failure> {
    let mut pair = Pair::new(case, 0, 3)?;
    let (here, there) = (pair.here, pair.there);
    let mut seed = 0;
    for other in [Endpoint::Pipe, Endpoint::File] {
        for (at, len) in ranges() {
            // The first of all reads finds no page.
            seed += 10;
            let read = |seed| MappingCommand::Read {
                from: other,
                at,
                len,
                seed,
            };
            let write = |seed| MappingCommand::Write {
                into: other,
                at,
                len,
                seed,
            };
            pair.client.call(there, read(seed))?;
            pair.server.verify(here, at, len, seed)?;
            pair.client.verify(there, at, len, seed)?;
            pair.server.fill(here, at, len, seed + 1)?;
            pair.client.call(there, write(seed + 1))?;
            pair.client.fill(there, at, len, seed + 2)?;
            pair.client.call(there, write(seed + 2))?;
            // The same by the server, through its channel's mapping.
            pair.server.call(here, write(seed + 2))?;
            pair.server.call(here, read(seed + 3))?;
            pair.client.verify(there, at, len, seed + 3)?;
            pair.agree(seed + 4)?;
        }
    }
    expect("pages", pair.server.pages()?, 3)?;
    pair.end(1)
}

/// The file's own bytes go to and from the pages without a copy: the server's replies land in them, and its requests come
/// out of them.
fn direct_io(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    // Not the pages of the file that are read and written: those have nothing to do with the mapping.
    let mut pair = Pair::new(case, 40 * page as u64, 3)?;
    let (here, there) = (pair.here, pair.there);
    let mut seed = 0;
    for (at, len) in ranges() {
        for place in [0, 7 * page as u64, 11] {
            seed += 10;
            pair.server.fill(here, at, len, seed)?;
            pair.client.write_mapped(there, at, len, place)?;
            pair.server.fill(here, at, len, seed + 1)?;
            pair.client.read_mapped(there, at, len, place)?;
            pair.server.verify(here, at, len, seed)?;
            pair.client.verify(there, at, len, seed)?;
            pair.client.fill(there, at, len, seed + 2)?;
            pair.client.write_mapped(there, at, len, place)?;
            pair.client.fill(there, at, len, seed + 3)?;
            pair.client.read_mapped(there, at, len, place)?;
            pair.client.verify(there, at, len, seed + 2)?;
            pair.server.verify(here, at, len, seed + 2)?;
        }
    }
    // Pages that the reply of the server is the first to touch.
    let fresh = pair.client.map(60 * page as u64, pair.len)?;
    pair.client.fill(there, 0, pair.len, 1)?;
    pair.client.write_mapped(there, 0, pair.len, 0)?;
    pair.client.read_mapped(fresh, 0, pair.len, 0)?;
    let here = pair
        .server
        .map_pages(pair.server.page_id(60 * page as u64)?, 3)?;
    pair.server.verify(here, 0, pair.len, 1)?;
    pair.client.verify(fresh, 0, pair.len, 1)?;
    expect("pages", pair.server.pages()?, 6)?;
    pair.end(2)
}

/// Another process reads and writes the pages in a client's memory, and in the server's.
fn process_vm(case: &mut Case) -> Result<(), Failure> {
    let mut pair = Pair::new(case, 0, 3)?;
    let (here, there) = (pair.here, pair.there);
    let client = (
        Pid(pair.client.pid() as i32),
        pair.client.area(there)?.start,
    );
    let server = (Pid(pair.server.pid() as i32), pair.server.area(here)?.start);
    let mut seed = 0;
    for (pid, start) in [client, server] {
        for (at, len) in ranges() {
            seed += 10;
            let place = start + at as u64;
            let mut found = vec![0; len];
            // The first of all finds no page.
            write_memory(pid, place, &pattern::bytes(seed, at, len))?;
            pair.server.verify(here, at, len, seed)?;
            pair.client.verify(there, at, len, seed)?;
            pair.server.fill(here, at, len, seed + 1)?;
            read_memory(pid, place, &mut found)?;
            expect_pattern("the server's stores", &found, at, seed + 1)?;
            pair.client.fill(there, at, len, seed + 2)?;
            read_memory(pid, place, &mut found)?;
            expect_pattern("the client's stores", &found, at, seed + 2)?;
        }
    }
    // What may not be written, another process cannot write either.
    let (pid, _) = client;
    let map = pair.client.map_readonly(0, pair.len)?;
    let start = pair.client.area(map)?.start;
    let refused = write_memory(pid, start, &[0; 8]);
    let refused = refused.map_err(|error| error.errno);
    expect(
        "a write to a read-only mapping",
        refused,
        Err(Errno::EFAULT),
    )?;
    pair.agree(100)?;
    let mut found = vec![0; pair.len];
    read_memory(pid, start, &mut found)?;
    expect_pattern("a read of a read-only mapping", &found, 0, 101)?;
    pair.end(2)
}

/// A debugger reads and writes the pages in a client's memory.
fn ptrace(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut pair = Pair::new(case, 0, 3)?;
    let (here, there) = (pair.here, pair.there);
    let pid = Pid(pair.client.pid() as i32);
    let start = pair.client.area(there)?.start;
    let map = pair.client.map_readonly(0, pair.len)?;
    let readonly = pair.client.area(map)?.start;
    // Whole words of every machine, across the border of two pages.
    for (round, (at, len)) in [(0, 64), (page - 16, 32), (2 * page, 64)]
        .into_iter()
        .enumerate()
    {
        let seed = 10 * round as u64;
        let place = start + at as u64;
        let mut found = vec![0; len];
        let stopped = Tracee::attach(pid)?;
        stopped.poke(place, &pattern::bytes(seed, at, len))?;
        pair.server.verify(here, at, len, seed)?;
        pair.server.fill(here, at, len, seed + 1)?;
        stopped.peek(place, &mut found)?;
        expect_pattern("the server's stores", &found, at, seed + 1)?;
        stopped.peek(readonly + at as u64, &mut found)?;
        expect_pattern("a read of a read-only mapping", &found, at, seed + 1)?;
        // A private mapping would be copied for a debugger; there is no copy of a shared page.
        let refused = stopped.poke(readonly + at as u64, &[0; 8]);
        let refused = refused.map_err(|error| error.errno);
        expect("a poke of a read-only mapping", refused, Err(Errno::EIO))?;
        drop(stopped);
        pair.client.verify(there, at, len, seed + 1)?;
    }
    pair.agree(100)?;
    pair.end(2)
}

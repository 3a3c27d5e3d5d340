// SPDX-License-Identifier: MIT OR Apache-2.0
//! Accesses by the kernel: the pages as buffers of read(2) and write(2), and as memory of another process.

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

/// Ranges of bytes to transfer, as offset and length. All but the first neither start nor end at a page or a cache
/// line.
fn ranges() -> [(usize, usize); 3] {
    let page = page_size();
    [(0, page), (5, 2 * page + 333), (page - 3, 7)]
}

/// The mapping is the buffer of read(2) and write(2) on a pipe and on a tmpfs file. Both sides load what read(2)
/// stored, and write(2) writes what either side stored.
fn read_write(case: &mut Case) -> Result<(), Failure> {
    let mut pair = Pair::new(case, 0, 3)?;
    let (server_map, client_map) = (pair.server_map, pair.client_map);
    let mut seed = 0;
    for other in [Endpoint::Pipe, Endpoint::File] {
        for (at, len) in ranges() {
            // The very first read is the first touch of the pages.
            seed += 10;
            let read = |seed| MappingCommand::Read { from: other, at, len, seed };
            let write = |seed| MappingCommand::Write { into: other, at, len, seed };
            pair.client.call(client_map, read(seed))?;
            pair.server.verify(server_map, at, len, seed)?;
            pair.client.verify(client_map, at, len, seed)?;
            pair.server.fill(server_map, at, len, seed + 1)?;
            pair.client.call(client_map, write(seed + 1))?;
            pair.client.fill(client_map, at, len, seed + 2)?;
            pair.client.call(client_map, write(seed + 2))?;
            // The server does the same with its mapping of the channel.
            pair.server.call(server_map, write(seed + 2))?;
            pair.server.call(server_map, read(seed + 3))?;
            pair.client.verify(client_map, at, len, seed + 3)?;
            pair.expect_shared(seed + 4)?;
        }
    }
    expect("pages", pair.server.pages()?, 3)?;
    pair.quit(1)
}

/// The mapping is the buffer of direct I/O on the served file itself. The server's replies to FUSE_READ are copied into
/// the pages, and FUSE_WRITE takes its data from them.
fn direct_io(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    // The mapping shows other bytes of the file than those that are read and written below.
    let mut pair = Pair::new(case, 40 * page as u64, 3)?;
    let (server_map, client_map) = (pair.server_map, pair.client_map);
    let mut seed = 0;
    for (at, len) in ranges() {
        for place in [0, 7 * page as u64, 11] {
            seed += 10;
            pair.server.fill(server_map, at, len, seed)?;
            pair.client.write_mapped(client_map, at, len, place)?;
            pair.server.fill(server_map, at, len, seed + 1)?;
            pair.client.read_mapped(client_map, at, len, place)?;
            pair.server.verify(server_map, at, len, seed)?;
            pair.client.verify(client_map, at, len, seed)?;
            pair.client.fill(client_map, at, len, seed + 2)?;
            pair.client.write_mapped(client_map, at, len, place)?;
            pair.client.fill(client_map, at, len, seed + 3)?;
            pair.client.read_mapped(client_map, at, len, place)?;
            pair.client.verify(client_map, at, len, seed + 2)?;
            pair.server.verify(server_map, at, len, seed + 2)?;
        }
    }
    // The server's reply is the first touch of these pages.
    let fresh = pair.client.map(60 * page as u64, pair.len)?;
    pair.client.fill(client_map, 0, pair.len, 1)?;
    pair.client.write_mapped(client_map, 0, pair.len, 0)?;
    pair.client.read_mapped(fresh, 0, pair.len, 0)?;
    let page_id = pair.server.page_id(60 * page as u64)?;
    let server_map = pair.server.map_pages(page_id, 3)?;
    pair.server.verify(server_map, 0, pair.len, 1)?;
    pair.client.verify(fresh, 0, pair.len, 1)?;
    expect("pages", pair.server.pages()?, 6)?;
    pair.quit(2)
}

/// Another process reads and writes the pages of the client and of the server with process_vm_readv and
/// process_vm_writev.
fn process_vm(case: &mut Case) -> Result<(), Failure> {
    let mut pair = Pair::new(case, 0, 3)?;
    let (server_map, client_map) = (pair.server_map, pair.client_map);
    let client = (pair.client.pid(), pair.client.area(client_map)?.start);
    let server = (pair.server.pid(), pair.server.area(server_map)?.start);
    let mut seed = 0;
    for (pid, start) in [client, server] {
        let pid = Pid(pid as i32);
        for (at, len) in ranges() {
            seed += 10;
            let place = start + at as u64;
            let mut found = vec![0; len];
            // The very first write is the first touch of the pages.
            write_memory(pid, place, &pattern::bytes(seed, at, len))?;
            pair.server.verify(server_map, at, len, seed)?;
            pair.client.verify(client_map, at, len, seed)?;
            pair.server.fill(server_map, at, len, seed + 1)?;
            read_memory(pid, place, &mut found)?;
            expect_pattern("the server's stores", &found, at, seed + 1)?;
            pair.client.fill(client_map, at, len, seed + 2)?;
            read_memory(pid, place, &mut found)?;
            expect_pattern("the client's stores", &found, at, seed + 2)?;
        }
    }
    // Another process cannot write to a read-only mapping either.
    let pid = Pid(client.0 as i32);
    let map = pair.client.map_readonly(0, pair.len)?;
    let start = pair.client.area(map)?.start;
    let result = write_memory(pid, start, &[0; 8]).map_err(|error| error.errno);
    expect("a write to a read-only page", result, Err(Errno::EFAULT))?;
    pair.expect_shared(100)?;
    let mut found = vec![0; pair.len];
    read_memory(pid, start, &mut found)?;
    expect_pattern("a read of a read-only mapping", &found, 0, 101)?;
    pair.quit(2)
}

/// A debugger reads and writes the pages of a client with PTRACE_PEEKDATA and PTRACE_POKEDATA.
fn ptrace(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut pair = Pair::new(case, 0, 3)?;
    let (server_map, client_map) = (pair.server_map, pair.client_map);
    let pid = Pid(pair.client.pid() as i32);
    let start = pair.client.area(client_map)?.start;
    let map = pair.client.map_readonly(0, pair.len)?;
    let readonly = pair.client.area(map)?.start;
    // Whole words on every machine; the second range crosses a page border.
    for (seed, at, len) in [(0, 0, 64), (10, page - 16, 32), (20, 2 * page, 64)] {
        let place = start + at as u64;
        let mut found = vec![0; len];
        let stopped = Tracee::attach(pid)?;
        stopped.poke(place, &pattern::bytes(seed, at, len))?;
        pair.server.verify(server_map, at, len, seed)?;
        pair.server.fill(server_map, at, len, seed + 1)?;
        stopped.peek(place, &mut found)?;
        expect_pattern("the server's stores", &found, at, seed + 1)?;
        stopped.peek(readonly + at as u64, &mut found)?;
        expect_pattern("a read of a read-only mapping", &found, at, seed + 1)?;
        // The kernel copies the page of a private mapping for a debugger's write, but not that of a shared one.
        let result = stopped.poke(readonly + at as u64, &[0; 8]);
        let result = result.map_err(|error| error.errno);
        expect("a poke of a read-only mapping", result, Err(Errno::EIO))?;
        drop(stopped);
        pair.client.verify(client_map, at, len, seed + 1)?;
    }
    pair.expect_shared(100)?;
    pair.quit(2)
}

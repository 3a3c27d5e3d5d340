// SPDX-License-Identifier: MIT OR Apache-2.0
//! Errors have the numbers that the interface documents, and a failed call leaves nothing behind.

use server::{Behaviour, OnMmap};
use sys::{Errno, Pid, Prot, Tracee, page_size};

use crate::stage::command::{Map, MappingCommand, Touch};
use crate::stage::counters::{self, LIMIT_MAPS, LIMIT_PER_CONNECTION, LIMIT_TOTAL, PAGES_TOTAL};
use crate::stage::failure::expect_ok;
use crate::stage::waiting::holding_init;
use crate::stage::{Case, Client, Failure, Process, Server, Workload, expect};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("no-privilege", no_privilege),
    ("private", private),
    ("too-long", too_long),
    ("too-many", too_many),
    ("not-negotiated", not_negotiated),
    ("ordinary", ordinary),
    ("granted-readonly", granted_readonly),
    ("refused", refused),
    ("dead-server", dead_server),
    ("limit-total", limit_total),
];

/// Fails unless the process's mmap of `pages` pages fails with `errno`.
fn expect_refusal(
    what: &str,
    process: &mut impl Process,
    offset: u64,
    pages: usize,
    errno: Errno,
) -> Result<(), Failure> {
    expect(what, process.try_map(offset, pages * page_size())?.map(drop), Err(errno))
}

/// Fails unless the client can map the file and share a page with the server.
fn expect_usable(server: &mut Server, client: &mut Client, value: u64) -> Result<(), Failure> {
    let map = client.map(0, page_size())?;
    server.expect_store("a store, loaded by the server", client, map, value)?;
    client.unmap(map)
}

/// The server's mmap of the channel fails with EPERM once the server is no longer root.
fn no_privilege(case: &mut Case) -> Result<(), Failure> {
    let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
    expect_usable(&mut server, &mut client, 1)?;
    let server_map = server.map_pages(server.page_id(0)?, 1)?;
    let map = client.map(0, page_size())?;
    server.drop_privileges()?;
    let offset = server.page_id(0)? * page_size() as u64;
    expect_refusal("the server's mmap", &mut server, offset, 1, Errno::EPERM)?;
    // Its existing mapping stays usable.
    client.store(map, 0, 2)?;
    expect("a store after the server lost its privileges", server.load(server_map, 0)?, 2)?;
    server.quit_after([client])
}

/// MAP_PRIVATE fails with EINVAL on both sides, because a private mapping would be a copy of the pages.
fn private(case: &mut Case) -> Result<(), Failure> {
    let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
    let refused = Err(Errno::EINVAL);
    let result = client.try_map_private(0, page_size())?.map(drop);
    expect("the client's private mmap", result, refused)?;
    let offset = server.page_id(0)? * page_size() as u64;
    let result = server.try_map_private(offset, page_size())?.map(drop);
    expect("the server's private mmap", result, refused)?;
    // A shared read-only mapping is allowed.
    client.map_readonly(0, page_size())?;
    expect_usable(&mut server, &mut client, 3)?;
    server.quit_after([client])
}

/// mmap of more pages than a limit allows fails with ENOMEM, because the mapping could never be filled.
fn too_long(case: &mut Case) -> Result<(), Failure> {
    let limit: usize = case.param("limit")?;
    for (path, other) in [(LIMIT_PER_CONNECTION, LIMIT_TOTAL), (LIMIT_TOTAL, LIMIT_PER_CONNECTION)]
    {
        counters::set(path, limit as u64)?;
        counters::set(other, 10 * limit as u64)?;
        let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
        let offset = server.page_id(0)? * page_size() as u64;
        let (over, errno) = (limit + 1, Errno::ENOMEM);
        expect_refusal("the client's mmap", &mut client, 0, over, errno)?;
        expect_refusal("the server's mmap", &mut server, offset, over, errno)?;
        client.map(0, limit * page_size())?;
        server.map_pages(server.page_id(0)?, limit)?;
        server.quit_after([client])?;
    }
    Ok(())
}

/// mmap over the limit on mappings fails with ENOMEM on both sides. Neither fork nor a split adds a mapping.
fn too_many(case: &mut Case) -> Result<(), Failure> {
    let limit: u64 = case.param("limit")?;
    counters::set(LIMIT_MAPS, limit)?;
    let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
    let page = page_size();
    let server_map = server.map_pages(server.page_id(0)?, 1)?;
    let mut maps = Vec::new();
    for _ in 1..limit {
        maps.push(client.map(0, page)?);
    }
    server.expect_maps("mappings", limit)?;
    let offset = server.page_id(0)? * page as u64;
    expect_refusal("the client's mmap", &mut client, 0, 1, Errno::ENOMEM)?;
    expect_refusal("the server's mmap", &mut server, offset, 1, Errno::ENOMEM)?;
    let mut child = client.fork("child")?;
    child.store(maps[0], 0, 1)?;
    server.expect_maps("mappings after a fork", limit)?;
    child.quit()?;
    client.unmap(maps[0])?;
    server.await_munmaps(1)?;
    let three = client.map(0, 3 * page)?;
    let middle = client.cut(three, page)?;
    client.cut(middle, page)?;
    client.protect(middle, Prot::Read)?;
    server.expect_maps("mappings after a split", limit)?;
    client.unmap(middle)?;
    server.expect_maps("mappings after the unmap of a part", limit)?;
    server.unmap(server_map)?;
    server.map_pages(server.page_id(0)?, 1)?;
    expect("FUSE_MMAPs", server.log()?.mmaps, limit)?;
    client.quit()?;
    server.await_munmaps(limit)?;
    server.expect_maps("mappings at the end", 1)?;
    server.quit()
}

/// If the server does not accept direct mmap in INIT, or may not accept it because it is not root, mmap fails with
/// ENODEV on both sides. It never shows the page cache instead, even if read(2) and write(2) use that.
fn not_negotiated(case: &mut Case) -> Result<(), Failure> {
    for cached in [false, true] {
        for declined in [true, false] {
            let held = Behaviour { cached, ..holding_init() };
            let mut server = case.serve_as(held)?;
            if !declined {
                server.drop_privileges()?;
            }
            server.behave(Behaviour { dmmap: !declined, cached, ..Behaviour::default() })?;
            let mut client = case.client("client", &server)?;
            let how = match (declined, cached) {
                (true, false) => "of a server that declined",
                (true, true) => "of a server that declined and uses the page cache",
                (false, false) => "of a server that is not root",
                (false, true) => "of a server that is not root and uses the page cache",
            };
            let what = format!("mmap of the file {how}");
            expect_refusal(&what, &mut client, 0, 1, Errno::ENODEV)?;
            let result = client.try_map_readonly(0, page_size())?.map(drop);
            expect(&format!("read-only {what}"), result, Err(Errno::ENODEV))?;
            // A server that is not root may not map its channel in any case.
            if declined {
                expect_refusal("the server's mmap", &mut server, 0, 1, Errno::ENODEV)?;
            }
            expect("FUSE_MMAPs", server.log()?.mmaps, 0)?;
            client.write_read(0, 100, 4)?;
            client.quit()?;
            server.quit()?;
        }
    }
    Ok(())
}

/// A file that the server opens without FOPEN_DMMAP is mapped from the page cache, although the connection has direct
/// mmap. The server gets no FUSE_MMAP, and what was stored reaches it as a FUSE_WRITE.
fn ordinary(case: &mut Case) -> Result<(), Failure> {
    let (page, pages) = (page_size(), 2);
    let len = pages * page;
    let behaviour = Behaviour { ordinary: true, cached: true, ..Behaviour::default() };
    let (mut server, mut client) = case.serve_with_client(behaviour)?;
    client.write_read(0, len, 1)?;
    let map = client.map(0, len)?;
    client.verify(map, 0, len, 1)?;
    let private = expect_ok("a private mmap", client.try_map_private(0, len)?)?;
    client.fill(private, 0, page, 2)?;
    client.verify(map, 0, len, 1)?;
    client.fill(map, 0, len, 3)?;
    client.time_syncs(1)?;
    client.unmap(map)?;
    client.unmap(private)?;
    let log = server.log()?;
    expect("FUSE_MMAPs and FUSE_MUNMAPs", (log.mmaps, log.munmaps), (0, 0))?;
    expect("direct-mapped pages", server.pages()?, 0)?;

    // Direct I/O reads what the server has.
    server.behave(Behaviour { cached: false, ..behaviour })?;
    let mut reader = case.client("reader", &server)?;
    reader.start_read_file(0, len, 3)?;
    reader.finish_call()?;

    // Another open of the same file gets direct mmap.
    server.behave(Behaviour::default())?;
    let mut sharer = case.client("client of direct mmap", &server)?;
    expect_usable(&mut server, &mut sharer, 5)?;
    server.quit_after([client, reader, sharer])
}

/// The server grants a mapping only for reading. mmap for writing fails with EACCES, and nothing makes the mapping
/// writable later. It shows what the server stores.
fn granted_readonly(case: &mut Case) -> Result<(), Failure> {
    let (page, period) = (page_size(), case.period());
    let len = 3 * page;
    let lazy: bool = case.param("lazy")?;
    let writable = if lazy { Behaviour::lazy() } else { Behaviour::default() };
    let mut server = case.serve_as(Behaviour { readonly: true, ..writable })?;
    let mut client = case.client("client", &server)?;
    let id = server.page_id(0)?;
    let refused = client.try_map(0, len)?.map(drop);
    expect("mmap for writing", refused, Err(Errno::EACCES))?;
    server.await_munmaps(1)?;
    let map = expect_ok("mmap for reading", client.try_map_readonly(0, len)?)?;
    if lazy {
        expect("a load by page ID", server.load_pages(id, 0, len, 1)?, Ok(()))?;
    } else {
        let here = server.map_pages(id, 3)?;
        server.fill(here, 0, len, 1)?;
        server.unmap(here)?;
    }
    client.verify(map, 0, len, 1)?;

    let mut child = client.fork("child")?;
    expect_never_writable("a child's mapping", &mut child, map)?;
    child.quit()?;
    expect_never_writable("the mapping", &mut client, map)?;
    client.protect(map, Prot::None)?;
    expect_never_writable("the mapping without access", &mut client, map)?;
    client.protect(map, Prot::Read)?;
    let pid = Pid(client.pid() as i32);
    let start = client.address(map)?;
    let written = sys::write_memory(pid, start, &[0; 8]).map_err(|error| error.errno);
    expect("a write by another process", written, Err(Errno::EFAULT))?;
    let stopped = Tracee::attach(pid)?;
    let poked = stopped.poke(start, &[0; 8]).map_err(|error| error.errno);
    expect("a write by a debugger", poked, Err(Errno::EIO))?;
    drop(stopped);
    let residue = start % period;
    client.call(map, MappingCommand::Move { len: 2 * page, residue, period })?;
    expect_never_writable("the mapping after a move", &mut client, map)?;

    // The server grants another client more.
    server.behave(writable)?;
    let mut writer = case.client("writer", &server)?;
    let there = writer.map(0, len)?;
    writer.fill(there, 0, len, 3)?;
    client.verify(map, 0, 2 * page, 3)?;
    client.quit()?;
    writer.quit()?;
    server.await_munmaps(3)?;
    server.quit()
}

/// Fails unless mprotect cannot make the mapping writable, in whole or in part, and a store raises SIGSEGV.
fn expect_never_writable(what: &str, client: &mut Client, map: Map) -> Result<(), Failure> {
    let refused = client.try_call(map, MappingCommand::Protect(Prot::ReadWrite))?;
    expect(&format!("mprotect of {what} for writing"), refused, Err(Errno::EACCES))?;
    let touched = client.touch(map, page_size(), true)?;
    expect(&format!("a store to {what}"), touched, Touch::Sigsegv)
}

/// The client's mmap fails with the error that the server returns. The next mmap asks the server again.
fn refused(case: &mut Case) -> Result<(), Failure> {
    let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
    for errno in [Errno::EACCES, Errno::EBUSY, Errno::ENOMEM, Errno::ENOSYS] {
        server.behave(Behaviour::with_mmap(OnMmap::Refuse { errno: errno.raw() }))?;
        expect_refusal("the mmap", &mut client, 0, 1, errno)?;
        server.behave(Behaviour::default())?;
        expect_usable(&mut server, &mut client, errno.raw() as u64)?;
    }
    server.quit_after([client])
}

/// After the server has died, mmap of a file that is still open fails with ENOTCONN.
fn dead_server(case: &mut Case) -> Result<(), Failure> {
    let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
    expect_usable(&mut server, &mut client, 7)?;
    server.kill()?;
    expect_refusal("mmap of the open file", &mut client, 0, 1, Errno::ENOTCONN)?;
    client.quit()
}

/// One connection can use up the total page limit; a touch through another connection then raises SIGBUS.
fn limit_total(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let limit: usize = case.param("limit")?;
    counters::set(LIMIT_TOTAL, limit as u64)?;
    let greedy = case.serve()?;
    let modest = case.serve()?;
    let mut a = case.client("client of the greedy server", &greedy)?;
    let mut b = case.client("client of the modest server", &modest)?;
    let map_a = a.map(0, (limit - 1) * page)?;
    let map_b = b.map(0, 2 * page)?;
    b.store(map_b, 0, 0xb)?;
    a.touch_all(map_a, limit - 1)?;
    expect("pages in total", counters::read(PAGES_TOTAL)?, limit as u64)?;

    expect("a touch over the limit", b.touch(map_b, page, true)?, Touch::Sigbus)?;
    expect("the kernel's touch over the limit", b.probe(map_b, page)?, Touch::Efault)?;
    expect("the word of the modest client", b.load(map_b, 0)?, 0xb)?;
    let word = a.load(map_a, (limit - 2) * page)?;
    expect("the last word of the greedy client", word, limit as u64 - 1)?;

    // A new limit below the current number of pages frees no page.
    counters::set(LIMIT_TOTAL, 1)?;
    expect("the word of the modest client", b.load(map_b, 0)?, 0xb)?;
    counters::set(LIMIT_TOTAL, limit as u64)?;
    a.unmap(map_a)?;
    b.store(map_b, page, 0xc)?;
    expect("pages in total", counters::read(PAGES_TOTAL)?, 2)?;
    a.quit()?;
    b.quit()?;
    greedy.quit()?;
    modest.quit()?;
    expect("pages in total at the end", counters::read(PAGES_TOTAL)?, 0)
}

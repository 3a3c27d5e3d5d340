// SPDX-License-Identifier: MIT OR Apache-2.0
//! Errors have the numbers that the interface documents, and a failed call leaves nothing behind.

use server::{Behaviour, OnMmap};
use sys::{Errno, Prot, page_size};

use crate::stage::command::Touch;
use crate::stage::counters::{self, LIMIT_MAPS, LIMIT_PER_CONNECTION, LIMIT_TOTAL, PAGES_TOTAL};
use crate::stage::{Case, Client, Failure, Process, Server, Workload, expect};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("no-privilege", no_privilege),
    ("private", private),
    ("too-long", too_long),
    ("too-many", too_many),
    ("not-negotiated", not_negotiated),
    ("not-implemented", not_implemented),
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
    expect("mappings", server.counter("maps")?, limit)?;
    let offset = server.page_id(0)? * page as u64;
    expect_refusal("the client's mmap", &mut client, 0, 1, Errno::ENOMEM)?;
    expect_refusal("the server's mmap", &mut server, offset, 1, Errno::ENOMEM)?;
    let mut child = client.fork("child")?;
    child.store(maps[0], 0, 1)?;
    expect("mappings after a fork", server.counter("maps")?, limit)?;
    child.quit()?;
    client.unmap(maps[0])?;
    server.await_munmaps(1)?;
    let three = client.map(0, 3 * page)?;
    let middle = client.cut(three, page)?;
    client.cut(middle, page)?;
    client.protect(middle, Prot::Read)?;
    expect("mappings after a split", server.counter("maps")?, limit)?;
    client.unmap(middle)?;
    expect("mappings after the unmap of a part", server.counter("maps")?, limit)?;
    server.unmap(server_map)?;
    server.map_pages(server.page_id(0)?, 1)?;
    expect("FUSE_MMAPs", server.log()?.mmaps, limit)?;
    client.quit()?;
    server.await_munmaps(limit)?;
    expect("mappings at the end", server.counter("maps")?, 1)?;
    server.quit()
}

/// If the server does not accept direct mmap in INIT, mmap fails with ENODEV on both sides.
fn not_negotiated(case: &mut Case) -> Result<(), Failure> {
    let mut server = case.serve_as(Behaviour { dmmap: false, ..Behaviour::default() })?;
    let mut client = case.client("client", &server)?;
    expect_refusal("the client's mmap", &mut client, 0, 1, Errno::ENODEV)?;
    expect_refusal("the server's mmap", &mut server, 0, 1, Errno::ENODEV)?;
    expect("FUSE_MMAPs", server.log()?.mmaps, 0)?;
    client.write_read(0, 100, 4)?;
    server.quit_after([client])
}

/// After the server has answered FUSE_MMAP with ENOSYS, the kernel does not send another one.
fn not_implemented(case: &mut Case) -> Result<(), Failure> {
    let errno = Errno::ENOSYS.raw();
    let mut server = case.serve_as(Behaviour::with_mmap(OnMmap::Refuse { errno }))?;
    let mut client = case.client("client", &server)?;
    expect_refusal("the first mmap", &mut client, 0, 1, Errno::ENODEV)?;
    expect_refusal("the second mmap", &mut client, 0, 1, Errno::ENODEV)?;
    expect("FUSE_MMAPs", server.log()?.mmaps, 1)?;
    client.write_read(0, 100, 5)?;
    server.quit_after([client])
}

/// The client's mmap fails with the error that the server returns, except ENOSYS. The next mmap asks the server again.
fn refused(case: &mut Case) -> Result<(), Failure> {
    let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
    for errno in [Errno::EACCES, Errno::EBUSY, Errno::ENOMEM] {
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
    expect("pages of the modest server", modest.pages()?, 1)?;

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

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Errors have the numbers the interface promises, and leave nothing behind.

use server::{Behaviour, OnMmap};
use sys::{Errno, page_size};

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

fn server_that(case: &mut Case, mmap: OnMmap) -> Result<Server, Failure> {
    case.serve_as(Behaviour {
        mmap,
        ..Behaviour::default()
    })
}

/// Mapping `pages` pages is refused with `errno`.
fn expect_refusal(
    who: &str,
    process: &mut impl Process,
    offset: u64,
    pages: usize,
    errno: Errno,
) -> Result<(), Failure> {
    let result = process.try_map(offset, pages * page_size())?;
    expect(who, result.map(drop), Err(errno))
}

/// The file can be mapped and used.
fn expect_usable(server: &mut Server, client: &mut Client, value: u64) -> Result<(), Failure> {
    let map = client.map(0, page_size())?;
    server.expect_store("a store afterwards", client, map, value)?;
    client.unmap(map)
}

/// Only root may map the channel.
fn no_privilege(case: &mut Case) -> Result<(), Failure> {
    let mut server = case.serve()?;
    let mut client = case.client("client", &server)?;
    expect_usable(&mut server, &mut client, 1)?;
    let here = server.map_pages(server.page_id(0)?, 1)?;
    let map = client.map(0, page_size())?;
    server.drop_privileges()?;
    let offset = server.page_id(0)? * page_size() as u64;
    expect_refusal("the server's mmap", &mut server, offset, 1, Errno::EPERM)?;
    // What it has it keeps.
    client.store(map, 0, 2)?;
    expect("a store afterwards", server.load(here, 0)?, 2)?;
    client.quit()?;
    server.quit()
}

/// A private mapping would be a copy: refused on both sides.
fn private(case: &mut Case) -> Result<(), Failure> {
    let mut server = case.serve()?;
    let mut client = case.client("client", &server)?;
    let refused = Err(Errno::EINVAL);
    let of_client = client.try_map_private(0, page_size())?;
    expect("the client's private mmap", of_client.map(drop), refused)?;
    let offset = server.page_id(0)? * page_size() as u64;
    let of_server = server.try_map_private(offset, page_size())?;
    expect("the server's private mmap", of_server.map(drop), refused)?;
    // A shared mapping to read is not private.
    client.map_readonly(0, page_size())?;
    expect_usable(&mut server, &mut client, 3)?;
    client.quit()?;
    server.quit()
}

/// A mapping that could never be filled is refused at once.
fn too_long(case: &mut Case) -> Result<(), Failure> {
    let limit: usize = case.param("limit")?;
    for (path, other) in [
        (LIMIT_PER_CONNECTION, LIMIT_TOTAL),
        (LIMIT_TOTAL, LIMIT_PER_CONNECTION),
    ] {
        counters::set(path, limit as u64)?;
        counters::set(other, 10 * limit as u64)?;
        let mut server = case.serve()?;
        let mut client = case.client("client", &server)?;
        let offset = server.page_id(0)? * page_size() as u64;
        let over = limit + 1;
        expect_refusal("the client's mmap", &mut client, 0, over, Errno::ENOMEM)?;
        expect_refusal(
            "the server's mmap",
            &mut server,
            offset,
            over,
            Errno::ENOMEM,
        )?;
        client.map(0, limit * page_size())?;
        server.map_pages(server.page_id(0)?, limit)?;
        client.quit()?;
        server.quit()?;
    }
    Ok(())
}

/// One mapping more than there may be is refused, on either side; what fork adds is not.
fn too_many(case: &mut Case) -> Result<(), Failure> {
    let limit: u64 = case.param("limit")?;
    counters::set(LIMIT_MAPS, limit)?;
    let mut server = case.serve()?;
    let mut client = case.client("client", &server)?;
    let page = page_size();
    let here = server.map_pages(server.page_id(0)?, 1)?;
    let mut maps = Vec::new();
    for _ in 1..limit {
        maps.push(client.map(0, page)?);
    }
    expect("mappings", server.counter("maps")?, limit)?;
    let offset = server.page_id(0)? * page as u64;
    expect_refusal("the client's mmap", &mut client, 0, 1, Errno::ENOMEM)?;
    expect_refusal("the server's mmap", &mut server, offset, 1, Errno::ENOMEM)?;
    // A child that inherits them.
    let touched = client.touch(maps[0], 0, true)?;
    expect("a touch by a child", touched, Touch::Success)?;
    client.unmap(maps[0])?;
    maps[0] = client.map(0, page)?;
    server.unmap(here)?;
    server.map_pages(server.page_id(0)?, 1)?;
    expect("FUSE_MMAPs", server.log()?.mmaps, limit)?;
    client.quit()?;
    expect("mappings at the end", server.counter("maps")?, 1)?;
    server.quit()
}

/// A server that does not take the offer has a file that cannot be mapped.
fn not_negotiated(case: &mut Case) -> Result<(), Failure> {
    let mut server = case.serve_as(Behaviour {
        dmmap: false,
        ..Behaviour::default()
    })?;
    let mut client = case.client("client", &server)?;
    expect_refusal("the client's mmap", &mut client, 0, 1, Errno::ENODEV)?;
    expect_refusal("the server's mmap", &mut server, 0, 1, Errno::ENODEV)?;
    expect("FUSE_MMAPs", server.log()?.mmaps, 0)?;
    client.write_read(0, 100, 4)?;
    client.quit()?;
    server.quit()
}

/// A server that does not know FUSE_MMAP is asked once.
fn not_implemented(case: &mut Case) -> Result<(), Failure> {
    let errno = Errno::ENOSYS.raw();
    let mut server = server_that(case, OnMmap::Refuse { errno })?;
    let mut client = case.client("client", &server)?;
    expect_refusal("the first mmap", &mut client, 0, 1, Errno::ENODEV)?;
    expect_refusal("the second mmap", &mut client, 0, 1, Errno::ENODEV)?;
    expect("FUSE_MMAPs", server.log()?.mmaps, 1)?;
    client.write_read(0, 100, 5)?;
    client.quit()?;
    server.quit()
}

/// Any other refusal of the server is the client's, as it is, and only for this one mmap.
fn refused(case: &mut Case) -> Result<(), Failure> {
    let mut server = case.serve()?;
    let mut client = case.client("client", &server)?;
    for errno in [Errno::EACCES, Errno::EBUSY, Errno::ENOMEM] {
        server.behave(Behaviour {
            mmap: OnMmap::Refuse { errno: errno.raw() },
            ..Behaviour::default()
        })?;
        expect_refusal("the mmap", &mut client, 0, 1, errno)?;
        server.behave(Behaviour::default())?;
        expect_usable(&mut server, &mut client, errno.raw() as u64)?;
    }
    client.quit()?;
    server.quit()
}

/// A server that is gone cannot be asked.
fn dead_server(case: &mut Case) -> Result<(), Failure> {
    let mut server = case.serve()?;
    let mut client = case.client("client", &server)?;
    expect_usable(&mut server, &mut client, 7)?;
    server.kill()?;
    expect_refusal(
        "mmap of a file that is open",
        &mut client,
        0,
        1,
        Errno::ENOTCONN,
    )?;
    client.quit()
}

/// The limit of all connections together: one of them can use it up, and it is the other's SIGBUS.
fn limit_total(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let limit: usize = case.param("limit")?;
    counters::set(LIMIT_TOTAL, limit as u64)?;
    let greedy = case.serve()?;
    let modest = case.serve()?;
    let mut a = case.client("client of the greedy", &greedy)?;
    let mut b = case.client("client of the modest", &modest)?;
    let of_a = a.map(0, (limit - 1) * page)?;
    let of_b = b.map(0, 2 * page)?;
    b.store(of_b, 0, 0xb)?;
    a.touch_all(of_a, limit - 1)?;
    expect("pages in total", counters::read(PAGES_TOTAL)?, limit as u64)?;
    expect("pages of the modest", modest.pages()?, 1)?;

    expect(
        "a touch over the limit",
        b.touch(of_b, page, true)?,
        Touch::Sigbus,
    )?;
    expect(
        "the kernel's touch over the limit",
        b.probe(of_b, page)?,
        Touch::Efault,
    )?;
    expect("the word of the modest client", b.load(of_b, 0)?, 0xb)?;
    let word = a.load(of_a, (limit - 2) * page)?;
    expect("the last word of the greedy client", word, limit as u64 - 1)?;

    // A limit below what is used takes nothing away.
    counters::set(LIMIT_TOTAL, 1)?;
    expect("the word of the modest client", b.load(of_b, 0)?, 0xb)?;
    counters::set(LIMIT_TOTAL, limit as u64)?;
    a.unmap(of_a)?;
    b.store(of_b, page, 0xc)?;
    expect("pages in total", counters::read(PAGES_TOTAL)?, 2)?;
    a.quit()?;
    b.quit()?;
    greedy.quit()?;
    modest.quit()?;
    expect("pages in total at the end", counters::read(PAGES_TOTAL)?, 0)
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pages are there when they are touched, are counted exactly, are bounded, and come back however their users go.

use sys::page_size;

use crate::command::{Map, Touched};
use crate::counters::{self, LIMIT_PER_CONNECTION, LIMIT_TOTAL, PAGES_TOTAL};
use crate::{Case, Failure, Process, Server, Workload, expect, expect_that};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("lazy", lazy),
    ("limit-connection", limit_connection),
    ("limit-total", limit_total),
    ("unmap", unmap),
    ("pieces", pieces),
    ("exit", exit),
    ("kill-client", kill_client),
    ("kill-server", kill_server),
    ("cycles", cycles),
];

/// Both counters show `expected`; no other connection is there.
fn expect_pages(server: &Server, when: &str, expected: u64) -> Result<(), Failure> {
    expect(
        &format!("pages of the connection {when}"),
        server.pages()?,
        expected,
    )?;
    expect(
        &format!("pages in total {when}"),
        counters::read(PAGES_TOTAL)?,
        expected,
    )
}

fn touch_all(process: &mut Process, map: Map, pages: usize) -> Result<(), Failure> {
    (0..pages).try_for_each(|index| process.store(map, index * page_size(), index as u64 + 1))
}

/// A mapping costs nothing until it is touched; then each page is counted once, whoever touched it.
fn lazy(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let pages: usize = case.param("pages")?;
    let mut server = case.serve()?;
    let mut a = case.client("client a", &server)?;
    let mut b = case.client("client b", &server)?;
    let of_a = a.map(0, pages * page)?;
    let of_b = b.map(0, pages * page)?;
    let of_server = server.map_pages(server.page_id(0)?, pages)?;
    expect_pages(&server, "before the first touch", 0)?;
    for index in 0..pages {
        let at = index * page;
        // A load is a touch as well as a store is, and it does not matter whose it is.
        match index % 3 {
            0 => a.store(of_a, at, 1)?,
            1 => a.load(of_a, at).map(drop)?,
            _ => server.load(of_server, at).map(drop)?,
        }
        expect_pages(
            &server,
            &format!("after a touch of page {index}"),
            index as u64 + 1,
        )?;
        b.load(of_b, at)?;
        server.store(of_server, at, 2)?;
        expect_pages(&server, "after further touches of it", index as u64 + 1)?;
    }
    a.quit()?;
    b.quit()?;
    expect_pages(&server, "while the server maps them", pages as u64)?;
    server.unmap(of_server)?;
    expect_pages(&server, "at the end", 0)?;
    server.quit()
}

/// Over the limit of its connection a touch is a SIGBUS; what is there stays, and room that comes back can be used.
fn limit_connection(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let limit: usize = case.param("limit")?;
    counters::set(LIMIT_PER_CONNECTION, limit as u64)?;
    let mut server = case.serve()?;
    let mut client = case.client("client", &server)?;
    let full = client.map(0, limit * page)?;
    let beyond = (limit * page) as u64;
    let over = client.map(beyond, page)?;
    let over_here = server.map_pages(server.page_id(beyond)?, 1)?;
    client.fill(full, 0, limit * page, 1)?;
    expect_pages(&server, "at the limit", limit as u64)?;

    for store in [false, true] {
        expect(
            "a client's touch over the limit",
            client.touch(over, 0, store)?,
            Touched::Bus,
        )?;
        expect(
            "the server's touch over the limit",
            server.touch(over_here, 0, store)?,
            Touched::Bus,
        )?;
    }
    expect(
        "the kernel's touch over the limit",
        client.probe(over, 0)?,
        Touched::Fault,
    )?;
    expect_pages(&server, "after the refused touches", limit as u64)?;
    client.verify(full, 0, limit * page, 1)?;
    client.fill(full, 0, limit * page, 2)?;
    client.verify(full, 0, limit * page, 2)?;

    client.punch(full, 0, page)?;
    expect_pages(&server, "after one page came back", limit as u64 - 1)?;
    expect(
        "a touch of what fits now",
        client.touch(over, 0, true)?,
        Touched::Well,
    )?;
    server.verify_zero(over_here, 0, page)?;
    expect_pages(&server, "at the limit again", limit as u64)?;
    client.quit()?;
    server.unmap(over_here)?;
    expect_pages(&server, "at the end", 0)?;
    server.quit()
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
    touch_all(&mut a, of_a, limit - 1)?;
    expect("pages in total", counters::read(PAGES_TOTAL)?, limit as u64)?;
    expect("pages of the modest", modest.pages()?, 1)?;

    expect(
        "a touch over the limit",
        b.touch(of_b, page, true)?,
        Touched::Bus,
    )?;
    expect(
        "the kernel's touch over the limit",
        b.probe(of_b, page)?,
        Touched::Fault,
    )?;
    expect("what the modest had", b.load(of_b, 0)?, 0xb)?;
    let word = a.load(of_a, (limit - 2) * page)?;
    expect("what the greedy has", word, limit as u64 - 1)?;

    // A limit below what is used takes nothing away.
    counters::set(LIMIT_TOTAL, 1)?;
    expect("what the modest had", b.load(of_b, 0)?, 0xb)?;
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

/// munmap gives back what nobody else maps, page by page; the server hears of it when the last page goes.
fn unmap(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut server = case.serve()?;
    let mut client = case.client("client", &server)?;
    let map = client.map(0, 8 * page)?;
    touch_all(&mut client, map, 8)?;
    expect_pages(&server, "after touching 8", 8)?;
    let tail = client.punch(map, 2 * page, 3 * page)?;
    expect_pages(&server, "after unmapping 3 in the middle", 5)?;
    expect("page 1", client.load(map, page)?, 2)?;
    expect("page 5", client.load(tail, 0)?, 6)?;
    // Two of the three that are left behind the hole are the server's as well.
    let here = server.map_pages(server.page_id(6 * page as u64)?, 2)?;
    client.unmap(tail)?;
    expect_pages(&server, "after unmapping the end", 4)?;
    expect("page 7, by the server", server.load(here, page)?, 8)?;
    expect(
        "FUSE_MUNMAPs while a part is mapped",
        server.seen()?.munmaps,
        0,
    )?;
    client.unmap(map)?;
    server.await_munmaps(1)?;
    expect_pages(&server, "after the client's last unmap", 2)?;
    server.unmap(here)?;
    expect_pages(&server, "after the server's last unmap", 0)?;
    client.quit()?;
    server.quit()
}

/// mprotect makes three mappings of one: each gives back its own pages, and the server hears of the last.
fn pieces(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    for order in [[0, 2, 1], [1, 0, 2], [2, 1, 0]] {
        let mut server = case.serve()?;
        let mut client = case.client("client", &server)?;
        let first = client.map(0, 6 * page)?;
        client.fill(first, 0, 6 * page, 1)?;
        let middle = client.cut(first, 2 * page)?;
        let last = client.cut(middle, 2 * page)?;
        client.protect_readonly(middle)?;
        expect(
            "a load from the middle",
            client.touch(middle, 0, false)?,
            Touched::Well,
        )?;
        expect(
            "a store to the middle",
            client.touch(middle, 0, true)?,
            Touched::Segv,
        )?;
        expect(
            "a store behind it",
            client.touch(last, 0, true)?,
            Touched::Well,
        )?;
        expect_pages(&server, "before any unmap", 6)?;
        for (index, piece) in order.into_iter().enumerate() {
            expect(
                "FUSE_MUNMAPs before the last unmap",
                server.seen()?.munmaps,
                0,
            )?;
            client.unmap([first, middle, last][piece])?;
            expect_pages(
                &server,
                &format!("after piece {piece}"),
                4 - 2 * index as u64,
            )?;
        }
        let seen = server.await_munmaps(1)?;
        expect("its length", seen.last_munmaps[0].length, 6 * page as u64)?;
        client.quit()?;
        server.quit()?;
    }
    Ok(())
}

/// What a process leaves behind when `end` ends it: nothing.
fn ends(case: &mut Case, end: fn(Process) -> Result<(), Failure>) -> Result<(), Failure> {
    let page = page_size();
    let pages: usize = case.param("pages")?;
    let mut server = case.serve()?;
    for round in 1..=case.param("rounds")? {
        let mut client = case.client("client", &server)?;
        let mut stays = case.client("client that stays", &server)?;
        let map = client.map(0, pages * page)?;
        let kept = stays.map(0, page)?;
        touch_all(&mut client, map, pages)?;
        expect_pages(&server, "before the end", pages as u64)?;
        end(client)?;
        server.await_munmaps(2 * round - 1)?;
        expect_pages(&server, "after the end of one of two clients", 1)?;
        expect("the page of the other", stays.load(kept, 0)?, 1)?;
        stays.quit()?;
        server.await_munmaps(2 * round)?;
        expect_pages(&server, "after the end of both", 0)?;
    }
    server.quit()
}

/// A client that exits gives everything back.
fn exit(case: &mut Case) -> Result<(), Failure> {
    ends(case, Process::quit)
}

/// A client that is killed gives everything back.
fn kill_client(case: &mut Case) -> Result<(), Failure> {
    ends(case, Process::kill)
}

/// A server that is killed: clients keep the pages they have and get no new ones, and the last gives all back.
fn kill_server(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut server = case.serve()?;
    let mut client = case.client("client", &server)?;
    let map = client.map(0, 4 * page)?;
    let here = server.map_pages(server.page_id(0)?, 8)?;
    server.fill(here, 0, 2 * page, 1)?;
    server.store(here, 7 * page, 1)?;
    expect_pages(&server, "before the end", 3)?;
    server.kill()?;

    let total = counters::read(PAGES_TOTAL)?;
    expect("pages that are left, those of the client", total, 2)?;
    client.verify(map, 0, 2 * page, 1)?;
    client.fill(map, 0, 2 * page, 2)?;
    client.verify(map, 0, 2 * page, 2)?;
    expect(
        "a touch of a new page",
        client.touch(map, 3 * page, true)?,
        Touched::Bus,
    )?;
    expect(
        "the kernel's touch of it",
        client.probe(map, 3 * page)?,
        Touched::Fault,
    )?;
    expect("pages after that", counters::read(PAGES_TOTAL)?, 2)?;
    client.quit()?;
    expect("pages at the end", counters::read(PAGES_TOTAL)?, 0)
}

/// Nothing adds up over many mappings: neither pages nor unmaps that the server never hears of.
fn cycles(case: &mut Case) -> Result<(), Failure> {
    let times: u32 = case.param("times")?;
    let pages: usize = case.param("pages")?;
    let mut server = case.serve()?;
    let mut client = case.client("client", &server)?;
    client.cycle(0, pages, times)?;
    expect_pages(&server, "after the cycles", 0)?;
    let seen = server.await_munmaps(u64::from(times))?;
    expect("FUSE_MMAPs", seen.mmaps, u64::from(times))?;
    expect_that(seen.refused_replies == 0, || {
        "the kernel refused replies".into()
    })?;
    client.quit()?;
    server.quit()
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every mapping of a page shows the same bytes, and no other page's.

pub(crate) mod colour;

use server::{Behaviour, OnMmap};
use sys::page_size;

use crate::stage::role::{DATA, Ring, Role, TURN, Wait};
use crate::stage::{Case, Failure, Process, Workload, expect, expect_that, pattern};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("ping-pong", ping_pong),
    ("ring", ring),
    ("twice", twice),
    ("page-borders", page_borders),
    ("two-ids", two_ids),
    ("unrelated-id", unrelated_id),
    ("own-offset", own_offset),
    ("zeros", zeros),
    ("same-frame", same_frame),
    ("neighbours", neighbours),
];

/// Two clients and the server hand a growing secret around.
fn ping_pong(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let pages: usize = case.param("pages")?;
    let rounds: u32 = case.param("rounds")?;
    let wait: Wait = case.param("wait")?;
    let words = (pages * page - DATA) / 8;
    let mut server = case.serve()?;
    let mut a = case.client("client a", &server)?;
    let mut b = case.client("client b", &server)?;
    let of_a = a.map(0, pages * page)?;
    let of_b = b.map(0, pages * page)?;
    let of_server = server.map_pages(server.page_id(0)?, pages)?;

    let part = |player| Role::PingPong {
        player,
        players: 3,
        rounds,
        words,
        wait,
    };
    a.start_role(of_a, part(0))?;
    b.start_role(of_b, part(1))?;
    server.start_role(of_server, part(2))?;
    a.finish_role()?;
    b.finish_role()?;
    server.finish_role()?;
    let turns = u64::from(3 * rounds);
    let last = pattern::word(turns, words as u64 - 1);
    // The turn is the first half of the word, wherever the machine keeps the high one.
    let word = a.load(of_a, TURN)?;
    let turn = match sys::big_endian() {
        true => word >> 32,
        false => word & 0xffff_ffff,
    };
    expect("turns", turn, turns)?;
    expect("the last word", b.load(of_b, DATA + 8 * (words - 1))?, last)?;
    a.quit()?;
    b.quit()?;
    server.quit()
}

/// One side writes records and waits for nobody; what the others read whole is never mixed from two records.
/// With a server that writes, then with a client that does.
fn ring(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let ring = Ring {
        slots: case.param("slots")?,
        words: case.param("words")?,
        records: case.param("records")?,
    };
    let pages = (DATA + ring.slots as usize * (8 + 8 * ring.words)).div_ceil(page);
    let mut server = case.serve()?;
    let mut a = case.client("client a", &server)?;
    let mut b = case.client("client b", &server)?;
    for (lap, offset) in [0, (pages * page) as u64].into_iter().enumerate() {
        let of_a = a.map(offset, pages * page)?;
        let of_b = b.map(offset, pages * page)?;
        let of_server = server.map_pages(server.page_id(offset)?, pages)?;
        let (to_a, to_server) = match lap {
            0 => (Role::RingReader(ring), Role::RingWriter(ring)),
            _ => (Role::RingWriter(ring), Role::RingReader(ring)),
        };
        b.start_role(of_b, Role::RingReader(ring))?;
        if lap == 0 {
            a.start_role(of_a, to_a)?;
            server.start_role(of_server, to_server)?;
        } else {
            server.start_role(of_server, to_server)?;
            a.start_role(of_a, to_a)?;
        }
        let heard = [a.finish_role()?, b.finish_role()?, server.finish_role()?].concat();
        for figure in ["whole", "torn"] {
            let sum: u64 = heard
                .iter()
                .filter(|(n, _)| n == figure)
                .map(|(_, v)| v)
                .sum();
            case.figure(format!("{figure}_records_lap_{lap}"), sum as f64);
        }
    }
    a.quit()?;
    b.quit()?;
    server.quit()
}

/// What a process stores by one of its mappings of a page it loads by the other: a cache with virtual tags has it twice.
fn twice(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let pages: usize = case.param("pages")?;
    let len = pages * page;
    let mut server = case.serve()?;
    let mut client = case.client("client", &server)?;
    let there = client.map(0, len)?;
    client.fill(there, 0, len, 0)?;
    let there_too = client.map(0, len)?;
    client.verify(there_too, 0, len, 0)?;
    let here = server.map_pages(server.page_id(0)?, pages)?;
    server.verify(here, 0, len, 0)?;
    let here_too = server.map_pages(server.page_id(0)?, pages)?;
    for round in 0..case.param("rounds")? {
        let seed = 4 * round;
        client.fill_and_verify((there, there_too), 0, len, seed + 1)?;
        server.verify(here, 0, len, seed + 1)?;
        server.fill_and_verify((here_too, here), 0, len, seed + 2)?;
        client.fill_and_verify((there_too, there), 0, len, seed + 3)?;
        server.verify(here_too, 0, len, seed + 3)?;
        server.fill_and_verify((here, here_too), 0, len, seed + 4)?;
    }
    client.quit()?;
    server.quit()
}

/// Data that lies across the border of two pages arrives whole, whoever writes it.
fn page_borders(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let pages: usize = case.param("pages")?;
    let mut server = case.serve()?;
    let mut a = case.client("client a", &server)?;
    let mut b = case.client("client b", &server)?;
    let of_a = a.map(0, pages * page)?;
    // Not from the start: the borders are at other places in this mapping.
    let of_b = b.map(page as u64, (pages - 1) * page)?;
    let of_server = server.map_pages(server.page_id(0)?, pages)?;
    for border in 1..pages {
        // Lengths that are odd, a cache line, and longer than a page.
        for (step, len) in [3, 64, 333, page + 10].into_iter().enumerate() {
            let at = (border * page).saturating_sub(len / 2);
            let len = len.min(pages * page - at);
            let seed = (border * 100 + step * 10) as u64;
            a.fill(of_a, at, len, seed)?;
            server.verify(of_server, at, len, seed)?;
            server.fill(of_server, at, len, seed + 1)?;
            a.verify(of_a, at, len, seed + 1)?;
            if at >= page {
                // The same bytes have lower numbers in this mapping, so the pattern is another.
                b.fill(of_b, at - page, len, seed + 2)?;
                b.verify(of_b, at - page, len, seed + 2)?;
                let word = b.load(of_b, (at - page).next_multiple_of(8))?;
                let same = a.load(of_a, at.next_multiple_of(8))?;
                expect("a word written by client b, loaded by client a", same, word)?;
            }
        }
    }
    a.quit()?;
    b.quit()?;
    server.quit()
}

/// Pages with different IDs never mix.
fn two_ids(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let pages: usize = case.param("pages")?;
    let len = pages * page;
    let mut server = case.serve()?;
    let mut client = case.client("client", &server)?;
    let near = client.map(0, len)?;
    let far = client.map((7 * len) as u64, len)?;
    let near_here = server.map_pages(server.page_id(0)?, pages)?;
    let far_here = server.map_pages(server.page_id((7 * len) as u64)?, pages)?;
    for round in 0..case.param("rounds")? {
        let seed = 10 * round;
        client.fill(near, 0, len, seed + 1)?;
        server.fill(far_here, 0, len, seed + 2)?;
        server.verify(near_here, 0, len, seed + 1)?;
        client.verify(far, 0, len, seed + 2)?;
        client.fill(far, 0, len, seed + 3)?;
        server.verify(near_here, 0, len, seed + 1)?;
        server.verify(far_here, 0, len, seed + 3)?;
    }
    client.quit()?;
    server.quit()
}

/// Which page it is, is the server's word and not the offset's: two offsets can be one page, one offset two pages.
fn unrelated_id(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let script = |page_id| Behaviour {
        mmap: OnMmap::Fixed { page_id },
        ..Behaviour::default()
    };
    let (first_id, second_id) = (case.param("first")?, case.param("second")?);
    let mut server = case.serve_as(script(first_id))?;
    let mut a = case.client("client a", &server)?;
    let mut b = case.client("client b", &server)?;
    let of_a = a.map(0, 2 * page)?;
    let of_b = b.map(9 * page as u64, 2 * page)?;
    server.behave(script(second_id))?;
    let other = b.map(0, 2 * page)?;

    a.fill(of_a, 0, 2 * page, 1)?;
    b.verify(of_b, 0, 2 * page, 1)?;
    b.verify_zero(other, 0, 2 * page)?;
    b.fill(other, 0, 2 * page, 2)?;
    a.verify(of_a, 0, 2 * page, 1)?;
    let first = server.map_pages(first_id, 2)?;
    let second = server.map_pages(second_id, 2)?;
    server.verify(first, 0, 2 * page, 1)?;
    server.verify(second, 0, 2 * page, 2)?;
    // Page k of a mapping is ID + k, also where only that page is mapped.
    let last = server.map_pages(first_id + 1, 1)?;
    let word = server.load(last, 64)?;
    expect("page 1 of client a", a.load(of_a, page + 64)?, word)?;
    expect("pages", server.pages()?, 4)?;
    a.quit()?;
    b.quit()?;
    server.quit()
}

/// `/proc/PID/maps` shows the offset the client asked for, and neither the ID nor anything of the server.
fn own_offset(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut server = case.serve()?;
    let mut client = case.client("client", &server)?;
    for offset in [0, 3 * page as u64, 64 * page as u64] {
        let map = client.map(offset, 2 * page)?;
        for look in ["before the first touch", "after the first touch"] {
            let area = client.area(map)?;
            expect(
                &format!("offset in /proc/PID/maps {look}"),
                area.offset,
                offset,
            )?;
            expect(
                "length in /proc/PID/maps",
                area.end - area.start,
                2 * page as u64,
            )?;
            expect("mode in /proc/PID/maps", area.mode.as_str(), "rw-s")?;
            expect("file in /proc/PID/maps", &area.path, &server.path)?;
            client.store(map, page, offset + 1)?;
        }
        // What is left of a mapping keeps its place in the file.
        let tail = client.punch(map, 0, page)?;
        expect(
            "offset of the tail in /proc/PID/maps",
            client.area(tail)?.offset,
            offset + page as u64,
        )?;
        expect("the word in the tail", client.load(tail, 0)?, offset + 1)?;
    }
    let id = server.page_id(0)?;
    let channel = server.map_pages(id, 1)?;
    let offset = server.area(channel)?.offset;
    expect("offset of the server's mapping", offset, id * page as u64)?;
    client.quit()?;
    server.quit()
}

/// A page is zeros when it is new, whoever touches it first, and new again when everybody had let go of it.
fn zeros(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let pages: usize = case.param("pages")?;
    let len = pages * page;
    let mut server = case.serve()?;
    let mut client = case.client("client", &server)?;
    for round in 0..case.param("rounds")? {
        let there = client.map(0, len)?;
        let here = server.map_pages(server.page_id(0)?, pages)?;
        // Odd pages are first touched by the server, the others by the client.
        for index in 0..pages {
            match index % 2 {
                0 => client.verify_zero(there, index * page, page)?,
                _ => server.verify_zero(here, index * page, page)?,
            }
        }
        server.verify_zero(here, 0, len)?;
        client.fill(there, 0, len, round)?;
        // A second first touch must not zero it again.
        server.verify(here, 0, len, round)?;
        client.unmap(there)?;
        server.verify(here, 0, len, round)?;
        server.unmap(here)?;
    }
    client.quit()?;
    server.quit()
}

/// All mappings of a page show one page of memory, and different pages are different memory.
fn same_frame(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let pages: usize = case.param("pages")?;
    let mut server = case.serve()?;
    let mut a = case.client("client a", &server)?;
    let mut b = case.client("client b", &server)?;
    let of_a = a.map(0, pages * page)?;
    let of_b = b.map(0, pages * page)?;
    let of_server = server.map_pages(server.page_id(0)?, pages)?;
    let mut frames = Vec::new();
    for index in 0..pages {
        let at = index * page;
        a.store(of_a, at, index as u64)?;
        b.load(of_b, at)?;
        server.load(of_server, at)?;
        let frame = a.frame(of_a, at)?;
        expect_that(frame != 0, || "the page frame number is 0".into())?;
        expect("page frame of client b", b.frame(of_b, at)?, frame)?;
        expect(
            "page frame of the server",
            server.frame(of_server, at)?,
            frame,
        )?;
        frames.push(frame);
    }
    frames.sort_unstable();
    frames.dedup();
    expect("different page frames", frames.len(), pages)?;
    a.quit()?;
    b.quit()?;
    server.quit()
}

/// Two mappings that could be one stay two: the server hears of both, and their IDs need not be neighbours.
fn neighbours(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let (base, step) = (77, 2);
    let mut server = case.serve_as(Behaviour {
        mmap: OnMmap::Spread { base, step },
        ..Behaviour::default()
    })?;
    let mut client = case.client("client", &server)?;
    let (first, second) = client.map_adjacent(0, page)?;
    let (start, end) = (client.area(second)?.start, client.area(first)?.end);
    expect("start of the second", start, end)?;
    let log = server.log()?;
    expect("FUSE_MMAPs", log.mmaps, 2)?;
    expect(
        "offset of the second FUSE_MMAP",
        log.last_mmaps[1].offset,
        page as u64,
    )?;
    for (map, page_id, value) in [(first, base, 0x1234), (second, base + step, 0x5678)] {
        let here = server.map_pages(page_id, 1)?;
        client.store(map, 8, value)?;
        expect("the page the server names", server.load(here, 8)?, value)?;
        server.unmap(here)?;
    }
    client.unmap(first)?;
    server.await_munmaps(1)?;
    client.unmap(second)?;
    server.await_munmaps(2)?;
    client.quit()?;
    server.quit()
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! All mappings of a page show the same bytes, and different pages do not share bytes.

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

/// Two clients and the server take turns: each checks the words of the previous player and writes new ones.
fn ping_pong(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let pages: usize = case.param("pages")?;
    let rounds: u32 = case.param("rounds")?;
    let wait: Wait = case.param("wait")?;
    let words = (pages * page - DATA) / 8;
    let mut server = case.serve()?;
    let mut a = case.client("client a", &server)?;
    let mut b = case.client("client b", &server)?;
    let map_a = a.map(0, pages * page)?;
    let map_b = b.map(0, pages * page)?;
    let server_map = server.map_pages(server.page_id(0)?, pages)?;

    let role = |player| Role::PingPong { player, players: 3, rounds, words, wait };
    a.start_role(map_a, role(0))?;
    b.start_role(map_b, role(1))?;
    server.start_role(server_map, role(2))?;
    a.finish_role()?;
    b.finish_role()?;
    server.finish_role()?;
    let turns = u64::from(3 * rounds);
    let last = pattern::word(turns, words as u64 - 1);
    // The turn is in the 4 bytes at the lower address. On a big-endian machine, they are the high half of the word.
    let word = a.load(map_a, TURN)?;
    let turn = if sys::big_endian() { word >> 32 } else { word & 0xffff_ffff };
    expect("turns", turn, turns)?;
    expect("the last word", b.load(map_b, DATA + 8 * (words - 1))?, last)?;
    server.quit_after([a, b])
}

/// One process writes records into a ring without waiting for readers. No reader sees a mixture of two records.
/// First the server writes, then a client.
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
        let map_a = a.map(offset, pages * page)?;
        let map_b = b.map(offset, pages * page)?;
        let server_map = server.map_pages(server.page_id(offset)?, pages)?;
        let (role_of_a, role_of_server) = match lap {
            0 => (Role::RingReader(ring), Role::RingWriter(ring)),
            _ => (Role::RingWriter(ring), Role::RingReader(ring)),
        };
        b.start_role(map_b, Role::RingReader(ring))?;
        if lap == 0 {
            a.start_role(map_a, role_of_a)?;
            server.start_role(server_map, role_of_server)?;
        } else {
            server.start_role(server_map, role_of_server)?;
            a.start_role(map_a, role_of_a)?;
        }
        let figures = [a.finish_role()?, b.finish_role()?, server.finish_role()?].concat();
        for figure in ["whole", "torn"] {
            let sum: u64 = figures.iter().filter(|(n, _)| n == figure).map(|(_, v)| v).sum();
            case.figure(format!("{figure}_records_lap_{lap}"), sum as f64);
        }
    }
    server.quit_after([a, b])
}

/// A process maps the pages twice: a store through one mapping is visible through the other. A cache with virtual tags
/// has a copy for each mapping.
fn twice(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let pages: usize = case.param("pages")?;
    let len = pages * page;
    let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
    let client_map = client.map(0, len)?;
    client.fill(client_map, 0, len, 0)?;
    let second_client_map = client.map(0, len)?;
    client.verify(second_client_map, 0, len, 0)?;
    let server_map = server.map_pages(server.page_id(0)?, pages)?;
    server.verify(server_map, 0, len, 0)?;
    let second_server_map = server.map_pages(server.page_id(0)?, pages)?;
    for round in 0..case.param("rounds")? {
        let seed = 4 * round;
        client.fill_and_verify((client_map, second_client_map), 0, len, seed + 1)?;
        server.verify(server_map, 0, len, seed + 1)?;
        server.fill_and_verify((second_server_map, server_map), 0, len, seed + 2)?;
        client.fill_and_verify((second_client_map, client_map), 0, len, seed + 3)?;
        server.verify(second_server_map, 0, len, seed + 3)?;
        server.fill_and_verify((server_map, second_server_map), 0, len, seed + 4)?;
    }
    server.quit_after([client])
}

/// Data that crosses a page border is intact for every process, whichever process writes it.
fn page_borders(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let pages: usize = case.param("pages")?;
    let mut server = case.serve()?;
    let mut a = case.client("client a", &server)?;
    let mut b = case.client("client b", &server)?;
    let map_a = a.map(0, pages * page)?;
    // Starts one page later, so the borders are at other offsets in this mapping.
    let map_b = b.map(page as u64, (pages - 1) * page)?;
    let server_map = server.map_pages(server.page_id(0)?, pages)?;
    for border in 1..pages {
        // Odd lengths, the length of a cache line, and a length over a page.
        for (step, len) in [3, 64, 333, page + 10].into_iter().enumerate() {
            let at = (border * page).saturating_sub(len / 2);
            let len = len.min(pages * page - at);
            let seed = (border * 100 + step * 10) as u64;
            a.fill(map_a, at, len, seed)?;
            server.verify(server_map, at, len, seed)?;
            server.fill(server_map, at, len, seed + 1)?;
            a.verify(map_a, at, len, seed + 1)?;
            if at >= page {
                // The same bytes have lower offsets in this mapping, so their pattern differs.
                b.fill(map_b, at - page, len, seed + 2)?;
                b.verify(map_b, at - page, len, seed + 2)?;
                let word = b.load(map_b, (at - page).next_multiple_of(8))?;
                let same = a.load(map_a, at.next_multiple_of(8))?;
                expect("a word written by client b, loaded by client a", same, word)?;
            }
        }
    }
    server.quit_after([a, b])
}

/// Pages with different IDs do not share data.
fn two_ids(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let pages: usize = case.param("pages")?;
    let len = pages * page;
    let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
    let client_near = client.map(0, len)?;
    let client_far = client.map((7 * len) as u64, len)?;
    let server_near = server.map_pages(server.page_id(0)?, pages)?;
    let server_far = server.map_pages(server.page_id((7 * len) as u64)?, pages)?;
    for round in 0..case.param("rounds")? {
        let seed = 10 * round;
        client.fill(client_near, 0, len, seed + 1)?;
        server.fill(server_far, 0, len, seed + 2)?;
        server.verify(server_near, 0, len, seed + 1)?;
        client.verify(client_far, 0, len, seed + 2)?;
        client.fill(client_far, 0, len, seed + 3)?;
        server.verify(server_near, 0, len, seed + 1)?;
        server.verify(server_far, 0, len, seed + 3)?;
    }
    server.quit_after([client])
}

/// The page ID from the server alone decides which page a mapping shows; the file offset does not matter. Two offsets
/// can show the same page, and one offset can show two pages.
fn unrelated_id(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let with_id = |page_id| Behaviour::with_mmap(OnMmap::Fixed { page_id });
    let (first_id, second_id) = (case.param("first")?, case.param("second")?);
    let mut server = case.serve_as(with_id(first_id))?;
    let mut a = case.client("client a", &server)?;
    let mut b = case.client("client b", &server)?;
    let map_a = a.map(0, 2 * page)?;
    let map_b = b.map(9 * page as u64, 2 * page)?;
    server.behave(with_id(second_id))?;
    let other = b.map(0, 2 * page)?;

    a.fill(map_a, 0, 2 * page, 1)?;
    b.verify(map_b, 0, 2 * page, 1)?;
    b.verify_zero(other, 0, 2 * page)?;
    b.fill(other, 0, 2 * page, 2)?;
    a.verify(map_a, 0, 2 * page, 1)?;
    let first = server.map_pages(first_id, 2)?;
    let second = server.map_pages(second_id, 2)?;
    server.verify(first, 0, 2 * page, 1)?;
    server.verify(second, 0, 2 * page, 2)?;
    // Page k of a mapping has the ID of its first page plus k. This also holds if page k is mapped alone.
    let last = server.map_pages(first_id + 1, 1)?;
    let word = server.load(last, 64)?;
    expect("page 1, loaded by client a", a.load(map_a, page + 64)?, word)?;
    expect("pages", server.pages()?, 4)?;
    server.quit_after([a, b])
}

/// `/proc/PID/maps` shows the offset that the client asked for, not the page ID or any other data of the server.
fn own_offset(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
    for offset in [0, 3 * page as u64, 64 * page as u64] {
        let map = client.map(offset, 2 * page)?;
        for when in ["before the first touch", "after the first touch"] {
            let area = client.area(map)?;
            expect(&format!("offset in /proc/PID/maps {when}"), area.offset, offset)?;
            expect("length in /proc/PID/maps", area.end - area.start, 2 * page as u64)?;
            expect("mode in /proc/PID/maps", area.mode.as_str(), "rw-s")?;
            expect("file in /proc/PID/maps", &area.path, &server.path)?;
            client.store(map, page, offset + 1)?;
        }
        // After a partial unmap, the rest keeps its file offset.
        let tail = client.punch(map, 0, page)?;
        expect("offset of the tail", client.area(tail)?.offset, offset + page as u64)?;
        expect("the word in the tail", client.load(tail, 0)?, offset + 1)?;
    }
    let id = server.page_id(0)?;
    let channel = server.map_pages(id, 1)?;
    expect("offset of the server's mapping", server.area(channel)?.offset, id * page as u64)?;
    server.quit_after([client])
}

/// A new page is zero, whichever side touches it first. After its last unmap it is new again.
fn zeros(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let pages: usize = case.param("pages")?;
    let len = pages * page;
    let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
    for round in 0..case.param("rounds")? {
        let client_map = client.map(0, len)?;
        let server_map = server.map_pages(server.page_id(0)?, pages)?;
        // The first touch of an odd page is the server's, and that of an even page the client's.
        for index in 0..pages {
            match index % 2 {
                0 => client.verify_zero(client_map, index * page, page)?,
                _ => server.verify_zero(server_map, index * page, page)?,
            }
        }
        server.verify_zero(server_map, 0, len)?;
        client.fill(client_map, 0, len, round)?;
        // The first touch by the other side must not zero the page again.
        server.verify(server_map, 0, len, round)?;
        client.unmap(client_map)?;
        server.verify(server_map, 0, len, round)?;
        server.unmap(server_map)?;
    }
    server.quit_after([client])
}

/// All mappings of a page have the same page frame, and different pages have different frames.
fn same_frame(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let pages: usize = case.param("pages")?;
    let mut server = case.serve()?;
    let mut a = case.client("client a", &server)?;
    let mut b = case.client("client b", &server)?;
    let map_a = a.map(0, pages * page)?;
    let map_b = b.map(0, pages * page)?;
    let server_map = server.map_pages(server.page_id(0)?, pages)?;
    let mut frames = Vec::new();
    for index in 0..pages {
        let at = index * page;
        a.store(map_a, at, index as u64)?;
        b.load(map_b, at)?;
        server.load(server_map, at)?;
        let frame = a.frame(map_a, at)?;
        expect_that(frame != 0, || "the page frame number is 0".into())?;
        expect("page frame of client b", b.frame(map_b, at)?, frame)?;
        expect("page frame of the server", server.frame(server_map, at)?, frame)?;
        frames.push(frame);
    }
    frames.sort_unstable();
    frames.dedup();
    expect("number of different page frames", frames.len(), pages)?;
    server.quit_after([a, b])
}

/// Two adjacent mappings that could be merged stay separate. Each sends its own FUSE_MMAP, and their page IDs need not
/// be adjacent.
fn neighbours(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let (base, step) = (77, 2);
    let mut server = case.serve_as(Behaviour::with_mmap(OnMmap::Spread { base, step }))?;
    let mut client = case.client("client", &server)?;
    let (first, second) = client.map_adjacent(0, page)?;
    let (start, end) = (client.area(second)?.start, client.area(first)?.end);
    expect("start of the second mapping", start, end)?;
    let log = server.log()?;
    expect("FUSE_MMAPs", log.mmaps, 2)?;
    expect("offset of the second FUSE_MMAP", log.last_mmaps[1].offset, page as u64)?;
    for (map, page_id, value) in [(first, base, 0x1234), (second, base + step, 0x5678)] {
        let server_map = server.map_pages(page_id, 1)?;
        client.store(map, 8, value)?;
        expect("a store, loaded by the server", server.load(server_map, 8)?, value)?;
        server.unmap(server_map)?;
    }
    client.unmap(first)?;
    server.await_munmaps(1)?;
    client.unmap(second)?;
    server.await_munmaps(2)?;
    server.quit_after([client])
}

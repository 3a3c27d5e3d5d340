// SPDX-License-Identifier: MIT OR Apache-2.0
//! MAP_FIXED: mappings at addresses that the program chooses.

use server::{Behaviour, OnMmap};
use sys::{Errno, page_size};

use super::{Pair, expected_at_wrong_colour};
use crate::stage::command::Map;
use crate::stage::failure::expect_ok;
use crate::stage::{Case, Failure, Process, Workload, expect};

pub(crate) const WORKLOADS: &[(&str, Workload)] =
    &[("fixed", fixed), ("fixed-first", fixed_first), ("replaced", replaced)];

/// Returns the colour of a mapping's first page.
fn colour(process: &mut impl Process, map: Map, period: u64) -> Result<u64, Failure> {
    Ok(process.area(map)?.start % period)
}

/// Maps with MAP_FIXED at an address of another colour than that of the pages. Fails unless the result is that of
/// [`expected_at_wrong_colour`].
fn check_wrong_colour(
    what: &str,
    process: &mut impl Process,
    (offset, len): (u64, usize),
    (wrong, period): (u64, u64),
) -> Result<(), Failure> {
    let result = process.try_map_at(offset, len, wrong, period)?;
    expect(what, result.map(drop), expected_at_wrong_colour(period))?;
    result.map_or(Ok(()), |map| process.unmap(map))
}

/// MAP_FIXED at an address of another colour than that of the pages fails with EINVAL, for a client and for the server.
/// At an address of the same colour it succeeds.
fn fixed(case: &mut Case) -> Result<(), Failure> {
    let (page, period) = (page_size() as u64, case.period());
    let mut pair = Pair::new(case, 0, 2)?;
    let mut other = case.client("other client", &pair.server)?;
    let channel_offset = pair.server.page_id(0)? * page;
    let right = colour(&mut pair.client, pair.client_map, period)?;
    let wrong = (right + page) % period;
    let (mut mmaps, mut munmaps) = (1, 0);
    // In the first round both sides map the pages, in the second the client alone.
    for round in 0..2 {
        let what = "a client's mmap at another colour";
        check_wrong_colour(what, &mut other, (0, pair.len), (wrong, period))?;
        mmaps += 1;
        // FUSE_MUNMAP is sent even if mmap failed, because the server has answered FUSE_MMAP.
        munmaps += 1;
        pair.server.await_munmaps(munmaps)?;
        let what = "the server's mmap at another colour";
        let place = (channel_offset, pair.len);
        check_wrong_colour(what, &mut pair.server, place, (wrong, period))?;

        let map = other.try_map_at(0, pair.len, right, period)?;
        let map = expect_ok("the client's mmap at the right colour", map)?;
        mmaps += 1;
        expect("colour of the other client's mapping", colour(&mut other, map, period)?, right)?;
        let (offset, len) = place;
        let server_map = pair.server.try_map_at(offset, len, right, period)?;
        let server_map = expect_ok("the server's mmap at the right colour", server_map)?;
        other.fill(map, 0, pair.len, 50 + round)?;
        pair.client.verify(pair.client_map, 0, pair.len, 50 + round)?;
        pair.server.verify(server_map, 0, pair.len, 50 + round)?;
        other.unmap(map)?;
        munmaps += 1;
        pair.server.await_munmaps(munmaps)?;
        pair.server.unmap(server_map)?;
        if round == 0 {
            pair.expect_shared(10)?;
            pair.server.unmap(pair.server_map)?;
        }
    }
    let what = "a client's mmap at an address that is not aligned";
    expect(what, other.try_map_at(0, pair.len, 1, period)?.map(drop), Err(Errno::EINVAL))?;
    mmaps += 1;
    let log = pair.server.log()?;
    let asked = log.last_mmaps.last().ok_or_else(|| Failure::new("no FUSE_MMAP is logged"))?.colour;
    expect("the colour in its FUSE_MMAP, modulo the page size", u64::from(asked) % page, 0)?;
    pair.server_map = pair.server.map_pages(pair.server.page_id(0)?, 2)?;
    pair.expect_shared(20)?;
    expect("FUSE_MMAPs", pair.server.log()?.mmaps, mmaps)?;
    pair.client.quit()?;
    other.quit()?;
    pair.server.await_munmaps(mmaps)?;
    pair.server.quit()
}

/// Pages that no process maps take the colour of the first MAP_FIXED mapping. After the last unmap, they have the
/// colour of their page ID again.
fn fixed_first(case: &mut Case) -> Result<(), Failure> {
    let (page, period) = (page_size() as u64, case.period());
    // Page IDs equal the page numbers of the file, so the natural colour of a page is that of its file offset.
    let mut server = case.serve_as(Behaviour::with_mmap(OnMmap::Linear { base: 0 }))?;
    let len = 2 * page as usize;
    let mut first = case.client("first client", &server)?;
    let mut other = case.client("other client", &server)?;
    for round in 0..case.param::<u64>("rounds")? {
        let seed = 10 * round;
        let odd_colour = page % period;
        let map = first.try_map_at(0, len, odd_colour, period)?;
        let map = expect_ok("the first mmap", map)?;
        first.fill(map, 0, len, seed)?;
        let client_map = other.map(0, len)?;
        let server_map = server.map_pages(0, 2)?;
        let found = colour(&mut other, client_map, period)?;
        expect("colour of the other client's mapping", found, odd_colour)?;
        let found = colour(&mut server, server_map, period)?;
        expect("colour of the server's mapping", found, odd_colour)?;
        other.verify(client_map, 0, len, seed)?;
        server.verify(server_map, 0, len, seed)?;
        server.fill(server_map, 0, len, seed + 1)?;
        first.verify(map, 0, len, seed + 1)?;
        other.verify(client_map, 0, len, seed + 1)?;
        // The colour stays as long as any process maps the pages.
        first.unmap(map)?;
        server.unmap(server_map)?;
        let what = "mmap at the natural colour of the page";
        check_wrong_colour(what, &mut first, (0, len), (0, period))?;
        let server_map = server.map_pages(0, 2)?;
        let found = colour(&mut server, server_map, period)?;
        expect("colour of the server's mapping", found, odd_colour)?;
        server.verify(server_map, 0, len, seed + 1)?;
        server.unmap(server_map)?;
        other.unmap(client_map)?;

        let server_map = server.map_pages(0, 2)?;
        expect("colour of a new page", colour(&mut server, server_map, period)?, 0)?;
        server.verify_zero(server_map, 0, len)?;
        server.unmap(server_map)?;
        server.await_munmaps(3 * (round + 1))?;
    }
    server.quit_after([first, other])
}

/// A mapping that is placed over all or part of another one replaces it. Each of them sends its own FUSE_MUNMAP.
fn replaced(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut pair = Pair::new(case, 0, 3)?;
    pair.expect_shared(1)?;
    let middle = pair.client.cut(pair.client_map, page)?;
    let last = pair.client.cut(middle, page)?;
    // Maps the same page of the file as before, so its colour fits the address.
    let middle = pair.client.map_over(middle, page as u64, page)?;
    let log = pair.server.log()?;
    expect("FUSE_MMAPs", log.mmaps, 2)?;
    expect("FUSE_MUNMAPs while parts are still mapped", log.munmaps, 0)?;
    pair.client.verify(pair.client_map, 0, page, 2)?;
    for (part, at) in [(middle, page), (last, 2 * page)] {
        let word = pair.server.load(pair.server_map, at)?;
        expect("the word of a part", pair.client.load(part, 0)?, word)?;
        pair.client.store(part, 0, 3)?;
        expect("a store to a part", pair.server.load(pair.server_map, at)?, 3)?;
    }
    pair.client.unmap(last)?;
    let client_map = pair.client.map_over(pair.client_map, 0, page)?;
    let length = pair.server.await_munmaps(1)?.last_munmaps[0].length;
    expect("length of the first FUSE_MUNMAP", length, 3 * page as u64)?;
    pair.client.verify(client_map, 8, page - 8, 2)?;
    pair.client.unmap(client_map)?;
    pair.server.await_munmaps(2)?;
    pair.client.unmap(middle)?;
    let offset = pair.server.await_munmaps(3)?.last_munmaps[2].offset;
    expect("offset of the last FUSE_MUNMAP", offset, page as u64)?;
    pair.server.quit_after([pair.client])
}

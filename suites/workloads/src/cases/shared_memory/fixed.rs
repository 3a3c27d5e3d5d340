// SPDX-License-Identifier: MIT OR Apache-2.0
//! mmap where the program says.

use server::{Behaviour, OnMmap};
use sys::page_size;

use super::{Pair, off_colour};
use crate::stage::command::Map;
use crate::stage::failure::expect_ok;
use crate::stage::{Case, Failure, Process, Workload, expect};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("fixed", fixed),
    ("fixed-first", fixed_first),
    ("replaced", replaced),
];

/// What page 0 of a process's mapping has as its colour.
fn colour(process: &mut impl Process, map: Map, period: u64) -> Result<u64, Failure> {
    Ok(process.area(map)?.start % period)
}

/// With MAP_FIXED an address of another colour is refused to a client and to the server, whoever has the pages mapped; one
/// of the same colour is not.
fn fixed(case: &mut Case) -> Result<(), Failure> {
    let (page, period) = (page_size() as u64, case.period());
    let mut pair = Pair::new(case, 0, 2)?;
    let mut other = case.client("other client", &pair.server)?;
    let at_channel = pair.server.page_id(0)? * page;
    let right = colour(&mut pair.client, pair.there, period)?;
    let wrong = (right + page) % period;
    let (mut mmaps, mut munmaps) = (1, 0);
    // With the server's mapping there, and with the client's alone.
    for round in 0..2 {
        let answer = other.try_map_at(0, pair.len, wrong, period)?;
        expect(
            "a client's mmap at another colour",
            answer.map(drop),
            off_colour(period, ()),
        )?;
        mmaps += 1;
        if let Ok(map) = answer {
            other.unmap(map)?;
        }
        // Told of, also if the answer was of no use.
        munmaps += 1;
        pair.server.await_munmaps(munmaps)?;
        let answer = pair
            .server
            .try_map_at(at_channel, pair.len, wrong, period)?;
        expect(
            "the server's mmap at another colour",
            answer.map(drop),
            off_colour(period, ()),
        )?;
        if let Ok(map) = answer {
            pair.server.unmap(map)?;
        }

        let map = other.try_map_at(0, pair.len, right, period)?;
        let map = expect_ok("the client's mmap at the right colour", map)?;
        mmaps += 1;
        expect(
            "colour of the other client's mapping",
            colour(&mut other, map, period)?,
            right,
        )?;
        let here = pair
            .server
            .try_map_at(at_channel, pair.len, right, period)?;
        let here = expect_ok("the server's mmap at the right colour", here)?;
        other.fill(map, 0, pair.len, 50 + round)?;
        pair.client.verify(pair.there, 0, pair.len, 50 + round)?;
        pair.server.verify(here, 0, pair.len, 50 + round)?;
        other.unmap(map)?;
        munmaps += 1;
        pair.server.await_munmaps(munmaps)?;
        pair.server.unmap(here)?;
        if round == 0 {
            pair.agree(10)?;
            pair.server.unmap(pair.here)?;
        }
    }
    pair.here = pair.server.map_pages(pair.server.page_id(0)?, 2)?;
    pair.agree(20)?;
    expect("FUSE_MMAPs", pair.server.log()?.mmaps, mmaps)?;
    pair.client.quit()?;
    other.quit()?;
    pair.server.await_munmaps(mmaps)?;
    pair.server.quit()
}

/// Pages that nobody maps take the colour of the first who does, with MAP_FIXED, and have their own again when all are gone.
fn fixed_first(case: &mut Case) -> Result<(), Failure> {
    let (page, period) = (page_size() as u64, case.period());
    // IDs that are the file's pages: the natural colour of a page is that of its offset.
    let mut server = case.serve_as(Behaviour {
        mmap: OnMmap::Linear { base: 0 },
        ..Behaviour::default()
    })?;
    let len = 2 * page as usize;
    let mut first = case.client("first client", &server)?;
    let mut other = case.client("other client", &server)?;
    for round in 0..case.param::<u64>("rounds")? {
        let seed = 10 * round;
        let odd = page % period;
        let map = first.try_map_at(0, len, odd, period)?;
        let map = expect_ok("the first mmap", map)?;
        first.fill(map, 0, len, seed)?;
        let there = other.map(0, len)?;
        let here = server.map_pages(0, 2)?;
        expect(
            "colour of the other client's mapping",
            colour(&mut other, there, period)?,
            odd,
        )?;
        expect(
            "colour of the server's mapping",
            colour(&mut server, here, period)?,
            odd,
        )?;
        other.verify(there, 0, len, seed)?;
        server.verify(here, 0, len, seed)?;
        server.fill(here, 0, len, seed + 1)?;
        first.verify(map, 0, len, seed + 1)?;
        other.verify(there, 0, len, seed + 1)?;
        // The colour stays as long as anybody has the pages.
        first.unmap(map)?;
        server.unmap(here)?;
        let natural = first.try_map_at(0, len, 0, period)?;
        expect(
            "mmap at the colour of the ID",
            natural.map(drop),
            off_colour(period, ()),
        )?;
        if let Ok(map) = natural {
            first.unmap(map)?;
        }
        let here = server.map_pages(0, 2)?;
        expect(
            "colour of the server's mapping",
            colour(&mut server, here, period)?,
            odd,
        )?;
        server.verify(here, 0, len, seed + 1)?;
        server.unmap(here)?;
        other.unmap(there)?;

        let here = server.map_pages(0, 2)?;
        expect(
            "colour of a new page",
            colour(&mut server, here, period)?,
            0,
        )?;
        server.verify_zero(here, 0, len)?;
        server.unmap(here)?;
        server.await_munmaps(3 * (round + 1))?;
    }
    first.quit()?;
    other.quit()?;
    server.quit()
}

/// A mapping that is put over another, or over a part of it, takes its place: the server hears of both.
fn replaced(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut pair = Pair::new(case, 0, 3)?;
    pair.agree(1)?;
    let middle = pair.client.cut(pair.there, page)?;
    let last = pair.client.cut(middle, page)?;
    // The middle page is that of the old mapping again, so its colour fits.
    let middle = pair.client.map_over(middle, page as u64, page)?;
    let log = pair.server.log()?;
    expect("FUSE_MMAPs", log.mmaps, 2)?;
    expect("FUSE_MUNMAPs while pieces are left", log.munmaps, 0)?;
    pair.client.verify(pair.there, 0, page, 2)?;
    for (piece, at) in [(middle, page), (last, 2 * page)] {
        let word = pair.server.load(pair.here, at)?;
        expect("the word of a piece", pair.client.load(piece, 0)?, word)?;
        pair.client.store(piece, 0, 3)?;
        expect("a store to a piece", pair.server.load(pair.here, at)?, 3)?;
    }
    pair.client.unmap(last)?;
    let there = pair.client.map_over(pair.there, 0, page)?;
    let log = pair.server.await_munmaps(1)?;
    let length = log.last_munmaps[0].length;
    expect("length of the first FUSE_MUNMAP", length, 3 * page as u64)?;
    pair.client.verify(there, 8, page - 8, 2)?;
    pair.client.unmap(there)?;
    pair.server.await_munmaps(2)?;
    pair.client.unmap(middle)?;
    let log = pair.server.await_munmaps(3)?;
    let offset = log.last_munmaps[2].offset;
    expect("offset of the last FUSE_MUNMAP", offset, page as u64)?;
    pair.client.quit()?;
    pair.server.quit()
}

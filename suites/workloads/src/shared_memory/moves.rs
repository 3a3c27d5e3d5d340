// SPDX-License-Identifier: MIT OR Apache-2.0
//! mremap, and mmap where the program says.

use server::{Behaviour, OnMmap};
use sys::{Errno, page_size};

use super::Pair;
use crate::command::Map;
use crate::memory_call::MemoryCall;
use crate::{Case, Failure, Process, Workload, expect, expect_that};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("shrink", shrink),
    ("move", moved),
    ("move-pieces", move_pieces),
    ("move-colour", move_colour),
    ("no-growth", no_growth),
    ("fixed", fixed),
    ("fixed-first", fixed_first),
    ("replaced", replaced),
];

/// What is behind the new end is unmapped, and the rest is as it was.
fn shrink(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let offset = 3 * page as u64;
    let mut pair = Pair::new(case, offset, 4)?;
    pair.agree(1)?;
    pair.server.unmap(pair.here)?;
    pair.client
        .call(pair.there, MemoryCall::Resize { len: 2 * page })?;
    expect("pages that are left", pair.server.pages()?, 2)?;
    expect("FUSE_MUNMAPs", pair.server.seen()?.munmaps, 0)?;
    pair.client.verify(pair.there, 0, 2 * page, 2)?;
    let area = pair.client.area(pair.there)?;
    expect("length", area.end - area.start, 2 * page as u64)?;
    expect("offset", area.offset, offset)?;
    pair.here = pair.server.map_pages(pair.server.page_id(offset)?, 4)?;
    pair.server.verify_zero(pair.here, 2 * page, 2 * page)?;
    pair.len = 2 * page;
    pair.agree(3)?;
    pair.client.unmap(pair.there)?;
    let munmap = pair.server.await_munmaps(1)?.last_munmaps[0];
    expect("offset of the FUSE_MUNMAP", munmap.offset, offset)?;
    expect("its length", munmap.length, 4 * page as u64)?;
    pair.client.quit()?;
    pair.server.quit()
}

/// Has a process move the first `len` bytes of a mapping to another address of the same colour.
fn move_on(process: &mut Process, map: Map, len: usize, period: u64) -> Result<(), Failure> {
    let (start, before) = (process.address(map)?, process.area(map)?);
    let offset = before.offset + (start - before.start);
    let residue = start % period;
    let call = MemoryCall::Move {
        len,
        residue,
        period,
    };
    process.call(map, call)?;
    let after = process.area(map)?;
    expect("start of the mapping", after.start, process.address(map)?)?;
    expect_that(after.start != start, || {
        format!("the mapping stayed at {start:#x}")
    })?;
    expect("colour after the move", after.start % period, residue)?;
    expect("length after the move", after.end - after.start, len as u64)?;
    expect("offset after the move", after.offset, offset)?;
    expect("mode after the move", after.mode, before.mode)?;
    expect("file after the move", after.path, before.path)
}

/// A mapping that is moved shows the same pages, those to come as well, and is one mapping to the server.
fn moved(case: &mut Case) -> Result<(), Failure> {
    let (page, period) = (page_size(), case.period());
    let offset = 3 * page as u64;
    let mut pair = Pair::new(case, offset, 4)?;
    let (here, there) = (pair.here, pair.there);
    // The same pages once more in the same process, which stay where they are.
    let again = pair.client.map(offset, pair.len)?;
    for round in 0..case.param("rounds")? {
        // The last page is not there before the first move.
        let known = if round == 0 { 3 * page } else { pair.len };
        pair.client.fill(there, 0, known, 10 * round)?;
        move_on(&mut pair.client, there, pair.len, period)?;
        pair.client.verify(there, 0, known, 10 * round)?;
        pair.client.verify(again, 0, known, 10 * round)?;
        pair.client.fill(there, 0, pair.len, 10 * round + 1)?;
        pair.client.verify(again, 0, pair.len, 10 * round + 1)?;
        pair.server.verify(here, 0, pair.len, 10 * round + 1)?;
        pair.server.fill(here, 0, pair.len, 10 * round + 2)?;
        pair.client.verify(there, 0, pair.len, 10 * round + 2)?;
        pair.client.verify(again, 0, pair.len, 10 * round + 2)?;
        expect("pages", pair.server.pages()?, 4)?;
    }
    let seen = pair.server.seen()?;
    expect("FUSE_MMAPs", seen.mmaps, 2)?;
    expect("FUSE_MUNMAPs before any unmap", seen.munmaps, 0)?;
    pair.client.unmap(again)?;
    pair.server.await_munmaps(1)?;
    pair.agree(1)?;
    pair.client.unmap(there)?;
    let munmap = pair.server.await_munmaps(2)?.last_munmaps[1];
    expect("offset of the FUSE_MUNMAP", munmap.offset, offset)?;
    expect("its length", munmap.length, pair.len as u64)?;
    expect("its page ID", munmap.page_id, pair.server.page_id(offset)?)?;
    pair.client.quit()?;
    pair.server.quit()
}

/// Pieces of a mapping that go different ways keep their pages, and are one mapping to the server up to the last.
fn move_pieces(case: &mut Case) -> Result<(), Failure> {
    let (page, period) = (page_size(), case.period());
    let offset = 2 * page as u64;
    for order in [[0, 1, 2], [2, 0, 1]] {
        let mut pair = Pair::new(case, offset, 6)?;
        pair.agree(1)?;
        let first = pair.there;
        let middle = pair.client.cut(first, 2 * page)?;
        let last = pair.client.cut(middle, 2 * page)?;
        move_on(&mut pair.client, middle, 2 * page, period)?;
        move_on(&mut pair.client, last, 2 * page, period)?;
        // One page of it is left on the way.
        move_on(&mut pair.client, last, page, period)?;
        let pieces = [(first, 0), (middle, 2 * page), (last, 4 * page)];
        for (piece, at) in pieces {
            let seed = at as u64;
            pair.client.fill(piece, 0, page, seed)?;
            let word = pair.client.load(piece, 8)?;
            expect("a piece's word", pair.server.load(pair.here, at + 8)?, word)?;
            pair.server.store(pair.here, at + 8, seed + 1)?;
            expect("the server's", pair.client.load(piece, 8)?, seed + 1)?;
        }
        // What no piece shows is as the server left it.
        pair.server.verify(pair.here, 5 * page, page, 2)?;
        pair.server.unmap(pair.here)?;
        expect("pages of the pieces", pair.server.pages()?, 5)?;
        for index in order {
            expect(
                "FUSE_MUNMAPs before the last unmap",
                pair.server.seen()?.munmaps,
                0,
            )?;
            pair.client.unmap(pieces[index].0)?;
        }
        let munmap = pair.server.await_munmaps(1)?.last_munmaps[0];
        expect("offset of the FUSE_MUNMAP", munmap.offset, offset)?;
        expect("its length", munmap.length, 6 * page as u64)?;
        expect("pages at the end", pair.server.pages()?, 0)?;
        pair.client.quit()?;
        pair.server.quit()?;
    }
    Ok(())
}

/// What the kernel says to an address one page off: there is no such colour where nothing aliases.
fn off_colour<T>(period: u64, ok: T) -> Result<T, Errno> {
    match period > page_size() as u64 {
        true => Err(Errno::EINVAL),
        false => Ok(ok),
    }
}

/// A mapping cannot be moved to an address of another colour, and is none the worse for it.
fn move_colour(case: &mut Case) -> Result<(), Failure> {
    let (page, period) = (page_size() as u64, case.period());
    let mut pair = Pair::new(case, 0, 3)?;
    for round in 0..3 {
        pair.agree(10 * round)?;
        let start = pair.client.area(pair.there)?.start;
        let call = MemoryCall::Move {
            len: pair.len,
            residue: (start + page) % period,
            period,
        };
        let answer = pair.client.try_call(pair.there, call)?;
        expect("a move to another colour", answer, off_colour(period, ()))?;
        if answer.is_err() {
            let after = pair.client.area(pair.there)?.start;
            expect("its address", after, start)?;
        }
        pair.client
            .verify(pair.there, 0, pair.len, 10 * round + 1)?;
        expect("pages", pair.server.pages()?, 3)?;
    }
    // Nobody else needs the colour, but the pages have it.
    pair.server.unmap(pair.here)?;
    let start = pair.client.area(pair.there)?.start;
    let call = MemoryCall::Move {
        len: pair.len,
        residue: (start + page) % period,
        period,
    };
    let answer = pair.client.try_call(pair.there, call)?;
    expect("the same, unshared", answer, off_colour(period, ()))?;
    pair.client.verify(pair.there, 0, pair.len, 21)?;
    pair.here = pair.server.map_pages(pair.server.page_id(0)?, 3)?;
    pair.agree(30)?;
    move_on(&mut pair.client, pair.there, pair.len, period)?;
    pair.agree(40)?;
    pair.end(1)
}

/// A mapping does not grow, and does not become two; it is none the worse for having been asked to.
fn no_growth(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut pair = Pair::new(case, 0, 3)?;
    pair.agree(1)?;
    let grow = MemoryCall::Resize { len: 4 * page };
    let answer = pair.client.try_call(pair.there, grow)?;
    expect("growth", answer, Err(Errno::EFAULT))?;
    // VM_DONTEXPAND, mm/mremap.c: vma_to_resize().
    let answer = pair.client.try_call(pair.there, MemoryCall::Leave)?;
    expect("MREMAP_DONTUNMAP", answer, Err(Errno::EINVAL))?;
    pair.client.verify(pair.there, 0, pair.len, 2)?;
    pair.agree(3)?;
    // Not even to where the mapping was before.
    let shrink = MemoryCall::Resize { len: 2 * page };
    pair.client.call(pair.there, shrink)?;
    let grow = MemoryCall::Resize { len: 3 * page };
    let answer = pair.client.try_call(pair.there, grow)?;
    expect("growth back", answer, Err(Errno::EFAULT))?;
    pair.len = 2 * page;
    pair.agree(5)?;
    pair.end(1)
}

/// What page 0 of a process's mapping has as its colour.
fn colour(process: &mut Process, map: Map, period: u64) -> Result<u64, Failure> {
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
        let map = map.map_err(|errno| Failure::new(format!("mmap at the colour: {errno}")))?;
        mmaps += 1;
        expect("its colour", colour(&mut other, map, period)?, right)?;
        let here = pair
            .server
            .try_map_at(at_channel, pair.len, right, period)?;
        let here =
            here.map_err(|errno| Failure::new(format!("the server's, at the colour: {errno}")))?;
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
    expect("FUSE_MMAPs", pair.server.seen()?.mmaps, mmaps)?;
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
        let map = map.map_err(|errno| Failure::new(format!("the first mmap: {errno}")))?;
        first.fill(map, 0, len, seed)?;
        let there = other.map(0, len)?;
        let here = server.map_pages(0, 2)?;
        expect(
            "colour of another's",
            colour(&mut other, there, period)?,
            odd,
        )?;
        expect(
            "colour of the server's",
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
            "colour of the server's",
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
    let seen = pair.server.seen()?;
    expect("FUSE_MMAPs", seen.mmaps, 2)?;
    expect("FUSE_MUNMAPs while pieces are left", seen.munmaps, 0)?;
    pair.client.verify(pair.there, 0, page, 2)?;
    for (piece, at) in [(middle, page), (last, 2 * page)] {
        let word = pair.server.load(pair.here, at)?;
        expect("a word of it", pair.client.load(piece, 0)?, word)?;
        pair.client.store(piece, 0, 3)?;
        expect("a store to it", pair.server.load(pair.here, at)?, 3)?;
    }
    pair.client.unmap(last)?;
    let there = pair.client.map_over(pair.there, 0, page)?;
    let seen = pair.server.await_munmaps(1)?;
    let length = seen.last_munmaps[0].length;
    expect("length of the first FUSE_MUNMAP", length, 3 * page as u64)?;
    pair.client.verify(there, 8, page - 8, 2)?;
    pair.client.unmap(there)?;
    pair.server.await_munmaps(2)?;
    pair.client.unmap(middle)?;
    let seen = pair.server.await_munmaps(3)?;
    let offset = seen.last_munmaps[2].offset;
    expect("offset of the last FUSE_MUNMAP", offset, page as u64)?;
    pair.client.quit()?;
    pair.server.quit()
}

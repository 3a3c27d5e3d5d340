// SPDX-License-Identifier: MIT OR Apache-2.0
//! mremap.

use sys::{Errno, page_size};

use super::{Pair, off_colour};
use crate::stage::command::{Map, MappingCommand};
use crate::stage::{Case, Client, Failure, Process, Workload, expect, expect_that};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("shrink", shrink),
    ("move", moved),
    ("move-pieces", move_pieces),
    ("move-colour", move_colour),
    ("no-growth", no_growth),
];

/// What is behind the new end is unmapped, and the rest is as it was.
fn shrink(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let offset = 3 * page as u64;
    let mut pair = Pair::new(case, offset, 4)?;
    pair.agree(1)?;
    pair.server.unmap(pair.here)?;
    pair.client
        .call(pair.there, MappingCommand::Resize { len: 2 * page })?;
    expect("pages that are left", pair.server.pages()?, 2)?;
    expect("FUSE_MUNMAPs", pair.server.log()?.munmaps, 0)?;
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
    expect("length of the FUSE_MUNMAP", munmap.length, 4 * page as u64)?;
    pair.client.quit()?;
    pair.server.quit()
}

/// Has a process move the first `len` bytes of a mapping to another address of the same colour.
fn move_on(process: &mut Client, map: Map, len: usize, period: u64) -> Result<(), Failure> {
    let (start, before) = (process.address(map)?, process.area(map)?);
    let offset = before.offset + (start - before.start);
    let residue = start % period;
    let call = MappingCommand::Move {
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
    let log = pair.server.log()?;
    expect("FUSE_MMAPs", log.mmaps, 2)?;
    expect("FUSE_MUNMAPs before any unmap", log.munmaps, 0)?;
    pair.client.unmap(again)?;
    pair.server.await_munmaps(1)?;
    // Nobody else holds the pages now.
    pair.agree(1)?;
    pair.server.unmap(here)?;
    move_on(&mut pair.client, there, pair.len, period)?;
    expect("pages of the client alone", pair.server.pages()?, 4)?;
    pair.client.verify(there, 0, pair.len, 2)?;
    pair.here = pair.server.map_pages(pair.server.page_id(offset)?, 4)?;
    pair.server.verify(pair.here, 0, pair.len, 2)?;
    pair.agree(3)?;
    pair.client.unmap(there)?;
    let munmap = pair.server.await_munmaps(2)?.last_munmaps[1];
    expect("offset of the FUSE_MUNMAP", munmap.offset, offset)?;
    expect("length of the FUSE_MUNMAP", munmap.length, pair.len as u64)?;
    expect(
        "page ID of the FUSE_MUNMAP",
        munmap.page_id,
        pair.server.page_id(offset)?,
    )?;
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
            expect(
                "the word of a piece, loaded by the server",
                pair.server.load(pair.here, at + 8)?,
                word,
            )?;
            pair.server.store(pair.here, at + 8, seed + 1)?;
            expect(
                "the server's store to a piece",
                pair.client.load(piece, 8)?,
                seed + 1,
            )?;
        }
        // What no piece shows is as the server left it.
        pair.server.verify(pair.here, 5 * page, page, 2)?;
        pair.server.unmap(pair.here)?;
        expect("pages of the pieces", pair.server.pages()?, 5)?;
        for index in order {
            expect(
                "FUSE_MUNMAPs before the last unmap",
                pair.server.log()?.munmaps,
                0,
            )?;
            pair.client.unmap(pieces[index].0)?;
        }
        let munmap = pair.server.await_munmaps(1)?.last_munmaps[0];
        expect("offset of the FUSE_MUNMAP", munmap.offset, offset)?;
        expect("length of the FUSE_MUNMAP", munmap.length, 6 * page as u64)?;
        expect("pages at the end", pair.server.pages()?, 0)?;
        pair.client.quit()?;
        pair.server.quit()?;
    }
    Ok(())
}

/// Has the client try to move its mapping to an address of the colour next to its own.
fn try_off_colour(pair: &mut Pair, period: u64) -> Result<Result<(), Errno>, Failure> {
    let start = pair.client.area(pair.there)?.start;
    let call = MappingCommand::Move {
        len: pair.len,
        residue: (start + page_size() as u64) % period,
        period,
    };
    pair.client.try_call(pair.there, call)
}

/// A mapping cannot be moved to an address of another colour, and is none the worse for it.
fn move_colour(case: &mut Case) -> Result<(), Failure> {
    let period = case.period();
    let mut pair = Pair::new(case, 0, 3)?;
    for round in 0..3 {
        pair.agree(10 * round)?;
        let start = pair.client.area(pair.there)?.start;
        let answer = try_off_colour(&mut pair, period)?;
        expect("a move to another colour", answer, off_colour(period, ()))?;
        if answer.is_err() {
            let after = pair.client.area(pair.there)?.start;
            expect("address of the mapping", after, start)?;
        }
        pair.client
            .verify(pair.there, 0, pair.len, 10 * round + 1)?;
        expect("pages", pair.server.pages()?, 3)?;
    }
    // Nobody else needs the colour, but the pages have it.
    pair.server.unmap(pair.here)?;
    let answer = try_off_colour(&mut pair, period)?;
    expect(
        "a move of unshared pages to another colour",
        answer,
        off_colour(period, ()),
    )?;
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
    let grow = MappingCommand::Resize { len: 4 * page };
    let answer = pair.client.try_call(pair.there, grow)?;
    expect("mremap to a larger size", answer, Err(Errno::EFAULT))?;
    // VM_DONTEXPAND, mm/mremap.c: vma_to_resize().
    let answer = pair
        .client
        .try_call(pair.there, MappingCommand::RemapDontUnmap)?;
    expect("MREMAP_DONTUNMAP", answer, Err(Errno::EINVAL))?;
    pair.client.verify(pair.there, 0, pair.len, 2)?;
    pair.agree(3)?;
    // Not even to where the mapping was before.
    let shrink = MappingCommand::Resize { len: 2 * page };
    pair.client.call(pair.there, shrink)?;
    let grow = MappingCommand::Resize { len: 3 * page };
    let answer = pair.client.try_call(pair.there, grow)?;
    expect("mremap back to the old size", answer, Err(Errno::EFAULT))?;
    pair.len = 2 * page;
    pair.agree(5)?;
    pair.end(1)
}

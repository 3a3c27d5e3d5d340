// SPDX-License-Identifier: MIT OR Apache-2.0
//! mremap: mappings shrink and move, but do not grow.

use sys::{Errno, page_size};

use super::{Pair, expected_at_wrong_colour};
use crate::stage::command::{Map, MappingCommand};
use crate::stage::failure::Tried;
use crate::stage::{Case, Client, Failure, Process, Workload, expect, expect_that};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("shrink", shrink),
    ("move", moved),
    ("move-pieces", move_pieces),
    ("move-colour", move_colour),
    ("no-growth", no_growth),
];

/// mremap to a smaller size unmaps the pages beyond the new end and leaves the others unchanged. All pages live until
/// the rest is unmapped.
fn shrink(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let offset = 3 * page as u64;
    let mut pair = Pair::new(case, offset, 4)?;
    pair.expect_shared(1)?;
    pair.server.unmap(pair.server_map)?;
    pair.client.call(pair.client_map, MappingCommand::Resize { len: 2 * page })?;
    expect("pages after mremap", pair.server.pages()?, 4)?;
    pair.server.expect_maps("mappings after mremap", 1)?;
    expect("FUSE_MUNMAPs", pair.server.log()?.munmaps, 0)?;
    pair.client.verify(pair.client_map, 0, 2 * page, 2)?;
    let area = pair.client.area(pair.client_map)?;
    expect("length after mremap", area.end - area.start, 2 * page as u64)?;
    expect("offset after mremap", area.offset, offset)?;
    pair.server_map = pair.server.map_pages(pair.server.page_id(offset)?, 4)?;
    pair.server.verify(pair.server_map, 2 * page, 2 * page, 2)?;
    pair.len = 2 * page;
    pair.expect_shared(3)?;
    pair.server.unmap(pair.server_map)?;
    pair.client.unmap(pair.client_map)?;
    let munmap = pair.server.await_munmaps(1)?.last_munmaps[0];
    expect("offset of the FUSE_MUNMAP", munmap.offset, offset)?;
    expect("length of the FUSE_MUNMAP", munmap.length, 4 * page as u64)?;
    expect("pages after the unmap", pair.server.pages()?, 0)?;
    pair.server.quit_after([pair.client])
}

/// Has a process move the first `len` bytes of a mapping to another address of the same colour.
fn move_within_colour(
    process: &mut Client,
    map: Map,
    len: usize,
    period: u64,
) -> Result<(), Failure> {
    let (start, before) = (process.address(map)?, process.area(map)?);
    let offset = before.offset + (start - before.start);
    let residue = start % period;
    let call = MappingCommand::Move { len, residue, period };
    process.call(map, call)?;
    let after = process.area(map)?;
    expect("start of the mapping", after.start, process.address(map)?)?;
    expect_that(after.start != start, || format!("the mapping stayed at {start:#x}"))?;
    expect("colour after the move", after.start % period, residue)?;
    expect("length after the move", after.end - after.start, len as u64)?;
    expect("offset after the move", after.offset, offset)?;
    expect("mode after the move", after.mode, before.mode)?;
    expect("file after the move", after.path, before.path)
}

/// A mapping that was moved shows the same pages, new ones included. To the server, it is still the same mapping.
fn moved(case: &mut Case) -> Result<(), Failure> {
    let (page, period) = (page_size(), case.period());
    let offset = 3 * page as u64;
    let mut pair = Pair::new(case, offset, 4)?;
    let (server_map, client_map) = (pair.server_map, pair.client_map);
    // A second mapping of the same pages in the same process, which is not moved.
    let second_map = pair.client.map(offset, pair.len)?;
    for round in 0..case.param("rounds")? {
        // The last page does not exist before the first move.
        let existing = if round == 0 { 3 * page } else { pair.len };
        pair.client.fill(client_map, 0, existing, 10 * round)?;
        move_within_colour(&mut pair.client, client_map, pair.len, period)?;
        pair.client.verify(client_map, 0, existing, 10 * round)?;
        pair.client.verify(second_map, 0, existing, 10 * round)?;
        pair.client.fill(client_map, 0, pair.len, 10 * round + 1)?;
        pair.client.verify(second_map, 0, pair.len, 10 * round + 1)?;
        pair.server.verify(server_map, 0, pair.len, 10 * round + 1)?;
        pair.server.fill(server_map, 0, pair.len, 10 * round + 2)?;
        pair.client.verify(client_map, 0, pair.len, 10 * round + 2)?;
        pair.client.verify(second_map, 0, pair.len, 10 * round + 2)?;
        expect("pages", pair.server.pages()?, 4)?;
    }
    let log = pair.server.log()?;
    expect("FUSE_MMAPs", log.mmaps, 2)?;
    expect("FUSE_MUNMAPs before any unmap", log.munmaps, 0)?;
    pair.client.unmap(second_map)?;
    pair.server.await_munmaps(1)?;
    pair.expect_shared(1)?;
    // Now only the client's first mapping shows the pages.
    pair.server.unmap(server_map)?;
    move_within_colour(&mut pair.client, client_map, pair.len, period)?;
    expect("pages of the client alone", pair.server.pages()?, 4)?;
    pair.client.verify(client_map, 0, pair.len, 2)?;
    pair.server_map = pair.server.map_pages(pair.server.page_id(offset)?, 4)?;
    pair.server.verify(pair.server_map, 0, pair.len, 2)?;
    pair.expect_shared(3)?;
    pair.client.unmap(client_map)?;
    let munmap = pair.server.await_munmaps(2)?.last_munmaps[1];
    expect("offset of the FUSE_MUNMAP", munmap.offset, offset)?;
    expect("length of the FUSE_MUNMAP", munmap.length, pair.len as u64)?;
    let page_id = pair.server.page_id(offset)?;
    expect("page ID of the FUSE_MUNMAP", munmap.page_id, page_id)?;
    pair.server.quit_after([pair.client])
}

/// Parts of a mapping that are moved apart keep their pages. To the server they are one mapping: FUSE_MUNMAP is sent
/// after the last unmap.
fn move_pieces(case: &mut Case) -> Result<(), Failure> {
    let (page, period) = (page_size(), case.period());
    let offset = 2 * page as u64;
    for order in [[0, 1, 2], [2, 0, 1]] {
        let mut pair = Pair::new(case, offset, 6)?;
        pair.expect_shared(1)?;
        let first = pair.client_map;
        let middle = pair.client.cut(first, 2 * page)?;
        let last = pair.client.cut(middle, 2 * page)?;
        move_within_colour(&mut pair.client, middle, 2 * page, period)?;
        move_within_colour(&mut pair.client, last, 2 * page, period)?;
        // Moves only the first of its two pages, and leaves the second one behind.
        move_within_colour(&mut pair.client, last, page, period)?;
        let parts = [(first, 0), (middle, 2 * page), (last, 4 * page)];
        for (part, at) in parts {
            let seed = at as u64;
            pair.client.fill(part, 0, page, seed)?;
            let word = pair.client.load(part, 8)?;
            let loaded = pair.server.load(pair.server_map, at + 8)?;
            expect("the word of a part, loaded by the server", loaded, word)?;
            pair.server.store(pair.server_map, at + 8, seed + 1)?;
            expect("the server's store to a part", pair.client.load(part, 8)?, seed + 1)?;
        }
        // The page that no part shows has the contents that the server stored.
        pair.server.verify(pair.server_map, 5 * page, page, 2)?;
        pair.server.unmap(pair.server_map)?;
        pair.server.expect_maps("mappings", 1)?;
        for index in order {
            expect("pages before the last unmap", pair.server.pages()?, 6)?;
            expect("FUSE_MUNMAPs before the last unmap", pair.server.log()?.munmaps, 0)?;
            pair.client.unmap(parts[index].0)?;
        }
        let munmap = pair.server.await_munmaps(1)?.last_munmaps[0];
        expect("offset of the FUSE_MUNMAP", munmap.offset, offset)?;
        expect("length of the FUSE_MUNMAP", munmap.length, 6 * page as u64)?;
        expect("pages at the end", pair.server.pages()?, 0)?;
        pair.server.quit_after([pair.client])?;
    }
    Ok(())
}

/// Has the client try to move its mapping to an address of the next colour.
fn try_move_to_next_colour(pair: &mut Pair, period: u64) -> Tried<()> {
    let start = pair.client.area(pair.client_map)?.start;
    let call = MappingCommand::Move {
        len: pair.len,
        residue: (start + page_size() as u64) % period,
        period,
    };
    pair.client.try_call(pair.client_map, call)
}

/// mremap to an address of another colour fails with EINVAL and leaves the mapping unchanged.
fn move_colour(case: &mut Case) -> Result<(), Failure> {
    let period = case.period();
    let expected = expected_at_wrong_colour(period);
    let mut pair = Pair::new(case, 0, 3)?;
    for round in 0..3 {
        pair.expect_shared(10 * round)?;
        let start = pair.client.area(pair.client_map)?.start;
        let result = try_move_to_next_colour(&mut pair, period)?;
        expect("a move to another colour", result, expected)?;
        if result.is_err() {
            expect("address of the mapping", pair.client.area(pair.client_map)?.start, start)?;
        }
        pair.client.verify(pair.client_map, 0, pair.len, 10 * round + 1)?;
        expect("pages", pair.server.pages()?, 3)?;
    }
    // Pages that only the client maps keep their colour, too.
    pair.server.unmap(pair.server_map)?;
    expect("a move of unshared pages", try_move_to_next_colour(&mut pair, period)?, expected)?;
    pair.client.verify(pair.client_map, 0, pair.len, 21)?;
    pair.server_map = pair.server.map_pages(pair.server.page_id(0)?, 3)?;
    pair.expect_shared(30)?;
    move_within_colour(&mut pair.client, pair.client_map, pair.len, period)?;
    pair.expect_shared(40)?;
    pair.quit(1)
}

/// mremap to a larger size fails with EFAULT and MREMAP_DONTUNMAP with EINVAL. Both leave the mapping unchanged.
fn no_growth(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut pair = Pair::new(case, 0, 3)?;
    pair.expect_shared(1)?;
    let grow = MappingCommand::Resize { len: 4 * page };
    let result = pair.client.try_call(pair.client_map, grow)?;
    expect("mremap to a larger size", result, Err(Errno::EFAULT))?;
    // Because of VM_DONTEXPAND: vma_to_resize() in mm/mremap.c.
    let remap = MappingCommand::RemapDontUnmap;
    expect("MREMAP_DONTUNMAP", pair.client.try_call(pair.client_map, remap)?, Err(Errno::EINVAL))?;
    pair.client.verify(pair.client_map, 0, pair.len, 2)?;
    pair.expect_shared(3)?;
    // A mapping that was shrunk cannot grow back to its old size.
    pair.client.call(pair.client_map, MappingCommand::Resize { len: 2 * page })?;
    let result = pair.client.try_call(pair.client_map, MappingCommand::Resize { len: 3 * page })?;
    expect("mremap back to the old size", result, Err(Errno::EFAULT))?;
    pair.len = 2 * page;
    pair.expect_shared(5)?;
    pair.quit(1)
}

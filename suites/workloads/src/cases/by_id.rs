// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pages that the server loads and saves by page ID, without mapping them.

use server::Behaviour;
use sys::{Advice, Errno, page_size, write_file};

use crate::stage::counters::{self, LIMIT_PER_CONNECTION};
use crate::stage::{Case, Failure, Process, Workload, expect};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("load", load),
    ("save", save),
    ("rounds", rounds),
    ("at-once", at_once),
    ("compact", compact),
    ("refused", refused),
    ("poisoned", poisoned),
];

/// A load by the server changes exactly the given bytes, and every client sees them.
fn load(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut server = case.serve()?;
    let id = server.page_id(0)?;
    let mut client = case.client("client", &server)?;
    let mut other = case.client("other client", &server)?;
    let map = client.map(0, 4 * page)?;
    let other_map = other.map(0, 4 * page)?;
    let mut seed = 0;
    for (at, len) in [
        (0, page),
        (page, 1),
        (page - 1, 2),
        (7, page / 2 + 3),
        (page - 5, 2 * page + 10),
        (0, 4 * page),
        (4 * page - 1, 1),
        (3 * page, 0),
    ] {
        seed += 1;
        client.fill(map, 0, 4 * page, 1000 + seed)?;
        other.verify(other_map, 0, 4 * page, 1000 + seed)?;
        // The server gives the offset from the first page of the mapping, then from the page in which the bytes start.
        for (first, at_in_page) in [(id, at), (id + (at / page) as u64, at % page)] {
            expect("a load by page ID", server.load_pages(first, at_in_page, len, seed)?, Ok(()))?;
            if at_in_page == at {
                client.verify(map, at, len, seed)?;
                other.verify(other_map, at, len, seed)?;
            }
        }
        client.verify(map, 0, at, 1000 + seed)?;
        let behind = at + len;
        other.verify(other_map, behind, 4 * page - behind, 1000 + seed)?;
    }

    // A page that was never touched is zero where the load writes nothing.
    let last = client.map(9 * page as u64, page)?;
    let id = server.page_id(9 * page as u64)?;
    expect("a load by page ID", server.load_pages(id, 16, 32, 5)?, Ok(()))?;
    expect("pages", server.pages()?, 5)?;
    client.verify_zero(last, 0, 16)?;
    client.verify(last, 16, 32, 5)?;
    client.verify_zero(last, 48, page - 48)?;
    server.quit_after([client, other])
}

/// A save returns the bytes stored last, and stops at the first page that does not exist.
fn save(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut server = case.serve()?;
    let id = server.page_id(0)?;
    let mut client = case.client("client", &server)?;
    let map = client.map(0, 6 * page)?;
    for seed in 1..=3 {
        client.fill(map, 0, 4 * page, seed)?;
        for (at, len, expected_len) in [
            (0, 4 * page, 4 * page),
            (page - 3, 6, 6),
            (5, page, page),
            (2 * page + 1, 1, 1),
            (3 * page - 1, 2 * page, page + 1),
            (4 * page, page, 0),
            (9 * page, page, 0),
            (0, 0, 0),
        ] {
            let saved = server.save_pages(id, at, len, seed)?;
            expect(&format!("bytes saved of {len} at {at:#x}"), saved, Ok(expected_len))?;
        }
    }
    // A save adds no page.
    expect("pages", server.pages()?, 4)?;
    server.quit_after([client])
}

/// The server loads, a client stores, and the server saves, in turn, while another client verifies each step.
fn rounds(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut server = case.serve()?;
    let id = server.page_id(0)?;
    let mut client = case.client("client", &server)?;
    let mut observer = case.client("observer", &server)?;
    let map = client.map(0, 8 * page)?;
    let observer_map = observer.map(0, 8 * page)?;
    let len = 200;
    for round in 1..=case.param::<u64>("rounds")? {
        // The bytes of each round cross a page border. Taking the borders in order would give either all pages the
        // colour of the kernel's own mapping, or none of them.
        let at = (3 * round as usize % 7 + 1) * page - len / 2;
        let (loaded, stored) = (2 * round, 2 * round + 1);
        expect("a load by page ID", server.load_pages(id, at, len, loaded)?, Ok(()))?;
        observer.verify(observer_map, at, len, loaded)?;
        client.verify(map, at, len, loaded)?;
        client.fill(map, at, len, stored)?;
        observer.verify(observer_map, at, len, stored)?;
        expect("bytes saved", server.save_pages(id, at, len, stored)?, Ok(len))?;
    }
    client.quit()?;
    observer.quit()?;
    server.quit()
}

/// The server loads and saves pages that it has mapped itself, and no other process runs in between. Even a machine
/// that flushes its cache at every context switch then depends on the flushes by the load and the save.
fn at_once(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut server = case.serve()?;
    let id = server.page_id(0)?;
    let mut client = case.client("client", &server)?;
    let client_map = client.map(0, 3 * page)?;
    let server_map = server.map_pages(id, 3)?;
    for round in 0..case.param::<u64>("rounds")? {
        let seeds = (2 * round + 1, 2 * round + 2);
        // A word, bytes on both sides of a page border, and all pages.
        for (at, len) in [(8, 8), (page - 50, 100), (0, 3 * page)] {
            server.load_and_save((id, server_map), at, len, seeds)?;
            client.verify(client_map, at, len, seeds.1)?;
        }
    }
    server.quit_after([client])
}

/// Memory compaction moves pages that are in no page table. It must not move direct-mapped pages, because loads and
/// saves would still use the old place.
fn compact(case: &mut Case) -> Result<(), Failure> {
    let (page, pages) = (page_size(), case.param::<usize>("pages")?);
    let mut server = case.serve()?;
    let id = server.page_id(0)?;
    let mut client = case.client("client", &server)?;
    let map = client.map(0, pages * page)?;
    let rounds = case.param::<u64>("rounds")?;
    for round in 1..=rounds {
        for at in (0..pages).map(|index| index * page) {
            expect("a load by page ID", server.load_pages(id, at, page, round)?, Ok(()))?;
        }
        // 1: compact all zones (Documentation/admin-guide/sysctl/vm.rst).
        write_file("/proc/sys/vm/compact_memory", b"1")?;
        for at in (0..pages).map(|index| index * page) {
            expect("bytes saved", server.save_pages(id, at, page, round)?, Ok(page))?;
        }
        expect("pages", server.pages()?, pages as u64)?;
    }
    client.verify(map, 0, pages * page, rounds)?;
    server.quit_after([client])
}

/// A load or free that cannot be done fails with the documented error. The suite `hostile` covers malformed requests.
fn refused(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut server = case.serve()?;
    let id = server.page_id(0)?;
    let mut client = case.client("client", &server)?;
    let map = client.map(0, 2 * page)?;
    let missing = Err(Errno::ENXIO);
    expect("a load into a page that is not mapped", server.load_pages(id + 2, 0, 1, 1)?, missing)?;
    let loaded = server.load_pages(id, page, 2 * page, 1)?;
    expect("a load past the end of the mapping", loaded, missing)?;
    client.verify(map, page, page, 1)?;
    client.store(map, 0, 1)?;
    counters::set(LIMIT_PER_CONNECTION, 2)?;
    let more = client.map(8 * page as u64, page)?;
    let full = server.load_pages(server.page_id(8 * page as u64)?, 0, 1, 1)?;
    expect("a load over the limit", full, Err(Errno::ENOSPC))?;
    expect("pages", server.pages()?, 2)?;
    client.unmap(more)?;
    server.quit_after([client])?;

    let mut server = case.serve_as(Behaviour { dmmap: false, ..Behaviour::default() })?;
    let refused = Err(Errno::ENODEV);
    expect("a load without direct mmap", server.load_pages(id, 0, 1, 1)?, refused)?;
    expect("a free without direct mmap", server.free_pages(id, 1)?, refused)?;
    server.quit()
}

/// A page whose memory has failed cannot be loaded or saved. The pages beside it can.
fn poisoned(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut server = case.serve()?;
    let id = server.page_id(0)?;
    let mut client = case.client("client", &server)?;
    let first = client.map(0, page)?;
    let second = client.map(page as u64, page)?;
    let third = client.map(2 * page as u64, page)?;
    for map in [first, second, third] {
        client.fill(map, 0, page, 1)?;
    }
    // The kernel marks the page even if it then cannot end the processes that map it.
    if client.try_advise(second, Advice::HwPoison)? == Err(Errno::EINVAL) {
        return Err(Failure::Skip("the kernel has no CONFIG_MEMORY_FAILURE".into()));
    }
    let failed = Err(Errno::EIO);
    expect("a load", server.load_pages(id + 1, 8, 8, 2)?, failed)?;
    expect("a save", server.save_pages(id + 1, 0, page, 1)?.map(drop), failed)?;
    expect("a load of three pages", server.load_pages(id, 0, 3 * page, 3)?, failed)?;
    let saved = server.save_pages(id + 2, 0, page, 1)?;
    expect("bytes saved of the page behind it", saved, Ok(page))?;
    expect("a load of the page behind it", server.load_pages(id + 2, 0, page, 4)?, Ok(()))?;
    client.verify(third, 0, page, 4)?;
    client.quit()?;
    server.await_munmaps(3)?;
    server.quit()
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pages that the server writes and reads by their ID, without mapping them.

use server::Behaviour;
use sys::{Errno, page_size, write_file};

use crate::stage::counters::{self, LIMIT_PER_CONNECTION};
use crate::stage::{Case, Failure, Process, Workload, expect};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("load", load),
    ("save", save),
    ("rounds", rounds),
    ("at-once", at_once),
    ("compact", compact),
    ("refused", refused),
];

/// What the server writes is what all see, from the first byte to the last and nothing beside it.
fn load(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut server = case.serve()?;
    let id = server.page_id(0)?;
    let mut client = case.client("client", &server)?;
    let mut other = case.client("other client", &server)?;
    let map = client.map(0, 4 * page)?;
    let there = other.map(0, 4 * page)?;
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
        other.verify(there, 0, 4 * page, 1000 + seed)?;
        // From the mapping's first page, and from the one it begins in.
        for (first, at_there) in [(id, at), (id + (at / page) as u64, at % page)] {
            let loaded = server.load_pages(first, at_there, len, seed)?;
            expect("a load", loaded, Ok(()))?;
            if at_there == at {
                client.verify(map, at, len, seed)?;
                other.verify(there, at, len, seed)?;
            }
        }
        client.verify(map, 0, at, 1000 + seed)?;
        let behind = at + len;
        other.verify(there, behind, 4 * page - behind, 1000 + seed)?;
    }

    // A page that nobody has touched is zeros where nothing was written.
    let last = client.map(9 * page as u64, page)?;
    let id = server.page_id(9 * page as u64)?;
    expect("a load", server.load_pages(id, 16, 32, 5)?, Ok(()))?;
    expect("pages", server.pages()?, 5)?;
    client.verify_zero(last, 0, 16)?;
    client.verify(last, 16, 32, 5)?;
    client.verify_zero(last, 48, page - 48)?;
    client.quit()?;
    other.quit()?;
    server.quit()
}

/// What the server reads is what was stored last; where there is no page, no bytes come.
fn save(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut server = case.serve()?;
    let id = server.page_id(0)?;
    let mut client = case.client("client", &server)?;
    let map = client.map(0, 6 * page)?;
    for seed in 1..=3 {
        client.fill(map, 0, 4 * page, seed)?;
        for (at, len, come) in [
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
            expect(&format!("bytes of {len} at {at:#x}"), saved, Ok(come))?;
        }
    }
    // To look is not to touch.
    expect("pages", server.pages()?, 4)?;
    client.quit()?;
    server.quit()
}

/// Data goes round: the server writes, a client stores, the server reads, while another client looks on.
fn rounds(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut server = case.serve()?;
    let id = server.page_id(0)?;
    let mut client = case.client("client", &server)?;
    let mut looker = case.client("client that looks on", &server)?;
    let map = client.map(0, 8 * page)?;
    let there = looker.map(0, 8 * page)?;
    let len = 200;
    for round in 1..=case.param::<u64>("rounds")? {
        // From border to border, and not to the next: pages that came one after the other would all agree in colour with
        // the kernel's own mapping, or none would.
        let at = (3 * round as usize % 7 + 1) * page - len / 2;
        let (loaded, stored) = (2 * round, 2 * round + 1);
        expect("a load", server.load_pages(id, at, len, loaded)?, Ok(()))?;
        looker.verify(there, at, len, loaded)?;
        client.verify(map, at, len, loaded)?;
        client.fill(map, at, len, stored)?;
        looker.verify(there, at, len, stored)?;
        let saved = server.save_pages(id, at, len, stored)?;
        expect("bytes saved", saved, Ok(len))?;
    }
    client.quit()?;
    looker.quit()?;
    server.quit()
}

/// The server writes and reads by ID what it has mapped itself, with nobody else running in between: where a cache is
/// flushed for each process, nothing but the kernel's own care makes it right.
fn at_once(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut server = case.serve()?;
    let id = server.page_id(0)?;
    let mut client = case.client("client", &server)?;
    let there = client.map(0, 3 * page)?;
    let here = server.map_pages(id, 3)?;
    for round in 0..case.param::<u64>("rounds")? {
        let seeds = (2 * round + 1, 2 * round + 2);
        // A word, the border of two pages, all there is.
        for (at, len) in [(8, 8), (page - 50, 100), (0, 3 * page)] {
            server.load_and_save((id, here), at, len, seeds)?;
            client.verify(there, at, len, seeds.1)?;
        }
    }
    client.quit()?;
    server.quit()
}

/// The kernel makes room by moving pages that nobody has in a page table; not these, for which nobody would look.
fn compact(case: &mut Case) -> Result<(), Failure> {
    let (page, pages) = (page_size(), case.param::<usize>("pages")?);
    let mut server = case.serve()?;
    let id = server.page_id(0)?;
    let mut client = case.client("client", &server)?;
    let map = client.map(0, pages * page)?;
    let rounds = case.param::<u64>("rounds")?;
    for round in 1..=rounds {
        for at in (0..pages).map(|index| index * page) {
            expect("a load", server.load_pages(id, at, page, round)?, Ok(()))?;
        }
        // 1: all there is (Documentation/admin-guide/sysctl/vm.rst).
        write_file("/proc/sys/vm/compact_memory", b"1")?;
        for at in (0..pages).map(|index| index * page) {
            let saved = server.save_pages(id, at, page, round)?;
            expect("bytes saved", saved, Ok(page))?;
        }
        expect("pages", server.pages()?, pages as u64)?;
    }
    client.verify(map, 0, pages * page, rounds)?;
    client.quit()?;
    server.quit()
}

/// What cannot be done has its error number, and nothing comes of it. What is malformed is for the suite `hostile`.
fn refused(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut server = case.serve()?;
    let id = server.page_id(0)?;
    let mut client = case.client("client", &server)?;
    let map = client.map(0, 2 * page)?;
    let nobody = server.load_pages(id + 2, 0, 1, 1)?;
    expect(
        "a load into a page that is not mapped",
        nobody,
        Err(Errno::ENXIO),
    )?;
    let half = server.load_pages(id, page, 2 * page, 1)?;
    expect(
        "a load past the end of the mapping",
        half,
        Err(Errno::ENXIO),
    )?;
    client.verify(map, page, page, 1)?;
    client.store(map, 0, 1)?;
    counters::set(LIMIT_PER_CONNECTION, 2)?;
    let more = client.map(8 * page as u64, page)?;
    let full = server.load_pages(server.page_id(8 * page as u64)?, 0, 1, 1)?;
    expect("a load over the limit", full, Err(Errno::ENOSPC))?;
    expect("pages", server.pages()?, 2)?;
    client.unmap(more)?;
    client.quit()?;
    server.quit()?;

    let mut server = case.serve_as(Behaviour {
        dmmap: false,
        ..Behaviour::default()
    })?;
    let refused = Err(Errno::ENODEV);
    expect(
        "a load without direct mmap",
        server.load_pages(id, 0, 1, 1)?,
        refused,
    )?;
    expect(
        "a free without direct mmap",
        server.free_pages(id, 1)?,
        refused,
    )?;
    server.quit()
}

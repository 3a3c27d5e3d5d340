// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pages that the server fills on first touch and gives back when the kernel asks for them.

use server::{Behaviour, OnFault, OnReclaim};
use sys::{Errno, Instant, page_size, sleep, write_file};

use crate::stage::command::{MappingCommand, Touch};
use crate::stage::counters::{self, LIMIT_PER_CONNECTION, PAGES_TOTAL};
use crate::stage::pins::PinBy;
use crate::stage::waiting::{
    MOMENT, await_pending_request, await_requests, holding_faults, lazy_behaviour, shrink_until,
};
use crate::stage::{Case, Failure, Process, Workload, expect, expect_that};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("filled", filled),
    ("saved-at-munmap", saved_at_munmap),
    ("one-request", one_request),
    ("fault-refused", fault_refused),
    ("fault-killed", fault_killed),
    ("fault-server-dies", fault_server_dies),
    ("only-its-own", only_its_own),
    ("server-touch", server_touch),
    ("freed", freed),
    ("reclaim-limit", reclaim_limit),
    ("reclaim-pressure", reclaim_pressure),
    ("reclaim-refused", reclaim_refused),
    ("lock-refused", lock_refused),
    ("reclaim-held", reclaim_held),
    ("reclaim-in-use", reclaim_in_use),
    ("room-after-fill", room_after_fill),
    ("room-in-turns", room_in_turns),
    ("room-taken", room_taken),
];

/// The first touch of a page sends one FUSE_DMMAP_FAULT, whichever client touches it, and the page has the bytes that
/// read(2) returns.
fn filled(case: &mut Case) -> Result<(), Failure> {
    let pages: usize = case.param("pages")?;
    let mut server = case.serve_as(Behaviour::lazy())?;
    let mut a = case.client("client a", &server)?;
    let mut b = case.client("client b", &server)?;
    let page = page_size();
    a.write_read(0, pages * page, 1)?;
    let map_a = a.map(0, pages * page)?;
    let map_b = b.map(0, pages * page)?;
    let faults = server.log()?.faults;
    expect("FUSE_DMMAP_FAULTs before the first touch", faults, 0)?;
    expect("pages before the first touch", server.pages()?, 0)?;

    // Touches the pages from high to low, without the last one.
    for index in (0..pages - 1).rev() {
        a.verify(map_a, index * page, page, 1)?;
        b.verify(map_b, index * page, page, 1)?;
        let log = server.log()?;
        expect("FUSE_DMMAP_FAULTs", log.faults, (pages - 1 - index) as u64)?;
        let id = server.page_id((index * page) as u64)?;
        expect("page ID of the last FUSE_DMMAP_FAULT", log.last_faults.last().copied(), Some(id))?;
    }
    expect("pages", server.pages()?, pages as u64 - 1)?;

    // A filled page is ordinary shared memory.
    a.store(map_a, 0, 7)?;
    expect("a store of client a, loaded by client b", b.load(map_b, 0)?, 7)?;
    let id = server.page_id(((pages - 1) * page) as u64)?;
    server.behave(lazy_behaviour(OnFault::LeaveZeros, OnReclaim::Save))?;
    b.verify_zero(map_b, (pages - 1) * page, page)?;
    let last = server.log()?.last_faults.last().copied();
    expect("page ID of the last FUSE_DMMAP_FAULT", last, Some(id))?;
    let (faults, counted) = (server.log()?.faults, server.counter("faults")?);
    expect("the kernel's count of faults", counted, faults)?;
    a.quit()?;
    b.quit()?;
    server.await_munmaps(2)?;
    expect("pages at the end", server.pages()?, 0)?;
    server.quit()
}

/// Pages stay until the server has answered FUSE_MUNMAP, so the file has what clients stored.
fn saved_at_munmap(case: &mut Case) -> Result<(), Failure> {
    let (page, pages) = (page_size(), case.param::<usize>("pages")?);
    let (mut server, mut client) = case.serve_with_client(Behaviour::lazy())?;
    for round in 1..=3 {
        let map = client.map(0, pages * page)?;
        // Leaves out the first page, so that it does not exist when the server saves the pages.
        client.fill(map, page, (pages - 1) * page, round)?;
        client.unmap(map)?;
        server.await_munmaps(2 * round - 1)?;
        expect("pages after the munmap", server.pages()?, 0)?;
        let map = client.map(0, pages * page)?;
        client.verify_zero(map, 0, page)?;
        client.verify(map, page, (pages - 1) * page, round)?;
        client.unmap(map)?;
        server.await_munmaps(2 * round)?;
    }
    server.quit_after([client])
}

/// If many clients touch a page at the same time, one FUSE_DMMAP_FAULT is sent, and all get the page.
fn one_request(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let count: usize = case.param("clients")?;
    let mut server = case.serve_as(holding_faults())?;
    let mut clients = Vec::new();
    for number in 0..count {
        let mut client = case.client(&format!("client {number}"), &server)?;
        client.write_read(0, page, 5)?;
        let map = client.map(0, 2 * page)?;
        clients.push((client, map));
    }
    for (client, map) in &mut clients {
        client.start_load(*map, 8)?;
    }
    await_requests(&mut server, "a FUSE_DMMAP_FAULT", |log| log.faults > 0)?;
    sleep(MOMENT);
    expect("FUSE_DMMAP_FAULTs", server.log()?.faults, 1)?;
    server.behave(Behaviour::lazy())?;
    for (client, map) in &mut clients {
        let word = client.finish_load()?;
        client.verify(*map, 0, page, 5)?;
        expect("the word that the client waited for", client.load(*map, 8)?, word)?;
    }
    expect("FUSE_DMMAP_FAULTs after all loads", server.log()?.faults, 1)?;
    for (client, _) in clients {
        client.quit()?;
    }
    server.await_munmaps(count as u64)?;
    server.quit()
}

/// If the server refuses to fill a page, a touch raises SIGBUS and a system call fails with EFAULT. The next touch asks
/// again.
fn fault_refused(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let errno = Errno::EACCES.raw();
    let mut server = case.serve_as(lazy_behaviour(OnFault::Refuse { errno }, OnReclaim::Save))?;
    let mut client = case.client("client", &server)?;
    client.write_read(0, page, 3)?;
    let map = client.map(0, 2 * page)?;
    for store in [false, true] {
        let before = server.log()?.faults;
        expect("a touch", client.touch(map, 0, store)?, Touch::Sigbus)?;
        // The Rust runtime's handler restores the default action of SIGBUS. The process then repeats the access.
        let faults = server.log()?.faults - before;
        expect_that((1..=2).contains(&faults), || {
            format!("FUSE_DMMAP_FAULTs for one touch: expected 1 or 2, found {faults}")
        })?;
    }
    let before = server.log()?.faults;
    expect("the kernel's touch", client.probe(map, 0)?, Touch::Efault)?;
    expect("FUSE_DMMAP_FAULTs for the kernel's touch", server.log()?.faults - before, 1)?;
    expect("pages", server.pages()?, 0)?;
    server.behave(Behaviour::lazy())?;
    client.verify(map, 0, page, 3)?;
    server.quit_after([client])
}

/// A client that waits for the server to fill a page can be killed, and the server's later answer does no harm.
fn fault_killed(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut server = case.serve_as(holding_faults())?;
    for round in 1..=case.param::<u64>("rounds")? {
        let mut client = case.client("client", &server)?;
        client.write_read(0, page, round)?;
        let map = client.map(0, 4 * page)?;
        client.start_load(map, page)?;
        await_requests(&mut server, "a FUSE_DMMAP_FAULT", |log| log.faults == 2 * round - 1)?;
        let start = Instant::now();
        client.kill()?;
        case.figure("kill_us", start.elapsed().as_micros() as f64);
        // In even rounds, the server gets FUSE_MUNMAP before it answers the FUSE_DMMAP_FAULT; in odd rounds, after it.
        if round % 2 == 0 {
            server.await_munmaps(2 * round - 1)?;
        }
        server.behave(Behaviour::lazy())?;
        server.await_munmaps(2 * round - 1)?;
        expect("pages after the end of the client", server.pages()?, 0)?;

        let mut client = case.client("next client", &server)?;
        let map = client.map(0, 4 * page)?;
        client.verify(map, 0, page, round)?;
        client.quit()?;
        server.await_munmaps(2 * round)?;
        server.behave(holding_faults())?;
    }
    server.quit()
}

/// If the server dies while a client waits for a page, the touch raises SIGBUS. Existing pages stay.
fn fault_server_dies(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let (mut server, mut client) = case.serve_with_client(Behaviour::lazy())?;
    client.write_read(0, page, 2)?;
    let map = client.map(0, 2 * page)?;
    client.verify(map, 0, page, 2)?;
    server.behave(holding_faults())?;
    client.start_touch(map, page, true)?;
    await_requests(&mut server, "a FUSE_DMMAP_FAULT", |log| log.faults == 2)?;
    server.kill()?;
    expect("the touch", client.finish_touch()?, Touch::Sigbus)?;
    client.verify(map, 0, page, 2)?;
    expect("another touch", client.touch(map, page, false)?, Touch::Sigbus)?;
    client.quit()?;
    expect("pages at the end", counters::read(PAGES_TOTAL)?, 0)
}

/// Unanswered FUSE_DMMAP_FAULTs, however many, delay only the clients that touch their pages.
fn only_its_own(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let count: usize = case.param("clients")?;
    let beyond = (count * page) as u64;
    let mut server = case.serve()?;
    let below = server.page_id(beyond)?;
    server.behave(lazy_behaviour(OnFault::Hold { below }, OnReclaim::Save))?;
    let mut stuck = Vec::new();
    for number in 0..count {
        let mut client = case.client(&format!("stuck client {number}"), &server)?;
        let map = client.map(0, count * page)?;
        client.start_load(map, number * page)?;
        stuck.push(client);
    }
    await_requests(&mut server, "a FUSE_DMMAP_FAULT each", |log| log.faults == count as u64)?;

    let mut client = case.client("client", &server)?;
    client.write_read(0, (count + 1) * page, 4)?;
    let map = client.map(0, (count + 1) * page)?;
    client.verify(map, count * page, page, 4)?;
    expect("FUSE_DMMAP_FAULTs", server.log()?.faults, count as u64 + 1)?;
    client.unmap(map)?;
    client.quit()?;
    for client in stuck {
        client.kill()?;
    }
    server.behave(Behaviour::lazy())?;
    server.await_munmaps(count as u64 + 1)?;
    expect("pages at the end", server.pages()?, 0)?;
    server.quit()
}

/// The server never waits for itself: if it touches a page that it has not filled, it gets SIGBUS, and its system calls
/// fail with EFAULT.
fn server_touch(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let (mut server, mut client) = case.serve_with_client(Behaviour::lazy())?;
    client.write_read(0, page, 6)?;
    let map = client.map(0, 2 * page)?;
    let id = server.page_id(0)?;
    let server_map = server.map_pages(id, 2)?;
    expect("a load by the server", server.touch(server_map, 0, false)?, Touch::Sigbus)?;
    expect("a store by the server", server.touch(server_map, page, true)?, Touch::Sigbus)?;
    expect("the kernel's touch for the server", server.probe(server_map, 0)?, Touch::Efault)?;
    expect("FUSE_DMMAP_FAULTs", server.log()?.faults, 0)?;
    client.verify(map, 0, page, 6)?;
    server.verify(server_map, 0, page, 6)?;
    expect("the server's touch of page 1", server.touch(server_map, page, false)?, Touch::Sigbus)?;
    expect("a load by page ID", server.load_pages(id, page, 16, 8)?, Ok(()))?;
    server.verify(server_map, page, 16, 8)?;
    expect("the server's touch of page 1", server.touch(server_map, page, true)?, Touch::Success)?;
    server.quit_after([client])
}

/// After the server has freed a page, the next touch sends another FUSE_DMMAP_FAULT.
fn freed(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let (mut server, mut client) = case.serve_with_client(Behaviour::lazy())?;
    client.write_read(0, 3 * page, 1)?;
    let map = client.map(0, 3 * page)?;
    let id = server.page_id(0)?;
    let server_map = server.map_pages(id, 3)?;
    client.fill(map, 0, 3 * page, 50)?;
    expect("a free by page ID", server.free_pages(id + 1, 1)?, Ok(()))?;
    expect("pages", server.pages()?, 2)?;
    expect("a load by the server", server.touch(server_map, page, false)?, Touch::Sigbus)?;
    client.verify(map, page, page, 1)?;
    client.verify(map, 0, page, 50)?;
    client.verify(map, 2 * page, page, 50)?;
    expect("FUSE_DMMAP_FAULTs", server.log()?.faults, 4)?;
    // Far more pages than the file has.
    let all = u64::from(u32::MAX >> 13);
    expect("a free of all pages", server.free_pages(0, all)?, Ok(()))?;
    expect("pages", server.pages()?, 0)?;
    client.verify(map, 0, 3 * page, 1)?;
    server.quit_after([client])
}

/// A client works on three times as many pages as the limit allows: the kernel asks for pages back to make room.
fn reclaim_limit(case: &mut Case) -> Result<(), Failure> {
    let (page, limit) = (page_size(), case.param::<usize>("limit")?);
    let pages = 3 * limit;
    counters::set(LIMIT_PER_CONNECTION, pages as u64)?;
    let mut server = case.serve_as(Behaviour::lazy())?;
    let mut a = case.client("client a", &server)?;
    let mut b = case.client("client b", &server)?;
    let map_a = a.map(0, pages * page)?;
    let map_b = b.map(0, pages * page)?;
    counters::set(LIMIT_PER_CONNECTION, limit as u64)?;
    for round in 1..=case.param::<u64>("rounds")? {
        for index in 0..pages {
            a.fill(map_a, index * page, page, round)?;
            let existing = server.pages()?;
            expect_that(existing <= limit as u64, || {
                format!("{existing} pages exist, but the limit is {limit}")
            })?;
        }
        b.verify(map_b, 0, pages * page, round)?;
    }
    let log = server.log()?;
    expect_that(log.reclaimed >= 2 * limit as u64, || {
        let (least, found) = (2 * limit, log.reclaimed);
        format!("expected at least {least} pages in FUSE_DMMAP_RECLAIMs, found {found}")
    })?;
    case.figure("reclaims", log.reclaims as f64);
    let reclaimed = server.counter("reclaimed")?;
    expect("counter of reclaimed pages", reclaimed, log.reclaimed)?;
    expect("refused touches", server.counter("refused")?, 0)?;
    a.quit()?;
    b.quit()?;
    server.await_munmaps(2)?;
    expect("pages at the end", server.pages()?, 0)?;
    server.quit()
}

/// When the kernel shrinks its caches, it asks the server to give pages back, and stored data survives.
fn reclaim_pressure(case: &mut Case) -> Result<(), Failure> {
    let (page, pages) = (page_size(), case.param::<usize>("pages")?);
    let (mut server, mut client) = case.serve_with_client(Behaviour::lazy())?;
    let map = client.map(0, pages * page)?;
    for round in 1..=case.param::<u64>("rounds")? {
        client.fill(map, 0, pages * page, round)?;
        expect("pages", server.pages()?, pages as u64)?;
        shrink_until(|| Ok(server.pages()? == 0))?;
        let (reclaimed, expected) = (server.log()?.reclaimed, round * pages as u64);
        expect("pages in FUSE_DMMAP_RECLAIMs", reclaimed, expected)?;
        client.verify(map, 0, pages * page, round)?;
    }
    server.quit_after([client])
}

/// If the server refuses to give pages back, a touch over the limit raises SIGBUS, and no data is lost.
fn reclaim_refused(case: &mut Case) -> Result<(), Failure> {
    let (page, limit) = (page_size(), 4);
    let errno = Errno::EBUSY.raw();
    let mut server = case.serve_as(lazy_behaviour(OnFault::Fill, OnReclaim::Refuse { errno }))?;
    let mut client = case.client("client", &server)?;
    let map = client.map(0, (limit + 2) * page)?;
    counters::set(LIMIT_PER_CONNECTION, limit as u64)?;
    client.fill(map, 0, limit * page, 1)?;
    for store in [false, true] {
        expect("a touch over the limit", client.touch(map, limit * page, store)?, Touch::Sigbus)?;
    }
    let before = server.log()?.reclaims;
    expect_that(before >= 2, || {
        format!("expected at least 2 FUSE_DMMAP_RECLAIMs, found {before}")
    })?;
    expect("the kernel's touch over the limit", client.probe(map, limit * page)?, Touch::Efault)?;
    expect("FUSE_DMMAP_RECLAIMs for the kernel's touch", server.log()?.reclaims - before, 1)?;
    expect("the kernel's count of refused touches", server.counter("refused")?, before + 1)?;
    client.verify(map, 0, limit * page, 1)?;
    // Now the server gives pages back, but discards what was stored.
    server.behave(lazy_behaviour(OnFault::Fill, OnReclaim::Discard))?;
    client.verify_zero(map, limit * page, 2 * page)?;
    client.verify_zero(map, 0, limit * page)?;
    server.quit_after([client])
}

/// mlock fails if the server refuses to fill a page or to give one back. It does not ask the server again and again:
/// mlock creates pages by mm_populate(), which repeats a fault without saying so.
fn lock_refused(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let errno = Errno::EACCES.raw();
    let mut server = case.serve_as(lazy_behaviour(OnFault::Refuse { errno }, OnReclaim::Save))?;
    let mut client = case.client("client", &server)?;
    let map = client.map(0, 3 * page)?;
    let refused = Err(Errno::ENOMEM);
    let locked = client.try_call(map, MappingCommand::Lock)?;
    expect("mlock of pages that the server does not fill", locked, refused)?;
    expect("FUSE_DMMAP_FAULTs", server.log()?.faults, 1)?;

    server.behave(lazy_behaviour(OnFault::Fill, OnReclaim::Refuse { errno }))?;
    counters::set(LIMIT_PER_CONNECTION, 1)?;
    let locked = client.try_call(map, MappingCommand::Lock)?;
    expect("mlock of pages over the limit", locked, refused)?;
    expect("FUSE_DMMAP_RECLAIMs", server.log()?.reclaims, 1)?;

    server.behave(Behaviour::lazy())?;
    let locked = client.try_call(map, MappingCommand::Lock)?;
    expect("mlock of pages that take each other's place", locked, Ok(()))?;
    client.unmap(map)?;
    server.quit_after([client])
}

/// Pages that the server was asked to give back cannot be accessed until it answers. If it dies, they stay.
fn reclaim_held(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut server = case.serve_as(lazy_behaviour(OnFault::Fill, OnReclaim::Hold))?;
    let mut client = case.client("client", &server)?;
    let mut other = case.client("other client", &server)?;
    let map = client.map(0, 4 * page)?;
    let other_map = other.map(0, 4 * page)?;
    for answers in [true, false] {
        client.fill(map, 0, 4 * page, 1)?;
        let reclaims = server.log()?.reclaims;
        shrink_until(|| Ok(server.log()?.reclaims != reclaims))?;
        expect("pages before the server has answered", server.pages()?, 4)?;
        // Both the client that has touched the page and the one that has not must wait for the server.
        other.start_load(other_map, page)?;
        client.start_load(map, page)?;
        expect_that(!other.is_done_within(MOMENT)? && !client.is_done_within(MOMENT)?, || {
            "a client could load a page during its reclaim".into()
        })?;
        if answers {
            server.behave(Behaviour::lazy())?;
            other.finish_load()?;
            client.finish_load()?;
            client.verify(map, 0, 4 * page, 1)?;
            server.behave(lazy_behaviour(OnFault::Fill, OnReclaim::Hold))?;
        }
    }
    server.kill()?;
    other.finish_load()?;
    client.finish_load()?;
    other.verify(other_map, 0, 4 * page, 1)?;
    client.verify(map, 0, 4 * page, 1)?;
    client.quit()?;
    other.quit()
}

/// A page that the kernel itself uses is not reclaimed: here, the buffer of a write that the server has not read yet.
fn reclaim_in_use(case: &mut Case) -> Result<(), Failure> {
    let (page, elsewhere) = (page_size(), 9 * page_size() as u64);
    let (mut server, mut client) = case.serve_with_client(Behaviour::lazy())?;
    let map = client.map(0, 2 * page)?;
    client.fill(map, 0, 2 * page, 1)?;
    server.behave(Behaviour { reads_nothing: true, ..Behaviour::lazy() })?;
    client.start_write_mapped(map, 0, page, elsewhere)?;
    // The write pins its buffer before it makes the request (fs/fuse/file.c, fuse_direct_io()).
    await_pending_request(&server)?;
    expect_that(!client.is_done_within(MOMENT)?, || {
        "a write completed although the server has not read the request".into()
    })?;
    // 2: shrinkable caches (Documentation/admin-guide/sysctl/vm.rst).
    write_file("/proc/sys/vm/drop_caches", b"2")?;
    sleep(MOMENT);
    server.behave(Behaviour::lazy())?;
    client.finish_call()?;
    let log = await_requests(&mut server, "a FUSE_DMMAP_RECLAIM", |log| log.reclaims > 0)?;
    expect("pages in FUSE_DMMAP_RECLAIMs", log.reclaimed, 1)?;
    expect("pages", server.pages()?, 1)?;
    let saved = server.save_pages(server.page_id(0)?, 0, 2 * page, 1)?;
    expect("bytes saved of the page in use", saved, Ok(page))?;
    client.verify(map, 0, 2 * page, 1)?;
    // The write has transferred what was stored before.
    client.fill(map, 0, page, 2)?;
    client.read_mapped(map, 0, page, elsewhere)?;
    client.verify(map, 0, page, 1)?;
    server.quit_after([client])
}

/// If all pages within the limit are being filled, a touch of another page waits until one of them is filled and can be
/// reclaimed to make room.
fn room_after_fill(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut server = case.serve_as(holding_faults())?;
    let mut a = case.client("client a", &server)?;
    let mut b = case.client("client b", &server)?;
    a.write_read(0, 2 * page, 3)?;
    let map_a = a.map(0, 2 * page)?;
    let map_b = b.map(0, 2 * page)?;
    counters::set(LIMIT_PER_CONNECTION, 1)?;
    a.start_load(map_a, 0)?;
    await_requests(&mut server, "a FUSE_DMMAP_FAULT", |log| log.faults == 1)?;
    b.start_load(map_b, page)?;
    expect_that(!b.is_done_within(MOMENT)?, || "a page over the limit could be loaded".into())?;
    let log = server.log()?;
    expect("FUSE_DMMAP_FAULTs and FUSE_DMMAP_RECLAIMs", (log.faults, log.reclaims), (1, 0))?;
    server.behave(Behaviour::lazy())?;
    a.finish_load()?;
    b.finish_load()?;
    b.verify(map_b, page, page, 3)?;
    a.verify(map_a, 0, page, 3)?;
    expect("refused touches", server.counter("refused")?, 0)?;
    expect_that(server.log()?.reclaimed >= 1, || "the kernel asked for no page back".into())?;
    a.quit()?;
    b.quit()?;
    server.await_munmaps(2)?;
    server.quit()
}

/// Clients that take the only page within the limit from each other are never refused: a page that another task just
/// maps is used by the kernel for a moment, and is not pinned.
fn room_in_turns(case: &mut Case) -> Result<(), Failure> {
    let len = case.param::<usize>("pages")? * page_size();
    let mut server = case.serve_as(Behaviour::lazy())?;
    let mut a = case.client("client a", &server)?;
    let mut b = case.client("client b", &server)?;
    let map_a = a.map(0, len)?;
    let map_b = b.map(len as u64, len)?;
    counters::set(LIMIT_PER_CONNECTION, 1)?;
    a.start_call(map_a, MappingCommand::TimeTouches)?;
    b.start_call(map_b, MappingCommand::TimeTouches)?;
    a.finish_call()?;
    b.finish_call()?;
    expect("refused touches", server.counter("refused")?, 0)?;
    case.figure("reclaims", server.log()?.reclaims as f64);
    a.quit()?;
    b.quit()?;
    server.await_munmaps(2)?;
    server.quit()
}

/// While a process keeps all pages within the limit alive, a touch of another page raises SIGBUS, although the server
/// would give pages back. It succeeds as soon as the process lets go of them.
fn room_taken(case: &mut Case) -> Result<(), Failure> {
    let (page, limit) = (page_size(), case.param::<usize>("limit")?);
    let (mut server, mut client) = case.serve_with_client(Behaviour::lazy())?;
    let mut holder = case.client("holder", &server)?;
    let map = client.map(0, (limit + 1) * page)?;
    let held = holder.map(0, limit * page)?;
    counters::set(LIMIT_PER_CONNECTION, limit as u64)?;
    holder.fill(held, 0, limit * page, 1)?;
    expect("the pin of the pages", holder.try_pin(held, 0, limit * page, PinBy::Pipe)?, Ok(()))?;
    for _ in 0..2 {
        expect("a touch over the limit", client.touch(map, limit * page, true)?, Touch::Sigbus)?;
    }
    expect("FUSE_DMMAP_RECLAIMs", server.log()?.reclaims, 0)?;
    client.verify(map, 0, limit * page, 1)?;
    holder.unpin()?;
    client.fill(map, limit * page, page, 2)?;
    let reclaimed = server.log()?.reclaimed;
    expect_that(reclaimed > 0, || "the touch succeeded without a FUSE_DMMAP_RECLAIM".into())?;
    client.verify(map, 0, limit * page, 1)?;
    client.verify(map, limit * page, page, 2)?;
    server.quit_after([client, holder])
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pages are there when they are touched, are counted exactly, are bounded, and come back however their users go.

use sys::{Advice, Errno, page_size};

use crate::stage::command::{MappingCommand, Touch};
use crate::stage::counters::{self, LIMIT_PER_CONNECTION, LIMIT_TOTAL, PAGES_TOTAL};
use crate::stage::group::Group;
use crate::stage::server::Limits;
use crate::stage::{Case, Client, Failure, Process, Server, Workload, expect, expect_that};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("first-touch", first_touch),
    ("limit", limit),
    ("unmap", unmap),
    ("pieces", pieces),
    ("exit", exit),
    ("kill-client", kill_client),
    ("kill-server", kill_server),
    ("cycles", cycles),
    ("locked-memory", locked_memory),
    ("group", group),
    ("greedy", greedy),
];

/// Both counters show `expected`; no other connection is there.
fn expect_pages(server: &Server, when: &str, expected: u64) -> Result<(), Failure> {
    expect(
        &format!("pages of the connection {when}"),
        server.pages()?,
        expected,
    )?;
    expect(
        &format!("pages in total {when}"),
        counters::read(PAGES_TOTAL)?,
        expected,
    )
}

/// A mapping costs nothing until it is touched; then each page is counted once, whoever touched it.
fn first_touch(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let pages: usize = case.param("pages")?;
    let mut server = case.serve()?;
    let mut a = case.client("client a", &server)?;
    let mut b = case.client("client b", &server)?;
    let of_a = a.map(0, pages * page)?;
    let of_b = b.map(0, pages * page)?;
    let of_server = server.map_pages(server.page_id(0)?, pages)?;
    expect_pages(&server, "before the first touch", 0)?;
    for index in 0..pages {
        let at = index * page;
        // A load is a touch as well as a store is, and it does not matter whose it is.
        match index % 3 {
            0 => a.store(of_a, at, 1)?,
            1 => a.load(of_a, at).map(drop)?,
            _ => server.load(of_server, at).map(drop)?,
        }
        expect_pages(
            &server,
            &format!("after a touch of page {index}"),
            index as u64 + 1,
        )?;
        b.load(of_b, at)?;
        server.store(of_server, at, 2)?;
        expect_pages(&server, "after further touches of it", index as u64 + 1)?;
    }
    a.quit()?;
    b.quit()?;
    expect_pages(&server, "while the server maps them", pages as u64)?;
    server.unmap(of_server)?;
    expect_pages(&server, "at the end", 0)?;
    server.quit()
}

/// Over the limit of its connection a touch is a SIGBUS; what is there stays, and room that comes back can be used.
fn limit(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let limit: usize = case.param("limit")?;
    counters::set(LIMIT_PER_CONNECTION, limit as u64)?;
    let mut server = case.serve()?;
    let mut client = case.client("client", &server)?;
    let full = client.map(0, limit * page)?;
    let beyond = (limit * page) as u64;
    let over = client.map(beyond, page)?;
    let over_here = server.map_pages(server.page_id(beyond)?, 1)?;
    client.fill(full, 0, limit * page, 1)?;
    expect_pages(&server, "at the limit", limit as u64)?;

    for store in [false, true] {
        expect(
            "a client's touch over the limit",
            client.touch(over, 0, store)?,
            Touch::Sigbus,
        )?;
        expect(
            "the server's touch over the limit",
            server.touch(over_here, 0, store)?,
            Touch::Sigbus,
        )?;
    }
    expect(
        "the kernel's touch over the limit",
        client.probe(over, 0)?,
        Touch::Efault,
    )?;
    expect_pages(&server, "after the refused touches", limit as u64)?;
    client.verify(full, 0, limit * page, 1)?;
    client.fill(full, 0, limit * page, 2)?;
    client.verify(full, 0, limit * page, 2)?;

    client.punch(full, 0, page)?;
    expect_pages(&server, "after one page came back", limit as u64 - 1)?;
    expect(
        "a touch of a page that fits now",
        client.touch(over, 0, true)?,
        Touch::Success,
    )?;
    server.verify_zero(over_here, 0, page)?;
    expect_pages(&server, "at the limit again", limit as u64)?;
    client.quit()?;
    server.unmap(over_here)?;
    expect_pages(&server, "at the end", 0)?;
    server.quit()
}

/// munmap gives back what nobody else maps, page by page; the server hears of it when the last page goes.
fn unmap(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut server = case.serve()?;
    let mut client = case.client("client", &server)?;
    let map = client.map(0, 8 * page)?;
    client.touch_all(map, 8)?;
    expect_pages(&server, "after touching 8", 8)?;
    let tail = client.punch(map, 2 * page, 3 * page)?;
    expect_pages(&server, "after unmapping 3 in the middle", 5)?;
    expect("the word in page 1", client.load(map, page)?, 2)?;
    expect("the word in page 5", client.load(tail, 0)?, 6)?;
    // Two of the three that are left behind the hole are the server's as well.
    let here = server.map_pages(server.page_id(6 * page as u64)?, 2)?;
    client.unmap(tail)?;
    expect_pages(&server, "after unmapping the end", 4)?;
    expect(
        "the word in page 7, loaded by the server",
        server.load(here, page)?,
        8,
    )?;
    expect(
        "FUSE_MUNMAPs while a part is mapped",
        server.log()?.munmaps,
        0,
    )?;
    client.unmap(map)?;
    server.await_munmaps(1)?;
    expect_pages(&server, "after the client's last unmap", 2)?;
    server.unmap(here)?;
    expect_pages(&server, "after the server's last unmap", 0)?;
    client.quit()?;
    server.quit()
}

/// mprotect makes three mappings of one: each gives back its own pages, and the server hears of the last.
fn pieces(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    for order in [[0, 2, 1], [1, 0, 2], [2, 1, 0]] {
        let mut server = case.serve()?;
        let mut client = case.client("client", &server)?;
        let first = client.map(0, 6 * page)?;
        client.fill(first, 0, 6 * page, 1)?;
        let middle = client.cut(first, 2 * page)?;
        let last = client.cut(middle, 2 * page)?;
        client.protect_readonly(middle)?;
        expect(
            "a load from the middle",
            client.touch(middle, 0, false)?,
            Touch::Success,
        )?;
        expect(
            "a store to the middle",
            client.touch(middle, 0, true)?,
            Touch::Sigsegv,
        )?;
        expect(
            "a store behind the middle",
            client.touch(last, 0, true)?,
            Touch::Success,
        )?;
        expect_pages(&server, "before any unmap", 6)?;
        for (index, piece) in order.into_iter().enumerate() {
            expect(
                "FUSE_MUNMAPs before the last unmap",
                server.log()?.munmaps,
                0,
            )?;
            client.unmap([first, middle, last][piece])?;
            expect_pages(
                &server,
                &format!("after piece {piece}"),
                4 - 2 * index as u64,
            )?;
        }
        let log = server.await_munmaps(1)?;
        expect(
            "length of the FUSE_MUNMAP",
            log.last_munmaps[0].length,
            6 * page as u64,
        )?;
        client.quit()?;
        server.quit()?;
    }
    Ok(())
}

/// What a process leaves behind when `end` ends it: nothing.
fn ends(case: &mut Case, end: fn(Client) -> Result<(), Failure>) -> Result<(), Failure> {
    let page = page_size();
    let pages: usize = case.param("pages")?;
    let mut server = case.serve()?;
    for round in 1..=case.param("rounds")? {
        let mut client = case.client("client", &server)?;
        let mut stays = case.client("client that stays", &server)?;
        let map = client.map(0, pages * page)?;
        let kept = stays.map(0, page)?;
        client.touch_all(map, pages)?;
        expect_pages(&server, "before the end", pages as u64)?;
        end(client)?;
        server.await_munmaps(2 * round - 1)?;
        expect_pages(&server, "after the end of one of two clients", 1)?;
        expect("the word of the client that stays", stays.load(kept, 0)?, 1)?;
        stays.quit()?;
        server.await_munmaps(2 * round)?;
        expect_pages(&server, "after the end of both", 0)?;
    }
    server.quit()
}

/// A client that exits gives everything back.
fn exit(case: &mut Case) -> Result<(), Failure> {
    ends(case, Client::quit)
}

/// A client that is killed gives everything back.
fn kill_client(case: &mut Case) -> Result<(), Failure> {
    ends(case, Client::kill)
}

/// A server that is killed: clients keep the pages they have and get no new ones, and the last gives all back.
fn kill_server(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut server = case.serve()?;
    let mut client = case.client("client", &server)?;
    let map = client.map(0, 4 * page)?;
    let here = server.map_pages(server.page_id(0)?, 8)?;
    server.fill(here, 0, 2 * page, 1)?;
    server.store(here, 7 * page, 1)?;
    expect_pages(&server, "before the end", 3)?;
    server.kill()?;

    let total = counters::read(PAGES_TOTAL)?;
    expect("pages of the client after the server's end", total, 2)?;
    client.verify(map, 0, 2 * page, 1)?;
    client.fill(map, 0, 2 * page, 2)?;
    client.verify(map, 0, 2 * page, 2)?;
    expect(
        "a touch of a new page",
        client.touch(map, 3 * page, true)?,
        Touch::Sigbus,
    )?;
    expect(
        "the kernel's touch of a new page",
        client.probe(map, 3 * page)?,
        Touch::Efault,
    )?;
    expect(
        "pages after the refused touches",
        counters::read(PAGES_TOTAL)?,
        2,
    )?;
    client.quit()?;
    expect("pages at the end", counters::read(PAGES_TOTAL)?, 0)
}

/// Nothing adds up over many mappings, unmapped or left behind by who is killed: neither pages nor unmaps that the server
/// never hears of.
fn cycles(case: &mut Case) -> Result<(), Failure> {
    let times: u32 = case.param("times")?;
    let pages: usize = case.param("pages")?;
    let mut server = case.serve()?;
    let mut client = case.client("client", &server)?;
    client.cycle(0, pages, times, case.param("die")?)?;
    expect_pages(&server, "after the cycles", 0)?;
    let log = server.await_munmaps(u64::from(times))?;
    expect("FUSE_MMAPs", log.mmaps, u64::from(times))?;
    expect_that(log.refused_replies == 0, || {
        "the kernel refused replies".into()
    })?;
    client.quit()?;
    server.quit()
}

/// Touches every page of a mapping in one go; EFAULT where one of them would be a SIGBUS. Nothing is left untouched before
/// that one.
const TOUCH_ALL: MappingCommand = MappingCommand::Advise(Advice::PopulateWrite);

/// Pages are locked memory of the server's user, whoever touches them: RLIMIT_MEMLOCK as it was when the server started
/// bounds them, for all of the user's servers together that have no privilege to lock more.
fn locked_memory(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let limit: usize = case.param("limit")?;
    let limits = Limits {
        locked_pages: Some(limit),
        ..Limits::default()
    };
    let mut server = case.serve_with_limits(&limits)?;
    let other = case.serve_with_limits(&limits)?;
    let privileged = case.serve()?;
    let mut client = case.client("client", &server)?;
    let mut of_other = case.client("client of the other", &other)?;
    let mut of_privileged = case.client("client of the privileged", &privileged)?;

    let over = (limit + 1) * page;
    let refused = client.try_map(0, over)?.map(drop);
    expect(
        "mmap of more than can ever be filled",
        refused,
        Err(Errno::ENOMEM),
    )?;
    let full = client.map(0, limit * page)?;
    let next = client.map((limit * page) as u64, page)?;
    let here = server.map_pages(server.page_id((limit * page) as u64)?, 1)?;
    client.fill(full, 0, limit * page, 1)?;
    for store in [false, true] {
        let touched = client.touch(next, 0, store)?;
        expect("a client's touch over the limit", touched, Touch::Sigbus)?;
    }
    let touched = server.touch(here, 0, true)?;
    expect("the server's touch over the limit", touched, Touch::Sigbus)?;
    let of_its_own = of_other.map(0, page)?;
    let touched = of_other.touch(of_its_own, 0, true)?;
    expect(
        "a touch of a page of the user's other server",
        touched,
        Touch::Sigbus,
    )?;
    let far = of_privileged.map(0, over)?;
    of_privileged.fill(far, 0, over, 2)?;
    expect("pages of the server", server.pages()?, limit as u64)?;
    client.verify(full, 0, limit * page, 1)?;

    client.punch(full, 0, page)?;
    of_other.store(of_its_own, 0, 3)?;
    let touched = client.touch(next, 0, true)?;
    expect(
        "a touch after the other server has taken the room",
        touched,
        Touch::Sigbus,
    )?;
    of_other.quit()?;
    let touched = client.touch(next, 0, true)?;
    expect(
        "a touch after the client of the other server has ended",
        touched,
        Touch::Success,
    )?;
    client.quit()?;
    of_privileged.quit()?;
    server.quit()?;
    other.quit()?;
    privileged.quit()
}

/// The memory cgroup of the server pays for pages, whoever touches them. Where it is full a touch is a SIGBUS, nobody is
/// killed, and nobody outside notices.
fn group(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let pages: usize = case.param("pages")?;
    let group = Group::make("dmmap-server")?;
    let server = case.serve_with_limits(&Limits {
        group: Some(group.procs_path()),
        ..Limits::default()
    })?;
    let outside = case.serve()?;
    let mut client = case.client("client", &server)?;
    let mut bystander = case.client("bystander", &outside)?;

    let before = group.used()?;
    let map = client.map(0, pages * page)?;
    client.fill(map, 0, pages * page, 1)?;
    let grown = group.used()?.saturating_sub(before);
    let half = (pages * page / 2) as u64;
    expect_that(grown > half, || {
        format!("the group of the server pays {grown} bytes for {pages} pages")
    })?;

    group.limit(group.used()?)?;
    let more = client.map((pages * page) as u64, pages * page)?;
    let result = client.try_call(more, TOUCH_ALL)?;
    expect(
        "touching all pages where the group is full",
        result,
        Err(Errno::EFAULT),
    )?;
    let came = server.pages()? - pages as u64;
    expect_that(came < pages as u64, || {
        format!("{came} of {pages} pages were added although the group was full")
    })?;
    // Who is in the group may have given back a little since.
    let mut touched = Touch::Success;
    for index in (0..pages).rev() {
        touched = client.touch(more, index * page, true)?;
        if touched != Touch::Success {
            break;
        }
    }
    expect("touches where the group is full", touched, Touch::Sigbus)?;
    expect(
        "processes killed because the group was full",
        group.killed()?,
        0,
    )?;
    client.verify(map, 0, pages * page, 1)?;
    let theirs = bystander.map(0, pages * page)?;
    bystander.fill(theirs, 0, pages * page, 2)?;

    // What one gives back another can have.
    client.unmap(map)?;
    client.store(more, (pages - 1) * page, 3)?;
    client.quit()?;
    bystander.quit()?;
    server.quit()?;
    outside.quit()?;
    group.remove()
}

/// Servers whose clients together touch far more than there may be, all at once, get what there may be and no more; and
/// who has nothing to do with them has the memory it needs.
fn greedy(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mib: usize = case.param("bystander_mib")?;
    let (len, limit) = (mib << 20, case.param::<usize>("limit")?);
    counters::set(LIMIT_TOTAL, limit as u64)?;
    let need = sys::memfd("need", len as u64)?;
    let mut bystander = case.client_of("bystander", &need)?;
    let needed = bystander.map(0, len)?;
    bystander.fill(needed, 0, len / 2, 1)?;

    let mut greedy = Vec::new();
    for _ in 0..case.param("servers")? {
        let server = case.serve()?;
        let mut client = case.client("greedy", &server)?;
        let map = client.map(0, limit * page)?;
        // Each has a page, so none can have all of them.
        client.store(map, 0, 1)?;
        greedy.push((server, client, map));
    }
    for (_, client, map) in &mut greedy {
        client.start_call(*map, TOUCH_ALL)?;
    }
    bystander.fill(needed, len / 2, len / 2, 2)?;
    for (_, client, _) in &mut greedy {
        expect(
            "touching all pages",
            client.finish_try_call()?,
            Err(Errno::EFAULT),
        )?;
    }

    expect("pages in total", counters::read(PAGES_TOTAL)?, limit as u64)?;
    let shares = greedy.iter().map(|(server, ..)| server.pages());
    let sum: u64 = shares.sum::<Result<u64, Failure>>()?;
    expect("pages of all servers together", sum, limit as u64)?;
    for (_, client, map) in &mut greedy {
        let touched = client.touch(*map, (limit - 1) * page, true)?;
        expect("a touch over the limit", touched, Touch::Sigbus)?;
    }
    bystander.verify(needed, 0, len / 2, 1)?;
    bystander.verify(needed, len / 2, len / 2, 2)?;

    // Who stays can have what the others had.
    let (server, mut client, map) = greedy.pop().expect("the case has servers");
    for (server, client, _) in greedy {
        client.kill()?;
        server.kill()?;
    }
    client.call(map, TOUCH_ALL)?;
    expect(
        "pages of the server that stays",
        server.pages()?,
        limit as u64,
    )?;
    client.quit()?;
    bystander.quit()?;
    server.quit()
}

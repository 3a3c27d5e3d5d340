// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pages are allocated on first touch, counted exactly and limited. They are freed no matter how the processes that map
//! them end.

pub(crate) mod escapes;

use server::Behaviour;
use sys::{Advice, Errno, Prot, page_size};

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

/// Fails unless both the connection and all connections together have `expected` pages.
fn expect_pages(server: &Server, when: &str, expected: u64) -> Result<(), Failure> {
    expect(&format!("pages of the connection {when}"), server.pages()?, expected)?;
    expect(&format!("pages in total {when}"), counters::read(PAGES_TOTAL)?, expected)
}

/// A mapping has no pages until it is touched. Each page is counted once, whichever process touches it.
fn first_touch(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let pages: usize = case.param("pages")?;
    let mut server = case.serve()?;
    let mut a = case.client("client a", &server)?;
    let mut b = case.client("client b", &server)?;
    let map_a = a.map(0, pages * page)?;
    let map_b = b.map(0, pages * page)?;
    let server_map = server.map_pages(server.page_id(0)?, pages)?;
    expect_pages(&server, "before the first touch", 0)?;
    for index in 0..pages {
        let at = index * page;
        // Loads count as touches, like stores, and the server's touches count like those of clients.
        match index % 3 {
            0 => a.store(map_a, at, 1)?,
            1 => a.load(map_a, at).map(drop)?,
            _ => server.load(server_map, at).map(drop)?,
        }
        let touched = index as u64 + 1;
        expect_pages(&server, &format!("after a touch of page {index}"), touched)?;
        b.load(map_b, at)?;
        server.store(server_map, at, 2)?;
        expect_pages(&server, "after more touches of the page", touched)?;
    }
    a.quit()?;
    b.quit()?;
    expect_pages(&server, "while the server has them mapped", pages as u64)?;
    server.unmap(server_map)?;
    expect_pages(&server, "at the end", 0)?;
    server.quit()
}

/// A touch over the connection's page limit raises SIGBUS. Existing pages stay, and a freed page makes room for a new
/// one.
fn limit(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let limit: usize = case.param("limit")?;
    counters::set(LIMIT_PER_CONNECTION, limit as u64)?;
    let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
    let first = client.map(0, page)?;
    let full = client.map(page as u64, (limit - 1) * page)?;
    let beyond = (limit * page) as u64;
    let over = client.map(beyond, page)?;
    let server_over = server.map_pages(server.page_id(beyond)?, 1)?;
    client.fill(first, 0, page, 1)?;
    client.fill(full, 0, (limit - 1) * page, 1)?;
    expect_pages(&server, "at the limit", limit as u64)?;

    for store in [false, true] {
        expect("a client's touch over the limit", client.touch(over, 0, store)?, Touch::Sigbus)?;
        let touched = server.touch(server_over, 0, store)?;
        expect("the server's touch over the limit", touched, Touch::Sigbus)?;
    }
    expect("the kernel's touch over the limit", client.probe(over, 0)?, Touch::Efault)?;
    expect_pages(&server, "after the refused touches", limit as u64)?;
    client.verify(first, 0, page, 1)?;
    client.verify(full, 0, (limit - 1) * page, 1)?;
    client.fill(full, 0, (limit - 1) * page, 2)?;
    client.verify(full, 0, (limit - 1) * page, 2)?;

    client.unmap(first)?;
    expect_pages(&server, "after one page was freed", limit as u64 - 1)?;
    expect("a touch after a page was freed", client.touch(over, 0, true)?, Touch::Success)?;
    server.verify_zero(server_over, 0, page)?;
    expect_pages(&server, "at the limit again", limit as u64)?;
    client.quit()?;
    server.unmap(server_over)?;
    expect_pages(&server, "at the end", 0)?;
    server.quit()
}

/// The pages of a mapping live until its last part is unmapped, and longer if another mapping has them too. The last
/// unmap sends FUSE_MUNMAP.
fn unmap(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
    let map = client.map(0, 8 * page)?;
    client.touch_all(map, 8)?;
    expect_pages(&server, "after touching 8", 8)?;
    let tail = client.punch(map, 2 * page, 3 * page)?;
    expect_pages(&server, "after unmapping 3 in the middle", 8)?;
    expect("the word in page 1", client.load(map, page)?, 2)?;
    expect("the word in page 5", client.load(tail, 0)?, 6)?;
    // A new mapping shows the pages that were unmapped in the middle.
    let middle = client.map(2 * page as u64, 3 * page)?;
    expect("the word in page 3", client.load(middle, page)?, 4)?;
    client.unmap(middle)?;
    server.await_munmaps(1)?;
    expect_pages(&server, "after unmapping another mapping of the middle", 8)?;
    // The server maps two of the three pages behind the hole.
    let server_map = server.map_pages(server.page_id(6 * page as u64)?, 2)?;
    client.unmap(tail)?;
    expect_pages(&server, "after unmapping the end", 8)?;
    expect("the word in page 7, loaded by the server", server.load(server_map, page)?, 8)?;
    expect("FUSE_MUNMAPs while a part is still mapped", server.log()?.munmaps, 1)?;
    client.unmap(map)?;
    server.await_munmaps(2)?;
    expect_pages(&server, "after the client's last unmap", 2)?;
    let server_tail = server.punch(server_map, 0, page)?;
    expect_pages(&server, "after the server unmapped a part", 2)?;
    expect("the word in page 7", server.load(server_tail, 0)?, 8)?;
    server.unmap(server_tail)?;
    expect_pages(&server, "after the server's last unmap", 0)?;
    server.quit_after([client])
}

/// mprotect splits a mapping in three. Unmapping the last part frees all pages and sends FUSE_MUNMAP, whichever part is
/// the last. Until then, the connection has one mapping.
fn pieces(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    for order in [[0, 2, 1], [1, 0, 2], [2, 1, 0]] {
        let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
        let first = client.map(0, 6 * page)?;
        client.fill(first, 0, 6 * page, 1)?;
        let middle = client.cut(first, 2 * page)?;
        let last = client.cut(middle, 2 * page)?;
        client.protect(middle, Prot::Read)?;
        expect("a load from the middle", client.touch(middle, 0, false)?, Touch::Success)?;
        expect("a store to the middle", client.touch(middle, 0, true)?, Touch::Sigsegv)?;
        expect("a store behind the middle", client.touch(last, 0, true)?, Touch::Success)?;
        for piece in order {
            let when = format!("before the unmap of piece {piece}");
            expect_pages(&server, &when, 6)?;
            server.expect_maps(&format!("mappings {when}"), 1)?;
            expect("FUSE_MUNMAPs before the last unmap", server.log()?.munmaps, 0)?;
            client.unmap([first, middle, last][piece])?;
        }
        expect_pages(&server, "after the last unmap", 0)?;
        let length = server.await_munmaps(1)?.last_munmaps[0].length;
        expect("length of the FUSE_MUNMAP", length, 6 * page as u64)?;
        server.expect_maps("mappings at the end", 0)?;
        server.quit_after([client])?;
    }
    Ok(())
}

/// Ends a client with `end`. Fails unless its pages are freed, FUSE_MUNMAP is sent, and another client keeps its page.
fn check_end(case: &mut Case, end: fn(Client) -> Result<(), Failure>) -> Result<(), Failure> {
    let page = page_size();
    let pages: usize = case.param("pages")?;
    let mut server = case.serve()?;
    for round in 1..=case.param("rounds")? {
        let mut client = case.client("client", &server)?;
        let mut remaining = case.client("remaining client", &server)?;
        let map = client.map(0, pages * page)?;
        let kept = remaining.map(0, page)?;
        client.touch_all(map, pages)?;
        expect_pages(&server, "before the end", pages as u64)?;
        end(client)?;
        server.await_munmaps(2 * round - 1)?;
        expect_pages(&server, "after the end of one of two clients", 1)?;
        expect("the word of the remaining client", remaining.load(kept, 0)?, 1)?;
        remaining.quit()?;
        server.await_munmaps(2 * round)?;
        expect_pages(&server, "after the end of both clients", 0)?;
    }
    server.quit()
}

/// A client that exits with pages mapped leaves nothing behind.
fn exit(case: &mut Case) -> Result<(), Failure> {
    check_end(case, Client::quit)
}

/// A client that is killed leaves nothing behind.
fn kill_client(case: &mut Case) -> Result<(), Failure> {
    check_end(case, Client::kill)
}

/// After the server is killed, its client keeps its pages and gets no new ones. The client's exit frees them.
fn kill_server(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
    let map = client.map(0, 4 * page)?;
    let server_map = server.map_pages(server.page_id(0)?, 8)?;
    server.fill(server_map, 0, 2 * page, 1)?;
    server.store(server_map, 7 * page, 1)?;
    expect_pages(&server, "before the end", 3)?;
    server.kill()?;

    expect("pages after the server was killed", counters::read(PAGES_TOTAL)?, 2)?;
    client.verify(map, 0, 2 * page, 1)?;
    client.fill(map, 0, 2 * page, 2)?;
    client.verify(map, 0, 2 * page, 2)?;
    expect("a touch of a new page", client.touch(map, 3 * page, true)?, Touch::Sigbus)?;
    expect("the kernel's touch of a new page", client.probe(map, 3 * page)?, Touch::Efault)?;
    expect("pages after the refused touches", counters::read(PAGES_TOTAL)?, 2)?;
    client.quit()?;
    expect("pages at the end", counters::read(PAGES_TOTAL)?, 0)
}

/// Many cycles of map, touch and unmap leave no page behind, and each sends FUSE_MUNMAP. With the parameter `die`, a
/// process maps and touches the pages and is killed instead of unmapping them.
fn cycles(case: &mut Case) -> Result<(), Failure> {
    let times: u32 = case.param("times")?;
    let pages: usize = case.param("pages")?;
    let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
    client.cycle(0, pages, times, case.param("die")?)?;
    expect_pages(&server, "after the cycles", 0)?;
    let log = server.await_munmaps(u64::from(times))?;
    expect("FUSE_MMAPs", log.mmaps, u64::from(times))?;
    expect_that(log.refused_replies == 0, || "the kernel refused replies of the server".into())?;
    server.quit_after([client])
}

/// Touches the pages of a mapping in order, with one system call. Fails with EFAULT at the first page whose touch would
/// raise SIGBUS.
const TOUCH_ALL: MappingCommand = MappingCommand::Advise(Advice::PopulateWrite);

/// Pages count as locked memory of the server's user, whichever process touches them. The RLIMIT_MEMLOCK that a server
/// had when it started limits the pages of all servers of the user together. Servers with the privilege to lock more
/// memory are exempt.
fn locked_memory(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let limit: usize = case.param("limit")?;
    let limits = Limits { locked_pages: Some(limit), ..Limits::default() };
    let mut server = case.serve_with_limits(&limits)?;
    let other = case.serve_with_limits(&limits)?;
    let privileged = case.serve()?;
    let mut client = case.client("client", &server)?;
    let mut other_client = case.client("client of the other server", &other)?;
    let mut privileged_client = case.client("client of the privileged server", &privileged)?;

    let over = (limit + 1) * page;
    expect("mmap over the limit", client.try_map(0, over)?.map(drop), Err(Errno::ENOMEM))?;
    let first = client.map(0, page)?;
    let full = client.map(page as u64, (limit - 1) * page)?;
    let next = client.map((limit * page) as u64, page)?;
    let server_map = server.map_pages(server.page_id((limit * page) as u64)?, 1)?;
    client.fill(first, 0, page, 1)?;
    client.fill(full, 0, (limit - 1) * page, 1)?;
    for store in [false, true] {
        expect("a client's touch over the limit", client.touch(next, 0, store)?, Touch::Sigbus)?;
    }
    expect("the server's touch over the limit", server.touch(server_map, 0, true)?, Touch::Sigbus)?;
    let other_map = other_client.map(0, page)?;
    let touched = other_client.touch(other_map, 0, true)?;
    expect("a touch through the other server", touched, Touch::Sigbus)?;
    let privileged_map = privileged_client.map(0, over)?;
    privileged_client.fill(privileged_map, 0, over, 2)?;
    expect("pages of the server", server.pages()?, limit as u64)?;
    client.verify(first, 0, page, 1)?;
    client.verify(full, 0, (limit - 1) * page, 1)?;

    client.unmap(first)?;
    // The other server takes the page that was freed.
    other_client.store(other_map, 0, 3)?;
    expect("a touch with the limit used up", client.touch(next, 0, true)?, Touch::Sigbus)?;
    other_client.quit()?;
    expect("a touch after a client has ended", client.touch(next, 0, true)?, Touch::Success)?;
    server.quit_after([client, privileged_client])?;
    other.quit()?;
    privileged.quit()
}

/// Pages are charged to the memory cgroup of the server, whichever process touches them. If the cgroup is full, a touch
/// raises SIGBUS, no process is killed, and processes outside the cgroup are not affected.
fn group(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let pages: usize = case.param("pages")?;
    let group = Group::make("dmmap-server")?;
    let server =
        case.serve_with_limits(&Limits { group: Some(group.procs_path()), ..Limits::default() })?;
    let outside = case.serve()?;
    let mut client = case.client("client", &server)?;
    let mut bystander = case.client("bystander", &outside)?;

    let before = group.used()?;
    let map = client.map(0, pages * page)?;
    client.fill(map, 0, pages * page, 1)?;
    let grown = group.used()?.saturating_sub(before);
    expect_that(grown > (pages * page / 2) as u64, || {
        format!("the server's cgroup is charged {grown} bytes for {pages} pages")
    })?;

    group.limit(group.used()?)?;
    let more = client.map((pages * page) as u64, pages * page)?;
    expect("touches with a full cgroup", client.try_call(more, TOUCH_ALL)?, Err(Errno::EFAULT))?;
    let added = server.pages()? - pages as u64;
    expect_that(added < pages as u64, || {
        format!("{added} of {pages} pages were added although the cgroup was full")
    })?;
    // Processes in the cgroup may have freed some memory since, so the first touches can succeed.
    let mut touched = Touch::Success;
    for index in (0..pages).rev() {
        touched = client.touch(more, index * page, true)?;
        if touched != Touch::Success {
            break;
        }
    }
    expect("touches while the cgroup is full", touched, Touch::Sigbus)?;
    expect("processes killed because the cgroup was full", group.killed()?, 0)?;
    client.verify(map, 0, pages * page, 1)?;
    let bystander_map = bystander.map(0, pages * page)?;
    bystander.fill(bystander_map, 0, pages * page, 2)?;

    // Pages that one mapping frees make room for those of another.
    client.unmap(map)?;
    client.store(more, (pages - 1) * page, 3)?;
    server.quit_after([client, bystander])?;
    outside.quit()?;
    group.remove()
}

/// The clients of several servers touch far more pages than the total limit, all at the same time. Together they get as
/// many pages as the limit allows, and a bystander has the memory that it needs.
fn greedy(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mib: usize = case.param("bystander_mib")?;
    let (len, limit) = (mib << 20, case.param::<usize>("limit")?);
    counters::set(LIMIT_TOTAL, limit as u64)?;
    let file = sys::memfd("bystander", len as u64)?;
    let mut bystander = case.client_of("bystander", &file)?;
    let bystander_map = bystander.map(0, len)?;
    bystander.fill(bystander_map, 0, len / 2, 1)?;

    let mut greedy = Vec::new();
    for _ in 0..case.param("servers")? {
        let server = case.serve()?;
        let mut client = case.client("greedy", &server)?;
        let map = client.map(0, limit * page)?;
        // Each client gets a page now, so that no client gets all pages.
        client.store(map, 0, 1)?;
        greedy.push((server, client, map));
    }
    for (_, client, map) in &mut greedy {
        client.start_call(*map, TOUCH_ALL)?;
    }
    bystander.fill(bystander_map, len / 2, len / 2, 2)?;
    for (_, client, _) in &mut greedy {
        expect("touching all pages", client.finish_try_call()?, Err(Errno::EFAULT))?;
    }

    expect("pages in total", counters::read(PAGES_TOTAL)?, limit as u64)?;
    if greedy.iter().all(|(server, ..)| server.has_counters()) {
        let sum: u64 =
            greedy.iter().map(|(server, ..)| server.pages()).sum::<Result<u64, Failure>>()?;
        expect("pages of all servers together", sum, limit as u64)?;
    }
    for (_, client, map) in &mut greedy {
        let touched = client.touch(*map, (limit - 1) * page, true)?;
        expect("a touch over the limit", touched, Touch::Sigbus)?;
    }
    bystander.verify(bystander_map, 0, len / 2, 1)?;
    bystander.verify(bystander_map, len / 2, len / 2, 2)?;

    // After the others have ended, the remaining client gets their pages.
    let (server, mut client, map) = greedy.pop().expect("the case has servers");
    for (server, client, _) in greedy {
        client.kill()?;
        server.kill()?;
    }
    client.call(map, TOUCH_ALL)?;
    expect("pages of the remaining server", server.pages()?, limit as u64)?;
    server.quit_after([client, bystander])
}

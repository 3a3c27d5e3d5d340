// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pages that a process keeps alive after they have left their page ID. They count until they are free: no process can
//! hold more pages than a limit allows.

use server::{Behaviour, Unanswered};
use sys::{Errno, Pid, Tracee, page_size};

use super::{TOUCH_ALL, expect_pages};
use crate::stage::command::{Map, Touch};
use crate::stage::counters::{self, LIMIT_PER_CONNECTION, LIMIT_TOTAL, PAGES_TOTAL};
use crate::stage::group::Group;
use crate::stage::pins::PinBy;
use crate::stage::server::Limits;
use crate::stage::waiting::{await_requests, await_that};
use crate::stage::{Case, Client, Failure, Process, Server, Workload, expect, expect_that};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("pinned", pinned),
    ("pinned-by-io", pinned_by_io),
    ("pinned-group", pinned_group),
    ("pinned-briefly", pinned_briefly),
    ("pinned-longest", pinned_longest),
];

/// Limit that is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    /// Pages of the connection.
    Connection,
    /// Pages of all connections.
    Total,
    /// Locked memory of the server's user.
    LockedMemory,
}

use Limit::{Connection, LockedMemory, Total};

impl Limit {
    /// Returns the name of the limit in the text of a failure.
    fn name(self) -> &'static str {
        match self {
            Connection => "the connection",
            Total => "all connections",
            LockedMemory => "locked memory",
        }
    }

    /// Starts a server, and another one, and limits the pages of the first to `pages`. The limits of all connections
    /// and of locked memory also apply to the second.
    fn serve(self, case: &mut Case, pages: usize) -> Result<(Server, Server), Failure> {
        let locked_pages = (self == LockedMemory).then_some(pages);
        let limits = Limits { locked_pages, ..Limits::default() };
        let server = case.serve_with_limits(&limits)?;
        let other = case.serve_with_limits(&limits)?;
        match self {
            Connection => counters::set(LIMIT_PER_CONNECTION, pages as u64)?,
            Total => counters::set(LIMIT_TOTAL, pages as u64)?,
            LockedMemory => {}
        }
        Ok((server, other))
    }
}

/// Way in which pages leave their page IDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    /// The client unmaps them.
    Unmap,
    /// The server frees them.
    Free,
    /// The client replaces the mapping by another.
    Replace,
    /// The server, which alone maps them, unmaps them.
    ServerUnmaps,
}

/// Limits of pages before the case changes them.
struct SavedLimits([(&'static str, u64); 2]);

impl SavedLimits {
    fn read() -> Result<SavedLimits, Failure> {
        let value = |path| Ok::<_, Failure>((path, counters::read(path)?));
        Ok(SavedLimits([value(LIMIT_PER_CONNECTION)?, value(LIMIT_TOTAL)?]))
    }

    fn restore(&self) -> Result<(), Failure> {
        self.0.iter().try_for_each(|(path, value)| counters::set(path, *value))
    }
}

/// Touches a page, keeps it alive, and has it leave its page ID, again and again. The process must get no more pages
/// than the limit allows; when it has let go of them, it must get as many again.
fn pinned(case: &mut Case) -> Result<(), Failure> {
    let by: PinBy = case.param("by")?;
    let saved = SavedLimits::read()?;
    let mut probe = case.serve()?;
    // A kernel with some stacks of the patches only has no free by ID, or no limit of locked memory.
    let (frees, locks) = (probe.log()?.load_save, probe.has_counters());
    probe.quit()?;
    for limit in [Connection, Total, LockedMemory] {
        for leave in [Leave::Unmap, Leave::Free, Leave::Replace, Leave::ServerUnmaps] {
            if (limit == LockedMemory && !locks) || (leave == Leave::Free && !frees) {
                continue;
            }
            let when = format!("limit of {}, pages leave by {leave:?}", limit.name());
            pin_under(case, by, limit, leave).map_err(|failure| failure.after(&when))?;
            saved.restore()?;
        }
    }
    Ok(())
}

fn pin_under(case: &mut Case, by: PinBy, limit: Limit, leave: Leave) -> Result<(), Failure> {
    let (page, pages): (usize, usize) = (page_size(), case.param("limit")?);
    let (mut server, other) = limit.serve(case, pages)?;
    let mut client = case.client("client", &server)?;
    let mut bystander = case.client("bystander", &other)?;
    let map_of_bystander = bystander.map(0, page)?;
    let id = server.page_id(0)?;

    let mut held = 0;
    for _ in 0..2 * pages {
        let pinned = match leave {
            Leave::ServerUnmaps => {
                let map = server.map_pages(id, 1)?;
                let pinned = touch_and_pin(&mut server, map, by)?;
                server.unmap(map)?;
                pinned
            }
            _ => {
                let map = client.map(0, page)?;
                let pinned = touch_and_pin(&mut client, map, by)?;
                let map = match leave {
                    Leave::Free => {
                        expect("the free", server.free_pages(id, 1)?, Ok(()))?;
                        map
                    }
                    Leave::Replace => client.map_over(map, page as u64, page)?,
                    _ => map,
                };
                client.unmap(map)?;
                pinned
            }
        };
        held += u64::from(pinned);
    }
    expect_that(held <= pages as u64, || {
        let counted = server.pages().map_or("unknown".to_owned(), |pages| pages.to_string());
        format!(
            "{held} pages are kept alive, but the limit is {pages} and dmmap_pages is {counted}"
        )
    })?;
    // The buffers that the server registers are locked memory a second time.
    let twice = by == PinBy::IoUring && limit == LockedMemory && leave == Leave::ServerUnmaps;
    let expected = if twice { pages / 2 } else { pages } as u64;
    expect("pages that are kept alive", held, expected)?;
    expect_pages(&server, "that are kept alive", expected)?;
    let map = client.map(0, pages * page)?;
    expect("a touch over the limit", client.touch(map, 0, true)?, Touch::Sigbus)?;
    let expected = if limit == Connection { Touch::Success } else { Touch::Sigbus };
    let touched = bystander.touch(map_of_bystander, 0, true)?;
    expect("a touch through another connection", touched, expected)?;
    bystander.unmap(map_of_bystander)?;

    // The pages are free as soon as nobody keeps them alive. The kernel drops the buffers of io_uring a little later.
    client.unpin()?;
    server.unpin()?;
    await_that("a touch was refused although nobody keeps the pages alive", || {
        Ok(client.try_call(map, TOUCH_ALL)?.is_ok())
    })?;
    client.fill(map, 0, pages * page, 1)?;
    client.verify(map, 0, pages * page, 1)?;
    client.unmap(map)?;
    await_no_pages(&server)?;
    client.quit()?;
    bystander.quit()?;
    server.quit()?;
    other.quit()
}

/// Touches the page of a mapping, and keeps it alive. Returns false if the limit refuses the page.
fn touch_and_pin(process: &mut impl Process, map: Map, by: PinBy) -> Result<bool, Failure> {
    match process.try_call(map, TOUCH_ALL)? {
        Err(Errno::EFAULT) => return Ok(false),
        other => expect("the touch of a page", other, Ok(()))?,
    }
    match process.try_pin(map, 0, page_size(), by)? {
        Err(Errno::ENOSYS) if by == PinBy::IoUring => {
            Err(Failure::Skip("the kernel has no CONFIG_IO_URING".into()))
        }
        Err(Errno::EFAULT) if by == PinBy::IoUring => Err(Failure::Skip(
            "the kernel pins no pages of a file for long (check_vma_flags in mm/gup.c)".into(),
        )),
        other => expect("the pin of a page", other, Ok(())).map(|()| true),
    }
}

/// Waits until no page is counted any more.
fn await_no_pages(server: &Server) -> Result<(), Failure> {
    await_that("pages that nobody keeps alive are still counted", || {
        Ok(server.pages()? == 0 && counters::read(PAGES_TOTAL)? == 0)
    })
}

/// Has processes write from a page and read into pages by direct I/O on a file of another connection, whose server does
/// not answer. Meanwhile the server of the page frees the page, again and again.
fn pinned_by_io(case: &mut Case) -> Result<(), Failure> {
    let saved = SavedLimits::read()?;
    for limit in [Connection, Total, LockedMemory] {
        let when = format!("limit of {}", limit.name());
        io_under(case, limit).map_err(|failure| failure.after(&when))?;
        saved.restore()?;
    }
    Ok(())
}

fn io_under(case: &mut Case, limit: Limit) -> Result<(), Failure> {
    let (page, pages): (usize, usize) = (page_size(), case.param("limit")?);
    let (mut server, other) = limit.serve(case, pages)?;
    other.quit()?;
    let mut slow =
        case.serve_as(Behaviour { unanswered: Some(Unanswered::Io), ..Behaviour::default() })?;
    let mut client = case.client("client", &server)?;
    let map = client.map(0, page)?;
    client.open_path(&slow.path)?;
    let id = server.page_id(0)?;

    let mut waiting: Vec<Client> = Vec::new();
    for number in 0..3 * pages as u64 {
        match client.try_call(map, TOUCH_ALL)? {
            Err(Errno::EFAULT) => continue,
            other => expect("the touch of a page", other, Ok(()))?,
        }
        client.fill(map, 0, page, number)?;
        let mut process = client.fork(&format!("waiting process {number}"))?;
        // A second write to the same file would wait for the first and make no request (fs/fuse/file.c, fuse_dio_lock).
        match number {
            0 => process.start_write_mapped(map, 0, page, 0)?,
            _ => process.start_read_mapped(map, 0, page, number * page as u64)?,
        }
        waiting.push(process);
        let count = waiting.len() as u64;
        await_requests(&mut slow, "a FUSE_WRITE or FUSE_READ", |log| log.held == count)?;
        expect("the free", server.free_pages(id, 1)?, Ok(()))?;
    }
    let held = waiting.len() as u64;
    expect_that(held <= pages as u64, || {
        let counted = server.pages().map_or("unknown".to_owned(), |pages| pages.to_string());
        format!(
            "{held} pages are buffers of I/O, but the limit is {pages} and dmmap_pages is {counted}"
        )
    })?;
    expect("pages that are buffers of I/O", held, pages as u64)?;
    expect_pages(&server, "that are buffers of I/O", pages as u64)?;
    // Not by a child: at its exit it would wait for the write, to flush the file that it has inherited.
    let touched = client.try_call(map, TOUCH_ALL)?;
    expect("a touch over the limit", touched, Err(Errno::EFAULT))?;

    slow.behave(Behaviour::default())?;
    for process in &mut waiting {
        process.finish_call()?;
    }
    let touched = client.try_call(map, TOUCH_ALL)?;
    expect("a touch when the I/O is done", touched, Ok(()))?;
    for process in waiting {
        process.quit()?;
    }
    // A write has transferred what the page contained.
    let mut reader = case.client("reader", &slow)?;
    reader.start_read_file(0, page, 0)?;
    reader.finish_call()?;
    reader.quit()?;
    client.unmap(map)?;
    await_no_pages(&server)?;
    client.quit()?;
    slow.quit()?;
    server.quit()
}

/// Pages of one step, which fit into one pipe. A pipe has room for 16 pages (pipe(7)).
const STEP: usize = 8;

/// Keeps pages alive that are charged to the memory cgroup of the server, until the group is full.
fn pinned_group(case: &mut Case) -> Result<(), Failure> {
    let (page, pages): (usize, usize) = (page_size(), case.param("limit")?);
    let group = Group::make("dmmap-pinned")?;
    let limits = Limits { group: Some(group.procs_path()), ..Limits::default() };
    let mut server = case.serve_with_limits(&limits)?;
    // Pages are charged to the group that the server was in at INIT. In a full group, the server could not allocate
    // memory of its own, and the kernel would kill it.
    group.release(server.pid())?;
    let mut client = case.client("client", &server)?;
    let most = group.used()? + (pages * page) as u64;
    group.limit(most)?;

    let mut held = 0;
    let mut refused = 0;
    for _ in 0..4 * pages / STEP {
        let map = client.map(0, STEP * page)?;
        match client.try_call(map, TOUCH_ALL)? {
            Err(Errno::EFAULT) => refused += 1,
            other => {
                expect("the touch of pages", other, Ok(()))?;
                let pinned = client.try_pin(map, 0, STEP * page, PinBy::Pipe)?;
                expect("the pin of pages", pinned, Ok(()))?;
                held += STEP;
            }
        }
        client.unmap(map)?;
    }
    let counted = server.pages()?;
    case.figure("held_pages", held as f64);
    expect_that((held * page) as u64 <= most, || {
        format!("{held} pages are kept alive, but the server's cgroup is limited to {most} bytes")
    })?;
    expect_that(refused > 0, || "the full cgroup refused no touch".into())?;
    expect("pages of the connection that are kept alive", counted, held as u64)?;

    client.unpin()?;
    let map = client.map(0, STEP * page)?;
    await_that("a touch was refused although nobody keeps the pages alive", || {
        Ok(client.try_call(map, TOUCH_ALL)?.is_ok())
    })?;
    client.unmap(map)?;
    await_no_pages(&server)?;
    client.quit()?;
    let munmaps = server.log()?.mmaps;
    server.await_munmaps(munmaps)?;
    server.quit()?;
    group.remove()
}

/// Accesses of other processes keep pages alive only while they last: process_vm_readv, ptrace, and a write to a pipe.
fn pinned_briefly(case: &mut Case) -> Result<(), Failure> {
    let (page, pages): (usize, usize) = (page_size(), case.param("limit")?);
    counters::set(LIMIT_PER_CONNECTION, pages as u64)?;
    let server = case.serve()?;
    let mut client = case.client("client", &server)?;
    let pid = Pid(client.pid() as i32);
    for round in 1..=case.param::<u64>("rounds")? {
        let map = client.map(0, pages * page)?;
        let touched = client.try_call(map, TOUCH_ALL)?;
        expect("the touch of as many pages as the limit allows", touched, Ok(()))?;
        client.fill(map, 0, pages * page, round)?;
        let at = client.address(map)?;
        let mut found = vec![0; pages * page];
        sys::read_memory(pid, at, &mut found)?;
        sys::write_memory(pid, at, &found)?;
        let stopped = Tracee::attach(pid)?;
        stopped.peek(at, &mut found[..64])?;
        stopped.poke(at, &found[..64])?;
        drop(stopped);
        expect("the kernel's touch", client.probe(map, 0)?, Touch::Success)?;
        client.verify(map, 0, pages * page, round)?;
        expect_pages(&server, "after accesses by others", pages as u64)?;
        client.unmap(map)?;
    }
    await_no_pages(&server)?;
    client.quit()?;
    server.quit()
}

/// Pages that a process keeps alive longer than their connection exists count in total, and no longer than the process
/// keeps them alive.
fn pinned_longest(case: &mut Case) -> Result<(), Failure> {
    let (page, pages): (usize, usize) = (page_size(), case.param("pages")?);
    let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
    let map = client.map(0, pages * page)?;
    client.fill(map, 0, pages * page, 1)?;
    expect("the pin of the pages", client.try_pin(map, 0, pages * page, PinBy::Pipe)?, Ok(()))?;
    client.unmap(map)?;
    server.await_munmaps(1)?;
    client.close()?;
    server.quit()?;
    expect("pages that are kept alive", counters::read(PAGES_TOTAL)?, pages as u64)?;
    client.unpin()?;
    await_that("pages that nobody keeps alive are still counted", || {
        Ok(counters::read(PAGES_TOTAL)? == 0)
    })?;
    client.quit()
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Answers that are wrong in one field: the result of write(2) for the server, and the result for the client.

use std::time::Duration;

use server::abi::{MMAP_LAZY, MMAP_RDONLY, op};
use server::{Behaviour, Message, OnFault, OnReclaim};
use sys::{Errno, page_size};

use super::messages::{
    INTERRUPT, PendingMmap, RESENT, UNKNOWN, expect_write, first_invalid_id, mmap_out,
    start_failing_touch, touch_second,
};
use crate::stage::command::{Map, Touch};
use crate::stage::counters::{self, LIMIT_PER_CONNECTION};
use crate::stage::waiting::{MOMENT, await_request, holding_faults, holding_mmaps, lazy_behaviour};
use crate::stage::{Case, Client, Failure, Process, Server, Workload, expect, expect_that};

pub(crate) const WORKLOADS: &[(&str, Workload)] =
    &[("answers", answers), ("fault-answers", fault_answers), ("reclaim-answers", reclaim_answers)];

const INVALID: Result<(), Errno> = Err(Errno::EINVAL);

/// Returns messages that are no valid answer to any request, and the result of write(2) for each. The request must
/// remain unanswered.
fn invalid_answers(unique: u64, body: &[u8]) -> Vec<(&'static str, Message, Result<(), Errno>)> {
    let error = |error| Message::refusal(unique, error);
    let long = |len_excess| Message { len_excess, ..Message::answer(unique, body) };
    let interrupt = |error| Message::refusal(unique | INTERRUPT, error);
    vec![
        ("an error above 0", error(1), INVALID),
        ("the highest error", error(i32::MAX), INVALID),
        ("an error below all error numbers", error(-512), INVALID),
        ("the lowest error", error(i32::MIN), INVALID),
        ("a length that is 1 too large", long(1), INVALID),
        ("a length that is 1 too small", long(-1), INVALID),
        ("a length that is 2^31 too large", long(i32::MIN), INVALID),
        ("the length of the body", long(-16), INVALID),
        ("another unique", Message::answer(unique + 2, body), UNKNOWN),
        ("unique 2^63 higher", Message::answer(unique | RESENT, body), UNKNOWN),
        ("an answer to a FUSE_INTERRUPT that was never sent", interrupt(0), Ok(())),
        (
            "EAGAIN for a FUSE_INTERRUPT that was never sent",
            interrupt(-Errno::EAGAIN.raw()),
            INVALID,
        ),
        (
            "ENOSYS for a FUSE_INTERRUPT that was never sent",
            interrupt(-Errno::ENOSYS.raw()),
            Ok(()),
        ),
        (
            "an answer to FUSE_INTERRUPT with a body",
            Message::answer(unique | INTERRUPT, &[0]),
            INVALID,
        ),
    ]
}

/// Returns messages that write(2) refuses but that end the request with EIO: an error with a body, and bodies of these
/// lengths.
fn bad_bodies(unique: u64, lengths: &[usize]) -> Vec<(String, Message)> {
    let mut all = vec![(
        "an error with a body".to_owned(),
        Message { error: -Errno::EACCES.raw(), ..Message::answer(unique, &[0]) },
    )];
    for &len in lengths {
        let message = Message::answer(unique, &vec![0; len]);
        all.push((format!("a body of {len} bytes"), message));
    }
    all
}

/// Fails unless a mapping shows the pages from `page_id`, to the client and to the server.
fn expect_shows(
    server: &mut Server,
    client: &mut Client,
    map: Map,
    page_id: u64,
    seed: u64,
) -> Result<(), Failure> {
    let page = page_size();
    let here = server.map_pages(page_id, 2)?;
    server.fill(here, page, page, seed)?;
    client.verify(map, page, page, seed)?;
    client.fill(map, 0, page, seed + 1)?;
    server.verify(here, 0, page, seed + 1)?;
    server.verify(here, page, page, seed)?;
    server.unmap(here)
}

/// Answers FUSE_MMAP. The kernel must send FUSE_MUNMAP for each well-formed answer, even if its values are wrong, and
/// for no other answer.
fn answers(case: &mut Case) -> Result<(), Failure> {
    let (mut server, mut client) = case.serve_with_client(holding_mmaps())?;
    let mut munmaps = 0;

    let pending = PendingMmap::new(&mut server, &mut client)?;
    let good = mmap_out(7, 0, 0);
    for (what, message, expected) in invalid_answers(pending.unique, &good) {
        expect_write(pending.server, what, message, expected)?;
    }
    expect_that(!pending.client.is_done_within(MOMENT)?, || {
        "mmap returned before the server answered".into()
    })?;
    let map = pending.accept("the valid answer", &good)?;
    expect_shows(&mut server, &mut client, map, 7, 1)?;
    client.unmap(map)?;
    munmaps += 1;

    for index in 0..bad_bodies(0, BODIES).len() {
        let unique = PendingMmap::new(&mut server, &mut client)?.unique;
        let (what, message) = bad_bodies(unique, BODIES).swap_remove(index);
        expect_write(&mut server, &what, message, INVALID)?;
        expect(&format!("mmap after {what}"), client.finish_try_map()?.err(), Some(Errno::EIO))?;
        expect_write(&mut server, "a late answer", Message::answer(unique, &good), UNKNOWN)?;
    }

    for errno in [Errno::Other(511), Errno::EINTR, Errno::EAGAIN, Errno::EIO] {
        let pending = PendingMmap::new(&mut server, &mut client)?;
        let message = Message::refusal(pending.unique, -errno.raw());
        expect_write(&mut server, "an error", message, Ok(()))?;
        expect("mmap after an error", client.finish_try_map()?.err(), Some(errno))?;
    }

    let end = first_invalid_id()?;
    let mut bad = vec![
        ("two pages at the last page ID".into(), end - 1, 0, 0),
        ("the first invalid page ID".into(), end, 0, 0),
        ("a page ID with the sign bit".into(), (1 << 63) + 1, 0, 0),
        ("page ID 2^64 - 1".into(), u64::MAX, 0, 0),
        ("page ID 2^64 - 2".into(), u64::MAX - 1, 0, 0),
        ("page IDs that overflow as byte offsets".into(), u64::MAX / page_size() as u64, 0, 0),
    ];
    bad.extend((0..u32::BITS).filter_map(|bit| {
        let flag = 1 << bit;
        (flag & KNOWN_FLAGS == 0).then(|| (format!("flag {flag:#x}"), 5, flag, 0))
    }));
    bad.push(("an unknown flag with FUSE_MMAP_LAZY".into(), 5, MMAP_LAZY | 1 << 2, 0));
    bad.extend((0..u32::BITS).map(|bit| (format!("bit {bit} of the padding"), 5, 0, 1 << bit)));
    bad.push(("padding with FUSE_MMAP_LAZY".into(), 5, MMAP_LAZY, u32::MAX));
    for (what, page_id, flags, padding) in bad {
        let pending = PendingMmap::new(&mut server, &mut client)?;
        let errno = pending.answer(&what, &mmap_out(page_id, flags, padding))?.err();
        expect(&format!("mmap after {what}"), errno, Some(Errno::EIO))?;
        munmaps += 1;
        let last = server.await_munmaps(munmaps)?.last_munmaps.last().map(|munmap| munmap.page_id);
        expect(&format!("FUSE_MUNMAP after {what}"), last, Some(page_id))?;
    }

    // The server has to map these pages. The offset of mmap2(2) is a number of pages, which is a word of the program.
    let last = (end - 2).min(usize::MAX as u64 - 1);
    for (what, page_id) in [("page ID 0", 0), ("the last page IDs", last)] {
        let pending = PendingMmap::new(&mut server, &mut client)?;
        let map = pending.accept(what, &mmap_out(page_id, 0, 0))?;
        expect_shows(&mut server, &mut client, map, page_id, 3)?;
        client.unmap(map)?;
        munmaps += 1;
    }
    server.await_munmaps(munmaps)?;
    server.expect_maps("mappings at the end", 0)?;
    expect("pages at the end", server.pages()?, 0)?;
    server.quit_after([client])
}

/// Flags that an answer to FUSE_MMAP can have.
const KNOWN_FLAGS: u32 = MMAP_LAZY | MMAP_RDONLY;

/// Wrong lengths of the body of an answer to FUSE_MMAP, which is 16 bytes.
const BODIES: &[usize] = &[0, 1, 8, 15, 17, 24, 4096];

/// Wrong lengths of the body of an answer that must have none.
const NO_BODIES: &[usize] = &[1, 16, 4096];

/// Starts a server with the pattern of 1 in its file, and a client that maps two pages of the file.
fn lazy_pair(case: &mut Case, behaviour: Behaviour) -> Result<(Server, Client, Map), Failure> {
    let (server, mut client) = case.serve_with_client(behaviour)?;
    client.write_read(0, 2 * page_size(), 1)?;
    let map = client.map(0, 2 * page_size())?;
    Ok((server, client, map))
}

/// Fails unless the touch of `toucher` has failed.
fn expect_failed(after: &str, mut toucher: Client) -> Result<(), Failure> {
    expect(&format!("the touch after {after}"), toucher.finish_touch()?, Touch::Efault)?;
    toucher.quit()
}

/// Answers FUSE_DMMAP_FAULT while the page is half filled. No process may see the half-filled page.
fn fault_answers(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let (mut server, mut client, map) = lazy_pair(case, holding_faults())?;
    let mut other = case.client("other client", &server)?;
    let there = other.map(0, 2 * page)?;
    let id = server.page_id(0)?;

    let mut bad = bad_bodies(0, NO_BODIES);
    for errno in
        [1, Errno::ENOSYS.raw(), Errno::ENOMEM.raw(), Errno::EAGAIN.raw(), Errno::EINTR.raw(), 511]
    {
        bad.push((format!("error {errno}"), Message::refusal(0, -errno)));
    }
    for (what, message) in bad {
        let before = server.log()?.unique(op::DMMAP_FAULT);
        let toucher = start_failing_touch(&mut client, map, page)?;
        let unique = await_request(&mut server, op::DMMAP_FAULT, before)?;
        expect("half a load", server.load_pages(id, page, page / 2, 8)?, Ok(()))?;
        let expected = if message.body.is_empty() { Ok(()) } else { INVALID };
        expect_write(&mut server, &what, Message { unique, ..message }, expected)?;
        expect_failed(&what, toucher)?;
        expect("bytes left of half a load", server.save_pages(id, page, page, 8)?, Ok(0))?;
        expect_write(&mut server, "a late answer", Message::answer(unique, &[]), UNKNOWN)?;
    }
    expect("pages", server.pages()?, 0)?;

    let unique = touch_second(&mut server, &mut client, map)?;
    other.start_probe(there, page)?;
    expect("half a load", server.load_pages(id, page, page / 2, 8)?, Ok(()))?;
    for (what, message, expected) in invalid_answers(unique, &[]) {
        expect_write(&mut server, what, message, expected)?;
    }
    let done = client.is_done_within(MOMENT)? || other.is_done_within(Duration::ZERO)?;
    expect_that(!done, || "a client could read a half-filled page".into())?;
    expect("a load", server.load_pages(id, page, page, 9)?, Ok(()))?;
    expect_write(&mut server, "the valid answer", Message::answer(unique, &[]), Ok(()))?;
    expect("the touch", client.finish_touch()?, Touch::Success)?;
    expect("the other touch", other.finish_touch()?, Touch::Success)?;
    client.verify(map, page, page, 9)?;
    other.verify(there, page, page, 9)?;

    // A server that behaves well can continue.
    server.behave(Behaviour::lazy())?;
    client.verify(map, 0, page, 1)?;
    client.quit()?;
    other.quit()?;
    server.await_munmaps(2)?;
    server.quit()
}

/// Answers FUSE_DMMAP_RECLAIM. After any answer but success, the pages must remain, and the touch that needed room must
/// fail.
fn reclaim_answers(case: &mut Case) -> Result<(), Failure> {
    let (page, limit) = (page_size(), 4);
    let full = limit * page;
    let mut server = case.serve_as(lazy_behaviour(OnFault::Fill, OnReclaim::Hold))?;
    let mut client = case.client("client", &server)?;
    client.write_read(0, full + page, 1)?;
    let map = client.map(0, full + page)?;
    counters::set(LIMIT_PER_CONNECTION, limit as u64)?;
    client.fill(map, 0, full, 2)?;
    let id = server.page_id(0)?;
    let touch_over_limit = |server: &mut Server, client: &mut Client| {
        let before = server.log()?.unique(op::DMMAP_RECLAIM);
        let toucher = start_failing_touch(client, map, full)?;
        let unique = await_request(server, op::DMMAP_RECLAIM, before)?;
        Ok::<_, Failure>((toucher, unique))
    };
    let expect_kept = |after: &str, server: &Server, client: &mut Client| {
        expect(&format!("pages after {after}"), server.pages()?, limit as u64)?;
        client.verify(map, 0, full, 2)
    };

    for index in 0..bad_bodies(0, NO_BODIES).len() {
        let (toucher, unique) = touch_over_limit(&mut server, &mut client)?;
        let (what, message) = bad_bodies(unique, NO_BODIES).swap_remove(index);
        expect_write(&mut server, &what, message, INVALID)?;
        expect_failed(&what, toucher)?;
        expect_kept(&what, &server, &mut client)?;
        expect_write(&mut server, "a late answer", Message::answer(unique, &[]), UNKNOWN)?;
    }
    for errno in [1, 511] {
        let (toucher, unique) = touch_over_limit(&mut server, &mut client)?;
        expect_write(&mut server, "an error", Message::refusal(unique, -errno), Ok(()))?;
        expect_failed("an error", toucher)?;
        expect_kept("an error", &server, &mut client)?;
    }

    let (mut toucher, unique) = touch_over_limit(&mut server, &mut client)?;
    for (what, message, expected) in invalid_answers(unique, &[]) {
        expect_write(&mut server, what, message, expected)?;
    }
    expect_that(!toucher.is_done_within(MOMENT)?, || {
        "the touch ended before the server gave a page back".into()
    })?;
    expect("pages", server.pages()?, limit as u64)?;
    expect("bytes saved", server.save_pages(id, 0, full, 2)?, Ok(full))?;
    expect_write(&mut server, "the valid answer", Message::answer(unique, &[]), Ok(()))?;
    expect("the touch", toucher.finish_touch()?, Touch::Success)?;
    toucher.quit()?;
    client.verify(map, full, page, 1)?;
    expect("pages", server.pages()?, 1)?;

    // The pages that the server did not save are lost. It fills them from its file again.
    client.verify(map, 0, full - page, 1)?;
    client.fill(map, 0, full - page, 3)?;
    client.verify(map, 0, full - page, 3)?;
    server.behave(Behaviour::lazy())?;
    client.quit()?;
    server.await_munmaps(1)?;
    expect("pages at the end", server.pages()?, 0)?;
    server.quit()
}

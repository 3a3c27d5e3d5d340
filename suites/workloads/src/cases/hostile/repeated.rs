// SPDX-License-Identifier: MIT OR Apache-2.0
//! Answers that are written twice or belong to no request, and requests that are sent again.

use server::abi::{MMAP_LAZY, op};
use server::{Behaviour, Message, OnMmap, OnReclaim};
use sys::{Errno, page_size};

use super::messages::{
    INTERRUPT, PendingMmap, RESENT, UNKNOWN, expect_write, mmap_out, touch_second,
};
use crate::stage::command::Touch;
use crate::stage::counters::{self, LIMIT_PER_CONNECTION};
use crate::stage::waiting::{HOLD_FAULTS, await_request, lazy_behaviour};
use crate::stage::{Case, Failure, Process, Workload, expect};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[("repeated", repeated)];

/// Code of FUSE_NOTIFY_RESEND.
const RESEND: i32 = 7;

/// Answers requests twice, and requests that do not exist. write(2) must fail with ENOENT, and nothing may change.
fn repeated(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let how = Behaviour { mmap: OnMmap::Hold, ..lazy_behaviour(HOLD_FAULTS, OnReclaim::Hold) };
    let (mut server, mut client) = case.serve_with_client(how)?;
    let lazy = mmap_out(7, MMAP_LAZY, 0);
    let refusal = |unique| Message::refusal(unique, -Errno::EACCES.raw());

    let pending = PendingMmap::new(&mut server, &mut client)?;
    let mmap = pending.unique;
    let map = pending.accept("the answer", &lazy)?;
    let fault = touch_second(&mut server, &mut client, map)?;
    expect("a load", server.load_pages(7, page, page, 4)?, Ok(()))?;
    let answer = Message::answer(fault, &[]);
    expect_write(&mut server, "the answer", answer, Ok(()))?;
    expect("the touch", client.finish_touch()?, Touch::Success)?;

    // A mapping that is unmapped, so that the server has received a FUSE_MUNMAP.
    let pending = PendingMmap::new(&mut server, &mut client)?;
    let gone = pending.accept("the answer", &mmap_out(90, 0, 0))?;
    client.unmap(gone)?;
    server.await_munmaps(1)?;
    let munmap = await_request(&mut server, op::MUNMAP, None)?;

    for (what, unique) in [
        ("to FUSE_MMAP, a second time", mmap),
        ("to FUSE_DMMAP_FAULT, a second time", fault),
        ("to FUSE_MUNMAP", munmap),
        ("to a request that was never sent", munmap + 1000),
        ("to unique 2^64 - 1", u64::MAX),
        ("to unique 2^64 - 2", u64::MAX - 1),
        ("to FUSE_INTERRUPT of no request", INTERRUPT),
        ("to FUSE_INTERRUPT of FUSE_MMAP", mmap | INTERRUPT),
    ] {
        for message in
            [Message::answer(unique, &[]), Message::answer(unique, &lazy), refusal(unique)]
        {
            expect_write(&mut server, &format!("an answer {what}"), message, UNKNOWN)?;
        }
        client.verify(map, page, page, 4)?;
        expect("pages", server.pages()?, 1)?;
        server.expect_maps("mappings", 1)?;
    }

    // The server has the kernel send all unanswered requests again. Only the second copy can be answered.
    let first = PendingMmap::new(&mut server, &mut client)?.unique;
    let mut other = case.client("other client", &server)?;
    expect("FUSE_NOTIFY_RESEND", server.notify(RESEND, &[])?, Ok(()))?;
    let again = await_request(&mut server, op::MMAP, Some(first))?;
    expect("unique of the request sent again", again, first | RESENT)?;
    expect_write(&mut server, "an answer to the first", Message::answer(first, &lazy), UNKNOWN)?;
    let answer = Message::answer(again, &lazy);
    expect_write(&mut server, "an answer to the second", answer, Ok(()))?;
    let twice = client.finish_map()?;
    client.verify(twice, page, page, 4)?;

    other.start_map(0, 2 * page)?;
    let unique = await_request(&mut server, op::MMAP, Some(again))?;
    let answer = Message::answer(unique, &lazy);
    expect_write(&mut server, "the answer", answer, Ok(()))?;
    let of_other = other.finish_map()?;
    other.start_probe(of_other, 0)?;
    let first = await_request(&mut server, op::DMMAP_FAULT, Some(fault))?;
    expect("FUSE_NOTIFY_RESEND", server.notify(RESEND, &[])?, Ok(()))?;
    let again = await_request(&mut server, op::DMMAP_FAULT, Some(first))?;
    expect_write(&mut server, "an error for the first", refusal(first), UNKNOWN)?;
    expect("a load", server.load_pages(7, 0, page, 5)?, Ok(()))?;
    let answer = Message::answer(again, &[]);
    expect_write(&mut server, "an answer to the second", answer, Ok(()))?;
    expect("the touch", other.finish_touch()?, Touch::Success)?;
    other.verify(of_other, 0, page, 5)?;

    let faults = server.log()?.faults;
    counters::set(LIMIT_PER_CONNECTION, 2)?;
    let long = PendingMmap::new(&mut server, &mut client)?;
    let more = long.accept("the answer", &mmap_out(50, MMAP_LAZY, 0))?;
    client.start_probe(more, 0)?;
    let reclaim = await_request(&mut server, op::DMMAP_RECLAIM, None)?;
    expect_write(&mut server, "an error", refusal(reclaim), Ok(()))?;
    expect("the touch", client.finish_touch()?, Touch::Efault)?;
    expect_write(&mut server, "success after an error", Message::answer(reclaim, &[]), UNKNOWN)?;
    client.verify(map, 0, page, 5)?;
    client.verify(map, page, page, 4)?;
    expect("FUSE_DMMAP_FAULTs", server.log()?.faults, faults)?;

    client.quit()?;
    other.quit()?;
    server.await_munmaps(5)?;
    expect("pages at the end", server.pages()?, 0)?;
    server.quit()
}

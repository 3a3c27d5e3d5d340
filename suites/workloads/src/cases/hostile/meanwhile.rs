// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pages that change while a request about them is pending.

use server::abi::op;
use server::{Behaviour, Message, OnFault, OnMmap, OnReclaim};
use sys::{Errno, page_size, sleep};

use super::messages::{load, mmap_out, start_failing_touch};
use crate::stage::command::Touch;
use crate::stage::failure::Words;
use crate::stage::waiting::{
    MOMENT, await_request, await_requests, holding_faults, lazy_behaviour, shrink_until,
};
use crate::stage::{Case, Failure, Process, Workload, expect, expect_that};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("refused-together", refused_together),
    ("refused-then-loaded", refused_then_loaded),
    ("reclaim-late", reclaim_late),
];

/// Refuses a fault for which several clients wait. All of them must get the error, and a later touch must send a new
/// FUSE_DMMAP_FAULT.
fn refused_together(case: &mut Case) -> Result<(), Failure> {
    let (page, count) = (page_size(), case.param::<u64>("clients")?);
    let errno = Errno::EACCES.raw();
    let mut server = case.serve_as(holding_faults())?;
    let mut clients = Vec::new();
    for number in 0..count {
        let mut client = case.client(&format!("client {number}"), &server)?;
        client.write_read(0, page, 1)?;
        let map = client.map(0, page)?;
        clients.push((client, map));
    }
    for round in 1..=case.param::<u64>("rounds")? {
        let before = server.log()?.faults;
        for (client, map) in &mut clients {
            client.start_touch(*map, 0, true)?;
        }
        await_requests(&mut server, "a FUSE_DMMAP_FAULT", |log| log.faults > before)?;
        sleep(MOMENT);
        expect("FUSE_DMMAP_FAULTs", server.log()?.faults, before + 1)?;
        server.behave(lazy_behaviour(OnFault::Refuse { errno }, OnReclaim::Save))?;
        for (client, _) in &mut clients {
            expect("the touch", client.finish_touch()?, Touch::Sigbus)?;
        }
        // The Rust runtime repeats each access once before the process dies.
        let faults = server.log()?.faults - before;
        expect_that(faults <= 1 + 2 * count, || {
            format!(
                "the kernel sent {faults} FUSE_DMMAP_FAULTs for {count} touches, in round {round}"
            )
        })?;
        expect("pages", server.pages()?, 0)?;
        server.behave(holding_faults())?;
    }
    server.behave(Behaviour::lazy())?;
    for (client, map) in &mut clients {
        client.verify(*map, 0, page, 1)?;
    }
    for (client, _) in clients {
        client.quit()?;
    }
    server.await_munmaps(count)?;
    server.quit()
}

/// Refuses a fault and loads the page immediately afterwards. The client that waited must get the error or the page,
/// and the kernel must not send another FUSE_DMMAP_FAULT.
fn refused_then_loaded(case: &mut Case) -> Result<(), Failure> {
    let (page, rounds) = (page_size(), case.param::<u64>("rounds")?);
    let (mut server, mut client) = case.serve_with_client(holding_faults())?;
    client.write_read(0, page, 1)?;
    let id = server.page_id(0)?;
    let mut successes = 0;
    for round in 1..=rounds {
        let map = client.map(0, page)?;
        let before = server.log()?.unique(op::DMMAP_FAULT);
        let mut toucher = start_failing_touch(&mut client, map, 0)?;
        let unique = await_request(&mut server, op::DMMAP_FAULT, before)?;
        let results = server.write_all(vec![
            Message::refusal(unique, -Errno::EACCES.raw()),
            // Zeros, which differ from the contents of the file.
            load(id, 0, page as u32, page),
        ])?;
        expect("a refusal and a load", results, vec![Ok(()), Ok(())])?;
        let touched = toucher.finish_touch()?;
        expect_that(matches!(touched, Touch::Success | Touch::Efault), || {
            format!("the touch: expected EFAULT or success, found {}", touched.words())
        })?;
        successes += u64::from(touched == Touch::Success);
        client.verify_zero(map, 0, page)?;
        toucher.quit()?;
        client.unmap(map)?;
        expect("FUSE_DMMAP_FAULTs", server.log()?.faults, round)?;
        server.await_munmaps(round)?;
    }
    case.figure("errors_made_good", successes as f64);
    server.quit_after([client])
}

/// Answers a FUSE_DMMAP_RECLAIM after its mapping was unmapped and its page IDs were mapped again. The new pages must
/// remain.
fn reclaim_late(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let holding_reclaim = lazy_behaviour(OnFault::Fill, OnReclaim::Hold);
    let (mut server, mut client) = case.serve_with_client(holding_reclaim)?;
    let id = server.page_id(0)?;
    let map = client.map(0, 2 * page)?;
    client.fill(map, 0, 2 * page, 1)?;
    shrink_until(|| Ok(server.log()?.reclaims == 1))?;
    let reclaim = await_request(&mut server, op::DMMAP_RECLAIM, None)?;
    client.unmap(map)?;
    server.await_munmaps(1)?;
    expect("pages after the munmap", server.pages()?, 0)?;

    // Maps the same page IDs again, this time not lazily.
    server.behave(Behaviour { mmap: OnMmap::Hold, ..holding_reclaim })?;
    let before = server.log()?.unique(op::MMAP);
    client.start_map(0, 2 * page)?;
    let mmap = await_request(&mut server, op::MMAP, before)?;
    let answer = Message::answer(mmap, &mmap_out(id, 0, 0));
    expect("the answer to mmap", server.write(answer)?, Ok(()))?;
    let map = client.finish_map()?;
    client.fill(map, 0, 2 * page, 2)?;

    let answer = Message::answer(reclaim, &[]);
    expect("the answer to reclaim", server.write(answer)?, Ok(()))?;
    expect("pages after the answer to reclaim", server.pages()?, 2)?;
    client.verify(map, 0, 2 * page, 2)?;
    client.quit()?;
    server.await_munmaps(2)?;
    expect("pages at the end", server.pages()?, 0)?;
    server.quit()
}

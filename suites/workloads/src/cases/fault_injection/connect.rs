// SPDX-License-Identifier: MIT OR Apache-2.0
//! Allocations that fail while a connection comes into being, or while room is made for a page.

use server::{Behaviour, Unanswered};
use sys::{Errno, Fd, MountFlags, OpenFlags, list_dir, page_size};

use super::{POPULATE, behave, expect_nothing, on, prepare, succeeded, walk, walk_with};
use crate::stage::command::Answer;
use crate::stage::counters::{self, LIMIT_PER_CONNECTION};
use crate::stage::failing::failing;
use crate::stage::{Case, Failure, Process, Workload, expect, expect_that};

pub(crate) const WORKLOADS: &[(&str, Workload)] =
    &[("room", room), ("accept", accept), ("mount", mount)];

/// A touch over the limit by the kernel, for which the server has to give a page back. That the kernel has no memory to
/// ask with is no refusal of the server's.
fn room(case: &mut Case) -> Result<(), Failure> {
    prepare()?;
    let page = page_size();
    let mut server = case.serve_as(Behaviour::lazy())?;
    let mut client = case.client("client", &server)?;
    walk(case, "room", |nth| {
        counters::set(LIMIT_PER_CONNECTION, 3)?;
        let map = client.map(0, 3 * page)?;
        counters::set(LIMIT_PER_CONNECTION, 2)?;
        client.fill(map, 0, 2 * page, u64::from(nth))?;
        let last = client.cut(map, 2 * page)?;
        let (failed, answer) = client.failing(nth, on(last, POPULATE))?;
        if !succeeded(&answer)? {
            client.call(last, POPULATE)?;
        }
        client.verify(map, 0, 2 * page, u64::from(nth))?;
        client.unmap(map)?;
        client.unmap(last)?;
        let mmaps = server.log()?.mmaps;
        server.await_munmaps(mmaps)?;
        expect_nothing(&server)?;
        Ok(failed)
    })?;
    client.quit()?;
    server.quit()
}

/// The answer to FUSE_INIT, which takes the offer. Where there is no memory for that, the file is one like any other.
fn accept(case: &mut Case) -> Result<(), Failure> {
    prepare()?;
    let page = page_size();
    let mut without = 0;
    walk_with(case, "accept", |case, nth| {
        let mut server = case.serve_as(Behaviour {
            unanswered: Some(Unanswered::Init),
            ..Behaviour::default()
        })?;
        let (failed, answer) = server.failing(nth, behave(Behaviour::default()))?;
        if !succeeded(&answer)? {
            server.behave(Behaviour::default())?;
        }
        let mut client = case.client("client", &server)?;
        match client.try_map(0, page)? {
            Ok(map) => client.store(map, 0, 1)?,
            Err(errno) => {
                expect("the mmap", errno, Errno::ENODEV)?;
                let of_server = server.try_map(0, page)?.err();
                expect("the server's mmap", of_server, Some(Errno::ENODEV))?;
                without += 1;
            }
        }
        client.write_read(0, page, u64::from(nth))?;
        client.quit()?;
        server.quit()?;
        Ok(failed)
    })?;
    case.figure("without_direct_mmap", f64::from(without));
    expect_that(without > 0, || {
        "nothing is allocated for direct mmap".into()
    })
}

/// Where connections show their counters.
const CONNECTIONS: &str = "/sys/fs/fuse/connections";

/// The mount of a filesystem whose server does not answer.
fn mount(case: &mut Case) -> Result<(), Failure> {
    prepare()?;
    let at = "/run/dmmap/injected";
    sys::make_dir(at)?;
    let before = list_dir(CONNECTIONS)?;
    walk(case, "mount", |nth| {
        let channel = Fd::open("/dev/fuse", OpenFlags::READ | OpenFlags::WRITE)?;
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0",
            channel.number()
        );
        let mount = || sys::mount("dmmap", at, "fuse", MountFlags::default(), &options);
        let answer = failing(nth, || Answer::of(mount(), |()| Answer::Done));
        let Answer::Failing { failed, answer } = answer else {
            return Err(Failure::new(answer.describe()));
        };
        if succeeded(&answer)? {
            let dir = counters::dir_of_mount(at)?;
            expect("pages", counters::read(&format!("{dir}/dmmap_pages"))?, 0)?;
            expect(
                "refused touches",
                counters::read(&format!("{dir}/dmmap_refused"))?,
                0,
            )?;
            sys::unmount(at)?;
        }
        drop(channel);
        expect("connections", list_dir(CONNECTIONS)?, before.clone())?;
        Ok(failed)
    })
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Allocations that fail while a connection is established, or while a page is reclaimed to make room for another.

use server::Behaviour;
use sys::{Errno, Fd, MountFlags, OpenFlags, list_dir, page_size};

use super::{
    POPULATE, behave, expect_empty, fail_each_allocation, fail_each_allocation_with,
    mapping_command, prepare, succeeded,
};
use crate::stage::command::Answer;
use crate::stage::counters::{self, CONNECTIONS, LIMIT_PER_CONNECTION};
use crate::stage::failing::failing;
use crate::stage::waiting::holding_init;
use crate::stage::{Case, Failure, Process, Workload, expect, expect_that};

pub(crate) const WORKLOADS: &[(&str, Workload)] =
    &[("room", room), ("accept", accept), ("mount", mount)];

/// Has the kernel touch a page over the limit, so that the server must give up a page. If the kernel has no memory for
/// the request, the touch must not fail as if the server had refused.
fn room(case: &mut Case) -> Result<(), Failure> {
    prepare()?;
    let page = page_size();
    let (mut server, mut client) = case.serve_with_client(Behaviour::lazy())?;
    fail_each_allocation(case, "room", |nth| {
        counters::set(LIMIT_PER_CONNECTION, 3)?;
        let map = client.map(0, 3 * page)?;
        counters::set(LIMIT_PER_CONNECTION, 2)?;
        client.fill(map, 0, 2 * page, u64::from(nth))?;
        let last = client.cut(map, 2 * page)?;
        let (failed, answer) = client.failing(nth, mapping_command(last, POPULATE))?;
        if !succeeded(&answer)? {
            client.call(last, POPULATE)?;
        }
        client.verify(map, 0, 2 * page, u64::from(nth))?;
        client.unmap(map)?;
        client.unmap(last)?;
        let mmaps = server.log()?.mmaps;
        server.await_munmaps(mmaps)?;
        expect_empty(&server)?;
        Ok(failed)
    })?;
    server.quit_after([client])
}

/// Has a server accept direct mmap in its answer to FUSE_INIT. If the kernel has no memory for direct mmap, the file
/// must work without it.
fn accept(case: &mut Case) -> Result<(), Failure> {
    prepare()?;
    let page = page_size();
    let mut without = 0;
    fail_each_allocation_with(case, "accept", |case, nth| {
        let mut server = case.serve_as(holding_init())?;
        let (failed, answer) = server.failing(nth, behave(Behaviour::default()))?;
        if !succeeded(&answer)? {
            server.behave(Behaviour::default())?;
        }
        let mut client = case.client("client", &server)?;
        match client.try_map(0, page)? {
            Ok(map) => client.store(map, 0, 1)?,
            Err(errno) => {
                expect("the mmap", errno, Errno::ENODEV)?;
                expect("the server's mmap", server.try_map(0, page)?.err(), Some(Errno::ENODEV))?;
                without += 1;
            }
        }
        client.write_read(0, page, u64::from(nth))?;
        server.quit_after([client])?;
        Ok(failed)
    })?;
    case.figure("without_direct_mmap", f64::from(without));
    expect_that(without > 0, || "the kernel allocates nothing for direct mmap".into())
}

/// Mounts a filesystem whose server does not answer.
fn mount(case: &mut Case) -> Result<(), Failure> {
    prepare()?;
    let at = "/run/dmmap/injected";
    sys::make_dir(at)?;
    let before = list_dir(CONNECTIONS)?;
    fail_each_allocation(case, "mount", |nth| {
        let channel = Fd::open("/dev/fuse", OpenFlags::READ | OpenFlags::WRITE)?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", channel.number());
        let mount = || sys::mount("dmmap", at, "fuse", MountFlags::default(), &options);
        let answer = failing(nth, || Answer::of(mount(), |()| Answer::Done));
        let Answer::Failing { failed, answer } = answer else {
            return Err(Failure::new(answer.describe()));
        };
        if succeeded(&answer)? {
            let dir = counters::dir_of_mount(at)?;
            expect("pages", counters::read(&format!("{dir}/dmmap_pages"))?, 0)?;
            expect("refused touches", counters::read(&format!("{dir}/dmmap_refused"))?, 0)?;
            sys::unmount(at)?;
        }
        drop(channel);
        expect("connections", list_dir(CONNECTIONS)?, before.clone())?;
        Ok(failed)
    })
}

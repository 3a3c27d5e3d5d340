// SPDX-License-Identifier: MIT OR Apache-2.0
//! Basic operation of direct mmap, on which every other suite depends.

use server::Behaviour;
use sys::page_size;

use crate::stage::counters::{self, LIMIT_PER_CONNECTION, LIMIT_TOTAL, PAGES_TOTAL};
use crate::stage::failure::expect_ok;
use crate::stage::{Case, Failure, Process, Workload, expect, expect_that, pattern};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("boot", boot),
    ("open", open),
    ("redirect", redirect),
    ("period", period),
    ("noise", noise),
    ("both-sides", both_sides),
    ("munmap", munmap),
];

const PROT_READ: u32 = 1;
const PROT_WRITE: u32 = 2;
const MAP_SHARED: u32 = 1;

/// The kernel has both devices and the files of the feature in sysfs, and no page is direct-mapped yet.
fn boot(_: &mut Case) -> Result<(), Failure> {
    for path in ["/dev/fuse", "/dev/cuse"] {
        expect_that(sys::exists(path), || format!("{path} is missing"))?;
    }
    expect(PAGES_TOTAL, counters::read(PAGES_TOTAL)?, 0)?;
    let limit = counters::read(LIMIT_PER_CONNECTION)?;
    expect_that(limit > 0, || format!("{LIMIT_PER_CONNECTION} is 0"))?;
    counters::read(LIMIT_TOTAL).map(drop)
}

/// read(2) and write(2) of the file reach the server, and open(2) sends one FUSE_OPEN.
fn open(case: &mut Case) -> Result<(), Failure> {
    let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
    for seed in 1..=case.param("rounds")? {
        client.write_read(seed * 100, 3000, seed)?;
    }
    expect("FUSE_OPENs", server.log()?.opens, 1)?;
    server.quit_after([client])
}

/// Each mmap of the file sends one FUSE_MMAP, and every field of the request has the right value.
fn redirect(case: &mut Case) -> Result<(), Failure> {
    let page = page_size() as u64;
    let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
    let pages: u64 = case.param("pages")?;
    for (index, offset) in [0, 5 * page].into_iter().enumerate() {
        let map = client.map(offset, (pages * page) as usize)?;
        let log = server.log()?;
        expect("FUSE_MMAPs", log.mmaps, index as u64 + 1)?;
        let mmap = log.last_mmaps[index];
        expect("pid of the FUSE_MMAP", mmap.pid, client.pid())?;
        expect("fh of the FUSE_MMAP", mmap.fh, 1)?;
        expect("offset of the FUSE_MMAP", mmap.offset, offset)?;
        expect("length of the FUSE_MMAP", mmap.length, pages * page)?;
        expect("prot of the FUSE_MMAP", mmap.prot, PROT_READ | PROT_WRITE)?;
        expect("flags of the FUSE_MMAP", mmap.flags, MAP_SHARED)?;
        expect("period of the FUSE_MMAP", mmap.period, log.period)?;
        let colour = client.area(map)?.start % u64::from(mmap.period);
        expect("colour of the FUSE_MMAP", u64::from(mmap.colour), colour)?;
    }
    client.map_readonly(0, page as usize)?;
    let log = server.log()?;
    expect("FUSE_MMAPs", log.mmaps, 3)?;
    expect("prot of a read-only FUSE_MMAP", log.last_mmaps[2].prot, PROT_READ)?;
    let (colour, period) = (page % case.period(), case.period());
    let fixed = client.try_map_at(9 * page, page as usize, colour, period)?;
    expect_ok("a mmap with MAP_FIXED", fixed)?;
    let mmap = server.log()?.last_mmaps[3];
    expect("colour of a FUSE_MMAP with MAP_FIXED", u64::from(mmap.colour), colour)?;
    server.quit_after([client])
}

/// INIT offers direct mmap and reports a valid cache period, which equals that of the target.
fn period(case: &mut Case) -> Result<(), Failure> {
    let page = page_size() as u32;
    let mut server = case.serve()?;
    let log = server.log()?;
    let period = log.period;
    expect_that(period.is_power_of_two() && period >= page, || {
        format!("the period: expected a power of two that is at least {page}, found {period}")
    })?;
    expect("the period", u64::from(period), case.period())?;
    expect_that(log.offered, || "INIT does not offer direct mmap".into())?;
    case.figure("period_bytes", f64::from(period));
    server.quit()
}

/// Prints lines while the kernel prints lines too; both must arrive complete.
fn noise(case: &mut Case) -> Result<(), Failure> {
    for line in 0..case.param::<u32>("lines")? {
        case.log(&format!("line {line} of the case, [    1.234567] stamped"));
        // <14>: user, info.
        sys::append_file("/dev/kmsg", format!("<14>noise: line {line}\n").as_bytes())?;
    }
    Ok(())
}

/// A store on one side is visible to a load on the other, in both directions, on every page.
fn both_sides(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let pages: usize = case.param("pages")?;
    let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
    let client_map = client.map(0, pages * page)?;
    let server_map = server.map_pages(server.page_id(0)?, pages)?;
    for round in 0..case.param("rounds")? {
        for index in 0..pages {
            let at = index * page + 8 * index;
            let [first, second] = [0, 1].map(|way| pattern::word(2 * round + way, index as u64));
            client.store(client_map, at, first)?;
            expect(
                "the client's store, loaded by the server",
                server.load(server_map, at)?,
                first,
            )?;
            server.store(server_map, at, second)?;
            expect(
                "the server's store, loaded by the client",
                client.load(client_map, at)?,
                second,
            )?;
        }
    }
    server.quit_after([client])
}

/// The last unmap of a mapping sends exactly one FUSE_MUNMAP, which names that mapping.
fn munmap(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
    let offset = 3 * page as u64;
    let first = client.map(offset, 2 * page)?;
    client.store(first, page, 1)?;
    let second = client.map(0, page)?;
    expect("FUSE_MUNMAPs before any unmap", server.log()?.munmaps, 0)?;

    client.unmap(first)?;
    let munmap = server.await_munmaps(1)?.last_munmaps[0];
    expect("fh of the FUSE_MUNMAP", munmap.fh, 1)?;
    let page_id = server.page_id(offset)?;
    expect("page ID of the FUSE_MUNMAP", munmap.page_id, page_id)?;
    expect("offset of the FUSE_MUNMAP", munmap.offset, offset)?;
    expect("length of the FUSE_MUNMAP", munmap.length, 2 * page as u64)?;

    client.unmap(second)?;
    expect("offset of the second FUSE_MUNMAP", server.await_munmaps(2)?.last_munmaps[1].offset, 0)?;
    server.quit_after([client])
}

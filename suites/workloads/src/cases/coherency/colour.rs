// SPDX-License-Identifier: MIT OR Apache-2.0
//! Addresses of the mappings of a page, on machines whose data cache is indexed by virtual address.

use server::{Behaviour, OnMmap};
use sys::{Errno, Fd, Mapping, Prot, Sharing, memfd, page_size};

use crate::stage::{Case, Failure, Process, Workload, expect};

pub(crate) const WORKLOADS: &[(&str, Workload)] =
    &[("reference", reference), ("addresses", addresses), ("placed", placed)];

/// Checks how the kernel places shared mappings of a tmpfs file, for comparison with direct mmap. Addresses that the
/// kernel chooses are equal modulo the period. For addresses that the program chooses, the period is the shortest
/// distance that the kernel allows.
fn reference(case: &mut Case) -> Result<(), Failure> {
    let (page, period) = (page_size(), case.period());
    let file = memfd("reference", page as u64)?;
    let map = || Mapping::of(&file, 0, page, Prot::ReadWrite, Sharing::Shared);
    let first = map()?;
    let mut others = Vec::new();
    for value in 1..=4u64 {
        // Another mapping in between, so that the next free address is not the next page.
        let other = (map()?, Mapping::anonymous(page, Prot::Read)?);
        let distance = other.0.address().abs_diff(first.address());
        expect("distance modulo the period", distance % period, 0)?;
        other.0.store(0, value);
        expect("a store, loaded at the first address", first.load(0), value)?;
        others.push(other);
    }
    let allowed = shortest_distance(&file, &first, period)?;
    case.figure("period_bytes", allowed as f64);
    expect("the shortest distance allowed", allowed, period)
}

/// Returns the shortest distance from `first`, a power of two of pages, at which the kernel lets `file` be mapped
/// again. Tries distances below `most` bytes; returns `most` if the kernel refuses all of them.
fn shortest_distance(file: &Fd, first: &Mapping, most: u64) -> Result<u64, Failure> {
    let page = page_size() as u64;
    let mut distance = page;
    while distance < most {
        // Any range of this size contains an address that equals that of `first` plus `distance`, modulo `most`.
        let room = Mapping::anonymous((3 * most) as usize, Prot::None)?;
        let offset = (first.address() + distance).wrapping_sub(room.address()) % most;
        let (_, place) = room.split(offset as usize);
        let (place, _) = place.split(page as usize);
        match place.replace(file, 0, Prot::ReadWrite, Sharing::Shared) {
            Ok(_) => return Ok(distance),
            Err(error) if error.errno == Errno::EINVAL => distance *= 2,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(distance)
}

/// The addresses of all mappings of a page, in all processes, are equal modulo the period.
fn addresses(case: &mut Case) -> Result<(), Failure> {
    let (page, period) = (page_size(), case.period());
    let mut server = case.serve()?;
    let mut first = case.client("first", &server)?;
    let mut second = case.client("second", &server)?;
    for offset in [0, page as u64, 7 * page as u64] {
        let id = server.page_id(offset)?;
        let mut starts = Vec::new();
        for _ in 0..2 {
            for client in [&mut first, &mut second] {
                let map = client.map(offset, page)?;
                starts.push(client.area(map)?.start);
            }
            let map = server.map_pages(id, 1)?;
            starts.push(server.area(map)?.start);
        }
        for start in &starts {
            let distance = start.abs_diff(starts[0]);
            expect("distance modulo the period", distance % period, 0)?;
        }
    }
    server.quit_after([first, second])
}

/// The server answers with page IDs of every colour. The mapping's address has the colour of the page, and the server
/// gets one FUSE_MMAP for each mmap.
fn placed(case: &mut Case) -> Result<(), Failure> {
    let (page, period) = (page_size(), case.period());
    let rounds: u64 = case.param("rounds")?;
    let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
    let mut round = 0;
    for page_id in case.param::<Vec<u64>>("page_ids")? {
        server.behave(Behaviour::with_mmap(OnMmap::Fixed { page_id }))?;
        let server_map = server.map_pages(page_id, 1)?;
        for _ in 0..rounds {
            round += 1;
            let client_map = client.map(0, page)?;
            let colour = client.area(client_map)?.start % period;
            expect("colour of the mapping", colour, page_id * page as u64 % period)?;
            expect("FUSE_MMAPs while the mapping exists", server.log()?.mmaps, round)?;
            client.store(client_map, 0, round)?;
            expect("a store, loaded by the server", server.load(server_map, 0)?, round)?;
            client.unmap(client_map)?;
            let log = server.await_munmaps(round)?;
            expect("FUSE_MMAPs", log.mmaps, round)?;
            expect("FUSE_MUNMAPs", log.munmaps, round)?;
        }
    }
    server.quit_after([client])
}

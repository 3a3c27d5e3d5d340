// SPDX-License-Identifier: MIT OR Apache-2.0
//! Measurements: throughput of two processes that exchange blocks, time of a first touch, and throughput of a server
//! that loads and saves pages by page ID. Each is compared with other ways to do the same.

use server::Behaviour;
use sys::{memfd, page_size};

use crate::stage::command::Map;
use crate::stage::role::{DATA, Role};
use crate::stage::waiting::shrink_until;
use crate::stage::{Case, Failure, Process, Workload};

pub(crate) const WORKLOADS: &[(&str, Workload)] =
    &[("exchange", exchange), ("touches", touches), ("load-save", load_save)];

/// Size and number of the blocks of one measurement.
struct Job {
    size: usize,
    rounds: u32,
}

impl Job {
    /// Returns the throughput of `rounds` rounds that took `nanos`. In each round one block goes in each direction.
    fn mib_per_second(&self, nanos: u64, rounds: u32) -> f64 {
        let bytes = 2.0 * self.size as f64 * f64::from(rounds);
        bytes / f64::from(1 << 20) / (nanos as f64 / 1e9)
    }

    /// Returns the number of bytes to map.
    fn len(&self) -> usize {
        (DATA + self.size).next_multiple_of(page_size())
    }
}

/// Measures the exchange of blocks through direct mmap, a memfd and direct I/O, and keeps the best of several
/// measurements. The three take turns: if the machine is slow for a while, all three measurements are affected.
fn exchange(case: &mut Case) -> Result<(), Failure> {
    let sizes: Vec<usize> = case.param("sizes")?;
    let mib: usize = case.param("mib")?;
    let direct_io_mib: usize = case.param("direct_io_mib")?;
    let repeats: u32 = case.param("repeats")?;
    for size in sizes {
        let rounds = |mib: usize| ((mib << 20) / size / 2).max(2) as u32;
        let job = Job { size, rounds: rounds(mib) };
        // Direct I/O reaches a tenth of the speed or less: the same number of rounds would exceed the deadline.
        let direct_io = Job { size, rounds: rounds(direct_io_mib) };
        for _ in 0..repeats {
            let figures = [
                ("dmmap", by_dmmap(case, &job)?),
                ("memfd", by_memfd(case, &job)?),
                ("fuse_dio", by_direct_io(case, &direct_io)?),
            ];
            for (way, found) in figures {
                let name = format!("{way}_{}k_mib_s", size >> 10);
                let best = case.figures.get(&name).copied().unwrap_or(0.0);
                case.figure(name, best.max(found));
            }
        }
    }
    Ok(())
}

fn by_dmmap(case: &mut Case, job: &Job) -> Result<f64, Failure> {
    let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
    let map = client.map(0, job.len())?;
    let server_map = server.map_pages(server.page_id(0)?, job.len() / page_size())?;
    let speed = exchange_blocks(job, (&mut client, map), (&mut server, server_map))?;
    server.quit_after([client])?;
    Ok(speed)
}

fn by_memfd(case: &mut Case, job: &Job) -> Result<f64, Failure> {
    let file = memfd("exchange", job.len() as u64)?;
    let mut a = case.client_of("process a", &file)?;
    let mut b = case.client_of("process b", &file)?;
    let map_a = a.map(0, job.len())?;
    let map_b = b.map(0, job.len())?;
    let speed = exchange_blocks(job, (&mut a, map_a), (&mut b, map_b))?;
    a.quit()?;
    b.quit()?;
    Ok(speed)
}

/// Has two processes exchange blocks through memory that both have mapped; returns the throughput.
fn exchange_blocks(
    job: &Job,
    (leader, leader_map): (&mut impl Process, Map),
    (other, other_map): (&mut impl Process, Map),
) -> Result<f64, Failure> {
    let role = |leads| Role::Exchange { leads, size: job.size, rounds: job.rounds };
    other.start_role(other_map, role(false))?;
    leader.start_role(leader_map, role(true))?;
    let figures = leader.finish_role()?;
    other.finish_role()?;
    let nanos = figures.iter().find(|(name, _)| name == "nanos");
    let nanos = nanos.map(|(_, nanos)| *nanos);
    let nanos = nanos.ok_or_else(|| Failure::new("the exchange was not timed"))?;
    // The first round is not timed.
    Ok(job.mib_per_second(nanos, job.rounds - 1))
}

fn by_direct_io(case: &mut Case, job: &Job) -> Result<f64, Failure> {
    let (server, mut client) = case.serve_with_client(Behaviour::default())?;
    let [write, read] = client.throughput(job.size, job.rounds)?;
    let nanos = (write + read).as_nanos() as u64;
    server.quit_after([client])?;
    Ok(job.mib_per_second(nanos, job.rounds))
}

/// Measures the first touch of four kinds of pages: added by the kernel, filled by the server, filled by the server
/// again after it has given the page back, and a page of a memfd. Keeps the best of several measurements.
fn touches(case: &mut Case) -> Result<(), Failure> {
    let pages: usize = case.param("pages")?;
    let len = pages * page_size();
    for _ in 0..case.param("repeats")? {
        let plain = touch_plain(case, len)?;
        let [filled, again] = touch_lazy(case, len)?;
        let file = memfd("touches", len as u64)?;
        let mut client = case.client_of("client", &file)?;
        let map = client.map(0, len)?;
        let memfd = client.time_touches(map)?;
        client.quit()?;
        for (name, nanos) in [
            ("touch_us", plain),
            ("touch_filled_by_server_us", filled),
            ("touch_after_reclaim_us", again),
            ("touch_memfd_us", memfd),
        ] {
            let found = nanos as f64 / 1e3 / pages as f64;
            let best = case.figures.get(name).copied().unwrap_or(f64::MAX);
            case.figure(name, best.min(found));
        }
    }
    Ok(())
}

fn touch_plain(case: &mut Case, len: usize) -> Result<u64, Failure> {
    let (server, mut client) = case.serve_with_client(Behaviour::default())?;
    let map = client.map(0, len)?;
    let nanos = client.time_touches(map)?;
    server.quit_after([client])?;
    Ok(nanos)
}

/// Returns the times of the first touches and of the touches after every page was given back.
fn touch_lazy(case: &mut Case, len: usize) -> Result<[u64; 2], Failure> {
    let (server, mut client) = case.serve_with_client(Behaviour::lazy())?;
    let map = client.map(0, len)?;
    let first = client.time_touches(map)?;
    shrink_until(|| Ok(server.pages()? == 0))?;
    let again = client.time_touches(map)?;
    server.quit_after([client])?;
    Ok([first, again])
}

/// Measures FUSE_NOTIFY_DMMAP_LOAD and FUSE_NOTIFY_DMMAP_SAVE of pages that a client has mapped. For comparison, it
/// measures the client's write(2) and read(2) of the same number of bytes; each of them is a request to the server.
fn load_save(case: &mut Case) -> Result<(), Failure> {
    let sizes: Vec<usize> = case.param("sizes")?;
    let mib: usize = case.param("mib")?;
    for size in sizes {
        let rounds = ((mib << 20) / size).max(2) as u32;
        let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
        client.map(0, size.next_multiple_of(page_size()))?;
        let [load, save] = server.time_by_id(size, rounds)?;
        let [write, read] = client.throughput(size, rounds)?;
        for (way, time) in [("load", load), ("save", save), ("write", write), ("read", read)] {
            let bytes = f64::from(rounds) * size as f64;
            let speed = bytes / f64::from(1 << 20) / time.as_secs_f64();
            case.figure(format!("{way}_{}k_mib_s", size >> 10), speed);
        }
        server.quit_after([client])?;
    }
    Ok(())
}

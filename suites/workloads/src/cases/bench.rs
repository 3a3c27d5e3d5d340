// SPDX-License-Identifier: MIT OR Apache-2.0
//! Figures: how fast two processes exchange blocks, how long a first touch takes, how fast a server writes and reads pages
//! that it has not mapped; each beside what others have for it.

use server::Behaviour;
use sys::{memfd, page_size};

use crate::stage::command::Map;
use crate::stage::role::{DATA, Role};
use crate::stage::waiting::shrink_until;
use crate::stage::{Case, Failure, Process, Workload};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("exchange", exchange),
    ("touches", touches),
    ("load-save", load_save),
];

/// What one size is measured with.
struct Job {
    size: usize,
    rounds: u32,
}

impl Job {
    /// Blocks go both ways in every round; the first round is not timed.
    fn mib_per_second(&self, nanos: u64, rounds: u32) -> f64 {
        let bytes = 2.0 * self.size as f64 * f64::from(rounds);
        bytes / f64::from(1 << 20) / (nanos as f64 / 1e9)
    }

    /// Bytes to map.
    fn len(&self) -> usize {
        (DATA + self.size).next_multiple_of(page_size())
    }
}

/// Takes turns with the three ways, so that a machine that is slow for a while is slow for all of them, and keeps the best.
fn exchange(case: &mut Case) -> Result<(), Failure> {
    let sizes: Vec<usize> = case.param("sizes")?;
    let mib: usize = case.param("mib")?;
    let direct_io_mib: usize = case.param("direct_io_mib")?;
    let repeats: u32 = case.param("repeats")?;
    for size in sizes {
        let rounds = |mib: usize| ((mib << 20) / size / 2).max(2) as u32;
        let job = Job {
            size,
            rounds: rounds(mib),
        };
        // A tenth of the speed or less: as many rounds would take all the time there is.
        let slow = Job {
            size,
            rounds: rounds(direct_io_mib),
        };
        for _ in 0..repeats {
            let figures = [
                ("dmmap", by_dmmap(case, &job)?),
                ("memfd", by_memfd(case, &job)?),
                ("fuse_dio", by_direct_io(case, &slow)?),
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
    let mut server = case.serve()?;
    let mut client = case.client("client", &server)?;
    let map = client.map(0, job.len())?;
    let here = server.map_pages(server.page_id(0)?, job.len() / page_size())?;
    let speed = play(job, (&mut client, map), (&mut server, here))?;
    client.quit()?;
    server.quit()?;
    Ok(speed)
}

fn by_memfd(case: &mut Case, job: &Job) -> Result<f64, Failure> {
    let file = memfd("exchange", job.len() as u64)?;
    let mut a = case.client_of("process a", &file)?;
    let mut b = case.client_of("process b", &file)?;
    let of_a = a.map(0, job.len())?;
    let of_b = b.map(0, job.len())?;
    let speed = play(job, (&mut a, of_a), (&mut b, of_b))?;
    a.quit()?;
    b.quit()?;
    Ok(speed)
}

/// The same for both kinds of memory.
fn play(
    job: &Job,
    (leader, of_leader): (&mut impl Process, Map),
    (other, of_other): (&mut impl Process, Map),
) -> Result<f64, Failure> {
    let part = |leads| Role::Exchange {
        leads,
        size: job.size,
        rounds: job.rounds,
    };
    other.start_role(of_other, part(false))?;
    leader.start_role(of_leader, part(true))?;
    let figures = leader.finish_role()?;
    other.finish_role()?;
    let nanos = figures.iter().find(|(name, _)| name == "nanos");
    let nanos = nanos.map(|(_, nanos)| *nanos);
    let nanos = nanos.ok_or_else(|| Failure::new("the exchange was not timed"))?;
    Ok(job.mib_per_second(nanos, job.rounds - 1))
}

fn by_direct_io(case: &mut Case, job: &Job) -> Result<f64, Failure> {
    let server = case.serve()?;
    let mut client = case.client("client", &server)?;
    let [write, read] = client.throughput(job.size, job.rounds)?;
    let nanos = (write + read).as_nanos() as u64;
    client.quit()?;
    server.quit()?;
    Ok(job.mib_per_second(nanos, job.rounds))
}

/// The first touch of a page: one that the kernel adds, one that the server fills, one that it fills again after it gave
/// the page back, and one of a memfd. The best of several.
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
    let server = case.serve()?;
    let mut client = case.client("client", &server)?;
    let map = client.map(0, len)?;
    let nanos = client.time_touches(map)?;
    client.quit()?;
    server.quit()?;
    Ok(nanos)
}

/// For the first time, and after every page was given back.
fn touch_lazy(case: &mut Case, len: usize) -> Result<[u64; 2], Failure> {
    let server = case.serve_as(Behaviour::lazy())?;
    let mut client = case.client("client", &server)?;
    let map = client.map(0, len)?;
    let first = client.time_touches(map)?;
    shrink_until(|| Ok(server.pages()? == 0))?;
    let again = client.time_touches(map)?;
    client.quit()?;
    server.quit()?;
    Ok([first, again])
}

/// FUSE_NOTIFY_DMMAP_LOAD and _SAVE of pages that a client has mapped, beside the client's write(2) and read(2) of as many
/// bytes, each of which is a request that the server answers.
fn load_save(case: &mut Case) -> Result<(), Failure> {
    let sizes: Vec<usize> = case.param("sizes")?;
    let mib: usize = case.param("mib")?;
    for size in sizes {
        let rounds = ((mib << 20) / size).max(2) as u32;
        let mut server = case.serve()?;
        let mut client = case.client("client", &server)?;
        client.map(0, size.next_multiple_of(page_size()))?;
        let [load, save] = server.time_by_id(size, rounds)?;
        let [write, read] = client.throughput(size, rounds)?;
        for (way, time) in [
            ("load", load),
            ("save", save),
            ("write", write),
            ("read", read),
        ] {
            let bytes = f64::from(rounds) * size as f64;
            let speed = bytes / f64::from(1 << 20) / time.as_secs_f64();
            case.figure(format!("{way}_{}k_mib_s", size >> 10), speed);
        }
        client.quit()?;
        server.quit()?;
    }
    Ok(())
}

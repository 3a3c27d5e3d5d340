// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client that maps, touches and unmaps a page of its own server, while another connection does something costly.
//!
//! On a machine with one processor, the bystander shares it with the other connection, and is slower for that reason
//! alone. It is therefore compared with itself beside a memfd, whose page is mapped as often and with which processes do
//! the same. The longest of its rounds shows a lock that is held for long, or a processor that is not given up.

use std::time::Duration;

use serde::Deserialize;
use server::Behaviour;
use sys::{Instant, page_size};

use super::{DirectPage, MemfdPage, PAGES, many, quick_behaviour, time_request};
use crate::stage::counters::{self, LIMIT_PER_CONNECTION};
use crate::stage::crowd::CrowdCommand;
use crate::stage::growth::last_start;
use crate::stage::{Case, Client, Failure, Server, Workload, expect_that};

pub(crate) const WORKLOADS: &[(&str, Workload)] =
    &[("bystander", bystander), ("neighbour", neighbour)];

/// Number of times that the bystander is watched as long as it looks too slow.
const ATTEMPTS: u32 = 8;

/// Time of one watch.
const WATCH: Duration = Duration::from_millis(500);

/// Page of the file that only the bystander maps.
pub(super) const OWN_PAGE: u64 = 16;

/// Number of requests of a round: FUSE_MMAP, FUSE_DMMAP_FAULT and FUSE_MUNMAP.
const REQUESTS_PER_ROUND: u32 = 3;

/// Activity of the other connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Activity {
    /// Its server frees a page with many mappings.
    Free,
    /// Its server gives back a page with many mappings.
    Reclaim,
    /// Processes with many mappings of a page exit.
    Exit,
    /// Its server reads none of many requests.
    Unread,
}

/// Limits of the times beside the other connection, as multiples of those beside the memfd.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BystanderLimits {
    /// Highest multiple of the mean time of a round.
    mean: f64,
    /// Highest multiple of the time of the longest round.
    longest: f64,
}

/// Times of the bystander's rounds.
#[derive(Clone, Copy, Debug)]
struct Watched {
    mean: Duration,
    longest: Duration,
}

impl Watched {
    const SLOWEST: Watched = Watched { mean: Duration::MAX, longest: Duration::MAX };

    fn best(self, other: Watched) -> Watched {
        Watched { mean: self.mean.min(other.mean), longest: self.longest.min(other.longest) }
    }
}

/// The bystander is about as fast beside the other connection as beside a memfd.
fn bystander(case: &mut Case) -> Result<(), Failure> {
    let activity: Activity = case.param("beside")?;
    counters::set(LIMIT_PER_CONNECTION, PAGES)?;
    // The bystander and its server share one processor, the other connection has another one if there is any.
    sys::run_on_processor(0)?;
    let own_server = case.serve()?;
    let mut bystander = case.client("bystander", &own_server)?;
    let _ = sys::run_on_processor(1);
    let mut crowds = Crowds::start(case)?;
    let mut unread = match activity {
        Activity::Unread => Some(unread_munmaps(case, crowds.mappings)?),
        _ => None,
    };
    compare(case, &mut bystander, None, &mut crowds, activity)?;
    unread.take().map_or(Ok(()), Server::kill)?;
    bystander.quit()?;
    crowds.quit()?;
    own_server.quit()
}

/// A client of the same connection is about as slow while the server frees a page of others as a client that maps
/// another page of the memfd. The server has two processes: one frees, the other answers the requests. The client of the
/// memfd keeps the processor as busy as the requests do.
fn neighbour(case: &mut Case) -> Result<(), Failure> {
    sys::run_on_processor(0)?;
    let mut crowds = Crowds::start(case)?;
    let server = &mut crowds.direct.server;
    let mut second = server.fork("second server process")?;
    second.behave(quick_behaviour())?;
    let mut neighbour = case.client("neighbour", server)?;
    let work = REQUESTS_PER_ROUND * time_request(&mut neighbour)?;
    let mut of_memfd = crowds.memfd.neighbour(case)?;
    compare(case, &mut neighbour, Some((&mut of_memfd, work)), &mut crowds, Activity::Free)?;
    neighbour.quit()?;
    of_memfd.quit()?;
    second.kill()?;
    crowds.quit()
}

/// Many mappings of a page of a server, and as many of a page of a memfd.
struct Crowds {
    direct: DirectPage,
    memfd: MemfdPage,
    /// Number of mappings of each page.
    mappings: usize,
    /// Number of processes that share each page, besides the first.
    processes: usize,
}

impl Crowds {
    fn start(case: &mut Case) -> Result<Crowds, Failure> {
        let each: usize = case.param("each")?;
        let mappings: usize = case.param("mappings")?;
        let processes = (mappings / each).saturating_sub(1);
        Ok(Crowds {
            memfd: MemfdPage::start(case, each, processes)?,
            direct: DirectPage::start(case, each, processes)?,
            mappings,
            processes,
        })
    }

    fn act_on_memfd(&mut self, activity: Activity) -> Result<(), Failure> {
        match activity {
            Activity::Free | Activity::Reclaim => self.memfd.punch().map(drop),
            Activity::Exit => self.memfd.renew(self.processes),
            Activity::Unread => pause(),
        }
    }

    fn act(&mut self, activity: Activity) -> Result<(), Failure> {
        match activity {
            Activity::Free => self.direct.free().map(drop),
            Activity::Reclaim => self.direct.reclaim().map(drop),
            Activity::Exit => self.direct.renew(self.processes),
            Activity::Unread => pause(),
        }
    }

    fn quit(self) -> Result<(), Failure> {
        self.direct.quit()?;
        self.memfd.quit().map(drop)
    }
}

/// Watches a client while nothing else happens, beside the memfd, and beside direct mmap. Reports the times, and fails if
/// the client is much slower beside direct mmap than beside the memfd. With `of_memfd`, another client is watched beside
/// the memfd, which it maps itself, with the given work in each round.
fn compare(
    case: &mut Case,
    client: &mut Client,
    mut of_memfd: Option<(&mut Client, Duration)>,
    crowds: &mut Crowds,
    activity: Activity,
) -> Result<(), Failure> {
    let limits: BystanderLimits = case.param("limits")?;
    let start = Instant::now();
    let [mut idle, mut beside_memfd, mut beside] = [Watched::SLOWEST; 3];
    let mut verdict = Ok(());
    for _ in 0..ATTEMPTS {
        idle = idle.best(watch(client, Duration::ZERO, pause)?);
        let act_on_memfd = || crowds.act_on_memfd(activity);
        beside_memfd = beside_memfd.best(match &mut of_memfd {
            Some((other, work)) => watch(other, *work, act_on_memfd)?,
            None => watch(client, Duration::ZERO, act_on_memfd)?,
        });
        beside = beside.best(watch(client, Duration::ZERO, || crowds.act(activity))?);
        verdict = judge(beside, beside_memfd, &limits);
        if verdict.is_ok() || start.elapsed() > last_start(case) {
            break;
        }
    }
    for (name, watched) in [("idle", idle), ("memfd", beside_memfd), ("beside", beside)] {
        case.figure(format!("round_{name}_us"), micros(watched.mean));
        case.figure(format!("longest_round_{name}_us"), micros(watched.longest));
    }
    verdict
}

/// Does nothing for the time of a watch.
fn pause() -> Result<(), Failure> {
    sys::sleep(WATCH);
    Ok(())
}

/// Repeats `act` while the bystander does rounds with the given work, and returns the times of the rounds.
fn watch(
    bystander: &mut Client,
    work: Duration,
    mut act: impl FnMut() -> Result<(), Failure>,
) -> Result<Watched, Failure> {
    bystander.start_rounds(OWN_PAGE * page_size() as u64, WATCH, work)?;
    let start = Instant::now();
    while start.elapsed() < WATCH {
        act()?;
    }
    let (rounds, all, longest) = bystander.finish_rounds()?;
    Ok(Watched { mean: all / rounds, longest })
}

fn judge(beside: Watched, beside_memfd: Watched, limits: &BystanderLimits) -> Result<(), Failure> {
    let rows = [
        ("mean time of a round", beside.mean, beside_memfd.mean, limits.mean),
        ("longest round", beside.longest, beside_memfd.longest, limits.longest),
    ];
    for (what, found, memfd, limit) in rows {
        let ratio = found.as_secs_f64() / memfd.as_secs_f64();
        expect_that(ratio <= limit, || {
            format!(
                "{what} of the bystander: expected at most {limit} times the time beside a memfd, found {ratio:.1} times \
                 ({:.2} ms and {:.2} ms)",
                micros(found) / 1e3,
                micros(memfd) / 1e3
            )
        })?;
    }
    Ok(())
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}

/// Starts a server that does not read `count` FUSE_MUNMAPs.
fn unread_munmaps(case: &mut Case, count: usize) -> Result<Server, Failure> {
    let mut server = case.serve()?;
    let mut client = case.client("client of the silent server", &server)?;
    // Another process has the file open, so that the client does not wait for FUSE_FLUSH or FUSE_RELEASE at its end.
    let keeper = client.fork("keeper")?;
    client.crowd(many(case, count, count))?;
    client.close()?;
    server.behave(Behaviour { reads_nothing: true, ..Behaviour::default() })?;
    client.crowd(CrowdCommand::Unmap { count })?;
    client.quit()?;
    drop(keeper);
    Ok(server)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_bystander_fails() {
        let watched = |mean, longest| {
            let [mean, longest] = [mean, longest].map(Duration::from_micros);
            Watched { mean, longest }
        };
        let limits = BystanderLimits { mean: 4.0, longest: 10.0 };
        let reason = |beside| match judge(beside, watched(500, 2000), &limits) {
            Err(Failure::Fail(reason)) => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(judge(watched(900, 9000), watched(500, 2000), &limits), Ok(()));
        insta::assert_snapshot!(reason(watched(900, 4_000_000)), @"longest round of the bystander: expected at most 10 times the time beside a memfd, found 2000.0 times (4000.00 ms and 2.00 ms)");
        insta::assert_snapshot!(reason(watched(2500, 9000)), @"mean time of a round of the bystander: expected at most 4 times the time beside a memfd, found 5.0 times (2.50 ms and 0.50 ms)");
    }
}

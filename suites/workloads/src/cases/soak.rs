// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cases that take minutes.

use server::Behaviour;
use sys::{Errno, page_size};

use crate::stage::counters::{self, LIMIT_MAPS};
use crate::stage::waiting::{holding_mmaps, waiting_client};
use crate::stage::{Case, Failure, Process, Workload, expect};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[("unanswered", unanswered)];

/// Killed clients leave FUSE_MMAPs that the server has not answered. They pile up to the limit on mappings; above it,
/// mmap fails with ENOMEM. After the server has answered them, mmap works again.
fn unanswered(case: &mut Case) -> Result<(), Failure> {
    let (page, limit) = (page_size(), case.param::<u64>("limit")?);
    counters::set(LIMIT_MAPS, limit)?;
    let mut server = case.serve_as(holding_mmaps())?;
    for _ in 0..limit {
        waiting_client(case, &mut server, "client", page)?.kill()?;
    }
    let mut client = case.client("one more client", &server)?;
    expect("one more mmap", client.try_map(0, page)?.err(), Some(Errno::ENOMEM))?;
    expect("FUSE_MMAPs", server.count_maps()?.0, limit)?;

    server.behave(Behaviour::default())?;
    server.await_munmaps(limit)?;
    let map = client.map(0, page)?;
    server.expect_store("a store, loaded by the server", &mut client, map, 1)?;
    client.quit()?;
    server.await_munmaps(limit + 1)?;
    server.quit()
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waiting for requests to reach the server, and server behaviours that make clients wait.

use std::time::Duration;

use server::abi::op;
use server::{Behaviour, Lazy, OnFault, OnMmap, OnReclaim, RequestLog, Unanswered};
use sys::{Instant, sleep, write_file};

use super::{Case, Client, Failure, Process, Server, expect_that};

/// Reaction to FUSE_DMMAP_FAULT that holds every request.
pub(crate) const HOLD_FAULTS: OnFault = OnFault::Hold { below: u64::MAX };

/// Longest wait for something that has already started. The failure then names what is missing, before the case's
/// deadline passes.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Longest time for a call that must not wait for the server, on an emulated machine. It bounds the wait of a case that
/// fails.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Time to wait for something that must not happen.
pub(crate) const MOMENT: Duration = Duration::from_millis(50);

/// Returns the behaviour of a server that fills pages, with these reactions to faults and reclaim.
pub(crate) fn lazy_behaviour(fault: OnFault, reclaim: OnReclaim) -> Behaviour {
    Behaviour { lazy: Some(Lazy { fault, reclaim }), ..Behaviour::default() }
}

/// Returns the behaviour of a server that holds every FUSE_DMMAP_FAULT.
pub(crate) fn holding_faults() -> Behaviour {
    lazy_behaviour(HOLD_FAULTS, OnReclaim::Save)
}

/// Waits until `enough` returns true for the server's log, and returns the log. `what` names the missing requests in
/// the failure.
pub(crate) fn await_requests(
    server: &mut Server,
    what: &str,
    enough: impl Fn(&RequestLog) -> bool,
) -> Result<RequestLog, Failure> {
    let start = Instant::now();
    loop {
        let log = server.log()?;
        if enough(&log) {
            return Ok(log);
        }
        expect_that(start.elapsed() < TIMEOUT, || missing(what, &log))?;
        sleep(Duration::from_millis(5));
    }
}

/// Returns the text of the failure if the wait for `what` timed out.
fn missing(what: &str, log: &RequestLog) -> String {
    format!(
        "waited {TIMEOUT:?} for {what}; the server received {} FUSE_MMAPs, {} FUSE_MUNMAPs, {} FUSE_DMMAP_FAULTs and \
         {} FUSE_DMMAP_RECLAIMs",
        log.mmaps, log.munmaps, log.faults, log.reclaims
    )
}

/// Returns the name of a request in the kernel's FUSE headers.
fn request_name(opcode: u32) -> String {
    match opcode {
        op::OPEN => "FUSE_OPEN",
        op::INIT => "FUSE_INIT",
        op::MMAP => "FUSE_MMAP",
        op::MUNMAP => "FUSE_MUNMAP",
        op::DMMAP_FAULT => "FUSE_DMMAP_FAULT",
        op::DMMAP_RECLAIM => "FUSE_DMMAP_RECLAIM",
        op::CUSE_INIT => "CUSE_INIT",
        other => return format!("request with opcode {other}"),
    }
    .into()
}

/// Waits until the kernel has made a request that the server has not answered, for a server that reads nothing.
pub(crate) fn await_pending_request(server: &Server) -> Result<(), Failure> {
    let start = Instant::now();
    while server.pending_requests()? == 0 {
        expect_that(start.elapsed() < TIMEOUT, || {
            format!("waited {TIMEOUT:?} for a request to the server")
        })?;
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Has the kernel call all shrinkers.
pub(crate) fn shrink_caches() -> Result<(), Failure> {
    // 2 frees reclaimable slab objects (Documentation/admin-guide/sysctl/vm.rst).
    Ok(write_file("/proc/sys/vm/drop_caches", b"2")?)
}

/// Has the kernel shrink its caches, which reclaims direct-mapped pages, until `enough` returns true.
pub(crate) fn shrink_until(
    mut enough: impl FnMut() -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let start = Instant::now();
    while !enough()? {
        shrink_caches()?;
        expect_that(start.elapsed() < TIMEOUT, || {
            format!("the kernel did not reclaim enough pages within {TIMEOUT:?} of dropping caches")
        })?;
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Returns the behaviour of a server that holds every FUSE_MMAP.
pub(crate) fn holding_mmaps() -> Behaviour {
    Behaviour::with_mmap(OnMmap::Hold)
}

/// Fails unless the command that a client has started is done within [`CALL_TIMEOUT`], and succeeds. `what` names the
/// command and the condition in which it must succeed.
pub(crate) fn expect_returns(what: &str, client: &mut Client) -> Result<(), Failure> {
    expect_that(client.is_done_within(CALL_TIMEOUT)?, || {
        format!("{what} did not return within {CALL_TIMEOUT:?}")
    })?;
    client.finish_call()
}

/// Waits until `enough` returns true, for at most [`CALL_TIMEOUT`]. `what` says what was wrong until then.
pub(crate) fn await_that(
    what: &str,
    mut enough: impl FnMut() -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let start = Instant::now();
    while !enough()? {
        expect_that(start.elapsed() < CALL_TIMEOUT, || format!("{what}, for {CALL_TIMEOUT:?}"))?;
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Returns the behaviour of a server that holds FUSE_INIT or CUSE_INIT.
pub(crate) fn holding_init() -> Behaviour {
    Behaviour { unanswered: Some(Unanswered::Init), ..Behaviour::default() }
}

/// Waits until the server has read a request with this opcode whose `unique` is not `before`, and returns its `unique`.
pub(crate) fn await_request(
    server: &mut Server,
    opcode: u32,
    before: Option<u64>,
) -> Result<u64, Failure> {
    let is_new = |unique: &u64| Some(*unique) != before;
    let what = format!("another {}", request_name(opcode));
    let log = await_requests(server, &what, |log| log.unique(opcode).as_ref().is_some_and(is_new))?;
    log.unique(opcode)
        .ok_or_else(|| Failure::new("the server's log no longer contains the request"))
}

/// Starts a client that waits in mmap of the first `len` bytes, and waits until the server has read its FUSE_MMAP. The
/// server must hold the request.
pub(crate) fn waiting_client(
    case: &Case,
    server: &mut Server,
    name: &str,
    len: usize,
) -> Result<Client, Failure> {
    let before = server.count_maps()?.0;
    let mut client = case.client(name, server)?;
    client.start_map(0, len)?;
    await_requests(server, "a FUSE_MMAP", |log| log.mmaps > before)?;
    Ok(client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_names_the_missing_request() {
        let log = RequestLog { mmaps: 2, faults: 1, ..RequestLog::default() };
        let what = format!("another {}", request_name(op::DMMAP_RECLAIM));
        insta::assert_snapshot!(missing(&what, &log), @"waited 20s for another FUSE_DMMAP_RECLAIM; the server received 2 FUSE_MMAPs, 0 FUSE_MUNMAPs, 1 FUSE_DMMAP_FAULTs and 0 FUSE_DMMAP_RECLAIMs");
        insta::assert_snapshot!(request_name(3), @"request with opcode 3");
    }
}

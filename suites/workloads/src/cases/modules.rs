// SPDX-License-Identifier: MIT OR Apache-2.0
//! FUSE and CUSE as modules, unloaded and loaded again. After each case, `init` loads what is missing.

use std::time::Duration;

use protocol::plan::Device;
use server::{Behaviour, OnFault, OnReclaim};
use sys::{Errno, Fd, OpenFlags, exists, page_size, sleep};

use crate::stage::counters::{self, LIMIT_MAPS, LIMIT_PER_CONNECTION, LIMIT_TOTAL, PAGES_TOTAL};
use crate::stage::failure::expect_ok;
use crate::stage::modules;
use crate::stage::pins::PinBy;
use crate::stage::waiting::{
    HOLD_FAULTS, await_requests, await_that, lazy_behaviour, shrink_caches, shrink_until,
};
use crate::stage::{Case, Failure, Process, Workload, expect, expect_that};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("reload", reload),
    ("busy", busy),
    ("killed-server", killed_server),
    ("pinned-pages", pinned_pages),
    ("rounds", rounds),
];

const FUSE: &str = "fuse";

/// Uses `fuse`.
const CUSE: &str = "cuse";

/// Files that the modules create.
const FILES: [&str; 6] = [
    "/dev/fuse",
    "/sys/module/fuse",
    "/sys/fs/fuse",
    "/dev/cuse",
    "/sys/module/cuse",
    "/sys/class/cuse",
];

/// Interval at which the kernel looks for pages that nothing keeps alive any more (fs/fuse/dmmap_pages.c,
/// dmmap_pinned_sweep()).
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

const LIMITS: [&str; 3] = [LIMIT_PER_CONNECTION, LIMIT_TOTAL, LIMIT_MAPS];

/// Skips the case if FUSE or CUSE is not a module.
fn need_modules() -> Result<(), Failure> {
    let names = modules::names()?;
    match [FUSE, CUSE].into_iter().find(|module| !names.iter().any(|name| name == module)) {
        Some(module) => Err(Failure::Skip(format!("{module} is built in"))),
        None => Ok(()),
    }
}

/// Unloads the module as soon as it is unused. The kernel drops some references a little later than the processes end.
fn unload(module: &str) -> Result<(), Failure> {
    await_that(&format!("{module} could not be unloaded, although nothing uses it"), || {
        match modules::unload(module) {
            Err(error) if error.errno == Errno::EAGAIN => Ok(false),
            unloaded => Ok(unloaded.map(|()| true)?),
        }
    })
}

/// Unloads both modules. Fails if one of their files remains. If the kernel could still call their functions, to shrink
/// caches, it crashes here. Once the modules are loaded again, that would go unnoticed: they often get the same addresses.
fn unload_both() -> Result<(), Failure> {
    modules::unmount_connections()?;
    unload(CUSE)?;
    unload(FUSE)?;
    shrink_caches()?;
    FILES.iter().try_for_each(|path| {
        expect_that(!exists(path), || format!("{path} exists, although the modules are unloaded"))
    })
}

/// Fails unless the kernel refuses to unload the module.
fn expect_busy(module: &str, user: &str) -> Result<(), Failure> {
    let unloaded = modules::unload(module).map_err(|error| error.errno);
    expect(&format!("unloading {module} while {user}"), unloaded, Err(Errno::EAGAIN))
}

/// Unmounts and unloads what uses the module of `device` although no server and no client does.
fn remove_other_users(device: Device) -> Result<(), Failure> {
    modules::unmount_connections()?;
    match device {
        Device::Fuse => unload(CUSE),
        Device::Cuse => Ok(()),
    }
}

/// Has a client use pages that the server fills, has the kernel ask for them back, and ends both processes.
fn serve(case: &mut Case, pages: usize, seed: u64) -> Result<(), Failure> {
    let len = pages * page_size();
    let (server, mut client) = case.serve_with_client(Behaviour::lazy())?;
    client.write_read(0, len, seed)?;
    let map = client.map(0, len)?;
    client.verify(map, 0, len, seed)?;
    client.fill(map, 0, len, seed + 1)?;
    shrink_until(|| Ok(server.pages()? == 0))?;
    client.verify(map, 0, len, seed + 1)?;
    server.quit_after([client])?;
    case.reuse_server_name();
    Ok(())
}

/// Unloads modules that have served and loads them, with and without a parameter. What was set before is forgotten.
fn reload(case: &mut Case) -> Result<(), Failure> {
    need_modules()?;
    let read = || LIMITS.iter().map(|path| counters::read(path)).collect::<Result<Vec<_>, _>>();
    let defaults = read()?;
    serve(case, 4, 1)?;
    LIMITS.iter().try_for_each(|path| counters::set(path, 3))?;
    unload_both()?;

    modules::load(FUSE, "dmmap_max_maps_conn=5")?;
    let [per_connection, total, _] = defaults[..] else { unreachable!("there are three limits") };
    expect(LIMIT_PER_CONNECTION, counters::read(LIMIT_PER_CONNECTION)?, per_connection)?;
    expect(LIMIT_TOTAL, counters::read(LIMIT_TOTAL)?, total)?;
    expect(LIMIT_MAPS, counters::read(LIMIT_MAPS)?, 5)?;
    unload(FUSE)?;

    modules::load_missing()?;
    for path in FILES {
        expect_that(exists(path), || {
            format!("{path} is missing, although the modules are loaded")
        })?;
    }
    for ((path, found), default) in LIMITS.iter().zip(read()?).zip(defaults) {
        expect(path, found, default)?;
    }
    expect(PAGES_TOTAL, counters::read(PAGES_TOTAL)?, 0)?;
    serve(case, 4, 5)
}

/// Tries to unload the module while less and less of a connection remains. At the end only a mapping is left, of the
/// client or of the server. The pages of the client's mapping keep their content.
fn busy(case: &mut Case) -> Result<(), Failure> {
    need_modules()?;
    let page = page_size();
    let device = case.device()?;
    let module = device.to_string();
    modules::unmount_connections()?;
    expect_busy(FUSE, "cuse is loaded")?;
    remove_other_users(device)?;
    let channel = Fd::open(&format!("/dev/{module}"), OpenFlags::READ | OpenFlags::WRITE)?;
    expect_busy(&module, "a channel is open")?;
    drop(channel);

    let (server, mut client) = case.serve_with_client(Behaviour::default())?;
    expect_busy(&module, "a server serves")?;
    let map = client.map(0, 2 * page)?;
    client.fill(map, 0, 2 * page, 1)?;
    server.quit()?;
    expect_busy(&module, "a client has the file open")?;
    client.close()?;
    expect_busy(&module, "a client has a mapping")?;
    client.verify(map, 0, 2 * page, 1)?;
    client.quit()?;
    unload(&module)?;
    modules::load_missing()?;

    remove_other_users(device)?;
    let mut server = case.serve()?;
    server.map_pages(server.page_id(0)?, 1)?;
    server.close_channel()?;
    server.unmount()?;
    expect_busy(&module, "a server has a mapping")?;
    server.kill()?;
    unload(&module)?;
    modules::load_missing()?;
    serve(case, 2, 2)
}

/// Kills a server that has not answered faults and reclaim of pages, and its clients, and unloads the modules as soon as
/// possible.
fn killed_server(case: &mut Case) -> Result<(), Failure> {
    need_modules()?;
    let len = case.param::<usize>("pages")? * page_size();
    for _ in 0..case.param::<u32>("rounds")? {
        let mut server = case.serve_as(lazy_behaviour(OnFault::Fill, OnReclaim::Hold))?;
        let mut client = case.client("client", &server)?;
        let map = client.map(0, len)?;
        client.fill(map, 0, len, 1)?;
        shrink_until(|| Ok(server.log()?.reclaims > 0))?;
        let before = server.log()?.faults;
        server.behave(lazy_behaviour(HOLD_FAULTS, OnReclaim::Hold))?;
        let mut waiting = case.client("waiting client", &server)?;
        let other_map = waiting.map(len as u64, len)?;
        waiting.start_load(other_map, 0)?;
        await_requests(&mut server, "a FUSE_DMMAP_FAULT", |log| log.faults > before)?;
        waiting.kill()?;
        // Starts another reclaim, and does not wait for its end.
        shrink_caches()?;
        server.unmount()?;
        server.kill()?;
        client.kill()?;
        unload_both()?;
        modules::load_missing()?;
        case.reuse_server_name();
    }
    Ok(())
}

/// Unloads the modules while pages are in a pipe that have left their page IDs. No connection is left, but the pages
/// still count (see the suite `drain`).
fn pinned_pages(case: &mut Case) -> Result<(), Failure> {
    need_modules()?;
    let pages: usize = case.param("pages")?;
    let len = pages * page_size();
    let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
    let map = client.map(0, len)?;
    client.fill(map, 0, len, 1)?;
    expect_ok("the pin of the pages", client.try_pin(map, 0, len, PinBy::Pipe)?)?;
    client.unmap(map)?;
    server.await_munmaps(1)?;
    client.close()?;
    server.quit()?;
    expect(PAGES_TOTAL, counters::read(PAGES_TOTAL)?, pages as u64)?;

    unload_both()?;
    sleep(2 * SWEEP_INTERVAL);
    modules::load_missing()?;
    expect(PAGES_TOTAL, counters::read(PAGES_TOTAL)?, 0)?;
    serve(case, pages, 2)?;
    client.unpin()?;
    client.quit()?;
    expect(PAGES_TOTAL, counters::read(PAGES_TOTAL)?, 0)
}

/// Loads the modules, has a server serve, and unloads them, again and again.
fn rounds(case: &mut Case) -> Result<(), Failure> {
    need_modules()?;
    let pages = case.param("pages")?;
    for round in 1..=case.param::<u64>("rounds")? {
        modules::load_missing()?;
        let served = serve(case, pages, round).and_then(|()| unload_both());
        served.map_err(|failure| failure.after(&format!("the start of round {round}")))?;
    }
    Ok(())
}

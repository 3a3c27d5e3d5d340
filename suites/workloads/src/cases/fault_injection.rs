// SPDX-License-Identifier: MIT OR Apache-2.0
//! Each allocation of the feature fails once. The operation then succeeds or is refused, and nothing leaks.
//!
//! A process makes its own n-th allocation fail with `/proc/thread-self/fail-nth`
//! (Documentation/fault-injection/fault-injection.rst). n increases until the operation makes fewer allocations.

pub(crate) mod connect;

use server::Behaviour;
use sys::{Advice, Errno, MountFlags, Prot, exists, page_size, write_file};

use crate::stage::command::{
    Answer, Command, Map, MappingCommand, MemoryCommand, PageBytes, ServerCommand,
};
use crate::stage::failing::FAIL_NTH;
use crate::stage::process::map_command;
use crate::stage::waiting::{await_requests, holding_faults};
use crate::stage::{Case, Failure, Process, Server, Workload, expect, expect_that};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("map", map),
    ("touch", touch),
    ("change", change),
    ("fork", fork),
    ("server", server),
    ("fill", fill),
];

/// Number that is larger than the allocations of any step.
const MAX_ALLOCATIONS: u32 = 2000;

/// Mount point of debugfs, which has the settings of fault injection. `init` unmounts it.
const DEBUGFS: &str = "/run/dmmap/debug";

/// Enables failures of allocations of every kind, without messages on the console.
fn prepare() -> Result<(), Failure> {
    expect_that(exists(FAIL_NTH), || {
        "the kernel injects no faults: use --flavour debug or gcov".into()
    })?;
    sys::make_dir(DEBUGFS)?;
    sys::mount("debugfs", DEBUGFS, "debugfs", MountFlags::default(), "")?;
    for (setting, value) in [
        ("failslab/ignore-gfp-wait", "N"),
        ("failslab/verbose", "0"),
        ("fail_page_alloc/ignore-gfp-wait", "N"),
        ("fail_page_alloc/ignore-gfp-highmem", "N"),
        ("fail_page_alloc/min-order", "0"),
        ("fail_page_alloc/verbose", "0"),
        ("fail_futex/verbose", "0"),
    ] {
        write_file(&format!("{DEBUGFS}/{setting}"), value.as_bytes())?;
    }
    Ok(())
}

/// Repeats a step until each of its allocations has failed once. `step` gets the number of the allocation that fails,
/// and returns false if it made fewer allocations.
fn fail_each_allocation(
    case: &mut Case,
    what: &str,
    mut step: impl FnMut(u32) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    fail_each_allocation_with(case, what, |_, nth| step(nth))
}

/// Does [`fail_each_allocation`] with a step that needs the case.
fn fail_each_allocation_with(
    case: &mut Case,
    what: &str,
    mut step: impl FnMut(&mut Case, u32) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    for nth in 1..=MAX_ALLOCATIONS {
        let failed = step(case, nth)
            .map_err(|failure| failure.after(&format!("{what} with allocation {nth} failing")))?;
        if !failed {
            case.figure(format!("{what}_allocations"), f64::from(nth - 1));
            return expect_that(nth > 1, || format!("{what}: the step makes no allocation"));
        }
    }
    Err(Failure::new(format!("{what}: the step makes more than {MAX_ALLOCATIONS} allocations")))
}

/// Returns true if a command succeeded, and false if it ran out of memory. Any other answer is a failure.
fn succeeded(answer: &Answer) -> Result<bool, Failure> {
    match answer {
        Answer::Done | Answer::Number(_) | Answer::Map(_) => Ok(true),
        Answer::Refused { errno, .. } => match Errno::from_raw(*errno) {
            // pipe(2) returns ENFILE if an allocation fails.
            Errno::ENOMEM | Errno::ENFILE => Ok(false),
            _ => Err(Failure::new(answer.describe())),
        },
        other => Err(Failure::new(other.describe())),
    }
}

fn mapping_command<Own>(map: Map, command: MappingCommand) -> Command<Own> {
    Command::Memory(MemoryCommand::Mapping(map, command))
}

fn behave(behaviour: Behaviour) -> Command<ServerCommand> {
    Command::Own(ServerCommand::Behave(behaviour))
}

/// Fails unless the connection has no pages and no mappings.
fn expect_empty(server: &Server) -> Result<(), Failure> {
    expect("pages", server.pages()?, 0)?;
    server.expect_maps("mappings", 0)
}

/// Maps pages, with a server that fills them and with one that does not.
fn map(case: &mut Case) -> Result<(), Failure> {
    prepare()?;
    let page = page_size();
    for lazy in [false, true] {
        let behaviour = if lazy { Behaviour::lazy() } else { Behaviour::default() };
        let (mut server, mut client) = case.serve_with_client(behaviour)?;
        let mut mapped = 0;
        fail_each_allocation(case, if lazy { "lazy_map" } else { "map" }, |nth| {
            let (failed, answer) =
                client.failing(nth, Command::Memory(map_command(0, 2 * page)))?;
            if succeeded(&answer)? {
                let map = client.link().map(answer)?;
                client.store(map, page, 1)?;
                client.unmap(map)?;
                mapped += 1;
            }
            Ok(failed)
        })?;
        let log = server.log()?;
        expect_that(log.mmaps >= mapped, || {
            format!(
                "the client made {mapped} mappings, but the server received {} FUSE_MMAPs",
                log.mmaps
            )
        })?;
        // For mappings that failed after the server's answer, the kernel has sent FUSE_MUNMAP as well.
        server.await_munmaps(log.mmaps)?;
        expect_empty(&server)?;
        server.quit_after([client])?;
    }
    Ok(())
}

/// Has the kernel touch a page.
const POPULATE: MappingCommand = MappingCommand::Advise(Advice::PopulateWrite);

/// Touches a new page by a load and by the kernel, with a server that fills the page and with one that does not.
fn touch(case: &mut Case) -> Result<(), Failure> {
    prepare()?;
    let page = page_size();
    for behaviour in [Behaviour::default(), Behaviour::lazy()] {
        let (mut server, mut client) = case.serve_with_client(behaviour)?;
        client.write_read(0, page, 4)?;
        for (what, command) in [("load", MappingCommand::Load { at: 0 }), ("populate", POPULATE)] {
            let kind = if behaviour.lazy.is_some() { "lazy_" } else { "" };
            fail_each_allocation(case, &format!("{kind}{what}"), |nth| {
                let map = client.map(0, page)?;
                let (failed, answer) = client.failing(nth, mapping_command(map, command))?;
                // The kernel retries a load until it succeeds.
                expect_that(succeeded(&answer)? || what == "populate", || answer.describe())?;
                client.load(map, 0)?;
                expect("pages", server.pages()?, 1)?;
                client.unmap(map)?;
                let mmaps = server.log()?.mmaps;
                server.await_munmaps(mmaps)?;
                expect_empty(&server)?;
                Ok(failed)
            })?;
        }
        server.quit_after([client])?;
    }
    Ok(())
}

/// Changes a mapping: splits it into three, moves it, shrinks it.
fn change(case: &mut Case) -> Result<(), Failure> {
    prepare()?;
    let page = page_size();
    let period = case.period();
    let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
    for what in ["protect", "move", "shrink"] {
        fail_each_allocation(case, what, |nth| {
            let map = client.map(0, 3 * page)?;
            client.fill(map, 0, 3 * page, 1)?;
            let (part, len, behind) = match what {
                "protect" => {
                    let middle = client.cut(map, page)?;
                    let behind = client.cut(middle, page)?;
                    (middle, page, vec![middle, behind])
                }
                _ => (map, 3 * page, vec![]),
            };
            let command = match what {
                "protect" => MappingCommand::Protect(Prot::Read),
                "move" => {
                    let residue = client.address(map)? % period;
                    MappingCommand::Move { len, residue, period }
                }
                _ => MappingCommand::Resize { len: page },
            };
            let (failed, answer) = client.failing(nth, mapping_command(part, command))?;
            succeeded(&answer)?;
            client.verify(map, 0, page, 1)?;
            let mut parts = vec![map];
            parts.extend(behind);
            expect("pages", server.pages()?, 3)?;
            for part in parts {
                client.unmap(part)?;
            }
            let mmaps = server.log()?.mmaps;
            server.await_munmaps(mmaps)?;
            expect_empty(&server)?;
            Ok(failed)
        })?;
    }
    server.quit_after([client])
}

/// Forks a client with a mapping.
fn fork(case: &mut Case) -> Result<(), Failure> {
    prepare()?;
    let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
    let map = client.map(0, page_size())?;
    client.store(map, 0, 5)?;
    fail_each_allocation(case, "fork", |nth| {
        let (failed, answer) = client.failing(nth, Command::Fork { name: "child".into() })?;
        if let Some(mut child) = client.adopt("child", &answer)? {
            expect("the word, by the child", child.load(map, 0)?, 5)?;
            child.quit()?;
        } else {
            succeeded(&answer)?;
        }
        expect("the word, by the parent", client.load(map, 0)?, 5)?;
        expect("pages", server.pages()?, 1)?;
        Ok(failed)
    })?;
    client.unmap(map)?;
    server.await_munmaps(1)?;
    expect_empty(&server)?;
    server.quit_after([client])
}

/// Has a server map its channel, and load and save pages. Freeing pages makes no allocation.
fn server(case: &mut Case) -> Result<(), Failure> {
    prepare()?;
    let page = page_size();
    let mut server = case.serve()?;
    let page_id = server.page_id(0)?;
    let mut client = case.client("client", &server)?;
    let at = page_id * page as u64;
    fail_each_allocation(case, "channel", |nth| {
        let (failed, answer) = server.failing(nth, Command::Memory(map_command(at, page)))?;
        if succeeded(&answer)? {
            let here = server.link().map(answer)?;
            server.store(here, 0, 1)?;
            server.unmap(here)?;
        }
        expect_empty(&server)?;
        Ok(failed)
    })?;

    let map = client.map(0, 2 * page)?;
    let bytes = PageBytes { page_id, at: 0, len: 2 * page, seed: 6 };
    fail_each_allocation(case, "load_pages", |nth| {
        let (failed, answer) =
            server.failing(nth, Command::Own(ServerCommand::LoadPages(bytes)))?;
        if succeeded(&answer)? {
            client.verify(map, 0, 2 * page, 6)?;
        }
        expect("a free", server.free_pages(page_id, 2)?, Ok(()))?;
        expect("pages", server.pages()?, 0)?;
        Ok(failed)
    })?;
    client.fill(map, 0, 2 * page, 6)?;
    fail_each_allocation(case, "save_pages", |nth| {
        let (failed, answer) =
            server.failing(nth, Command::Own(ServerCommand::SavePages(bytes)))?;
        if let Answer::Number(saved) = answer {
            expect("bytes saved", saved, 2 * page as u64)?;
        } else {
            succeeded(&answer)?;
        }
        Ok(failed)
    })?;
    client.quit()?;
    server.await_munmaps(1)?;
    server.quit()
}

/// Has a server fill a page for which a client waits, and answer; a second time if the first fails. Answering FUSE_MMAP
/// makes no allocation.
fn fill(case: &mut Case) -> Result<(), Failure> {
    prepare()?;
    let page = page_size();
    let (mut server, mut client) = case.serve_with_client(Behaviour::lazy())?;
    client.write_read(0, page, 8)?;
    fail_each_allocation(case, "fill", |nth| {
        let before = server.log()?;
        let map = client.map(0, page)?;
        server.behave(holding_faults())?;
        client.start_load(map, 0)?;
        await_requests(&mut server, "a FUSE_DMMAP_FAULT", |log| log.faults > before.faults)?;
        let (failed, answer) = server.failing(nth, behave(Behaviour::lazy()))?;
        if !succeeded(&answer)? {
            server.behave(Behaviour::lazy())?;
        }
        client.finish_load()?;
        client.verify(map, 0, page, 8)?;
        client.unmap(map)?;
        server.await_munmaps(before.mmaps + 1)?;
        expect_empty(&server)?;
        Ok(failed)
    })?;
    server.quit_after([client])
}

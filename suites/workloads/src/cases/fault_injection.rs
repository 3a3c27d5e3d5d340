// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every allocation on the way of the feature fails once: what was asked for is done or refused, and nothing is left over.
//!
//! A process makes its own n-th allocation fail by `/proc/thread-self/fail-nth`; the n grows until there are not so many
//! (Documentation/fault-injection/fault-injection.rst).

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

/// More allocations than any step makes.
const MOST: u32 = 2000;

/// Where the settings are mounted; `init` unmounts what is there.
const SETTINGS: &str = "/run/dmmap/debug";

/// Has allocations of every kind fail, and quietly.
fn prepare() -> Result<(), Failure> {
    expect_that(exists(FAIL_NTH), || {
        "the kernel injects no faults: use --flavour debug or gcov".into()
    })?;
    sys::make_dir(SETTINGS)?;
    sys::mount("debugfs", SETTINGS, "debugfs", MountFlags::default(), "")?;
    for (setting, value) in [
        ("failslab/ignore-gfp-wait", "N"),
        ("failslab/verbose", "0"),
        ("fail_page_alloc/ignore-gfp-wait", "N"),
        ("fail_page_alloc/ignore-gfp-highmem", "N"),
        ("fail_page_alloc/min-order", "0"),
        ("fail_page_alloc/verbose", "0"),
        ("fail_futex/verbose", "0"),
    ] {
        write_file(&format!("{SETTINGS}/{setting}"), value.as_bytes())?;
    }
    Ok(())
}

/// Repeats a step, each time with a later allocation failing, until the step makes fewer allocations than that. `step`
/// returns true if an allocation failed.
fn walk(
    case: &mut Case,
    what: &str,
    mut step: impl FnMut(u32) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    walk_with(case, what, |_, nth| step(nth))
}

/// Does the same for a step that needs the case.
fn walk_with(
    case: &mut Case,
    what: &str,
    mut step: impl FnMut(&mut Case, u32) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    for nth in 1..=MOST {
        let failed = step(case, nth)
            .map_err(|failure| failure.after(&format!("{what} with allocation {nth} failing")))?;
        if !failed {
            case.figure(format!("{what}_allocations"), f64::from(nth - 1));
            return expect_that(nth > 1, || {
                format!("{what}: no allocation was there to fail")
            });
        }
    }
    Err(Failure::new(format!(
        "{what}: more than {MOST} allocations"
    )))
}

/// Returns true if a command succeeded, and false if there was no memory for it. Any other answer is a failure.
fn succeeded(answer: &Answer) -> Result<bool, Failure> {
    match answer {
        Answer::Done | Answer::Number(_) | Answer::Map(_) => Ok(true),
        Answer::Refused { errno, .. } => match Errno::from_raw(*errno) {
            // pipe(2) reports ENFILE.
            Errno::ENOMEM | Errno::ENFILE => Ok(false),
            _ => Err(Failure::new(answer.describe())),
        },
        other => Err(Failure::new(other.describe())),
    }
}

/// Command about a mapping.
fn on<Own>(map: Map, command: MappingCommand) -> Command<Own> {
    Command::Memory(MemoryCommand::Mapping(map, command))
}

fn behave(behaviour: Behaviour) -> Command<ServerCommand> {
    Command::Own(ServerCommand::Behave(behaviour))
}

/// Fails unless the connection has no pages and no mappings.
fn expect_nothing(server: &Server) -> Result<(), Failure> {
    expect("pages", server.pages()?, 0)?;
    expect("mappings", server.counter("maps")?, 0)
}

/// Maps, by a client that has a page of the file mapped and by one that has not.
fn map(case: &mut Case) -> Result<(), Failure> {
    prepare()?;
    let page = page_size();
    for lazy in [false, true] {
        let behaviour = match lazy {
            true => Behaviour::lazy(),
            false => Behaviour::default(),
        };
        let mut server = case.serve_as(behaviour)?;
        let mut client = case.client("client", &server)?;
        let mut mapped = 0;
        walk(case, if lazy { "lazy_map" } else { "map" }, |nth| {
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
                "the client made {mapped} mappings, but the server saw {} FUSE_MMAPs",
                log.mmaps
            )
        })?;
        // Those that came to nothing after the answer are taken back.
        server.await_munmaps(log.mmaps)?;
        expect_nothing(&server)?;
        client.quit()?;
        server.quit()?;
    }
    Ok(())
}

/// Touches a page by the kernel's hand.
const POPULATE: MappingCommand = MappingCommand::Advise(Advice::PopulateWrite);

/// Touches a new page, by a load and by the kernel; of a server that leaves the page to the kernel, and of one that fills it.
fn touch(case: &mut Case) -> Result<(), Failure> {
    prepare()?;
    let page = page_size();
    for behaviour in [Behaviour::default(), Behaviour::lazy()] {
        let mut server = case.serve_as(behaviour)?;
        let mut client = case.client("client", &server)?;
        client.write_read(0, page, 4)?;
        for (what, command) in [
            ("load", MappingCommand::Load { at: 0 }),
            ("populate", POPULATE),
        ] {
            let kind = if behaviour.lazy.is_some() {
                "lazy_"
            } else {
                ""
            };
            walk(case, &format!("{kind}{what}"), |nth| {
                let map = client.map(0, page)?;
                let (failed, answer) = client.failing(nth, on(map, command))?;
                // A load is tried again by the kernel; it does not come back before it has gone well.
                let done = succeeded(&answer)?;
                expect_that(done || what == "populate", || answer.describe())?;
                client.load(map, 0)?;
                expect("pages", server.pages()?, 1)?;
                client.unmap(map)?;
                if behaviour.lazy.is_some() {
                    let mmaps = server.log()?.mmaps;
                    server.await_munmaps(mmaps)?;
                }
                expect_nothing(&server)?;
                Ok(failed)
            })?;
        }
        client.quit()?;
        server.quit()?;
    }
    Ok(())
}

/// Changes a mapping: makes three of it, moves it, unmaps its end.
fn change(case: &mut Case) -> Result<(), Failure> {
    prepare()?;
    let page = page_size();
    let period = case.period();
    let mut server = case.serve()?;
    let mut client = case.client("client", &server)?;
    for what in ["protect", "move", "shrink"] {
        walk(case, what, |nth| {
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
                    MappingCommand::Move {
                        len,
                        residue,
                        period,
                    }
                }
                _ => MappingCommand::Resize { len: page },
            };
            let (failed, answer) = client.failing(nth, on(part, command))?;
            let done = succeeded(&answer)?;
            client.verify(map, 0, page, 1)?;
            let mut parts = vec![map];
            parts.extend(behind);
            let pages = if done && what == "shrink" { 1 } else { 3 };
            expect("pages", server.pages()?, pages)?;
            for part in parts {
                client.unmap(part)?;
            }
            expect_nothing(&server)?;
            Ok(failed)
        })?;
    }
    let mmaps = server.log()?.mmaps;
    server.await_munmaps(mmaps)?;
    client.quit()?;
    server.quit()
}

/// Forks a client with a mapping.
fn fork(case: &mut Case) -> Result<(), Failure> {
    prepare()?;
    let mut server = case.serve()?;
    let mut client = case.client("client", &server)?;
    let map = client.map(0, page_size())?;
    client.store(map, 0, 5)?;
    walk(case, "fork", |nth| {
        let command = Command::Fork {
            name: "child".into(),
        };
        let (failed, answer) = client.failing(nth, command)?;
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
    expect_nothing(&server)?;
    client.quit()?;
    server.quit()
}

/// What a server does by itself: maps its channel, loads and saves pages. To free pages nothing is allocated.
fn server(case: &mut Case) -> Result<(), Failure> {
    prepare()?;
    let page = page_size();
    let mut server = case.serve()?;
    let page_id = server.page_id(0)?;
    let mut client = case.client("client", &server)?;
    let at = page_id * page as u64;
    walk(case, "channel", |nth| {
        let (failed, answer) = server.failing(nth, Command::Memory(map_command(at, page)))?;
        if succeeded(&answer)? {
            let here = server.link().map(answer)?;
            server.store(here, 0, 1)?;
            server.unmap(here)?;
        }
        expect_nothing(&server)?;
        Ok(failed)
    })?;

    let map = client.map(0, 2 * page)?;
    let bytes = PageBytes {
        page_id,
        at: 0,
        len: 2 * page,
        seed: 6,
    };
    walk(case, "load_pages", |nth| {
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
    walk(case, "save_pages", |nth| {
        let (failed, answer) =
            server.failing(nth, Command::Own(ServerCommand::SavePages(bytes)))?;
        if let Answer::Number(came) = answer {
            expect("bytes saved", came, 2 * page as u64)?;
        } else {
            succeeded(&answer)?;
        }
        Ok(failed)
    })?;
    client.quit()?;
    server.await_munmaps(1)?;
    server.quit()
}

/// A server fills a page that a client waits for, and answers; if that failed, again. To answer FUSE_MMAP nothing is
/// allocated.
fn fill(case: &mut Case) -> Result<(), Failure> {
    prepare()?;
    let page = page_size();
    let mut server = case.serve_as(Behaviour::lazy())?;
    let mut client = case.client("client", &server)?;
    client.write_read(0, page, 8)?;
    walk(case, "fill", |nth| {
        let before = server.log()?;
        let map = client.map(0, page)?;
        server.behave(holding_faults())?;
        client.start_load(map, 0)?;
        await_requests(&mut server, "a FUSE_DMMAP_FAULT", |log| {
            log.faults > before.faults
        })?;
        let (failed, answer) = server.failing(nth, behave(Behaviour::lazy()))?;
        if !succeeded(&answer)? {
            server.behave(Behaviour::lazy())?;
        }
        client.finish_load()?;
        client.verify(map, 0, page, 8)?;
        client.unmap(map)?;
        server.await_munmaps(before.mmaps + 1)?;
        expect_nothing(&server)?;
        Ok(failed)
    })?;
    client.quit()?;
    server.quit()
}

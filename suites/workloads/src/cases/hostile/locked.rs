// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client waits in mmap for its server. Nothing else that concerns the client's memory waits meanwhile.

use server::Behaviour;
use sys::{page_size, write_file};

use crate::stage::command::Map;
use crate::stage::counters;
use crate::stage::waiting::{await_requests, await_that, expect_returns, holding_mmaps};
use crate::stage::{Case, Client, Failure, Process, Server, Workload, expect};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("mmap-observed", observed),
    ("mmap-thread", thread),
    ("mmap-thread-exits", thread_exits),
    ("mmap-merged", merged),
];

/// Files of a process that the kernel cannot print while another process changes the mappings of the process.
const FILES: &[&str] = &["cmdline", "environ", "maps", "smaps", "smaps_rollup"];

/// Reads files of a client in /proc, as ps does, and its memory, while it waits in mmap: of new addresses, and over an
/// existing mapping.
fn observed(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut server = case.serve()?;
    let mut observer = case.client_without_file("observer", &server)?;
    let mut client = case.client("client", &server)?;
    let kept = client.map(0, page)?;
    let mut over = client.map(page as u64, page)?;
    client.fill(kept, 0, page, 1)?;
    let at = client.address(kept)?;
    for replace in [false, true] {
        server.behave(holding_mmaps())?;
        let mmaps = server.log()?.mmaps;
        match replace {
            false => client.start_map(page as u64, page)?,
            true => client.start_map_over(over, page as u64, page)?,
        }
        await_requests(&mut server, "a FUSE_MMAP", |log| log.mmaps > mmaps)?;
        for file in FILES {
            let path = format!("/proc/{}/{file}", client.pid());
            observer.start_read_path(&path)?;
            let what = format!("a read of /proc/PID/{file} of a client that waits in mmap");
            expect_returns(&what, &mut observer)?;
        }
        observer.start_read_memory(client.pid(), at, page)?;
        expect_returns("process_vm_readv of a client that waits in mmap", &mut observer)?;
        server.behave(Behaviour::default())?;
        over = client.finish_map()?;
        server_sees(&mut server, &mut client, over)?;
    }
    client.quit()?;
    observer.quit()?;
    server.quit()
}

/// Fails unless the server loads what the client stores to the second page of the file.
fn server_sees(server: &mut Server, client: &mut Client, map: Map) -> Result<(), Failure> {
    let here = server.map_pages(server.page_id(page_size() as u64)?, 1)?;
    client.store(map, 0, 7)?;
    expect("a store, loaded by the server", server.load(here, 0)?, 7)?;
    server.unmap(here)
}

/// Starts a client with a thread, which waits in mmap while its thread can execute commands.
fn client_with_thread(case: &mut Case) -> Result<(Server, Client, Client), Failure> {
    if !sys::has_threads() {
        return Err(Failure::Skip("programs have no threads on this machine".into()));
    }
    let mut server = case.serve_as(holding_mmaps())?;
    let mut client = case.client("client", &server)?;
    let thread = client.start_map_beside_thread("thread", page_size() as u64, page_size())?;
    await_requests(&mut server, "a FUSE_MMAP", |log| log.mmaps == 1)?;
    Ok((server, client, thread))
}

/// Has a thread use memory, map the same file and unmap it while the other thread of the client waits in mmap.
fn thread(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let (mut server, mut client, mut thread) = client_with_thread(case)?;
    thread.start_use_memory()?;
    let what = "a thread that maps, touches, protects and unmaps memory beside a thread in mmap";
    expect_returns(what, &mut thread)?;
    thread.start_map(page as u64, page)?;
    await_requests(&mut server, "the FUSE_MMAP of a second thread", |log| log.mmaps == 2)?;
    server.behave(Behaviour::default())?;
    let of_thread = thread.finish_map()?;
    thread.store(of_thread, 0, 5)?;
    thread.unmap(of_thread)?;
    thread.quit()?;
    let map = client.finish_map()?;
    server_sees(&mut server, &mut client, map)?;
    expect("FUSE_MMAPs", server.log()?.mmaps, 2)?;
    client.quit()?;
    server.await_munmaps(2)?;
    server.quit()
}

/// Ends a thread of a client while the other thread waits in mmap.
fn thread_exits(case: &mut Case) -> Result<(), Failure> {
    let (mut server, mut client, mut thread) = client_with_thread(case)?;
    let tasks = format!("/proc/{}/task", client.pid());
    expect("threads", sys::list_dir(&tasks)?.len(), 2)?;
    thread.start_quit()?;
    await_that("a thread did not end while another thread waits in mmap", || {
        Ok(sys::list_dir(&tasks)?.len() == 1)
    })?;
    server.behave(Behaviour::default())?;
    let map = client.finish_map()?;
    server_sees(&mut server, &mut client, map)?;
    client.quit()?;
    server.await_munmaps(1)?;
    server.quit()
}

/// Directory of the settings and counters of ksmd, which merges equal pages (Documentation/admin-guide/mm/ksm.rst).
const KSM: &str = "/sys/kernel/mm/ksm";

/// Has ksmd scan the memory of a client that waits in mmap, and of another process.
fn merged(case: &mut Case) -> Result<(), Failure> {
    if !sys::exists(KSM) {
        return Err(Failure::Skip("the kernel has no CONFIG_KSM".into()));
    }
    let mut server = case.serve()?;
    let file = sys::memfd("mergeable", 0)?;
    let mut other = case.client_of("other process", &file)?;
    let mut client = case.client("client", &server)?;
    client.merge_memory()?;
    other.merge_memory()?;
    server.behave(holding_mmaps())?;
    client.start_map(page_size() as u64, page_size())?;
    await_requests(&mut server, "a FUSE_MMAP", |log| log.mmaps == 1)?;

    let scans = || -> Result<u64, Failure> { counters::read(&format!("{KSM}/full_scans")) };
    let before = scans()?;
    let set =
        |setting: &str, value: &str| write_file(&format!("{KSM}/{setting}"), value.as_bytes());
    set("sleep_millisecs", "1")?;
    set("pages_to_scan", "1000")?;
    set("run", "1")?;
    let scanned = await_that("ksmd did not finish a scan while a client waits in mmap", || {
        Ok(scans()? > before + 1)
    });
    // After a failure, the client must return before ksmd can stop.
    server.behave(Behaviour::default())?;
    let map = client.finish_map()?;
    // 2: stop and unmerge all pages.
    set("run", "2")?;
    scanned?;
    server_sees(&mut server, &mut client, map)?;
    client.quit()?;
    other.quit()?;
    server.quit()
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! mprotect, madvise, mlock and msync. They may change how a mapping can be accessed, but not its contents.

use sys::{Advice, Errno, Prot, page_size, read_text, write_file};

use super::{Pair, vm_flags};
use crate::stage::command::{Map, MappingCommand, Touch};
use crate::stage::failure::Words;
use crate::stage::{Case, Client, Failure, Process, Workload, expect, expect_that};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("protect", protect),
    ("readonly", readonly),
    ("advice", advice),
    ("populate", populate),
    ("dont-fork", dont_fork),
    ("lock-sync", lock_sync),
    ("no-dump", no_dump),
];

/// After mprotect of all or part of a mapping to PROT_NONE and back, the mapping shows the same pages.
fn protect(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut pair = Pair::new(case, 0, 4)?;
    // A second mapping of the same pages in the same process, which stays accessible.
    let second_map = pair.client.map(0, 4 * page)?;
    pair.expect_shared(1)?;
    for round in 1..=3 {
        let seed = 10 * round;
        pair.client.protect(pair.client_map, Prot::None)?;
        for store in [false, true] {
            let touched = pair.client.touch(pair.client_map, page, store)?;
            expect("a touch of a forbidden page", touched, Touch::Sigsegv)?;
        }
        let touched = pair.client.probe(pair.client_map, 0)?;
        expect("the kernel's touch of the page", touched, Touch::Efault)?;
        pair.server.fill(pair.server_map, 0, pair.len, seed)?;
        pair.client.verify(second_map, 0, pair.len, seed)?;

        pair.client.protect(pair.client_map, Prot::Read)?;
        pair.client.verify(pair.client_map, 0, pair.len, seed)?;
        let touched = pair.client.touch(pair.client_map, 0, true)?;
        expect("a store to a read-only mapping", touched, Touch::Sigsegv)?;

        pair.client.protect(pair.client_map, Prot::ReadWrite)?;
        pair.expect_shared(seed + 1)?;
        pair.client.verify(second_map, 0, pair.len, seed + 2)?;
        pair.client.fill(pair.client_map, 0, pair.len, seed + 3)?;
        pair.client.verify(second_map, 0, pair.len, seed + 3)?;
    }
    // mprotect of the middle page, which splits the mapping in three for a while.
    let middle = pair.client.cut(pair.client_map, page)?;
    let last = pair.client.cut(middle, page)?;
    pair.client.protect(middle, Prot::None)?;
    expect("a touch of the middle", pair.client.touch(middle, 0, false)?, Touch::Sigsegv)?;
    pair.client.verify(pair.client_map, 0, page, 33)?;
    let word = pair.client.load(last, 0)?;
    expect("the word after the middle page", word, pair.server.load(pair.server_map, 2 * page)?)?;
    pair.client.protect(middle, Prot::ReadWrite)?;
    pair.client.store(middle, 0, 5)?;
    expect("a store to the middle afterwards", pair.server.load(pair.server_map, page)?, 5)?;
    pair.quit(2)
}

/// A mapping of a file that was opened read-only cannot be made writable.
fn readonly(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut pair = Pair::new(case, 0, 2)?;
    pair.expect_shared(1)?;
    let mut reader = case.client("reader", &pair.server)?;
    reader.close()?;
    reader.open_readonly()?;
    expect("mmap for writing", reader.try_map(0, pair.len)?.map(drop), Err(Errno::EACCES))?;
    let map = reader.map_readonly(0, pair.len)?;
    reader.verify(map, 0, pair.len, 2)?;
    for round in 0..2 {
        let result = reader.try_call(map, MappingCommand::Protect(Prot::ReadWrite))?;
        expect("mprotect for writing", result, Err(Errno::EACCES))?;
        expect("a store", reader.touch(map, page, true)?, Touch::Sigsegv)?;
        pair.client.fill(pair.client_map, 0, pair.len, 10 + round)?;
        reader.verify(map, 0, pair.len, 10 + round)?;
        reader.protect(map, Prot::None)?;
        reader.protect(map, Prot::Read)?;
    }
    reader.verify(map, 0, pair.len, 11)?;
    reader.quit()?;

    // A read-only mapping of a file that was opened for writing can be made writable.
    let map = pair.client.map_readonly(0, pair.len)?;
    expect("a store to a read-only mapping", pair.client.touch(map, 0, true)?, Touch::Sigsegv)?;
    pair.client.protect(map, Prot::ReadWrite)?;
    pair.client.fill(map, 0, pair.len, 20)?;
    pair.server.verify(pair.server_map, 0, pair.len, 20)?;
    pair.client.quit()?;
    pair.server.await_munmaps(3)?;
    pair.server.quit()
}

/// Advice to madvise, and the results that the kernel may return.
const ALLOWED_RESULTS: &[(Advice, &[Option<Errno>])] = &[
    (Advice::DontNeed, &[None]),
    (Advice::WillNeed, &[None]),
    (Advice::Cold, &[None]),
    (Advice::PageOut, &[None]),
    (Advice::Random, &[None]),
    (Advice::Sequential, &[None]),
    (Advice::Normal, &[None]),
    // Only for memory without a file (mm/madvise.c).
    (Advice::Free, &[Some(Errno::EINVAL)]),
    (Advice::WipeOnFork, &[Some(Errno::EINVAL)]),
    // Unknown to a kernel without huge pages, or without KSM.
    (Advice::HugePage, &[None, Some(Errno::EINVAL)]),
    (Advice::NoHugePage, &[None, Some(Errno::EINVAL)]),
    (Advice::Mergeable, &[None, Some(Errno::EINVAL)]),
    (Advice::Unmergeable, &[None, Some(Errno::EINVAL)]),
    // Calls fallocate(2) of the file. This server does not support it, and a device never does (fs/open.c).
    (Advice::Remove, &[Some(Errno::EOPNOTSUPP), Some(Errno::ENODEV)]),
];

/// No advice of a client changes the contents or the page frames of a mapping.
fn advice(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut pair = Pair::new(case, 0, 3)?;
    for (round, (advice, allowed)) in ALLOWED_RESULTS.iter().enumerate() {
        let seed = 10 * round as u64;
        pair.expect_shared(seed)?;
        let before = frames(&mut pair.client, pair.client_map)?;
        let result = pair.client.try_advise(pair.client_map, *advice)?;
        expect_that(allowed.contains(&result.err()), || {
            not_allowed(&advice.to_string(), allowed, result)
        })?;
        case.log(&format!("{advice}: {}", result.words()));
        expect("pages", pair.server.pages()?, 3)?;
        let what = |side| format!("{side} after {advice}");
        // The server still has the pages, and the client can fault them in again.
        let step = pair.server.verify(pair.server_map, 0, pair.len, seed + 1);
        step.map_err(|failure| failure.after(&advice.to_string()))?;
        let step = pair.client.verify(pair.client_map, 0, pair.len, seed + 1);
        step.map_err(|failure| failure.after(&advice.to_string()))?;
        expect(&what("page frames"), frames(&mut pair.client, pair.client_map)?, before)?;
        // The same advice for a part that only the client maps. A child inherits the result.
        let word = pair.server.load(pair.server_map, 2 * page)?;
        pair.server.unmap(pair.server_map)?;
        let tail = pair.client.cut(pair.client_map, page)?;
        let result = pair.client.try_advise(tail, *advice)?;
        expect_that(allowed.contains(&result.err()), || {
            not_allowed(&format!("{advice} of a part"), allowed, result)
        })?;
        // Makes the kernel free every page that it considers reclaimable. 1: the page cache
        // (Documentation/admin-guide/sysctl/vm.rst).
        write_file("/proc/sys/vm/drop_caches", b"1")?;
        expect("pages of the client alone", pair.server.pages()?, 3)?;
        let mut child = pair.client.fork("child")?;
        child.verify(pair.client_map, 0, page, seed + 1)?;
        expect(&what("a word, loaded by a child,"), child.load(tail, page)?, word)?;
        child.quit()?;
        expect(&what("a word, loaded by the client,"), pair.client.load(tail, page)?, word)?;
        pair.server_map = pair.server.map_pages(pair.server.page_id(0)?, 3)?;
        pair.server.verify(pair.server_map, 0, pair.len, seed + 1)?;
        pair.client.unmap(tail)?;
        pair.client.unmap(pair.client_map)?;
        pair.server.await_munmaps(round as u64 + 1)?;
        pair.client_map = pair.client.map(0, pair.len)?;
    }
    pair.server.quit_after([pair.client])
}

/// Returns the text of the failure for a result that is not allowed.
fn not_allowed(what: &str, allowed: &[Option<Errno>], result: Result<(), Errno>) -> String {
    let allowed: Vec<String> = allowed.iter().map(Words::words).collect();
    let (expected, found) = (allowed.join(" or "), result.found());
    format!("{what}: expected {expected}, {found}")
}

/// Returns the page frames of the first three pages.
fn frames(process: &mut Client, map: Map) -> Result<Vec<u64>, Failure> {
    (0..3)
        .map(|index| {
            process.load(map, index * page_size())?;
            process.frame(map, index * page_size())
        })
        .collect()
}

/// MADV_POPULATE_READ and MADV_POPULATE_WRITE bring in the same pages as a touch.
fn populate(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut pair = Pair::new(case, 0, 4)?;
    pair.server.fill(pair.server_map, page, page, 1)?;
    expect("pages before MADV_POPULATE_READ", pair.server.pages()?, 1)?;
    let tail = pair.client.cut(pair.client_map, 2 * page)?;
    pair.client.advise(pair.client_map, Advice::PopulateRead)?;
    expect("pages after MADV_POPULATE_READ", pair.server.pages()?, 2)?;
    pair.client.advise(tail, Advice::PopulateWrite)?;
    expect("pages after MADV_POPULATE_WRITE", pair.server.pages()?, 4)?;
    pair.client.verify_zero(pair.client_map, 0, page)?;
    pair.client.verify(pair.client_map, page, page, 1)?;
    pair.server.verify_zero(pair.server_map, 2 * page, 2 * page)?;
    pair.client.store(tail, 0, 7)?;
    expect("a store to a populated page", pair.server.load(pair.server_map, 2 * page)?, 7)?;
    pair.quit(1)
}

/// A child does not inherit a mapping with MADV_DONTFORK, and does not keep its pages alive.
fn dont_fork(case: &mut Case) -> Result<(), Failure> {
    let mut pair = Pair::new(case, 0, 2)?;
    pair.expect_shared(1)?;
    pair.client.advise(pair.client_map, Advice::DontFork)?;
    for store in [false, true] {
        let found = pair.client.touch(pair.client_map, 0, store)?;
        expect("a child's touch after MADV_DONTFORK", found, Touch::Sigsegv)?;
    }
    pair.expect_shared(3)?;
    // Newer kernels refuse it for mappings that cannot be expanded (mm/madvise.c, VM_SPECIAL).
    match pair.client.try_advise(pair.client_map, Advice::DoFork)? {
        Err(Errno::EINVAL) => {}
        result => {
            expect("MADV_DOFORK", result, Ok(()))?;
            let touched = pair.client.touch(pair.client_map, 0, true)?;
            expect("a child's touch after MADV_DOFORK", touched, Touch::Success)?;
        }
    }

    pair.client.advise(pair.client_map, Advice::DontFork)?;
    let child = pair.client.fork("child")?;
    let maps = read_text(&format!("/proc/{}/maps", child.pid()))?;
    expect_that(!maps.contains(&pair.server.path), || {
        format!("the child has the file mapped:\n{maps}")
    })?;
    pair.expect_shared(5)?;
    pair.server.unmap(pair.server_map)?;
    pair.client.unmap(pair.client_map)?;
    pair.server.await_munmaps(1)?;
    expect("pages while the child lives", pair.server.pages()?, 0)?;
    pair.server.quit_after([child, pair.client])
}

/// mlock and msync have no effect.
fn lock_sync(case: &mut Case) -> Result<(), Failure> {
    let mut pair = Pair::new(case, 0, 3)?;
    pair.expect_shared(1)?;
    pair.client.call(pair.client_map, MappingCommand::Lock)?;
    let flags = vm_flags(&mut pair.client, pair.client_map)?;
    expect_that(!flags.contains(&"lo".to_owned()), || {
        format!("the mapping is locked: its VmFlags are {}", flags.join(" "))
    })?;
    expect("VmLck", locked_memory(&pair.client)?.as_str(), "0 kB")?;
    pair.client.verify(pair.client_map, 0, pair.len, 2)?;
    pair.expect_shared(3)?;
    pair.client.call(pair.client_map, MappingCommand::Unlock)?;
    pair.expect_shared(5)?;

    pair.client.call(pair.client_map, MappingCommand::Sync { wait: true })?;
    pair.client.call(pair.client_map, MappingCommand::Sync { wait: false })?;
    pair.client.verify(pair.client_map, 0, pair.len, 6)?;
    pair.expect_shared(7)?;
    expect("pages", pair.server.pages()?, 3)?;
    pair.client.call(pair.client_map, MappingCommand::Lock)?;
    pair.quit(1)
}

/// Returns the `VmLck:` of `/proc/PID/status`: the memory that the process has locked.
fn locked_memory(process: &Client) -> Result<String, Failure> {
    let text = read_text(&format!("/proc/{}/status", process.pid()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmLck:"));
    let line = line.ok_or_else(|| Failure::new("/proc/PID/status has no VmLck"))?;
    Ok(line.trim().to_owned())
}

/// Fails unless core dumps leave the mapping out.
fn expect_not_dumped(process: &mut impl Process, map: Map, when: &str) -> Result<(), Failure> {
    let flags = vm_flags(process, map)?;
    expect_that(flags.contains(&"dd".to_owned()), || {
        format!(
            "a core dump would include the mapping {when}: its VmFlags are {}, without dd",
            flags.join(" ")
        )
    })
}

/// Core dumps leave the pages out, and no call can change that.
fn no_dump(case: &mut Case) -> Result<(), Failure> {
    let (page, period) = (page_size(), case.period());
    let mut pair = Pair::new(case, 0, 4)?;
    expect_not_dumped(&mut pair.client, pair.client_map, "when it is new")?;
    expect_not_dumped(&mut pair.server, pair.server_map, "of the server")?;
    pair.expect_shared(1)?;
    let result = pair.client.try_advise(pair.client_map, Advice::DoDump)?;
    expect("MADV_DODUMP", result, Err(Errno::EINVAL))?;
    expect_not_dumped(&mut pair.client, pair.client_map, "after MADV_DODUMP")?;
    let result = pair.server.try_advise(pair.server_map, Advice::DoDump)?;
    expect("the server's MADV_DODUMP", result, Err(Errno::EINVAL))?;
    expect_not_dumped(&mut pair.server, pair.server_map, "of the server after MADV_DODUMP")?;

    let mut child = pair.client.fork("child")?;
    expect_not_dumped(&mut child, pair.client_map, "in a child")?;
    child.quit()?;
    let tail = pair.client.cut(pair.client_map, 2 * page)?;
    pair.client.protect(tail, Prot::Read)?;
    expect_not_dumped(&mut pair.client, tail, "of a part")?;
    let residue = pair.client.area(pair.client_map)?.start % period;
    let call = MappingCommand::Move { len: 2 * page, residue, period };
    pair.client.call(pair.client_map, call)?;
    expect_not_dumped(&mut pair.client, pair.client_map, "after a move")?;
    pair.quit(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_that_is_not_allowed_is_named() {
        let allowed = [None, Some(Errno::EINVAL)];
        let what = Advice::HugePage.to_string();
        insta::assert_snapshot!(not_allowed(&what, &allowed, Err(Errno::ENOMEM)), @"MADV_HUGEPAGE: expected success or EINVAL, found ENOMEM");
        insta::assert_snapshot!(not_allowed(&what, &allowed[1..], Ok(())), @"MADV_HUGEPAGE: expected EINVAL, but it succeeded");
    }
}

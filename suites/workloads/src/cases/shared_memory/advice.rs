// SPDX-License-Identifier: MIT OR Apache-2.0
//! mprotect, madvise, mlock, msync: what may be done to a mapping changes, what is in it does not.

use sys::{Advice, Errno, Fd, OpenFlags, Prot, page_size, read_text, write_file};

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

/// A mapping that nobody may touch for a while shows the same pages afterwards, whole and in part.
fn protect(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut pair = Pair::new(case, 0, 4)?;
    // The same pages once more in the same process, which may be touched all the time.
    let again = pair.client.map(0, 4 * page)?;
    pair.agree(1)?;
    for round in 1..=3 {
        let seed = 10 * round;
        pair.client
            .call(pair.there, MappingCommand::Protect(Prot::None))?;
        for store in [false, true] {
            let touched = pair.client.touch(pair.there, page, store)?;
            expect("a touch of a forbidden page", touched, Touch::Sigsegv)?;
        }
        let touched = pair.client.probe(pair.there, 0)?;
        expect(
            "the kernel's touch of a forbidden page",
            touched,
            Touch::Efault,
        )?;
        pair.server.fill(pair.here, 0, pair.len, seed)?;
        pair.client.verify(again, 0, pair.len, seed)?;

        pair.client
            .call(pair.there, MappingCommand::Protect(Prot::Read))?;
        pair.client.verify(pair.there, 0, pair.len, seed)?;
        let touched = pair.client.touch(pair.there, 0, true)?;
        expect("a store to a read-only mapping", touched, Touch::Sigsegv)?;

        pair.client
            .call(pair.there, MappingCommand::Protect(Prot::ReadWrite))?;
        pair.agree(seed + 1)?;
        pair.client.verify(again, 0, pair.len, seed + 2)?;
        pair.client.fill(pair.there, 0, pair.len, seed + 3)?;
        pair.client.verify(again, 0, pair.len, seed + 3)?;
    }
    // A part of it, so that it is three in between.
    let middle = pair.client.cut(pair.there, page)?;
    let last = pair.client.cut(middle, page)?;
    pair.client
        .call(middle, MappingCommand::Protect(Prot::None))?;
    let touched = pair.client.touch(middle, 0, false)?;
    expect("a touch of the middle", touched, Touch::Sigsegv)?;
    pair.client.verify(pair.there, 0, page, 33)?;
    let word = pair.client.load(last, 0)?;
    let same = pair.server.load(pair.here, 2 * page)?;
    expect("the word behind the middle", word, same)?;
    pair.client
        .call(middle, MappingCommand::Protect(Prot::ReadWrite))?;
    pair.client.store(middle, 0, 5)?;
    let word = pair.server.load(pair.here, page)?;
    expect("a store to the middle afterwards", word, 5)?;
    pair.end(2)
}

/// A file that was opened for reading alone gives a mapping for reading alone, which nothing can change.
fn readonly(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut pair = Pair::new(case, 0, 2)?;
    pair.agree(1)?;
    let mut reader = case.client("reader", &pair.server)?;
    reader.close()?;
    reader.open_readonly()?;
    let refused = reader.try_map(0, pair.len)?;
    expect("mmap for writing", refused.map(drop), Err(Errno::EACCES))?;
    let map = reader.map_readonly(0, pair.len)?;
    reader.verify(map, 0, pair.len, 2)?;
    for round in 0..2 {
        let answer = reader.try_call(map, MappingCommand::Protect(Prot::ReadWrite))?;
        expect("mprotect for writing", answer, Err(Errno::EACCES))?;
        let touched = reader.touch(map, page, true)?;
        expect("a store", touched, Touch::Sigsegv)?;
        pair.client.fill(pair.there, 0, pair.len, 10 + round)?;
        reader.verify(map, 0, pair.len, 10 + round)?;
        reader.call(map, MappingCommand::Protect(Prot::None))?;
        reader.call(map, MappingCommand::Protect(Prot::Read))?;
    }
    reader.verify(map, 0, pair.len, 11)?;
    reader.quit()?;

    // It is the open that counts, not the mmap.
    let map = pair.client.map_readonly(0, pair.len)?;
    let touched = pair.client.touch(map, 0, true)?;
    expect("a store to a read-only mapping", touched, Touch::Sigsegv)?;
    pair.client
        .call(map, MappingCommand::Protect(Prot::ReadWrite))?;
    pair.client.fill(map, 0, pair.len, 20)?;
    pair.server.verify(pair.here, 0, pair.len, 20)?;
    pair.client.quit()?;
    pair.server.await_munmaps(3)?;
    pair.server.quit()
}

/// Advice, and what the kernel may answer.
const HARMLESS: &[(Advice, &[Option<Errno>])] = &[
    (Advice::DontNeed, &[None]),
    (Advice::WillNeed, &[None]),
    (Advice::Cold, &[None]),
    (Advice::PageOut, &[None]),
    (Advice::Random, &[None]),
    (Advice::Sequential, &[None]),
    (Advice::Normal, &[None]),
    // For memory without a file (mm/madvise.c).
    (Advice::Free, &[Some(Errno::EINVAL)]),
    (Advice::WipeOnFork, &[Some(Errno::EINVAL)]),
    // Unknown to a kernel without huge pages, or without KSM.
    (Advice::HugePage, &[None, Some(Errno::EINVAL)]),
    (Advice::NoHugePage, &[None, Some(Errno::EINVAL)]),
    (Advice::Mergeable, &[None, Some(Errno::EINVAL)]),
    (Advice::Unmergeable, &[None, Some(Errno::EINVAL)]),
    // fallocate(2) of the file: this server has none, and a device never has (fs/open.c).
    (
        Advice::Remove,
        &[Some(Errno::EOPNOTSUPP), Some(Errno::ENODEV)],
    ),
];

/// Whatever a client advises, the pages stay what and where they are.
fn advice(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut pair = Pair::new(case, 0, 3)?;
    for (round, (advice, allowed)) in HARMLESS.iter().enumerate() {
        let seed = 10 * round as u64;
        pair.agree(seed)?;
        let frames = frames(&mut pair.client, pair.there)?;
        let answer = pair
            .client
            .try_call(pair.there, MappingCommand::Advise(*advice))?;
        expect_that(allowed.contains(&answer.err()), || {
            unexpected(&advice.to_string(), allowed, answer)
        })?;
        case.log(&format!("{advice}: {}", answer.words()));
        expect("pages", pair.server.pages()?, 3)?;
        let what = |side| format!("{side} after {advice}");
        // The server has them, and the client finds them again.
        let step = pair.server.verify(pair.here, 0, pair.len, seed + 1);
        step.map_err(|failure| with(&what("the server"), failure))?;
        let step = pair.client.verify(pair.there, 0, pair.len, seed + 1);
        step.map_err(|failure| with(&what("the client"), failure))?;
        expect(
            &what("frames"),
            self::frames(&mut pair.client, pair.there)?,
            frames,
        )?;
        // Of a part that nobody else has mapped, with a child that inherits what became of it.
        let word = pair.server.load(pair.here, 2 * page)?;
        pair.server.unmap(pair.here)?;
        let tail = pair.client.cut(pair.there, page)?;
        let answer = pair
            .client
            .try_call(tail, MappingCommand::Advise(*advice))?;
        expect_that(allowed.contains(&answer.err()), || {
            unexpected(&format!("{advice} of a part"), allowed, answer)
        })?;
        // What the kernel believes it can have again, it takes now.
        write_file("/proc/sys/vm/drop_caches", b"1")?;
        expect("pages of the client alone", pair.server.pages()?, 3)?;
        let mut child = pair.client.fork("child")?;
        child.verify(pair.there, 0, page, seed + 1)?;
        expect(&what("a child's word"), child.load(tail, page)?, word)?;
        child.quit()?;
        expect(&what("a word"), pair.client.load(tail, page)?, word)?;
        pair.here = pair.server.map_pages(pair.server.page_id(0)?, 3)?;
        pair.server.verify(pair.here, 0, pair.len, seed + 1)?;
        pair.client.unmap(tail)?;
        pair.client.unmap(pair.there)?;
        pair.server.await_munmaps(round as u64 + 1)?;
        pair.there = pair.client.map(0, pair.len)?;
    }
    pair.client.quit()?;
    pair.server.quit()
}

/// Text of an answer that is not allowed.
fn unexpected(what: &str, allowed: &[Option<Errno>], answer: Result<(), Errno>) -> String {
    let allowed: Vec<String> = allowed.iter().map(Words::words).collect();
    format!(
        "{what}: expected {}, {}",
        allowed.join(" or "),
        answer.found()
    )
}

fn frames(process: &mut Client, map: Map) -> Result<Vec<u64>, Failure> {
    (0..3)
        .map(|index| {
            process.load(map, index * page_size())?;
            process.frame(map, index * page_size())
        })
        .collect()
}

fn with(what: &str, failure: Failure) -> Failure {
    match failure {
        Failure::Fail(reason) => Failure::Fail(format!("{what}: {reason}")),
        skip => skip,
    }
}

/// Pages can be had before they are touched, and are those that the touch would have brought.
fn populate(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut pair = Pair::new(case, 0, 4)?;
    pair.server.fill(pair.here, page, page, 1)?;
    expect("pages before MADV_POPULATE_READ", pair.server.pages()?, 1)?;
    let tail = pair.client.cut(pair.there, 2 * page)?;
    let read = MappingCommand::Advise(Advice::PopulateRead);
    pair.client.call(pair.there, read)?;
    expect("pages after MADV_POPULATE_READ", pair.server.pages()?, 2)?;
    let write = MappingCommand::Advise(Advice::PopulateWrite);
    pair.client.call(tail, write)?;
    expect("pages after MADV_POPULATE_WRITE", pair.server.pages()?, 4)?;
    pair.client.verify_zero(pair.there, 0, page)?;
    pair.client.verify(pair.there, page, page, 1)?;
    pair.server.verify_zero(pair.here, 2 * page, 2 * page)?;
    pair.client.store(tail, 0, 7)?;
    let word = pair.server.load(pair.here, 2 * page)?;
    expect("a store afterwards", word, 7)?;
    pair.end(1)
}

/// What is not to be inherited is not there in a child, and a child's life does not keep it.
fn dont_fork(case: &mut Case) -> Result<(), Failure> {
    let mut pair = Pair::new(case, 0, 2)?;
    pair.agree(1)?;
    pair.client
        .call(pair.there, MappingCommand::Advise(Advice::DontFork))?;
    for store in [false, true] {
        let touched = pair.client.touch(pair.there, 0, store)?;
        expect("a child's touch", touched, Touch::Sigsegv)?;
    }
    pair.agree(3)?;
    pair.client
        .call(pair.there, MappingCommand::Advise(Advice::DoFork))?;
    let touched = pair.client.touch(pair.there, 0, true)?;
    expect("a child's touch, inherited", touched, Touch::Success)?;

    pair.client
        .call(pair.there, MappingCommand::Advise(Advice::DontFork))?;
    let child = pair.client.fork("child")?;
    let maps = read_text(&format!("/proc/{}/maps", child.pid()))?;
    expect_that(!maps.contains(&pair.server.path), || {
        format!("the child has the file mapped:\n{maps}")
    })?;
    pair.agree(5)?;
    pair.server.unmap(pair.here)?;
    pair.client.unmap(pair.there)?;
    pair.server.await_munmaps(1)?;
    expect("pages while the child lives", pair.server.pages()?, 0)?;
    child.quit()?;
    pair.client.quit()?;
    pair.server.quit()
}

/// mlock does nothing, and msync does to the file what fsync does; neither does anything to the pages.
fn lock_sync(case: &mut Case) -> Result<(), Failure> {
    let mut pair = Pair::new(case, 0, 3)?;
    pair.agree(1)?;
    pair.client.call(pair.there, MappingCommand::Lock)?;
    let flags = vm_flags(&mut pair.client, pair.there)?;
    expect_that(!flags.contains(&"lo".to_owned()), || {
        format!("the mapping is locked: its VmFlags are {}", flags.join(" "))
    })?;
    expect("VmLck", locked(&pair.client)?.as_str(), "0 kB")?;
    pair.client.verify(pair.there, 0, pair.len, 2)?;
    pair.agree(3)?;
    pair.client.call(pair.there, MappingCommand::Unlock)?;
    pair.agree(5)?;

    let flags = OpenFlags::READ | OpenFlags::WRITE;
    let fsync = Fd::open(&pair.server.path, flags)?.sync();
    let fsync = fsync.map_err(|error| error.errno);
    case.log(&format!("fsync: {}", fsync.words()));
    let answer = pair
        .client
        .try_call(pair.there, MappingCommand::Sync { wait: true })?;
    expect("msync, as fsync", answer, fsync)?;
    pair.client
        .call(pair.there, MappingCommand::Sync { wait: false })?;
    pair.client.verify(pair.there, 0, pair.len, 6)?;
    pair.agree(7)?;
    expect("pages", pair.server.pages()?, 3)?;
    pair.client.call(pair.there, MappingCommand::Lock)?;
    pair.end(1)
}

/// `VmLck:` of `/proc/PID/status`.
fn locked(process: &Client) -> Result<String, Failure> {
    let text = read_text(&format!("/proc/{}/status", process.pid()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmLck:"));
    let line = line.ok_or_else(|| Failure::new("/proc/PID/status has no VmLck"))?;
    Ok(line.trim().to_owned())
}

/// A core dump leaves the mapping out.
fn expect_left_out(process: &mut impl Process, map: Map, when: &str) -> Result<(), Failure> {
    let flags = vm_flags(process, map)?;
    expect_that(flags.contains(&"dd".to_owned()), || {
        format!(
            "a core dump would have the mapping {when}: its VmFlags are {}, without dd",
            flags.join(" ")
        )
    })
}

/// The pages are in no core dump, and nothing can bring them there.
fn no_dump(case: &mut Case) -> Result<(), Failure> {
    let (page, period) = (page_size(), case.period());
    let mut pair = Pair::new(case, 0, 4)?;
    expect_left_out(&mut pair.client, pair.there, "when it is new")?;
    expect_left_out(&mut pair.server, pair.here, "of the server")?;
    pair.agree(1)?;
    let answer = pair
        .client
        .try_call(pair.there, MappingCommand::Advise(Advice::DoDump))?;
    expect("MADV_DODUMP", answer, Err(Errno::EINVAL))?;
    expect_left_out(&mut pair.client, pair.there, "after MADV_DODUMP")?;
    let answer = pair
        .server
        .try_call(pair.here, MappingCommand::Advise(Advice::DoDump))?;
    expect("the server's MADV_DODUMP", answer, Err(Errno::EINVAL))?;
    expect_left_out(&mut pair.server, pair.here, "after the server's")?;

    let mut child = pair.client.fork("child")?;
    expect_left_out(&mut child, pair.there, "in a child")?;
    child.quit()?;
    let tail = pair.client.cut(pair.there, 2 * page)?;
    pair.client
        .call(tail, MappingCommand::Protect(Prot::Read))?;
    expect_left_out(&mut pair.client, tail, "of a part")?;
    let residue = pair.client.area(pair.there)?.start % period;
    let call = MappingCommand::Move {
        len: 2 * page,
        residue,
        period,
    };
    pair.client.call(pair.there, call)?;
    expect_left_out(&mut pair.client, pair.there, "after a move")?;
    pair.end(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_advice_may_not_do_is_named() {
        let allowed = [None, Some(Errno::EINVAL)];
        let what = Advice::HugePage.to_string();
        insta::assert_snapshot!(unexpected(&what, &allowed, Err(Errno::ENOMEM)), @"MADV_HUGEPAGE: expected success or EINVAL, found ENOMEM");
        insta::assert_snapshot!(unexpected(&what, &allowed[1..], Ok(())), @"MADV_HUGEPAGE: expected EINVAL, but it succeeded");
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands about one mapping: loads and stores, system calls that change it or use it as a buffer.

use std::time::Duration;

use sys::{Access, FutexWait, Instant, Mapping, page_size, read_text};

use crate::stage::command::{Answer, Area, Endpoint, MappingCommand, Touch};
use crate::stage::{pattern, role};

/// Longest wait for another process, as in [`crate::stage::role`].
const TIMEOUT: Duration = Duration::from_secs(8);

/// Executes a command that neither adds nor removes a mapping or a pin.
pub(crate) fn execute(mapping: &mut Mapping, command: MappingCommand) -> Answer {
    match command {
        MappingCommand::Load { at } => Answer::Number(mapping.load(at)),
        MappingCommand::Store { at, value } => {
            mapping.store(at, value);
            Answer::Done
        }
        MappingCommand::LoadU32 { at } => Answer::Number(mapping.load::<u32>(at).into()),
        MappingCommand::Fill { at, len, seed } => {
            mapping.copy_in(at, &pattern::bytes(seed, at, len));
            Answer::Done
        }
        MappingCommand::Verify { at, len, seed } => {
            verify(mapping, at, &pattern::bytes(seed, at, len))
        }
        MappingCommand::VerifyZero { at, len } => verify(mapping, at, &vec![0; len]),
        MappingCommand::TimeTouches => {
            let start = Instant::now();
            for at in (0..mapping.len()).step_by(page_size()) {
                mapping.load::<u64>(at);
            }
            Answer::Number(start.elapsed().as_nanos() as u64)
        }
        MappingCommand::Probe { at } => Answer::Touch(match mapping.probe(at) {
            Ok(_) => Touch::Success,
            Err(_) => Touch::Efault,
        }),
        MappingCommand::Touch { at, store } => {
            let access = if store { Access::Store } else { Access::Load };
            Answer::of(mapping.touch(at, access), |status| Answer::Touch(status.into()))
        }
        MappingCommand::Play(role) => match role::play(&role, mapping) {
            Ok(figures) => Answer::Figures(figures),
            Err(why) => Answer::Failed(why),
        },
        MappingCommand::Address => Answer::Number(mapping.address()),
        MappingCommand::Area => match area(mapping.address()) {
            Ok(Some(area)) => Answer::Area(area),
            Ok(None) => Answer::Failed("/proc/self/maps does not show the mapping".into()),
            Err(error) => error.into(),
        },
        MappingCommand::Frame { at } => frame(mapping, at),
        MappingCommand::Resize { len } => Answer::done(mapping.resize(len)),
        MappingCommand::Move { len, residue, period } => Answer::done(
            Mapping::reserve_at(len, residue, period).and_then(|room| mapping.move_to(room, len)),
        ),
        MappingCommand::RemapDontUnmap => Answer::done(mapping.remap_dontunmap().map(drop)),
        MappingCommand::Protect(prot) => Answer::done(mapping.protect(prot)),
        MappingCommand::Advise(advice) => Answer::done(mapping.advise(advice)),
        MappingCommand::TimeAdvise(advice) => {
            Answer::time_of(|| mapping.advise(advice).map_err(Answer::from))
        }
        MappingCommand::Lock => Answer::done(mapping.lock()),
        MappingCommand::Unlock => Answer::done(mapping.unlock()),
        MappingCommand::Sync { wait } => Answer::done(mapping.sync(wait)),
        MappingCommand::Read { from, at, len, seed } => {
            Answer::done(read(mapping, from, at, &pattern::bytes(seed, at, len)))
        }
        MappingCommand::Write { into, at, len, seed } => {
            Answer::of(write(mapping, into, at, len), |found| {
                Answer::compared(pattern::difference(at, &found, &pattern::bytes(seed, at, len)))
            })
        }
        MappingCommand::SetRobustList { at } => Answer::done(mapping.own_robust_futex(at)),
        MappingCommand::AwaitFutexWaiter { at } => await_futex_waiter(mapping, at),
        MappingCommand::FutexWait { at, expected } => futex_wait(mapping, at, expected),
        MappingCommand::Unmap
        | MappingCommand::Punch { .. }
        | MappingCommand::Cut { .. }
        | MappingCommand::Pin { .. } => {
            unreachable!("{command:?} adds or removes a mapping or a pin")
        }
    }
}

/// Compares the bytes at `at` with `expected`.
fn verify(mapping: &Mapping, at: usize, expected: &[u8]) -> Answer {
    let mut found = vec![0; expected.len()];
    mapping.copy_out(at, &mut found);
    Answer::compared(pattern::difference(at, &found, expected))
}

fn frame(mapping: &Mapping, at: usize) -> Answer {
    match mapping.frame(at) {
        Ok(Some(frame)) => Answer::Number(frame),
        Ok(None) => Answer::Failed(format!("no page is present at byte {at:#x} of the mapping")),
        Err(error) => error.into(),
    }
}

/// Reads `bytes` from a pipe or file to byte `at` of the mapping.
fn read(mapping: &Mapping, from: Endpoint, at: usize, bytes: &[u8]) -> sys::Result<()> {
    match from {
        Endpoint::Pipe => {
            let (reads, writes) = sys::pipe()?;
            writes.write_all(bytes)?;
            mapping.read_from(at, bytes.len(), &reads, None)
        }
        Endpoint::File => {
            let file = sys::memfd("other", 0)?;
            file.write_all(bytes)?;
            mapping.read_from(at, bytes.len(), &file, Some(0))
        }
    }
}

/// Writes `len` bytes from byte `at` of the mapping to a pipe or file, and returns what the pipe or file then contains.
fn write(mapping: &Mapping, into: Endpoint, at: usize, len: usize) -> sys::Result<Vec<u8>> {
    match into {
        Endpoint::Pipe => {
            let (reads, writes) = sys::pipe()?;
            mapping.write_to(at, len, &writes, None)?;
            drop(writes);
            reads.read_to_end()
        }
        Endpoint::File => {
            let file = sys::memfd("other", 0)?;
            mapping.write_to(at, len, &file, Some(0))?;
            file.read_to_end()
        }
    }
}

fn await_futex_waiter(mapping: &Mapping, at: usize) -> Answer {
    let start = Instant::now();
    while start.elapsed() < TIMEOUT {
        match mapping.count_futex_waiters(at, 1) {
            Ok(0) => sys::yield_now(),
            Ok(_) => return Answer::Done,
            Err(error) => return error.into(),
        }
    }
    Answer::Failed(format!("no process waited on the futex at {at:#x} within {TIMEOUT:?}"))
}

fn futex_wait(mapping: &Mapping, at: usize, expected: u32) -> Answer {
    match mapping.futex_wait(at, expected, TIMEOUT) {
        Err(error) => error.into(),
        Ok(FutexWait::TimedOut) => Answer::Failed(format!(
            "no process woke the futex at {at:#x} within {TIMEOUT:?}; its word was {expected:#x} and is now {:#x}",
            mapping.load::<u32>(at)
        )),
        // A wait that was interrupted restarts, and the kernel then compares the word again.
        Ok(FutexWait::Woken | FutexWait::Changed) => Answer::Done,
    }
}

/// Returns the line of `/proc/self/maps` whose range contains `address`.
fn area(address: u64) -> sys::Result<Option<Area>> {
    let text = read_text("/proc/self/maps")?;
    Ok(text.lines().filter_map(parse_area).find(|area| (area.start..area.end).contains(&address)))
}

/// Parses a line `START-END MODE OFFSET DEVICE INODE PATH`, whose first numbers are hexadecimal.
fn parse_area(line: &str) -> Option<Area> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    Some(Area {
        start: hex(start)?,
        end: hex(end)?,
        mode: words.next()?.to_owned(),
        offset: hex(words.next()?)?,
        path: words.nth(2).unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sys::{Prot, Sharing, memfd};

    fn mapping() -> Mapping {
        let file = memfd("calls", page_size() as u64).unwrap();
        Mapping::of(&file, 0, page_size(), Prot::ReadWrite, Sharing::Shared).unwrap()
    }

    #[test]
    fn a_line_of_maps_is_read() {
        let line = "7f10a000-7f10c000 rw-s 00005000 00:1f 2                          /mnt/file";
        assert_eq!(
            parse_area(line),
            Some(Area {
                start: 0x7f10_a000,
                end: 0x7f10_c000,
                mode: "rw-s".into(),
                offset: 0x5000,
                path: "/mnt/file".into(),
            })
        );
        assert_eq!(parse_area("nonsense"), None);
    }

    #[test]
    fn bytes_through_a_pipe_or_a_file_are_compared() {
        let mut mapping = mapping();
        let (at, len, seed) = (5, 300, 1);
        for other in [Endpoint::Pipe, Endpoint::File] {
            let read = MappingCommand::Read { from: other, at, len, seed };
            assert_eq!(execute(&mut mapping, read), Answer::Done);
            let write = |seed| MappingCommand::Write { into: other, at, len, seed };
            assert_eq!(execute(&mut mapping, write(1)), Answer::Done);
            let wrong = execute(&mut mapping, write(2));
            assert!(matches!(wrong, Answer::Failed(_)), "{wrong:?}");
        }
    }
}

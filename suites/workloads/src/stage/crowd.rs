// SPDX-License-Identifier: MIT OR Apache-2.0
//! Many mappings of a client, and many processes that have them: the load of the suite `scale`. The client measures
//! the time of what it does with them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sys::{Fd, ForkResult, Instant, Mapping, Pid, Prot, Sharing, page_size};

use crate::stage::command::Answer;

/// Longest wait for the processes of a crowd.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Interval at which a client looks whether its processes are done. It is not part of any measured time.
const POLL_INTERVAL: Duration = Duration::from_micros(500);

/// Turn that ends the processes.
const END: u32 = u32::MAX;

/// Command for the crowd of a client. The answer is the time in nanoseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CrowdCommand {
    /// Maps `len` bytes of the file `count` times.
    Map {
        count: usize,
        len: usize,
        /// Number of parts of the file that the mappings show in turns.
        parts: usize,
    },
    /// Stores to each page of each mapping, in the client and in its processes.
    Touch,
    /// Unmaps the last `count` mappings.
    Unmap { count: usize },
    /// Forks processes, which have all mappings.
    Fork { processes: usize },
    /// Ends the processes and waits until all are gone.
    Dismiss,
}

/// Mappings and processes of a client.
#[derive(Default)]
pub(crate) struct Crowd {
    maps: Vec<Mapping>,
    processes: Vec<Pid>,
    /// Memory that the client shares with its processes: the number of the current turn, then, for each process, the
    /// number of the last turn that it has done.
    board: Option<Mapping>,
    turn: u32,
}

impl Crowd {
    /// Executes a command. `file` is the file that the client maps.
    pub(crate) fn execute(&mut self, file: Option<&Fd>, command: CrowdCommand) -> Answer {
        Answer::time_of(|| match command {
            CrowdCommand::Map { count, len, parts } => {
                let file = file.ok_or_else(|| Answer::Failed("the file is not open".into()))?;
                Ok(self.map(file, count, len, parts)?)
            }
            CrowdCommand::Touch => self.touch(),
            CrowdCommand::Unmap { count } => Ok(self.unmap(count)?),
            CrowdCommand::Fork { processes } => Ok(self.fork(processes)?),
            CrowdCommand::Dismiss => Ok(self.dismiss()?),
        })
    }

    /// Maps every other part, the last one first. Where the kernel chooses addresses from the top down, the mappings of
    /// all parts then fit into one colour period, and no two of them can merge.
    fn map(&mut self, file: &Fd, count: usize, len: usize, parts: usize) -> sys::Result<()> {
        for _ in 0..count {
            let part = parts - 1 - self.maps.len() % parts;
            let offset = (2 * part * len) as u64;
            let mapping = Mapping::of(file, offset, len, Prot::ReadWrite, Sharing::Shared)?;
            self.maps.push(mapping);
        }
        Ok(())
    }

    fn unmap(&mut self, count: usize) -> sys::Result<()> {
        let kept = self.maps.len().saturating_sub(count);
        self.maps.drain(kept..).rev().try_for_each(Mapping::unmap)
    }

    fn touch(&mut self) -> Result<(), Answer> {
        if let Some(board) = &self.board {
            self.turn += 1;
            board.store_release(0, self.turn);
            board.futex_wake(0, u32::MAX >> 1)?;
        }
        touch_all(&self.maps);
        self.await_turn()
    }

    /// Waits until each process has done the current turn.
    fn await_turn(&self) -> Result<(), Answer> {
        let Some(board) = &self.board else {
            return Ok(());
        };
        let start = Instant::now();
        loop {
            let behind =
                (0..self.processes.len()).filter(|at| board.load_acquire(slot(*at)) != self.turn);
            let behind = behind.count();
            if behind == 0 {
                return Ok(());
            }
            if start.elapsed() > TIMEOUT {
                let all = self.processes.len();
                return Err(Answer::Failed(format!(
                    "{behind} of {all} processes did not touch their mappings within {TIMEOUT:?}"
                )));
            }
            sys::sleep(POLL_INTERVAL);
        }
    }

    fn fork(&mut self, processes: usize) -> sys::Result<()> {
        let len = slot(processes).next_multiple_of(page_size());
        let file = sys::memfd("board", len as u64)?;
        let board = Mapping::of(&file, 0, len, Prot::ReadWrite, Sharing::Shared)?;
        for at in 0..processes {
            match sys::fork()? {
                ForkResult::Parent(pid) => self.processes.push(pid),
                ForkResult::Child => {
                    let _ = sys::die_with_parent();
                    sys::name_process("sharer");
                    take_turns(&board, slot(at), &self.maps);
                }
            }
        }
        self.turn = 0;
        self.board = Some(board);
        Ok(())
    }

    fn dismiss(&mut self) -> sys::Result<()> {
        if let Some(board) = self.board.take() {
            board.store_release(0, END);
            board.futex_wake(0, u32::MAX >> 1)?;
        }
        self.processes.drain(..).try_for_each(|pid| sys::wait(pid).map(drop))
    }
}

/// Returns the byte of a process's word on the board.
fn slot(process: usize) -> usize {
    4 * (process + 1)
}

/// Stores to each page of each mapping. A store of a new page maps just this page; a load would map its neighbours too
/// where the file supports it (`fault-around`), as a memfd does.
fn touch_all(maps: &[Mapping]) {
    for map in maps {
        for at in (0..map.len()).step_by(page_size()) {
            map.store::<u32>(at, 1);
        }
    }
}

/// Touches the mappings once for each turn, until the last turn.
fn take_turns(board: &Mapping, slot: usize, maps: &[Mapping]) -> ! {
    let mut done = 0;
    loop {
        let turn = board.load_acquire(0);
        if turn == END {
            sys::exit(0);
        }
        if turn == done {
            let _ = board.futex_wait(0, turn, TIMEOUT);
            continue;
        }
        touch_all(maps);
        board.store_release(slot, turn);
        done = turn;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_touches_all_its_mappings() {
        let page = page_size();
        let file = sys::memfd("crowd", 3 * page as u64).unwrap();
        let mut crowd = Crowd::default();
        let mut run = |command| match crowd.execute(Some(&file), command) {
            Answer::Number(_) => {}
            other => panic!("{other:?}"),
        };
        run(CrowdCommand::Map { count: 5, len: page, parts: 2 });
        run(CrowdCommand::Fork { processes: 3 });
        run(CrowdCommand::Touch);
        run(CrowdCommand::Touch);
        run(CrowdCommand::Dismiss);
        run(CrowdCommand::Touch);
        run(CrowdCommand::Unmap { count: 2 });
        assert_eq!(crowd.maps.len(), 3);
        let view = Mapping::of(&file, 0, 3 * page, Prot::Read, Sharing::Shared).unwrap();
        assert_eq!([0, 1, 2].map(|at| view.load::<u32>(at * page)), [1, 0, 1]);
    }

    #[test]
    fn mappings_need_an_open_file() {
        let map = CrowdCommand::Map { count: 1, len: page_size(), parts: 1 };
        let answer = Crowd::default().execute(None, map);
        insta::assert_snapshot!(answer.describe(), @"the file is not open");
    }
}

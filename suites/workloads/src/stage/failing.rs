// SPDX-License-Identifier: MIT OR Apache-2.0
//! Allocations that fail: the kernel fails the n-th that a thread makes once its number is in `/proc/thread-self/fail-nth`
//! (Documentation/fault-injection/fault-injection.rst).

use sys::{Fd, OpenFlags};

use super::command::{Answer, Command};
use super::{Failure, Process};

/// Where a thread says which of its allocations fails. Missing where the kernel injects no faults.
pub(crate) const FAIL_NTH: &str = "/proc/thread-self/fail-nth";

/// Does something with the `nth` allocation of this process on the way failing.
pub(crate) fn failing(nth: u32, act: impl FnOnce() -> Answer) -> Answer {
    let injected = || -> sys::Result<Answer> {
        // Opened before and closed afterwards: both allocate.
        let file = Fd::open(FAIL_NTH, OpenFlags::READ | OpenFlags::WRITE)?;
        file.write_at(nth.to_string().as_bytes(), 0)?;
        let answer = act();
        let mut left = [0; 16];
        let len = file.read_at(&mut left, 0)?;
        file.write_at(b"0", 0)?;
        Ok(Answer::Failing {
            failed: left[..len].trim_ascii() == b"0",
            answer: Box::new(answer),
        })
    };
    injected().unwrap_or_else(Answer::from)
}

impl Process {
    /// Has it do something with the `nth` allocation on the way failing: whether there were so many, and what came of it.
    pub(crate) fn failing(
        &mut self,
        nth: u32,
        command: Command,
    ) -> Result<(bool, Answer), Failure> {
        let command = Command::Failing {
            nth,
            command: Box::new(command),
        };
        match self.party.ask(&command)? {
            Answer::Failing { failed, answer } => Ok((failed, *answer)),
            other => Err(self.party.strange(&other)),
        }
    }
}

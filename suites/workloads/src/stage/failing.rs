// SPDX-License-Identifier: MIT OR Apache-2.0
//! Allocations that fail: the kernel fails the n-th that a thread makes once its number is in `/proc/thread-self/fail-nth`
//! (Documentation/fault-injection/fault-injection.rst).

use serde::Serialize;
use sys::{Fd, OpenFlags};

use crate::stage::client::Client;
use crate::stage::command::{Answer, ClientCommand, Command, ServerCommand};
use crate::stage::failure::Failure;
use crate::stage::party::Party;
use crate::stage::server::Server;

/// Where a thread says which of its allocations fails. Missing where the kernel injects no faults.
pub(crate) const FAIL_NTH: &str = "/proc/thread-self/fail-nth";

/// Runs `act` while the `nth` allocation of this thread fails.
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

/// Has a process run a command while the `nth` allocation on the way fails. Returns true if there were so many, and the
/// answer.
fn ask_failing<Own: Serialize>(
    party: &mut Party<Own>,
    nth: u32,
    command: Command<Own>,
) -> Result<(bool, Answer), Failure> {
    let command = Command::Failing {
        nth,
        command: Box::new(command),
    };
    match party.execute_any(&command)? {
        Answer::Failing { failed, answer } => Ok((failed, *answer)),
        other => Err(party.link.unexpected(&other)),
    }
}

impl Client {
    /// Runs a command while the `nth` allocation on the way fails. Returns true if there were so many, and the answer.
    pub(crate) fn failing(
        &mut self,
        nth: u32,
        command: Command<ClientCommand>,
    ) -> Result<(bool, Answer), Failure> {
        ask_failing(&mut self.party, nth, command)
    }

    /// Takes over the process that this one has forked, if `answer` says so.
    pub(crate) fn adopt(&self, name: &str, answer: &Answer) -> Result<Option<Client>, Failure> {
        let party = self.party.adopt(name, answer)?;
        Ok(party.map(|party| Client { party }))
    }
}

impl Server {
    /// Runs a command while the `nth` allocation on the way fails. Returns true if there were so many, and the answer.
    pub(crate) fn failing(
        &mut self,
        nth: u32,
        command: Command<ServerCommand>,
    ) -> Result<(bool, Answer), Failure> {
        ask_failing(&mut self.party, nth, command)
    }
}

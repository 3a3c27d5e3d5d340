// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fault injection: after a thread has written n to `/proc/thread-self/fail-nth`, the kernel fails the n-th allocation
//! of this thread (Documentation/fault-injection/fault-injection.rst).

use serde::Serialize;
use sys::{Fd, OpenFlags};

use crate::stage::client::Client;
use crate::stage::command::{Answer, ClientCommand, Command, ServerCommand};
use crate::stage::failure::Failure;
use crate::stage::party::Party;
use crate::stage::server::Server;

/// File with the number of the allocation that fails. Missing if the kernel does not support fault injection.
pub(crate) const FAIL_NTH: &str = "/proc/thread-self/fail-nth";

/// Runs `act` with the `nth` allocation of this thread set to fail.
pub(crate) fn failing(nth: u32, act: impl FnOnce() -> Answer) -> Answer {
    let injected = || -> sys::Result<Answer> {
        // Opened before and closed after the injection, because both allocate.
        let file = Fd::open(FAIL_NTH, OpenFlags::READ | OpenFlags::WRITE)?;
        file.write_at(nth.to_string().as_bytes(), 0)?;
        let answer = act();
        let mut left = [0; 16];
        let len = file.read_at(&mut left, 0)?;
        file.write_at(b"0", 0)?;
        Ok(Answer::Failing { failed: left[..len].trim_ascii() == b"0", answer: Box::new(answer) })
    };
    injected().unwrap_or_else(Answer::from)
}

/// Has a process execute a command whose `nth` allocation fails. Returns true if an allocation failed, and the answer.
fn execute_failing<Own: Serialize>(
    party: &mut Party<Own>,
    nth: u32,
    command: Command<Own>,
) -> Result<(bool, Answer), Failure> {
    match party.execute_any(&Command::Failing { nth, command: Box::new(command) })? {
        Answer::Failing { failed, answer } => Ok((failed, *answer)),
        other => Err(party.link.unexpected(&other)),
    }
}

impl Client {
    /// Has the client execute a command whose `nth` allocation fails. Returns true if an allocation failed, and the
    /// answer.
    pub(crate) fn failing(
        &mut self,
        nth: u32,
        command: Command<ClientCommand>,
    ) -> Result<(bool, Answer), Failure> {
        execute_failing(&mut self.party, nth, command)
    }

    /// Opens the pipes to the client that this one has forked. Returns `None` if `answer` is not [`Answer::Forked`].
    pub(crate) fn adopt(&self, name: &str, answer: &Answer) -> Result<Option<Client>, Failure> {
        let party = self.party.adopt(name, answer)?;
        Ok(party.map(|party| Client { party }))
    }
}

impl Server {
    /// Has the server execute a command whose `nth` allocation fails. Returns true if an allocation failed, and the
    /// answer.
    pub(crate) fn failing(
        &mut self,
        nth: u32,
        command: Command<ServerCommand>,
    ) -> Result<(bool, Answer), Failure> {
        execute_failing(&mut self.party, nth, command)
    }
}

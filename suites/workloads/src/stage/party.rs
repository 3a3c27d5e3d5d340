// SPDX-License-Identifier: MIT OR Apache-2.0
//! Processes of a case. Commands go to a process through one pipe, and its answers come back through another.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sys::{Errno, ExitStatus, Fd, ForkResult, KillTarget, OpenFlags, Pid, Signal};

use crate::stage::command::{Answer, Command, Map};
use crate::stage::failure::{Failure, Tried};

/// The case's side of a process whose own commands are `Own`.
#[derive(Debug)]
pub(crate) struct Party<Own> {
    pub(crate) link: Link,
    own: PhantomData<fn(Own)>,
}

impl<Own: Serialize> Party<Own> {
    /// Forks a process that runs `body` with its ends of the pipes, and then exits.
    pub(crate) fn fork(name: &str, body: impl FnOnce(Control<Own>)) -> Result<Party<Own>, Failure> {
        let (pid, to, from) = fork_with_pipes(name, |control| {
            let _ = sys::die_with_parent();
            body(control);
        })?;
        Ok(Party::new(Link {
            name: name.to_owned(),
            pid,
            to,
            from: Lines::new(from),
            child: true,
            reaped: false,
        }))
    }

    fn new(link: Link) -> Party<Own> {
        Party { link, own: PhantomData }
    }

    /// Has the process fork a process of its kind.
    pub(crate) fn fork_child(&mut self, name: &str) -> Result<Party<Own>, Failure> {
        let answer = self.execute(&Command::Fork { name: name.to_owned() })?;
        self.adopt(name, &answer)?.ok_or_else(|| self.link.unexpected(&answer))
    }

    /// Opens the pipes to the process that this one has forked. Returns `None` if `answer` is not [`Answer::Forked`].
    pub(crate) fn adopt(&self, name: &str, answer: &Answer) -> Result<Option<Party<Own>>, Failure> {
        let Answer::Forked { pid, to, from } = *answer else {
            return Ok(None);
        };
        let path = |number: i32| format!("/proc/{}/fd/{number}", self.link.pid);
        Ok(Some(Party::new(Link {
            name: name.to_owned(),
            pid: Pid(pid),
            to: Fd::open(&path(to), OpenFlags::WRITE)?,
            from: Lines::new(Fd::open(&path(from), OpenFlags::READ)?),
            child: false,
            reaped: false,
        })))
    }

    /// Sends a command. The caller must receive the answer from [`Party::link`].
    pub(crate) fn send(&mut self, command: &Command<Own>) -> Result<(), Failure> {
        let line = serde_json::to_string(command).expect("a command is plain data") + "\n";
        match self.link.to.write_all(line.as_bytes()) {
            Ok(()) => Ok(()),
            Err(_) => Err(self.link.died()),
        }
    }

    /// Sends a command and returns any answer, errors included.
    pub(crate) fn execute_any(&mut self, command: &Command<Own>) -> Result<Answer, Failure> {
        self.send(command)?;
        self.link.receive_any()
    }

    /// Sends a command that must succeed, and returns the answer.
    pub(crate) fn execute(&mut self, command: &Command<Own>) -> Result<Answer, Failure> {
        self.send(command)?;
        self.link.receive()
    }

    /// Sends a command and returns the answer, or the error of the system call.
    pub(crate) fn try_execute(&mut self, command: &Command<Own>) -> Tried<Answer> {
        self.send(command)?;
        self.link.try_receive()
    }

    /// Does [`Party::execute`] with one of the process's own commands.
    pub(crate) fn execute_own(&mut self, command: Own) -> Result<Answer, Failure> {
        self.execute(&Command::Own(command))
    }

    /// Does [`Party::execute_own`] with a command whose answer is a time.
    pub(crate) fn time_own(&mut self, command: Own) -> Result<Duration, Failure> {
        let answer = self.execute_own(command)?;
        self.link.number(answer).map(Duration::from_nanos)
    }

    /// Does [`Party::execute_own`] with a command whose answer has no value.
    pub(crate) fn call_own(&mut self, command: Own) -> Result<(), Failure> {
        self.execute_own(command).map(drop)
    }

    /// Does [`Party::try_execute`] with one of the process's own commands.
    pub(crate) fn try_execute_own(&mut self, command: Own) -> Tried<Answer> {
        self.try_execute(&Command::Own(command))
    }

    /// Sends commands that must all succeed, and returns their answers. No other process has to run in between.
    pub(crate) fn execute_batch(
        &mut self,
        commands: Vec<Command<Own>>,
    ) -> Result<Vec<Answer>, Failure> {
        match self.execute(&Command::Batch(commands))? {
            Answer::Batch(answers) => Ok(answers),
            other => Err(self.link.unexpected(&other)),
        }
    }

    /// Has the process exit, with its mappings still mapped.
    pub(crate) fn quit(&mut self) -> Result<(), Failure> {
        self.send(&Command::Quit)?;
        match self.link.reap()? {
            None | Some(ExitStatus::Code(0)) => Ok(()),
            Some(status) => Err(self.link.failed(status)),
        }
    }
}

/// Pipes to a process, and its process ID: the part of a [`Party`] that does not depend on the type of its commands.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) pid: Pid,
    to: Fd,
    from: Lines,
    /// True for a child of this process. Only a child's exit status is available.
    child: bool,
    reaped: bool,
}

impl Link {
    /// Returns the next answer, errors included.
    pub(crate) fn receive_any(&mut self) -> Result<Answer, Failure> {
        match self.from.next()? {
            None => Err(self.died()),
            Some(line) => serde_json::from_str(&line)
                .map_err(|error| Failure::new(format!("{} answered {line:?}: {error}", self.name))),
        }
    }

    /// Returns the next answer, which must not be an error.
    pub(crate) fn receive(&mut self) -> Result<Answer, Failure> {
        match self.receive_any()? {
            error if error.is_error() => {
                let why = error.describe();
                Err(Failure::new(format!("{}: {why}", self.name)))
            }
            answer => Ok(answer),
        }
    }

    /// Returns the next answer, or the error of the system call.
    pub(crate) fn try_receive(&mut self) -> Tried<Answer> {
        match self.receive_any()? {
            Answer::Refused { errno, .. } => Ok(Err(Errno::from_raw(errno))),
            Answer::Failed(why) => Err(Failure::new(format!("{}: {why}", self.name))),
            answer => Ok(Ok(answer)),
        }
    }

    /// Returns true if an answer has come or comes within `time`.
    pub(crate) fn answers_within(&self, time: Duration) -> Result<bool, Failure> {
        Ok(sys::poll(&[&*self.from.fd], Some(time))?[0].any())
    }

    /// Returns true if the process is stopped, which is state T in proc_pid_stat(5).
    pub(crate) fn is_stopped(&self) -> Result<bool, Failure> {
        let stat = sys::read_text(&format!("/proc/{}/stat", self.pid.0))?;
        Ok(stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T')))
    }

    /// Returns the failure for an answer of the wrong kind, which is a bug in `stage`.
    pub(crate) fn unexpected(&self, answer: &Answer) -> Failure {
        Failure::new(format!("{} answered {answer:?}", self.name))
    }

    /// Returns the mapping in an answer.
    pub(crate) fn map(&self, answer: Answer) -> Result<Map, Failure> {
        match answer {
            Answer::Map(map) => Ok(map),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Returns the number in an answer.
    pub(crate) fn number(&self, answer: Answer) -> Result<u64, Failure> {
        match answer {
            Answer::Number(number) => Ok(number),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Returns the time of all writes and of all reads in an answer.
    pub(crate) fn times(&self, answer: Answer) -> Result<[Duration; 2], Failure> {
        match answer {
            Answer::Nanos { written, read } => Ok([written, read].map(Duration::from_nanos)),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Kills the process and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<(), Failure> {
        sys::kill(KillTarget::Process(self.pid), Signal::Kill)?;
        match self.reap()? {
            None | Some(ExitStatus::Signal(Signal::Kill)) => Ok(()),
            Some(status) => {
                Err(Failure::new(format!("{} should have been killed but {status}", self.name)))
            }
        }
    }

    /// Waits until the process is gone, and returns its exit status if it is a child of this process. For any other
    /// process, waits for the end of its pipe: a process that exits releases its memory before its descriptors
    /// (kernel/exit.c, do_exit()).
    fn reap(&mut self) -> Result<Option<ExitStatus>, Failure> {
        let status = match self.child {
            true => Some(sys::wait(self.pid)?),
            false => {
                while self.from.next()?.is_some() {}
                None
            }
        };
        self.reaped = true;
        Ok(status)
    }

    /// Returns the failure for a process that ended without a command to do so.
    fn died(&mut self) -> Failure {
        if self.reaped {
            return Failure::new(format!("{} was used after its end", self.name));
        }
        match self.reap() {
            Ok(Some(status)) => self.failed(status),
            Ok(None) => Failure::new(format!("{} has ended", self.name)),
            Err(failure) => failure,
        }
    }

    /// Returns the failure with the exit status of the process, and with its last answer, if any.
    fn failed(&mut self, status: ExitStatus) -> Failure {
        let why = match self.from.next() {
            Ok(Some(line)) => serde_json::from_str::<Answer>(&line).ok(),
            _ => None,
        };
        let why = why.map_or(String::new(), |why| format!(": {}", why.describe()));
        Failure::new(format!("{} {status}{why}", self.name))
    }
}

/// Executes `commands` in order, up to the first that fails.
pub(crate) fn execute_batch<Own, E>(
    commands: Vec<Command<Own>>,
    mut execute: impl FnMut(Command<Own>) -> Result<Answer, E>,
) -> Result<Answer, E> {
    let mut answers = Vec::new();
    for command in commands {
        let answer = execute(command)?;
        if answer.is_error() {
            return Ok(answer);
        }
        answers.push(answer);
    }
    Ok(Answer::Batch(answers))
}

/// Forks a child that runs `body` with its ends of the pipes, and then exits. Returns the child, the end for commands,
/// and the end for answers.
pub(crate) fn fork_with_pipes<Own>(
    name: &str,
    body: impl FnOnce(Control<Own>),
) -> sys::Result<(Pid, Fd, Fd)> {
    let (commands_out, commands_in) = sys::pipe()?;
    let (answers_out, answers_in) = sys::pipe()?;
    match sys::fork()? {
        ForkResult::Child => {
            drop((commands_in, answers_out));
            sys::name_process(name);
            body(Control {
                commands: Lines::new(commands_out),
                answers: answers_in,
                own: PhantomData,
            });
            sys::exit(0)
        }
        ForkResult::Parent(pid) => Ok((pid, commands_in, answers_out)),
    }
}

/// Returns the ends of the pipes to a thread of this process, and the thread's own ends.
pub(crate) fn thread_pipes<Own>() -> sys::Result<((Fd, Fd), ThreadControl<Own>)> {
    let (commands, commands_in) = sys::pipe()?;
    let (answers_out, answers) = sys::pipe()?;
    Ok(((commands_in, answers_out), ThreadControl { commands, answers, own: PhantomData }))
}

/// A thread's ends of its pipes, before the thread takes them.
pub(crate) struct ThreadControl<Own> {
    commands: Fd,
    answers: Fd,
    own: PhantomData<fn() -> Own>,
}

impl<Own> ThreadControl<Own> {
    /// Returns the ends for the thread that calls.
    pub(crate) fn into_control(self) -> Control<Own> {
        Control { commands: Lines::new(self.commands), answers: self.answers, own: PhantomData }
    }
}

/// Returns the answer to a fork. Keeps the pipes in `kept`, so that they stay open until the case has opened them.
pub(crate) fn fork_answer(
    forked: sys::Result<(Pid, Fd, Fd)>,
    kept: &mut Option<(Fd, Fd)>,
) -> Answer {
    Answer::of(forked, |(Pid(pid), to, from)| {
        let answer = Answer::Forked { pid, to: to.number(), from: from.number() };
        *kept = Some((to, from));
        answer
    })
}

/// The process's side of its pipes to the case.
#[derive(Debug)]
pub(crate) struct Control<Own> {
    commands: Lines,
    answers: Fd,
    own: PhantomData<fn() -> Own>,
}

impl<Own> Control<Own> {
    /// Returns the descriptor from which commands are read.
    pub(crate) fn fd(&self) -> Rc<Fd> {
        Rc::clone(&self.commands.fd)
    }

    /// Sends an answer.
    pub(crate) fn answer(&self, answer: &Answer) {
        let line = serde_json::to_string(answer).expect("an answer is plain data") + "\n";
        if self.answers.write_all(line.as_bytes()).is_err() {
            // The case has ended.
            sys::exit(1);
        }
    }

    /// Executes this program again with other arguments. Commands are at descriptor 0, answers at descriptor 3.
    pub(crate) fn exec(&self, args: &[&str]) -> sys::Result<()> {
        let output = ManuallyDrop::new(Fd::inherited(1));
        sys::replace_stdio(&[&self.commands.fd, &output, &output, &self.answers])?;
        sys::exec("/proc/self/exe", args)
    }
}

impl<Own: DeserializeOwned> Control<Own> {
    /// Returns the next command, or `None` if the case has ended.
    pub(crate) fn command(&mut self) -> Option<Command<Own>> {
        let line = self.commands.next().ok()??;
        Some(serde_json::from_str(&line).expect("commands are written by the same program"))
    }
}

/// Lines from a pipe. Each command is answered before the next is sent, so the pipe contains at most one line.
#[derive(Debug)]
struct Lines {
    fd: Rc<Fd>,
    buffer: Vec<u8>,
}

impl Lines {
    fn new(fd: Fd) -> Lines {
        Lines { fd: Rc::new(fd), buffer: Vec::new() }
    }

    /// Returns the next line, or `None` at the end of the pipe.
    fn next(&mut self) -> sys::Result<Option<String>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let rest = self.buffer.split_off(end + 1);
                let line = std::mem::replace(&mut self.buffer, rest);
                return Ok(Some(String::from_utf8_lossy(&line[..end]).into_owned()));
            }
            let mut piece = [0; 4096];
            match self.fd.read(&mut piece)? {
                0 => return Ok(None),
                n => self.buffer.extend_from_slice(&piece[..n]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::command::ClientCommand;

    fn party() -> Party<ClientCommand> {
        Party::fork("p", echo).unwrap()
    }

    fn echo(mut control: Control<ClientCommand>) {
        while let Some(command) = control.command() {
            match command {
                Command::Quit => return,
                Command::Own(ClientCommand::Close) => control.answer(&Answer::Number(7)),
                Command::Own(ClientCommand::Open) => control.answer(&Answer::Failed("no".into())),
                _ => sys::exit(3),
            }
        }
    }

    #[test]
    fn a_party_answers_and_quits() {
        let mut party = party();
        assert_eq!(party.execute_own(ClientCommand::Close), Ok(Answer::Number(7)));
        let failure = Err(Failure::new("p: no"));
        assert_eq!(party.execute_own(ClientCommand::Open), failure);
        assert_eq!(party.quit(), Ok(()));
    }

    #[test]
    fn the_end_of_a_party_is_reported_to_the_next_command() {
        let mut party = self::party();
        let answer = party.execute_own(ClientCommand::Segfault);
        assert_eq!(answer, Err(Failure::new("p exited with status 3")));
        let mut party = self::party();
        assert_eq!(party.link.kill(), Ok(()));
        let answer = party.execute_own(ClientCommand::Close);
        assert_eq!(answer, Err(Failure::new("p was used after its end")));
    }
}

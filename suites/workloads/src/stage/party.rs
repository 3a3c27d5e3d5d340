// SPDX-License-Identifier: MIT OR Apache-2.0
//! A process of a case: forked, commanded through one pipe, answering through another.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sys::{Errno, ExitStatus, Fd, ForkResult, KillTarget, OpenFlags, Pid, Signal};

use crate::stage::command::{Answer, Command, Map};
use crate::stage::failure::Failure;

/// A process of a case that takes commands of one kind, as the case sees it.
#[derive(Debug)]
pub(crate) struct Party<Own> {
    pub(crate) link: Link,
    own: PhantomData<fn(Own)>,
}

impl<Own: Serialize> Party<Own> {
    /// Forks; the child runs `body` with its end of the pipes and exits.
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
        Party {
            link,
            own: PhantomData,
        }
    }

    /// Has the process fork one like itself.
    pub(crate) fn fork_child(&mut self, name: &str) -> Result<Party<Own>, Failure> {
        let command = Command::Fork {
            name: name.to_owned(),
        };
        let answer = self.execute(&command)?;
        self.adopt(name, &answer)?
            .ok_or_else(|| self.link.unexpected(&answer))
    }

    /// Takes over the process that this one has forked, if `answer` says so.
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

    /// Sends a command; [`Link::receive_any`] takes the answer.
    pub(crate) fn send(&mut self, command: &Command<Own>) -> Result<(), Failure> {
        let line = serde_json::to_string(command).expect("a command is plain data") + "\n";
        match self.link.to.write_all(line.as_bytes()) {
            Ok(()) => Ok(()),
            Err(_) => Err(self.link.died()),
        }
    }

    /// Sends a command and returns the answer, whatever it is.
    pub(crate) fn execute_any(&mut self, command: &Command<Own>) -> Result<Answer, Failure> {
        self.send(command)?;
        self.link.receive_any()
    }

    /// Sends a command that must succeed.
    pub(crate) fn execute(&mut self, command: &Command<Own>) -> Result<Answer, Failure> {
        self.send(command)?;
        self.link.receive()
    }

    /// Sends a command; returns the error number if the kernel refuses.
    pub(crate) fn try_execute(
        &mut self,
        command: &Command<Own>,
    ) -> Result<Result<Answer, Errno>, Failure> {
        self.send(command)?;
        self.link.try_receive()
    }

    /// Sends one of the process's own commands, which must succeed.
    pub(crate) fn execute_own(&mut self, command: Own) -> Result<Answer, Failure> {
        self.execute(&Command::Own(command))
    }

    /// Sends one of the process's own commands; returns the error number if the kernel refuses.
    pub(crate) fn try_execute_own(
        &mut self,
        command: Own,
    ) -> Result<Result<Answer, Errno>, Failure> {
        self.try_execute(&Command::Own(command))
    }

    /// Sends commands that must succeed, and returns their answers when all are done.
    pub(crate) fn execute_batch(
        &mut self,
        commands: Vec<Command<Own>>,
    ) -> Result<Vec<Answer>, Failure> {
        match self.execute(&Command::AtOnce(commands))? {
            Answer::Each(answers) => Ok(answers),
            other => Err(self.link.unexpected(&other)),
        }
    }

    /// Lets the process end by itself, with everything it has mapped still mapped.
    pub(crate) fn quit(&mut self) -> Result<(), Failure> {
        self.send(&Command::Quit)?;
        match self.link.reap()? {
            None | Some(ExitStatus::Code(0)) => Ok(()),
            Some(ended) => Err(self.link.failed(ended)),
        }
    }
}

/// The pipes to a process of a case, and the process's number: all that does not depend on its commands.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) pid: Pid,
    to: Fd,
    from: Lines,
    /// True for a child of this process, whose exit status can be had.
    child: bool,
    reaped: bool,
}

impl Link {
    /// Returns the next answer.
    pub(crate) fn receive_any(&mut self) -> Result<Answer, Failure> {
        match self.from.next()? {
            None => Err(self.died()),
            Some(line) => serde_json::from_str(&line)
                .map_err(|error| Failure::new(format!("{} answered {line:?}: {error}", self.name))),
        }
    }

    /// Returns the next answer, which must be no refusal and no failure.
    pub(crate) fn receive(&mut self) -> Result<Answer, Failure> {
        match self.receive_any()? {
            bad if bad.is_bad() => Err(Failure::new(format!("{}: {}", self.name, bad.describe()))),
            good => Ok(good),
        }
    }

    /// Returns the next answer, or the error number if the kernel refused.
    pub(crate) fn try_receive(&mut self) -> Result<Result<Answer, Errno>, Failure> {
        match self.receive_any()? {
            Answer::Refused { errno, .. } => Ok(Err(Errno::from_raw(errno))),
            Answer::Failed(why) => Err(Failure::new(format!("{}: {why}", self.name))),
            good => Ok(Ok(good)),
        }
    }

    /// Returns true if an answer is there or comes within `time`.
    pub(crate) fn answers_within(&self, time: Duration) -> Result<bool, Failure> {
        Ok(sys::poll(&[&*self.from.fd], Some(time))?[0].any())
    }

    /// Returns true if the process is stopped: state T in proc_pid_stat(5).
    pub(crate) fn is_stopped(&self) -> Result<bool, Failure> {
        let stat = sys::read_text(&format!("/proc/{}/stat", self.pid.0))?;
        Ok(stat
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim_start().starts_with('T')))
    }

    /// Failure for an answer of the wrong kind, which is a mistake in the case.
    pub(crate) fn unexpected(&self, answer: &Answer) -> Failure {
        Failure::new(format!("{} answered {answer:?}", self.name))
    }

    /// Returns the mapping that was made.
    pub(crate) fn map(&self, answer: Answer) -> Result<Map, Failure> {
        match answer {
            Answer::Map(map) => Ok(map),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Returns the number that was asked for.
    pub(crate) fn number(&self, answer: Answer) -> Result<u64, Failure> {
        match answer {
            Answer::Number(number) => Ok(number),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Returns the time that all writes took, and all reads.
    pub(crate) fn times(&self, answer: Answer) -> Result<[Duration; 2], Failure> {
        match answer {
            Answer::Nanos { written, read } => Ok([written, read].map(Duration::from_nanos)),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Kills the process, and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<(), Failure> {
        sys::kill(KillTarget::Process(self.pid), Signal::Kill)?;
        match self.reap()? {
            None | Some(ExitStatus::Signal(Signal::Kill)) => Ok(()),
            Some(ended) => Err(Failure::new(format!(
                "{} should have been killed but {ended}",
                self.name
            ))),
        }
    }

    /// Waits until the process is gone, and returns its exit status if it is a child of this one. The end of any other
    /// process shows in the end of its pipe: memory goes before descriptors do (kernel/exit.c, do_exit()).
    fn reap(&mut self) -> Result<Option<ExitStatus>, Failure> {
        let ended = match self.child {
            true => Some(sys::wait(self.pid)?),
            false => {
                while self.from.next()?.is_some() {}
                None
            }
        };
        self.reaped = true;
        Ok(ended)
    }

    /// Failure for a process that ended without being asked to.
    fn died(&mut self) -> Failure {
        if self.reaped {
            return Failure::new(format!("{} was used after its end", self.name));
        }
        match self.reap() {
            Ok(Some(ended)) => self.failed(ended),
            Ok(None) => Failure::new(format!("{} has ended", self.name)),
            Err(failure) => failure,
        }
    }

    /// Failure with the exit status of the process, and the reason if it left one.
    fn failed(&mut self, ended: ExitStatus) -> Failure {
        let why = match self.from.next() {
            Ok(Some(line)) => serde_json::from_str::<Answer>(&line).ok(),
            _ => None,
        };
        let why = why.map_or(String::new(), |why| format!(": {}", why.describe()));
        Failure::new(format!("{} {ended}{why}", self.name))
    }
}

/// Obeys `commands` in order, up to the first that fails.
pub(crate) fn obey_each<Own, E>(
    commands: Vec<Command<Own>>,
    mut obey: impl FnMut(Command<Own>) -> Result<Answer, E>,
) -> Result<Answer, E> {
    let mut answers = Vec::new();
    for command in commands {
        let answer = obey(command)?;
        if answer.is_bad() {
            return Ok(answer);
        }
        answers.push(answer);
    }
    Ok(Answer::Each(answers))
}

/// Forks; the child runs `body` with its end of the pipes and exits. Returns the child and the other ends: for commands,
/// and for answers.
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

/// Returns the answer to a fork. The pipes stay open in `kept`, where the case finds them.
pub(crate) fn answer_forked(
    forked: sys::Result<(Pid, Fd, Fd)>,
    kept: &mut Option<(Fd, Fd)>,
) -> Answer {
    Answer::of(forked, |(Pid(pid), to, from)| {
        let answer = Answer::Forked {
            pid,
            to: to.number(),
            from: from.number(),
        };
        *kept = Some((to, from));
        answer
    })
}

/// The pipes of a process of a case, as that process sees them.
#[derive(Debug)]
pub(crate) struct Control<Own> {
    commands: Lines,
    answers: Fd,
    own: PhantomData<fn() -> Own>,
}

impl<Own> Control<Own> {
    /// Returns the descriptor that commands come from.
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

    /// Becomes this very program with other arguments. It has the commands at descriptor 0 and the answers at 3.
    pub(crate) fn exec(&self, args: &[&str]) -> sys::Result<()> {
        let output = ManuallyDrop::new(Fd::inherited(1));
        sys::replace_stdio(&[&self.commands.fd, &output, &output, &self.answers])?;
        sys::exec("/proc/self/exe", args)
    }
}

impl<Own: DeserializeOwned> Control<Own> {
    /// Returns the next command; `None` once the case has ended.
    pub(crate) fn command(&mut self) -> Option<Command<Own>> {
        let line = self.commands.next().ok()??;
        Some(serde_json::from_str(&line).expect("commands are written by the same program"))
    }
}

/// Lines out of a pipe. A command is answered before the next is sent, so at most one line is on its way.
#[derive(Debug)]
struct Lines {
    fd: Rc<Fd>,
    buffer: Vec<u8>,
}

impl Lines {
    fn new(fd: Fd) -> Lines {
        Lines {
            fd: Rc::new(fd),
            buffer: Vec::new(),
        }
    }

    /// Returns the next line; `None` at the end.
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
        assert_eq!(
            party.execute_own(ClientCommand::Close),
            Ok(Answer::Number(7))
        );
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

// SPDX-License-Identifier: MIT OR Apache-2.0
//! A process of a case: forked, told what to do through one pipe, answering through another.

use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::time::Duration;

use sys::{Ended, Errno, Fd, Forked, OpenFlags, Pid, Signal, Target};

use crate::stage::command::{Answer, Command};
use crate::stage::failure::Failure;

/// A process of a case, as the case sees it.
#[derive(Debug)]
pub(crate) struct Party {
    pub(crate) name: String,
    pub(crate) pid: Pid,
    to: Fd,
    from: Lines,
    /// A child of this process: its end is told.
    child: bool,
    reaped: bool,
}

impl Party {
    /// Forks; the child runs `body` with its end of the pipes and exits.
    pub(crate) fn fork(name: &str, body: impl FnOnce(Control)) -> Result<Party, Failure> {
        let (pid, to, from) = fork_with_pipes(name, |control| {
            let _ = sys::die_with_parent();
            body(control);
        })?;
        Ok(Party {
            name: name.to_owned(),
            pid,
            to,
            from: Lines::new(from),
            child: true,
            reaped: false,
        })
    }

    /// Speaks to process `pid`, which process `parent` has forked: the ends of its pipes are these descriptors there.
    pub(crate) fn adopt(
        name: &str,
        pid: Pid,
        parent: Pid,
        (to, from): (i32, i32),
    ) -> Result<Party, Failure> {
        let path = |number: i32| format!("/proc/{parent}/fd/{number}");
        Ok(Party {
            name: name.to_owned(),
            pid,
            to: Fd::open(&path(to), OpenFlags::WRITE)?,
            from: Lines::new(Fd::open(&path(from), OpenFlags::READ)?),
            child: false,
            reaped: false,
        })
    }

    /// Tells it something and takes whatever it answers.
    pub(crate) fn ask(&mut self, command: &Command) -> Result<Answer, Failure> {
        self.tell(command)?;
        self.hear()
    }

    /// Tells it something; the answer is taken later, with [`Party::hear`].
    pub(crate) fn tell(&mut self, command: &Command) -> Result<(), Failure> {
        let line = serde_json::to_string(command).expect("a command is plain data") + "\n";
        match self.to.write_all(line.as_bytes()) {
            Ok(()) => Ok(()),
            Err(_) => Err(self.died()),
        }
    }

    /// Its next answer.
    pub(crate) fn hear(&mut self) -> Result<Answer, Failure> {
        match self.from.next()? {
            None => Err(self.died()),
            Some(line) => serde_json::from_str(&line)
                .map_err(|error| Failure::new(format!("{} answered {line:?}: {error}", self.name))),
        }
    }

    /// An answer is there, or comes within `time`.
    pub(crate) fn answers_within(&self, time: Duration) -> Result<bool, Failure> {
        Ok(sys::poll(&[&*self.from.fd], Some(time))?[0].any())
    }

    /// It is stopped: state T in proc_pid_stat(5).
    pub(crate) fn is_stopped(&self) -> Result<bool, Failure> {
        let stat = sys::read_text(&format!("/proc/{}/stat", self.pid.0))?;
        Ok(stat
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim_start().starts_with('T')))
    }

    /// Its next answer, which must be no refusal and no failure.
    pub(crate) fn hear_good(&mut self) -> Result<Answer, Failure> {
        match self.hear()? {
            bad if bad.is_bad() => Err(Failure::new(format!("{}: {}", self.name, bad.describe()))),
            good => Ok(good),
        }
    }

    /// Tells it something; the error number where the kernel refuses.
    pub(crate) fn try_done(&mut self, command: &Command) -> Result<Result<(), Errno>, Failure> {
        self.tell(command)?;
        self.hear_done()
    }

    /// It has done what it was told; the error number where the kernel refused.
    pub(crate) fn hear_done(&mut self) -> Result<Result<(), Errno>, Failure> {
        match self.hear()? {
            Answer::Done => Ok(Ok(())),
            Answer::Refused { errno, .. } => Ok(Err(Errno::from_raw(errno))),
            other => Err(self.strange(&other)),
        }
    }

    /// Tells it something that must go well.
    pub(crate) fn ask_good(&mut self, command: &Command) -> Result<Answer, Failure> {
        self.tell(command)?;
        self.hear_good()
    }

    /// Tells it several things, which must go well, and takes what came of each when all are done.
    pub(crate) fn ask_at_once(&mut self, commands: Vec<Command>) -> Result<Vec<Answer>, Failure> {
        match self.ask_good(&Command::AtOnce(commands))? {
            Answer::Each(answers) => Ok(answers),
            other => Err(self.strange(&other)),
        }
    }

    /// An answer of the wrong kind: a mistake in the case.
    pub(crate) fn strange(&self, answer: &Answer) -> Failure {
        Failure::new(format!("{} answered {answer:?}", self.name))
    }

    /// Lets it end by itself, with everything it has mapped still mapped.
    pub(crate) fn quit(&mut self) -> Result<(), Failure> {
        self.tell(&Command::Quit)?;
        match self.reap()? {
            None | Some(Ended::Code(0)) => Ok(()),
            Some(ended) => Err(self.failed(ended)),
        }
    }

    /// Kills it, and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<(), Failure> {
        sys::kill(Target::Process(self.pid), Signal::Kill)?;
        match self.reap()? {
            None | Some(Ended::Signal(Signal::Kill)) => Ok(()),
            Some(ended) => Err(Failure::new(format!(
                "{} should have been killed but {ended}",
                self.name
            ))),
        }
    }

    /// Waits until it is gone; how it ended. Of one that is no child the end of its pipe tells, and not how: its memory
    /// goes before its descriptors do (kernel/exit.c, do_exit()).
    fn reap(&mut self) -> Result<Option<Ended>, Failure> {
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

    /// It ended although nobody told it to.
    fn died(&mut self) -> Failure {
        if self.reaped {
            return Failure::new(format!("{} was spoken to after its end", self.name));
        }
        match self.reap() {
            Ok(Some(ended)) => self.failed(ended),
            Ok(None) => Failure::new(format!("{} has ended", self.name)),
            Err(failure) => failure,
        }
    }

    /// How it ended, and why, if it has said so.
    fn failed(&mut self, ended: Ended) -> Failure {
        let why = match self.from.next() {
            Ok(Some(line)) => serde_json::from_str::<Answer>(&line).ok(),
            _ => None,
        };
        let why = why.map_or(String::new(), |why| format!(": {}", why.describe()));
        Failure::new(format!("{} {ended}{why}", self.name))
    }
}

/// Has each of `commands` obeyed, up to the first that does not go well.
pub(crate) fn obey_each<E>(
    commands: Vec<Command>,
    mut obey: impl FnMut(Command) -> Result<Answer, E>,
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

/// Forks; the child runs `body` with its end of the pipes and exits. The child, where to speak to it and where it answers.
pub(crate) fn fork_with_pipes(
    name: &str,
    body: impl FnOnce(Control),
) -> sys::Result<(Pid, Fd, Fd)> {
    let (commands_out, commands_in) = sys::pipe()?;
    let (answers_out, answers_in) = sys::pipe()?;
    match sys::fork()? {
        Forked::Child => {
            drop((commands_in, answers_out));
            sys::name_process(name);
            body(Control {
                commands: Lines::new(commands_out),
                answers: answers_in,
            });
            sys::exit(0)
        }
        Forked::Parent(pid) => Ok((pid, commands_in, answers_out)),
    }
}

/// The answer to a fork. The pipes stay open in `kept` for the case to find them.
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
pub(crate) struct Control {
    commands: Lines,
    answers: Fd,
}

impl Control {
    /// The descriptor commands come from.
    pub(crate) fn fd(&self) -> Rc<Fd> {
        Rc::clone(&self.commands.fd)
    }

    /// The next command; `None` where the case has ended.
    pub(crate) fn command(&mut self) -> Option<Command> {
        let line = self.commands.next().ok()??;
        Some(serde_json::from_str(&line).expect("commands are written by the same program"))
    }

    /// Answers it.
    pub(crate) fn answer(&self, answer: &Answer) {
        let line = serde_json::to_string(answer).expect("an answer is plain data") + "\n";
        if self.answers.write_all(line.as_bytes()).is_err() {
            // Nobody is left to answer to.
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

/// Lines out of a pipe. One command is answered before the next is sent, so at most one line is ever on its way.
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

    /// The next line; `None` at the end.
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

    fn echo(mut control: Control) {
        while let Some(command) = control.command() {
            match command {
                Command::Quit => return,
                Command::Seen => control.answer(&Answer::Number(7)),
                Command::Open => control.answer(&Answer::Failed("no".into())),
                _ => sys::exit(3),
            }
        }
    }

    #[test]
    fn a_party_answers_and_quits() {
        let mut party = Party::fork("p", echo).unwrap();
        assert_eq!(party.ask(&Command::Seen), Ok(Answer::Number(7)));
        assert_eq!(party.ask_good(&Command::Open), Err(Failure::new("p: no")));
        assert_eq!(party.quit(), Ok(()));
    }

    #[test]
    fn the_end_of_a_party_is_told_by_whoever_asks_next() {
        let mut party = Party::fork("p", echo).unwrap();
        let answer = party.ask(&Command::Close);
        assert_eq!(answer, Err(Failure::new("p exited with status 3")));
        let mut party = Party::fork("p", echo).unwrap();
        assert_eq!(party.kill(), Ok(()));
        let answer = party.ask(&Command::Seen);
        assert_eq!(answer, Err(Failure::new("p was spoken to after its end")));
    }
}

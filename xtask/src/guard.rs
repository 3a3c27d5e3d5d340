// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs that never outlive the lab, however it ends.
//!
//! Rust offers no safe way to ask the kernel for a parent-death signal between fork and exec. So the lab starts
//! itself as `xtask guard …`, which asks for itself and then becomes, or watches over, the program:
//!
//! | function | process group | what is watched | pid of the [`Child`] |
//! |---|---|---|---|
//! | [`command`] | its own | everything that the program starts, also what left its group | the guard's |
//! | [`exec_command`] | its own | the program alone | the program's |
//! | [`foreground_command`] | the lab's, so it may read the terminal | the program alone | the program's |
//!
//! End them with [`stop`], never with [`Child::kill`], which tells the guard and nobody else.
//!
//! A program that cannot be started ends with code [`CANNOT_RUN`] and a line on standard error: the guard itself
//! did start, so `spawn` succeeds.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getpgid, getppid};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::low_level::{emulate_default_handler, pipe};

/// Exit code of a guard that could not start its program; the shell's own code for a command that is not found.
pub const CANNOT_RUN: u8 = 127;

/// First argument of the tool when it is started as a guard.
const SUBCOMMAND: &str = "guard";

/// How often a guard looks whether its parent is still there, should the parent-death signal have been used up
/// by the end of the *thread* that started the guard.
const LOOK: Duration = Duration::from_secs(1);

/// How often [`stop`] looks whether the program has ended.
const POLL: Duration = Duration::from_millis(5);

/// How long a process may take to die of SIGKILL; one that takes longer is stuck inside the kernel.
const UNKILLABLE: Duration = Duration::from_secs(10);

/// A command whose whole tree of processes ends when this process ends: for `make` and the like.
///
/// Once the program has ended, whatever it left running is killed too.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = guarded(Mode::Tree, program.as_ref());
    command.process_group(0);
    command
}

/// A command for a program without children of its own, such as QEMU: the [`Child`] is the program itself.
///
/// It is killed when the *thread* that spawns it ends, not only the process (prctl(2), PR_SET_PDEATHSIG):
/// spawn it from the thread that waits for it.
pub fn exec_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = guarded(Mode::Exec, program.as_ref());
    command.process_group(0);
    command
}

/// As [`exec_command`], but in the lab's own process group, so that it may read from the terminal.
pub fn foreground_command(program: impl AsRef<OsStr>) -> Command {
    guarded(Mode::Exec, program.as_ref())
}

/// Asks a child made here to end: SIGTERM, then, after `grace`, SIGKILL, both to its process group. Reaps it.
///
/// # Errors
/// A process that survives SIGKILL for ten seconds: [`io::ErrorKind::TimedOut`].
pub fn stop(child: &mut Child, grace: Duration) -> io::Result<ExitStatus> {
    stop_with(child, Signal::SIGTERM, grace)
}

/// As [`stop`], with another first signal: `make` tidies up after SIGINT.
///
/// # Errors
/// As [`stop`].
pub fn stop_with(child: &mut Child, first: Signal, grace: Duration) -> io::Result<ExitStatus> {
    if let Some(status) = child.try_wait()? {
        return Ok(status);
    }
    let pid = Pid::from_raw(child.id() as i32);
    let leads_a_group = getpgid(Some(pid)) == Ok(pid);
    let everyone = Pid::from_raw(if leads_a_group {
        -pid.as_raw()
    } else {
        pid.as_raw()
    });
    // The child is not reaped yet, so its number is still its own, and the one error left is of no interest:
    // that it ended by itself just now.
    let _ = kill(everyone, first);
    if let Some(status) = ended_within(child, grace)? {
        return Ok(status);
    }
    let _ = kill(everyone, Signal::SIGKILL);
    ended_within(child, UNKILLABLE)?.ok_or_else(|| {
        let text = format!("process {pid} is stuck in the kernel and cannot be killed");
        io::Error::new(io::ErrorKind::TimedOut, text)
    })
}

fn ended_within(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() >= limit {
            return Ok(None);
        }
        sleep(POLL);
    }
}

/// How a guard does its work.
#[derive(Clone, Copy)]
enum Mode {
    /// Starts the program, stays, and ends all its descendants.
    Tree,
    /// Becomes the program.
    Exec,
}

impl Mode {
    const ALL: [Mode; 2] = [Mode::Tree, Mode::Exec];

    fn word(self) -> &'static str {
        match self {
            Mode::Tree => "tree",
            Mode::Exec => "exec",
        }
    }
}

/// `xtask guard MODE PARENT PROGRAM`, to which the caller adds the program's arguments.
fn guarded(mode: Mode, program: &OsStr) -> Command {
    let mut command = Command::new(tool());
    command.arg(SUBCOMMAND).arg(mode.word());
    command.arg(std::process::id().to_string()).arg(program);
    command
}

/// The tool's own program.
fn tool() -> PathBuf {
    // A test program lies in target/<profile>/deps; the tool, which cargo has built before, one directory up.
    let test = std::env::current_exe().ok().and_then(|exe| {
        let dir = exe.parent()?;
        (dir.file_name()? == "deps").then(|| dir.with_file_name("xtask"))
    });
    // The link, not where it points: it works even after cargo has put a new build in place of a running tool.
    test.unwrap_or_else(|| "/proc/self/exe".into())
}

/// Acts as a guard if `args`, the process's own with its name, ask for one. `None`: they do not.
///
/// To be called before anything else in `main`.
pub fn take_over(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter().skip(1);
    if args.next()? != SUBCOMMAND {
        return None;
    }
    let word = args.next();
    let mode = Mode::ALL
        .into_iter()
        .find(|mode| word.as_deref() == Some(mode.word().as_ref()));
    let parent = args.next().and_then(|pid| pid.to_str()?.parse().ok());
    let (Some(mode), Some(parent), Some(program)) = (mode, parent, args.next()) else {
        eprintln!("xtask guard: the lab starts this itself; it is not meant to be typed");
        return Some(ExitCode::from(2));
    };
    let parent = Pid::from_raw(parent);
    let ended = match mode {
        Mode::Tree => watch(parent, &program, args),
        Mode::Exec => become_program(parent, &program, args),
    };
    Some(ended.unwrap_or_else(|error| {
        eprintln!(
            "xtask: cannot run `{}`: {error}",
            Path::new(&program).display()
        );
        ExitCode::from(CANNOT_RUN)
    }))
}

/// Turns this process into the program. Returns only if that fails.
fn become_program(
    parent: Pid,
    program: &OsStr,
    args: impl Iterator<Item = OsString>,
) -> io::Result<ExitCode> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // The parent may have died before the line above.
    if getppid() != parent {
        return Ok(ExitCode::FAILURE);
    }
    Err(Command::new(program).args(args).exec())
}

/// Runs the program until it ends or the parent does, then ends everything it left, and ends as it did.
fn watch(
    parent: Pid,
    program: &OsStr,
    args: impl Iterator<Item = OsString>,
) -> io::Result<ExitCode> {
    // Signals to the group reach program and guard alike; the guard only wakes up, since it has to go last.
    let mut wake = wake_on(&[SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
    prctl::set_pdeathsig(Signal::SIGUSR1)?;
    prctl::set_child_subreaper(true)?;
    // Should the guard itself be killed, the program at least goes with it.
    let mut child = guarded(Mode::Exec, program).args(args).spawn()?;
    let status = loop {
        if getppid() != parent {
            end_descendants();
            return Ok(ExitCode::FAILURE);
        }
        if let Some(status) = child.try_wait()? {
            break status;
        }
        // Says nothing but "look again": a signal came, or time passed.
        let _ = wake.read(&mut [0; 64]);
    };
    end_descendants();
    Ok(end_like(status))
}

/// A stream that can be read when one of the signals came; a read gives up after [`LOOK`].
fn wake_on(signals: &[i32]) -> io::Result<UnixStream> {
    let (wake, signalled) = UnixStream::pair()?;
    wake.set_read_timeout(Some(LOOK))?;
    for &signal in signals {
        pipe::register(signal, signalled.try_clone()?)?;
    }
    Ok(wake)
}

/// Kills all descendants. Those of a process that dies become children of this one, the subreaper: hence the rounds.
fn end_descendants() {
    loop {
        let children = children();
        for &child in &children {
            let _ = kill(child, Signal::SIGKILL);
        }
        if children.is_empty() || waitpid(None, None).is_err() {
            return;
        }
    }
}

/// Children of this process, from /proc (its `children` files need a kernel option that not everyone sets).
fn children() -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let me = Pid::this();
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let stat = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
            parent_in(&String::from_utf8_lossy(&stat)) == Some(me)
        })
        .map(Pid::from_raw)
        .collect()
}

/// The parent named in a /proc/PID/stat: the second field after the program's name, which may hold anything.
fn parent_in(stat: &str) -> Option<Pid> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let parent = after_name.split_whitespace().nth(1)?;
    Some(Pid::from_raw(parent.parse().ok()?))
}

/// Ends this process the way `status` says another did.
fn end_like(status: ExitStatus) -> ExitCode {
    if let Some(signal) = status.signal() {
        // Where the program dumped core, the guard need not do so again.
        let _ = prctl::set_dumpable(false);
        let _ = emulate_default_handler(signal);
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    ExitCode::from(code.unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        let parent = parent_in("12 (a) b (c)) S 7 12 12 0 -1").unwrap();
        assert_eq!(parent, Pid::from_raw(7));
        assert_eq!(parent_in("12 (a"), None);
    }

    #[test]
    fn other_words_are_left_to_the_command_line() {
        let args = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert!(take_over(args(&["xtask", "test"])).is_none());
        assert!(take_over(args(&["xtask"])).is_none());
        assert!(take_over(args(&["xtask", "guard", "tree", "x"])).is_some());
    }
}

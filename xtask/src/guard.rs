// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs that never outlive the lab, however it ends.
//!
//! Rust offers no safe way to request a parent-death signal between fork and exec. Therefore the lab starts itself as
//! `xtask guard …`. This guard requests the signal for itself, and then either replaces itself with the program, or
//! starts the program and waits for it. The functions below return that command as an [`Expression`] of duct:
//!
//! | function | process group | processes that are killed with the lab | pid in the [`Handle`] |
//! |---|---|---|---|
//! | [`command`] | its own | the program and all its descendants, in any process group | the guard's |
//! | [`exec_command`] | its own | the program alone | the program's |
//! | [`foreground_command`] | the lab's, so that it may read the terminal | the program alone | the program's |
//!
//! These expressions do not treat a nonzero exit code as an error. Stop a child with [`stop`], never with
//! [`Handle::kill`], which kills the guard alone.
//!
//! If the program cannot be started, the guard prints a line on standard error and exits with code [`CANNOT_RUN`].
//! `start` succeeds even then, because the guard itself has started.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Output};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use duct::{Expression, Handle};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::{Pid, getpgid, getppid};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::low_level::{emulate_default_handler, pipe};

use crate::interrupt::Interrupted;
use crate::output::errln;
use crate::wait::{self, Waited};

/// Exit code of a guard that could not start its program. A shell uses the same code for a command that is not found.
pub const CANNOT_RUN: i32 = 127;

/// First argument of the tool when it is started as a guard.
const SUBCOMMAND: &str = "guard";

/// Interval at which a guard checks that its parent still exists. The parent-death signal alone does not suffice: it is
/// sent once, when the *thread* that started the guard ends.
const PARENT_POLL: Duration = Duration::from_secs(1);

/// Time that a process may take to exit after SIGKILL. A process that takes longer is stuck in the kernel.
const UNKILLABLE: Duration = Duration::from_secs(10);

/// Time that a program may take to clean up when [`run`] stops it.
const GRACE: Duration = Duration::from_secs(5);

/// Returns a command whose whole process tree ends when this process ends, for programs such as `make`.
///
/// When the program ends, every process that it left running is killed too.
pub fn command<A: Into<OsString>>(
    program: impl AsRef<OsStr>,
    args: impl IntoIterator<Item = A>,
) -> Expression {
    own_group(guarded(Mode::Tree, program.as_ref(), args))
}

/// Returns a command for a program without children of its own, such as QEMU. The [`Handle`] has the program's pid.
///
/// The program is killed when the *thread* that started it ends (prctl(2), PR_SET_PDEATHSIG). Start it from the thread
/// that waits for it.
pub fn exec_command<A: Into<OsString>>(
    program: impl AsRef<OsStr>,
    args: impl IntoIterator<Item = A>,
) -> Expression {
    own_group(guarded(Mode::Exec, program.as_ref(), args))
}

/// Like [`exec_command`], but in the lab's own process group, so that the program may read from the terminal.
pub fn foreground_command<A: Into<OsString>>(
    program: impl AsRef<OsStr>,
    args: impl IntoIterator<Item = A>,
) -> Expression {
    guarded(Mode::Exec, program.as_ref(), args)
}

/// Puts `command` in a process group of its own, which Ctrl-C at the terminal does not reach.
pub(crate) fn own_group(command: Expression) -> Expression {
    command.before_spawn(|command| {
        command.process_group(0);
        Ok(())
    })
}

/// Runs a command of this module without input, and stops it if the lab is interrupted.
///
/// # Errors
/// The guard cannot be started, or the lab was interrupted: [`Interrupted`].
pub(crate) fn run(command: &Expression) -> Result<Output> {
    let child = command.stdin_null().start().context("start a guard")?;
    match wait::until(wait::FOREVER, || child.try_wait())? {
        Waited::Done(output) => Ok(output.clone()),
        _ => {
            stop(&child, GRACE)?;
            bail!(Interrupted)
        }
    }
}

/// Stops a child that a command of this module spawned, and reaps it. Sends SIGTERM to its process group and, if it is
/// still running after `grace`, SIGKILL.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] if the process survives SIGKILL for ten seconds.
pub fn stop(child: &Handle, grace: Duration) -> io::Result<&Output> {
    stop_with(child, Signal::SIGTERM, grace)
}

/// Like [`stop`], with a different first signal. `make`, for example, removes unfinished files on SIGINT.
///
/// # Errors
/// As [`stop`].
pub fn stop_with(child: &Handle, first: Signal, grace: Duration) -> io::Result<&Output> {
    if let Some(output) = child.try_wait()? {
        return Ok(output);
    }
    signal(child, first);
    if let Some(output) = wait::within(grace, || child.try_wait())? {
        return Ok(output);
    }
    signal(child, Signal::SIGKILL);
    wait::within(UNKILLABLE, || child.try_wait())?.ok_or_else(|| {
        let pids = child.pids();
        let text = format!("processes {pids:?} are stuck in the kernel and cannot be killed");
        io::Error::new(io::ErrorKind::TimedOut, text)
    })
}

/// Sends a signal to the process group of `child`; a pipeline has a group for each of its parts.
fn signal(child: &Handle, signal: Signal) {
    for pid in child.pids() {
        let pid = Pid::from_raw(pid as i32);
        // Skips a child that was reaped: its pid may have been reused.
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        if waitid(Id::Pid(pid), flags).is_err() {
            continue;
        }
        let leads_a_group = getpgid(Some(pid)) == Ok(pid);
        let receiver = if leads_a_group { -pid.as_raw() } else { pid.as_raw() };
        // This fails only if the child has just ended by itself.
        let _ = kill(Pid::from_raw(receiver), signal);
    }
}

/// Mode of a guard.
#[derive(Clone, Copy, strum::AsRefStr, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
enum Mode {
    /// Starts the program, waits for it, and kills all its descendants.
    Tree,
    /// Replaces itself with the program.
    Exec,
}

/// Returns the command `xtask guard MODE PARENT PROGRAM ARGS...`.
fn guarded<A: Into<OsString>>(
    mode: Mode,
    program: &OsStr,
    args: impl IntoIterator<Item = A>,
) -> Expression {
    let parent = std::process::id().to_string();
    let words = [SUBCOMMAND.into(), mode.as_ref().into(), parent.into(), program.into()];
    let words = words.into_iter().chain(args.into_iter().map(Into::into));
    duct::cmd(tool(), words.collect::<Vec<OsString>>()).unchecked()
}

/// Returns the path of the xtask program.
fn tool() -> PathBuf {
    // A test program is in target/<profile>/deps. Cargo has already built xtask, one directory up.
    let test = std::env::current_exe().ok().and_then(|exe| {
        let dir = exe.parent()?;
        (dir.file_name()? == "deps").then(|| dir.with_file_name("xtask"))
    });
    // The link itself, not its target: it works even after cargo has replaced the running program with a new build.
    test.unwrap_or_else(|| "/proc/self/exe".into())
}

/// Acts as a guard if the process was started as one. `args` are the arguments of the process, including its name.
/// Returns `None` if they do not request a guard.
///
/// Must be called before anything else in `main`.
pub fn take_over(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter().skip(1);
    if args.next()? != SUBCOMMAND {
        return None;
    }
    let mode = args.next().and_then(|mode| mode.to_str()?.parse().ok());
    let parent = args.next().and_then(|pid| pid.to_str()?.parse().ok());
    let (Some(mode), Some(parent), Some(program)) = (mode, parent, args.next()) else {
        errln!("xtask guard: for internal use only; run `cargo xtask --help` for the commands");
        return Some(ExitCode::from(2));
    };
    let parent = Pid::from_raw(parent);
    let ended = match mode {
        Mode::Tree => watch(parent, &program, args),
        Mode::Exec => become_program(parent, &program, args),
    };
    Some(ended.unwrap_or_else(|error| {
        errln!("xtask: cannot run `{}`: {error}", Path::new(&program).display());
        ExitCode::from(CANNOT_RUN as u8)
    }))
}

/// Replaces this process with the program. Returns only if that fails.
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
    #[expect(clippy::disallowed_methods, reason = "neither xshell nor duct replaces this process")]
    Err(Command::new(program).args(args).exec())
}

/// Runs the program until it or the parent ends, kills the remaining descendants, and ends with the program's exit
/// status.
fn watch(
    parent: Pid,
    program: &OsStr,
    args: impl Iterator<Item = OsString>,
) -> io::Result<ExitCode> {
    // A signal to the process group reaches both program and guard. The guard only wakes up, because it must end last.
    let mut wake = wake_on(&[SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
    prctl::set_pdeathsig(Signal::SIGUSR1)?;
    prctl::set_child_subreaper(true)?;
    // In exec mode, at least the program is killed if the guard itself is killed.
    let child = guarded(Mode::Exec, program, args).start()?;
    let status = loop {
        if getppid() != parent {
            end_descendants();
            return Ok(ExitCode::FAILURE);
        }
        if let Some(output) = child.try_wait()? {
            break output.status;
        }
        // Returns after a signal or after a timeout; in both cases the loop checks again.
        let _ = wake.read(&mut [0; 64]);
    };
    end_descendants();
    Ok(end_like(status))
}

/// Returns a stream that becomes readable when one of the signals arrives. A read times out after [`PARENT_POLL`].
fn wake_on(signals: &[i32]) -> io::Result<UnixStream> {
    let (wake, signalled) = UnixStream::pair()?;
    wake.set_read_timeout(Some(PARENT_POLL))?;
    for &signal in signals {
        pipe::register(signal, signalled.try_clone()?)?;
    }
    Ok(wake)
}

/// Kills all descendants, in rounds: when a process dies, its children become children of this process, which is the
/// subreaper.
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

/// Returns the children of this process, from the `stat` files in /proc. The `children` files there need a kernel option
/// that some kernels lack.
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

/// Returns the parent in a /proc/PID/stat: the second field after the program's name. The name may contain any
/// characters.
fn parent_in(stat: &str) -> Option<Pid> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let parent = after_name.split_whitespace().nth(1)?;
    Some(Pid::from_raw(parent.parse().ok()?))
}

/// Ends this process with `status`, the exit status of another process.
fn end_like(status: ExitStatus) -> ExitCode {
    if let Some(signal) = status.signal() {
        // The program may have dumped core; a second dump by the guard would be useless.
        let _ = prctl::set_dumpable(false);
        let _ = emulate_default_handler(signal);
    }
    ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_after_any_name() {
        let parent = parent_in("12 (a) b (c)) S 7 12 12 0 -1").unwrap();
        assert_eq!(parent, Pid::from_raw(7));
        assert_eq!(parent_in("12 (a"), None);
    }

    #[test]
    fn other_commands_are_not_taken_over() {
        let args = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert!(take_over(args(&["xtask", "test"])).is_none());
        assert!(take_over(args(&["xtask"])).is_none());
        assert!(take_over(args(&["xtask", "guard", "tree", "x"])).is_some());
    }
}

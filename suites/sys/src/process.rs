// SPDX-License-Identifier: MIT OR Apache-2.0
//! Processes: fork, exec, wait, signals.

use std::fmt;

use crate::backend::process as backend;
use crate::errno::{During, Errno, Result};
use crate::file::Fd;

/// Number of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(pub i32);

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A signal. Its number differs between architectures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGABRT: a Rust panic in the guest ends in it.
    Abort,
    /// SIGBUS: a page of a mapping cannot be had.
    Bus,
    /// SIGILL.
    Illegal,
    /// SIGCONT: a stopped process goes on.
    Continue,
    /// SIGKILL.
    Kill,
    /// SIGSEGV.
    Segv,
    /// SIGSTOP.
    Stop,
    /// SIGTERM.
    Term,
    /// Any other, by its number on this machine.
    Other(i32),
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Signal::Abort => f.write_str("SIGABRT"),
            Signal::Bus => f.write_str("SIGBUS"),
            Signal::Illegal => f.write_str("SIGILL"),
            Signal::Continue => f.write_str("SIGCONT"),
            Signal::Kill => f.write_str("SIGKILL"),
            Signal::Segv => f.write_str("SIGSEGV"),
            Signal::Stop => f.write_str("SIGSTOP"),
            Signal::Term => f.write_str("SIGTERM"),
            Signal::Other(number) => write!(f, "signal {number}"),
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this exit status.
    Code(i32),
    /// Of this signal.
    Signal(Signal),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Code(code) => write!(f, "exited with status {code}"),
            Ended::Signal(signal) => write!(f, "was killed by {signal}"),
        }
    }
}

/// Which side of a fork this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forked {
    /// The new process.
    Child,
    /// The old one, and the number of the new.
    Parent(Pid),
}

/// Whom a signal goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// One process.
    Process(Pid),
    /// Every process but this one and PID 1.
    Everyone,
}

/// The words this program was started with, its name included.
pub fn args() -> Vec<String> {
    backend::args()
}

/// Number of this process.
pub fn own_pid() -> Pid {
    Pid(backend::own_pid())
}

/// Splits this process in two. Programs of the guest have one thread, so the child may do whatever its parent could.
///
/// # Errors
/// What fork(2) says.
pub fn fork() -> Result<Forked> {
    match backend::fork().during(|| "fork".into())? {
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(Pid(pid))),
    }
}

/// Becomes the program at `path`, with `args` (its name first) and no environment.
///
/// # Errors
/// What execve(2) says; on success it does not return.
pub fn exec(path: &str, args: &[&str]) -> Result<()> {
    backend::exec(path, args).during(|| format!("execute {path} with {args:?}"))
}

/// Ends this process at once: nothing is flushed or dropped.
pub fn exit(code: i32) -> ! {
    backend::exit(code)
}

/// Waits until process `pid` has ended.
///
/// # Errors
/// What waitpid(2) says.
pub fn wait(pid: Pid) -> Result<Ended> {
    backend::wait(pid.0, true)
        .map(|ended| ended.expect("a wait that blocks has an answer").1)
        .during(|| format!("wait for process {pid}"))
}

/// A process that ended, if there is one; does not wait.
///
/// # Errors
/// What waitpid(2) says; `ECHILD` where no child is left.
pub fn wait_any() -> Result<Option<(Pid, Ended)>> {
    let ended = backend::wait(-1, false).during(|| "wait for any process".into())?;
    Ok(ended.map(|(pid, ended)| (Pid(pid), ended)))
}

/// Sends a signal.
///
/// # Errors
/// What kill(2) says.
pub fn kill(target: Target, signal: Signal) -> Result<()> {
    let pid = match target {
        Target::Process(Pid(pid)) => pid,
        Target::Everyone => -1,
    };
    match backend::kill(pid, signal) {
        Err(Errno::ESRCH) if target == Target::Everyone => Ok(()),
        other => other.during(|| format!("send {signal} to {target:?}")),
    }
}

/// Puts this process into a session of its own.
///
/// # Errors
/// What setsid(2) says.
pub fn new_session() -> Result<()> {
    backend::new_session().during(|| "start a session".into())
}

/// Asks for SIGKILL when the parent of this process ends.
///
/// # Errors
/// What prctl(2) says.
pub fn die_with_parent() -> Result<()> {
    backend::die_with_parent().during(|| "ask to die with the parent".into())
}

/// Names this process for whoever looks at `/proc` or at the kernel's log; 15 bytes of the name are kept.
pub fn name_process(name: &str) {
    // A name is a courtesy; nothing depends on it.
    let _ = backend::name_process(name);
}

/// Makes `fds` the descriptors 0, 1, 2, ... of this process, for the program it is about to become.
///
/// # Errors
/// What dup2(2) says.
pub fn replace_stdio(fds: &[&Fd]) -> Result<()> {
    let numbers: Vec<i32> = fds.iter().map(|fd| fd.number()).collect();
    backend::replace_stdio(&numbers).during(|| format!("pass on descriptors {numbers:?}"))
}

/// Gives up every privilege of root: becomes user and group 65534.
///
/// # Errors
/// What setgroups(2), setresgid(2) or setresuid(2) says.
pub fn become_nobody() -> Result<()> {
    backend::become_nobody(65534).during(|| "become user 65534".into())
}

/// Keeps this process to `bytes` of locked memory: sets RLIMIT_MEMLOCK and gives up CAP_IPC_LOCK, which would be above it.
///
/// # Errors
/// What setrlimit(2), capget(2) or capset(2) says.
pub fn limit_locked_memory(bytes: u64) -> Result<()> {
    backend::limit_locked_memory(bytes)
        .during(|| format!("be kept to {bytes} bytes of locked memory"))
}

/// Maps from here on with the permissions that are asked for. On ARM before v6, which cannot forbid a page to be
/// executed, the kernel lets every program begin with PROT_READ meaning PROT_EXEC as well (arch/arm/kernel/elf.c).
///
/// # Errors
/// What personality(2) says.
pub fn let_data_be_data() -> Result<()> {
    #[cfg(target_arch = "arm")]
    backend::let_data_be_data().during(|| "let readable pages be no code".into())?;
    Ok(())
}

/// Lets another process run on this processor.
pub fn yield_now() {
    backend::yield_now();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_process_is_told() {
        let end_of = |body: fn()| match fork().unwrap() {
            Forked::Child => {
                body();
                exit(7)
            }
            Forked::Parent(pid) => wait(pid).unwrap(),
        };
        assert_eq!(end_of(|| ()), Ended::Code(7));
        let killed = end_of(|| kill(Target::Process(own_pid()), Signal::Kill).unwrap());
        assert_eq!(killed, Ended::Signal(Signal::Kill));
    }
}

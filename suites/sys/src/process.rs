// SPDX-License-Identifier: MIT OR Apache-2.0
//! Processes: fork, exec, wait, and signals.

use std::fmt;

use crate::backend::{number, process as backend};
use crate::errno::{Context, Errno, Result};
use crate::file::Fd;

/// Process ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(pub i32);

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Defines [`Signal`], with the number and the name of each signal.
macro_rules! signals {
    ($($(#[$doc:meta])* $name:ident = $number:ident),* $(,)?) => {
        /// Signal. Architectures use different numbers for the same signal.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Signal {
            $($(#[$doc])* $name,)*
            /// Any other signal, by its number on this machine.
            Other(i32),
        }

        impl Signal {
            /// Returns the number on this machine.
            pub fn number(self) -> i32 {
                match self {
                    $(Signal::$name => number!($number),)*
                    Signal::Other(number) => number,
                }
            }

            /// Returns the signal with the given number on this machine.
            pub(crate) fn of_number(number: i32) -> Signal {
                $(if number == number!($number) { return Signal::$name; })*
                Signal::Other(number)
            }
        }

        impl fmt::Display for Signal {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Signal::$name => f.write_str(stringify!($number)),)*
                    Signal::Other(number) => write!(f, "signal {number}"),
                }
            }
        }
    };
}

signals! {
    /// SIGABRT. A Rust panic in the guest raises it.
    Abort = SIGABRT,
    /// SIGBUS. An access to a page that the kernel cannot provide raises it.
    Bus = SIGBUS,
    /// SIGILL.
    Illegal = SIGILL,
    /// SIGCONT. It resumes a stopped process.
    Continue = SIGCONT,
    /// SIGKILL.
    Kill = SIGKILL,
    /// SIGSEGV.
    Segv = SIGSEGV,
    /// SIGSTOP.
    Stop = SIGSTOP,
    /// SIGTERM.
    Term = SIGTERM,
}

/// End of a process: an exit status or a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// The process exited with this status.
    Code(i32),
    /// The process was killed by this signal.
    Signal(Signal),
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitStatus::Code(code) => write!(f, "exited with status {code}"),
            ExitStatus::Signal(signal) => write!(f, "was killed by {signal}"),
        }
    }
}

/// Result of [`fork`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForkResult {
    /// This is the child process.
    Child,
    /// This is the parent process. Holds the ID of the child.
    Parent(Pid),
}

/// Recipient of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillTarget {
    /// One process.
    Process(Pid),
    /// Every process except this one and PID 1.
    Everyone,
}

/// Returns the arguments of this program, starting with its name.
pub fn args() -> Vec<String> {
    backend::args()
}

/// Returns the ID of this process.
pub fn own_pid() -> Pid {
    Pid(backend::own_pid())
}

/// Forks this process. The child has only the thread that called. In a program with [several
/// threads](crate::run_threads), it must not use a lock that another thread may hold.
///
/// # Errors
/// Fails as fork(2).
pub fn fork() -> Result<ForkResult> {
    match backend::fork().context(|| "fork".into())? {
        0 => Ok(ForkResult::Child),
        pid => Ok(ForkResult::Parent(Pid(pid))),
    }
}

/// Replaces this program by the one at `path`, with an empty environment. `args` starts with the name of the program.
///
/// # Errors
/// As [`exec_with`].
pub fn exec(path: &str, args: &[&str]) -> Result<()> {
    exec_with(path, args, &[])
}

/// Replaces this program by the one at `path`, with the environment variables `env`, each as `NAME=VALUE`. `args` starts
/// with the name of the program.
///
/// # Errors
/// Fails as execve(2). Does not return on success.
pub fn exec_with(path: &str, args: &[&str], env: &[&str]) -> Result<()> {
    backend::exec(path, args, env).context(|| format!("execute {path} with {args:?}"))
}

/// Ends this process immediately, without flushing or dropping anything.
pub fn exit(code: i32) -> ! {
    backend::exit(code)
}

/// Waits for the child `pid` to end.
///
/// # Errors
/// Fails as waitpid(2).
pub fn wait(pid: Pid) -> Result<ExitStatus> {
    backend::wait(pid.0, true)
        .map(|ended| ended.expect("a blocking wait returns a process").1)
        .context(|| format!("wait for process {pid}"))
}

/// Reaps a child that has ended. Returns `None` without waiting if no child has ended.
///
/// # Errors
/// Fails as waitpid(2): with `ECHILD` if there are no children.
pub fn wait_any() -> Result<Option<(Pid, ExitStatus)>> {
    let ended = backend::wait(-1, false).context(|| "wait for any child".into())?;
    Ok(ended.map(|(pid, ended)| (Pid(pid), ended)))
}

/// Sends a signal.
///
/// # Errors
/// Fails as kill(2), except that a signal to everyone succeeds even if there is no other process.
pub fn kill(target: KillTarget, signal: Signal) -> Result<()> {
    let pid = match target {
        KillTarget::Process(Pid(pid)) => pid,
        KillTarget::Everyone => -1,
    };
    match backend::kill(pid, signal) {
        Err(Errno::ESRCH) if target == KillTarget::Everyone => Ok(()),
        other => other.context(|| match target {
            KillTarget::Process(pid) => format!("send {signal} to process {pid}"),
            KillTarget::Everyone => format!("send {signal} to all processes"),
        }),
    }
}

/// Makes this process the leader of a new session.
///
/// # Errors
/// Fails as setsid(2).
pub fn new_session() -> Result<()> {
    backend::new_session().context(|| "start a session".into())
}

/// Makes the kernel send SIGKILL to this process when its parent ends (`PR_SET_PDEATHSIG`).
///
/// # Errors
/// Fails as prctl(2).
pub fn die_with_parent() -> Result<()> {
    backend::die_with_parent().context(|| "request SIGKILL at the end of the parent".into())
}

/// Sets the name of this process in `/proc` and in kernel messages. The kernel keeps the first 15 bytes.
pub fn name_process(name: &str) {
    // Errors are ignored because nothing depends on the name.
    let _ = backend::name_process(name);
}

/// Duplicates `fds` to the descriptors 0, 1, 2, ... of this process. The duplicates stay open on exec.
///
/// # Errors
/// Fails as dup2(2).
pub fn replace_stdio(fds: &[&Fd]) -> Result<()> {
    let numbers: Vec<i32> = fds.iter().map(|fd| fd.number()).collect();
    backend::replace_stdio(&numbers)
        .context(|| format!("duplicate descriptors {numbers:?} to 0, 1, ..."))
}

/// Drops the privileges of root: switches to user and group 65534 ("nobody").
///
/// # Errors
/// Fails as setgroups(2), setresgid(2) or setresuid(2).
pub fn drop_privileges() -> Result<()> {
    backend::drop_privileges(65534).context(|| "switch to user 65534".into())
}

/// Limits the locked memory of this process to `bytes`: sets RLIMIT_MEMLOCK and drops CAP_IPC_LOCK, which overrides the
/// limit.
///
/// # Errors
/// Fails as setrlimit(2), capget(2) or capset(2).
pub fn limit_locked_memory(bytes: u64) -> Result<()> {
    backend::limit_locked_memory(bytes).context(|| format!("limit locked memory to {bytes} bytes"))
}

/// Clears READ_IMPLIES_EXEC, so that later mappings have exactly the requested permissions. Before ARMv6, pages have no
/// execute permission, and the kernel starts every program with READ_IMPLIES_EXEC (arch/arm/kernel/elf.c).
///
/// # Errors
/// Fails as personality(2).
pub fn disable_read_implies_exec() -> Result<()> {
    #[cfg(target_arch = "arm")]
    backend::disable_read_implies_exec().context(|| "clear READ_IMPLIES_EXEC".into())?;
    Ok(())
}

/// Makes this process, and the processes that it forks from now on, run on one processor only.
///
/// # Errors
/// Fails as sched_setaffinity(2): with `EINVAL` if there is no processor `number`.
pub fn run_on_processor(number: u32) -> Result<()> {
    backend::run_on_processor(number).context(|| format!("run on processor {number}"))
}

/// Yields the processor to another process.
pub fn yield_now() {
    backend::yield_now();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_gets_its_arguments_and_its_environment() {
        let end = match fork().unwrap() {
            ForkResult::Child => {
                let script = "test \"$1 $NAME\" = 'two words value'";
                let _ =
                    exec_with("/bin/sh", &["sh", "-c", script, "0", "two words"], &["NAME=value"]);
                exit(7)
            }
            ForkResult::Parent(pid) => wait(pid).unwrap(),
        };
        assert_eq!(end, ExitStatus::Code(0));
    }

    #[test]
    fn wait_returns_the_exit_status_or_the_signal() {
        let end_of = |body: fn()| match fork().unwrap() {
            ForkResult::Child => {
                body();
                exit(7)
            }
            ForkResult::Parent(pid) => wait(pid).unwrap(),
        };
        assert_eq!(end_of(|| ()), ExitStatus::Code(7));
        let killed = end_of(|| kill(KillTarget::Process(own_pid()), Signal::Kill).unwrap());
        assert_eq!(killed, ExitStatus::Signal(Signal::Kill));
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Processes.

use super::{SysResult, c_string, check, imports, read_strings};
use crate::process::{ExitStatus, Signal};

/// Bit that marks a signal number in the result of [`imports::wait`].
const BY_SIGNAL: i32 = 1 << 8;

pub(crate) fn args() -> Vec<String> {
    // SAFETY: the buffer has the given length.
    read_strings(|into, room| unsafe { imports::args(into, room) }).unwrap_or_default()
}

pub(crate) fn own_pid() -> i32 {
    imports::own_pid()
}

pub(crate) fn fork() -> SysResult<i32> {
    check(imports::fork()).map(|pid| pid as i32)
}

pub(crate) fn exec(path: &str, args: &[&str], env: &[&str]) -> SysResult<()> {
    let path = c_string(path)?;
    let mut words = Vec::new();
    for word in args.iter().chain(env) {
        words.extend_from_slice(c_string(word)?.as_bytes_with_nul());
    }
    // SAFETY: every string ends in a NUL, their numbers are as given, and all of them outlive the call.
    check(unsafe { imports::exec(path.as_ptr(), words.as_ptr(), args.len(), env.len()) }).map(drop)
}

pub(crate) fn exit(code: i32) -> ! {
    imports::exit(code)
}

/// Waits for `pid`, or for any child if `pid` is -1. Returns `None` if `block` is false and no child has ended.
pub(crate) fn wait(pid: i32, block: bool) -> SysResult<Option<(i32, ExitStatus)>> {
    let ended = check(imports::wait(pid, block.into()))?;
    let (pid, how) = ((ended >> 32) as i32, ended as i32);
    let how = match how & BY_SIGNAL {
        0 => ExitStatus::Code(how),
        _ => ExitStatus::Signal(Signal::of_number(how & !BY_SIGNAL)),
    };
    Ok((pid != 0).then_some((pid, how)))
}

pub(crate) fn kill(pid: i32, signal: Signal) -> SysResult<()> {
    check(imports::kill(pid, signal.number())).map(drop)
}

pub(crate) fn new_session() -> SysResult<()> {
    check(imports::new_session()).map(drop)
}

pub(crate) fn die_with_parent() -> SysResult<()> {
    check(imports::die_with_parent()).map(drop)
}

pub(crate) fn name_process(name: &str) -> SysResult<()> {
    let name = c_string(name)?;
    // SAFETY: `name` ends in a NUL and outlives the call.
    check(unsafe { imports::name_process(name.as_ptr()) }).map(drop)
}

pub(crate) fn replace_stdio(fds: &[i32]) -> SysResult<()> {
    // Duplicate to high numbers first, so that no descriptor is overwritten before it is copied.
    let floor = fds.len() as i32;
    let copies = fds
        .iter()
        .map(|&fd| check(imports::duplicate(fd, floor)))
        .collect::<SysResult<Vec<_>>>()?;
    for (place, copy) in copies.iter().enumerate() {
        check(imports::dup2(*copy as i32, place as i32))?;
    }
    Ok(())
}

pub(crate) fn drop_privileges(id: u32) -> SysResult<()> {
    check(imports::become_user(id)).map(drop)
}

pub(crate) fn limit_locked_memory(bytes: u64) -> SysResult<()> {
    check(imports::limit_locked_memory(bytes)).map(drop)
}

pub(crate) fn run_on_processor(number: u32) -> SysResult<()> {
    check(imports::run_on_processor(number)).map(drop)
}

pub(crate) fn yield_now() {
    imports::yield_now();
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Processes.

use super::{Answer, answer, c_text, imports, texts};
use crate::process::{Ended, Signal};

/// Set in what a wait tells of a process that a signal has ended.
const BY_SIGNAL: i32 = 1 << 8;

pub(crate) fn args() -> Vec<String> {
    // SAFETY: the buffer is as long as said.
    texts(|into, room| unsafe { imports::args(into, room) }).unwrap_or_default()
}

pub(crate) fn own_pid() -> i32 {
    imports::own_pid()
}

pub(crate) fn fork() -> Answer<i32> {
    answer(imports::fork()).map(|pid| pid as i32)
}

pub(crate) fn exec(path: &str, args: &[&str]) -> Answer<()> {
    let path = c_text(path)?;
    let mut words = Vec::new();
    for arg in args {
        words.extend_from_slice(c_text(arg)?.as_bytes_with_nul());
    }
    // SAFETY: every text ends in a NUL, there are as many as said, and all of them outlive the call.
    answer(unsafe { imports::exec(path.as_ptr(), words.as_ptr(), args.len()) }).map(drop)
}

pub(crate) fn exit(code: i32) -> ! {
    imports::exit(code)
}

/// Waits for `pid` (-1: any child); `None` where none has ended and `block` is false.
pub(crate) fn wait(pid: i32, block: bool) -> Answer<Option<(i32, Ended)>> {
    let ended = answer(imports::wait(pid, block.into()))?;
    let (pid, how) = ((ended >> 32) as i32, ended as i32);
    let how = match how & BY_SIGNAL {
        0 => Ended::Code(how),
        _ => Ended::Signal(Signal::of_number(how & !BY_SIGNAL)),
    };
    Ok((pid != 0).then_some((pid, how)))
}

pub(crate) fn kill(pid: i32, signal: Signal) -> Answer<()> {
    answer(imports::kill(pid, signal.number())).map(drop)
}

pub(crate) fn new_session() -> Answer<()> {
    answer(imports::new_session()).map(drop)
}

pub(crate) fn die_with_parent() -> Answer<()> {
    answer(imports::die_with_parent()).map(drop)
}

pub(crate) fn name_process(name: &str) -> Answer<()> {
    let name = c_text(name)?;
    // SAFETY: `name` ends in a NUL and outlives the call.
    answer(unsafe { imports::name_process(name.as_ptr()) }).map(drop)
}

pub(crate) fn replace_stdio(fds: &[i32]) -> Answer<()> {
    // First out of the way of each other, then to their places.
    let floor = fds.len() as i32;
    let copies = fds
        .iter()
        .map(|&fd| answer(imports::duplicate(fd, floor)))
        .collect::<Answer<Vec<_>>>()?;
    for (place, copy) in copies.iter().enumerate() {
        answer(imports::dup2(*copy as i32, place as i32))?;
    }
    Ok(())
}

pub(crate) fn become_nobody(id: u32) -> Answer<()> {
    answer(imports::become_user(id)).map(drop)
}

pub(crate) fn limit_locked_memory(bytes: u64) -> Answer<()> {
    answer(imports::limit_locked_memory(bytes)).map(drop)
}

pub(crate) fn yield_now() {
    imports::yield_now();
}

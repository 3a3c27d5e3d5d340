// SPDX-License-Identifier: MIT OR Apache-2.0
//! Processes.

use std::ffi::CString;

use super::{SysResult, c_string, check, last_errno, retry_interrupted};
use crate::errno::Errno;
use crate::process::{ExitStatus, Signal};

pub(crate) fn args() -> Vec<String> {
    std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect()
}

pub(crate) fn own_pid() -> i32 {
    std::process::id() as i32
}

pub(crate) fn fork() -> SysResult<i32> {
    // SAFETY: the C library leaves its own locks usable in the child. The caller does not use a lock that another thread
    // may hold.
    check(unsafe { libc::fork() }).map(|pid| pid as i32)
}

pub(crate) fn exec(path: &str, args: &[&str], env: &[&str]) -> SysResult<()> {
    let path = c_string(path)?;
    let strings = |words: &[&str]| -> SysResult<Vec<CString>> {
        words.iter().map(|word| c_string(word)).collect()
    };
    let (args, env) = (strings(args)?, strings(env)?);
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv, environment) = (pointers(&args), pointers(&env));
    // SAFETY: every string ends in a NUL, both lists end in a null pointer, and all of them outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), environment.as_ptr()) };
    Err(last_errno())
}

pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: no memory is passed.
    unsafe { libc::_exit(code) }
}

/// Waits for `pid`, or for any child if `pid` is -1. Returns `None` if `block` is false and no child has ended.
pub(crate) fn wait(pid: i32, block: bool) -> SysResult<Option<(i32, ExitStatus)>> {
    let mut status = 0;
    let flags = if block { 0 } else { libc::WNOHANG };
    // SAFETY: `status` outlives the call.
    let ended = retry_interrupted(|| unsafe { libc::waitpid(pid, &mut status, flags) as isize })?;
    let how = if libc::WIFSIGNALED(status) {
        ExitStatus::Signal(Signal::of_number(libc::WTERMSIG(status)))
    } else {
        ExitStatus::Code(libc::WEXITSTATUS(status))
    };
    Ok((ended != 0).then_some((ended as i32, how)))
}

pub(crate) fn kill(pid: i32, signal: Signal) -> SysResult<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::kill(pid, signal.number()) }).map(drop)
}

pub(crate) fn new_session() -> SysResult<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::setsid() }).map(drop)
}

pub(crate) fn die_with_parent() -> SysResult<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) }).map(drop)
}

pub(crate) fn name_process(name: &str) -> SysResult<()> {
    let name = c_string(name)?;
    // SAFETY: `name` ends in a NUL and outlives the call.
    check(unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) }).map(drop)
}

pub(crate) fn replace_stdio(fds: &[i32]) -> SysResult<()> {
    // Duplicate to high numbers first, so that no descriptor is overwritten before it is copied.
    let floor = fds.len() as i32;
    let copies = fds
        .iter()
        // SAFETY: no memory is passed.
        .map(|&fd| check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, floor) }))
        .collect::<SysResult<Vec<_>>>()?;
    for (place, copy) in copies.iter().enumerate() {
        // SAFETY: no memory is passed.
        check(unsafe { libc::dup2(*copy as i32, place as i32) })?;
    }
    Ok(())
}

pub(crate) fn drop_privileges(id: u32) -> SysResult<()> {
    // SAFETY: the list of groups is empty, so the null pointer is not read.
    check(unsafe { libc::setgroups(0, std::ptr::null()) })?;
    // SAFETY: no memory is passed.
    check(unsafe { libc::setresgid(id, id, id) })?;
    // SAFETY: no memory is passed.
    check(unsafe { libc::setresuid(id, id, id) })?;
    // SAFETY: no memory is passed.
    match unsafe { libc::geteuid() } {
        uid if uid == id => Ok(()),
        _ => Err(Errno::EPERM),
    }
}

/// `struct __user_cap_header_struct` of include/uapi/linux/capability.h.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct` of include/uapi/linux/capability.h. The first holds capabilities 0 to 31, the second
/// those from 32 on.
#[repr(C)]
#[derive(Default)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3` of include/uapi/linux/capability.h.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// Bit of `CAP_IPC_LOCK` (include/uapi/linux/capability.h).
const IPC_LOCK: u32 = 1 << 14;

pub(crate) fn limit_locked_memory(bytes: u64) -> SysResult<()> {
    let limit = libc::rlimit64 { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: `limit` outlives the call.
    check(unsafe { libc::setrlimit64(libc::RLIMIT_MEMLOCK, &limit) })?;
    let mut header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let mut data: [CapabilityData; 2] = Default::default();
    // SAFETY: version 3 writes two elements of `data`. The kernel writes to `header` only if it rejects the version.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, &raw mut data) })?;
    data[0].effective &= !IPC_LOCK;
    data[0].permitted &= !IPC_LOCK;
    // SAFETY: as above, but `data` is only read.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, &raw const data) }).map(drop)
}

#[cfg(target_arch = "arm")]
pub(crate) fn disable_read_implies_exec() -> SysResult<()> {
    // All ones: return the current value without changing it.
    // SAFETY: no memory is passed.
    let now = check(unsafe { libc::personality(0xffff_ffff) })?;
    let without = now as libc::c_ulong & !(libc::READ_IMPLIES_EXEC as libc::c_ulong);
    // SAFETY: no memory is passed.
    check(unsafe { libc::personality(without) }).map(drop)
}

pub(crate) fn run_on_processor(number: u32) -> SysResult<()> {
    // SAFETY: an all-zero set is valid, and the kernel only reads it.
    check(unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(number as usize, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &set)
    })
    .map(drop)
}

pub(crate) fn yield_now() {
    // SAFETY: no memory is passed.
    unsafe { libc::sched_yield() };
}

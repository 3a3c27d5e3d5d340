// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls of the guest. No other crate of the guest contains `unsafe` code.
//!
//! The modules are the interface to one of two backends. `native` calls Linux through libc. `wasm` serves machines for
//! which rustc has no code generator: there the program is compiled to WebAssembly and then to C, and calls a runtime
//! written in C (`images/wasm`).
//!
//! The interface contains only what both backends can provide. Interface and backend exchange only scalars, byte slices
//! and opaque handles. Programs fork instead of using threads, except for tests of one address space that several
//! threads use. No closure outlives a call, and no signature contains a type or constant of libc.

// Inline assembly for SPARC is not stable yet.
#![cfg_attr(target_arch = "sparc64", feature(asm_experimental_arch))]

mod errno;
mod file;
mod fs;
mod machine;
mod memory;
#[cfg(not(target_arch = "wasm32"))]
#[allow(unsafe_code)]
mod native;
mod numbers;
pub mod oracle;
mod peer;
mod process;
mod thread;
mod time;
#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code)]
mod wasm;

#[cfg(not(target_arch = "wasm32"))]
use native as backend;
#[cfg(target_arch = "wasm32")]
use wasm as backend;

pub use errno::{Errno, Error, Result};
pub use file::{Fd, OpenFlags, Ready, pipe, poll, print_line};
pub use fs::{
    MountFlags, append_file, exists, list_dir, make_dir, memfd, mount, read_file, read_text,
    remove_dir, unmount, write_file,
};
pub use machine::{Uname, big_endian, load_module, page_size, restart, sync, uname, unload_module};
pub use memory::{
    Access, Advice, Fault, FutexWait, Mapping, OWNER_DIED, Prot, RegisteredBuffer, Sharing,
    WAITERS, Word, fence, tee,
};
pub use peer::{Tracee, read_memory, write_memory};
pub use process::{
    ExitStatus, ForkResult, KillTarget, Pid, Signal, args, die_with_parent,
    disable_read_implies_exec, drop_privileges, exec, exec_with, exit, fork, kill,
    limit_locked_memory, name_process, new_session, own_pid, replace_stdio, run_on_processor, wait,
    wait_any, yield_now,
};
pub use thread::{has_threads, run_threads};
pub use time::{Instant, sleep};

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Functions of the runtime, defined in `images/wasm`.
//!
//! An `i64` result can be a negative error number; [`super::check`] converts it. A `*const c_char` points to a string
//! that ends in a NUL. `into` and `room` are a buffer and its length in bytes. `at` is an address of the machine.

use std::ffi::c_char;

#[link(wasm_import_module = "sys")]
unsafe extern "C" {
    pub(super) fn open(path: *const c_char, flags: i32, mode: u32) -> i64;
    pub(super) safe fn close(fd: i32);
    pub(super) fn read(fd: i32, into: *mut u8, room: usize) -> i64;
    pub(super) fn pread(fd: i32, into: *mut u8, room: usize, offset: u64) -> i64;
    pub(super) fn write(fd: i32, bytes: *const u8, len: usize) -> i64;
    pub(super) fn pwrite(fd: i32, bytes: *const u8, len: usize, offset: u64) -> i64;
    pub(super) safe fn fsync(fd: i32) -> i64;
    pub(super) safe fn ftruncate(fd: i32, size: u64) -> i64;
    /// Returns the read end in the upper half and the write end in the lower half.
    pub(super) safe fn pipe() -> i64;
    /// Fills `ready`, one byte for each descriptor: bit 0 means readable, bit 1 means hung up.
    pub(super) fn poll(fds: *const i32, count: usize, millis: i32, ready: *mut u8) -> i64;
    pub(super) safe fn make_raw(fd: i32) -> i64;
    pub(super) safe fn drain(fd: i32) -> i64;
    /// Returns a copy of the descriptor, with a number of `floor` or higher.
    pub(super) safe fn duplicate(fd: i32, floor: i32) -> i64;
    /// Copies `fd` to the descriptor `place`.
    pub(super) safe fn dup2(fd: i32, place: i32) -> i64;

    pub(super) fn exists(path: *const c_char) -> i32;
    pub(super) fn list_dir(path: *const c_char, into: *mut u8, room: usize) -> i64;
    pub(super) fn mkdir(path: *const c_char, mode: u32) -> i64;
    pub(super) fn rmdir(path: *const c_char) -> i64;
    pub(super) fn mount(
        source: *const c_char,
        at: *const c_char,
        kind: *const c_char,
        flags: u32,
        data: *const c_char,
    ) -> i64;
    /// Detaches the mount immediately, even if it is in use.
    pub(super) fn unmount(at: *const c_char) -> i64;
    pub(super) fn memfd(name: *const c_char) -> i64;

    /// Writes two strings: release and machine.
    pub(super) fn uname(into: *mut u8, room: usize) -> i64;
    pub(super) safe fn page_size() -> usize;
    pub(super) safe fn big_endian() -> i32;
    pub(super) safe fn sync();
    pub(super) fn load_module(fd: i32, parameters: *const c_char) -> i64;
    pub(super) fn unload_module(name: *const c_char) -> i64;
    pub(super) safe fn restart() -> i64;

    /// Maps a file, or anonymous memory if `fd` is -1. If `at` is not 0, the mapping replaces whatever is mapped there.
    pub(super) fn map(at: u64, len: usize, prot: i32, sharing: i32, fd: i32, offset: u64) -> i64;
    pub(super) fn unmap(at: u64, len: usize) -> i64;
    pub(super) fn remap(at: u64, old: usize, new: usize) -> i64;
    pub(super) fn protect(at: u64, len: usize, prot: i32) -> i64;
    pub(super) fn load8(at: u64) -> u32;
    pub(super) fn load16(at: u64) -> u32;
    pub(super) fn load32(at: u64) -> u32;
    pub(super) fn load64(at: u64) -> u64;
    pub(super) fn store8(at: u64, value: u32);
    pub(super) fn store16(at: u64, value: u32);
    pub(super) fn store32(at: u64, value: u32);
    pub(super) fn store64(at: u64, value: u64);
    pub(super) fn load_acquire(at: u64) -> u32;
    pub(super) fn store_release(at: u64, value: u32);
    pub(super) safe fn fence();
    pub(super) fn copy_in(at: u64, bytes: *const u8, len: usize);
    pub(super) fn copy_out(at: u64, into: *mut u8, room: usize);
    pub(super) fn write_from(fd: i32, at: u64, len: usize) -> i64;
    pub(super) fn futex_wait(at: u64, expected: u32, nanos: u64) -> i64;
    pub(super) fn futex_wake(at: u64, count: u32) -> i64;
    pub(super) fn remap_to(at: u64, old: usize, new: usize, to: u64) -> i64;
    pub(super) fn remap_dontunmap(at: u64, len: usize) -> i64;
    pub(super) fn advise(at: u64, len: usize, advice: i32) -> i64;
    pub(super) fn mlock(at: u64, len: usize) -> i64;
    pub(super) fn munlock(at: u64, len: usize) -> i64;
    pub(super) fn msync(at: u64, len: usize, flags: i32) -> i64;
    pub(super) fn pwrite_from(fd: i32, at: u64, len: usize, to: u64) -> i64;
    pub(super) fn read_into(fd: i32, at: u64, len: usize) -> i64;
    pub(super) fn pread_into(fd: i32, at: u64, len: usize, from: u64) -> i64;
    pub(super) fn futex_requeue(at: u64, to: u64, count: u32) -> i64;
    pub(super) fn splice_to(fd: i32, at: u64, len: usize) -> i64;
    pub(super) safe fn tee(from: i32, to: i32, len: usize) -> i64;
    /// Returns the descriptor of a new io_uring instance with one registered buffer.
    pub(super) fn register_buffer(at: u64, len: usize) -> i64;
    pub(super) fn robust_list(entry: u64, to_futex: usize) -> i64;

    /// Instructions for the cache oracle; see `crate::oracle`.
    pub(super) safe fn oracle_open(id: u32);
    pub(super) safe fn oracle_close();
    pub(super) fn oracle_known(at: u64, physical: u64);

    /// Reads memory of another process, and returns the number of bytes read.
    pub(super) fn read_memory(pid: i32, at: u64, into: *mut u8, room: usize) -> i64;
    /// Writes memory of another process, and returns the number of bytes written.
    pub(super) fn write_memory(pid: i32, at: u64, bytes: *const u8, len: usize) -> i64;
    /// Attaches to a process by ptrace(2), and stops it.
    pub(super) safe fn attach(pid: i32) -> i64;
    pub(super) safe fn detach(pid: i32) -> i64;
    /// Returns the size of a machine word in bytes. `peek` and `poke` transfer one word.
    pub(super) safe fn word_size() -> usize;
    pub(super) fn peek(pid: i32, at: u64, into: *mut u8) -> i64;
    pub(super) fn poke(pid: i32, at: u64, bytes: *const u8) -> i64;

    pub(super) fn args(into: *mut u8, room: usize) -> i64;
    pub(super) safe fn own_pid() -> i32;
    pub(super) safe fn fork() -> i64;
    /// Executes a program. `words` points to strings, one after the other: `args` arguments, and then `env` variables of
    /// the environment.
    pub(super) fn exec(path: *const c_char, words: *const u8, args: usize, env: usize) -> i64;
    pub(super) safe fn exit(code: i32) -> !;
    /// Waits for a process. Returns its ID in the upper half, and in the lower half its exit status, or its signal with
    /// bit 8 set. Returns 0 if no process has ended.
    pub(super) safe fn wait(pid: i32, block: i32) -> i64;
    pub(super) safe fn kill(pid: i32, signal: i32) -> i64;
    pub(super) safe fn new_session() -> i64;
    pub(super) safe fn die_with_parent() -> i64;
    pub(super) fn name_process(name: *const c_char) -> i64;
    /// Switches to user and group `id`, and leaves all supplementary groups.
    pub(super) safe fn become_user(id: u32) -> i64;
    pub(super) safe fn limit_locked_memory(bytes: u64) -> i64;
    pub(super) safe fn run_on_processor(number: u32) -> i64;
    pub(super) safe fn yield_now();

    pub(super) safe fn now() -> u64;
    pub(super) safe fn sleep(nanos: u64);
}

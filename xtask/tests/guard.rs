// SPDX-License-Identifier: MIT OR Apache-2.0
//! No process outlives the lab. A shell stands in for the lab where the lab has to die. `sleep` with a unique duration
//! stands in for the work, so that the test finds remaining processes in /proc.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgid, getpgrp};
use xtask::guard;

const LONG: Duration = Duration::from_secs(20);

/// Returns a duration for `sleep` that no other test uses.
fn mark() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("7777.{}{number:03}", std::process::id())
}

/// Counts the processes on this machine whose command line is `sleep MARK`, without zombies.
fn sleeping(mark: &str) -> usize {
    let wanted = format!("sleep\0{mark}\0");
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            line == wanted.as_bytes()
        })
        .count()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LONG, "{what}: not within {LONG:?}");
        sleep(Duration::from_millis(10));
    }
}

/// Returns a script that leaves a process tree like that of `make`: children, grandchildren, a process that left the
/// process group, and an orphan.
fn tree(mark: &str) -> String {
    format!(
        "(sleep {mark} & sleep {mark} & wait) & setsid sleep {mark} & (sleep {mark} &) ; sleep {mark}"
    )
}
const TREE: usize = 5;

/// Starts a shell in place of the lab. The shell runs `script` under a guard of the given mode.
fn lab(mode: &str, script: &str) -> Child {
    let guarded = format!("\"$0\" guard {mode} $$ sh -c \"$1\" & wait");
    Command::new("sh")
        .args(["-c", &guarded, env!("CARGO_BIN_EXE_xtask"), script])
        .process_group(0)
        .spawn()
        .unwrap()
}

#[test]
fn a_tree_dies_when_the_lab_is_killed() {
    let mark = mark();
    let mut lab = lab("tree", &tree(&mark));
    until("tree started", || sleeping(&mark) == TREE);
    lab.kill().unwrap();
    lab.wait().unwrap();
    until("tree gone", || sleeping(&mark) == 0);
}

/// A guard checks its parent once a second anyway, but a tree that lives that long may disturb the next run.
#[test]
fn a_guard_notices_the_labs_death_immediately() {
    let noticed = || {
        let mark = mark();
        let mut lab = lab("tree", &format!("exec sleep {mark}"));
        until("program started", || sleeping(&mark) == 1);
        // Any signal makes the guard check its parent, and then sleep for a whole second.
        kill(child_of(&lab), Signal::SIGHUP).unwrap();
        sleep(Duration::from_millis(200));
        let killed = Instant::now();
        lab.kill().unwrap();
        lab.wait().unwrap();
        until("program gone", || sleeping(&mark) == 0);
        killed.elapsed() < Duration::from_millis(600)
    };
    // One success is proof; a busy machine may be slow now and then.
    assert!((0..5).any(|_| noticed()));
}

/// Returns the guard that the lab has started.
fn child_of(lab: &Child) -> Pid {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let parent = format!(" {} ", lab.id());
    let child = pids.find(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The state, one letter, precedes the parent.
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        after_name
            .get(1..)
            .is_some_and(|rest| rest.starts_with(&parent))
    });
    Pid::from_raw(child.unwrap())
}

#[test]
fn a_program_dies_when_the_lab_is_killed() {
    let mark = mark();
    let mut lab = lab("exec", &format!("exec sleep {mark}"));
    until("program started", || sleeping(&mark) == 1);
    lab.kill().unwrap();
    lab.wait().unwrap();
    until("program gone", || sleeping(&mark) == 0);
}

#[test]
fn stop_sends_sigterm_first() {
    let mark = mark();
    let mut child = guard::command("sh")
        .args(["-c", &format!("trap 'exit 9' TERM; sleep {mark} & wait")])
        .spawn()
        .unwrap();
    until("started", || sleeping(&mark) == 1);
    let status = guard::stop(&mut child, LONG).unwrap();
    assert_eq!(status.code(), Some(9));
    assert_eq!(sleeping(&mark), 0);
}

#[test]
fn stop_sends_sigkill_after_the_grace_time() {
    let mark = mark();
    let script = format!("trap '' TERM; sleep {mark} & sleep {mark} & echo; wait");
    let mut child = guard::command("sh").args(["-c", &script]).spawn().unwrap();
    until("started", || sleeping(&mark) == 2);
    let start = Instant::now();
    let status = guard::stop(&mut child, Duration::from_millis(200)).unwrap();
    assert_eq!(status.signal(), Some(9));
    assert!(start.elapsed() >= Duration::from_millis(200));
    until("nothing left", || sleeping(&mark) == 0);
}

#[test]
fn stop_returns_the_status_of_a_child_that_has_ended() {
    let mut child = guard::command("sh").args(["-c", "exit 3"]).spawn().unwrap();
    child.wait().unwrap();
    let status = guard::stop(&mut child, Duration::ZERO).unwrap();
    assert_eq!(status.code(), Some(3));
}

#[test]
fn processes_that_a_program_leaves_running_are_killed() {
    let mark = mark();
    let script = format!("setsid sleep {mark} & sleep {mark} & exit 3");
    let status = guard::command("sh").args(["-c", &script]).status().unwrap();
    assert_eq!(status.code(), Some(3));
    assert_eq!(sleeping(&mark), 0);
}

#[test]
fn a_guard_dies_of_the_same_signal_as_its_program() {
    let by_signal = |name: &str| {
        let script = format!("kill -{name} $$");
        let mut command = guard::command("sh");
        command.args(["-c", &script]).status().unwrap().signal()
    };
    assert_eq!(by_signal("SEGV"), Some(11));
    assert_eq!(by_signal("KILL"), Some(9));
    assert_eq!(by_signal("PIPE"), Some(13));
}

#[test]
fn output_and_arguments_pass_unchanged() {
    for make in [guard::command, guard::exec_command] as [fn(&'static str) -> Command; 2] {
        let output = make("printf").args(["%s|", "a b", "--", "guard"]).output();
        assert_eq!(output.unwrap().stdout, b"a b|--|guard|");
    }
}

#[test]
fn the_error_names_a_missing_program() {
    for make in [guard::command, guard::exec_command] as [fn(&'static str) -> Command; 2] {
        let output = make("no-such-program").output().unwrap();
        assert_eq!(output.status.code(), Some(guard::CANNOT_RUN.into()));
        let text = String::from_utf8(output.stderr).unwrap();
        insta::allow_duplicates!(insta::assert_snapshot!(
            text,
            @"xtask: cannot run `no-such-program`: No such file or directory (os error 2)"
        ));
    }
}

#[test]
fn exec_gives_the_pid_of_the_program_in_a_group_of_its_own() {
    let mark = mark();
    let mut child = guard::exec_command("sleep").arg(&mark).spawn().unwrap();
    until("started", || sleeping(&mark) == 1);
    let pid = Pid::from_raw(child.id() as i32);
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert_eq!(name, "sleep\n");
    assert_eq!(getpgid(Some(pid)), Ok(pid));
    guard::stop(&mut child, LONG).unwrap();
    assert_eq!(sleeping(&mark), 0);
}

#[test]
fn a_foreground_program_stays_in_the_labs_group_and_can_be_stopped() {
    let mark = mark();
    let mut child = guard::foreground_command("sleep")
        .arg(&mark)
        .spawn()
        .unwrap();
    until("started", || sleeping(&mark) == 1);
    let pid = Pid::from_raw(child.id() as i32);
    assert_eq!(getpgid(Some(pid)), Ok(getpgrp()));
    let status = guard::stop(&mut child, LONG).unwrap();
    assert_eq!(status.signal(), Some(15));
}

#[test]
fn a_tree_outlives_the_thread_that_started_it() {
    let mark = mark();
    let script = tree(&mark);
    let start = move || guard::command("sh").args(["-c", &script]).spawn().unwrap();
    let mut child = std::thread::spawn(start).join().unwrap();
    until("tree started", || sleeping(&mark) == TREE);
    // Longer than the one second after which a guard checks its parent again.
    sleep(Duration::from_millis(1200));
    assert_eq!(sleeping(&mark), TREE);
    guard::stop(&mut child, LONG).unwrap();
    assert_eq!(sleeping(&mark), 0);
}

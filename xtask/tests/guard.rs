// SPDX-License-Identifier: MIT OR Apache-2.0
//! Nothing outlives the lab. A shell plays the lab where the lab has to die; `sleep` with a duration of its own
//! plays the work, so that /proc tells whether any of it is left.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgid, getpgrp};
use xtask::guard;

const LONG: Duration = Duration::from_secs(20);

/// A duration for `sleep` that no other test uses.
fn mark() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("7777.{}{number:03}", std::process::id())
}

/// Processes on this machine, zombies apart, whose command line is `sleep MARK`.
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

/// Like `make`: children, grandchildren, one that left the process group, one whose parent is gone.
fn tree(mark: &str) -> String {
    format!(
        "(sleep {mark} & sleep {mark} & wait) & setsid sleep {mark} & (sleep {mark} &) ; sleep {mark}"
    )
}
const TREE: usize = 5;

/// A shell in place of the lab, which starts `script` as a guard of the given kind.
fn lab(kind: &str, script: &str) -> Child {
    let guarded = format!("\"$0\" guard {kind} $$ sh -c \"$1\" & wait");
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

/// It looks for its parent once a second anyway; but a tree that dies only then may be in the way of the next run.
#[test]
fn a_guard_hears_of_the_labs_death_at_once() {
    let told = || {
        let mark = mark();
        let mut lab = lab("tree", &format!("exec sleep {mark}"));
        until("program started", || sleeping(&mark) == 1);
        // Any signal has the guard look, and then sleep a whole second.
        kill(child_of(&lab), Signal::SIGHUP).unwrap();
        sleep(Duration::from_millis(200));
        let killed = Instant::now();
        lab.kill().unwrap();
        lab.wait().unwrap();
        until("program gone", || sleeping(&mark) == 0);
        killed.elapsed() < Duration::from_millis(600)
    };
    // Once is proof; a busy machine may be slow now and then.
    assert!((0..5).any(|_| told()));
}

/// The guard that a lab has started.
fn child_of(lab: &Child) -> Pid {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let parent = format!(" {} ", lab.id());
    let child = pids.find(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The state is one letter.
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
fn stop_asks_first() {
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
fn stop_insists() {
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
fn stop_of_what_has_ended_gives_its_status() {
    let mut child = guard::command("sh").args(["-c", "exit 3"]).spawn().unwrap();
    child.wait().unwrap();
    let status = guard::stop(&mut child, Duration::ZERO).unwrap();
    assert_eq!(status.code(), Some(3));
}

#[test]
fn what_a_program_leaves_running_is_killed() {
    let mark = mark();
    let script = format!("setsid sleep {mark} & sleep {mark} & exit 3");
    let status = guard::command("sh").args(["-c", &script]).status().unwrap();
    assert_eq!(status.code(), Some(3));
    assert_eq!(sleeping(&mark), 0);
}

#[test]
fn a_guard_ends_as_its_program_did() {
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
fn output_passes_and_arguments_stay_as_they_are() {
    for make in [guard::command, guard::exec_command] as [fn(&'static str) -> Command; 2] {
        let output = make("printf").args(["%s|", "a b", "--", "guard"]).output();
        assert_eq!(output.unwrap().stdout, b"a b|--|guard|");
    }
}

#[test]
fn a_program_that_is_not_there_is_named() {
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
fn a_program_in_the_foreground_stays_in_our_group_and_can_be_stopped() {
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
    // Longer than a guard's second look at its parent.
    sleep(Duration::from_millis(1200));
    assert_eq!(sleeping(&mark), TREE);
    guard::stop(&mut child, LONG).unwrap();
    assert_eq!(sleeping(&mark), 0);
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! No process outlives the lab. A shell stands in for the lab where the lab has to die. `sleep` with a unique duration
//! stands in for the work, so that the test finds remaining processes in /proc.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use duct::{Expression, Handle};
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
fn lab(mode: &str, script: &str) -> Handle {
    let guarded = format!("\"$0\" guard {mode} $$ sh -c \"$1\" & wait");
    duct::cmd!("sh", "-c", guarded, env!("CARGO_BIN_EXE_xtask"), script)
        .unchecked()
        .before_spawn(|command| {
            command.process_group(0);
            Ok(())
        })
        .start()
        .unwrap()
}

#[test]
fn a_tree_dies_when_the_lab_is_killed() {
    let mark = mark();
    let lab = lab("tree", &tree(&mark));
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
        let lab = lab("tree", &format!("exec sleep {mark}"));
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
fn child_of(lab: &Handle) -> Pid {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let parent = format!(" {} ", lab.pids()[0]);
    let child = pids.find(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The state, one letter, precedes the parent.
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        after_name.get(1..).is_some_and(|rest| rest.starts_with(&parent))
    });
    Pid::from_raw(child.unwrap())
}

#[test]
fn a_program_dies_when_the_lab_is_killed() {
    let mark = mark();
    let lab = lab("exec", &format!("exec sleep {mark}"));
    until("program started", || sleeping(&mark) == 1);
    lab.kill().unwrap();
    lab.wait().unwrap();
    until("program gone", || sleeping(&mark) == 0);
}

#[test]
fn stop_sends_sigterm_first() {
    let mark = mark();
    let script = format!("trap 'exit 9' TERM; sleep {mark} & wait");
    let child = guard::command("sh", ["-c", &script]).start().unwrap();
    until("started", || sleeping(&mark) == 1);
    let status = guard::stop(&child, LONG).unwrap().status;
    assert_eq!(status.code(), Some(9));
    assert_eq!(sleeping(&mark), 0);
}

#[test]
fn stop_sends_sigkill_after_the_grace_time() {
    let mark = mark();
    let script = format!("trap '' TERM; sleep {mark} & sleep {mark} & echo; wait");
    let child = guard::command("sh", ["-c", &script]).start().unwrap();
    until("started", || sleeping(&mark) == 2);
    let start = Instant::now();
    let status = guard::stop(&child, Duration::from_millis(200)).unwrap().status;
    assert_eq!(status.signal(), Some(9));
    assert!(start.elapsed() >= Duration::from_millis(200));
    until("nothing left", || sleeping(&mark) == 0);
}

#[test]
fn stop_ends_the_rest_of_a_pipeline() {
    let mark = mark();
    let left = guard::command("sh", ["-c", "exit 0"]);
    let right = guard::command("sh", ["-c", &format!("sleep {mark} & wait")]);
    let child = left.pipe(right).start().unwrap();
    until("started", || sleeping(&mark) == 1);
    // Reaps the left side.
    assert!(child.try_wait().unwrap().is_none());
    let status = guard::stop(&child, LONG).unwrap().status;
    assert_eq!(status.signal(), Some(15));
    assert_eq!(sleeping(&mark), 0);
}

#[test]
fn stop_returns_the_status_of_a_child_that_has_ended() {
    let child = guard::command("sh", ["-c", "exit 3"]).start().unwrap();
    child.wait().unwrap();
    let status = guard::stop(&child, Duration::ZERO).unwrap().status;
    assert_eq!(status.code(), Some(3));
}

#[test]
fn processes_that_a_program_leaves_running_are_killed() {
    let mark = mark();
    let script = format!("setsid sleep {mark} & sleep {mark} & exit 3");
    let status = guard::command("sh", ["-c", &script]).run().unwrap().status;
    assert_eq!(status.code(), Some(3));
    assert_eq!(sleeping(&mark), 0);
}

#[test]
fn a_guard_dies_of_the_same_signal_as_its_program() {
    let by_signal = |name: &str| {
        let script = format!("kill -{name} $$");
        let command = guard::command("sh", ["-c", &script]);
        command.run().unwrap().status.signal()
    };
    assert_eq!(by_signal("SEGV"), Some(11));
    assert_eq!(by_signal("KILL"), Some(9));
    assert_eq!(by_signal("PIPE"), Some(13));
}

/// Both functions that make a command in a process group of its own.
const MAKERS: [fn(&str, &[&str]) -> Expression; 2] = [
    |program, args| guard::command(program, args),
    |program, args| guard::exec_command(program, args),
];

#[test]
fn output_and_arguments_pass_unchanged() {
    for make in MAKERS {
        let output = make("printf", &["%s|", "a b", "--", "guard"]);
        let output = output.stdout_capture().run();
        assert_eq!(output.unwrap().stdout, b"a b|--|guard|");
    }
}

#[test]
fn the_error_names_a_missing_program() {
    for make in MAKERS {
        let output = make("no-such-program", &[]);
        let output = output.stderr_capture().run().unwrap();
        assert_eq!(output.status.code(), Some(guard::CANNOT_RUN));
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
    let child = guard::exec_command("sleep", [&mark]).start().unwrap();
    until("started", || sleeping(&mark) == 1);
    let pid = Pid::from_raw(child.pids()[0] as i32);
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert_eq!(name, "sleep\n");
    assert_eq!(getpgid(Some(pid)), Ok(pid));
    guard::stop(&child, LONG).unwrap();
    assert_eq!(sleeping(&mark), 0);
}

#[test]
fn a_foreground_program_stays_in_the_labs_group_and_can_be_stopped() {
    let mark = mark();
    let child = guard::foreground_command("sleep", [&mark]).start().unwrap();
    until("started", || sleeping(&mark) == 1);
    let pid = Pid::from_raw(child.pids()[0] as i32);
    assert_eq!(getpgid(Some(pid)), Ok(getpgrp()));
    let status = guard::stop(&child, LONG).unwrap().status;
    assert_eq!(status.signal(), Some(15));
}

#[test]
fn a_tree_outlives_the_thread_that_started_it() {
    let mark = mark();
    let script = tree(&mark);
    let start = move || guard::command("sh", ["-c", &script]).start().unwrap();
    let child = std::thread::spawn(start).join().unwrap();
    until("tree started", || sleeping(&mark) == TREE);
    // Longer than the one second after which a guard checks its parent again.
    sleep(Duration::from_millis(1200));
    assert_eq!(sleeping(&mark), TREE);
    guard::stop(&child, LONG).unwrap();
    assert_eq!(sleeping(&mark), 0);
}

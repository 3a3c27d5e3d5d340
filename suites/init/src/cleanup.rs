// SPDX-License-Identifier: MIT OR Apache-2.0
//! Removes the processes, mounts and control groups that a case has left behind.

use std::time::Duration;

use sys::{Errno, Instant, KillTarget, Signal, list_dir, read_text, sleep};
use workloads::GROUPS;

/// Time within which a killed process must end. Releasing the resources of a case takes milliseconds; a process that
/// takes this long waits for an event that never comes.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) enum Killed {
    All,
    /// Some processes did not end. Describes them in plain text.
    Stuck(String),
}

/// Kills every process except this one, and waits until all have ended.
pub(crate) fn kill_and_reap() -> Killed {
    let start = Instant::now();
    let mut pause = Duration::from_micros(100);
    loop {
        // Repeated in each round, because kill(2) can miss a process that is being forked.
        let _ = sys::kill(KillTarget::Everyone, Signal::Kill);
        loop {
            match sys::wait_any() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) if error.errno == Errno::ECHILD => return Killed::All,
                Err(error) => return Killed::Stuck(error.to_string()),
            }
        }
        if start.elapsed() > KILL_TIMEOUT {
            return Killed::Stuck(describe_processes());
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

pub(crate) fn unmount_leftovers() {
    let mounts = read_text("/proc/mounts").unwrap_or_default();
    for place in places_below(&mounts, "/run/dmmap/") {
        // If this fails, the connection remains, and the comparison after the case reports a leak.
        let _ = sys::unmount(place);
    }
}

/// Removes the control groups that a case has left behind.
pub(crate) fn remove_groups() {
    for name in list_dir(GROUPS).unwrap_or_default() {
        // Fails for the kernel's own entries, which are files.
        let _ = sys::remove_dir(&format!("{GROUPS}/{name}"));
    }
}

/// Returns the mount points below `dir`, most recently mounted first. `mounts` has the format of `/proc/mounts`.
fn places_below<'t>(mounts: &'t str, dir: &str) -> Vec<&'t str> {
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let mut places: Vec<_> = places.filter(|place| place.starts_with(dir)).collect();
    places.reverse();
    places
}

/// Describes every process except this one and kernel threads: ID, name, state and the kernel function it waits in.
pub(crate) fn describe_processes() -> String {
    let mut found = Vec::new();
    for pid in list_dir("/proc").unwrap_or_default() {
        let number = pid.parse::<u32>().unwrap_or(0);
        // PID 2 is kthreadd, the parent of all kernel threads.
        if number <= 2 {
            continue;
        }
        let stat = read_text(&format!("/proc/{pid}/stat")).unwrap_or_default();
        let Some((name, state, parent)) = parse_stat(&stat) else {
            continue;
        };
        if parent == 2 {
            continue;
        }
        let waits_in = read_text(&format!("/proc/{pid}/wchan")).unwrap_or_default();
        found.push(format!("process {pid} ({name}), state {state}, waiting in {waits_in}"));
    }
    match found.is_empty() {
        true => "a child process that /proc does not list".into(),
        false => found.join("; "),
    }
}

/// Returns name, state and parent from `PID (NAME) STATE PARENT ...`. The name may contain any character.
fn parse_stat(stat: &str) -> Option<(&str, &str, u32)> {
    let (head, tail) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1;
    let mut words = tail.split_whitespace();
    Some((name, words.next()?, words.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_described() {
        assert_eq!(parse_stat("57 (a) b) D 1 57 57 0"), Some(("a) b", "D", 1)));
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn only_mounts_of_cases_are_leftovers() {
        let mounts = "proc /proc proc rw 0 0\ndmmap /run/dmmap/a fuse rw 0 0\ndmmap /run/dmmap/b fuse rw 0 0\n";
        assert_eq!(places_below(mounts, "/run/dmmap/"), ["/run/dmmap/b", "/run/dmmap/a"]);
    }
}

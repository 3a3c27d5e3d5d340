// SPDX-License-Identifier: MIT OR Apache-2.0
//! After a case: no process of it, no mount and no group of it.

use std::time::Duration;

use sys::{Errno, Instant, Signal, Target, list_dir, read_text, sleep};
use workloads::GROUPS;

/// How long a killed process may take to be gone. Freeing what a case holds takes milliseconds; a process that is
/// still there after this waits for something that will not come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether everything is gone.
pub enum Cleaned {
    /// It is.
    All,
    /// These are left, for a person.
    Stuck(String),
}

/// Kills every process but this one, and waits until all are gone.
pub fn kill_and_reap() -> Cleaned {
    let start = Instant::now();
    let mut pause = Duration::from_micros(100);
    loop {
        // Again and again: a process that was being forked may have been missed.
        let _ = sys::kill(Target::Everyone, Signal::Kill);
        loop {
            match sys::wait_any() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) if error.errno == Errno::ECHILD => return Cleaned::All,
                Err(error) => return Cleaned::Stuck(error.to_string()),
            }
        }
        if start.elapsed() > PATIENCE {
            return Cleaned::Stuck(describe_processes());
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Unmounts what a case has left mounted.
pub fn unmount_leftovers() {
    let mounts = read_text("/proc/mounts").unwrap_or_default();
    for place in places_below(&mounts, "/run/dmmap/") {
        // If it fails, the connection is still there, and the comparison after the case says so.
        let _ = sys::unmount(place);
    }
}

/// Removes the groups a case has left.
pub fn remove_groups() {
    for name in list_dir(GROUPS).unwrap_or_default() {
        // What the kernel has put there are files.
        let _ = sys::remove_dir(&format!("{GROUPS}/{name}"));
    }
}

/// The second word of each line is the place. The last mounted comes first.
fn places_below<'t>(mounts: &'t str, above: &str) -> Vec<&'t str> {
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let mut places: Vec<_> = places.filter(|place| place.starts_with(above)).collect();
    places.reverse();
    places
}

/// Every process that is neither this one nor the kernel's, with its state and what it waits in.
pub fn describe_processes() -> String {
    let mut found = Vec::new();
    for pid in list_dir("/proc").unwrap_or_default() {
        let number = pid.parse::<u32>().unwrap_or(0);
        // 2 is kthreadd, parent of all kernel threads.
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
        found.push(format!(
            "process {pid} ({name}), state {state}, in {waits_in}"
        ));
    }
    match found.is_empty() {
        true => "a child that /proc does not show".into(),
        false => found.join("; "),
    }
}

/// Name, state and parent from `PID (NAME) STATE PARENT ...`; the name may hold anything.
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
        assert_eq!(
            places_below(mounts, "/run/dmmap/"),
            ["/run/dmmap/b", "/run/dmmap/a"]
        );
    }
}

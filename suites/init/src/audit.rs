// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the machine looks like around a case, and what a case may not change.

use std::time::Duration;

use sys::{Instant, list_dir, read_text, sleep, write_file};
use workloads::{LIMIT_PER_CONNECTION, LIMIT_TOTAL, PAGES_TOTAL};

/// How long things may take to come back once all processes are gone: connections end in the kernel's own threads.
const PATIENCE: Duration = Duration::from_secs(2);

/// Free memory that may be missing after a case, in KiB.
/// PLACEHOLDER
const SLACK_KIB: i64 = 1024;

const LIMITS: [&str; 2] = [LIMIT_PER_CONNECTION, LIMIT_TOTAL];

/// The machine before a case.
pub struct Snapshot {
    taint: u64,
    /// `None` on a kernel without the feature.
    pages: Option<u64>,
    connections: Vec<String>,
    devices: Vec<String>,
    free_kib: i64,
    limits: [Option<String>; 2],
}

/// What a case has changed.
pub struct Compared {
    /// Taint bits it added.
    pub taint: u64,
    /// KiB that were free before it and are not after; negative where more is free.
    pub lost_kib: i64,
    /// What it left behind, if anything, for a person.
    pub complaint: Option<String>,
}

impl Snapshot {
    /// The machine as it is.
    pub fn take() -> Result<Snapshot, String> {
        Ok(Snapshot {
            taint: taint()?,
            pages: pages(),
            connections: names("/sys/fs/fuse/connections"),
            devices: names("/sys/class/cuse"),
            limits: LIMITS.map(|path| read_text(path).ok()),
            free_kib: free_kib()?,
        })
    }

    /// Puts the limits back, waits until the rest has come back by itself, and tells what has not.
    pub fn compare(&self) -> Compared {
        for (path, value) in LIMITS.iter().zip(&self.limits) {
            if let Some(value) = value {
                let _ = write_file(path, value.as_bytes());
            }
        }
        let start = Instant::now();
        loop {
            let (lost_kib, complaint) = match self.difference() {
                Ok((lost, complaint)) => (lost, complaint),
                Err(why) => (0, Some(why)),
            };
            if complaint.is_none() || start.elapsed() > PATIENCE {
                return Compared {
                    taint: taint().unwrap_or(0) & !self.taint,
                    lost_kib,
                    complaint,
                };
            }
            sleep(Duration::from_millis(20));
        }
    }

    /// KiB lost, and what is not as it was.
    fn difference(&self) -> Result<(i64, Option<String>), String> {
        let lost = self.free_kib - free_kib()?;
        let (connections, devices) = (names("/sys/fs/fuse/connections"), names("/sys/class/cuse"));
        let changed = |what: &str, before: String, after: String| {
            (before != after)
                .then(|| format!("leak: {what} before the case: {before}, after: {after}"))
        };
        let show = |pages: Option<u64>| pages.map_or("none".into(), |pages| pages.to_string());
        let complaint = changed("direct-mapped pages", show(self.pages), show(pages()))
            .or_else(|| changed("FUSE connections", self.connections.join(" "), connections.join(" ")))
            .or_else(|| changed("CUSE devices", self.devices.join(" "), devices.join(" ")))
            .or_else(|| {
                (lost > SLACK_KIB).then(|| {
                    format!("leak: {lost} KiB less memory is free than before the case; {SLACK_KIB} are tolerated")
                })
            });
        Ok((lost, complaint))
    }
}

/// `/proc/sys/kernel/tainted`.
pub fn taint() -> Result<u64, String> {
    number("/proc/sys/kernel/tainted")
}

fn pages() -> Option<u64> {
    number(PAGES_TOTAL).ok()
}

fn names(dir: &str) -> Vec<String> {
    list_dir(dir).unwrap_or_default()
}

/// Free memory once everything the kernel merely keeps for later is given back.
fn free_kib() -> Result<i64, String> {
    // 3: page cache, dentries and inodes.
    write_file("/proc/sys/vm/drop_caches", b"3").map_err(|error| error.to_string())?;
    // Each processor keeps freed pages in lists of its own, tens of MiB of them, which MemFree does not count.
    let zones = read_text("/proc/zoneinfo").map_err(|error| error.to_string())?;
    let listed = pages_listed_in(&zones) * (sys::page_size() as u64 / 1024);
    Ok((meminfo("MemFree")? + listed) as i64)
}

/// The pages in the lists of all processors: the `count:` below each `cpu:`.
fn pages_listed_in(zoneinfo: &str) -> u64 {
    let counts = zoneinfo
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("count:"));
    counts
        .filter_map(|count| count.trim().parse::<u64>().ok())
        .sum()
}

/// A line of `/proc/meminfo`, in KiB.
pub fn meminfo(key: &str) -> Result<u64, String> {
    let text = read_text("/proc/meminfo").map_err(|error| error.to_string())?;
    meminfo_in(&text, key).ok_or_else(|| format!("/proc/meminfo has no {key}"))
}

fn meminfo_in(text: &str, key: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

fn number(path: &str) -> Result<u64, String> {
    let text = read_text(path).map_err(|error| error.to_string())?;
    text.trim()
        .parse()
        .map_err(|error| format!("{path} holds {text:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_in_lists_are_counted() {
        let text = "Node 0, zone   Normal\n  pages free     12\n  pagesets\n    cpu: 0\n              count:    52\n\
                    \x20             high:     1\n    cpu: 1\n              count:    1\n";
        assert_eq!(pages_listed_in(text), 53);
    }

    #[test]
    fn a_line_of_meminfo_is_found() {
        let text = "MemTotal:        1005456 kB\nMemFree:          972032 kB\n";
        assert_eq!(meminfo_in(text, "MemFree"), Some(972_032));
        assert_eq!(meminfo_in(text, "Mem"), None);
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the machine looks like around a case, and what a case may not change.

use std::time::Duration;

use sys::{Instant, list_dir, read_text, sleep, write_file};
use workloads::{LIMIT_MAPS, LIMIT_PER_CONNECTION, LIMIT_TOTAL, PAGES_TOTAL};

/// How long things may take to come back once all processes are gone: connections end in the kernel's own threads.
const PATIENCE: Duration = Duration::from_secs(2);

/// Memory that may be missing after a case, in KiB: free pages and kernel objects each.
///
/// Measured on armv7 and x86_64 under TCG, 71 cases in each of three boots: 152 KiB at most, and nothing that adds up over
/// a hundred times the same case. The suite `drain` goes through thousands of pages in a case, so that one page lost a
/// cycle is far above.
const SLACK_KIB: i64 = 1024;

/// KASAN keeps freed objects in quarantine, up to this part of memory (mm/kasan/quarantine.c, QUARANTINE_FRACTION).
const QUARANTINE_FRACTION: u64 = 32;

const LIMITS: [&str; 3] = [LIMIT_PER_CONNECTION, LIMIT_TOTAL, LIMIT_MAPS];

/// The machine before a case.
pub struct Snapshot {
    taint: u64,
    /// `None` on a kernel without the feature.
    pages: Option<u64>,
    connections: Vec<String>,
    devices: Vec<String>,
    memory: Memory,
    limits: [Option<String>; 3],
}

/// What a case has changed.
pub struct Compared {
    /// Taint bits it added.
    pub taint: u64,
    /// Memory it cost.
    pub lost: Memory,
    /// What it left behind, if anything, for a person.
    pub complaint: Option<String>,
}

/// Memory, or a difference of it, in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Free, or taken by the kernel's small objects, which are counted below. As a loss: positive where there is less.
    pub free_kib: i64,
    /// Taken by the kernel's small objects. As a loss: positive where there are more.
    pub objects_kib: i64,
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
            memory: Memory::now()?,
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
            let (lost, complaint) = match self.difference() {
                Ok((lost, complaint)) => (lost, complaint),
                Err(why) => (Memory::default(), Some(why)),
            };
            if complaint.is_none() || start.elapsed() > PATIENCE {
                return Compared {
                    taint: taint().unwrap_or(0) & !self.taint,
                    lost,
                    complaint,
                };
            }
            shrink_slabs();
            sleep(Duration::from_millis(20));
        }
    }

    /// Memory lost, and what is not as it was.
    fn difference(&self) -> Result<(Memory, Option<String>), String> {
        let lost = self.memory.minus(Memory::now()?);
        let (connections, devices) = (names("/sys/fs/fuse/connections"), names("/sys/class/cuse"));
        let changed = |what: &str, before: String, after: String| {
            (before != after)
                .then(|| format!("leak: {what} before the case: {before}, after: {after}"))
        };
        let show = |pages: Option<u64>| pages.map_or("none".into(), |pages| pages.to_string());
        let complaint = changed("direct-mapped pages", show(self.pages), show(pages()))
            .or_else(|| {
                changed(
                    "FUSE connections",
                    self.connections.join(" "),
                    connections.join(" "),
                )
            })
            .or_else(|| changed("CUSE devices", self.devices.join(" "), devices.join(" ")))
            .or_else(|| lost.complaint(quarantine_kib));
        Ok((lost, complaint))
    }
}

impl Memory {
    /// As it is once everything the kernel merely keeps for later is given back.
    fn now() -> Result<Memory, String> {
        // 3: page cache, dentries and inodes.
        write_file("/proc/sys/vm/drop_caches", b"3").map_err(|error| error.to_string())?;
        // Each processor counts, and keeps freed pages, by itself: have it add its counts to the sums that can be read.
        // A kernel for one processor has no such file.
        let _ = read_text("/proc/sys/vm/stat_refresh");
        // Of a zone, free pages and those in the lists are told under its lock: none is on the way from one to the
        // other (mm/vmstat.c, walk_zones_in_node). MemFree, read by itself, would count such pages twice, or never.
        let zones = read_text("/proc/zoneinfo").map_err(|error| error.to_string())?;
        let free = free_pages_in(&zones) * (sys::page_size() as u64 / 1024);
        let slab = meminfo("Slab")?;
        Ok(Memory {
            // With the objects, so that a growth of those is not told twice.
            free_kib: (free + slab) as i64,
            objects_kib: slab as i64,
        })
    }

    /// What is gone between `self`, before, and `after`.
    fn minus(self, after: Memory) -> Memory {
        Memory {
            free_kib: self.free_kib - after.free_kib,
            objects_kib: after.objects_kib - self.objects_kib,
        }
    }

    /// What there is to say about a loss; `quarantine_kib` is asked only where it matters.
    fn complaint(self, quarantine_kib: impl Fn() -> i64) -> Option<String> {
        if self.free_kib > SLACK_KIB {
            return Some(format!(
                "leak: {} KiB less memory is free than before the case; {SLACK_KIB} are tolerated",
                self.free_kib
            ));
        }
        if self.objects_kib > SLACK_KIB {
            let tolerated = SLACK_KIB + quarantine_kib();
            return (self.objects_kib > tolerated).then(|| {
                format!(
                    "leak: {} KiB more kernel objects than before the case; {tolerated} are tolerated",
                    self.objects_kib
                )
            });
        }
        None
    }
}

/// Has each of the kernel's caches of objects give back the memory in which it has none at present
/// (Documentation/ABI/testing/sysfs-kernel-slab): 68 processes at once leave 1.1 MiB of that on sparc64, the first time.
fn shrink_slabs() {
    const CACHES: &str = "/sys/kernel/slab";
    for cache in names(CACHES) {
        // Best effort: what is not given back is complained of.
        let _ = write_file(&format!("{CACHES}/{cache}/shrink"), b"1");
    }
}

/// What a kernel with KASAN may keep of freed objects; 0 without.
fn quarantine_kib() -> i64 {
    let symbols = read_text("/proc/kallsyms").unwrap_or_default();
    match symbols.contains(" kasan_quarantine_put") {
        true => (meminfo("MemTotal").unwrap_or(0) / QUARANTINE_FRACTION) as i64,
        false => 0,
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

/// The pages nobody uses: `pages free` of each zone, and those in the lists of each processor, `count:` below its `cpu:`.
fn free_pages_in(zoneinfo: &str) -> u64 {
    let counts = zoneinfo.lines().filter_map(|line| {
        let line = line.trim_start();
        let of_zone = line.strip_prefix("pages free");
        of_zone.or_else(|| line.strip_prefix("count:"))
    });
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
    fn free_pages_are_those_of_zones_and_of_lists() {
        let text = "Node 0, zone   Normal\n  per-node stats\n      nr_free_cma 9\n  pages free     12\n        boost    3\n\
                    \x20 pagesets\n    cpu: 0\n              count:    52\n              high:     1\n    cpu: 1\n\
                    \x20             count:    1\nNode 0, zone  Movable\n  pages free     100\n";
        assert_eq!(free_pages_in(text), 165);
    }

    #[test]
    fn a_loss_beyond_the_slack_is_a_leak() {
        let lost = |free_kib, objects_kib| Memory {
            free_kib,
            objects_kib,
        };
        let plain = || 0;
        let quarantine = || 32 << 10;
        assert_eq!(lost(SLACK_KIB, SLACK_KIB).complaint(plain), None);
        assert!(lost(SLACK_KIB + 1, 0).complaint(quarantine).is_some());
        assert!(lost(0, SLACK_KIB + 1).complaint(plain).is_some());
        assert_eq!(lost(0, 32 << 10).complaint(quarantine), None);
        assert!(lost(0, 34 << 10).complaint(quarantine).is_some());
    }

    #[test]
    fn a_difference_is_positive_where_something_is_gone() {
        let before = Memory {
            free_kib: 100,
            objects_kib: 10,
        };
        let after = Memory {
            free_kib: 70,
            objects_kib: 15,
        };
        assert_eq!(
            before.minus(after),
            Memory {
                free_kib: 30,
                objects_kib: 5
            }
        );
    }

    #[test]
    fn a_line_of_meminfo_is_found() {
        let text = "MemTotal:        1005456 kB\nMemFree:          972032 kB\n";
        assert_eq!(meminfo_in(text, "MemFree"), Some(972_032));
        assert_eq!(meminfo_in(text, "Mem"), None);
    }
}

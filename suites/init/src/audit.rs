// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compares the state of the machine before and after a case, and finds leaks.

use std::sync::OnceLock;
use std::time::Duration;

use sys::{Fd, Instant, OpenFlags, list_dir, read_text, sleep, write_file};
use workloads::{CONNECTIONS, LIMIT_MAPS, LIMIT_PER_CONNECTION, LIMIT_TOTAL, PAGES_TOTAL};

use crate::boot::DEBUG;

/// Time within which all resources must be released after the processes are gone. Connections take some time, because
/// kernel threads end them.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// Tolerated loss after a case, in KiB. It applies to free memory and to kernel objects separately.
///
/// Measured on armv7 and x86_64 under TCG, in three boots of 71 cases each: at most 152 KiB, and no growth over a
/// hundred runs of the same case. A case of the suite `drain` uses thousands of pages, so the loss of one page in each
/// cycle far exceeds the tolerance.
const TOLERANCE_KIB: i64 = 1024;

/// Change of a value in /proc/meminfo, in KiB, that the description of a leak mentions.
const NOTABLE_KIB: i64 = 100;

const MEMINFO: &str = "/proc/meminfo";

/// KASAN keeps freed objects in a quarantine of up to 1/32 of memory (`QUARANTINE_FRACTION` of
/// mm/kasan/quarantine.c).
const QUARANTINE_FRACTION: u64 = 32;

const LIMITS: [&str; 3] = [LIMIT_PER_CONNECTION, LIMIT_TOTAL, LIMIT_MAPS];

/// State of the machine before a case.
pub(crate) struct Snapshot {
    taint: u64,
    /// Direct-mapped pages; `None` on a kernel without the feature.
    pages: Option<u64>,
    connections: Vec<String>,
    devices: Vec<String>,
    memory: Memory,
    /// Content of /proc/meminfo.
    meminfo: String,
    limits: [Option<String>; 3],
}

/// Changes that a case has made to the machine.
pub(crate) struct Changes {
    /// Taint bits that the case added.
    pub(crate) taint: u64,
    pub(crate) lost: Memory,
    /// Description of the first leak found, in plain text.
    pub(crate) leak: Option<String>,
}

/// Amount or loss of memory, in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Free memory plus kernel objects, so that growth of the kernel objects is counted only once, plus the stacks of the
    /// kernel's threads and the memory of stack traces. A loss is positive if less is free.
    pub(crate) free_kib: i64,
    /// Memory of kernel objects (slab). A loss is positive if the objects have grown.
    pub(crate) objects_kib: i64,
}

impl Snapshot {
    pub(crate) fn take() -> Result<Snapshot, String> {
        Ok(Snapshot {
            taint: taint()?,
            pages: pages(),
            connections: names(CONNECTIONS),
            devices: names("/sys/class/cuse"),
            limits: LIMITS.map(|path| read_text(path).ok()),
            memory: Memory::now()?,
            meminfo: read_text(MEMINFO).map_err(|error| error.to_string())?,
        })
    }

    /// Restores the limits, waits until all other resources are released, and reports those that are not.
    pub(crate) fn restore_and_compare(&self) -> Changes {
        for (path, value) in LIMITS.iter().zip(&self.limits) {
            if let Some(value) = value {
                let _ = write_file(path, value.as_bytes());
            }
        }
        let start = Instant::now();
        loop {
            let (lost, leak) = match self.difference() {
                Ok((lost, leak)) => (lost, leak),
                Err(error) => (Memory::default(), Some(error)),
            };
            if leak.is_none() || start.elapsed() > RELEASE_TIMEOUT {
                return Changes { taint: taint().unwrap_or(0) & !self.taint, lost, leak };
            }
            shrink_slabs();
            sleep(Duration::from_millis(20));
        }
    }

    /// Returns the memory lost, and a description of the first leak.
    fn difference(&self) -> Result<(Memory, Option<String>), String> {
        let lost = self.memory.minus(Memory::now()?);
        let (connections, devices) = (names(CONNECTIONS), names("/sys/class/cuse"));
        let show = |pages: Option<u64>| Vec::from_iter(pages.map(|pages| pages.to_string()));
        let leak = changed("direct-mapped pages", &show(self.pages), &show(pages()))
            .or_else(|| changed("FUSE connections", &self.connections, &connections))
            .or_else(|| changed("CUSE devices", &self.devices, &devices))
            .or_else(|| {
                let leak = lost.leak(quarantine_kib)?;
                let after = read_text(MEMINFO).unwrap_or_default();
                Some(format!("{leak}{}", describe_changes(&self.meminfo, &after)))
            });
        Ok((lost, leak))
    }
}

fn changed(resource: &str, before: &[String], after: &[String]) -> Option<String> {
    let list = |names: &[String]| match names {
        [] => "none".into(),
        names => names.join(" "),
    };
    (before != after).then(|| {
        let (before, after) = (list(before), list(after));
        format!("leak: {resource} before the case: {before}; after it: {after}")
    })
}

impl Memory {
    /// Measures memory after the kernel has dropped its caches.
    fn now() -> Result<Memory, String> {
        // 3: page cache, dentries and inodes.
        write_file("/proc/sys/vm/drop_caches", b"3").map_err(|error| error.to_string())?;
        // Each processor has counters and lists of free pages of its own. Reading this file adds the counters to the
        // totals. A kernel for one processor does not have the file.
        let _ = read_text("/proc/sys/vm/stat_refresh");
        // The kernel prints the free pages of a zone and those in its per-processor lists under the zone's lock, so no
        // page moves between them meanwhile (mm/vmstat.c, walk_zones_in_node). MemFree, read on its own, could count a
        // page that moves twice or not at all.
        let zones = read_text("/proc/zoneinfo").map_err(|error| error.to_string())?;
        let free = free_pages_in(&zones) * (sys::page_size() as u64 / 1024);
        let meminfo = read_text(MEMINFO).map_err(|error| error.to_string())?;
        let slab = meminfo_in(&meminfo, "Slab").ok_or_else(|| format!("{MEMINFO} has no Slab"))?;
        // Worker threads that the kernel has started for a case stay for five minutes (IDLE_WORKER_TIMEOUT of
        // kernel/workqueue.c). With KASAN, each has a stack of 32 KiB.
        let free =
            free + slab + stack_depot_kib() + meminfo_in(&meminfo, "KernelStack").unwrap_or(0);
        Ok(Memory { free_kib: free as i64, objects_kib: slab as i64 })
    }

    /// Returns the loss from `self` (before) to `after`.
    fn minus(self, after: Memory) -> Memory {
        Memory {
            free_kib: self.free_kib - after.free_kib,
            objects_kib: after.objects_kib - self.objects_kib,
        }
    }

    /// Describes a loss beyond the tolerance. Calls `quarantine_kib` only if the kernel objects have grown too much.
    fn leak(self, quarantine_kib: impl Fn() -> i64) -> Option<String> {
        if self.free_kib > TOLERANCE_KIB {
            return Some(format!(
                "leak: {} KiB less memory is free than before the case; the tolerance is {TOLERANCE_KIB} KiB",
                self.free_kib
            ));
        }
        if self.objects_kib > TOLERANCE_KIB {
            let tolerance = TOLERANCE_KIB + quarantine_kib();
            return (self.objects_kib > tolerance).then(|| {
                format!(
                    "leak: kernel objects take {} KiB more than before the case; the tolerance is {tolerance} KiB",
                    self.objects_kib
                )
            });
        }
        None
    }
}

/// Describes the values of /proc/meminfo that a case has changed notably, so that a reader sees what kind of memory is
/// lost.
fn describe_changes(before: &str, after: &str) -> String {
    let changes: Vec<String> = before
        .lines()
        .filter_map(|line| {
            let (key, _) = line.split_once(':')?;
            let kib = |text| meminfo_in(text, key).map(|kib| kib as i64);
            let change = kib(after)? - kib(before)?;
            (change.abs() >= NOTABLE_KIB).then(|| format!("{key} {change:+}"))
        })
        .collect();
    match changes.is_empty() {
        true => String::new(),
        false => format!("; changes of /proc/meminfo in KiB: {}", changes.join(", ")),
    }
}

/// Makes each slab cache free its empty slabs (Documentation/ABI/testing/sysfs-kernel-slab). On sparc64, the first 68
/// processes that run simultaneously leave 1.1 MiB of empty slabs.
fn shrink_slabs() {
    const CACHES: &str = "/sys/kernel/slab";
    for cache in names(CACHES) {
        // Errors are ignored: memory that stays allocated is reported as a leak.
        let _ = write_file(&format!("{CACHES}/{cache}/shrink"), b"1");
    }
}

/// Returns the maximum size of KASAN's quarantine, or 0 if the kernel has no KASAN.
fn quarantine_kib() -> i64 {
    static HAS_KASAN: OnceLock<bool> = OnceLock::new();
    match HAS_KASAN.get_or_init(|| contains("/proc/kallsyms", b" kasan_quarantine_put")) {
        true => (meminfo("MemTotal").unwrap_or(0) / QUARANTINE_FRACTION) as i64,
        false => 0,
    }
}

/// Returns true if the file at `path` contains `bytes`. Holds only a piece of the file in memory: the memory that init
/// once had for a whole /proc/kallsyms would count as lost by the case.
fn contains(path: &str, bytes: &[u8]) -> bool {
    let search = || -> sys::Result<bool> {
        let file = Fd::open(path, OpenFlags::READ)?;
        let mut seen = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let count = file.read(&mut piece)?;
            seen.extend_from_slice(&piece[..count]);
            if seen.windows(bytes.len()).any(|window| window == bytes) {
                return Ok(true);
            }
            if count == 0 {
                return Ok(false);
            }
            // The bytes may begin at the end of one piece and end in the next.
            seen.drain(..seen.len().saturating_sub(bytes.len() - 1));
        }
    };
    search().unwrap_or(false)
}

/// Returns the memory in which KASAN and kmemleak store stack traces. It grows with every new place of an allocation, and
/// never shrinks (lib/stackdepot.c).
fn stack_depot_kib() -> u64 {
    // DEPOT_POOL_ORDER of include/linux/stackdepot.h.
    const POOL_PAGES: u64 = 1 << 2;
    let stats = read_text(&format!("{DEBUG}/stackdepot/stats")).unwrap_or_default();
    meminfo_in(&stats, "pools").unwrap_or(0) * POOL_PAGES * (sys::page_size() as u64 / 1024)
}

pub(crate) fn taint() -> Result<u64, String> {
    number("/proc/sys/kernel/tainted")
}

fn pages() -> Option<u64> {
    number(PAGES_TOTAL).ok()
}

fn names(dir: &str) -> Vec<String> {
    list_dir(dir).unwrap_or_default()
}

/// Sums the free pages: `pages free` of each zone, and the `count:` that follows each `cpu:` for the processor's list.
fn free_pages_in(zoneinfo: &str) -> u64 {
    let counts = zoneinfo.lines().filter_map(|line| {
        let line = line.trim_start();
        line.strip_prefix("pages free").or_else(|| line.strip_prefix("count:"))
    });
    counts.filter_map(|count| count.trim().parse::<u64>().ok()).sum()
}

/// Returns the value of `key` in `/proc/meminfo`, in KiB.
pub(crate) fn meminfo(key: &str) -> Result<u64, String> {
    let text = read_text(MEMINFO).map_err(|error| error.to_string())?;
    meminfo_in(&text, key).ok_or_else(|| format!("{MEMINFO} has no {key}"))
}

fn meminfo_in(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

fn number(path: &str) -> Result<u64, String> {
    let text = read_text(path).map_err(|error| error.to_string())?;
    text.trim()
        .parse()
        .map_err(|error| format!("cannot parse {path}, which contains {text:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_pages_of_zones_and_processor_lists_are_added() {
        let text = "Node 0, zone   Normal\n  per-node stats\n      nr_free_cma 9\n  pages free     12\n        boost    3\n\
                    \x20 pagesets\n    cpu: 0\n              count:    52\n              high:     1\n    cpu: 1\n\
                    \x20             count:    1\nNode 0, zone  Movable\n  pages free     100\n";
        assert_eq!(free_pages_in(text), 165);
    }

    #[test]
    fn a_changed_resource_is_a_leak() {
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        assert_eq!(changed("CUSE devices", &names(&["a"]), &names(&["a"])), None);
        insta::assert_snapshot!(
            changed("FUSE connections", &[], &names(&["40", "41"])).unwrap(),
            @"leak: FUSE connections before the case: none; after it: 40 41"
        );
        insta::assert_snapshot!(
            changed("direct-mapped pages", &names(&["0"]), &names(&["3"])).unwrap(),
            @"leak: direct-mapped pages before the case: 0; after it: 3"
        );
    }

    #[test]
    fn bytes_are_found_across_pieces_of_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        assert!(!contains(path, b"needle"));
        for start in [0, 4090, 4093, 4096, 9000] {
            let text = format!("{}needle{}", "x".repeat(start), "y".repeat(5000));
            std::fs::write(path, text).unwrap();
            assert!(contains(path, b"needle"), "at byte {start}");
            assert!(!contains(path, b"needles"));
        }
        assert!(!contains("/does/not/exist", b"needle"));
    }

    #[test]
    fn a_leak_names_what_has_changed() {
        let before = "MemFree: 9000 kB\nPercpu: 200 kB\nHugePages_Total: 0\nSlab: 5000 kB\n";
        let after = "MemFree: 7900 kB\nPercpu: 1200 kB\nHugePages_Total: 0\nSlab: 5099 kB\n";
        insta::assert_snapshot!(
            describe_changes(before, after),
            @"; changes of /proc/meminfo in KiB: MemFree -1100, Percpu +1000"
        );
        assert_eq!(describe_changes(before, before), "");
    }

    #[test]
    fn a_loss_beyond_the_tolerance_is_a_leak() {
        let lost = |free_kib, objects_kib| Memory { free_kib, objects_kib };
        let plain = || 0;
        let quarantine = || 32 << 10;
        assert_eq!(lost(TOLERANCE_KIB, TOLERANCE_KIB).leak(plain), None);
        assert!(lost(0, TOLERANCE_KIB + 1).leak(plain).is_some());
        assert_eq!(lost(0, 32 << 10).leak(quarantine), None);
        insta::assert_snapshot!(
            lost(TOLERANCE_KIB + 1, 0).leak(quarantine).unwrap(),
            @"leak: 1025 KiB less memory is free than before the case; the tolerance is 1024 KiB"
        );
        insta::assert_snapshot!(
            lost(0, 34 << 10).leak(quarantine).unwrap(),
            @"leak: kernel objects take 34816 KiB more than before the case; the tolerance is 33792 KiB"
        );
    }

    #[test]
    fn a_loss_is_positive() {
        let before = Memory { free_kib: 100, objects_kib: 10 };
        let after = Memory { free_kib: 70, objects_kib: 15 };
        assert_eq!(before.minus(after), Memory { free_kib: 30, objects_kib: 5 });
    }

    #[test]
    fn a_line_of_meminfo_is_found() {
        let text = "MemTotal:        1005456 kB\nMemFree:          972032 kB\n";
        assert_eq!(meminfo_in(text, "MemFree"), Some(972_032));
        assert_eq!(meminfo_in(text, "Mem"), None);
    }
}

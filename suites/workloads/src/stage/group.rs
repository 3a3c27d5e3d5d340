// SPDX-License-Identifier: MIT OR Apache-2.0
//! A memory cgroup (Documentation/admin-guide/cgroup-v2.rst).

use crate::stage::counters;
use crate::stage::failure::Failure;

/// Where `init` mounts control groups.
pub const GROUPS: &str = "/sys/fs/cgroup";

/// A memory cgroup of the case.
#[derive(Debug)]
pub(crate) struct Group {
    path: String,
}

impl Group {
    /// Makes a group that nobody is in.
    pub(crate) fn make(name: &str) -> Result<Group, Failure> {
        let path = format!("{GROUPS}/{name}");
        sys::make_dir(&path)?;
        Ok(Group { path })
    }

    /// Where who shall be in it has to write.
    pub(crate) fn procs_path(&self) -> String {
        format!("{}/cgroup.procs", self.path)
    }

    /// Bytes it is charged for. The kernel charges up to 64 pages a processor ahead (`MEMCG_CHARGE_BATCH` of
    /// include/linux/memcontrol.h).
    pub(crate) fn used(&self) -> Result<u64, Failure> {
        counters::read(&format!("{}/memory.current", self.path))
    }

    /// Limits that, to whole pages.
    pub(crate) fn limit(&self, bytes: u64) -> Result<(), Failure> {
        counters::set(&format!("{}/memory.max", self.path), bytes)
    }

    /// How many of its processes were killed because it was full.
    pub(crate) fn killed(&self) -> Result<u64, Failure> {
        let path = format!("{}/memory.events", self.path);
        let text = sys::read_text(&path)?;
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|count| count.parse().ok())
            .ok_or_else(|| Failure::new(format!("{path} has no oom_kill: {text:?}")))
    }

    /// Removes it. Nobody is in it any more.
    pub(crate) fn remove(self) -> Result<(), Failure> {
        Ok(sys::remove_dir(&self.path)?)
    }
}

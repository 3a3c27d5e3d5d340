// SPDX-License-Identifier: MIT OR Apache-2.0
//! A memory cgroup (Documentation/admin-guide/cgroup-v2.rst).

use crate::stage::counters;
use crate::stage::failure::Failure;

/// Mount point of the cgroup filesystem, which `init` mounts.
pub const GROUPS: &str = "/sys/fs/cgroup";

/// Memory cgroup of the case.
#[derive(Debug)]
pub(crate) struct Group {
    path: String,
}

impl Group {
    /// Creates an empty group.
    pub(crate) fn make(name: &str) -> Result<Group, Failure> {
        let path = format!("{GROUPS}/{name}");
        sys::make_dir(&path)?;
        Ok(Group { path })
    }

    /// Returns the path of `cgroup.procs`. A process joins the group by writing to it.
    pub(crate) fn procs_path(&self) -> String {
        format!("{}/cgroup.procs", self.path)
    }

    /// Moves a process out of the group, to the root group.
    pub(crate) fn release(&self, pid: u32) -> Result<(), Failure> {
        counters::set(&format!("{GROUPS}/cgroup.procs"), u64::from(pid))
    }

    /// Returns the bytes that are charged to the group. The kernel charges up to 64 pages per processor in advance
    /// (`MEMCG_CHARGE_BATCH` in include/linux/memcontrol.h).
    pub(crate) fn used(&self) -> Result<u64, Failure> {
        counters::read(&format!("{}/memory.current", self.path))
    }

    /// Sets the limit of [`Group::used`]. The kernel rounds it to whole pages.
    pub(crate) fn limit(&self, bytes: u64) -> Result<(), Failure> {
        counters::set(&format!("{}/memory.max", self.path), bytes)
    }

    /// Returns the number of processes in the group that the kernel killed because the group was at its limit.
    pub(crate) fn killed(&self) -> Result<u64, Failure> {
        let path = format!("{}/memory.events", self.path);
        let text = sys::read_text(&path)?;
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|count| count.parse().ok())
            .ok_or_else(|| Failure::new(format!("{path} has no oom_kill: {text:?}")))
    }

    /// Removes the group, which must be empty.
    pub(crate) fn remove(self) -> Result<(), Failure> {
        Ok(sys::remove_dir(&self.path)?)
    }
}

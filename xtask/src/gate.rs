// SPDX-License-Identifier: MIT OR Apache-2.0
//! Gate: lets guests in, as many at a time as the machine has cores and memory for.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::interrupt::{self, Interrupted};

/// How often somebody who waits looks whether the lab is to stop.
const LOOK: Duration = Duration::from_millis(100);

/// MiB that QEMU needs beyond the guest's memory: its own, and the code it translates.
const OVERHEAD_MIB: u64 = 256;

/// Admits guests.
#[derive(Debug)]
pub(crate) struct Gate {
    cores: usize,
    memory_mib: u64,
    inside: Mutex<Inside>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct Inside {
    guests: usize,
    memory_mib: u64,
}

/// A guest that was let in; dropped when it leaves.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    gate: &'a Gate,
    memory_mib: u64,
}

impl Gate {
    /// A gate for a machine with `cores` cores and `memory_mib` MiB to spare.
    pub(crate) fn new(cores: usize, memory_mib: u64) -> Self {
        Self {
            cores,
            memory_mib,
            inside: Mutex::default(),
            left: Condvar::new(),
        }
    }

    /// The gate of this machine, whose memory is what the kernel calls available now.
    pub(crate) fn of_this_machine() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Self::new(cores, available_mib(&meminfo).unwrap_or(u64::MAX))
    }

    /// Waits until there is room for a guest of `memory_mib` MiB, and says so by `waits`. One that is alone always gets
    /// in: whether the machine can bear it is then for QEMU to say.
    ///
    /// # Errors
    /// The lab is asked to stop.
    pub(crate) fn enter(
        &self,
        memory_mib: u32,
        waits: impl FnOnce(),
    ) -> Result<Pass<'_>, Interrupted> {
        let memory_mib = u64::from(memory_mib) + OVERHEAD_MIB;
        let mut inside = self.lock();
        if !self.has_room(&inside, memory_mib) {
            waits();
        }
        while !self.has_room(&inside, memory_mib) {
            if interrupt::requested() {
                return Err(Interrupted);
            }
            let waited = self.left.wait_timeout(inside, LOOK);
            inside = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        inside.guests += 1;
        inside.memory_mib += memory_mib;
        Ok(Pass {
            gate: self,
            memory_mib,
        })
    }

    fn has_room(&self, inside: &Inside, memory_mib: u64) -> bool {
        inside.guests == 0
            || (inside.guests < self.cores && inside.memory_mib + memory_mib <= self.memory_mib)
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut inside = self.gate.lock();
        inside.guests -= 1;
        inside.memory_mib -= self.memory_mib;
        self.gate.left.notify_all();
    }
}

/// MemAvailable of `/proc/meminfo`, in MiB.
fn available_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_and_memory_bound_who_is_inside() {
        let gate = Gate::new(2, 3 * (512 + OVERHEAD_MIB));
        let has_room = |mib: u64| gate.has_room(&gate.lock(), mib + OVERHEAD_MIB);
        assert!(has_room(1 << 20), "alone, anybody gets in");
        let first = gate.enter(512, || panic!("it is empty")).unwrap();
        assert!(has_room(512));
        assert!(!has_room(2048), "memory");
        let second = gate.enter(512, || panic!("it is half empty")).unwrap();
        assert!(!has_room(512), "cores");
        drop((first, second));
        assert!(has_room(1 << 20));
    }

    #[test]
    fn who_waits_gets_in_when_another_leaves() {
        let gate = Gate::new(1, 4096);
        let first = gate.enter(1, || ()).unwrap();
        let (waits, waiting) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let gate = &gate;
            let second = scope.spawn(move || gate.enter(1, || waits.send(()).unwrap()).is_ok());
            waiting.recv().unwrap();
            drop(first);
            assert!(second.join().unwrap());
        });
    }

    #[test]
    fn memory_is_read_from_meminfo() {
        let meminfo = "MemTotal:  24000 kB\nMemFree:  1 kB\nMemAvailable:   20480 kB\n";
        assert_eq!(available_mib(meminfo), Some(20));
        assert_eq!(available_mib("MemTotal: 1 kB"), None);
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Limits how many guests run at the same time, by the cores and memory of this machine.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::files::kib_in;
use crate::interrupt::{self, Interrupted};

/// Interval at which a waiting thread checks for an interrupt.
const POLL: Duration = Duration::from_millis(100);

/// MiB that QEMU needs beyond the guest's memory: its own data and the translated code.
const OVERHEAD_MIB: u64 = 256;

/// Admits guests while there are enough cores and memory.
#[derive(Debug)]
pub(crate) struct Gate {
    cores: usize,
    memory_mib: u64,
    running: Mutex<Running>,
    guest_ended: Condvar,
}

/// Number of running guests, and the memory they use.
#[derive(Debug, Default)]
struct Running {
    guests: usize,
    memory_mib: u64,
}

/// Permission to run one guest. Dropping it makes room for the next guest.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    gate: &'a Gate,
    memory_mib: u64,
}

impl Gate {
    /// Returns a gate for a machine with `cores` cores and `memory_mib` MiB of free memory.
    pub(crate) fn new(cores: usize, memory_mib: u64) -> Self {
        Self { cores, memory_mib, running: Mutex::default(), guest_ended: Condvar::new() }
    }

    /// Returns a gate for this machine, with the memory that its kernel reports as available now.
    pub(crate) fn of_this_machine() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Self::new(cores, available_mib(&meminfo).unwrap_or(u64::MAX))
    }

    /// Waits until there is room for a guest of `memory_mib` MiB. Calls `on_wait` once if it has to wait.
    ///
    /// A guest is always admitted while no other runs. If the machine has too little memory for it, QEMU reports that.
    ///
    /// # Errors
    /// The user interrupts the lab.
    pub(crate) fn enter(
        &self,
        memory_mib: u32,
        on_wait: impl FnOnce(),
    ) -> Result<Pass<'_>, Interrupted> {
        let memory_mib = u64::from(memory_mib) + OVERHEAD_MIB;
        let mut running = self.lock();
        if !self.has_room(&running, memory_mib) {
            on_wait();
        }
        while !self.has_room(&running, memory_mib) {
            if interrupt::requested() {
                return Err(Interrupted);
            }
            let waited = self.guest_ended.wait_timeout(running, POLL);
            running = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        running.guests += 1;
        running.memory_mib += memory_mib;
        Ok(Pass { gate: self, memory_mib })
    }

    fn has_room(&self, running: &Running, memory_mib: u64) -> bool {
        running.guests == 0
            || (running.guests < self.cores && running.memory_mib + memory_mib <= self.memory_mib)
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut running = self.gate.lock();
        running.guests -= 1;
        running.memory_mib -= self.memory_mib;
        self.gate.guest_ended.notify_all();
    }
}

/// Returns `MemAvailable` of `/proc/meminfo` in MiB.
fn available_mib(meminfo: &str) -> Option<u64> {
    Some(kib_in(meminfo, "MemAvailable")? / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_and_memory_limit_the_running_guests() {
        let gate = Gate::new(2, 3 * (512 + OVERHEAD_MIB));
        let has_room = |mib: u64| gate.has_room(&gate.lock(), mib + OVERHEAD_MIB);
        assert!(has_room(1 << 20), "a guest alone is always admitted");
        let first = gate.enter(512, || panic!("no guest runs")).unwrap();
        assert!(has_room(512));
        assert!(!has_room(2048), "memory");
        let second = gate.enter(512, || panic!("one core is free")).unwrap();
        assert!(!has_room(512), "cores");
        drop((first, second));
        assert!(has_room(1 << 20));
    }

    #[test]
    fn a_waiting_guest_starts_when_another_ends() {
        let gate = Gate::new(1, 4096);
        let first = gate.enter(1, || ()).unwrap();
        let (sender, waiting) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let gate = &gate;
            let second = scope.spawn(move || gate.enter(1, || sender.send(()).unwrap()).is_ok());
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

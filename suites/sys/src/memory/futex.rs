// SPDX-License-Identifier: MIT OR Apache-2.0
//! Process-shared futexes, and robust futexes, which the kernel releases when their owner ends.

use std::time::Duration;

use super::{Mapping, backend};
use crate::errno::{Context, Errno, Error, Result};

/// Bit of a robust futex: its owner has ended. `FUTEX_OWNER_DIED` of include/uapi/linux/futex.h.
pub const OWNER_DIED: u32 = 0x4000_0000;

/// Bit of a robust futex: a process waits for it. `FUTEX_WAITERS` of include/uapi/linux/futex.h.
pub const WAITERS: u32 = 0x8000_0000;

/// Distance in bytes from an entry of a robust list to its futex. The entry is a machine word, of 8 bytes at most.
const TO_FUTEX: usize = 8;

/// Result of [`Mapping::futex_wait`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FutexWait {
    /// A process or a signal woke the waiter.
    Woken,
    /// The futex did not hold the expected value, so the call did not wait.
    Changed,
    /// The timeout has passed.
    TimedOut,
}

impl Mapping {
    /// Waits until another process wakes the futex at `offset`, if the futex holds `expected`. Processes can share the
    /// futex.
    ///
    /// # Errors
    /// Fails as futex(2).
    pub fn futex_wait(&self, offset: usize, expected: u32, timeout: Duration) -> Result<FutexWait> {
        let at = self.place::<u32>(offset);
        // SAFETY: `place` checked bounds and alignment; only the kernel accesses the word.
        match unsafe { backend::futex_wait(at, expected, timeout) } {
            Ok(()) | Err(Errno::EINTR) => Ok(FutexWait::Woken),
            Err(Errno::EAGAIN) => Ok(FutexWait::Changed),
            Err(Errno::ETIMEDOUT) => Ok(FutexWait::TimedOut),
            Err(errno) => {
                Err(Error { what: format!("wait on the futex at byte {offset:#x}"), errno })
            }
        }
    }

    /// Wakes at most `count` waiters of the futex at `offset`, and returns how many it woke.
    ///
    /// # Errors
    /// Fails as futex(2).
    pub fn futex_wake(&self, offset: usize, count: u32) -> Result<u32> {
        let at = self.place::<u32>(offset);
        // SAFETY: as in `futex_wait`.
        unsafe { backend::futex_wake(at, count) }
            .context(|| format!("wake the futex at byte {offset:#x}"))
    }

    /// Makes this process the owner of the robust futex 8 bytes after `offset`, marks the futex with [`WAITERS`], and
    /// registers a robust list for it. The list has a single entry, which is the machine word at `offset`.
    ///
    /// # Errors
    /// Fails as set_robust_list(2).
    pub fn own_robust_futex(&self, offset: usize) -> Result<()> {
        self.check(offset, TO_FUTEX + 4);
        assert!(offset % 8 == 0, "misaligned entry of a robust list at byte {offset:#x}");
        self.store(offset + TO_FUTEX, crate::process::own_pid().0 as u32 | WAITERS);
        // SAFETY: bounds and alignment are checked; the entry is a word in plain memory that nothing else uses.
        unsafe { backend::robust_list(self.at + offset as u64, TO_FUTEX) }
            .context(|| format!("register a robust list with an entry at byte {offset:#x}"))
    }

    /// Returns the number of waiters of the futex at `offset`, at most `max`. The waiters are requeued to the same
    /// futex, so they continue to wait.
    ///
    /// # Errors
    /// Fails as futex(2).
    pub fn count_futex_waiters(&self, offset: usize, max: u32) -> Result<u32> {
        let at = self.place::<u32>(offset);
        // SAFETY: bounds and alignment are checked; only the kernel accesses the word.
        unsafe { backend::futex_requeue(at, at, max) }
            .context(|| format!("count the waiters of the futex at byte {offset:#x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Prot, Sharing};
    use crate::{ExitStatus, ForkResult, exit, fork, memfd, page_size, wait};

    fn shared_page() -> Mapping {
        let file = memfd("futex", page_size() as u64).unwrap();
        let (prot, sharing) = (Prot::ReadWrite, Sharing::Shared);
        Mapping::of(&file, 0, page_size(), prot, sharing).unwrap()
    }

    #[test]
    fn a_futex_wakes_the_other_process() {
        let map = shared_page();
        let ForkResult::Parent(child) = fork().unwrap() else {
            let woken = map.futex_wait(0, 0, Duration::from_secs(10)).unwrap();
            exit(i32::from(woken == FutexWait::TimedOut))
        };
        while map.futex_wake(0, 1).unwrap() == 0 {
            crate::yield_now();
        }
        assert_eq!(wait(child).unwrap(), ExitStatus::Code(0));
        let wait = |expected| map.futex_wait(0, expected, Duration::ZERO);
        assert_eq!(wait(1), Ok(FutexWait::Changed));
        assert_eq!(wait(0), Ok(FutexWait::TimedOut));
    }

    #[test]
    fn the_kernel_marks_a_futex_whose_owner_has_ended() {
        let entry = 64;
        let lock = entry + TO_FUTEX;
        let map = shared_page();
        let ForkResult::Parent(owner) = fork().unwrap() else {
            map.own_robust_futex(entry).unwrap();
            while map.count_futex_waiters(lock, 2).unwrap() == 0 {
                crate::yield_now();
            }
            exit(i32::from(map.count_futex_waiters(lock, 2).unwrap() != 1))
        };
        let ForkResult::Parent(waiter) = fork().unwrap() else {
            let owned = owner.0 as u32 | WAITERS;
            while map.load::<u32>(lock) != owned {
                crate::yield_now();
            }
            let end = map.futex_wait(lock, owned, Duration::from_secs(10));
            exit(i32::from(end.unwrap() == FutexWait::TimedOut))
        };
        assert_eq!(wait(owner).unwrap(), ExitStatus::Code(0));
        assert_eq!(wait(waiter).unwrap(), ExitStatus::Code(0));
        assert_eq!(map.load::<u32>(lock), OWNER_DIED | WAITERS);
    }
}

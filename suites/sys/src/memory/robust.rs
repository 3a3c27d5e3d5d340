// SPDX-License-Identifier: MIT OR Apache-2.0
//! Futexes that the kernel takes from a process that ends, and whether somebody sleeps on one.

use super::{Mapping, backend};
use crate::errno::{During, Result};

/// Bit of a robust futex: its owner has ended. `FUTEX_OWNER_DIED` of include/uapi/linux/futex.h.
pub const OWNER_DIED: u32 = 0x4000_0000;

/// Bit of a robust futex: somebody waits for it. `FUTEX_WAITERS` there.
pub const WAITERS: u32 = 0x8000_0000;

/// Bytes between an entry of a robust list and its futex, on every machine.
const TO_FUTEX: usize = 8;

impl Mapping {
    /// Makes this process the owner of the futex 8 bytes behind byte `offset`, for which somebody waits, and tells the
    /// kernel so by a robust list. The list has this one entry, which is the machine's word at `offset`.
    ///
    /// # Errors
    /// What set_robust_list(2) says.
    pub fn own_robustly(&self, offset: usize) -> Result<()> {
        self.check(offset, TO_FUTEX + 4);
        assert!(offset % 8 == 0, "an entry at byte {offset:#x}");
        self.store(
            offset + TO_FUTEX,
            crate::process::own_pid().0 as u32 | WAITERS,
        );
        // SAFETY: bounds and alignment are checked; the entry is a word in plain memory that nothing else uses.
        unsafe { backend::robust_list(self.at + offset as u64, TO_FUTEX) }
            .during(|| format!("set a robust list with an entry at byte {offset:#x}"))
    }

    /// How many sleep on the futex at `offset`, counted up to `most`. They go on sleeping: the kernel is asked to move
    /// them to where they are.
    ///
    /// # Errors
    /// What futex(2) says.
    pub fn futex_sleepers(&self, offset: usize, most: u32) -> Result<u32> {
        let at = self.place::<u32>(offset);
        // SAFETY: bounds and alignment are checked; only the kernel looks at the word.
        unsafe { backend::futex_requeue(at, at, most) }
            .during(|| format!("count who sleeps on the futex at byte {offset:#x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{FutexWait, Prot, Sharing};
    use crate::{Ended, Forked, exit, fork, memfd, page_size, wait};
    use std::time::Duration;

    #[test]
    fn the_kernel_tells_of_an_owner_that_ended() {
        let entry = 64;
        let lock = entry + TO_FUTEX;
        let file = memfd("robust", page_size() as u64).unwrap();
        let (prot, sharing) = (Prot::ReadWrite, Sharing::Shared);
        let map = Mapping::of(&file, 0, page_size(), prot, sharing).unwrap();
        let Forked::Parent(owner) = fork().unwrap() else {
            map.own_robustly(entry).unwrap();
            while map.futex_sleepers(lock, 2).unwrap() == 0 {
                crate::yield_now();
            }
            exit(i32::from(map.futex_sleepers(lock, 2).unwrap() != 1))
        };
        let Forked::Parent(waiter) = fork().unwrap() else {
            let owned = owner.0 as u32 | WAITERS;
            while map.load::<u32>(lock) != owned {
                crate::yield_now();
            }
            let end = map.futex_wait(lock, owned, Duration::from_secs(10));
            exit(i32::from(end.unwrap() == FutexWait::TimedOut))
        };
        assert_eq!(wait(owner).unwrap(), Ended::Code(0));
        assert_eq!(wait(waiter).unwrap(), Ended::Code(0));
        assert_eq!(map.load::<u32>(lock), OWNER_DIED | WAITERS);
    }
}

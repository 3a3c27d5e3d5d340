// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel is told about a mapping without changing what is in it: madvise, mlock, msync.

use super::{Mapping, backend};
use crate::backend::number;
use crate::errno::{During, Result};

/// What madvise(2) is told. Numbers differ between architectures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[allow(missing_docs)]
pub enum Advice {
    Cold,
    DoDump,
    DoFork,
    DontFork,
    DontNeed,
    Free,
    HugePage,
    Mergeable,
    NoHugePage,
    Normal,
    PageOut,
    PopulateRead,
    PopulateWrite,
    Random,
    Remove,
    Sequential,
    Unmergeable,
    WillNeed,
    WipeOnFork,
}

impl Mapping {
    /// Tells the kernel what to expect of it.
    ///
    /// # Errors
    /// What madvise(2) says.
    pub fn advise(&self, advice: Advice) -> Result<()> {
        // SAFETY: the range is this mapping's own; what is in it may change, as in any memory that is shared.
        unsafe { backend::advise(self.at, self.len, advice.number()) }
            .during(|| format!("advise {advice:?} of {} bytes at {:#x}", self.len, self.at))
    }

    /// Keeps it in memory.
    ///
    /// # Errors
    /// What mlock(2) says.
    pub fn lock(&self) -> Result<()> {
        // SAFETY: the range is this mapping's own.
        unsafe { backend::lock(self.at, self.len) }
            .during(|| format!("lock {} bytes at {:#x}", self.len, self.at))
    }

    /// Undoes [`Mapping::lock`].
    ///
    /// # Errors
    /// What munlock(2) says.
    pub fn unlock(&self) -> Result<()> {
        // SAFETY: the range is this mapping's own.
        unsafe { backend::unlock(self.at, self.len) }
            .during(|| format!("unlock {} bytes at {:#x}", self.len, self.at))
    }

    /// Writes what is in it to its file, and waits for that if `wait`.
    ///
    /// # Errors
    /// What msync(2) says.
    pub fn sync(&self, wait: bool) -> Result<()> {
        let flags = match wait {
            true => number!(MS_SYNC),
            false => number!(MS_ASYNC),
        };
        // SAFETY: the range is this mapping's own.
        unsafe { backend::sync(self.at, self.len, flags) }
            .during(|| format!("sync {} bytes at {:#x}, wait: {wait}", self.len, self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Access, Prot, Sharing};
    use crate::{Ended, Errno, Signal, memfd, page_size};

    #[test]
    fn shared_memory_takes_advice() {
        let file = memfd("advice", page_size() as u64).unwrap();
        let map = Mapping::of(&file, 0, page_size(), Prot::ReadWrite, Sharing::Shared).unwrap();
        map.store::<u32>(0, 5);
        map.advise(Advice::DontNeed).unwrap();
        assert_eq!(map.load::<u32>(0), 5);
        assert_eq!(map.advise(Advice::Free).unwrap_err().errno, Errno::EINVAL);
        map.advise(Advice::DontFork).unwrap();
        let gone = Ended::Signal(Signal::Segv);
        assert_eq!(map.touch(0, Access::Load).unwrap(), gone);
        map.advise(Advice::DoFork).unwrap();
        assert_eq!(map.touch(0, Access::Load).unwrap(), Ended::Code(0));
        map.lock().unwrap();
        map.unlock().unwrap();
        map.sync(true).unwrap();
        map.sync(false).unwrap();
    }
}

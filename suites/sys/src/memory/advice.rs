// SPDX-License-Identifier: MIT OR Apache-2.0
//! Advice, locking and synchronisation of mappings: madvise(2), mlock(2) and msync(2).

use std::fmt;

use super::{Mapping, backend};
use crate::backend::number;
use crate::errno::{Context, Result};

macro_rules! advices {
    ($($name:ident = $number:ident),* $(,)?) => {
        /// Advice of madvise(2). Architectures use different numbers for the same advice.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        pub enum Advice {
            $(
                #[doc = concat!("`", stringify!($number), "` of madvise(2).")]
                $name,
            )*
        }

        impl Advice {
            /// Returns the number on this machine.
            fn number(self) -> i32 {
                match self {
                    $(Advice::$name => number!($number),)*
                }
            }
        }

        impl fmt::Display for Advice {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Advice::$name => stringify!($number),)*
                })
            }
        }
    };
}

advices! {
    Cold = MADV_COLD,
    DoDump = MADV_DODUMP,
    DoFork = MADV_DOFORK,
    DontFork = MADV_DONTFORK,
    DontNeed = MADV_DONTNEED,
    Free = MADV_FREE,
    HugePage = MADV_HUGEPAGE,
    HwPoison = MADV_HWPOISON,
    Mergeable = MADV_MERGEABLE,
    NoHugePage = MADV_NOHUGEPAGE,
    Normal = MADV_NORMAL,
    PageOut = MADV_PAGEOUT,
    PopulateRead = MADV_POPULATE_READ,
    PopulateWrite = MADV_POPULATE_WRITE,
    Random = MADV_RANDOM,
    Remove = MADV_REMOVE,
    Sequential = MADV_SEQUENTIAL,
    Unmergeable = MADV_UNMERGEABLE,
    WillNeed = MADV_WILLNEED,
    WipeOnFork = MADV_WIPEONFORK,
}

impl Mapping {
    /// Gives the kernel advice about the mapping.
    ///
    /// # Errors
    /// Fails as madvise(2).
    pub fn advise(&self, advice: Advice) -> Result<()> {
        // SAFETY: the range is this mapping's own; its content may change, as in any shared memory.
        unsafe { backend::advise(self.at, self.len, advice.number()) }
            .context(|| format!("advise {advice} of {} bytes at {:#x}", self.len, self.at))
    }

    /// Locks the mapping in memory.
    ///
    /// # Errors
    /// Fails as mlock(2).
    pub fn lock(&self) -> Result<()> {
        // SAFETY: the range is this mapping's own.
        unsafe { backend::lock(self.at, self.len) }
            .context(|| format!("lock {} bytes at {:#x}", self.len, self.at))
    }

    /// Unlocks the mapping.
    ///
    /// # Errors
    /// Fails as munlock(2).
    pub fn unlock(&self) -> Result<()> {
        // SAFETY: the range is this mapping's own.
        unsafe { backend::unlock(self.at, self.len) }
            .context(|| format!("unlock {} bytes at {:#x}", self.len, self.at))
    }

    /// Writes changes to the file, and waits for completion if `wait` is true.
    ///
    /// # Errors
    /// Fails as msync(2).
    pub fn sync(&self, wait: bool) -> Result<()> {
        let flags = if wait { number!(MS_SYNC) } else { number!(MS_ASYNC) };
        // SAFETY: the range is this mapping's own.
        unsafe { backend::sync(self.at, self.len, flags) }
            .context(|| format!("sync {} bytes at {:#x}, wait: {wait}", self.len, self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Access, Prot, Sharing};
    use crate::{Errno, ExitStatus, Signal, memfd, page_size};

    #[test]
    fn shared_memory_takes_advice() {
        let file = memfd("advice", page_size() as u64).unwrap();
        let map = Mapping::of(&file, 0, page_size(), Prot::ReadWrite, Sharing::Shared).unwrap();
        map.store::<u32>(0, 5);
        map.advise(Advice::DontNeed).unwrap();
        assert_eq!(map.load::<u32>(0), 5);
        assert_eq!(map.advise(Advice::Free).unwrap_err().errno, Errno::EINVAL);
        map.advise(Advice::DontFork).unwrap();
        let gone = ExitStatus::Signal(Signal::Segv);
        assert_eq!(map.touch(0, Access::Load).unwrap(), gone);
        map.advise(Advice::DoFork).unwrap();
        assert_eq!(map.touch(0, Access::Load).unwrap(), ExitStatus::Code(0));
        map.lock().unwrap();
        map.unlock().unwrap();
        map.sync(true).unwrap();
        map.sync(false).unwrap();
    }
}

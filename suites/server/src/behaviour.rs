// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a server answers: scripted, so that a case can have a good server or a bad one.

use serde::{Deserialize, Serialize};

use crate::abi::op;

/// How a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behaviour {
    /// Takes the kernel's offer of direct mmap.
    pub dmmap: bool,
    /// What it does with FUSE_MMAP.
    pub mmap: OnMmap,
    /// How it fills pages and gives them back; `None`: it leaves that to the kernel.
    pub lazy: Option<Lazy>,
    /// What else it reads and answers once it does something else with them.
    pub unanswered: Option<Unanswered>,
    /// Does not read its channel.
    pub deaf: bool,
}

/// Requests that a server does not answer, beside those that have a script of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unanswered {
    /// FUSE_INIT and CUSE_INIT: there is no file or device until they are answered.
    Init,
    /// FUSE_OPEN.
    Open,
    /// FUSE_MUNMAP.
    Munmap,
}

impl Unanswered {
    /// It is a request of this kind.
    pub(crate) fn covers(self, opcode: u32) -> bool {
        match self {
            Unanswered::Init => matches!(opcode, op::INIT | op::CUSE_INIT),
            Unanswered::Open => opcode == op::OPEN,
            Unanswered::Munmap => opcode == op::MUNMAP,
        }
    }
}

/// How a server fills the pages of its file and gives them back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lazy {
    /// What it does with FUSE_DMMAP_FAULT.
    pub fault: OnFault,
    /// What it does with FUSE_DMMAP_RECLAIM.
    pub reclaim: OnReclaim,
}

/// What a server does with FUSE_DMMAP_FAULT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFault {
    /// Loads what is in the file, and answers.
    Fill,
    /// Answers without loading anything.
    LeaveZeros,
    /// Refuses with this error number of this machine, positive.
    Refuse {
        /// The number.
        errno: i32,
    },
    /// Answers those about pages below this one once it does something else with them; fills the others.
    Hold {
        /// A page ID.
        below: u64,
    },
}

/// What a server does with FUSE_DMMAP_RECLAIM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnReclaim {
    /// Saves the pages to the file, and agrees.
    Save,
    /// Agrees.
    Discard,
    /// Refuses with this error number of this machine, positive.
    Refuse {
        /// The number.
        errno: i32,
    },
    /// Answers once it does something else with them.
    Hold,
}

/// What a server does with FUSE_MMAP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnMmap {
    /// Page k of the file is page ID `base + k`, for everybody.
    Linear {
        /// Page ID of the file's first page.
        base: u64,
    },
    /// The mapping from page k of the file starts at page ID `base + k * step`.
    Spread {
        /// Page ID of the mapping from the file's first page.
        base: u64,
        /// How far apart two IDs are.
        step: u64,
    },
    /// Every mapping starts at this page ID, whatever its offset.
    Fixed {
        /// That page ID.
        page_id: u64,
    },
    /// Refuses with this error number of this machine, positive.
    Refuse {
        /// The number.
        errno: i32,
    },
    /// Answers once it does something else with them.
    Hold,
}

impl Default for Behaviour {
    /// A server that does everything right. Its page IDs are not the file's page numbers, so that nobody mistakes one for the other.
    fn default() -> Behaviour {
        Behaviour {
            dmmap: true,
            mmap: OnMmap::Linear { base: 0x400 },
            lazy: None,
            unanswered: None,
            deaf: false,
        }
    }
}

impl Behaviour {
    /// A server that does everything right, and fills the pages of its file itself.
    pub fn lazy() -> Behaviour {
        Behaviour {
            lazy: Some(Lazy {
                fault: OnFault::Fill,
                reclaim: OnReclaim::Save,
            }),
            ..Behaviour::default()
        }
    }
}

impl OnMmap {
    /// The page ID for a mapping from byte `offset` of the file, by a server that answers at all.
    pub fn page_id(self, offset: u64, page_size: u64) -> Option<u64> {
        match self {
            OnMmap::Linear { base } => Some(base + offset / page_size),
            OnMmap::Spread { base, step } => Some(base + offset / page_size * step),
            OnMmap::Fixed { page_id } => Some(page_id),
            OnMmap::Refuse { .. } | OnMmap::Hold => None,
        }
    }

    /// The byte of the file that is the first of page `page_id`, by a server whose page IDs follow the file.
    pub fn offset(self, page_id: u64, page_size: u64) -> Option<u64> {
        match self {
            OnMmap::Linear { base } => page_id.checked_sub(base).map(|page| page * page_size),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_ids_follow_the_script() {
        let id = |mmap: OnMmap| mmap.page_id(3 * 8192, 8192);
        assert_eq!(id(OnMmap::Linear { base: 10 }), Some(13));
        assert_eq!(id(OnMmap::Spread { base: 10, step: 5 }), Some(25));
        assert_eq!(id(OnMmap::Fixed { page_id: 7 }), Some(7));
        assert_eq!(id(OnMmap::Refuse { errno: 1 }), None);
        let linear = OnMmap::Linear { base: 10 };
        assert_eq!(linear.offset(13, 8192), Some(3 * 8192));
        assert_eq!(linear.offset(9, 8192), None);
    }
}

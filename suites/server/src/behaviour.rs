// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scripted behaviour of a server: a case can have a correct server or a faulty one.

use serde::{Deserialize, Serialize};

use crate::abi::op;

/// Scripted behaviour of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behaviour {
    /// True if the server accepts the kernel's offer of direct mmap.
    pub dmmap: bool,
    /// Reaction to FUSE_MMAP.
    pub mmap: OnMmap,
    /// Reactions of a server that fills pages and saves them. `None` if the pages are not lazy.
    pub lazy: Option<Lazy>,
    /// True if read(2) and write(2) of its file go through the page cache. Does not apply to devices.
    pub cached: bool,
    /// True if the server opens its file without FOPEN_DMMAP. Does not apply to devices.
    pub ordinary: bool,
    /// True if clients get mappings that can never be made writable.
    pub readonly: bool,
    /// Requests that the server holds unanswered until its behaviour changes.
    pub unanswered: Option<Unanswered>,
    /// True if the server does not read its channel.
    pub reads_nothing: bool,
}

/// Operation whose requests a server holds. Operations with a reaction of their own, such as FUSE_MMAP, are not listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unanswered {
    /// FUSE_INIT or CUSE_INIT. Until the reply there is no file or device.
    Init,
    /// FUSE_OPEN.
    Open,
    /// FUSE_READ and FUSE_WRITE.
    Io,
    /// FUSE_MUNMAP.
    Munmap,
}

impl Unanswered {
    pub(crate) fn covers(self, opcode: u32) -> bool {
        match self {
            Unanswered::Init => matches!(opcode, op::INIT | op::CUSE_INIT),
            Unanswered::Open => opcode == op::OPEN,
            Unanswered::Io => matches!(opcode, op::READ | op::WRITE),
            Unanswered::Munmap => opcode == op::MUNMAP,
        }
    }
}

/// Reactions of a server that fills the pages of its file on the first touch and saves them on reclaim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lazy {
    /// Reaction to FUSE_DMMAP_FAULT.
    pub fault: OnFault,
    /// Reaction to FUSE_DMMAP_RECLAIM.
    pub reclaim: OnReclaim,
}

/// Reaction of a server to FUSE_DMMAP_FAULT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFault {
    /// Loads the page from the file, and replies.
    Fill,
    /// Replies without loading the page.
    LeaveZeros,
    /// Replies with an error.
    Refuse {
        /// Error number of this machine, positive.
        errno: i32,
    },
    /// Holds the request for a low page until the behaviour changes, and fills other pages.
    Hold {
        /// Page ID below which requests are held.
        below: u64,
    },
}

/// Reaction of a server to FUSE_DMMAP_RECLAIM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnReclaim {
    /// Saves the pages to the file, and agrees.
    Save,
    /// Agrees without saving the pages. The server does not save pages on FUSE_MUNMAP either.
    Discard,
    /// Replies with an error.
    Refuse {
        /// Error number of this machine, positive.
        errno: i32,
    },
    /// Holds the request until the behaviour changes.
    Hold,
}

/// Reaction of a server to FUSE_MMAP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnMmap {
    /// Page k of the file has page ID `base + k`, for all clients.
    Linear {
        /// Page ID of the file's first page.
        base: u64,
    },
    /// The mapping from page k of the file starts at page ID `base + k * step`.
    Spread {
        /// Page ID of a mapping from the file's first page.
        base: u64,
        /// Distance between the page IDs of mappings from two adjacent pages.
        step: u64,
    },
    /// Every mapping starts at the same page ID, regardless of its offset.
    Fixed {
        /// Page ID of the mapping's first page.
        page_id: u64,
    },
    /// Replies with an error.
    Refuse {
        /// Error number of this machine, positive.
        errno: i32,
    },
    /// Holds the request until the behaviour changes.
    Hold,
}

impl Default for Behaviour {
    /// Returns the behaviour of a correct server. Its page IDs differ from the page numbers of the file, so that
    /// confusing the two is noticed.
    fn default() -> Behaviour {
        Behaviour {
            dmmap: true,
            mmap: OnMmap::Linear { base: 0x400 },
            lazy: None,
            cached: false,
            ordinary: false,
            readonly: false,
            unanswered: None,
            reads_nothing: false,
        }
    }
}

impl Behaviour {
    /// Returns the behaviour of a correct server, except for its reaction to FUSE_MMAP.
    pub fn with_mmap(mmap: OnMmap) -> Behaviour {
        Behaviour { mmap, ..Behaviour::default() }
    }

    /// Returns the behaviour of a correct server whose pages are lazy.
    pub fn lazy() -> Behaviour {
        Behaviour {
            lazy: Some(Lazy { fault: OnFault::Fill, reclaim: OnReclaim::Save }),
            ..Behaviour::default()
        }
    }
}

impl OnMmap {
    /// Returns the page ID for a mapping from byte `offset` of the file, or `None` if the server does not grant it.
    pub fn page_id(self, offset: u64, page_size: u64) -> Option<u64> {
        match self {
            OnMmap::Linear { base } => Some(base + offset / page_size),
            OnMmap::Spread { base, step } => Some(base + offset / page_size * step),
            OnMmap::Fixed { page_id } => Some(page_id),
            OnMmap::Refuse { .. } | OnMmap::Hold => None,
        }
    }

    /// Returns the offset of page `page_id` in the file, in bytes, or `None` if the ID does not determine an offset.
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

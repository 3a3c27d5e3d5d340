// SPDX-License-Identifier: MIT OR Apache-2.0
//! Log of the requests that a server has received. Cases compare it with the actions of the clients.

use serde::{Deserialize, Serialize};

use crate::abi::{InHeader, MmapIn, MunmapIn, PageRange};

/// Maximum number of requests in each list. The oldest request is removed first.
const LIST_MAX: usize = 64;

/// Log of the requests that a server has received.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestLog {
    /// True if the kernel offered direct mmap.
    pub offered: bool,
    /// True if the kernel offered FUSE_DMMAP_LOAD_SAVE or CUSE_DMMAP_LOAD_SAVE.
    pub load_save: bool,
    /// Distance in bytes after which cache colours repeat, from FUSE_INIT or CUSE_INIT.
    pub period: u32,
    /// Number of FUSE_OPEN requests.
    pub opens: u64,
    /// Number of FUSE_RELEASE requests.
    pub releases: u64,
    /// Number of FUSE_MMAP requests.
    pub mmaps: u64,
    /// Number of FUSE_MUNMAP requests.
    pub munmaps: u64,
    /// The latest FUSE_MMAP requests, oldest first.
    pub last_mmaps: Vec<LoggedMmap>,
    /// The latest FUSE_MUNMAP requests, oldest first.
    pub last_munmaps: Vec<LoggedMunmap>,
    /// Number of FUSE_DMMAP_FAULT requests.
    pub faults: u64,
    /// Number of FUSE_DMMAP_RECLAIM requests.
    pub reclaims: u64,
    /// Total number of pages in the FUSE_DMMAP_RECLAIM requests.
    pub reclaimed: u64,
    /// Page IDs of the latest FUSE_DMMAP_FAULT requests, oldest first.
    pub last_faults: Vec<u64>,
    /// Number of requests that the server has held unanswered so far.
    pub held: u64,
    /// Number of replies that the kernel rejected with EINVAL.
    pub refused_replies: u64,
    /// The latest requests of any operation, oldest first.
    pub last_requests: Vec<LoggedRequest>,
}

/// Request of any operation. The fields are those of `struct fuse_in_header`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct LoggedRequest {
    pub opcode: u32,
    pub unique: u64,
}

/// FUSE_MMAP request and its calling process. The other fields are those of `struct fuse_mmap_in`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct LoggedMmap {
    pub pid: u32,
    pub fh: u64,
    pub offset: u64,
    pub length: u64,
    pub prot: u32,
    pub flags: u32,
    pub colour: u32,
    pub period: u32,
}

/// FUSE_MUNMAP request. The fields are those of `struct fuse_munmap_in`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct LoggedMunmap {
    pub fh: u64,
    pub page_id: u64,
    pub offset: u64,
    pub length: u64,
}

impl RequestLog {
    /// Returns the `unique` of the latest request with this opcode.
    pub fn unique(&self, opcode: u32) -> Option<u64> {
        let mut latest = self.last_requests.iter().rev();
        latest.find(|request| request.opcode == opcode).map(|request| request.unique)
    }

    pub(crate) fn request(&mut self, header: &InHeader) {
        let InHeader { opcode, unique, .. } = *header;
        push_latest(&mut self.last_requests, LoggedRequest { opcode, unique });
    }

    pub(crate) fn mmap(&mut self, pid: u32, mmap: &MmapIn) {
        self.mmaps += 1;
        let MmapIn { fh, offset, length, prot, flags, colour, period } = *mmap;
        push_latest(
            &mut self.last_mmaps,
            LoggedMmap { pid, fh, offset, length, prot, flags, colour, period },
        );
    }

    pub(crate) fn munmap(&mut self, munmap: &MunmapIn) {
        self.munmaps += 1;
        let MunmapIn { fh, page_id, offset, length } = *munmap;
        push_latest(&mut self.last_munmaps, LoggedMunmap { fh, page_id, offset, length });
    }

    pub(crate) fn fault(&mut self, pages: &PageRange) {
        self.faults += 1;
        push_latest(&mut self.last_faults, pages.page_id);
    }

    pub(crate) fn reclaim(&mut self, pages: &PageRange) {
        self.reclaims += 1;
        self.reclaimed += pages.count;
    }
}

fn push_latest<T>(list: &mut Vec<T>, item: T) {
    if list.len() == LIST_MAX {
        list.remove(0);
    }
    list.push(item);
}

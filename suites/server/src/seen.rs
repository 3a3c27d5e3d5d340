// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a server was asked: what cases compare with what clients did.

use serde::{Deserialize, Serialize};

use crate::abi::{InHeader, MmapIn, MunmapIn, Pages};

/// Requests kept in full; older ones are only counted.
const KEPT: usize = 64;

/// What a server was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The kernel offered direct mmap.
    pub offered: bool,
    /// Distance in bytes after which cache colours repeat, as INIT said.
    pub period: u32,
    /// FUSE_OPENs.
    pub opens: u64,
    /// FUSE_RELEASEs.
    pub releases: u64,
    /// FUSE_MMAPs.
    pub mmaps: u64,
    /// FUSE_MUNMAPs.
    pub munmaps: u64,
    /// The latest FUSE_MMAPs, oldest first.
    pub last_mmaps: Vec<MmapSeen>,
    /// The latest FUSE_MUNMAPs, oldest first.
    pub last_munmaps: Vec<MunmapSeen>,
    /// FUSE_DMMAP_FAULTs.
    pub faults: u64,
    /// FUSE_DMMAP_RECLAIMs.
    pub reclaims: u64,
    /// Pages that these were about, in all.
    pub reclaimed: u64,
    /// The latest FUSE_DMMAP_FAULTs, oldest first: page IDs.
    pub last_faults: Vec<u64>,
    /// Replies that the kernel would not take.
    pub refused_replies: u64,
    /// The latest requests of any kind, oldest first.
    pub last_requests: Vec<RequestSeen>,
}

/// A request of any kind. Fields as in [`crate::abi::InHeader`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct RequestSeen {
    pub opcode: u32,
    pub unique: u64,
}

/// A FUSE_MMAP and the process it came from. Fields as in [`MmapIn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct MmapSeen {
    pub pid: u32,
    pub fh: u64,
    pub offset: u64,
    pub length: u64,
    pub prot: u32,
    pub flags: u32,
    pub colour: u32,
    pub period: u32,
}

/// A FUSE_MUNMAP. Fields as in [`MunmapIn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct MunmapSeen {
    pub fh: u64,
    pub page_id: u64,
    pub offset: u64,
    pub length: u64,
}

impl Seen {
    /// `unique` of the latest request with this opcode.
    pub fn unique(&self, opcode: u32) -> Option<u64> {
        let mut latest = self.last_requests.iter().rev();
        latest
            .find(|request| request.opcode == opcode)
            .map(|request| request.unique)
    }

    pub(crate) fn request(&mut self, header: &InHeader) {
        let InHeader { opcode, unique, .. } = *header;
        keep(&mut self.last_requests, RequestSeen { opcode, unique });
    }

    pub(crate) fn mmap(&mut self, pid: u32, mmap: &MmapIn) {
        self.mmaps += 1;
        let MmapIn {
            fh,
            offset,
            length,
            prot,
            flags,
            colour,
            period,
        } = *mmap;
        keep(
            &mut self.last_mmaps,
            MmapSeen {
                pid,
                fh,
                offset,
                length,
                prot,
                flags,
                colour,
                period,
            },
        );
    }

    pub(crate) fn munmap(&mut self, munmap: &MunmapIn) {
        self.munmaps += 1;
        let MunmapIn {
            fh,
            page_id,
            offset,
            length,
        } = *munmap;
        keep(
            &mut self.last_munmaps,
            MunmapSeen {
                fh,
                page_id,
                offset,
                length,
            },
        );
    }
}

impl Seen {
    pub(crate) fn fault(&mut self, pages: &Pages) {
        self.faults += 1;
        keep(&mut self.last_faults, pages.page_id);
    }

    pub(crate) fn reclaim(&mut self, pages: &Pages) {
        self.reclaims += 1;
        self.reclaimed += pages.count;
    }
}

fn keep<T>(list: &mut Vec<T>, item: T) {
    if list.len() == KEPT {
        list.remove(0);
    }
    list.push(item);
}

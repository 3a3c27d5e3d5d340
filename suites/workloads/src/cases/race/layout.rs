// SPDX-License-Identifier: MIT OR Apache-2.0
//! Owners of the pages, and stamps: what an owner stores.
//!
//! A stamp has a tag, which identifies the world, the page and the slot, and a count. A page that shows a stamp with the
//! wrong tag shows the content of another page.

/// Stamps in a page. They are spread over the page.
pub(super) const SLOTS: usize = 8;

/// Bits of a stamp that count.
const COUNT_BITS: u32 = 20;

const COUNT_MASK: u32 = (1 << COUNT_BITS) - 1;

/// Largest number of pages whose stamps differ: 6 bits of the tag.
pub(super) const MAX_PAGES: usize = 64;

/// Uses of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A worker owns the page. It never disappears.
    Kept,
    /// A worker owns the page. The server frees it at any time.
    Loose,
    /// The server's assistant owns the page and stores in it by ID. The server frees it at any time.
    Server,
}

/// Pages of the file of a world.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Number of the world.
    pub(super) world: usize,
    /// Number of pages.
    pub(super) pages: usize,
    /// Number of workers that own pages.
    pub(super) workers: usize,
    /// True if the server fills pages and saves them.
    pub(super) lazy: bool,
}

/// Stamp at one place, or 0 where nothing has been stored.
pub(super) type Stamp = u32;

impl Layout {
    pub(super) fn class(&self, page: usize) -> Class {
        match page % 4 {
            0 | 1 => Class::Kept,
            2 => Class::Loose,
            _ => Class::Server,
        }
    }

    /// Returns the worker that owns the page; `None` if the server does.
    pub(super) fn owner(&self, page: usize) -> Option<usize> {
        match self.class(page) {
            Class::Kept => Some((page / 4 * 2 + page % 4) % self.workers),
            Class::Loose => Some(page / 4 % self.workers),
            Class::Server => None,
        }
    }

    /// Returns the pages of this class that `owner` owns.
    pub(super) fn pages_of(&self, owner: Option<usize>, class: Class) -> Vec<usize> {
        let pages = 0..self.pages;
        pages.filter(|&page| self.class(page) == class && self.owner(page) == owner).collect()
    }

    /// Returns the stamp that follows `stamp` at this place.
    pub(super) fn successor(&self, page: usize, slot: usize, stamp: Stamp) -> Stamp {
        // 0 stands for "nothing stored", so no stamp has the count 0.
        let count = match (stamp & COUNT_MASK) + 1 {
            count if count > COUNT_MASK => 1,
            count => count,
        };
        self.tag(page, slot) << COUNT_BITS | count
    }

    /// Returns true if `found` is a stamp of this place, or 0.
    pub(super) fn belongs(&self, page: usize, slot: usize, found: Stamp) -> bool {
        found == 0 || found >> COUNT_BITS == self.tag(page, slot)
    }

    /// Returns true if `found` can be a mix of a stamp of this place and of zeros. The kernel copies a word byte by byte
    /// (arch/x86/lib/copy_user_64.S), and the page can be replaced by another in between.
    pub(super) fn is_torn(&self, page: usize, slot: usize, found: Stamp) -> bool {
        let tag = self.tag(page, slot) << COUNT_BITS;
        let bytes = |mask: Stamp, fixed: Stamp| found & mask == 0 || found & fixed == tag & fixed;
        let has_zeros = found.to_ne_bytes().contains(&0);
        has_zeros && bytes(0xff00_0000, 0xff00_0000) && bytes(0x00ff_0000, 0x00f0_0000)
    }

    /// Returns true if `found` was stored at this place not before `low` and not after `high`.
    pub(super) fn between(
        &self,
        (page, slot): (usize, usize),
        low: Stamp,
        found: Stamp,
        high: Stamp,
    ) -> bool {
        if found == 0 {
            return low == 0;
        }
        let since_low = |stamp: Stamp| (stamp.wrapping_sub(low)) & COUNT_MASK;
        self.belongs(page, slot, found) && since_low(found) <= since_low(high)
    }

    fn tag(&self, page: usize, slot: usize) -> u32 {
        ((self.world % 8) << 9 | (page % MAX_PAGES) << 3 | (slot % SLOTS)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout { world: 2, pages: 32, workers: 4, lazy: false };

    #[test]
    fn every_worker_owns_pages_of_both_classes() {
        for worker in 0..4 {
            assert_eq!(LAYOUT.pages_of(Some(worker), Class::Kept).len(), 4);
            assert_eq!(LAYOUT.pages_of(Some(worker), Class::Loose).len(), 2);
        }
        assert_eq!(LAYOUT.pages_of(None, Class::Server).len(), 8);
    }

    #[test]
    fn a_stamp_belongs_to_its_place_only() {
        let stamp = LAYOUT.successor(5, 3, 0);
        assert!(LAYOUT.belongs(5, 3, stamp));
        assert!(!LAYOUT.belongs(5, 4, stamp));
        assert!(!LAYOUT.belongs(4, 3, stamp));
        assert!(!Layout { world: 1, ..LAYOUT }.belongs(5, 3, stamp));
    }

    #[test]
    fn a_torn_stamp_has_bytes_of_this_place_or_zeros() {
        let stamp = LAYOUT.successor(5, 3, 0x2_0304);
        for kept in [0, 0xff, 0xff_ffff, 0xff00_ffff, 0xffff_0000] {
            assert!(LAYOUT.is_torn(5, 3, stamp & kept), "{:#x}", stamp & kept);
        }
        let others = [
            stamp,
            LAYOUT.successor(5, 4, 0),
            LAYOUT.successor(4, 3, 0),
            (stamp ^ 0x0100_0000) & 0xff00_00ff,
        ];
        assert!(!others.iter().any(|other| LAYOUT.is_torn(5, 3, *other)));
    }

    #[test]
    fn a_stamp_is_compared_with_those_before_and_after() {
        let place = (5, 3);
        let mut stamps = vec![0];
        for _ in 0..3 {
            stamps.push(LAYOUT.successor(5, 3, *stamps.last().unwrap()));
        }
        let between = |low: usize, found: usize, high: usize| {
            LAYOUT.between(place, stamps[low], stamps[found], stamps[high])
        };
        assert!(between(1, 1, 2) && between(1, 2, 2) && between(0, 0, 1) && between(0, 1, 3));
        assert!(!between(2, 1, 3) && !between(1, 3, 2) && !between(1, 0, 2));
        let last = LAYOUT.tag(5, 3) << COUNT_BITS | COUNT_MASK;
        let first = LAYOUT.successor(5, 3, last);
        assert_eq!(first & COUNT_MASK, 1);
        assert!(LAYOUT.between(place, last, first, first));
        assert!(!LAYOUT.between(place, first, last, first));
    }
}

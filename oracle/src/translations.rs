// SPDX-License-Identifier: GPL-2.0-or-later
//! Remembers translations of virtual addresses, because asking QEMU for each access takes longer than the model.
//!
//! A translation is valid until the guest makes its MMU forget translations, or switches to another address space. An
//! instruction set that uses this table must decode every instruction that does so. QEMU's answer is compared with the
//! table whenever an access may change something in the model.

/// Number of entries, a power of two.
const ENTRIES: usize = 256;

/// A direct-mapped table of translations.
pub struct Translations {
    /// False if the instruction set does not decode the instructions that end a translation.
    enabled: bool,
    /// Position of the lowest bit of a page number.
    shift: u32,
    /// True if no entry is in use. A TLB miss of the guest executes several instructions that forget translations.
    empty: bool,
    entries: [Entry; ENTRIES],
}

#[derive(Clone, Copy)]
struct Entry {
    /// Virtual page number.
    page: u64,
    /// Size of the access, and the state of the MMU on which the translation depends, in QEMU's encoding.
    access: u32,
    /// Size of the access in bytes.
    size: u16,
    /// True if the page is cacheable.
    cached: bool,
    /// Physical address of the page.
    physical: u64,
}

/// No page has this number.
const EMPTY: Entry = Entry { page: u64::MAX, access: 0, size: 0, cached: true, physical: 0 };

/// Target of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Physical address of the first byte.
    pub physical: u64,
    /// Size in bytes.
    pub size: u64,
}

/// Target of an access, and the properties of its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Place in memory.
    pub place: Place,
    /// True if the page is cacheable.
    pub cached: bool,
}

impl Translations {
    /// Returns an empty table for pages of `page` bytes. It stays empty unless `enabled`.
    pub fn new(enabled: bool, page: u64) -> Translations {
        Translations {
            enabled,
            shift: page.trailing_zeros(),
            empty: true,
            entries: [EMPTY; ENTRIES],
        }
    }

    /// Returns the target of an access at `address` of the kind `access`, if it is known.
    #[inline(always)]
    pub fn find(&self, address: u64, access: u32) -> Option<Target> {
        let page = address >> self.shift;
        let entry = &self.entries[slot(page, access)];
        let offset = address & ((1 << self.shift) - 1);
        let known = entry.page == page && entry.access == access;
        let place = Place { physical: entry.physical | offset, size: entry.size.into() };
        known.then_some(Target { place, cached: entry.cached })
    }

    /// Remembers the target of an access.
    pub fn insert(&mut self, address: u64, access: u32, target: Target) {
        if self.enabled {
            self.empty = false;
            let page = address >> self.shift;
            let offset = address & ((1 << self.shift) - 1);
            self.entries[slot(page, access)] = Entry {
                page,
                access,
                size: target.place.size as u16,
                cached: target.cached,
                physical: target.place.physical - offset,
            };
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        if !self.empty {
            self.entries = [EMPTY; ENTRIES];
            self.empty = true;
        }
    }
}

/// Returns the entry of a page. Accesses of different sizes to a page have different entries.
#[inline(always)]
fn slot(page: u64, access: u32) -> usize {
    (page as usize ^ (access as usize) << 3 ^ (access as usize) >> 5) % ENTRIES
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORD: u32 = 0x22;
    const BYTE: u32 = 0x02;

    const fn target(physical: u64) -> Target {
        Target { place: Place { physical, size: 4 }, cached: false }
    }

    #[test]
    fn a_translation_is_valid_for_its_page_and_kind_of_access() {
        let mut known = Translations::new(true, 4096);
        assert_eq!(known.find(0x4000_1010, WORD), None);
        known.insert(0x4000_1010, WORD, target(0x7010));
        assert_eq!(known.find(0x4000_1ffc, WORD), Some(target(0x7ffc)));
        assert_eq!(known.find(0x4000_1010, BYTE), None);
        assert_eq!(known.find(0x4000_2010, WORD), None);
        assert_eq!(known.find(0x4a_4000_1010, WORD), None);
        known.clear();
        assert_eq!(known.find(0x4000_1010, WORD), None);
    }

    #[test]
    fn a_disabled_table_stays_empty() {
        let mut known = Translations::new(false, 4096);
        known.insert(0x4000_1010, WORD, target(0x7010));
        assert_eq!(known.find(0x4000_1010, WORD), None);
    }
}

// SPDX-License-Identifier: GPL-2.0-or-later
//! A table of virtual addresses from which loads change nothing, because they are in settled lines. It is faster than
//! to translate the address and to look up the line.

use oracle_wire::config::{Cache, CacheKind};

use super::Place;

/// Maximum number of entries, a power of two.
const ENTRIES: usize = 1 << 10;

/// A direct-mapped table. All addresses of a line from the same place have the same entry, so that the entry can be
/// removed when the line is no longer settled.
#[derive(Debug)]
pub struct Loads {
    /// Number of times that the table was cleared. Entries of another generation are empty.
    generation: u64,
    /// Binary logarithm of the bytes in a line.
    line: u32,
    /// Binary logarithm of the bytes in a page. `None` if a place is an address.
    page: Option<u32>,
    /// Number of entries in use, minus one.
    mask: u64,
    entries: Box<[Entry; ENTRIES]>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Number of the line of virtual memory.
    line: u64,
    /// From the lowest bit: the last offset in the line from which a load stays in the line, in 8 bits, the kind of the
    /// access in 24 bits, and the generation.
    key: u64,
}

const EMPTY: Entry = Entry { line: u64::MAX, key: u64::MAX };

/// Generations before the table must be emptied entry by entry. The last one is never in use.
const GENERATIONS: u64 = (1 << 32) - 1;

impl Loads {
    /// Returns an empty table.
    pub fn new(cache: &Cache, page: u64) -> Loads {
        let (page, period) = match cache.kind {
            CacheKind::Vivt => (None, u64::MAX),
            _ => (Some(page.trailing_zeros()), cache.period),
        };
        Loads {
            generation: 0,
            line: cache.line.trailing_zeros(),
            page,
            mask: (period / cache.line).min(ENTRIES as u64).max(1) - 1,
            entries: vec![EMPTY; ENTRIES].try_into().expect("the number of entries is right"),
        }
    }

    /// Returns true if a load of this kind from an address changes nothing.
    #[inline(always)]
    pub fn contains(&self, address: u64, kind: u32) -> bool {
        let line = address >> self.line;
        let entry = self.entries[(line & self.mask) as usize % ENTRIES];
        let last = entry.key ^ self.key(kind);
        entry.line == line && last < 1 << 8 && address & ((1 << self.line) - 1) <= last
    }

    /// Records that a load of `size` bytes from an address changes nothing. Loads of the same kind have the same size
    /// and the same translation.
    #[inline(always)]
    pub fn insert(&mut self, address: u64, size: u64, kind: u32) {
        let line = address >> self.line;
        let entry = Entry { line, key: self.key(kind) | ((1 << self.line) - size) };
        self.entries[(line & self.mask) as usize % ENTRIES] = entry;
    }

    /// Removes the line with a physical number, of which a place holds a copy.
    pub fn remove(&mut self, line: u64, place: Place) {
        let index = match self.page {
            None => place >> self.line,
            Some(page) => {
                let lines = page - self.line;
                place << lines | line & ((1 << lines) - 1)
            }
        };
        self.entries[(index & self.mask) as usize % ENTRIES] = EMPTY;
    }

    /// Removes all lines.
    pub fn clear(&mut self) {
        self.generation += 1;
        if self.generation == GENERATIONS {
            self.generation = 0;
            self.entries.fill(EMPTY);
        }
    }

    /// Returns the upper bits of the key of an entry.
    fn key(&self, kind: u32) -> u64 {
        self.generation << 32 | u64::from(kind) << 8
    }
}

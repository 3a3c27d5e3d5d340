// SPDX-License-Identifier: GPL-2.0-or-later
//! A cache of settled lines: lines whose next access most likely changes nothing, or only which store was last.

use oracle_wire::config::Cache;

use super::loads::Loads;
use super::{Access, AddressSpace, By, Op, Place, Trace};

/// Number of lines in the table, a power of two.
pub const SLOTS: usize = 1 << 13;

/// A direct-mapped table: lines whose numbers differ by a multiple of [`SLOTS`] evict each other.
///
/// Most accesses read only a tag. Tags are small, so that the table stays in the host's cache.
#[derive(Debug)]
pub struct FastPath {
    /// Bytes in a line, without the lowest: the bits of an offset in a line.
    offset: u64,
    /// Number of times that the table was cleared. Tags of another generation are empty.
    generation: u64,
    tags: Box<[Tag; SLOTS]>,
    /// For each slot, the last store to the line, if it has not been recorded in the line yet.
    deferred: Box<[Repeat; SLOTS]>,
    /// Addresses in these lines.
    pub loads: Loads,
}

/// A store from the place of a tag, without the properties that follow from the tag.
#[derive(Clone, Copy, Debug)]
struct Repeat {
    /// Sequence number. 0 if there is no store.
    at: u64,
    pc: u64,
    /// Virtual address. Its offset in the line is also that of the physical address.
    address: u64,
    /// Address of the page tables. [`NO_TABLES`] if it is unknown.
    tables: u64,
    trace: Trace,
    /// Size in bytes, at most that of a line.
    size: u8,
    by: By,
    allocates: bool,
}

/// No page tables have this address.
const NO_TABLES: u64 = u64::MAX;

const NO_STORE: Repeat = Repeat {
    at: 0,
    pc: 0,
    address: 0,
    tables: NO_TABLES,
    trace: Trace::NONE,
    size: 0,
    by: By::Process,
    allocates: false,
};

impl Repeat {
    #[inline(always)]
    fn new(store: &Access) -> Repeat {
        Repeat {
            at: store.at,
            pc: store.pc,
            address: store.address,
            tables: store.tables.unwrap_or(NO_TABLES),
            trace: store.trace,
            size: store.size as u8,
            by: store.by,
            allocates: store.allocates,
        }
    }

    /// Removes the store, and returns it as an access from `place` to the line at the physical address `line`. `offset`
    /// are the bits of an offset in a line.
    fn take(&mut self, place: Place, line: u64, offset: u64) -> Option<Access> {
        let store = std::mem::replace(self, NO_STORE);
        (store.at != 0).then_some(Access {
            at: store.at,
            op: Op::Store,
            by: store.by,
            tables: Some(store.tables).filter(|tables| *tables != NO_TABLES),
            process: AddressSpace::NONE,
            address: store.address,
            physical: line | store.address & offset,
            size: store.size.into(),
            place: Some(place),
            allocates: store.allocates,
            pc: store.pc,
            trace: store.trace,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag {
    /// From the lowest bit: the effect of a store in two bits, the number of the line in [`LINE_BITS`], and the generation.
    key: u64,
    /// Place of the only copy.
    place: Place,
}

/// Effect of a store to a settled line from the place of its only copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreEffect {
    /// Changes the state of the copy.
    Changes = 0,
    /// Changes only which store was last.
    IsLast = 1,
    /// Changes nothing.
    Nothing = 2,
}

/// The number of a line, and a store that must still be recorded in it.
pub type Deferred = (u64, Access);

/// Bits of a line's number. With lines of 32 bytes, these are physical addresses of 45 bits.
const LINE_BITS: u32 = 40;

/// Generations before the table must be emptied slot by slot.
const GENERATIONS: u64 = 1 << (62 - LINE_BITS);

/// A tag of the generation that is never the current one.
const EMPTY: Tag = Tag { key: u64::MAX, place: 0 };

impl Tag {
    /// Returns the line's number and the generation.
    fn line(self) -> u64 {
        self.key >> 2
    }
}

impl FastPath {
    /// Returns an empty table for a cache and pages of `page` bytes.
    pub fn new(cache: &Cache, page: u64) -> FastPath {
        let boxed = |slots: Vec<Tag>| slots.into_boxed_slice().try_into();
        let deferred = vec![NO_STORE; SLOTS].into_boxed_slice().try_into();
        FastPath {
            offset: cache.line - 1,
            generation: 0,
            tags: boxed(vec![EMPTY; SLOTS]).expect("the number of slots is right"),
            deferred: deferred.expect("the number of slots is right"),
            loads: Loads::new(cache, page),
        }
    }

    /// Returns the line's number with the generation, as in a tag.
    fn current(&self, line: u64) -> u64 {
        self.generation << LINE_BITS | line & ((1 << LINE_BITS) - 1)
    }

    fn tag(&self, line: u64, place: Place, effect: StoreEffect) -> Tag {
        Tag { key: self.current(line) << 2 | effect as u64, place }
    }

    /// Returns the effect of a store to a settled line from the place of its only copy. A load from there changes
    /// nothing. Returns `None` for other lines and places.
    #[inline(always)]
    pub fn effect(&self, line: u64, place: Place) -> Option<StoreEffect> {
        let tag = self.tags[line as usize % SLOTS];
        match tag.key ^ self.current(line) << 2 {
            _ if tag.place != place => None,
            0 => Some(StoreEffect::Changes),
            1 => Some(StoreEffect::IsLast),
            2 => Some(StoreEffect::Nothing),
            _ => None,
        }
    }

    /// Remembers the last store to a settled line.
    #[inline(always)]
    pub fn defer(&mut self, line: u64, store: &Access) {
        self.deferred[line as usize % SLOTS] = Repeat::new(store);
    }

    /// Adds a settled line. Returns the deferred store of the line that it evicts.
    pub fn insert(&mut self, line: u64, place: Place, effect: StoreEffect) -> Option<Deferred> {
        let slot = line as usize % SLOTS;
        let new = self.tag(line, place, effect);
        let old = std::mem::replace(&mut self.tags[slot], new);
        let line = old.line() & ((1 << LINE_BITS) - 1);
        self.loads.remove(line, old.place);
        let deferred = self.take(slot, old.place, line)?;
        (old.line() == self.current(line)).then_some((line, deferred))
    }

    /// Removes the line and returns its deferred store.
    pub fn remove(&mut self, line: u64) -> Option<Access> {
        let slot = line as usize % SLOTS;
        if self.tags[slot].line() != self.current(line) {
            return None;
        }
        let old = std::mem::replace(&mut self.tags[slot], EMPTY);
        self.loads.remove(line, old.place);
        self.take(slot, old.place, line)
    }

    /// Removes the deferred store of a slot, whose tag has this place and this line.
    fn take(&mut self, slot: usize, place: Place, line: u64) -> Option<Access> {
        let start = line << self.offset.count_ones();
        self.deferred[slot].take(place, start, self.offset)
    }

    /// Removes all lines, and returns their deferred stores.
    pub fn drain(&mut self) -> Vec<Deferred> {
        let mut drained = Vec::new();
        for slot in 0..SLOTS {
            let tag = self.tags[slot];
            let line = tag.line() & ((1 << LINE_BITS) - 1);
            if tag.line() == self.current(line) {
                drained.extend(self.take(slot, tag.place, line).map(|store| (line, store)));
            }
        }
        self.clear();
        drained
    }

    /// Removes all lines. Some kernels flush the whole cache at each switch of address spaces, so this must be fast.
    pub fn clear(&mut self) {
        self.loads.clear();
        self.generation += 1;
        if self.generation == GENERATIONS - 1 {
            self.generation = 0;
            self.tags.fill(EMPTY);
        }
    }
}

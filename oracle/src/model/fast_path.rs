// SPDX-License-Identifier: GPL-2.0-or-later
//! A cache of settled lines: lines whose next access most likely changes nothing, or only which store was last.

use super::{Access, Place};

/// Number of lines in the table, a power of two.
pub const SLOTS: usize = 1 << 13;

/// A direct-mapped table: lines whose numbers differ by a multiple of [`SLOTS`] evict each other.
#[derive(Debug)]
pub struct FastPath {
    slots: Box<[Slot]>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Number of the line. `u64::MAX` is no line's number.
    line: u64,
    /// Place of the only copy.
    place: Place,
    effect: StoreEffect,
    /// The last store, if it has not been recorded in the line yet.
    deferred: Option<Access>,
}

/// Effect of a store to a settled line from the place of its only copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreEffect {
    /// Changes the state of the copy.
    Changes,
    /// Changes only which store was last.
    IsLast,
    /// Changes nothing.
    Nothing,
}

/// The number of a line, and a store that must still be recorded in it.
pub type Deferred = (u64, Access);

const EMPTY: Slot = Slot { line: u64::MAX, place: 0, effect: StoreEffect::Changes, deferred: None };

impl Default for FastPath {
    fn default() -> Self {
        FastPath { slots: vec![EMPTY; SLOTS].into() }
    }
}

impl FastPath {
    /// Returns true if a load of the line from `place` is known to change nothing.
    pub fn skips_load(&self, line: u64, place: Place) -> bool {
        let slot = &self.slots[line as usize % SLOTS];
        slot.line == line && slot.place == place
    }

    /// Returns true if a store to the line from `place` is known to change nothing but which store was last. Defers the
    /// store in that case.
    pub fn skips_store(
        &mut self,
        line: u64,
        place: Place,
        access: impl FnOnce() -> Access,
    ) -> bool {
        let slot = &mut self.slots[line as usize % SLOTS];
        let skips = slot.line == line && slot.place == place && slot.effect != StoreEffect::Changes;
        if skips && slot.effect == StoreEffect::IsLast {
            slot.deferred = Some(access());
        }
        skips
    }

    /// Adds a settled line. Returns the deferred store of the line that it evicts.
    pub fn insert(&mut self, line: u64, place: Place, effect: StoreEffect) -> Option<Deferred> {
        let new = Slot { line, place, effect, deferred: None };
        let old = std::mem::replace(&mut self.slots[line as usize % SLOTS], new);
        Some((old.line, old.deferred?))
    }

    /// Removes the line and returns its deferred store.
    pub fn remove(&mut self, line: u64) -> Option<Access> {
        let slot = &mut self.slots[line as usize % SLOTS];
        match slot.line == line {
            true => std::mem::replace(slot, EMPTY).deferred,
            false => None,
        }
    }

    /// Removes all lines.
    pub fn clear(&mut self) {
        self.slots.fill(EMPTY);
    }
}

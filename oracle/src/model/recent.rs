// SPDX-License-Identifier: GPL-2.0-or-later
//! Lines of which the next access most likely changes nothing.

use super::Place;

/// How many lines are remembered; a power of two. The table fits the host's second cache.
const KEPT: usize = 1 << 13;

/// A table in which lines that are a multiple of [`KEPT`] apart push each other out.
#[derive(Debug)]
pub struct Recent {
    slots: Box<[Slot]>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Number of the line; none has the last number there is.
    line: u64,
    /// Where its one copy is.
    place: Place,
    stores: Stores,
}

/// Which stores to a line from the place of its one copy change nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stores {
    /// Each may.
    None,
    /// Those of the instruction that made the last.
    By(u64),
    /// None does.
    All,
}

const NOTHING: Slot = Slot {
    line: u64::MAX,
    place: 0,
    stores: Stores::None,
};

impl Default for Recent {
    fn default() -> Self {
        Recent {
            slots: vec![NOTHING; KEPT].into(),
        }
    }
}

impl Recent {
    /// Whether loads of the line from `place` are known to change nothing, or stores of the instruction at `store`.
    pub fn has(&self, line: u64, place: Place, store: Option<u64>) -> bool {
        let slot = &self.slots[line as usize % KEPT];
        let stored = || match (slot.stores, store) {
            (_, None) | (Stores::All, _) => true,
            (Stores::By(last), Some(pc)) => last == pc,
            (Stores::None, Some(_)) => false,
        };
        slot.line == line && slot.place == place && stored()
    }

    /// From now on loads of the line from `place` change nothing, and such `stores`; without a place nothing is known of it.
    pub fn put(&mut self, line: u64, place: Option<Place>, stores: Stores) {
        let slot = &mut self.slots[line as usize % KEPT];
        match place {
            Some(place) => {
                *slot = Slot {
                    line,
                    place,
                    stores,
                }
            }
            None if slot.line == line => *slot = NOTHING,
            None => {}
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.slots.fill(NOTHING);
    }
}

// SPDX-License-Identifier: GPL-2.0-or-later
//! Lines of which the next access most likely changes nothing.

use super::Place;

/// How many lines are remembered; a power of two.
const KEPT: usize = 1 << 14;

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
    /// How often the whole cache was flushed by then.
    flushes: u32,
    /// The instruction that made the last store, if one more changes nothing.
    store: Option<u64>,
}

impl Default for Recent {
    fn default() -> Self {
        let nothing = Slot {
            line: u64::MAX,
            place: 0,
            flushes: 0,
            store: None,
        };
        Recent {
            slots: vec![nothing; KEPT].into(),
        }
    }
}

impl Recent {
    /// Whether loads of the line from `place` are known to change nothing, or stores of the instruction at `store`.
    pub fn has(&self, line: u64, place: Place, flushes: u32, store: Option<u64>) -> bool {
        let slot = &self.slots[line as usize % KEPT];
        (slot.line, slot.place, slot.flushes) == (line, place, flushes)
            && (store.is_none() || store == slot.store)
    }

    /// From now on loads of the line from `place` change nothing, and stores of the instruction at `store`; without a place
    /// nothing is known of it.
    pub fn put(&mut self, line: u64, place: Option<Place>, flushes: u32, store: Option<u64>) {
        let slot = &mut self.slots[line as usize % KEPT];
        match place {
            Some(place) => {
                *slot = Slot {
                    line,
                    place,
                    flushes,
                    store,
                }
            }
            None if slot.line == line => slot.line = u64::MAX,
            None => {}
        }
    }
}

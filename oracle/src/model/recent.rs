// SPDX-License-Identifier: GPL-2.0-or-later
//! Lines of which the next access most likely changes nothing, or only who stored last.

use super::{Access, Place};

/// How many lines are remembered; a power of two.
pub const KEPT: usize = 1 << 13;

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
    /// The last store, if the line does not know of it yet.
    last: Option<Access>,
}

/// What stores to a line from the place of its one copy change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stores {
    /// Something.
    More,
    /// Who was last.
    Last,
    /// Nothing.
    Nothing,
}

/// A store that a line has to be told of, and the line's number.
pub type Untold = (u64, Access);

const NOTHING: Slot = Slot {
    line: u64::MAX,
    place: 0,
    stores: Stores::More,
    last: None,
};

impl Default for Recent {
    fn default() -> Self {
        Recent {
            slots: vec![NOTHING; KEPT].into(),
        }
    }
}

impl Recent {
    /// Whether a load of the line from `place` is known to change nothing.
    pub fn loads(&self, line: u64, place: Place) -> bool {
        let slot = &self.slots[line as usize % KEPT];
        slot.line == line && slot.place == place
    }

    /// Whether a store to the line from `place` is known to change nothing, or it is enough to remember it, as is done.
    pub fn stores(&mut self, line: u64, place: Place, access: impl FnOnce() -> Access) -> bool {
        let slot = &mut self.slots[line as usize % KEPT];
        let known = slot.line == line && slot.place == place && slot.stores != Stores::More;
        if known && slot.stores == Stores::Last {
            slot.last = Some(access());
        }
        known
    }

    /// From now on loads of the line from `place` change nothing, and stores what is said. What the line that had to go has
    /// to be told.
    pub fn put(&mut self, line: u64, place: Place, stores: Stores) -> Option<Untold> {
        let new = Slot {
            line,
            place,
            stores,
            last: None,
        };
        let old = std::mem::replace(&mut self.slots[line as usize % KEPT], new);
        Some((old.line, old.last?))
    }

    /// Forgets the line; the last store to it, if the line does not know of it.
    pub fn take(&mut self, line: u64) -> Option<Access> {
        let slot = &mut self.slots[line as usize % KEPT];
        match slot.line == line {
            true => std::mem::replace(slot, NOTHING).last,
            false => None,
        }
    }

    /// Forgets all lines.
    pub fn clear(&mut self) {
        self.slots.fill(NOTHING);
    }
}

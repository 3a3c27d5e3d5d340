// SPDX-License-Identifier: GPL-2.0-or-later
//! What was done to a line, as far as it is kept.

use super::Access;

/// How many accesses of a line are kept: the last ones.
const KEPT: usize = 8;

/// The last accesses that changed what the cache holds of a line. Those that changed nothing, a load of what is there
/// already or one more store to a dirty copy, are left out.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// A ring once it is full: the oldest is at `number % KEPT`.
    ring: Vec<Access>,
    number: u32,
}

impl Story {
    /// Adds an access; the oldest goes if there is no room. One like the last, by the same instruction in the same place,
    /// takes its place: a loop over a line is not all there is to tell of it.
    pub fn push(&mut self, access: Access) {
        if let Some(last) = self.last() {
            if (last.op, last.place, last.pc) == (access.op, access.place, access.pc) {
                *last = access;
                return;
            }
        }
        let index = self.number as usize % KEPT;
        match self.ring.get_mut(index) {
            Some(old) => *old = access,
            None => self.ring.push(access),
        }
        self.number = self.number.wrapping_add(1);
    }

    fn last(&mut self) -> Option<&mut Access> {
        let newest = (self.number as usize).checked_sub(1)? % KEPT;
        self.ring.get_mut(newest)
    }

    /// Adds an access if there is one.
    pub fn extend(&mut self, access: Option<Access>) {
        if let Some(access) = access {
            self.push(access);
        }
    }

    /// In order, the oldest first.
    pub fn accesses(&self) -> Vec<Access> {
        let oldest = match self.ring.len() {
            KEPT => self.number as usize % KEPT,
            _ => 0,
        };
        let (behind, before) = self.ring.split_at(oldest);
        [before, behind].concat()
    }
}

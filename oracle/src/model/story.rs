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
    /// Adds an access; the oldest goes if there is no room.
    pub fn push(&mut self, access: Access) {
        let index = self.number as usize % KEPT;
        match self.ring.get_mut(index) {
            Some(old) => *old = access,
            None => self.ring.push(access),
        }
        self.number = self.number.wrapping_add(1);
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

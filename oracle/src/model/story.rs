// SPDX-License-Identifier: GPL-2.0-or-later
//! The recent history of a line, as part of each finding.

use super::Access;

/// Number of accesses that are kept for each line.
const KEPT: usize = 8;

/// The last accesses that changed the state of a line. Accesses that changed nothing are left out, such as a load that
/// hits or another store to a dirty copy.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// A ring buffer once it is full. The oldest access is at `number % KEPT`.
    ring: Vec<Access>,
    number: u32,
}

impl Story {
    /// Adds an access and drops the oldest if the buffer is full. An access that repeats the last one, by the same
    /// instruction and in the same place, replaces it. Otherwise a loop over the line would fill the buffer.
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
            None => {
                // The stories of most lines are short, and there are many lines.
                if self.ring.len() == self.ring.capacity() {
                    self.ring.reserve_exact(self.ring.len().max(1));
                }
                self.ring.push(access);
            }
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

    /// Returns the accesses, oldest first.
    pub fn accesses(&self) -> Vec<Access> {
        let oldest = match self.ring.len() {
            KEPT => self.number as usize % KEPT,
            _ => 0,
        };
        let (newer, older) = self.ring.split_at(oldest);
        [older, newer].concat()
    }
}

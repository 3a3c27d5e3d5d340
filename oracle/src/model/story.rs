// SPDX-License-Identifier: GPL-2.0-or-later
//! The recent history of each line, as part of each finding.

use super::Access;

/// Maximum number of accesses that are kept for each line.
const KEPT: u8 = 8;

/// The accesses in the stories of all lines. One allocation for all of them is faster than one for each, and takes less
/// memory.
#[derive(Debug, Default)]
pub struct Stories {
    entries: Vec<Entry>,
}

/// An access in a story.
#[derive(Clone, Copy, Debug)]
struct Entry {
    access: Access,
    /// Index of the next entry of the same story. The newest is followed by the oldest.
    next: u32,
}

/// The last accesses that changed the state of a line. Accesses that changed nothing are left out, such as a load that
/// hits or another store to a dirty copy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Story {
    /// Index of the newest entry. Valid if there are entries.
    newest: u32,
    /// Number of entries, which form a ring.
    entries: u8,
    /// Number of accesses, which are in the newest entries.
    accesses: u8,
}

impl Story {
    /// Removes all accesses. The entries stay, for new accesses.
    pub fn clear(&mut self) {
        self.accesses = 0;
    }
}

impl Stories {
    /// Removes all accesses. Existing stories are invalid after that.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Adds an access to a story and drops its oldest if the story is full. An access that repeats the last one, by the
    /// same instruction and in the same place, replaces it. Otherwise a loop over the line would fill the story.
    pub fn push(&mut self, story: &mut Story, access: Access) {
        if story.accesses > 0 {
            let last = &mut self.entries[story.newest as usize].access;
            if (last.op, last.place, last.pc) == (access.op, access.place, access.pc) {
                *last = access;
                return;
            }
        }
        if story.accesses < story.entries || story.entries == KEPT {
            story.newest = self.entries[story.newest as usize].next;
            self.entries[story.newest as usize].access = access;
        } else {
            let index = self.entries.len() as u32;
            let next = match story.entries {
                0 => index,
                _ => std::mem::replace(&mut self.entries[story.newest as usize].next, index),
            };
            self.entries.push(Entry { access, next });
            story.newest = index;
            story.entries += 1;
        }
        story.accesses = (story.accesses + 1).min(KEPT);
    }

    /// Returns the accesses of a story, oldest first.
    pub fn accesses(&self, story: Story) -> Vec<Access> {
        let mut at = story.newest as usize;
        let ring = (0..story.entries).map(|_| {
            at = self.entries[at].next as usize;
            self.entries[at].access
        });
        ring.skip((story.entries - story.accesses).into()).collect()
    }
}

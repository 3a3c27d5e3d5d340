// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ordinary shared memory of the case and all its processes: steps, the phase of each world, and the stamps that owners
//! have stored.

use sys::{Mapping, Prot, Sharing, fence, page_size};

use super::layout::{Layout, SLOTS, Stamp};

/// Workers of a world that count steps.
pub(super) const MAX_WORKERS: usize = 32;

/// 4-byte words of a world before its stamps: the phase, then the steps.
const HEAD: usize = 1 + MAX_WORKERS;

/// Stage of a world, from its start to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// All processes work.
    Run,
    /// Clients exit.
    ClientsEnd,
    /// The server unmaps its own mappings and ends its assistant, and goes on serving.
    ServerRests,
    /// The keeper checks all pages and exits.
    KeeperEnds,
    /// The server exits.
    ServerEnds,
}

impl Phase {
    const ALL: [Phase; 5] =
        [Phase::Run, Phase::ClientsEnd, Phase::ServerRests, Phase::KeeperEnds, Phase::ServerEnds];
}

/// Place of a stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) page: usize,
    pub(super) slot: usize,
}

impl Spot {
    /// Returns the byte of the stamp in its page.
    pub(super) fn byte(self) -> usize {
        // Not a multiple of the distance, so that the first stamp is not at the first byte.
        self.slot * (page_size() / SLOTS) + 4 * (self.slot + 1)
    }
}

/// The shared memory.
#[derive(Debug)]
pub(super) struct Board {
    memory: Mapping,
    words_per_world: usize,
}

impl Board {
    pub(super) fn new(worlds: usize, pages: usize) -> sys::Result<Board> {
        let words_per_world = HEAD + 2 * SLOTS * pages;
        let len = (worlds * words_per_world * 4).next_multiple_of(page_size());
        let file = sys::memfd("board", len as u64)?;
        let memory = Mapping::of(&file, 0, len, Prot::ReadWrite, Sharing::Shared)?;
        Ok(Board { memory, words_per_world })
    }

    pub(super) fn phase(&self, world: usize) -> Phase {
        Phase::ALL[self.memory.load_acquire(self.word(world, 0)) as usize]
    }

    pub(super) fn set_phase(&self, world: usize, phase: Phase) {
        self.memory.store_release(self.word(world, 0), phase as u32);
    }

    /// Counts a step of a worker.
    pub(super) fn count_step(&self, world: usize, worker: usize) {
        let at = self.word(world, 1 + worker);
        self.memory.store_release(at, self.memory.load_acquire(at).wrapping_add(1));
    }

    pub(super) fn steps(&self, world: usize, worker: usize) -> u32 {
        self.memory.load_acquire(self.word(world, 1 + worker))
    }

    /// Forgets all stamps of a world.
    pub(super) fn forget_stamps(&self, layout: &Layout) {
        for index in 0..2 * SLOTS * layout.pages {
            self.memory.store_release(self.word(layout.world, HEAD + index), 0);
        }
    }

    /// Returns the last stamp that was certainly stored. A page read after this call shows it or a later one.
    pub(super) fn stored(&self, layout: &Layout, spot: Spot) -> Stamp {
        let stamp = self.memory.load_acquire(self.stamps(layout, spot) + 4);
        fence();
        stamp
    }

    /// Returns the last stamp that may have been stored. A page read before this call shows it or an earlier one.
    pub(super) fn announced(&self, layout: &Layout, spot: Spot) -> Stamp {
        fence();
        self.memory.load_acquire(self.stamps(layout, spot))
    }

    /// Announces a stamp. The owner calls this before it stores the stamp.
    pub(super) fn announce(&self, layout: &Layout, spot: Spot, stamp: Stamp) {
        self.memory.store_release(self.stamps(layout, spot), stamp);
        fence();
    }

    /// Confirms that a stamp is stored. The owner calls this after it has stored the stamp.
    pub(super) fn confirm(&self, layout: &Layout, spot: Spot, stamp: Stamp) {
        fence();
        self.memory.store_release(self.stamps(layout, spot) + 4, stamp);
    }

    fn stamps(&self, layout: &Layout, spot: Spot) -> usize {
        self.word(layout.world, HEAD + 2 * (spot.page * SLOTS + spot.slot))
    }

    fn word(&self, world: usize, index: usize) -> usize {
        4 * (world * self.words_per_world + index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worlds_do_not_overlap() {
        let board = Board::new(2, 4).unwrap();
        let layouts = [0, 1].map(|world| Layout { world, pages: 4, workers: 1, lazy: false });
        let spot = Spot { page: 3, slot: SLOTS - 1 };
        board.announce(&layouts[0], spot, 5);
        board.confirm(&layouts[0], spot, 4);
        board.set_phase(1, Phase::KeeperEnds);
        board.count_step(1, MAX_WORKERS - 1);
        assert_eq!((board.announced(&layouts[0], spot), board.stored(&layouts[0], spot)), (5, 4));
        assert_eq!((board.phase(0), board.phase(1)), (Phase::Run, Phase::KeeperEnds));
        assert_eq!((board.steps(1, MAX_WORKERS - 1), board.steps(0, MAX_WORKERS - 1)), (1, 0));
        assert_eq!(board.announced(&layouts[1], Spot { page: 0, slot: 0 }), 0);
        board.forget_stamps(&layouts[0]);
        assert_eq!(board.stored(&layouts[0], spot), 0);
    }

    #[test]
    fn stamps_are_aligned_and_within_their_page() {
        for slot in 0..SLOTS {
            let byte = Spot { page: 0, slot }.byte();
            assert!(byte % 4 == 0 && byte + 4 <= page_size(), "{byte}");
        }
    }
}

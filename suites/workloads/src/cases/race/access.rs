// SPDX-License-Identifier: MIT OR Apache-2.0
//! Accesses to a page, and what every order of events allows them to find.

use fastrand::Rng;
use sys::{Errno, Fd, Mapping, OpenFlags, page_size};

use super::board::{Board, Spot};
use super::layout::{Class, Layout, SLOTS, Stamp};

/// Reason why a worker stops before the end of its world.
#[derive(Debug)]
pub(super) enum Stop {
    /// The server has died.
    ConnectionEnded,
    /// Something happened that must not happen.
    Failed(String),
}

impl From<sys::Error> for Stop {
    fn from(error: sys::Error) -> Stop {
        match has_ended(error.errno) {
            true => Stop::ConnectionEnded,
            false => Stop::Failed(error.to_string()),
        }
    }
}

/// Returns true if the error number means that the server has died.
fn has_ended(errno: Errno) -> bool {
    matches!(errno, Errno::ENODEV | Errno::ECONNABORTED | Errno::ENOTCONN)
}

/// Opens the file of a server. A device is gone once its server has died.
pub(super) fn open(path: &str, flags: OpenFlags) -> Result<Fd, Stop> {
    match Fd::open(path, flags) {
        Err(error) if error.errno == Errno::ENOENT => Err(Stop::ConnectionEnded),
        opened => Ok(opened?),
    }
}

/// Accepts these errors of a system call, which limits or other processes can cause.
pub(super) fn tolerate<T>(result: sys::Result<T>, errors: &[Errno]) -> Result<Option<T>, Stop> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if errors.contains(&error.errno) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Way to access memory.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way<'s> {
    /// The process loads and stores. If the kernel cannot provide the page, the process dies of SIGBUS.
    Direct,
    /// The kernel loads and stores on behalf of the process. If it cannot provide the page, the access is skipped.
    BySystemCall(&'s Scratch),
}

/// File that the kernel copies words from and to.
#[derive(Debug)]
pub(super) struct Scratch(Fd);

impl Scratch {
    pub(super) fn new() -> sys::Result<Scratch> {
        sys::memfd("scratch", 4).map(Scratch)
    }

    fn load(&self, map: &Mapping, at: usize) -> sys::Result<u32> {
        map.write_to(at, 4, &self.0, Some(0))?;
        let mut bytes = [0; 4];
        self.0.read_at(&mut bytes, 0)?;
        Ok(word(bytes))
    }

    fn store(&self, map: &Mapping, at: usize, value: u32) -> sys::Result<()> {
        let bytes = match sys::big_endian() {
            true => value.to_be_bytes(),
            false => value.to_le_bytes(),
        };
        self.0.write_at(&bytes, 0)?;
        map.read_from(at, 4, &self.0, Some(0))
    }
}

/// Returns the word in bytes of this machine's memory.
pub(super) fn word(bytes: [u8; 4]) -> u32 {
    match sys::big_endian() {
        true => u32::from_be_bytes(bytes),
        false => u32::from_le_bytes(bytes),
    }
}

/// Mapped part of the file.
#[derive(Debug)]
pub(super) struct View {
    pub(super) map: Mapping,
    /// Number of its first page in the file.
    pub(super) first: usize,
    pub(super) writable: bool,
    /// True if a forked process has it too.
    pub(super) inherited: bool,
}

impl View {
    pub(super) fn new(map: Mapping, first: usize, writable: bool) -> View {
        View { map, first, writable, inherited: true }
    }

    pub(super) fn pages(&self) -> usize {
        self.map.len() / page_size()
    }

    pub(super) fn shows(&self, page: usize) -> bool {
        (self.first..self.first + self.pages()).contains(&page)
    }

    fn byte(&self, spot: Spot) -> usize {
        (spot.page - self.first) * page_size() + spot.byte()
    }

    /// Returns true if the kernel can provide the page.
    pub(super) fn is_there(&self, spot: Spot, scratch: &Scratch) -> Result<bool, Stop> {
        Ok(self.load(spot, Way::BySystemCall(scratch))?.is_some())
    }

    /// Loads the stamp at `spot`. Returns `None` if the kernel could not provide the page.
    fn load(&self, spot: Spot, way: Way) -> Result<Option<Stamp>, Stop> {
        match way {
            Way::Direct => Ok(Some(self.map.load(self.byte(spot)))),
            Way::BySystemCall(scratch) => {
                tolerate(scratch.load(&self.map, self.byte(spot)), &[Errno::EFAULT])
            }
        }
    }
}

/// Draws a place in a page.
pub(super) fn draw_spot(rng: &mut Rng, page: usize) -> Spot {
    Spot { page, slot: rng.usize(0..SLOTS) }
}

/// Checks stamps against the board.
#[derive(Clone, Copy)]
pub(super) struct Checker<'a> {
    pub(super) board: &'a Board,
    pub(super) layout: Layout,
    /// True for the server and its assistant. They find zeros in a page that is being filled, for which clients wait.
    pub(super) by_server: bool,
}

impl Checker<'_> {
    /// Loads the stamp at `spot`, which any process can own, and checks it.
    pub(super) fn check(&self, view: &View, spot: Spot, way: Way) -> Result<(), Stop> {
        let low = self.board.stored(&self.layout, spot);
        let check = || match view.load(spot, way)? {
            Some(found) => self.check_found(spot, low, found),
            None => Ok(()),
        };
        match (check(), way) {
            // The owner may have stored while the kernel copied the word byte by byte. A store that is lost stays lost.
            (Err(Stop::Failed(_)), Way::BySystemCall(_)) => check(),
            (checked, _) => checked,
        }
    }

    /// Checks a stamp that was found in a page. `low` is the stamp that had been stored before.
    pub(super) fn check_found(&self, spot: Spot, low: Stamp, found: Stamp) -> Result<(), Stop> {
        let layout = &self.layout;
        let high = self.board.announced(layout, spot);
        let place = (spot.page, spot.slot);
        let between = || layout.between(place, low, found, high);
        let torn = || layout.is_torn(spot.page, spot.slot, found);
        let holds = match (layout.class(spot.page), layout.lazy) {
            (Class::Kept, false) => between(),
            (Class::Kept, true) => between() || (self.by_server && torn()),
            // A page that was freed has zeros, and a page that the server fills has what it last saved. Either can happen
            // in the middle of an access by system call.
            (Class::Loose, false) => between() || torn(),
            (Class::Loose, true) | (Class::Server, _) => {
                layout.belongs(spot.page, spot.slot, found) || torn()
            }
        };
        match holds {
            true => Ok(()),
            false => Err(Stop::Failed(format!(
                "page {}, byte {:#x}: expected a stamp from {low:#x} to {high:#x}, found {found:#x}",
                spot.page,
                spot.byte()
            ))),
        }
    }

    /// Checks the stamp of a page that this worker owns, and stores the next one.
    pub(super) fn restamp(&self, view: &View, spot: Spot, way: Way) -> Result<(), Stop> {
        let (board, layout) = (self.board, &self.layout);
        // An earlier process of this worker may have been killed between announcing a stamp and confirming it.
        let (low, announced) = (board.stored(layout, spot), board.announced(layout, spot));
        let Some(found) = view.load(spot, way)? else {
            return Ok(());
        };
        self.check_found(spot, low, found)?;
        if found == announced {
            board.confirm(layout, spot, announced);
        }
        let next = layout.successor(spot.page, spot.slot, announced);
        board.announce(layout, spot, next);
        let stored = match way {
            Way::Direct => {
                view.map.store(view.byte(spot), next);
                true
            }
            Way::BySystemCall(scratch) => {
                let result = scratch.store(&view.map, view.byte(spot), next);
                tolerate(result, &[Errno::EFAULT])?.is_some()
            }
        };
        match stored {
            true => board.confirm(layout, spot, next),
            // `found` is still there.
            false => board.announce(layout, spot, announced),
        }
        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0-or-later
//! The model: which copies of each line of memory a virtually indexed cache may hold.
//!
//! The cache is infinite, so that no eviction ever hides a flush that is missing; and a dirty copy may be written back at
//! any time. So a finding says "may be stale", not "was". What is dirty is a whole line, whichever byte was stored: no
//! correct kernel leaves a line dirty in one place while it is used in another. What is old in a copy is told by byte.
//!
//! The copies of a line are told apart by their [`Place`]. With physical tags that is the colour of the virtual address,
//! with virtual tags the address itself. An access without a place goes round the cache.

mod recent;
#[cfg(test)]
mod reference;
mod story;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use oracle_wire::config::{Cache, CacheKind, WritePolicy};

pub use oracle_wire::message::{By, Kind, Op};
use recent::{Recent, Stores};
pub use story::Story;

/// One access of the guest, or one thing done to its cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Its number among those the model was told of.
    pub at: u64,
    /// What it does.
    pub op: Op,
    /// Who made it.
    pub by: By,
    /// The address space it is in, where that is known.
    pub space: Option<u64>,
    /// The virtual address of its first byte.
    pub address: u64,
    /// The physical address of its first byte.
    pub physical: u64,
    /// Bytes.
    pub size: u64,
    /// Where in the cache it looks; `None` where it goes round it.
    pub place: Option<Place>,
    /// Whether a load brings in what is not there.
    pub brings_in: bool,
    /// The instruction that made it.
    pub pc: u64,
}

/// What tells the copies of a line apart.
pub type Place = u64;

/// Where in a cache accesses look.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// The bits of an address that matter,
    mask: u64,
    /// and how far the lowest of them is up.
    shift: u32,
}

impl Places {
    /// Of a cache, and pages of `page` bytes.
    pub fn new(cache: &Cache, page: u64) -> Places {
        let (mask, shift) = match cache.kind {
            CacheKind::Vipt => (cache.period - 1, page.trailing_zeros()),
            CacheKind::Vivt => (!(cache.line - 1), 0),
            CacheKind::Physical => (0, 0),
        };
        Places { mask, shift }
    }

    /// Where an access to `address` looks.
    pub fn of(self, address: u64) -> Place {
        (address & self.mask) >> self.shift
    }
}

/// What memory is divided into: pieces of a power of two of bytes. To divide by a number that is known to be one is much
/// quicker, and there are billions of accesses.
#[derive(Clone, Copy, Debug)]
struct Pieces {
    shift: u32,
}

impl Pieces {
    fn of(bytes: u64) -> Pieces {
        Pieces {
            shift: bytes.trailing_zeros(),
        }
    }

    fn bytes(self) -> u64 {
        1 << self.shift
    }

    /// The number of the piece that an address is in.
    fn number(self, address: u64) -> u64 {
        address >> self.shift
    }

    /// The address where a piece begins.
    fn start(self, number: u64) -> u64 {
        number << self.shift
    }

    /// How far an address is from the start of its piece.
    fn offset(self, address: u64) -> u64 {
        address & (self.bytes() - 1)
    }

    /// The address behind the piece that an address is in.
    fn end(self, address: u64) -> u64 {
        address - self.offset(address) + self.bytes()
    }
}

/// An access that hardware may answer with stale data, or with which it may lose a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub kind: Kind,
    /// The physical address of the line.
    pub line: u64,
    /// The store that `later` may miss, or destroy.
    pub earlier: Access,
    /// The access.
    pub later: Access,
    /// What was done to the line, up to `later`.
    pub story: Vec<Access>,
}

/// What a cache may hold of all of memory.
#[derive(Debug)]
pub struct Model {
    write: WritePolicy,
    line: Pieces,
    page: Pieces,
    /// Lines by page; a page that nobody touched is not there.
    pages: HashMap<u64, Box<[Line]>, BuildHasherDefault<PageHasher>>,
    touched: Touched,
    /// How often the whole cache was flushed, and the last time.
    flushes: u32,
    flushed: Option<Access>,
    recent: Recent,
}

/// What a cache may hold of one line.
#[derive(Clone, Debug, Default)]
struct Line {
    copies: Vec<Copy>,
    /// The store that was dropped before memory had it.
    dropped: Option<Box<Access>>,
    /// [`Model::flushes`] when `copies` were right.
    flushes: u32,
    story: Story,
}

#[derive(Clone, Copy, Debug)]
struct Copy {
    place: Place,
    state: State,
    /// Dirty: the last store to it. Stale: the last store elsewhere. Clean: who brought it in.
    cause: Access,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// As memory.
    Clean,
    /// Newer than memory.
    Dirty,
    /// Some bytes may be older than memory.
    Stale(Bytes),
}

/// Some of the bytes of a line: bit n for byte n.
type Bytes = u64;

/// Bytes of the longest access that QEMU tells of as one: `QEMU_PLUGIN_MEM_VALUE_U128` of its header is the last.
const LONGEST_ACCESS: u64 = 16;

/// Bytes in the longest line that can be modelled.
pub const LONGEST_LINE: u64 = Bytes::BITS as u64;

impl Model {
    /// An empty cache.
    pub fn new(cache: &Cache, page: u64) -> Model {
        Model {
            write: cache.write,
            line: Pieces::of(cache.line),
            page: Pieces::of(page),
            pages: HashMap::default(),
            touched: Touched::default(),
            flushes: 0,
            flushed: None,
            recent: Recent::default(),
        }
    }

    /// Whether a load finds nothing and changes nothing, or a store no more than who was last, which is remembered. Most
    /// accesses of a guest are such, and this is quicker than [`Model::access`]. `access` is asked for where it matters.
    pub fn is_old_news(
        &mut self,
        store: bool,
        physical: u64,
        place: Place,
        access: impl Fn() -> Access,
    ) -> bool {
        let line = self.line.number(physical);
        let left = self.line.end(physical) - physical;
        if left < LONGEST_ACCESS && left < access().size {
            return false;
        }
        match store {
            true => self.recent.stores(line, place, access),
            false => self.recent.loads(line, place),
        }
    }

    /// Does `access`, and hands each finding it makes to `found`: one a line that it touches at most. What of it lies
    /// beyond the page is left out: its physical address is not known.
    pub fn access(&mut self, access: Access, mut found: impl FnMut(Finding)) {
        let first = access.physical - self.line.offset(access.physical);
        let end = access.physical + access.size.max(1);
        let end = end.min(self.page.end(access.physical));
        let mut at = first;
        while at < end {
            self.line_access(at, &access, &mut found);
            at = self.line.end(at);
        }
    }

    fn line_access(&mut self, at: u64, access: &Access, found: &mut impl FnMut(Finding)) {
        let number = self.line.number(at);
        let untold = self.recent.take(number);
        let (bytes, write) = (bytes(at, self.line.bytes(), access), self.write);
        let (flushes, flushed) = (self.flushes, self.flushed);
        let line = self.line_at(at);
        if line.flushes != flushes {
            line.catch_up(flushes, flushed);
        }
        line.tell(untold);
        let found_now = line.apply(access, bytes, write);
        let settled = line.settled(access, write);
        if let (Some(stores), Some(place)) = (settled, access.place) {
            if let Some((other, last)) = self.recent.put(number, place, stores) {
                let other = self.line_at(self.line.start(other));
                other.tell(Some(last));
            }
        }
        let Some((kind, earlier)) = found_now else {
            return;
        };
        found(Finding {
            kind,
            line: at,
            earlier,
            later: *access,
            story: self.line_at(at).story.accesses(),
        });
    }

    /// The line at a physical address.
    fn line_at(&mut self, physical: u64) -> &mut Line {
        let page = self.page.number(physical);
        let index = self.line.number(self.page.offset(physical));
        let lines = self.pages.entry(page).or_insert_with(|| {
            self.touched.put(page);
            let lines = self.line.number(self.page.bytes());
            vec![Line::default(); lines as usize].into()
        });
        &mut lines[index as usize]
    }

    /// The line at a physical address starts anew: whatever was in the cache of it is of no meaning any more.
    pub fn start_anew(&mut self, physical: u64) {
        let page = self.page.number(physical);
        if !self.touched.may_have(page) {
            return;
        }
        self.recent.take(self.line.number(physical));
        if let Some(lines) = self.pages.get_mut(&page) {
            let index = self.line.number(self.page.offset(physical));
            lines[index as usize] = Line {
                flushes: self.flushes,
                ..Line::default()
            };
        }
    }

    /// All dirty copies are written to memory, and all copies dropped.
    pub fn flush_all(&mut self, access: Access) {
        self.recent.clear();
        self.flushes = self.flushes.wrapping_add(1);
        self.flushed = Some(access);
    }

    /// All dirty copies are written to memory.
    pub fn clean_all(&mut self) {
        self.recent.clear();
        let flushes = self.flushes;
        let lines = self.pages.values_mut().flatten();
        for line in lines.filter(|line| line.flushes == flushes) {
            for copy in &mut line.copies {
                copy.clean();
            }
        }
    }
}

/// The bytes that `access` touches of the line at `at`.
fn bytes(at: u64, line: u64, access: &Access) -> Bytes {
    let start = access.physical.max(at) - at;
    let end = (access.physical + access.size.max(1)).min(at + line) - at;
    Bytes::MAX >> (LONGEST_LINE - (end - start)) << start
}

impl State {
    /// Whether one of the bytes may be old.
    fn is_old(self, bytes: Bytes) -> bool {
        matches!(self, State::Stale(old) if old & bytes != 0)
    }
}

impl Copy {
    fn clean(&mut self) {
        if self.state == State::Dirty {
            self.state = State::Clean;
        }
    }

    /// The bytes were stored here.
    fn renew(&mut self, bytes: Bytes) {
        if let State::Stale(old) = self.state {
            self.state = match old & !bytes {
                0 => State::Clean,
                old => State::Stale(old),
            };
        }
    }

    /// The bytes were stored elsewhere, by `access`.
    fn outdate(&mut self, bytes: Bytes, access: &Access) {
        let old = match self.state {
            State::Dirty => return,
            State::Clean => 0,
            State::Stale(old) => old,
        };
        self.state = State::Stale(old | bytes);
        self.cause = *access;
    }
}

impl Line {
    /// The whole cache was flushed since the line was looked at.
    fn catch_up(&mut self, flushes: u32, flushed: Option<Access>) {
        self.flushes = flushes;
        if !self.copies.is_empty() {
            self.copies.clear();
            self.story.extend(flushed);
        }
    }

    /// The last store to the one copy there is, which was not told at once.
    fn tell(&mut self, untold: Option<Access>) {
        if let (Some(last), [only]) = (untold, &mut self.copies[..]) {
            only.cause = last;
        }
    }

    /// Whether loads from the place of `access` change nothing from now on; if so, what stores do.
    fn settled(&self, access: &Access, write: WritePolicy) -> Option<Stores> {
        let only = match &self.copies[..] {
            [only] if access.place == Some(only.place) && self.dropped.is_none() => only.state,
            _ => return None,
        };
        match only {
            State::Stale(_) => None,
            State::Clean if write == WritePolicy::Through => Some(Stores::Nothing),
            State::Dirty => Some(Stores::Last),
            State::Clean => Some(Stores::More),
        }
    }

    fn apply(
        &mut self,
        access: &Access,
        bytes: Bytes,
        write: WritePolicy,
    ) -> Option<(Kind, Access)> {
        match access.op {
            Op::Load => self.load(access, bytes),
            Op::Store => self.store(access, bytes, write),
            Op::Clean | Op::Invalidate | Op::Flush => {
                self.maintain(access);
                None
            }
        }
    }

    fn load(&mut self, access: &Access, bytes: Bytes) -> Option<(Kind, Access)> {
        if let Some(dropped) = &self.dropped {
            let earlier = **dropped;
            self.story.push(*access);
            return Some((Kind::LostWrite, earlier));
        }
        // By far the most frequent, and nothing changes.
        if let [only] = &self.copies[..] {
            if access.place == Some(only.place) && !only.state.is_old(bytes) {
                return None;
            }
        }
        if let Some(earlier) = self.dirty_elsewhere(access.place) {
            self.story.push(*access);
            if let (Some(place), true) = (access.place, access.brings_in) {
                // What came in may be what memory had before.
                self.put(place, State::Stale(Bytes::MAX), earlier);
            }
            return Some((Kind::DirtyElsewhere, earlier));
        }
        let place = access.place?;
        match self.copy(place) {
            Some(copy) if copy.state.is_old(bytes) => {
                let earlier = copy.cause;
                self.story.push(*access);
                Some((Kind::StaleCopy, earlier))
            }
            Some(_) => None,
            None if !access.brings_in => None,
            None => {
                self.story.push(*access);
                self.put(place, State::Clean, *access);
                None
            }
        }
    }

    fn store(
        &mut self,
        access: &Access,
        bytes: Bytes,
        write: WritePolicy,
    ) -> Option<(Kind, Access)> {
        self.dropped = None;
        // By far the most frequent, and nothing changes but who was last.
        if let [only] = &mut self.copies[..] {
            let here = access.place == Some(only.place);
            if here && only.state == State::Dirty {
                only.cause = *access;
                return None;
            }
            if here && only.state == State::Clean && write == WritePolicy::Through {
                return None;
            }
        }
        self.story.push(*access);
        let mut lost = self.dirty_elsewhere(access.place);
        for copy in &mut self.copies {
            if Some(copy.place) == access.place {
                copy.renew(bytes);
                // What is left of old data will be written back over what is newer.
                if write == WritePolicy::Back && matches!(copy.state, State::Stale(_)) {
                    lost = lost.or(Some(copy.cause));
                }
            } else {
                copy.outdate(bytes, access);
            }
        }
        if let (Some(place), WritePolicy::Back) = (access.place, write) {
            self.put(place, State::Dirty, *access);
        }
        lost.map(|earlier| (Kind::LostWrite, earlier))
    }

    /// Cleans, drops or both the copy at the access's place.
    fn maintain(&mut self, access: &Access) {
        let here = |copy: &Copy| Some(copy.place) == access.place;
        let Some(index) = self.copies.iter().position(here) else {
            return;
        };
        self.story.push(*access);
        let copy = &mut self.copies[index];
        if access.op == Op::Clean {
            return copy.clean();
        }
        let copy = self.copies.swap_remove(index);
        if access.op == Op::Invalidate && copy.state == State::Dirty {
            self.dropped = Some(Box::new(copy.cause));
        }
    }

    fn copy(&self, place: Place) -> Option<&Copy> {
        self.copies.iter().find(|copy| copy.place == place)
    }

    /// The last store to a dirty copy in another place.
    fn dirty_elsewhere(&self, place: Option<Place>) -> Option<Access> {
        let mut copies = self.copies.iter();
        let copy = copies.find(|copy| copy.state == State::Dirty && Some(copy.place) != place)?;
        Some(copy.cause)
    }

    fn put(&mut self, place: Place, state: State, cause: Access) {
        let copy = Copy {
            place,
            state,
            cause,
        };
        match self.copies.iter_mut().find(|copy| copy.place == place) {
            Some(old) => *old = copy,
            None => self.copies.push(copy),
        }
    }
}

/// Which pages somebody touched: says of some that nobody did. Most of what the kernel stores goes to such pages, and to
/// look here is quicker than to look for them.
#[derive(Debug)]
struct Touched(Box<[u64; 1 << 10]>);

impl Default for Touched {
    fn default() -> Touched {
        Touched(Box::new([0; 1 << 10]))
    }
}

impl Touched {
    fn put(&mut self, page: u64) {
        let (index, bit) = Touched::bit(page);
        self.0[index] |= bit;
    }

    fn may_have(&self, page: u64) -> bool {
        let (index, bit) = Touched::bit(page);
        self.0[index] & bit != 0
    }

    /// Pages that are a multiple of 65536 apart share a bit.
    fn bit(page: u64) -> (usize, u64) {
        (page as usize / 64 % (1 << 10), 1 << (page % 64))
    }
}

/// Spreads page numbers over a table: there are millions of look-ups, and nobody chooses the numbers to do harm.
#[derive(Default)]
struct PageHasher(u64);

impl Hasher for PageHasher {
    fn write(&mut self, _: &[u8]) {
        unreachable!("page numbers are hashed, and nothing else");
    }

    fn write_u64(&mut self, number: u64) {
        // The golden ratio, as in Fibonacci hashing: Knuth, The Art of Computer Programming, volume 3, 6.4.
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

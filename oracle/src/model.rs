// SPDX-License-Identifier: GPL-2.0-or-later
//! The cache model: which copies of each line of memory a virtually indexed cache may hold.
//!
//! The modelled cache is infinite, so an eviction never hides a missing flush, and a dirty copy may be written back at
//! any time. A finding therefore says "may be stale", not "was stale". A line is dirty as a whole, whichever byte was
//! stored: no correct kernel leaves a line dirty in one place and uses it in another. Staleness is tracked by byte.
//!
//! The copies of a line differ by their [`Place`]: the colour of the virtual address with physical tags, the address
//! itself with virtual tags. An access without a place bypasses the cache.
//!
//! This module imports nothing else of the crate.

mod fast_path;
mod loads;
#[cfg(test)]
mod reference;
mod story;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use oracle_wire::config::{Cache, CacheKind, WritePolicy};

use fast_path::FastPath;
pub use fast_path::StoreEffect;
pub use oracle_wire::message::{By, FindingKind, Op};
use story::{Stories, Story};

/// An access of the guest, or a cache maintenance operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Sequence number in the window.
    pub at: u64,
    /// The operation.
    pub op: Op,
    /// The code that made the access.
    pub by: By,
    /// Physical address of the page tables in use, if known.
    pub tables: Option<u64>,
    /// The process whose address it is, if flushes for single processes matter.
    pub process: AddressSpace,
    /// Virtual address of the first byte.
    pub address: u64,
    /// Physical address of the first byte.
    pub physical: u64,
    /// Size in bytes.
    pub size: u64,
    /// Place in the cache. `None` if the access bypasses the cache.
    pub place: Option<Place>,
    /// True if a load that misses allocates the line.
    pub allocates: bool,
    /// Address of the instruction.
    pub pc: u64,
    /// The circumstances of the access.
    pub trace: Trace,
}

/// The circumstances of an access, which the model does not interpret: the number of a backtrace and that of a process.
/// Both are in one word, because there are millions of accesses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Trace(u32);

impl Trace {
    /// Neither is known.
    pub const NONE: Trace = Trace(0);

    /// Returns the trace of a backtrace and a process. 0 stands for an unknown one.
    #[inline(always)]
    pub fn new(frames: u16, process: u16) -> Trace {
        Trace((frames as u32) << 16 | process as u32)
    }

    /// Returns the number of the backtrace, or 0.
    pub fn frames(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// Returns the number of the process, or 0.
    pub fn process(self) -> u16 {
        self.0 as u16
    }
}

/// The address space of a process, for [`Model::flush_process`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressSpace(u8);

impl AddressSpace {
    /// No process, or one that does not matter.
    pub const NONE: AddressSpace = AddressSpace(0);

    /// Returns the address space with a number. The model does not distinguish spaces whose numbers differ by a multiple
    /// of 63.
    pub fn new(number: usize) -> AddressSpace {
        AddressSpace(1 + (number % 63) as u8)
    }

    /// Returns the set that contains this space, if there is one.
    fn set(self) -> u64 {
        match self {
            AddressSpace::NONE => 0,
            AddressSpace(number) => 1 << number,
        }
    }
}

/// Distinguishes the copies of a line.
pub type Place = u64;

/// Maps virtual addresses to places.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// Address bits that select the place.
    mask: u64,
    /// Position of the lowest of them.
    shift: u32,
}

impl Places {
    /// Returns the mapping for a cache and pages of `page` bytes.
    pub fn new(cache: &Cache, page: u64) -> Places {
        let (mask, shift) = match cache.kind {
            CacheKind::Vipt => (cache.period - 1, page.trailing_zeros()),
            CacheKind::Vivt => (!(cache.line - 1), 0),
            CacheKind::Physical => (0, 0),
        };
        Places { mask, shift }
    }

    /// Returns the place of a virtual address.
    pub fn of(self, address: u64) -> Place {
        (address & self.mask) >> self.shift
    }
}

/// Division of memory into chunks of a power of two of bytes. A shift is much faster than a division, and a guest makes
/// billions of accesses.
#[derive(Clone, Copy, Debug)]
struct Chunks {
    shift: u32,
}

impl Chunks {
    fn of(bytes: u64) -> Chunks {
        Chunks { shift: bytes.trailing_zeros() }
    }

    fn bytes(self) -> u64 {
        1 << self.shift
    }

    /// Returns the number of the chunk that contains an address.
    fn number(self, address: u64) -> u64 {
        address >> self.shift
    }

    /// Returns the first address of a chunk.
    fn start(self, number: u64) -> u64 {
        number << self.shift
    }

    /// Returns the offset of an address within its chunk.
    fn offset(self, address: u64) -> u64 {
        address & (self.bytes() - 1)
    }

    /// Returns the first address after the chunk that contains an address.
    fn end(self, address: u64) -> u64 {
        address - self.offset(address) + self.bytes()
    }
}

/// An access that hardware may answer with stale data, or that may lose a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Kind of error.
    pub kind: FindingKind,
    /// Physical address of the line.
    pub line: u64,
    /// The store that `later` may miss or destroy.
    pub earlier: Access,
    /// The access that is at risk.
    pub later: Access,
    /// Operations that changed the state of the line, up to `later`.
    pub story: Vec<Access>,
}

/// The possible content of the cache, for all of memory.
#[derive(Debug)]
pub struct Model {
    write: WritePolicy,
    pages: Pages,
    stories: Stories,
    flushes: Flushes,
    fast_path: FastPath,
}

/// Flushes of the whole cache, or of all that a process uses. Each line catches up at the next access to it.
#[derive(Debug, Default)]
struct Flushes {
    /// Number of flushes.
    count: u32,
    /// Value of `count` after the last flush of the whole cache.
    whole: u32,
    /// That flush.
    last_whole: Option<Access>,
    /// Flushes for a process since then, each with the value of `count` after it.
    of_processes: Vec<(u32, Access)>,
}

/// Lines by page. Holds only pages that were accessed.
#[derive(Debug)]
struct Pages {
    line: Chunks,
    page: Chunks,
    pages: HashMap<u64, Page, BuildHasherDefault<NumberHasher>>,
    filter: PageFilter,
    /// Bits of a place that distinguish mappings of a page.
    mapping: u64,
    /// Lines of pages that are no longer in use. Allocating them again would take longer than most accesses to them.
    spare: Vec<Box<[Line]>>,
}

#[derive(Debug)]
struct Page {
    lines: Box<[Line]>,
    users: Users,
}

/// The processes that have used a page, for each place at which it is mapped. A process that is flushed has mapped the
/// whole page, also the lines that it has not used and in which the kernel has stored something for it.
#[derive(Debug, Default)]
struct Users(Vec<(Place, u64)>);

impl Users {
    fn insert(&mut self, place: Place, process: AddressSpace) {
        match self.0.iter_mut().find(|(known, _)| *known == place) {
            Some((_, processes)) => *processes |= process.set(),
            None => self.0.push((place, process.set())),
        }
    }

    fn contains(&self, place: Place, process: AddressSpace) -> bool {
        let known = self.0.iter().find(|(known, _)| *known == place);
        known.is_some_and(|(_, processes)| processes & process.set() != 0)
    }
}

impl Pages {
    /// Returns the line at a physical address, and the users of its page.
    fn line_at(&mut self, physical: u64) -> (&mut Line, &mut Users) {
        let page = self.page.number(physical);
        let index = self.line.number(self.page.offset(physical));
        let Page { lines, users } = self.pages.entry(page).or_insert_with(|| {
            self.filter.insert(page);
            let lines = match self.spare.pop() {
                Some(mut lines) => {
                    lines.iter_mut().for_each(Line::restart);
                    lines
                }
                None => {
                    let lines = self.line.number(self.page.bytes());
                    vec![Line::default(); lines as usize].into()
                }
            };
            Page { lines, users: Users::default() }
        });
        (&mut lines[index as usize], users)
    }

    /// Returns the line at a physical address, if its page was accessed.
    fn find(&mut self, physical: u64) -> Option<&mut Line> {
        let page = self.page.number(physical);
        if !self.filter.may_contain(page) {
            return None;
        }
        let index = self.line.number(self.page.offset(physical));
        self.pages.get_mut(&page).map(|page| &mut page.lines[index as usize])
    }
}

/// The possible copies of one line.
#[derive(Clone, Debug, Default)]
struct Line {
    copies: Vec<Copy>,
    /// A store that was dropped before memory received it.
    dropped: Option<Box<Access>>,
    /// Value of [`Flushes::count`] for which `copies` are valid.
    flushes: u32,
    story: Story,
}

#[derive(Clone, Copy, Debug)]
struct Copy {
    place: Place,
    state: State,
    /// Dirty: the last store to the copy. Stale: the last store elsewhere. Clean: the access that allocated the copy.
    cause: Access,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Equal to memory.
    Clean,
    /// Newer than memory.
    Dirty,
    /// Some bytes may be older than memory.
    Stale(Bytes),
}

/// A set of bytes of a line: bit n for byte n.
type Bytes = u64;

/// Bytes in the longest line that can be modelled.
pub const LONGEST_LINE: u64 = Bytes::BITS as u64;

impl Model {
    /// Returns the model of an empty cache.
    pub fn new(cache: &Cache, page: u64) -> Model {
        Model {
            write: cache.write,
            pages: Pages {
                line: Chunks::of(cache.line),
                page: Chunks::of(page),
                pages: HashMap::default(),
                filter: PageFilter::default(),
                mapping: match cache.kind {
                    CacheKind::Vivt => !(page - 1),
                    _ => Place::MAX,
                },
                spare: Vec::new(),
            },
            stories: Stories::default(),
            flushes: Flushes::default(),
            fast_path: FastPath::new(cache, page),
        }
    }

    /// Empties the cache, and forgets everything.
    pub fn restart(&mut self) {
        self.fast_path.clear();
        self.flushes = Flushes::default();
        self.stories.clear();
        let Pages { pages, filter, spare, .. } = &mut self.pages;
        spare.extend(pages.drain().map(|(_, page)| page.lines));
        *filter = PageFilter::default();
    }

    /// Returns the effect that a store of `size` bytes from `place` would have, if the line is settled: the store causes
    /// no finding then, and a load from there changes nothing. Most accesses of a guest go to settled lines, and this
    /// function is much faster than [`Model::access`].
    #[inline(always)]
    pub fn effect(&self, physical: u64, size: u64, place: Place) -> Option<StoreEffect> {
        let line = self.pages.line;
        let effect = self.fast_path.effect(line.number(physical), place)?;
        (line.offset(physical) + size <= line.bytes()).then_some(effect)
    }

    /// Returns true if [`Model::remember_load`] has recorded a load of this kind from the line of an address, and nothing
    /// has changed since then: the load changes nothing.
    #[inline(always)]
    pub fn remembers_load(&self, address: u64, kind: u32) -> bool {
        self.fast_path.loads.contains(address, kind)
    }

    /// Records a load from a settled line, for which [`Model::effect`] returns an effect. `kind` must be the same only
    /// for loads with the same size and the same translation of addresses.
    #[inline(always)]
    pub fn remember_load(&mut self, address: u64, size: u64, kind: u32) {
        self.fast_path.loads.insert(address, size, kind);
    }

    /// Forgets the recorded loads, because a translation of addresses has ended.
    pub fn forget_loads(&mut self) {
        self.fast_path.loads.clear();
    }

    /// Records the last store to a settled line, if [`Model::effect`] is [`StoreEffect::IsLast`].
    #[inline(always)]
    pub fn repeat(&mut self, store: &Access) {
        self.fast_path.defer(self.pages.line.number(store.physical), store);
    }

    /// Applies `access` and passes its findings to `found`, at most one for each line that it touches. Ignores bytes
    /// beyond the end of the page, because their physical address is unknown.
    pub fn access(&mut self, access: Access, mut found: impl FnMut(Finding)) {
        let Pages { line, page, .. } = self.pages;
        let first = access.physical - line.offset(access.physical);
        let end = access.physical + access.size.max(1);
        let end = end.min(page.end(access.physical));
        let mut at = first;
        while at < end {
            self.line_access(at, &access, &mut found);
            at = line.end(at);
        }
    }

    fn line_access(&mut self, at: u64, access: &Access, found: &mut impl FnMut(Finding)) {
        let chunks = self.pages.line;
        let number = chunks.number(at);
        let deferred = self.fast_path.remove(number);
        let (bytes, write) = (bytes(at, chunks.bytes(), access), self.write);
        let mapping = self.pages.mapping;
        let (line, users) = self.pages.line_at(at);
        if line.flushes != self.flushes.count {
            let uses = |place: Place, process| users.contains(place & mapping, process);
            line.catch_up(&self.flushes, uses, &mut self.stories);
        }
        line.record_deferred(deferred);
        let outcome = line.apply(access, bytes, write, &mut self.stories);
        if let (Some(place), true) = (access.place, access.process != AddressSpace::NONE) {
            users.insert(place & mapping, access.process);
        }
        if let Some((kind, earlier)) = outcome {
            let story = self.stories.accesses(line.story);
            found(Finding { kind, line: at, earlier, later: *access, story });
        }
        if let (Some(effect), Some(place)) = (line.settled(access, write), access.place) {
            if let Some((evicted, store)) = self.fast_path.insert(number, place, effect) {
                let (evicted, _) = self.pages.line_at(chunks.start(evicted));
                evicted.record_deferred(Some(store));
            }
        }
    }

    /// Forgets all copies of the line at a physical address.
    pub fn reset_line(&mut self, physical: u64) {
        let number = self.pages.line.number(physical);
        if let Some(line) = self.pages.find(physical) {
            self.fast_path.remove(number);
            line.reset(self.flushes.count);
        }
    }

    /// Writes back all dirty copies and drops all copies.
    pub fn flush_all(&mut self, flush: Access) {
        self.fast_path.clear();
        let count = self.flushes.count + 1;
        self.flushes =
            Flushes { count, whole: count, last_whole: Some(flush), of_processes: Vec::new() };
    }

    /// Writes back and drops all copies in pages, and at places of these pages, that the process `flush.process` has used.
    pub fn flush_process(&mut self, flush: Access) {
        self.settle();
        self.flushes.count += 1;
        self.flushes.of_processes.push((self.flushes.count, flush));
    }

    /// Makes sure that the next access to each line is recorded by [`Model::access`], because another process runs from
    /// now on. Only [`Model::flush_process`] depends on it.
    pub fn settle(&mut self) {
        for (line, store) in self.fast_path.drain() {
            let (line, _) = self.pages.line_at(self.pages.line.start(line));
            line.record_deferred(Some(store));
        }
    }

    /// Writes back all dirty copies.
    pub fn clean_all(&mut self) {
        self.fast_path.clear();
        let mapping = self.pages.mapping;
        for Page { lines, users } in self.pages.pages.values_mut() {
            let uses = |place: Place, process| users.contains(place & mapping, process);
            for line in lines {
                line.catch_up(&self.flushes, uses, &mut self.stories);
                line.copies.iter_mut().for_each(Copy::clean);
            }
        }
    }
}

/// Returns the bytes of the line at `at` that `access` touches.
fn bytes(at: u64, line: u64, access: &Access) -> Bytes {
    let start = access.physical.max(at) - at;
    let end = (access.physical + access.size.max(1)).min(at + line) - at;
    Bytes::MAX >> (LONGEST_LINE - (end - start)) << start
}

impl State {
    /// Returns true if one of the bytes may be stale.
    fn is_stale(self, bytes: Bytes) -> bool {
        matches!(self, State::Stale(stale) if stale & bytes != 0)
    }
}

impl Copy {
    fn clean(&mut self) {
        if self.state == State::Dirty {
            self.state = State::Clean;
        }
    }

    /// Records a store of `bytes` to this copy.
    fn refresh(&mut self, bytes: Bytes) {
        if let State::Stale(stale) = self.state {
            self.state = match stale & !bytes {
                0 => State::Clean,
                stale => State::Stale(stale),
            };
        }
    }

    /// Records that `access` stored `bytes` elsewhere.
    fn mark_stale(&mut self, bytes: Bytes, access: &Access) {
        let stale = match self.state {
            State::Dirty => return,
            State::Clean => 0,
            State::Stale(stale) => stale,
        };
        self.state = State::Stale(stale | bytes);
        self.cause = *access;
    }
}

impl Line {
    /// Applies the flushes that happened since the last access to the line. `uses` returns true if a process has used the
    /// page at a place.
    fn catch_up(
        &mut self,
        flushes: &Flushes,
        uses: impl Fn(Place, AddressSpace) -> bool,
        stories: &mut Stories,
    ) {
        let seen = std::mem::replace(&mut self.flushes, flushes.count);
        if let (Some(flush), true) = (flushes.last_whole, seen < flushes.whole) {
            self.drop_copies(|_| true, flush, stories);
        }
        for (_, flush) in flushes.of_processes.iter().filter(|(count, _)| *count > seen) {
            let flushed = |copy: &Copy| uses(copy.place, flush.process);
            self.drop_copies(flushed, *flush, stories);
        }
    }

    /// Drops the copies for which `is_flushed` is true.
    fn drop_copies(
        &mut self,
        is_flushed: impl Fn(&Copy) -> bool,
        flush: Access,
        stories: &mut Stories,
    ) {
        let before = self.copies.len();
        self.copies.retain(|copy| !is_flushed(copy));
        if self.copies.len() < before {
            stories.push(&mut self.story, flush);
        }
    }

    /// Makes the line that of another page, as if it had never been used.
    fn restart(&mut self) {
        self.reset(0);
        self.story = Story::default();
    }

    /// Forgets all copies. `flushes` is the present number of flushes.
    fn reset(&mut self, flushes: u32) {
        self.copies.clear();
        self.dropped = None;
        self.flushes = flushes;
        self.story.clear();
    }

    /// Records the last store to the only copy, which the fast path had deferred.
    fn record_deferred(&mut self, store: Option<Access>) {
        if let (Some(last), [only]) = (store, &mut self.copies[..]) {
            only.cause = last;
        }
    }

    /// Returns the effect that another store at this place would have. Returns `None` if the line is not settled:
    /// another load could still change its state.
    fn settled(&self, access: &Access, write: WritePolicy) -> Option<StoreEffect> {
        let only = match &self.copies[..] {
            [only] if access.place == Some(only.place) && self.dropped.is_none() => only.state,
            _ => return None,
        };
        match only {
            State::Stale(_) => None,
            State::Clean if write == WritePolicy::Through => Some(StoreEffect::Nothing),
            State::Dirty => Some(StoreEffect::IsLast),
            State::Clean => Some(StoreEffect::Changes),
        }
    }

    fn apply(
        &mut self,
        access: &Access,
        bytes: Bytes,
        write: WritePolicy,
        stories: &mut Stories,
    ) -> Option<(FindingKind, Access)> {
        match access.op {
            Op::Load => self.load(access, bytes, stories),
            Op::Store => self.store(access, bytes, write, stories),
            Op::Clean | Op::Invalidate | Op::Flush => {
                self.maintain(access, stories);
                None
            }
        }
    }

    fn load(
        &mut self,
        access: &Access,
        bytes: Bytes,
        stories: &mut Stories,
    ) -> Option<(FindingKind, Access)> {
        if let Some(dropped) = &self.dropped {
            let earlier = **dropped;
            stories.push(&mut self.story, *access);
            return Some((FindingKind::LostWrite, earlier));
        }
        // By far the most frequent case, in which nothing changes.
        if let [only] = &self.copies[..] {
            if access.place == Some(only.place) && !only.state.is_stale(bytes) {
                return None;
            }
        }
        if let Some(earlier) = self.dirty_elsewhere(access.place) {
            stories.push(&mut self.story, *access);
            if let (Some(place), true) = (access.place, access.allocates) {
                // The new copy may hold what memory had before the store.
                self.put(place, State::Stale(Bytes::MAX), earlier);
            }
            return Some((FindingKind::DirtyElsewhere, earlier));
        }
        let place = access.place?;
        match self.copy(place) {
            Some(copy) if copy.state.is_stale(bytes) => {
                let earlier = copy.cause;
                stories.push(&mut self.story, *access);
                Some((FindingKind::StaleCopy, earlier))
            }
            Some(_) => None,
            None if !access.allocates => None,
            None => {
                stories.push(&mut self.story, *access);
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
        stories: &mut Stories,
    ) -> Option<(FindingKind, Access)> {
        self.dropped = None;
        // By far the most frequent case, in which nothing changes but which store was last.
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
        stories.push(&mut self.story, *access);
        let mut lost = self.dirty_elsewhere(access.place);
        for copy in &mut self.copies {
            if Some(copy.place) == access.place {
                copy.refresh(bytes);
                // The write-back of the remaining stale bytes will overwrite newer data.
                if write == WritePolicy::Back && matches!(copy.state, State::Stale(_)) {
                    lost = lost.or(Some(copy.cause));
                }
            } else {
                copy.mark_stale(bytes, access);
            }
        }
        if let (Some(place), WritePolicy::Back) = (access.place, write) {
            self.put(place, State::Dirty, *access);
        }
        lost.map(|earlier| (FindingKind::LostWrite, earlier))
    }

    /// Applies a maintenance operation to the copy at the place of `access`.
    fn maintain(&mut self, access: &Access, stories: &mut Stories) {
        let here = |copy: &Copy| Some(copy.place) == access.place;
        let Some(index) = self.copies.iter().position(here) else {
            return;
        };
        stories.push(&mut self.story, *access);
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

    /// Returns the last store to a dirty copy in another place.
    fn dirty_elsewhere(&self, place: Option<Place>) -> Option<Access> {
        let mut copies = self.copies.iter();
        let copy = copies.find(|copy| copy.state == State::Dirty && Some(copy.place) != place)?;
        Some(copy.cause)
    }

    fn put(&mut self, place: Place, state: State, cause: Access) {
        let copy = Copy { place, state, cause };
        match self.copies.iter_mut().find(|copy| copy.place == place) {
            Some(old) => *old = copy,
            None => {
                // Most lines have one copy.
                self.copies.reserve_exact(1);
                self.copies.push(copy);
            }
        }
    }
}

/// A filter for pages that were never accessed. The kernel mostly stores to such pages, and this test is faster than a
/// lookup in [`Model::pages`].
#[derive(Debug)]
struct PageFilter(Box<[u64; 1 << 10]>);

impl Default for PageFilter {
    fn default() -> PageFilter {
        PageFilter(Box::new([0; 1 << 10]))
    }
}

impl PageFilter {
    fn insert(&mut self, page: u64) {
        let (index, bit) = PageFilter::bit(page);
        self.0[index] |= bit;
    }

    fn may_contain(&self, page: u64) -> bool {
        let (index, bit) = PageFilter::bit(page);
        self.0[index] & bit != 0
    }

    /// Returns the index of a word and the mask of a bit. Page numbers that differ by a multiple of 65536 share a bit.
    fn bit(page: u64) -> (usize, u64) {
        (page as usize / 64 % (1 << 10), 1 << (page % 64))
    }
}

/// Hashes numbers. The hash does not resist attacks, but it is fast, and there are millions of lookups.
#[derive(Default)]
pub struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only numbers are hashed");
    }

    fn write_u64(&mut self, number: u64) {
        // Fibonacci hashing, with the golden ratio: Knuth, The Art of Computer Programming, volume 3, 6.4.
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

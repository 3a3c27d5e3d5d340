// SPDX-License-Identifier: MIT OR Apache-2.0
//! Model of the kernel that predicts the outcome of each step from the promises of the interface. Makes no system call.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use sys::Errno;

use super::step::{Client, Owner, Place, Range, Step};
use crate::stage::command::Touch;
use crate::stage::failure::Words;
use crate::stage::pattern;

/// Byte of the 8-byte word in a page that steps access. It is neither at the start nor at the end of the page.
pub(crate) const WORD_AT: usize = 40;

/// Conditions in which a script runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    /// Bytes of a page.
    pub page: usize,
    /// Byte order of the machine.
    pub big_endian: bool,
    /// True if the server fills pages, and saves their contents before they are reclaimed.
    pub lazy: bool,
    /// Limit of pages of the connection at the start.
    pub limit: u64,
}

impl World {
    /// Returns the word that `put` writes to page `index` of its range.
    pub fn put_word(&self, seed: u64, index: u64) -> u64 {
        let word = pattern::word(seed, (index as usize * self.page + WORD_AT) as u64 / 8);
        if self.big_endian { word.swap_bytes() } else { word }
    }
}

/// Outcome of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The step refers to something that does not exist, and is skipped.
    Nothing,
    /// The step succeeds.
    Done,
    /// A system call fails.
    Refused(Errno),
    /// The access to a page fails.
    Touch(Touch),
    /// The word that is loaded.
    Word(u64),
    /// The words that the server reads by ID, up to the first page that does not exist.
    Words(Vec<u64>),
    /// The words of all pages that exist: the mapping, the page of the mapping, and the word.
    PageWords(Vec<(Place, u64, u64)>),
}

/// Counters of the connection and of the server's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Pages that exist. `None` if the server fills pages, because reclaim makes the number unpredictable.
    pub pages: Option<u64>,
    /// Mappings as the kernel counts them: one for each mmap, however many parts and copies of it exist.
    pub maps: u64,
    /// FUSE_MMAPs.
    pub mmaps: u64,
    /// FUSE_MUNMAPs.
    pub munmaps: u64,
}

impl Words for Outcome {
    fn words(&self) -> String {
        match self {
            Outcome::Nothing => "nothing to do".into(),
            Outcome::Done => "success".into(),
            Outcome::Refused(errno) => errno.words(),
            Outcome::Touch(touched) => touched.words(),
            Outcome::Word(word) => format!("the word {word}"),
            Outcome::Words(words) if words.is_empty() => "no words".into(),
            Outcome::Words(words) => format!("the words {}", words.words()),
            Outcome::PageWords(words) => format!("{} words", words.len()),
        }
    }

    fn found(&self) -> String {
        match self {
            Outcome::Done => "but it succeeded".into(),
            other => format!("found {}", other.words()),
        }
    }
}

impl Words for Counts {
    fn words(&self) -> String {
        let Counts { pages, maps, mmaps, munmaps } = self;
        let pages = pages.map_or(String::new(), |pages| format!("{pages} pages, "));
        format!("{pages}{maps} mappings, {mmaps} FUSE_MMAPs, {munmaps} FUSE_MUNMAPs")
    }
}

/// Mapping of a process: all or a part of what an mmap has mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    /// IDs of its pages.
    ids: Range,
    writable: bool,
    /// mmap from which it results.
    grant: Grant,
}

/// A successful mmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Grant {
    number: u64,
    /// IDs of its pages, including those that have been unmapped.
    ids: Range,
    /// True for a client's mmap, about which the server gets FUSE_MMAP and FUSE_MUNMAP.
    of_client: bool,
}

/// Expected state of the processes, mappings and pages.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    world: World,
    limit: u64,
    /// Word of each page that exists. If the server fills pages, also of each page that was touched and then reclaimed.
    pages: BTreeMap<u64, u64>,
    processes: BTreeMap<Owner, BTreeMap<u32, Piece>>,
    /// Number of successful mmaps so far.
    grants: u64,
    mmaps: u64,
}

impl Model {
    /// Returns the state with a server and no client.
    pub fn new(world: World) -> Model {
        Model {
            world,
            limit: world.limit,
            pages: BTreeMap::new(),
            processes: BTreeMap::from([(Owner::Server, BTreeMap::new())]),
            grants: 0,
            mmaps: 0,
        }
    }

    /// Returns the expected counters.
    pub fn counts(&self) -> Counts {
        let numbers = |of: fn(&Grant) -> bool| {
            let grants = self.pieces().map(|piece| piece.grant).filter(of);
            grants.map(|grant| grant.number).collect::<BTreeSet<u64>>().len() as u64
        };
        Counts {
            pages: (!self.world.lazy).then_some(self.pages.len() as u64),
            maps: numbers(|_| true),
            mmaps: self.mmaps,
            munmaps: self.mmaps - numbers(|grant| grant.of_client),
        }
    }

    /// Returns the running clients.
    pub fn clients(&self) -> Vec<Client> {
        let clients = self.processes.keys().filter_map(|owner| match owner {
            Owner::Server => None,
            Owner::Client(client) => Some(*client),
        });
        clients.collect()
    }

    /// Returns all mappings and their lengths in pages.
    pub fn places(&self) -> Vec<(Place, u64)> {
        let of = |(owner, pieces): (&Owner, &BTreeMap<u32, Piece>)| -> Vec<_> {
            let owner = *owner;
            let pieces = pieces.iter();
            pieces.map(|(&map, piece)| (Place { owner, map }, piece.ids.pages)).collect()
        };
        self.processes.iter().flat_map(of).collect()
    }

    /// Returns steps that end all clients and remove all mappings.
    pub fn last_steps(&self) -> Vec<Step> {
        let clients = self.clients().into_iter();
        let quits = clients.map(|client| Step::Quit { client });
        let pieces = self.processes[&Owner::Server].keys();
        let unmaps = pieces.map(|&map| {
            let owner = Owner::Server;
            Step::Unmap { place: Place { owner, map } }
        });
        quits.chain(unmaps).collect()
    }

    /// Applies a step, and returns its outcome.
    pub fn apply(&mut self, step: &Step) -> Outcome {
        let outcome = self.try_apply(step).unwrap_or(Outcome::Nothing);
        self.free_unused();
        outcome
    }

    /// Applies a step. Returns `None` if the step refers to something that does not exist.
    fn try_apply(&mut self, step: &Step) -> Option<Outcome> {
        match *step {
            Step::Start { client } => self.add_process(client, BTreeMap::new())?,
            Step::Map { place, range } => return self.map(place, range, true),
            Step::Look { place, range } => return self.map(place, range, false),
            Step::Private { owner, .. } => {
                self.processes.get(&owner)?;
                return Some(Outcome::Refused(Errno::EINVAL));
            }
            Step::Long { owner } => {
                self.processes.get(&owner)?;
                return Some(Outcome::Refused(Errno::ENOMEM));
            }
            Step::Unmap { place } => {
                self.processes.get_mut(&place.owner)?.remove(&place.map)?;
            }
            Step::Punch { place, part, rest } => self.cut(place, part, None, rest)?,
            Step::Protect { place, part, middle, rest } => {
                // The kernel does not split a mapping that already has the requested protection.
                if !self.piece(place)?.writable {
                    return None;
                }
                self.cut(place, part, Some(middle), rest)?;
                let owner = place.owner;
                self.piece_mut(Place { owner, map: middle })?.writable = false;
            }
            Step::Shift { place, part, middle, rest } => {
                self.cut(place, part, Some(middle), rest)?
            }
            Step::Move { place, pages } => {
                let piece = self.piece_mut(place)?;
                if pages == 0 || pages > piece.ids.pages {
                    return None;
                }
                piece.ids.pages = pages;
            }
            Step::Zap { place } => drop(self.piece(place)?),
            Step::Store { place, page, word } => return self.store(place, page, word),
            Step::Load { place, page } => {
                let id = self.id(place, page)?;
                return Some(match self.touch(id) {
                    true => Outcome::Word(self.pages[&id]),
                    false => Outcome::Touch(Touch::Sigbus),
                });
            }
            // The outcome is unpredictable: it depends on whether the kernel reclaims other pages to make room.
            Step::Put { .. } if self.world.lazy && self.limit < self.world.limit => return None,
            Step::Put { range, seed } => return Some(self.put(range, seed)),
            Step::Get { range } => {
                let ids = range.first..range.first + range.pages;
                let words = ids.map_while(|id| self.pages.get(&id).copied());
                return Some(Outcome::Words(words.collect()));
            }
            Step::Free { range } => {
                self.pages.retain(|&id, _| !range.has(id));
            }
            Step::Fork { parent, child } => {
                let maps = self.processes.get(&Owner::Client(parent))?.clone();
                self.add_process(child, maps)?;
            }
            Step::Quit { client } | Step::Kill { client } => {
                drop(self.processes.remove(&Owner::Client(client))?);
            }
            Step::Limit { pages } => self.limit = pages,
            Step::Check {} => return Some(Outcome::PageWords(self.page_words())),
        }
        Some(Outcome::Done)
    }

    fn add_process(&mut self, client: Client, maps: BTreeMap<u32, Piece>) -> Option<()> {
        let owner = Owner::Client(client);
        if self.processes.contains_key(&owner) {
            return None;
        }
        self.processes.insert(owner, maps);
        Some(())
    }

    fn map(&mut self, place: Place, ids: Range, writable: bool) -> Option<Outcome> {
        let pieces = self.processes.get_mut(&place.owner)?;
        if pieces.contains_key(&place.map) {
            return None;
        }
        if ids.pages > self.limit {
            return Some(Outcome::Refused(Errno::ENOMEM));
        }
        let of_client = place.owner != Owner::Server;
        let grant = Grant { number: self.grants, ids, of_client };
        self.grants += 1;
        self.mmaps += u64::from(of_client);
        let piece = Piece { ids, writable, grant };
        pieces.insert(place.map, piece);
        Some(Outcome::Done)
    }

    /// Splits a mapping into three. The part in front keeps its number, `part` becomes `middle` or is unmapped, and the
    /// part behind becomes `rest`.
    fn cut(&mut self, place: Place, part: Range, middle: Option<u32>, rest: u32) -> Option<()> {
        let pieces = self.processes.get_mut(&place.owner)?;
        let piece = *pieces.get(&place.map)?;
        let end = part.first + part.pages;
        let taken = |map| pieces.contains_key(&map);
        let taken = taken(rest) || middle.is_some_and(|map| map == rest || taken(map));
        if taken || part.pages == 0 || end > piece.ids.pages {
            return None;
        }
        let of = |first, end| Piece {
            ids: Range { first: piece.ids.first + first, pages: end - first },
            ..piece
        };
        pieces.remove(&place.map);
        let three = [
            (Some(place.map), of(0, part.first)),
            (middle, of(part.first, end)),
            (Some(rest), of(end, piece.ids.pages)),
        ];
        for (map, piece) in three {
            if let Some(map) = map.filter(|_| piece.ids.pages > 0) {
                pieces.insert(map, piece);
            }
        }
        Some(())
    }

    fn store(&mut self, place: Place, page: u64, word: u64) -> Option<Outcome> {
        let id = self.id(place, page)?;
        let writable = self.piece(place)?.writable;
        // A child does the store that fails. It loads the byte first, which allocates the page.
        Some(match (self.touch(id), writable) {
            (false, _) => Outcome::Touch(Touch::Sigbus),
            (true, false) => Outcome::Touch(Touch::Sigsegv),
            (true, true) => {
                self.pages.insert(id, word);
                Outcome::Done
            }
        })
    }

    fn put(&mut self, range: Range, seed: u64) -> Outcome {
        for index in 0..range.pages {
            let id = range.first + index;
            if !self.is_covered(id) {
                return Outcome::Refused(Errno::ENXIO);
            }
            if !self.touch(id) {
                return Outcome::Refused(Errno::ENOSPC);
            }
            self.pages.insert(id, self.world.put_word(seed, index));
        }
        Outcome::Done
    }

    /// Returns the word of each page that exists, for each mapping that shows the page.
    fn page_words(&self) -> Vec<(Place, u64, u64)> {
        let mut words = Vec::new();
        for (place, pages) in self.places() {
            for page in 0..pages {
                let word = self.id(place, page).and_then(|id| self.pages.get(&id));
                words.extend(word.map(|&word| (place, page, word)));
            }
        }
        words
    }

    fn piece(&self, place: Place) -> Option<&Piece> {
        self.processes.get(&place.owner)?.get(&place.map)
    }

    fn piece_mut(&mut self, place: Place) -> Option<&mut Piece> {
        self.processes.get_mut(&place.owner)?.get_mut(&place.map)
    }

    /// Returns the ID of a page of a mapping.
    fn id(&self, place: Place, page: u64) -> Option<u64> {
        let ids = self.piece(place)?.ids;
        (page < ids.pages).then_some(ids.first + page)
    }

    /// Allocates a page if it does not exist. Returns false if the limit forbids it. A server that fills pages makes
    /// room instead.
    fn touch(&mut self, id: u64) -> bool {
        let present = self.pages.contains_key(&id);
        if !present && !self.world.lazy && self.pages.len() as u64 >= self.limit {
            return false;
        }
        self.pages.entry(id).or_insert(0);
        true
    }

    /// Returns true if the page can exist: an mmap has mapped it, and a part of that mapping still exists.
    fn is_covered(&self, id: u64) -> bool {
        self.pieces().any(|piece| piece.grant.ids.has(id))
    }

    fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.processes.values().flat_map(BTreeMap::values)
    }

    /// Removes the pages that can no longer exist, unless the server keeps their contents.
    fn free_unused(&mut self) {
        if self.world.lazy {
            return;
        }
        let unused: Vec<u64> = self.pages.keys().copied().collect();
        for id in unused {
            if !self.is_covered(id) {
                self.pages.remove(&id);
            }
        }
    }
}

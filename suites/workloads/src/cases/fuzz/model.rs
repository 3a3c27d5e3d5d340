// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel has to do with a script, told by what the interface promises. Knows no system call.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use sys::Errno;

use super::step::{Client, Place, Range, Step, Who};
use crate::stage::command::Touch;
use crate::stage::failure::Words;
use crate::stage::pattern;

/// Byte of a page whose word of 8 bytes is looked at. Neither its first nor its last.
pub(crate) const WORD_AT: usize = 40;

/// A machine, and what a script finds there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    /// Bytes of a page.
    pub page: usize,
    /// Order of bytes in a word.
    pub big_endian: bool,
    /// The server fills the pages, and has what was stored when they are gone.
    pub lazy: bool,
    /// Pages the connection may have at first.
    pub limit: u64,
}

impl World {
    /// The word in page `index` of what `put` writes for a seed.
    pub fn put_word(&self, seed: u64, index: u64) -> u64 {
        let word = pattern::word(seed, (index as usize * self.page + WORD_AT) as u64 / 8);
        match self.big_endian {
            true => word.swap_bytes(),
            false => word,
        }
    }
}

/// What comes of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It refers to something that is not there.
    Nothing,
    /// It goes well.
    Done,
    /// The kernel refuses.
    Refused(Errno),
    /// The touch of a page ends in a signal.
    Touch(Touch),
    /// A word is loaded.
    Word(u64),
    /// Words of as many pages as there are.
    Words(Vec<u64>),
    /// Words of pages of mappings.
    Seen(Vec<(Place, u64, u64)>),
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Pages that exist; none where the kernel and the server decide that.
    pub pages: Option<u64>,
    /// Mappings as the kernel has them: each part of one that was cut, each copy by fork.
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
            Outcome::Seen(words) => format!("{} words", words.len()),
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
        let Counts {
            pages,
            maps,
            mmaps,
            munmaps,
        } = self;
        let pages = pages.map_or(String::new(), |pages| format!("{pages} pages, "));
        format!("{pages}{maps} mappings, {mmaps} FUSE_MMAPs, {munmaps} FUSE_MUNMAPs")
    }
}

/// A mapping of a process, as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    /// Pages by ID.
    ids: Range,
    writable: bool,
    /// The FUSE_MMAP that it came of; a mapping of the channel has none.
    grant: Option<Grant>,
}

/// A FUSE_MMAP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Grant {
    number: u64,
    /// Pages by ID, those that were unmapped since as well.
    ids: Range,
}

/// What there is.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    world: World,
    limit: u64,
    /// The word of each page that exists; of each that anybody has stored to, where the server fills them.
    pages: BTreeMap<u64, u64>,
    processes: BTreeMap<Who, BTreeMap<u32, Piece>>,
    mmaps: u64,
}

impl Model {
    /// A server and nobody else.
    pub fn new(world: World) -> Model {
        Model {
            world,
            limit: world.limit,
            pages: BTreeMap::new(),
            processes: BTreeMap::from([(Who::Server, BTreeMap::new())]),
            mmaps: 0,
        }
    }

    /// What the kernel has to count now.
    pub fn counts(&self) -> Counts {
        let grants = self.pieces().filter_map(|piece| piece.grant);
        let granted: BTreeSet<u64> = grants.map(|grant| grant.number).collect();
        Counts {
            pages: (!self.world.lazy).then_some(self.pages.len() as u64),
            maps: self.pieces().count() as u64,
            mmaps: self.mmaps,
            munmaps: self.mmaps - granted.len() as u64,
        }
    }

    /// The clients that run.
    pub fn clients(&self) -> Vec<Client> {
        let clients = self.processes.keys().filter_map(|who| match who {
            Who::Server => None,
            Who::Client(client) => Some(*client),
        });
        clients.collect()
    }

    /// All mappings, with their lengths in pages.
    pub fn places(&self) -> Vec<(Place, u64)> {
        let of = |(who, pieces): (&Who, &BTreeMap<u32, Piece>)| -> Vec<_> {
            let who = *who;
            let pieces = pieces.iter();
            pieces
                .map(|(&map, piece)| (Place { who, map }, piece.ids.pages))
                .collect()
        };
        self.processes.iter().flat_map(of).collect()
    }

    /// Steps after which nothing is left.
    pub fn last_steps(&self) -> Vec<Step> {
        let clients = self.clients().into_iter();
        let quits = clients.map(|client| Step::Quit { client });
        let pieces = self.processes[&Who::Server].keys();
        let unmaps = pieces.map(|&map| {
            let who = Who::Server;
            Step::Unmap {
                place: Place { who, map },
            }
        });
        quits.chain(unmaps).collect()
    }

    /// Takes a step; what comes of it.
    pub fn take(&mut self, step: &Step) -> Outcome {
        let outcome = self.try_take(step).unwrap_or(Outcome::Nothing);
        self.free_unused();
        outcome
    }

    /// `None` where it refers to something that is not there.
    fn try_take(&mut self, step: &Step) -> Option<Outcome> {
        match *step {
            Step::Start { client } => self.add_process(client, BTreeMap::new())?,
            Step::Map { place, range } => return self.map(place, range, true),
            Step::Look { place, range } => return self.map(place, range, false),
            Step::Private { who, .. } => {
                self.processes.get(&who)?;
                return Some(Outcome::Refused(Errno::EINVAL));
            }
            Step::Long { who } => {
                self.processes.get(&who)?;
                return Some(Outcome::Refused(Errno::ENOMEM));
            }
            Step::Unmap { place } => drop(self.processes.get_mut(&place.who)?.remove(&place.map)?),
            Step::Punch { place, part, rest } => self.cut(place, part, None, rest)?,
            Step::Protect {
                place,
                part,
                middle,
                rest,
            } => {
                // The kernel cuts nothing where there is nothing to change.
                if !self.piece(place)?.writable {
                    return None;
                }
                self.cut(place, part, Some(middle), rest)?;
                let who = place.who;
                self.piece_mut(Place { who, map: middle })?.writable = false;
            }
            Step::Shift {
                place,
                part,
                middle,
                rest,
            } => self.cut(place, part, Some(middle), rest)?,
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
            // Whether others make room for it is up to the kernel and the server.
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
                let maps = self.processes.get(&Who::Client(parent))?.clone();
                self.add_process(child, maps)?;
            }
            Step::Quit { client } | Step::Kill { client } => {
                drop(self.processes.remove(&Who::Client(client))?);
            }
            Step::Limit { pages } => self.limit = pages,
            Step::Check {} => return Some(Outcome::Seen(self.seen())),
        }
        Some(Outcome::Done)
    }

    fn add_process(&mut self, client: Client, maps: BTreeMap<u32, Piece>) -> Option<()> {
        let who = Who::Client(client);
        if self.processes.contains_key(&who) {
            return None;
        }
        self.processes.insert(who, maps);
        Some(())
    }

    fn map(&mut self, place: Place, ids: Range, writable: bool) -> Option<Outcome> {
        let pieces = self.processes.get_mut(&place.who)?;
        if pieces.contains_key(&place.map) {
            return None;
        }
        if ids.pages > self.limit {
            return Some(Outcome::Refused(Errno::ENOMEM));
        }
        let number = self.mmaps;
        let grant = (place.who != Who::Server).then_some(Grant { number, ids });
        self.mmaps += u64::from(grant.is_some());
        let piece = Piece {
            ids,
            writable,
            grant,
        };
        pieces.insert(place.map, piece);
        Some(Outcome::Done)
    }

    /// Makes three of a mapping: what is in front keeps its number, what is behind is `rest`, and `part` between them is
    /// `middle`, or is unmapped.
    fn cut(&mut self, place: Place, part: Range, middle: Option<u32>, rest: u32) -> Option<()> {
        let pieces = self.processes.get_mut(&place.who)?;
        let piece = *pieces.get(&place.map)?;
        let end = part.first + part.pages;
        let known = |map| pieces.contains_key(&map);
        let known = known(rest) || middle.is_some_and(|map| map == rest || known(map));
        if known || part.pages == 0 || end > piece.ids.pages {
            return None;
        }
        let of = |first, end| Piece {
            ids: Range {
                first: piece.ids.first + first,
                pages: end - first,
            },
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
        // Who will die of a store looks at the page before.
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
            if !self.is_mapped(id) && !self.is_kept(id) {
                return Outcome::Refused(Errno::ENXIO);
            }
            if !self.touch(id) {
                return Outcome::Refused(Errno::ENOSPC);
            }
            self.pages.insert(id, self.world.put_word(seed, index));
        }
        Outcome::Done
    }

    /// Each page that exists, through each mapping that shows it.
    fn seen(&self) -> Vec<(Place, u64, u64)> {
        let mut seen = Vec::new();
        for (place, pages) in self.places() {
            for page in 0..pages {
                let word = self.id(place, page).and_then(|id| self.pages.get(&id));
                seen.extend(word.map(|&word| (place, page, word)));
            }
        }
        seen
    }

    fn piece(&self, place: Place) -> Option<&Piece> {
        self.processes.get(&place.who)?.get(&place.map)
    }

    fn piece_mut(&mut self, place: Place) -> Option<&mut Piece> {
        self.processes.get_mut(&place.who)?.get_mut(&place.map)
    }

    /// The ID of a page of a mapping.
    fn id(&self, place: Place, page: u64) -> Option<u64> {
        let ids = self.piece(place)?.ids;
        (page < ids.pages).then_some(ids.first + page)
    }

    /// The page is there now; false where the limit refuses it. The server makes room where it fills the pages.
    fn touch(&mut self, id: u64) -> bool {
        let there = self.pages.contains_key(&id);
        if !there && !self.world.lazy && self.pages.len() as u64 >= self.limit {
            return false;
        }
        self.pages.entry(id).or_insert(0);
        true
    }

    fn is_mapped(&self, id: u64) -> bool {
        self.pieces().any(|piece| piece.ids.has(id))
    }

    /// The page may be there although nobody maps it: the server has not heard yet that the mapping is gone.
    fn is_kept(&self, id: u64) -> bool {
        let mut grants = self.pieces().filter_map(|piece| piece.grant);
        self.world.lazy && grants.any(|grant| grant.ids.has(id))
    }

    fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.processes.values().flat_map(BTreeMap::values)
    }

    /// What nobody maps any more is gone, unless the server keeps it.
    fn free_unused(&mut self) {
        if self.world.lazy {
            return;
        }
        let unused: Vec<u64> = self.pages.keys().copied().collect();
        for id in unused {
            if !self.is_mapped(id) {
                self.pages.remove(&id);
            }
        }
    }
}

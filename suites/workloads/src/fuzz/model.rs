// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel has to do with a script, told by what the interface promises. Knows no system call.

use std::collections::{BTreeMap, BTreeSet};

use sys::Errno;

use super::step::{Place, Range, Step, Who};
use crate::command::Touched;
use crate::pattern;

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
    Touched(Touched),
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
    pub fn clients(&self) -> Vec<u32> {
        let numbers = self.processes.keys().filter_map(|who| match who {
            Who::Server => None,
            Who::Client(number) => Some(*number),
        });
        numbers.collect()
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
        let mut steps: Vec<Step> = self.clients().into_iter().map(Step::Quit).collect();
        let pieces = self.processes[&Who::Server].keys();
        steps.extend(pieces.map(|&map| {
            let who = Who::Server;
            Step::Unmap(Place { who, map })
        }));
        steps
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
            Step::Start(number) => self.add_process(number, BTreeMap::new())?,
            Step::Map {
                place,
                range,
                writable,
            } => return self.map(place, range, writable),
            Step::Private { who, .. } => {
                self.processes.get(&who)?;
                return Some(Outcome::Refused(Errno::EINVAL));
            }
            Step::Long(who) => {
                self.processes.get(&who)?;
                return Some(Outcome::Refused(Errno::ENOMEM));
            }
            Step::Unmap(place) => drop(self.processes.get_mut(&place.who)?.remove(&place.map)?),
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
            Step::Zap(place) => drop(self.piece(place)?),
            Step::Store { place, page, word } => return self.store(place, page, word),
            Step::Load { place, page } => {
                let id = self.id(place, page)?;
                return Some(match self.touch(id) {
                    true => Outcome::Word(self.pages[&id]),
                    false => Outcome::Touched(Touched::Bus),
                });
            }
            // Whether others make room for it is up to the kernel and the server.
            Step::Put { .. } if self.world.lazy && self.limit < self.world.limit => return None,
            Step::Put { range, seed } => return Some(self.put(range, seed)),
            Step::Get(range) => {
                let ids = range.first..range.first + range.pages;
                let words = ids.map_while(|id| self.pages.get(&id).copied());
                return Some(Outcome::Words(words.collect()));
            }
            Step::Free(range) => {
                self.pages.retain(|&id, _| !range.has(id));
            }
            Step::Fork { parent, child } => {
                let maps = self.processes.get(&Who::Client(parent))?.clone();
                self.add_process(child, maps)?;
            }
            Step::Quit(number) | Step::Kill(number) => {
                drop(self.processes.remove(&Who::Client(number))?);
            }
            Step::Limit(pages) => self.limit = pages,
            Step::Check => return Some(Outcome::Seen(self.seen())),
        }
        Some(Outcome::Done)
    }

    fn add_process(&mut self, number: u32, maps: BTreeMap<u32, Piece>) -> Option<()> {
        let who = Who::Client(number);
        if self.processes.contains_key(&who) {
            return None;
        }
        self.processes.insert(who, maps);
        Some(())
    }

    fn map(&mut self, place: Place, ids: Range, writable: bool) -> Option<Outcome> {
        let pieces = self.processes.get_mut(&place.who)?;
        if ids.pages == 0 || pieces.contains_key(&place.map) {
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
            (false, _) => Outcome::Touched(Touched::Bus),
            (true, false) => Outcome::Touched(Touched::Segv),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::step::parse;

    fn world() -> World {
        World {
            page: 4096,
            big_endian: false,
            lazy: false,
            limit: 4,
        }
    }

    /// What comes of the last step of a script, and the counts after it.
    fn after(world: World, script: &str) -> (Outcome, Counts) {
        let mut model = Model::new(world);
        let outcomes = parse(script).unwrap();
        let outcome = outcomes.iter().map(|step| model.take(step)).last();
        (outcome.unwrap(), model.counts())
    }

    #[track_caller]
    fn assert_after(script: &str, outcome: Outcome, counts: (u64, u64, u64, u64)) {
        let (pages, maps, mmaps, munmaps) = counts;
        let counts = Counts {
            pages: Some(pages),
            maps,
            mmaps,
            munmaps,
        };
        assert_eq!(after(world(), script), (outcome, counts), "{script}");
    }

    #[test]
    fn a_page_lives_while_it_is_mapped() {
        use Outcome::{Done, Word};
        let both = "start c0; map c0.1 2+3; map s.2 3+1; store c0.1 1 77";
        assert_after(both, Done, (1, 2, 1, 0));
        assert_after(&format!("{both}; load s.2 0"), Word(77), (1, 2, 1, 0));
        let left = format!("{both}; kill c0; load s.2 0");
        assert_after(&left, Word(77), (1, 1, 1, 1));
        let gone = format!("{both}; kill c0; unmap s.2; map s.3 3+1; load s.3 0");
        assert_after(&gone, Word(0), (1, 1, 1, 1));
        assert_after(
            &format!("{both}; free 0+6; load s.2 0"),
            Word(0),
            (1, 2, 1, 0),
        );
        assert_after(
            &format!("{both}; zap c0.1; load s.2 0"),
            Word(77),
            (1, 2, 1, 0),
        );
    }

    #[test]
    fn parts_are_mappings_of_one_grant() {
        use Outcome::{Done, Touched as Touch};
        let three = "start c0; map c0.1 0+3; store c0.1 0 1; store c0.1 1 2; store c0.1 2 3";
        let punched = format!("{three}; punch c0.1 1+1 4");
        assert_after(&punched, Done, (2, 2, 1, 0));
        let tail = format!("{punched}; unmap c0.1; load c0.4 0");
        assert_after(&tail, Outcome::Word(3), (1, 1, 1, 0));
        assert_after(&format!("{tail}; unmap c0.4"), Done, (0, 0, 1, 1));
        let at_an_end = format!("{three}; punch c0.1 0+2 4");
        assert_after(&at_an_end, Done, (1, 1, 1, 0));
        let protected = format!("{three}; protect c0.1 1+1 4 5");
        assert_after(&protected, Done, (3, 3, 1, 0));
        let store = format!("{protected}; store c0.4 0 9");
        assert_after(&store, Touch(Touched::Segv), (3, 3, 1, 0));
        assert_after(&format!("{three}; move c0.1 2"), Done, (2, 1, 1, 0));
        let shifted = format!("{three}; shift c0.1 0+2 4 5; unmap c0.5; load c0.4 1");
        assert_after(&shifted, Outcome::Word(2), (2, 1, 1, 0));
    }

    #[test]
    fn a_child_has_what_its_parent_has() {
        let forked = "start c0; map c0.1 0+2; store c0.1 0 1; fork c0 c1; unmap c0.1; quit c0";
        assert_after(forked, Outcome::Done, (1, 1, 1, 0));
        let load = format!("{forked}; load c1.1 0");
        assert_after(&load, Outcome::Word(1), (1, 1, 1, 0));
        assert_after(&format!("{forked}; kill c1"), Outcome::Done, (0, 0, 1, 1));
    }

    #[test]
    fn limits_refuse() {
        use Outcome::{Done, Refused, Touched as Touch, Word};
        let one = "start c0; map c0.1 0+3; limit 1; store c0.1 0 5";
        assert_after(one, Done, (1, 1, 1, 0));
        assert_after(
            &format!("{one}; load c0.1 1"),
            Touch(Touched::Bus),
            (1, 1, 1, 0),
        );
        assert_after(
            &format!("{one}; put 1+1 7"),
            Refused(Errno::ENOSPC),
            (1, 1, 1, 0),
        );
        assert_after(
            &format!("{one}; map c0.2 0+2"),
            Refused(Errno::ENOMEM),
            (1, 1, 1, 0),
        );
        assert_after(
            &format!("{one}; limit 2; load c0.1 1"),
            Word(0),
            (2, 1, 1, 0),
        );
        assert_after("start c0; long c0", Refused(Errno::ENOMEM), (0, 0, 0, 0));
        assert_after("private s 0+1", Refused(Errno::EINVAL), (0, 0, 0, 0));
    }

    #[test]
    fn by_id_as_far_as_it_goes() {
        let world = world();
        let words = |indices: &[u64]| {
            Outcome::Words(
                indices
                    .iter()
                    .map(|&index| world.put_word(7, index))
                    .collect(),
            )
        };
        let put = "start c0; map c0.1 1+2; put 1+3 7";
        assert_after(put, Outcome::Refused(Errno::ENXIO), (2, 1, 1, 0));
        assert_after(&format!("{put}; get 1+4"), words(&[0, 1]), (2, 1, 1, 0));
        assert_after(&format!("{put}; get 0+4"), words(&[]), (2, 1, 1, 0));
    }

    #[test]
    fn what_is_not_there_is_no_step() {
        for step in [
            "map c0.1 0+1",
            "start c0; map c0.1 0+0",
            "start c0; start c0",
            "unmap s.1",
            "map s.1 0+2; load s.1 2",
            "map s.1 0+2; map s.1 0+2",
            "map s.1 0+2; punch s.1 1+2 3",
            "look s.1 0+2; protect s.1 0+1 2 3",
            "map s.1 0+2; move s.1 3",
            "fork c0 c1",
            "kill c0",
        ] {
            assert_eq!(after(world(), step).0, Outcome::Nothing, "{step}");
        }
    }

    #[test]
    fn what_the_server_fills_survives() {
        let lazy = World {
            lazy: true,
            ..world()
        };
        let script = "start c0; map c0.1 0+2; store c0.1 1 9; kill c0; start c1; map c1.2 1+1; limit 1; load c1.2 0";
        let (outcome, counts) = after(lazy, script);
        assert_eq!(outcome, Outcome::Word(9));
        assert_eq!((counts.pages, counts.munmaps), (None, 1));
        let put = |limit| {
            after(
                lazy,
                &format!("start c0; map c0.1 0+2; limit {limit}; put 0+2 1"),
            )
            .0
        };
        assert_eq!((put(4), put(3)), (Outcome::Done, Outcome::Nothing));
        let punched = "start c0; map c0.1 0+2; punch c0.1 0+1 2; put 0+1 1";
        assert_eq!(after(lazy, punched).0, Outcome::Done);
        assert_eq!(after(world(), punched).0, Outcome::Refused(Errno::ENXIO));
    }

    #[test]
    fn nothing_is_left_after_the_last_steps() {
        let mut model = Model::new(world());
        for step in parse("map s.1 0+2; start c0; map c0.2 1+2; put 0+2 1; fork c0 c3").unwrap() {
            model.take(&step);
        }
        for step in model.last_steps() {
            assert_eq!(model.take(&step), Outcome::Done);
        }
        let counts = model.counts();
        assert_eq!((counts.pages, counts.maps), (Some(0), 0));
        assert_eq!((counts.mmaps, counts.munmaps), (1, 1));
    }
}

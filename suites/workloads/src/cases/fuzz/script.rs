// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes a script of a number: the same number makes the same script on every machine.

use fastrand::Rng;

use super::model::{Model, World};
use super::step::{Place, Range, Step, Who};

/// Most clients at a time.
const CLIENTS: u32 = 3;

/// Most mappings at a time, of all.
const PLACES: u32 = 12;

/// What a step can be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Start,
    Map,
    Look,
    Private,
    Long,
    Unmap,
    Punch,
    Protect,
    Shift,
    Move,
    Zap,
    Store,
    Load,
    Put,
    Get,
    Free,
    Fork,
    Quit,
    Kill,
    Limit,
    Check,
}

/// How often each comes, in parts of the whole.
const SHARES: &[(Kind, u32)] = &[
    (Kind::Start, 4),
    (Kind::Map, 15),
    (Kind::Look, 4),
    (Kind::Private, 1),
    (Kind::Long, 1),
    (Kind::Unmap, 10),
    (Kind::Punch, 8),
    (Kind::Protect, 8),
    (Kind::Shift, 5),
    (Kind::Move, 2),
    (Kind::Zap, 3),
    (Kind::Store, 26),
    (Kind::Load, 10),
    (Kind::Put, 7),
    (Kind::Get, 5),
    (Kind::Free, 2),
    (Kind::Fork, 3),
    (Kind::Quit, 1),
    (Kind::Kill, 1),
    (Kind::Limit, 2),
    (Kind::Check, 4),
];

/// The script of `seed`: `steps` steps about `pages` pages of the file.
pub(crate) fn script(seed: u64, steps: u32, pages: u64, world: World) -> Vec<Step> {
    let mut maker = Maker {
        rng: Rng::with_seed(seed),
        model: Model::new(world),
        world,
        pages,
        clients: 0,
        maps: 0,
        words: 0,
    };
    (0..steps).map(|index| maker.next(index)).collect()
}

struct Maker {
    rng: Rng,
    /// What there is by now.
    model: Model,
    world: World,
    pages: u64,
    /// Numbers used up, so that none comes twice.
    clients: u32,
    maps: u32,
    words: u64,
}

impl Maker {
    fn next(&mut self, index: u32) -> Step {
        loop {
            // Two clients before anything else: most of it is between them and the server.
            let kind = match index {
                0 | 1 => Kind::Start,
                _ => self.kind(),
            };
            if let Some(step) = self.step(kind) {
                self.model.take(&step);
                return step;
            }
        }
    }

    fn kind(&mut self) -> Kind {
        let whole = SHARES.iter().map(|(_, share)| share).sum();
        let mut at = self.rng.u32(0..whole);
        for &(kind, share) in SHARES {
            match at.checked_sub(share) {
                None => return kind,
                Some(rest) => at = rest,
            }
        }
        unreachable!("the shares are the whole")
    }

    /// A step of this kind; none where there is nothing it could be about.
    fn step(&mut self, kind: Kind) -> Option<Step> {
        // Which pages exist is up to the kernel and the server where the server fills them.
        if self.world.lazy && matches!(kind, Kind::Get | Kind::Free) {
            return None;
        }
        Some(match kind {
            Kind::Start => Step::Start(self.new_client()?),
            Kind::Map | Kind::Look => {
                let who = self.who()?;
                if self.model.counts().maps >= PLACES.into() {
                    return None;
                }
                Step::Map {
                    place: Place {
                        who,
                        map: self.new_map(),
                    },
                    range: self.range(self.pages),
                    writable: kind == Kind::Map,
                }
            }
            Kind::Private => Step::Private {
                who: self.who()?,
                range: self.range(self.pages),
            },
            Kind::Long => Step::Long(self.who()?),
            Kind::Unmap => Step::Unmap(self.place()?.0),
            Kind::Punch => {
                let (place, pages) = self.place()?;
                let part = self.part(pages);
                let rest = self.new_map();
                Step::Punch { place, part, rest }
            }
            Kind::Protect => {
                let (place, pages) = self.place()?;
                Step::Protect {
                    place,
                    part: self.part(pages),
                    middle: self.new_map(),
                    rest: self.new_map(),
                }
            }
            Kind::Shift => {
                let (place, pages) = self.place()?;
                Step::Shift {
                    place,
                    part: self.part(pages),
                    middle: self.new_map(),
                    rest: self.new_map(),
                }
            }
            Kind::Move => {
                let (place, pages) = self.place()?;
                // All of it, or what is in front.
                let pages = match self.rng.bool() {
                    true => pages,
                    false => self.rng.u64(1..=pages),
                };
                Step::Move { place, pages }
            }
            Kind::Zap => Step::Zap(self.place()?.0),
            Kind::Store => {
                let (place, pages) = self.place()?;
                self.words += 1;
                Step::Store {
                    place,
                    page: self.rng.u64(0..pages),
                    word: self.words,
                }
            }
            Kind::Load => {
                let (place, pages) = self.place()?;
                let page = self.rng.u64(0..pages);
                Step::Load { place, page }
            }
            Kind::Put => {
                self.words += 1;
                Step::Put {
                    range: self.range(self.pages),
                    seed: self.words,
                }
            }
            Kind::Get => Step::Get(self.range(self.pages)),
            Kind::Free => Step::Free(self.range(self.pages)),
            Kind::Fork => Step::Fork {
                parent: self.client()?,
                child: self.new_client()?,
            },
            Kind::Quit => Step::Quit(self.client()?),
            Kind::Kill => Step::Kill(self.client()?),
            // As often no limit that matters, for it refuses what could be found otherwise.
            Kind::Limit => Step::Limit(match self.rng.bool() {
                true => self.world.limit,
                false => self.rng.u64(1..self.world.limit),
            }),
            Kind::Check => Step::Check,
        })
    }

    fn new_client(&mut self) -> Option<u32> {
        let room = self.model.clients().len() < CLIENTS as usize;
        room.then(|| {
            self.clients += 1;
            self.clients - 1
        })
    }

    fn new_map(&mut self) -> u32 {
        self.maps += 1;
        self.maps - 1
    }

    fn client(&mut self) -> Option<u32> {
        let clients = self.model.clients();
        self.one_of(&clients)
    }

    /// A process that may map: each client, and the server unless it fills the pages.
    fn who(&mut self) -> Option<Who> {
        let clients = self.model.clients().into_iter().map(Who::Client);
        let server = (!self.world.lazy).then_some(Who::Server);
        let all: Vec<Who> = clients.chain(server).collect();
        self.one_of(&all)
    }

    fn place(&mut self) -> Option<(Place, u64)> {
        let places = self.model.places();
        self.one_of(&places)
    }

    /// Some pages out of so many.
    fn range(&mut self, of: u64) -> Range {
        let first = self.rng.u64(0..of);
        let pages = self.rng.u64(1..=of - first);
        Range { first, pages }
    }

    /// Some pages of a mapping, rarely more than two.
    fn part(&mut self, of: u64) -> Range {
        let Range { first, pages } = self.range(of);
        let most = if self.rng.u32(0..8) == 0 { of } else { 2 };
        let pages = pages.min(most);
        Range { first, pages }
    }

    fn one_of<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        // Not `usize`: it would not be the same on every machine.
        let at = match items.len() {
            0 => return None,
            len => self.rng.u32(0..len as u32),
        };
        Some(items[at as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::fuzz::model::Outcome;
    use crate::cases::fuzz::step::text;

    fn world(lazy: bool) -> World {
        World {
            page: 4096,
            big_endian: false,
            lazy,
            limit: 6,
        }
    }

    #[test]
    fn a_seed_is_a_script() {
        let of = |seed, lazy| text(&script(seed, 12, 6, world(lazy)));
        assert_eq!(
            of(1, false),
            "start c0; start c1; kill c0; map c1.0 4+2; put 0+1 1; store c1.0 1 2; load c1.0 1; get \
             3+3; move c1.0 2; put 2+1 3; store c1.0 1 4; load c1.0 0"
        );
        assert_eq!(
            of(4, true),
            "start c0; start c1; put 0+4 1; limit 6; fork c0 c2; map c1.0 5+1; zap c1.0; store c1.0 0 \
             2; look c2.1 5+1; check; map c0.2 0+1; zap c0.2"
        );
        assert_ne!(of(1, false), of(2, false));
    }

    #[test]
    fn every_kind_of_step_comes_and_most_do_something() {
        let mut words = std::collections::BTreeSet::new();
        let (mut all, mut nothing) = (0, 0);
        for seed in 0..40 {
            let mut model = Model::new(world(false));
            for step in script(seed, 60, 6, world(false)) {
                all += 1;
                nothing += usize::from(model.take(&step) == Outcome::Nothing);
                let step = step.to_string();
                words.insert(step.split(' ').next().unwrap_or_default().to_owned());
            }
        }
        assert_eq!(words.len(), SHARES.len(), "{words:?}");
        assert!(nothing * 20 < all, "{nothing} of {all} do nothing");
    }

    #[test]
    fn a_server_that_fills_pages_maps_none() {
        let steps: Vec<Step> = (0..40)
            .flat_map(|seed| script(seed, 60, 6, world(true)))
            .collect();
        let text = text(&steps);
        for not in ["get", "free", " s.", " s "] {
            assert!(!text.contains(not), "{not:?}");
        }
    }
}

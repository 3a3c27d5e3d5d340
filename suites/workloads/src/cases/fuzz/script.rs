// SPDX-License-Identifier: MIT OR Apache-2.0
//! Generates scripts. A seed gives the same script on every machine.

use fastrand::Rng;

use super::model::{Model, World};
use super::step::{Client, Owner, Place, Range, Step};

/// Maximum number of clients at a time.
const CLIENTS: u32 = 3;

/// Maximum number of mappings at a time, of all processes together.
const PLACES: u32 = 12;

/// Function that draws a step. Returns `None` if there is nothing to which the step can refer.
type Draw = fn(&mut Generator) -> Option<Step>;

/// Weight of each kind of step, and the function that draws one.
#[rustfmt::skip]
const STEPS: &[(u32, Draw)] = &[
    (4, Generator::start),
    (15, |m| { let (place, range) = m.new_place()?; Some(Step::Map { place, range }) }),
    (4, |m| { let (place, range) = m.new_place()?; Some(Step::Look { place, range }) }),
    (1, |m| Some(Step::Private { owner: m.owner()?, range: m.range() })),
    (1, |m| Some(Step::Long { owner: m.owner()? })),
    (10, |m| Some(Step::Unmap { place: m.place()?.0 })),
    (8, |m| { let (place, part) = m.part()?; Some(Step::Punch { place, part, rest: m.new_map() }) }),
    (8, |m| {
        let (place, part) = m.part()?;
        Some(Step::Protect { place, part, middle: m.new_map(), rest: m.new_map() })
    }),
    (5, |m| {
        let (place, part) = m.part()?;
        Some(Step::Shift { place, part, middle: m.new_map(), rest: m.new_map() })
    }),
    (2, |m| { let (place, pages) = m.front()?; Some(Step::Move { place, pages }) }),
    (3, |m| Some(Step::Zap { place: m.place()?.0 })),
    (26, |m| { let (place, page) = m.page()?; Some(Step::Store { place, page, word: m.new_word() }) }),
    (10, |m| { let (place, page) = m.page()?; Some(Step::Load { place, page }) }),
    (7, |m| { let seed = m.new_word(); Some(Step::Put { range: m.range(), seed }) }),
    (5, |m| m.known(|range| Step::Get { range })),
    (2, |m| m.known(|range| Step::Free { range })),
    (3, |m| Some(Step::Fork { parent: m.client()?, child: m.new_client()? })),
    (1, |m| Some(Step::Quit { client: m.client()? })),
    (1, |m| Some(Step::Kill { client: m.client()? })),
    (2, |m| Some(Step::Limit { pages: m.limit() })),
    (4, |_| Some(Step::Check {})),
];

/// Returns the script of `seed`: `steps` steps about the first `pages` pages of the file.
pub(crate) fn generate(seed: u64, steps: u32, pages: u64, world: World) -> Vec<Step> {
    let mut generator = Generator {
        rng: Rng::with_seed(seed),
        model: Model::new(world),
        world,
        pages,
        clients: 0,
        maps: 0,
        words: 0,
    };
    (0..steps).map(|index| generator.next(index)).collect()
}

struct Generator {
    rng: Rng,
    /// State after the steps so far.
    model: Model,
    world: World,
    pages: u64,
    /// The next unused number of a client. Numbers are never reused.
    clients: u32,
    maps: u32,
    words: u64,
}

impl Generator {
    fn next(&mut self, index: u32) -> Step {
        loop {
            // Two clients start first, because most steps need them.
            let draw = match index {
                0 | 1 => Generator::start,
                _ => self.draw(),
            };
            if let Some(step) = draw(self) {
                self.model.apply(&step);
                return step;
            }
        }
    }

    fn draw(&mut self) -> Draw {
        let whole = STEPS.iter().map(|(share, _)| share).sum();
        let mut at = self.rng.u32(0..whole);
        for &(share, draw) in STEPS {
            match at.checked_sub(share) {
                None => return draw,
                Some(rest) => at = rest,
            }
        }
        unreachable!("the weights add up to the total")
    }

    fn start(&mut self) -> Option<Step> {
        let client = self.new_client()?;
        Some(Step::Start { client })
    }

    /// Draws a mapping to make, and its pages of the file.
    fn new_place(&mut self) -> Option<(Place, Range)> {
        let owner = self.owner()?;
        if self.model.places().len() >= PLACES as usize {
            return None;
        }
        let map = self.new_map();
        Some((Place { owner, map }, self.range()))
    }

    /// Draws a step about pages by ID whose outcome depends on which pages exist. Returns `None` if the server fills
    /// pages, because reclaim makes that unpredictable.
    fn known(&mut self, step: fn(Range) -> Step) -> Option<Step> {
        if self.world.lazy { None } else { Some(step(self.range())) }
    }

    /// Draws a number of pages at the start of a mapping: all of them, or some.
    fn front(&mut self) -> Option<(Place, u64)> {
        let (place, pages) = self.place()?;
        let pages = if self.rng.bool() { pages } else { self.rng.u64(1..=pages) };
        Some((place, pages))
    }

    /// Draws a limit. Half of the limits are the initial one, because a low limit refuses steps that could reveal a
    /// bug.
    fn limit(&mut self) -> u64 {
        if self.rng.bool() { self.world.limit } else { self.rng.u64(1..self.world.limit) }
    }

    fn new_word(&mut self) -> u64 {
        self.words += 1;
        self.words
    }

    /// Draws a page of a mapping.
    fn page(&mut self) -> Option<(Place, u64)> {
        let (place, pages) = self.place()?;
        Some((place, self.rng.u64(0..pages)))
    }

    fn new_client(&mut self) -> Option<Client> {
        let room = self.model.clients().len() < CLIENTS as usize;
        room.then(|| {
            self.clients += 1;
            Client(self.clients - 1)
        })
    }

    fn new_map(&mut self) -> u32 {
        self.maps += 1;
        self.maps - 1
    }

    fn client(&mut self) -> Option<Client> {
        let clients = self.model.clients();
        self.choose(&clients)
    }

    /// Draws a process that can map: a client, or the server unless it fills pages.
    fn owner(&mut self) -> Option<Owner> {
        let clients = self.model.clients().into_iter().map(Owner::Client);
        let all: Vec<Owner> = clients.chain((!self.world.lazy).then_some(Owner::Server)).collect();
        self.choose(&all)
    }

    fn place(&mut self) -> Option<(Place, u64)> {
        let places = self.model.places();
        self.choose(&places)
    }

    /// Draws a range of pages of the file.
    fn range(&mut self) -> Range {
        self.range_of(self.pages)
    }

    /// Draws a range of the first `pages` pages.
    fn range_of(&mut self, pages: u64) -> Range {
        let first = self.rng.u64(0..pages);
        let pages = self.rng.u64(1..=pages - first);
        Range { first, pages }
    }

    /// Draws a range of pages of a mapping, rarely more than two.
    fn part(&mut self) -> Option<(Place, Range)> {
        let (place, all) = self.place()?;
        let Range { first, pages } = self.range_of(all);
        let most = if self.rng.u32(0..8) == 0 { all } else { 2 };
        let pages = pages.min(most);
        Some((place, Range { first, pages }))
    }

    fn choose<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        // A `usize` would give other scripts on 32-bit machines than on 64-bit machines.
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
        World { page: 4096, big_endian: false, lazy, limit: 6 }
    }

    #[test]
    fn a_seed_gives_a_script() {
        let of = |seed, lazy| text(&generate(seed, 12, 6, world(lazy)));
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
    fn every_kind_of_step_is_drawn_and_most_do_something() {
        let mut words = std::collections::BTreeSet::new();
        let (mut all, mut nothing) = (0, 0);
        for seed in 0..40 {
            let mut model = Model::new(world(false));
            for step in generate(seed, 60, 6, world(false)) {
                all += 1;
                nothing += usize::from(model.apply(&step) == Outcome::Nothing);
                let step = step.to_string();
                words.insert(step.split(' ').next().unwrap_or_default().to_owned());
            }
        }
        assert_eq!(words.len(), STEPS.len(), "{words:?}");
        assert!(nothing * 20 < all, "{nothing} of {all} do nothing");
    }

    #[test]
    fn a_server_that_fills_pages_maps_none() {
        let steps: Vec<Step> =
            (0..40).flat_map(|seed| generate(seed, 60, 6, world(true))).collect();
        let text = text(&steps);
        for not in ["get", "free", " s.", " s "] {
            assert!(!text.contains(not), "{not:?}");
        }
    }
}

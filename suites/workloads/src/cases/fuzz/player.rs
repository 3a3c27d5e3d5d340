// SPDX-License-Identifier: MIT OR Apache-2.0
//! Has processes execute the steps of a script, and compares each outcome with that of the model.

use std::collections::BTreeMap;

use sys::{Advice, Errno, Prot, page_size};

use super::model::{Counts, Model, Outcome, WORD_AT, World};
use super::step::{self, Owner, Place, Range, Step};
use crate::stage::command::{Map, MappingCommand, Touch};
use crate::stage::counters::{self, LIMIT_PER_CONNECTION, PAGES_TOTAL};
use crate::stage::{Case, Client, Failure, Process, Server, expect};
use server::Behaviour;

/// Failure of a script.
#[derive(Clone, Debug)]
pub(crate) struct ScriptFailure {
    /// Number of steps up to the one that failed. A failure at the end of the script counts for its last step.
    pub steps: usize,
    /// Text that says what was expected and what was found.
    pub why: String,
}

/// Runs a script with its own server and clients, up to its end or its first failure, and ends them.
pub(crate) fn run(
    case: &mut Case,
    world: World,
    steps: &[Step],
) -> Result<Option<ScriptFailure>, Failure> {
    counters::set(LIMIT_PER_CONNECTION, world.limit)?;
    let behaviour = if world.lazy { Behaviour::lazy() } else { Behaviour::default() };
    let server = case.serve_as(behaviour)?;
    let mut player = Player {
        period: case.period(),
        case,
        clients: BTreeMap::new(),
        server: Actor::new(server),
        limit: world.limit,
    };
    let mut model = Model::new(world);
    let failure = player.play(&mut model, steps);
    player.end(failure)
}

/// Process and its mappings, by their numbers in the script.
struct Actor<P> {
    process: P,
    maps: BTreeMap<u32, Map>,
}

impl<P> Actor<P> {
    fn new(process: P) -> Actor<P> {
        Actor { process, maps: BTreeMap::new() }
    }
}

struct Player<'c> {
    case: &'c mut Case,
    period: u64,
    server: Actor<Server>,
    clients: BTreeMap<step::Client, Actor<Client>>,
    /// Current limit of pages of the connection.
    limit: u64,
}

impl Player<'_> {
    /// Executes the steps, and then those that end all clients and remove all mappings.
    fn play(&mut self, model: &mut Model, steps: &[Step]) -> Option<ScriptFailure> {
        let script_failure = |index: usize, step: &str, failure: Failure| {
            let (Failure::Fail(why) | Failure::Skip(why)) = failure;
            ScriptFailure { steps: steps.len().min(index + 1), why: format!("`{step}`: {why}") }
        };
        for (index, step) in steps.iter().enumerate() {
            if let Err(failure) = self.step(model, step) {
                return Some(script_failure(index, &step.to_string(), failure));
            }
        }
        for step in model.last_steps() {
            if let Err(failure) = self.step(model, &step) {
                return Some(script_failure(steps.len(), &step.to_string(), failure));
            }
        }
        let total = counters::read(PAGES_TOTAL);
        let nothing = total.and_then(|pages| expect("pages in total", pages, 0));
        nothing.err().map(|failure| script_failure(steps.len(), "the end", failure))
    }

    fn step(&mut self, model: &mut Model, step: &Step) -> Result<(), Failure> {
        let expected = model.apply(step);
        if expected == Outcome::Nothing {
            return Ok(());
        }
        expect("result", self.execute(step, &expected)?, expected)?;
        self.compare(step, model.counts())
    }

    /// Compares the counters. Reads the server's log only after a step that can make the kernel send a request.
    fn compare(&mut self, step: &Step, expected: Counts) -> Result<(), Failure> {
        let server = &mut self.server.process;
        let (mut mmaps, mut munmaps) = (expected.mmaps, expected.munmaps);
        if step.maps() {
            (mmaps, munmaps) = server.count_maps()?;
        }
        if munmaps < expected.munmaps {
            munmaps = server.await_munmaps(expected.munmaps)?.munmaps;
        }
        let pages = match expected.pages {
            Some(_) => Some(server.pages()?),
            None => None,
        };
        let found = Counts { pages, maps: server.counter("maps")?, mmaps, munmaps };
        expect("the counters", found, expected)
    }

    /// Executes a step. If `expected` says that an access fails, a child does the access, so that the signal kills only
    /// the child.
    fn execute(&mut self, step: &Step, expected: &Outcome) -> Result<Outcome, Failure> {
        match *step {
            Step::Start { client } => {
                let process = self.case.client(&client.to_string(), &self.server.process)?;
                self.clients.insert(client, Actor::new(process));
            }
            Step::Map { place, range } => {
                let (offset, len) = self.bytes(place.owner, range)?;
                let map = self.process(place.owner)?.try_map(offset, len)?;
                return self.keep_or_refused(place, map);
            }
            Step::Look { place, range } => {
                let (offset, len) = self.bytes(place.owner, range)?;
                let map = self.process(place.owner)?.try_map_readonly(offset, len)?;
                return self.keep_or_refused(place, map);
            }
            Step::Private { owner, range } => {
                let (offset, len) = self.bytes(owner, range)?;
                return Ok(refused(self.process(owner)?.try_map_private(offset, len)?));
            }
            Step::Long { owner } => {
                let (offset, len) = self.bytes(owner, Range { first: 0, pages: self.limit + 1 })?;
                return Ok(refused(self.process(owner)?.try_map(offset, len)?));
            }
            Step::Unmap { place } => {
                let (process, map) = self.place(place)?;
                process.unmap(map)?;
            }
            Step::Punch { place, part, rest } => {
                let (process, map) = self.place(place)?;
                let behind = process.punch(map, pages(part.first), pages(part.pages))?;
                self.rename(place, rest, behind)?;
            }
            Step::Protect { place, part, middle, rest } => {
                let changed = self.cut(place, part, middle, rest)?;
                let (process, map) = self.place(changed)?;
                process.protect(map, Prot::Read)?;
            }
            Step::Shift { place, part, middle, rest } => {
                let shifted = self.cut(place, part, middle, rest)?;
                self.move_away(shifted, part.pages)?;
            }
            Step::Move { place, pages } => self.move_away(place, pages)?,
            Step::Zap { place } => {
                let (process, map) = self.place(place)?;
                process.call(map, MappingCommand::Advise(Advice::DontNeed))?;
            }
            Step::Store { place, page, word } => {
                let (process, map) = self.place(place)?;
                let at = pages(page) + WORD_AT;
                if let Outcome::Touch(_) = expected {
                    return Ok(touched(process.touch(map, at, true)?));
                }
                process.store(map, at, word)?;
            }
            Step::Load { place, page } => {
                let (process, map) = self.place(place)?;
                let at = pages(page) + WORD_AT;
                if let Outcome::Touch(_) = expected {
                    return Ok(touched(process.touch(map, at, false)?));
                }
                return process.load(map, at).map(Outcome::Word);
            }
            Step::Put { range, seed } => {
                let first = self.id(range.first)?;
                // From the word of the first page to the word of the last.
                let len = pages(range.pages - 1) + size_of::<u64>();
                let server = &mut self.server.process;
                let put = server.load_pages(first, WORD_AT, len, seed)?;
                return Ok(put.map_or_else(Outcome::Refused, |()| Outcome::Done));
            }
            Step::Get { range } => {
                let first = self.id(range.first)?;
                let got = self.server.process.save_words(first, WORD_AT, range.pages as usize)?;
                return Ok(got.map_or_else(Outcome::Refused, Outcome::Words));
            }
            Step::Free { range } => {
                let first = self.id(range.first)?;
                let freed = self.server.process.free_pages(first, range.pages)?;
                return Ok(freed.map_or_else(Outcome::Refused, |()| Outcome::Done));
            }
            Step::Fork { parent, child } => {
                let actor = self.client(parent)?;
                let process = actor.process.fork(&child.to_string())?;
                let maps = actor.maps.clone();
                self.clients.insert(child, Actor { process, maps });
            }
            Step::Quit { client } => self.remove(client)?.quit()?,
            Step::Kill { client } => self.remove(client)?.kill()?,
            Step::Limit { pages } => {
                counters::set(LIMIT_PER_CONNECTION, pages)?;
                self.limit = pages;
            }
            Step::Check {} => return self.check(expected),
        }
        Ok(Outcome::Done)
    }

    /// Treats a mapping as three from now on, and returns the one in the middle. The part in front keeps its number,
    /// `part` becomes `middle`, and the part behind becomes `rest`.
    fn cut(&mut self, place: Place, part: Range, middle: u32, rest: u32) -> Result<Place, Failure> {
        let (process, map) = self.place(place)?;
        let cut = process.cut(map, pages(part.first))?;
        let behind = process.cut(cut, pages(part.pages))?;
        self.rename(place, middle, cut)?;
        self.rename(place, rest, behind)?;
        let owner = place.owner;
        Ok(Place { owner, map: middle })
    }

    /// Moves the first pages of a mapping to another address of the same colour.
    fn move_away(&mut self, place: Place, left: u64) -> Result<(), Failure> {
        let period = self.period;
        let (process, map) = self.place(place)?;
        let call = MappingCommand::Move {
            len: pages(left),
            residue: process.address(map)? % period,
            period,
        };
        process.call(map, call)
    }

    /// Loads the expected words, up to the first that differs.
    fn check(&mut self, expected: &Outcome) -> Result<Outcome, Failure> {
        if let Outcome::PageWords(words) = expected {
            for &(place, page, word) in words {
                let (process, map) = self.place(place)?;
                let found = process.load(map, pages(page) + WORD_AT)?;
                expect(&format!("page {page} of {place}"), found, word)?;
            }
        }
        Ok(expected.clone())
    }

    /// Ends the processes that still run. After a failure of the script, failures to end them are ignored.
    fn end(self, failure: Option<ScriptFailure>) -> Result<Option<ScriptFailure>, Failure> {
        let Player { case, server: Actor { process: server, .. }, clients, .. } = self;
        if failure.is_some() {
            for actor in clients.into_values() {
                let _ = actor.process.kill();
            }
            if server.quit().is_ok() {
                case.reuse_server_name();
            }
            return Ok(failure);
        }
        server.quit()?;
        case.reuse_server_name();
        Ok(None)
    }

    /// Returns the ID of page `page` of the file.
    fn id(&self, page: u64) -> Result<u64, Failure> {
        self.server.process.page_id(page * page_size() as u64)
    }

    /// Returns the offset and the length in bytes, in the file of a client or the channel of the server.
    fn bytes(&self, owner: Owner, range: Range) -> Result<(u64, usize), Failure> {
        let first = match owner {
            Owner::Server => self.id(range.first)?,
            Owner::Client(_) => range.first,
        };
        Ok((first * page_size() as u64, pages(range.pages)))
    }

    fn client(&mut self, client: step::Client) -> Result<&mut Actor<Client>, Failure> {
        let actor = self.clients.get_mut(&client);
        actor.ok_or_else(|| Failure::new(format!("{client} is not running")))
    }

    fn remove(&mut self, client: step::Client) -> Result<Client, Failure> {
        let actor = self.clients.remove(&client);
        let actor = actor.ok_or_else(|| Failure::new(format!("{client} is not running")))?;
        Ok(actor.process)
    }

    fn actor(
        &mut self,
        owner: Owner,
    ) -> Result<(&mut dyn Process, &mut BTreeMap<u32, Map>), Failure> {
        Ok(match owner {
            Owner::Server => (&mut self.server.process, &mut self.server.maps),
            Owner::Client(client) => {
                let actor = self.client(client)?;
                (&mut actor.process, &mut actor.maps)
            }
        })
    }

    fn process(&mut self, owner: Owner) -> Result<&mut dyn Process, Failure> {
        self.actor(owner).map(|(process, _)| process)
    }

    fn place(&mut self, place: Place) -> Result<(&mut dyn Process, Map), Failure> {
        let (process, maps) = self.actor(place.owner)?;
        let map = maps.get(&place.map).copied();
        let map = map.ok_or_else(|| Failure::new(format!("{place} is not mapped")))?;
        Ok((process, map))
    }

    fn keep(&mut self, place: Place, map: Map) -> Result<(), Failure> {
        self.actor(place.owner)?.1.insert(place.map, map);
        Ok(())
    }

    fn keep_or_refused(
        &mut self,
        place: Place,
        map: Result<Map, Errno>,
    ) -> Result<Outcome, Failure> {
        if let Ok(map) = map {
            self.keep(place, map)?;
        }
        Ok(refused(map))
    }

    /// Makes `map` mapping `number` of the process that owns `place`.
    fn rename(&mut self, place: Place, number: u32, map: Map) -> Result<(), Failure> {
        let owner = place.owner;
        self.keep(Place { owner, map: number }, map)
    }
}

/// Returns the length of `pages` pages in bytes.
fn pages(pages: u64) -> usize {
    pages as usize * page_size()
}

fn refused(map: Result<Map, Errno>) -> Outcome {
    map.map_or_else(Outcome::Refused, |_| Outcome::Done)
}

/// Returns the outcome of an access by a child.
fn touched(touch: Touch) -> Outcome {
    match touch {
        Touch::Success => Outcome::Done,
        other => Outcome::Touch(other),
    }
}

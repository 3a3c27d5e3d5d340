// SPDX-License-Identifier: MIT OR Apache-2.0
//! Has processes take the steps of a script, and compares what comes of each with what should.

use std::collections::BTreeMap;

use sys::{Advice, Errno, page_size};

use super::model::{Counts, Model, Outcome, WORD_AT, World};
use super::step::{self, Place, Range, Step, Who};
use crate::stage::command::{Map, MappingCommand, Touch};
use crate::stage::counters::{self, LIMIT_PER_CONNECTION, PAGES_TOTAL};
use crate::stage::{Case, Client, Failure, Process, Server, expect};
use server::Behaviour;

/// A script that did not go as it should.
#[derive(Clone, Debug)]
pub(crate) struct ScriptFailure {
    /// Steps up to the one it came out in; that of the end counts as the last.
    pub steps: usize,
    /// What was expected and what was found.
    pub why: String,
}

/// Runs a script with a server and clients of its own, up to its end or its first failure. Nothing is left of them.
pub(crate) fn run(
    case: &mut Case,
    world: World,
    steps: &[Step],
) -> Result<Option<ScriptFailure>, Failure> {
    counters::set(LIMIT_PER_CONNECTION, world.limit)?;
    let behaviour = match world.lazy {
        true => Behaviour::lazy(),
        false => Behaviour::default(),
    };
    let server = case.serve_as(behaviour)?;
    let mut player = Player {
        period: case.period(),
        case,
        clients: BTreeMap::new(),
        server: Actor::new(server),
        limit: world.limit,
    };
    let mut model = Model::new(world);
    let broken = player.play(&mut model, steps);
    player.end(broken)
}

/// A process, and its mappings by their numbers in the script.
struct Actor<P> {
    process: P,
    maps: BTreeMap<u32, Map>,
}

impl<P> Actor<P> {
    fn new(process: P) -> Actor<P> {
        Actor {
            process,
            maps: BTreeMap::new(),
        }
    }
}

struct Player<'c> {
    case: &'c mut Case,
    period: u64,
    server: Actor<Server>,
    clients: BTreeMap<step::Client, Actor<Client>>,
    /// Pages the connection may have now.
    limit: u64,
}

impl Player<'_> {
    /// Takes the steps, and those after which nothing is left.
    fn play(&mut self, model: &mut Model, steps: &[Step]) -> Option<ScriptFailure> {
        let broken = |index: usize, step: &str, failure: Failure| {
            let (Failure::Fail(why) | Failure::Skip(why)) = failure;
            ScriptFailure {
                steps: steps.len().min(index + 1),
                why: format!("`{step}`: {why}"),
            }
        };
        for (index, step) in steps.iter().enumerate() {
            if let Err(failure) = self.step(model, step) {
                return Some(broken(index, &step.to_string(), failure));
            }
        }
        for step in model.last_steps() {
            if let Err(failure) = self.step(model, &step) {
                return Some(broken(steps.len(), &step.to_string(), failure));
            }
        }
        let total = counters::read(PAGES_TOTAL);
        let nothing = total.and_then(|pages| expect("pages in total", pages, 0));
        nothing
            .err()
            .map(|failure| broken(steps.len(), "the end", failure))
    }

    fn step(&mut self, model: &mut Model, step: &Step) -> Result<(), Failure> {
        let expected = model.take(step);
        if expected == Outcome::Nothing {
            return Ok(());
        }
        let found = self.take(step, &expected)?;
        expect("result", found, expected)?;
        self.compare(step, model.counts())
    }

    /// What is counted agrees. The server is asked of what it heard only where it could have heard something.
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
        let found = Counts {
            pages,
            maps: server.counter("maps")?,
            mmaps,
            munmaps,
        };
        expect("the counters", found, expected)
    }

    /// Takes a step. What is expected says whether a touch ends in a signal, which only a child should die of.
    fn take(&mut self, step: &Step, expected: &Outcome) -> Result<Outcome, Failure> {
        match *step {
            Step::Start { client } => {
                let name = client.to_string();
                let process = self.case.client(&name, &self.server.process)?;
                self.clients.insert(client, Actor::new(process));
            }
            Step::Map { place, range } => {
                let (offset, len) = self.bytes(place.who, range)?;
                let map = self.process(place.who)?.try_map(offset, len)?;
                return self.keep_or_refused(place, map);
            }
            Step::Look { place, range } => {
                let (offset, len) = self.bytes(place.who, range)?;
                let map = self.process(place.who)?.try_map_readonly(offset, len)?;
                return self.keep_or_refused(place, map);
            }
            Step::Private { who, range } => {
                let (offset, len) = self.bytes(who, range)?;
                let map = self.process(who)?.try_map_private(offset, len)?;
                return Ok(refused(map));
            }
            Step::Long { who } => {
                let range = Range {
                    first: 0,
                    pages: self.limit + 1,
                };
                let (offset, len) = self.bytes(who, range)?;
                let map = self.process(who)?.try_map(offset, len)?;
                return Ok(refused(map));
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
            Step::Protect {
                place,
                part,
                middle,
                rest,
            } => {
                let changed = self.cut(place, part, middle, rest)?;
                let (process, map) = self.place(changed)?;
                process.protect_readonly(map)?;
            }
            Step::Shift {
                place,
                part,
                middle,
                rest,
            } => {
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
                // From the first word that is looked at to the last.
                let len = pages(range.pages - 1) + size_of::<u64>();
                let server = &mut self.server.process;
                let put = server.load_pages(first, WORD_AT, len, seed)?;
                return Ok(put.map_or_else(Outcome::Refused, |()| Outcome::Done));
            }
            Step::Get { range } => {
                let first = self.id(range.first)?;
                let got = self
                    .server
                    .process
                    .save_words(first, WORD_AT, range.pages as usize)?;
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
            Step::Check {} => return self.look(expected),
        }
        Ok(Outcome::Done)
    }

    /// Treats a mapping as three from now on: what is in front keeps its number, `part` is `middle`, behind it is `rest`.
    /// The one in the middle.
    fn cut(&mut self, place: Place, part: Range, middle: u32, rest: u32) -> Result<Place, Failure> {
        let (process, map) = self.place(place)?;
        let cut = process.cut(map, pages(part.first))?;
        let behind = process.cut(cut, pages(part.pages))?;
        self.rename(place, middle, cut)?;
        self.rename(place, rest, behind)?;
        let who = place.who;
        Ok(Place { who, map: middle })
    }

    /// Has the first pages of a mapping moved to another address of the same colour.
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

    /// Loads the words that are expected to be there, up to the first that is not.
    fn look(&mut self, expected: &Outcome) -> Result<Outcome, Failure> {
        if let Outcome::Seen(words) = expected {
            for &(place, page, word) in words {
                let (process, map) = self.place(place)?;
                let found = process.load(map, pages(page) + WORD_AT)?;
                expect(&format!("page {page} of {place}"), found, word)?;
            }
        }
        Ok(expected.clone())
    }

    /// Ends what still runs. It need not end well where the script has not.
    fn end(self, broken: Option<ScriptFailure>) -> Result<Option<ScriptFailure>, Failure> {
        let Player {
            case,
            server: Actor {
                process: server, ..
            },
            clients,
            ..
        } = self;
        if broken.is_some() {
            for actor in clients.into_values() {
                let _ = actor.process.kill();
            }
            if server.quit().is_ok() {
                case.reuse_server_name();
            }
            return Ok(broken);
        }
        server.quit()?;
        case.reuse_server_name();
        Ok(None)
    }

    /// Page `page` of the file by its ID.
    fn id(&self, page: u64) -> Result<u64, Failure> {
        self.server.process.page_id(page * page_size() as u64)
    }

    /// Offset and length in what a process maps.
    fn bytes(&self, who: Who, range: Range) -> Result<(u64, usize), Failure> {
        let first = match who {
            Who::Server => self.id(range.first)?,
            Who::Client(_) => range.first,
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

    fn actor(&mut self, who: Who) -> Result<(&mut dyn Process, &mut BTreeMap<u32, Map>), Failure> {
        Ok(match who {
            Who::Server => (&mut self.server.process, &mut self.server.maps),
            Who::Client(client) => {
                let actor = self.client(client)?;
                (&mut actor.process, &mut actor.maps)
            }
        })
    }

    fn process(&mut self, who: Who) -> Result<&mut dyn Process, Failure> {
        self.actor(who).map(|(process, _)| process)
    }

    fn place(&mut self, place: Place) -> Result<(&mut dyn Process, Map), Failure> {
        let (process, maps) = self.actor(place.who)?;
        let map = maps.get(&place.map).copied();
        let map = map.ok_or_else(|| Failure::new(format!("{place} is not mapped")))?;
        Ok((process, map))
    }

    fn keep(&mut self, place: Place, map: Map) -> Result<(), Failure> {
        self.actor(place.who)?.1.insert(place.map, map);
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

    /// Mapping `number` of the process that has `place`.
    fn rename(&mut self, place: Place, number: u32, map: Map) -> Result<(), Failure> {
        let who = place.who;
        self.keep(Place { who, map: number }, map)
    }
}

/// The bytes of so many pages.
fn pages(pages: u64) -> usize {
    pages as usize * page_size()
}

fn refused(map: Result<Map, Errno>) -> Outcome {
    map.map_or_else(Outcome::Refused, |_| Outcome::Done)
}

/// How a touch by a child has ended.
fn touched(touched: Touch) -> Outcome {
    match touched {
        Touch::Success => Outcome::Done,
        other => Outcome::Touch(other),
    }
}

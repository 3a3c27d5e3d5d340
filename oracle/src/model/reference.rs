// SPDX-License-Identifier: GPL-2.0-or-later
//! A reference model of a single line of two words, with the data in them. It tracks every state that the hardware can
//! be in, because any copy may be evicted at any time. It is slow, but simple enough to be verified by reading.

use std::collections::BTreeSet;

use oracle_wire::config::WritePolicy;

/// Places in the cache.
pub const PLACES: usize = 3;
/// Words in the line.
pub const WORDS: usize = 2;

/// Content of the line: for each word, the number of the store that wrote it.
type Words = [u8; WORDS];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    memory: Words,
    /// Content of each copy, and true if the copy is dirty.
    copies: [Option<(Words, bool)>; PLACES],
}

/// All states that the hardware can be in, and the content that a coherent machine would have.
#[derive(Clone, Debug)]
pub struct Reference {
    write: WritePolicy,
    states: BTreeSet<State>,
    latest: Words,
}

impl Reference {
    /// Returns an empty cache.
    pub fn new(write: WritePolicy) -> Reference {
        let empty = State { memory: [0; WORDS], copies: [None; PLACES] };
        Reference { write, states: [empty].into(), latest: [0; WORDS] }
    }

    /// Returns true if a load of the word may return an old value. The place `None` bypasses the cache.
    pub fn load(&mut self, place: Option<usize>, word: usize) -> bool {
        let latest = self.latest[word];
        let mut stale = false;
        self.each(|state| {
            let value = match place {
                None => state.memory[word],
                Some(place) => state.fill(place)[word],
            };
            stale |= value != latest;
        });
        stale
    }

    /// Writes a new value to the word.
    pub fn store(&mut self, place: Option<usize>, word: usize) {
        self.latest[word] += 1;
        let (value, write) = (self.latest[word], self.write);
        self.each(|state| {
            let copy = match (place, write) {
                (None, _) => None,
                (Some(place), WritePolicy::Through) => state.copies[place].as_mut(),
                (Some(place), WritePolicy::Back) => {
                    state.fill(place);
                    state.copies[place].as_mut()
                }
            };
            if let Some((words, dirty)) = copy {
                words[word] = value;
                *dirty = write == WritePolicy::Back;
            }
            if place.is_none() || write == WritePolicy::Through {
                state.memory[word] = value;
            }
        });
    }

    /// Writes a dirty copy back.
    pub fn clean(&mut self, place: usize) {
        self.each(|state| state.write_back(place));
    }

    /// Writes a dirty copy back and drops it.
    pub fn flush(&mut self, place: usize) {
        self.each(|state| state.evict(place));
    }

    /// Returns true if some load could now return an old value.
    pub fn is_incoherent(&self) -> bool {
        let probe = |place, word| self.clone().load(place, word);
        let places = (0..PLACES).map(Some).chain([None]);
        places.into_iter().any(|place| (0..WORDS).any(|word| probe(place, word)))
    }

    /// Applies `change` to every state, and to every state to which evictions can lead.
    fn each(&mut self, mut change: impl FnMut(&mut State)) {
        let mut reached = BTreeSet::new();
        let mut open: Vec<State> = self.states.iter().copied().collect();
        while let Some(state) = open.pop() {
            if reached.insert(state) {
                for place in (0..PLACES).filter(|&place| state.copies[place].is_some()) {
                    let mut evicted = state;
                    evicted.evict(place);
                    open.push(evicted);
                }
            }
        }
        let changed = reached.into_iter().map(|mut state| {
            change(&mut state);
            state
        });
        self.states = changed.collect();
    }
}

impl State {
    /// Returns the content of a copy, after allocating it if necessary.
    fn fill(&mut self, place: usize) -> Words {
        let memory = self.memory;
        self.copies[place].get_or_insert((memory, false)).0
    }

    fn write_back(&mut self, place: usize) {
        if let Some((words, dirty)) = &mut self.copies[place] {
            if *dirty {
                self.memory = *words;
                *dirty = false;
            }
        }
    }

    fn evict(&mut self, place: usize) {
        self.write_back(place);
        self.copies[place] = None;
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! What several processes do at the same time in the memory they share.
//!
//! Everything here goes through a [`Mapping`] alone, so that the same code runs on direct-mapped pages and, to compare
//! with, on an ordinary shared file.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sys::{FutexWait, Instant, Mapping, fence, yield_now};

use crate::stage::pattern;

/// How long a player waits for another before it gives up. Far above any honest delay (a slow machine under KASAN
/// answers in milliseconds), and below the deadlines of the cases, so that the player can say what it waited for.
const PATIENCE: Duration = Duration::from_secs(8);

/// Byte of the word that says whose turn it is; it has a cache line of its own.
pub(crate) const TURN: usize = 0;

/// First byte behind the turn.
pub(crate) const DATA: usize = 64;

/// One process's part.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// In turn, checks what the player before wrote and writes something new.
    PingPong {
        /// Number of this player, from 0.
        player: u32,
        /// How many there are.
        players: u32,
        /// Turns of each.
        rounds: u32,
        /// Words of 8 bytes that are passed on.
        words: usize,
        /// How it waits for its turn.
        wait: Wait,
    },
    /// Writes records into a ring without ever waiting for a reader.
    RingWriter(Ring),
    /// Reads what it can of them, and checks that no record is mixed from two.
    RingReader(Ring),
    /// Passes blocks of `size` bytes to the other side and takes as many back: what throughput is measured with.
    /// Gives `nanos`, for all rounds but the first.
    Exchange {
        /// Starts each round.
        leads: bool,
        /// Bytes in a block.
        size: usize,
        /// Blocks in each direction.
        rounds: u32,
    },
}

/// How a player waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wait {
    /// Looks again and again.
    Spin,
    /// Sleeps on a futex that lies in the shared memory.
    Futex,
}

/// A ring of records, each guarded by a sequence number that is odd while the record changes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Ring {
    /// Records in the ring.
    pub slots: u32,
    /// Words of 8 bytes in a record.
    pub words: usize,
    /// Records written in all.
    pub records: u32,
}

/// Plays a role to its end; figures of it by name.
///
/// # Errors
/// What was expected in memory and what was found, or what never came.
pub fn play(role: &Role, memory: &Mapping) -> Result<Vec<(String, u64)>, String> {
    match *role {
        Role::PingPong {
            player,
            players,
            rounds,
            words,
            wait,
        } => ping_pong(memory, player, players, rounds, words, wait),
        Role::RingWriter(ring) => ring_write(memory, ring),
        Role::RingReader(ring) => ring_read(memory, ring),
        Role::Exchange {
            leads,
            size,
            rounds,
        } => exchange(memory, leads, size, rounds),
    }
}

fn ping_pong(
    memory: &Mapping,
    player: u32,
    players: u32,
    rounds: u32,
    words: usize,
    wait: Wait,
) -> Result<Vec<(String, u64)>, String> {
    for round in 0..rounds {
        let turn = round * players + player;
        await_turn(memory, turn, wait)?;
        if turn > 0 {
            check_words(memory, DATA, words, u64::from(turn))
                .map_err(|why| format!("turn {turn}, {why}"))?;
        }
        write_words(memory, DATA, words, u64::from(turn) + 1);
        memory.store_release(TURN, turn + 1);
        if wait == Wait::Futex {
            memory
                .futex_wake(TURN, u32::MAX >> 1)
                .map_err(|error| error.to_string())?;
        }
    }
    Ok(Vec::new())
}

/// Waits until the word at [`TURN`] is `turn`.
fn await_turn(memory: &Mapping, turn: u32, wait: Wait) -> Result<(), String> {
    let mut patience = Patience::new();
    loop {
        let now = memory.load_acquire(TURN);
        if now == turn {
            return Ok(());
        }
        match wait {
            Wait::Spin => {
                if patience.ran_out() {
                    return Err(format!("turn {turn} never came: the word stayed at {now}"));
                }
                yield_now();
            }
            Wait::Futex => match memory.futex_wait(TURN, now, PATIENCE) {
                Ok(FutexWait::TimedOut) => {
                    let then = memory.load_acquire(TURN);
                    return Err(format!(
                        "turn {turn}: nobody woke the futex while its word went from {now} to {then}"
                    ));
                }
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            },
        }
    }
}

/// Looks at the clock now and then: the clock is slow where it is emulated.
struct Patience {
    start: Instant,
    looks: u32,
}

impl Patience {
    fn new() -> Patience {
        Patience {
            start: Instant::now(),
            looks: 0,
        }
    }

    fn ran_out(&mut self) -> bool {
        self.looks = self.looks.wrapping_add(1);
        self.looks % 256 == 0 && self.start.elapsed() > PATIENCE
    }
}

fn write_words(memory: &Mapping, at: usize, words: usize, seed: u64) {
    for index in 0..words {
        memory.store(at + index * 8, pattern::word(seed, index as u64));
    }
}

pub(crate) fn check_words(
    memory: &Mapping,
    at: usize,
    words: usize,
    seed: u64,
) -> Result<(), String> {
    for index in 0..words {
        let byte = at + index * 8;
        let (found, expected) = (memory.load::<u64>(byte), pattern::word(seed, index as u64));
        if found != expected {
            return Err(format!(
                "byte {byte:#x}: expected {expected:#x}, found {found:#x}"
            ));
        }
    }
    Ok(())
}

impl Ring {
    fn slot(&self, record: u32) -> usize {
        DATA + (record % self.slots) as usize * (8 + self.words * 8)
    }
}

/// Record n lies under sequence number 2n; 2n - 1 while it is written.
fn ring_write(memory: &Mapping, ring: Ring) -> Result<Vec<(String, u64)>, String> {
    for record in 1..=ring.records {
        let slot = ring.slot(record);
        memory.store_release(slot, 2 * record - 1);
        fence();
        write_words(memory, slot + 8, ring.words, u64::from(record));
        memory.store_release(slot, 2 * record);
        if record % ring.slots == 0 {
            // Readers get a look at this lap even where all share one processor.
            yield_now();
        }
    }
    Ok(Vec::new())
}

fn ring_read(memory: &Mapping, ring: Ring) -> Result<Vec<(String, u64)>, String> {
    let (mut whole, mut torn) = (0, 0);
    let mut next = 1;
    let mut patience = Patience::new();
    while next <= ring.records {
        let slot = ring.slot(next);
        let before = memory.load_acquire(slot);
        let record = before / 2;
        if before % 2 == 1 || record < next {
            if patience.ran_out() {
                return Err(format!(
                    "record {next} never came: its sequence stayed at {before}"
                ));
            }
            yield_now();
            continue;
        }
        let intact = check_words(memory, slot + 8, ring.words, u64::from(record));
        fence();
        let after = memory.load_acquire(slot);
        if after < before {
            return Err(format!(
                "sequence of record {record} went back from {before} to {after}"
            ));
        }
        if after != before {
            torn += 1;
            continue;
        }
        intact.map_err(|why| format!("record {record} under an unchanged sequence, {why}"))?;
        whole += 1;
        next = record + 1;
        patience = Patience::new();
    }
    Ok(vec![("whole".into(), whole), ("torn".into(), torn)])
}

fn exchange(
    memory: &Mapping,
    leads: bool,
    size: usize,
    rounds: u32,
) -> Result<Vec<(String, u64)>, String> {
    let mut block = vec![0; size];
    let mut start = Instant::now();
    for round in 0..rounds {
        if round == 1 {
            // The first round was spent waiting for the other side to arrive.
            start = Instant::now();
        }
        let mine = 2 * round + u32::from(!leads);
        await_turn(memory, mine, Wait::Spin)?;
        if mine > 0 {
            memory.copy_out(DATA, &mut block);
            // The first and last byte of a block are its number: cheap, and enough to see a stale block.
            let expected = (mine - 1) as u8;
            if block[0] != expected || block[size - 1] != expected {
                return Err(format!(
                    "block {mine}: expected {expected} at both ends, found {} and {}",
                    block[0],
                    block[size - 1]
                ));
            }
        }
        block[0] = mine as u8;
        block[size - 1] = mine as u8;
        memory.copy_in(DATA, &block);
        memory.store_release(TURN, mine + 1);
    }
    Ok(vec![("nanos".into(), start.elapsed().as_nanos() as u64)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use sys::{ExitStatus, ForkResult, Prot, Sharing, exit, fork, memfd, page_size, wait};

    fn memory() -> Mapping {
        let len = 4 * page_size();
        let fd = memfd("roles", len as u64).unwrap();
        Mapping::of(&fd, 0, len, Prot::ReadWrite, Sharing::Shared).unwrap()
    }

    /// Plays the roles in processes of their own; true if all held.
    fn all_hold(memory: &Mapping, roles: &[Role]) -> bool {
        let pids: Vec<_> = roles
            .iter()
            .map(|role| match fork().unwrap() {
                ForkResult::Parent(pid) => pid,
                ForkResult::Child => exit(i32::from(play(role, memory).is_err())),
            })
            .collect();
        let ends: Vec<_> = pids.into_iter().map(|pid| wait(pid).unwrap()).collect();
        ends.iter().all(|end| *end == ExitStatus::Code(0))
    }

    fn players(wait: Wait) -> [Role; 2] {
        [0, 1].map(|player| Role::PingPong {
            player,
            players: 2,
            rounds: 20,
            words: 30,
            wait,
        })
    }

    #[test]
    fn honest_memory_lets_every_role_end_well() {
        assert!(all_hold(&memory(), &players(Wait::Spin)));
        assert!(all_hold(&memory(), &players(Wait::Futex)));
        let ring = Ring {
            slots: 8,
            words: 4,
            records: 2000,
        };
        assert!(all_hold(
            &memory(),
            &[
                Role::RingReader(ring),
                Role::RingReader(ring),
                Role::RingWriter(ring)
            ]
        ));
        let exchange = |leads| Role::Exchange {
            leads,
            size: 4096,
            rounds: 300,
        };
        assert!(all_hold(&memory(), &[exchange(true), exchange(false)]));
    }

    #[test]
    fn a_wrong_word_ends_the_game() {
        let memory = memory();
        write_words(&memory, DATA, 30, 1);
        memory.store::<u8>(DATA + 8 * 29, 0);
        memory.store_release(TURN, 1);
        let [_, second] = players(Wait::Spin);
        let why = play(&second, &memory).unwrap_err();
        assert!(why.starts_with("turn 1, byte 0x128: expected "), "{why}");
    }

    #[test]
    fn a_torn_record_is_noticed() {
        let memory = memory();
        let ring = Ring {
            slots: 2,
            words: 4,
            records: 2,
        };
        play(&Role::RingWriter(ring), &memory).unwrap();
        assert!(play(&Role::RingReader(ring), &memory).is_ok());
        memory.store::<u64>(ring.slot(2) + 8, 0);
        let why = play(&Role::RingReader(ring), &memory).unwrap_err();
        assert!(
            why.starts_with("record 2 under an unchanged sequence"),
            "{why}"
        );
    }

    #[test]
    fn a_stale_block_is_noticed() {
        let memory = memory();
        memory.store_release(TURN, 1);
        let answer = Role::Exchange {
            leads: false,
            size: 64,
            rounds: 1,
        };
        memory.store::<u8>(DATA + 63, 5);
        let why = play(&answer, &memory).unwrap_err();
        assert_eq!(why, "block 1: expected 0 at both ends, found 0 and 5");
    }
}

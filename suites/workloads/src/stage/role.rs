// SPDX-License-Identifier: MIT OR Apache-2.0
//! Roles that processes play concurrently in shared memory.
//!
//! A role accesses memory through its [`Mapping`] only, so that the same code runs on direct-mapped pages and, for
//! comparison, on an ordinary shared file.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sys::{FutexWait, Instant, Mapping, fence, yield_now};

use crate::stage::pattern;

/// Longest wait of a player for another. It is far above any real delay (a slow machine under KASAN answers in
/// milliseconds), and below the deadlines of the cases, so that the player can report what it waited for.
const TIMEOUT: Duration = Duration::from_secs(8);

/// Byte of the word that contains the number of the current turn. The word has a cache line of its own.
pub(crate) const TURN: usize = 0;

/// First byte behind the cache line of the turn.
pub(crate) const DATA: usize = 64;

/// Role of one process.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// Checks, at each of its turns, the words that the previous player wrote, and writes new ones.
    PingPong {
        /// Number of this player, from 0.
        player: u32,
        /// Number of players.
        players: u32,
        /// Turns of each player.
        rounds: u32,
        /// 8-byte words that each turn writes.
        words: usize,
        /// Way to wait for a turn.
        wait: Wait,
    },
    /// Writes records to a ring, and never waits for a reader.
    RingWriter(Ring),
    /// Reads records before the writer overwrites them, and checks that no record is a mixture of two.
    RingReader(Ring),
    /// Sends blocks to the other side and receives as many, to measure throughput. Reports `nanos`, the time of all
    /// rounds except the first.
    Exchange {
        /// True for the side that starts each round.
        leads: bool,
        /// Bytes in a block.
        size: usize,
        /// Blocks in each direction.
        rounds: u32,
    },
}

/// Way to wait for a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Wait {
    /// Polls the turn.
    Spin,
    /// Sleeps on a futex in the shared memory.
    Futex,
}

/// Ring of records. Each record has a sequence number, which is odd while the record is written.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Ring {
    /// Records in the ring.
    pub slots: u32,
    /// 8-byte words in a record.
    pub words: usize,
    /// Total number of records to write.
    pub records: u32,
}

/// Plays a role to its end, and returns its figures by name.
///
/// # Errors
/// Says what was expected in memory and what was found, or what did not happen in time.
pub(crate) fn play(role: &Role, memory: &Mapping) -> Result<Vec<(String, u64)>, String> {
    match *role {
        Role::PingPong { player, players, rounds, words, wait } => {
            ping_pong(memory, player, players, rounds, words, wait)
        }
        Role::RingWriter(ring) => ring_write(memory, ring),
        Role::RingReader(ring) => ring_read(memory, ring),
        Role::Exchange { leads, size, rounds } => exchange(memory, leads, size, rounds),
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
            memory.futex_wake(TURN, u32::MAX >> 1).map_err(|error| error.to_string())?;
        }
    }
    Ok(Vec::new())
}

/// Waits until the word at [`TURN`] is `turn`.
fn await_turn(memory: &Mapping, turn: u32, wait: Wait) -> Result<(), String> {
    let mut timeout = Timeout::new();
    loop {
        let now = memory.load_acquire(TURN);
        if now == turn {
            return Ok(());
        }
        match wait {
            Wait::Spin => {
                if timeout.expired() {
                    return Err(format!(
                        "turn {turn} did not come within {TIMEOUT:?}: the turn is still {now}"
                    ));
                }
                yield_now();
            }
            Wait::Futex => match memory.futex_wait(TURN, now, TIMEOUT) {
                Ok(FutexWait::TimedOut) => {
                    let then = memory.load_acquire(TURN);
                    return Err(format!(
                        "turn {turn}: no wake-up within {TIMEOUT:?}; the word was {now} and is now {then}"
                    ));
                }
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            },
        }
    }
}

/// Timeout of a polling loop. Reads the clock on every 256th poll only, because an emulated clock is slow.
struct Timeout {
    start: Instant,
    polls: u32,
}

impl Timeout {
    fn new() -> Timeout {
        Timeout { start: Instant::now(), polls: 0 }
    }

    fn expired(&mut self) -> bool {
        self.polls = self.polls.wrapping_add(1);
        self.polls % 256 == 0 && self.start.elapsed() > TIMEOUT
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
            return Err(format!("byte {byte:#x}: expected {expected:#x}, found {found:#x}"));
        }
    }
    Ok(())
}

impl Ring {
    fn slot(&self, record: u32) -> usize {
        DATA + (record % self.slots) as usize * (8 + self.words * 8)
    }
}

/// Record n has the sequence number 2n, or 2n - 1 while it is written.
fn ring_write(memory: &Mapping, ring: Ring) -> Result<Vec<(String, u64)>, String> {
    for record in 1..=ring.records {
        let slot = ring.slot(record);
        memory.store_release(slot, 2 * record - 1);
        fence();
        write_words(memory, slot + 8, ring.words, u64::from(record));
        memory.store_release(slot, 2 * record);
        if record % ring.slots == 0 {
            // Lets readers run and see this lap, even if all processes share one processor.
            yield_now();
        }
    }
    Ok(Vec::new())
}

fn ring_read(memory: &Mapping, ring: Ring) -> Result<Vec<(String, u64)>, String> {
    let (mut whole, mut torn) = (0, 0);
    let mut next = 1;
    let mut timeout = Timeout::new();
    while next <= ring.records {
        let slot = ring.slot(next);
        let before = memory.load_acquire(slot);
        let record = before / 2;
        if before % 2 == 1 || record < next {
            if timeout.expired() {
                return Err(format!(
                    "record {next} did not come within {TIMEOUT:?}: its sequence number is still {before}"
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
                "the sequence number of record {record} went back from {before} to {after}"
            ));
        }
        if after != before {
            torn += 1;
            continue;
        }
        intact
            .map_err(|why| format!("record {record} with an unchanged sequence number, {why}"))?;
        whole += 1;
        next = record + 1;
        timeout = Timeout::new();
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
            // The first round includes the wait for the other side to start.
            start = Instant::now();
        }
        let mine = 2 * round + u32::from(!leads);
        await_turn(memory, mine, Wait::Spin)?;
        if mine > 0 {
            memory.copy_out(DATA, &mut block);
            // The first and the last byte of a block contain its number, which is cheap and reveals a stale block.
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

    /// Plays each role in its own process. Returns true if all succeed.
    fn all_succeed(memory: &Mapping, roles: &[Role]) -> bool {
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
        [0, 1].map(|player| Role::PingPong { player, players: 2, rounds: 20, words: 30, wait })
    }

    #[test]
    fn every_role_succeeds_on_coherent_memory() {
        assert!(all_succeed(&memory(), &players(Wait::Spin)));
        assert!(all_succeed(&memory(), &players(Wait::Futex)));
        let ring = Ring { slots: 8, words: 4, records: 2000 };
        assert!(all_succeed(
            &memory(),
            &[Role::RingReader(ring), Role::RingReader(ring), Role::RingWriter(ring)]
        ));
        let exchange = |leads| Role::Exchange { leads, size: 4096, rounds: 300 };
        assert!(all_succeed(&memory(), &[exchange(true), exchange(false)]));
    }

    #[test]
    fn a_wrong_word_is_noticed() {
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
        let ring = Ring { slots: 2, words: 4, records: 2 };
        play(&Role::RingWriter(ring), &memory).unwrap();
        assert!(play(&Role::RingReader(ring), &memory).is_ok());
        memory.store::<u64>(ring.slot(2) + 8, 0);
        let why = play(&Role::RingReader(ring), &memory).unwrap_err();
        assert!(why.starts_with("record 2 with an unchanged sequence number"), "{why}");
    }

    #[test]
    fn a_stale_block_is_noticed() {
        let memory = memory();
        memory.store_release(TURN, 1);
        let answer = Role::Exchange { leads: false, size: 64, rounds: 1 };
        memory.store::<u8>(DATA + 63, 5);
        let why = play(&answer, &memory).unwrap_err();
        assert_eq!(why, "block 1: expected 0 at both ends, found 0 and 5");
    }
}

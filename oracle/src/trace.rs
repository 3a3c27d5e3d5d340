// SPDX-License-Identifier: GPL-2.0-or-later
//! Backtraces of kernel code.
//!
//! A frame is the address of a call instruction. The plugin sees each instruction before it runs for the first time, so
//! it knows all calls that have ever been made. A word of a stack is a return address only if one of these calls saves
//! it. Most of them also name the function that they call, which must be the function of the next inner frame; this
//! rejects return addresses that earlier calls left on the stack.

mod capture;
mod tasks;

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use oracle_wire::culprit;

use crate::arch::{Call, Frames, Stack};
use crate::model::NumberHasher;
use crate::symbols::Symbols;
pub use capture::{Captures, Store};
pub use tasks::{Process, Tasks};

/// Maximum number of frames in a backtrace, without the access itself. Most stacks down to the system call have fewer.
const DEPTH: usize = 20;

/// Maximum number of bytes of a stack that are searched.
const SEARCHED: u64 = 3072;

/// Access to the guest's registers and memory, as its kernel sees them.
pub trait Guest {
    /// Returns the value of a register.
    fn register(&self, number: u8) -> Option<u64>;

    /// Reads memory at a virtual address into `bytes`. Returns false if nothing is mapped there.
    fn read(&self, address: u64, bytes: &mut [u8]) -> bool;
}

/// All calls in the code that the guest has run so far, by the return addresses that they save.
#[derive(Debug, Default)]
pub struct Calls {
    by_saved: HashMap<u64, Call, BuildHasherDefault<NumberHasher>>,
    /// The lowest and the highest return address.
    saved: Option<(u64, u64)>,
}

impl Calls {
    /// Adds a call.
    pub fn insert(&mut self, call: Call) {
        let (low, high) = self.saved.unwrap_or((call.saved, call.saved));
        self.saved = Some((low.min(call.saved), high.max(call.saved)));
        self.by_saved.insert(call.saved, call);
    }

    /// Returns the call that saves `word` as its return address.
    fn find(&self, word: u64) -> Option<&Call> {
        let (low, high) = self.saved?;
        (low..=high).contains(&word).then(|| self.by_saved.get(&word)).flatten()
    }
}

/// Returns the calls that led to the instruction at `pc`, innermost first.
pub fn backtrace(
    pc: u64,
    stack: Stack,
    guest: &impl Guest,
    word: impl Fn(&[u8]) -> u64,
    calls: &Calls,
    symbols: &Symbols,
) -> Vec<u64> {
    let mut saved = Vec::new();
    saved.extend(guest.register(stack.link));
    match stack.frames {
        Frames::Above | Frames::Below { .. } => saved.extend(scan(stack, guest, word)),
        Frames::Windows { bias } => saved.extend(windows(stack, bias, guest, word, calls)),
    }
    let candidates: Vec<&Call> = saved.iter().filter_map(|word| calls.find(*word)).collect();
    chain(pc, &candidates, symbols)
}

/// Returns the words of the stack, innermost first.
fn scan(stack: Stack, guest: &impl Guest, word: impl Fn(&[u8]) -> u64) -> Vec<u64> {
    let Some(pointer) = guest.register(stack.pointer) else {
        return Vec::new();
    };
    let base = pointer & !(stack.size - 1);
    let aligned = pointer & !(stack.word as u64 - 1);
    let (start, end) = match stack.frames {
        Frames::Below { .. } => (base.max(aligned.saturating_sub(SEARCHED)), aligned),
        _ => (aligned, (base + stack.size).min(aligned + SEARCHED)),
    };
    let mut bytes = vec![0; (end - start) as usize];
    if !guest.read(start, &mut bytes) {
        return Vec::new();
    }
    let words = bytes.chunks_exact(stack.word).map(word);
    match stack.frames {
        Frames::Below { frame, place } => {
            let addresses = (start..end).step_by(stack.word);
            let words = addresses.zip(words).filter(|(address, _)| address % frame == place);
            let mut words: Vec<u64> = words.map(|(_, word)| word).collect();
            words.reverse();
            words
        }
        _ => words.collect(),
    }
}

/// Number of register windows that may hold outer frames: a processor with eight windows keeps one of them free, and
/// one is in use.
const OUTER_WINDOWS: u8 = 6;

/// Returns the return addresses in the current register window and in the windows of outer frames. A window whose
/// content is not plausible has been spilled to its frame on the stack.
fn windows(
    stack: Stack,
    bias: u64,
    guest: &impl Guest,
    word: impl Fn(&[u8]) -> u64,
    calls: &Calls,
) -> Vec<u64> {
    const FRAME_POINTER: u8 = 30;
    const RETURN_ADDRESS: u8 = 31;
    /// Registers by which neighbouring windows are apart.
    const WINDOW: u8 = 16;
    /// Byte offset of the frame pointer in a spilled window: eight local registers and six input registers precede it.
    const SPILLED: u64 = 14 * 8;
    let in_window = |window: u8| {
        let pointer = guest.register(FRAME_POINTER + WINDOW * window)?;
        Some((pointer, guest.register(RETURN_ADDRESS + WINDOW * window)?))
    };
    let spilled = |frame: u64| {
        let mut bytes = [0; 16];
        let read = guest.read(frame.wrapping_add(bias + SPILLED), &mut bytes);
        read.then(|| (word(&bytes[..8]), word(&bytes[8..])))
    };
    let (Some(pointer), Some((mut frame, first))) = (guest.register(stack.pointer), in_window(0))
    else {
        return Vec::new();
    };
    let same_stack = |address: u64| (address ^ pointer) & !(stack.size - 1) == 0;
    let mut saved = vec![first];
    for window in 1..=DEPTH as u8 {
        if !same_stack(frame) {
            break;
        }
        let plausible = |&(outer, word): &(u64, u64)| {
            outer > frame && same_stack(outer) && calls.find(word).is_some()
        };
        let register = (window <= OUTER_WINDOWS).then(|| in_window(window)).flatten();
        let Some((outer, word)) =
            register.filter(plausible).or_else(|| spilled(frame).filter(plausible))
        else {
            break;
        };
        saved.push(word);
        frame = outer;
    }
    saved
}

/// Selects the calls that form a chain of frames, from `candidates` in the order of the stack, innermost first.
///
/// The next frame is the first call that names the function of the last frame. If there is none, it is the first call
/// through a pointer. If there is none either, the function was reached by a jump at the end of another function, and the
/// next call is taken. The chain ends with a function that performs a system call: only the kernel's entry code calls it,
/// and what is left on the stack is old.
fn chain(pc: u64, candidates: &[&Call], symbols: &Symbols) -> Vec<u64> {
    let start = |address: u64| {
        let (_, offset) = symbols.function(address)?;
        Some(address - offset)
    };
    let mut frames: Vec<u64> = Vec::new();
    let mut function = start(pc);
    let mut rest = candidates;
    while frames.len() < DEPTH {
        // After a function has called another one, the link register still holds the return address inside it.
        let outside = |call: &&Call| function.is_none() || start(call.site) != function;
        let next = match function {
            None => (!rest.is_empty()).then_some(0),
            Some(_) => {
                let first = |fits: &dyn Fn(&&Call) -> bool| rest.iter().position(fits);
                first(&|call| call.target == function)
                    .or_else(|| first(&|call| call.target.is_none() && outside(call)))
                    .or_else(|| first(&|call| outside(call)))
            }
        };
        let Some(next) = next else {
            break;
        };
        let site = rest[next].site;
        rest = &rest[next + 1..];
        // A function that saves the link register leaves the same address in both places.
        if frames.last() != Some(&site) {
            frames.push(site);
        }
        let known = symbols.function(site);
        if known.is_some_and(|(name, _)| culprit::system_call(culprit::function(name)).is_some()) {
            break;
        }
        function = known.map(|(_, offset)| site - offset);
    }
    frames
}

#[cfg(test)]
mod tests;

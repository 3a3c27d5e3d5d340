// SPDX-License-Identifier: GPL-2.0-or-later
//! Chooses the stores whose backtraces are captured, and keeps the backtraces.
//!
//! When a finding is made, the stack of the store that caused it is gone. A capture takes much longer than
//! an access, so the plugin captures the backtrace of a store only if the store can become part of a finding:
//!
//! - not of stores to the kernel's image, or by the stack pointer. That memory has no second address.
//! - of stores to pages that a process has used.
//! - of the first stores to any other page, and of stores to a page's first line that make it dirty: the kernel fills
//!   a page before a process uses it.
//!
//! A store soon after a captured one, nearby in the same code and with the same stack, is of the same call. So is one to
//! adjacent memory: copies and fills are most stores, and reading the stack pointer for each of them takes time.

use std::collections::HashMap;

/// Backtraces of stores to a page that no process has used.
const TRIALS: u8 = 8;

/// Value for pages that a process has used.
const USED: u8 = u8::MAX;

/// Number of pages that are followed: 4 GiB with pages of 4 KiB.
const PAGES: usize = 1 << 20;

/// Number of accesses after which a store is not assumed to be of the same call. A copy loop loads and stores a line
/// in up to 16 accesses.
const SAME_CALL: u64 = 32;

/// Distance between instructions of the same loop, in bytes.
const SAME_CODE: u64 = 512;

/// Distance between stores to adjacent memory, in bytes: the longest store.
const ADJACENT: u64 = 16;

/// Maximum number of different backtraces that are kept in a window.
const KEPT: usize = u16::MAX as usize;

/// A store of the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Store {
    /// Sequence number in the window.
    pub at: u64,
    /// Address of the instruction.
    pub pc: u64,
    /// Physical address of the first byte.
    pub physical: u64,
    /// True if the store makes a line dirty, false if the line is dirty already.
    pub changes: bool,
}

/// Backtraces of a window, and the choice of stores to capture. Backtraces have numbers from 1; 0 stands for none.
#[derive(Debug)]
pub struct Captures {
    page: u32,
    line: u64,
    /// State of each physical page: the number of captures, or [`USED`].
    pages: Box<[u8]>,
    known: HashMap<Box<[u64]>, u16>,
    traces: Vec<Box<[u64]>>,
    last: Option<Last>,
}

/// The last store whose backtrace is known.
#[derive(Clone, Copy, Debug)]
struct Last {
    at: u64,
    pc: u64,
    physical: u64,
    pointer: Option<u64>,
    trace: u16,
}

impl Captures {
    /// Returns an empty set, for pages of `page` bytes and lines of `line` bytes.
    pub fn new(page: u64, line: u64) -> Captures {
        Captures {
            page: page.trailing_zeros(),
            line,
            pages: vec![0; PAGES].into(),
            known: HashMap::new(),
            traces: Vec::new(),
            last: None,
        }
    }

    /// Records that a process, or the kernel at an address of a process, has used the page at a physical address.
    pub fn used(&mut self, physical: u64) {
        let page = self.page_at(physical);
        if let Some(page) = self.pages.get_mut(page) {
            *page = USED;
        }
    }

    /// Starts a new window: forgets all backtraces, and sequence numbers begin again.
    pub fn restart(&mut self) {
        self.last = None;
        self.known.clear();
        self.traces.clear();
    }

    /// Returns the number of the backtrace of a store, or 0 if the store is not worth it. `pointer` returns the stack
    /// pointer, and `capture` the backtrace.
    pub fn of_store(
        &mut self,
        store: Store,
        pointer: impl FnOnce() -> Option<u64>,
        capture: impl FnOnce() -> Vec<u64>,
    ) -> u16 {
        if let Some(trace) = self.known_of_store(store) {
            return trace;
        }
        let near = self.near(store);
        let first_line = self.is_first_line(store);
        let page = self.page_at(store.physical);
        match self.pages.get_mut(page) {
            Some(&mut USED) => {}
            Some(_) if near.is_some() || first_line => {}
            Some(captures) if *captures < TRIALS => *captures += 1,
            _ => return 0,
        }
        let Store { at, pc, physical, .. } = store;
        let pointer = pointer();
        if let Some(last) = near.filter(|last| last.pointer == pointer) {
            self.last = Some(Last { at, pc, physical, ..last });
            return last.trace;
        }
        let trace = self.intern(capture());
        self.last = Some(Last { at, pc, physical, pointer, trace });
        trace
    }

    /// Returns the result of [`Captures::of_store`] if neither the stack pointer nor a new backtrace is necessary for
    /// it. Otherwise returns `None`, without an effect.
    #[inline(always)]
    pub fn known_of_store(&mut self, store: Store) -> Option<u16> {
        let Some(&page) = self.pages.get(self.page_at(store.physical)) else {
            return Some(0);
        };
        let Some(last) = self.near(store) else {
            let worth = page == USED || page < TRIALS || self.is_first_line(store);
            return (!worth).then_some(0);
        };
        if store.physical.abs_diff(last.physical) > ADJACENT {
            return None;
        }
        let Store { at, pc, physical, .. } = store;
        self.last = Some(Last { at, pc, physical, ..last });
        Some(last.trace)
    }

    /// Returns the last store, if `store` comes soon after it and from the same code.
    #[inline(always)]
    fn near(&self, store: Store) -> Option<Last> {
        self.last.filter(|last| {
            store.at.wrapping_sub(last.at) < SAME_CALL && store.pc.abs_diff(last.pc) < SAME_CODE
        })
    }

    /// Returns true if a store makes the first line of its page dirty.
    fn is_first_line(&self, store: Store) -> bool {
        store.changes && store.physical & ((1 << self.page) - 1) < self.line
    }

    /// Adds a backtrace and returns its number.
    pub fn intern(&mut self, frames: Vec<u64>) -> u16 {
        if frames.is_empty() {
            return 0;
        }
        if let Some(trace) = self.known.get(&frames[..]) {
            return *trace;
        }
        if self.traces.len() == KEPT {
            return 0;
        }
        let frames: Box<[u64]> = frames.into();
        self.traces.push(frames.clone());
        let trace = self.traces.len() as u16;
        self.known.insert(frames, trace);
        trace
    }

    /// Returns the frames of a backtrace, innermost first.
    pub fn frames(&self, trace: u16) -> &[u64] {
        let index = usize::from(trace).checked_sub(1);
        index.and_then(|index| self.traces.get(index)).map_or(&[], |frames| frames)
    }

    /// Returns the index of the page at a physical address.
    fn page_at(&self, physical: u64) -> usize {
        (physical >> self.page) as usize
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Words to a cache oracle: a program beside the machine's emulator that follows every access to memory.
//!
//! A word is an instruction that does nothing, with a number in it that no compiler has a reason to put there; what the
//! word is about is stored right behind it. Machines without such a program, and real ones, run it for nothing. Where
//! caches do not alias there are no words, and the functions do nothing.
//!
//! Each word is 32 bytes of code at most, at a multiple of 32, so that an emulator takes it in one piece. It stores what
//! follows the instruction once before it: then the page is there, and nothing comes in between.

use crate::backend::oracle as backend;
use crate::memory::Mapping;

/// From here to [`close`] accesses count, under the number `id`. A window that is open ends.
pub fn open(id: u32) {
    backend::open(id);
}

/// The window is over.
pub fn close() {
    backend::close();
}

/// Says that the first byte of `mapping` is at `physical` in the machine's memory. Overwrites 16 bytes with that.
pub fn known(mapping: &Mapping, physical: u64) {
    mapping.copy_in(0, &[0; 16]);
    let at = mapping.address();
    // SAFETY: these bytes were just written.
    #[allow(unsafe_code)]
    unsafe {
        backend::known(at, physical);
    }
}

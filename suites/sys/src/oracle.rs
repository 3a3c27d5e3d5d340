// SPDX-License-Identifier: MIT OR Apache-2.0
//! Markers: signals from the guest to a cache oracle, a plugin of the emulator that follows every memory access.
//!
//! A marker is an instruction without effect that contains a number no compiler has a reason to use. The stores
//! directly after it carry its arguments. On real machines, and on emulators without an oracle, a marker costs
//! nothing. On machines whose caches do not alias there are no markers, and the functions of this module do nothing.
//!
//! A marker and its stores take at most 32 bytes of code, aligned to 32 bytes, so that an emulator translates them in
//! one block. The destination is also stored to once before the marker: the page is then mapped, and no fault can
//! separate the marker from its stores.

use crate::backend::oracle as backend;
use crate::memory::Mapping;

/// Opens the window with the number `id`. Closes a window that is open.
pub fn open(id: u32) {
    backend::open(id);
}

/// Closes the open window.
pub fn close() {
    backend::close();
}

/// Names `physical` as the physical address of the first byte of `mapping`. Overwrites the first 16 bytes of the
/// mapping.
pub fn known(mapping: &Mapping, physical: u64) {
    mapping.copy_in(0, &[0; 16]);
    let at = mapping.address();
    // SAFETY: these bytes were just written.
    #[allow(unsafe_code)]
    unsafe {
        backend::known(at, physical);
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The words of `crate::oracle`, which the runtime has as instructions.

use super::imports;

pub(crate) fn open(id: u32) {
    imports::oracle_open(id);
}

pub(crate) fn close() {
    imports::oracle_close();
}

/// # Safety
/// 16 bytes at `at`, a multiple of 4, are memory that may be overwritten.
pub(crate) unsafe fn known(at: u64, physical: u64) {
    // SAFETY: the caller's promise.
    unsafe { imports::oracle_known(at, physical) }
}

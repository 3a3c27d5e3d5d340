// SPDX-License-Identifier: MIT OR Apache-2.0
//! The markers of `crate::oracle`, which the C runtime implements (`images/wasm/oracle.c`).

use super::imports;

pub(crate) fn open(id: u32) {
    imports::oracle_open(id);
}

pub(crate) fn close() {
    imports::oracle_close();
}

/// # Safety
/// The 16 bytes at `at`, a multiple of 4, must be memory that may be overwritten.
pub(crate) unsafe fn known(at: u64, physical: u64) {
    // SAFETY: the caller guarantees it.
    unsafe { imports::oracle_known(at, physical) }
}

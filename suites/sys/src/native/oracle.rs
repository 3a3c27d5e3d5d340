// SPDX-License-Identifier: MIT OR Apache-2.0
//! The markers of `crate::oracle` as instructions. The number is 1 for `open`, 2 for `close` and 3 for `known`.

#[cfg(target_arch = "arm")]
pub(crate) use arm::{close, known, open};
#[cfg(target_arch = "sparc64")]
pub(crate) use sparc64::{close, known, open};
#[cfg(not(any(target_arch = "arm", target_arch = "sparc64")))]
pub(crate) use without::{close, known, open};

/// Markers are `bic r10, r10, #0, 2n`, which clears no bit. The immediate is 0 rotated by 2n (ARM ARM, DDI 0100I:
/// A4.1.6, A5.1.3).
#[cfg(target_arch = "arm")]
mod arm {
    use std::arch::asm;

    pub(crate) fn open(id: u32) {
        let mut place = 0u32;
        // SAFETY: the stores go to `place`.
        unsafe {
            asm!(
                ".balign 32",
                "str {id}, [{at}]",
                ".inst 0xe3caa100",
                "str {id}, [{at}]",
                id = in(reg) id,
                at = in(reg) &raw mut place,
                options(nostack, preserves_flags),
            );
        }
    }

    pub(crate) fn close() {
        // SAFETY: the instruction has no effect.
        unsafe { asm!(".inst 0xe3caa200", options(nostack, preserves_flags)) }
    }

    /// # Safety
    /// The 16 bytes at `at`, a multiple of 4, must be memory that may be overwritten.
    pub(crate) unsafe fn known(at: u64, physical: u64) {
        // SAFETY: the caller guarantees it.
        unsafe {
            asm!(
                ".balign 32",
                "str {high}, [{at}]",
                ".inst 0xe3caa300",
                "str {high}, [{at}]",
                "str {at}, [{at}, #4]",
                "str {physical_high}, [{at}, #8]",
                "str {physical_low}, [{at}, #12]",
                high = in(reg) (at >> 32) as u32,
                physical_high = in(reg) (physical >> 32) as u32,
                physical_low = in(reg) physical as u32,
                at = in(reg) at as u32,
                options(nostack, preserves_flags),
            );
        }
    }
}

/// Markers are `sethi 0x2a5a00+n, %g0`, a constant whose target is the register that is always 0 (SPARC Architecture
/// Manual, Version 9: SETHI).
#[cfg(target_arch = "sparc64")]
mod sparc64 {
    use std::arch::asm;

    pub(crate) fn open(id: u32) {
        let mut place = 0u32;
        // SAFETY: the stores go to `place`.
        unsafe {
            asm!(
                ".balign 32",
                "st {id}, [{at}]",
                ".word 0x012a5a01",
                "st {id}, [{at}]",
                id = in(reg) id,
                at = in(reg) &raw mut place,
                options(nostack, preserves_flags),
            );
        }
    }

    pub(crate) fn close() {
        // SAFETY: the instruction has no effect.
        unsafe { asm!(".word 0x012a5a02", options(nostack, preserves_flags)) }
    }

    /// # Safety
    /// The 16 bytes at `at`, a multiple of 4, must be memory that may be overwritten.
    pub(crate) unsafe fn known(at: u64, physical: u64) {
        // The oracle searches the emulator's processor state for the values of these two registers, to find out where
        // the state contains the registers.
        // SAFETY: the caller guarantees it.
        unsafe {
            asm!(
                ".balign 32",
                "st {high}, [{at}]",
                ".word 0x012a5a03",
                "st {high}, [{at}]",
                "st %o0, [{at} + 4]",
                "st {physical_high}, [{at} + 8]",
                "st %o1, [{at} + 12]",
                high = in(reg) at >> 32,
                physical_high = in(reg) physical >> 32,
                at = in(reg) at,
                in("o0") at & 0xffff_ffff,
                in("o1") physical & 0xffff_ffff,
                options(nostack, preserves_flags),
            );
        }
    }
}

#[cfg(not(any(target_arch = "arm", target_arch = "sparc64")))]
mod without {
    pub(crate) fn open(_: u32) {}

    pub(crate) fn close() {}

    /// # Safety
    /// Always safe; unsafe only because the other backends are.
    pub(crate) unsafe fn known(_: u64, _: u64) {}
}

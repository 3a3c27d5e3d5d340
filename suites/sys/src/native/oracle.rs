// SPDX-License-Identifier: MIT OR Apache-2.0
//! The words of `crate::oracle` as instructions. The number in them is 1 to open, 2 to close, 3 for what is known.

#[cfg(target_arch = "arm")]
pub(crate) use arm::{close, known, open};
#[cfg(target_arch = "sparc64")]
pub(crate) use sparc64::{close, known, open};
#[cfg(not(any(target_arch = "arm", target_arch = "sparc64")))]
pub(crate) use unsaid::{close, known, open};

/// `bic r10, r10, #0, 2n`: clears no bit. The immediate is 0 rotated by 2n (ARM ARM, DDI 0100I: A4.1.6, A5.1.3).
#[cfg(target_arch = "arm")]
mod arm {
    use std::arch::asm;

    pub(crate) fn open(id: u32) {
        let mut place = 0u32;
        // SAFETY: it stores to `place`.
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
        // SAFETY: it does nothing.
        unsafe { asm!(".inst 0xe3caa200", options(nostack, preserves_flags)) }
    }

    /// # Safety
    /// 16 bytes at `at`, a multiple of 4, are memory that may be overwritten.
    pub(crate) unsafe fn known(at: u64, physical: u64) {
        // SAFETY: the caller's promise.
        unsafe {
            asm!(
                ".balign 32",
                "str {high}, [{at}]",
                ".inst 0xe3caa300",
                "str {high}, [{at}]",
                "str {at}, [{at}, #4]",
                "str {said_high}, [{at}, #8]",
                "str {said_low}, [{at}, #12]",
                high = in(reg) (at >> 32) as u32,
                said_high = in(reg) (physical >> 32) as u32,
                said_low = in(reg) physical as u32,
                at = in(reg) at as u32,
                options(nostack, preserves_flags),
            );
        }
    }
}

/// `sethi 0x2a5a00+n, %g0`: a constant for the register that stays 0 (SPARC Architecture Manual, Version 9: SETHI).
#[cfg(target_arch = "sparc64")]
mod sparc64 {
    use std::arch::asm;

    pub(crate) fn open(id: u32) {
        let mut place = 0u32;
        // SAFETY: it stores to `place`.
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
        // SAFETY: it does nothing.
        unsafe { asm!(".word 0x012a5a02", options(nostack, preserves_flags)) }
    }

    /// # Safety
    /// 16 bytes at `at`, a multiple of 4, are memory that may be overwritten.
    pub(crate) unsafe fn known(at: u64, physical: u64) {
        // The lower halves in these registers for whoever wants to know whether it reads registers rightly.
        // SAFETY: the caller's promise.
        unsafe {
            asm!(
                ".balign 32",
                "st {high}, [{at}]",
                ".word 0x012a5a03",
                "st {high}, [{at}]",
                "st %o0, [{at} + 4]",
                "st {said_high}, [{at} + 8]",
                "st %o1, [{at} + 12]",
                high = in(reg) at >> 32,
                said_high = in(reg) physical >> 32,
                at = in(reg) at,
                in("o0") at & 0xffff_ffff,
                in("o1") physical & 0xffff_ffff,
                options(nostack, preserves_flags),
            );
        }
    }
}

#[cfg(not(any(target_arch = "arm", target_arch = "sparc64")))]
mod unsaid {
    pub(crate) fn open(_: u32) {}

    pub(crate) fn close() {}

    /// # Safety
    /// None is asked for.
    pub(crate) unsafe fn known(_: u64, _: u64) {}
}

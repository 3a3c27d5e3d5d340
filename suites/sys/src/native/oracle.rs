// SPDX-License-Identifier: MIT OR Apache-2.0
//! The words of `crate::oracle` as instructions. The number in them is 1 to open, 2 to close, 3 for what is known.

/// The instructions that do nothing, as texts of the assembler, and how it writes a store of 32 bits.
#[cfg(target_arch = "arm")]
mod words {
    /// `bic r10, r10, #0, 2n`: clears no bit. The immediate is 0 rotated by 2n (ARM ARM, DDI 0100I: A4.1.6, A5.1.3).
    macro_rules! word {
        (open) => {
            ".inst 0xe3caa100"
        };
        (close) => {
            ".inst 0xe3caa200"
        };
        (known) => {
            ".inst 0xe3caa300"
        };
    }
    macro_rules! store {
        ($value:literal, $offset:literal) => {
            concat!("str {", $value, "}, [{at}, #", $offset, "]")
        };
    }
    pub(super) use {store, word};
}

#[cfg(target_arch = "sparc64")]
mod words {
    /// `sethi 0x2a5a00+n, %g0`: a constant for the register that stays 0 (SPARC Architecture Manual, Version 9: SETHI).
    macro_rules! word {
        (open) => {
            ".word 0x012a5a01"
        };
        (close) => {
            ".word 0x012a5a02"
        };
        (known) => {
            ".word 0x012a5a03"
        };
    }
    macro_rules! store {
        ($value:literal, $offset:literal) => {
            concat!("st {", $value, "}, [{at} + ", $offset, "]")
        };
    }
    pub(super) use {store, word};
}

#[cfg(any(target_arch = "arm", target_arch = "sparc64"))]
mod said {
    use std::arch::asm;

    use super::words::{store, word};

    #[inline(never)]
    pub(crate) fn open(id: u32) {
        let mut place = 0u32;
        // SAFETY: it stores to `place`.
        unsafe {
            asm!(
                ".balign 32",
                store!("id", 0),
                word!(open),
                store!("id", 0),
                id = in(reg) id,
                at = in(reg) &raw mut place,
                options(nostack, preserves_flags),
            );
        }
    }

    #[inline(never)]
    pub(crate) fn close() {
        // SAFETY: it does nothing.
        unsafe { asm!(word!(close), options(nomem, nostack, preserves_flags)) }
    }

    /// # Safety
    /// 16 bytes at `at`, a multiple of 4, are memory that may be overwritten.
    #[inline(never)]
    pub(crate) unsafe fn known(at: u64, physical: u64) {
        // SAFETY: the caller's promise.
        unsafe {
            asm!(
                ".balign 32",
                store!("high", 0),
                word!(known),
                store!("high", 0),
                store!("low", 4),
                store!("said_high", 8),
                store!("said_low", 12),
                high = in(reg) (at >> 32) as u32,
                low = in(reg) at as u32,
                said_high = in(reg) (physical >> 32) as u32,
                said_low = in(reg) physical as u32,
                at = in(reg) at as usize,
                options(nostack, preserves_flags),
            );
        }
    }
}

#[cfg(any(target_arch = "arm", target_arch = "sparc64"))]
pub(crate) use said::{close, known, open};

#[cfg(not(any(target_arch = "arm", target_arch = "sparc64")))]
mod unsaid {
    pub(crate) fn open(_: u32) {}

    pub(crate) fn close() {}

    /// # Safety
    /// None is asked for.
    pub(crate) unsafe fn known(_: u64, _: u64) {}
}

#[cfg(not(any(target_arch = "arm", target_arch = "sparc64")))]
pub(crate) use unsaid::{close, known, open};

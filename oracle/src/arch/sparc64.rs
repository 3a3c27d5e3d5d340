// SPDX-License-Identifier: GPL-2.0-or-later
//! SPARC V9.

use std::ops::Range;

/// `sethi 0x2a5a00+n, %g0`: a constant for the register that stays 0 (The SPARC Architecture Manual, Version 9, A.48;
/// a constant of 0 would be NOP).
pub fn marker(instruction: u32) -> Option<u32> {
    match instruction & !0xf {
        0x012a_5a00 => Some(instruction & 0xf),
        _ => None,
    }
}

/// Where the kernel puts the mappings of 64-bit processes, below the hole in their address space and above it
/// (arch/sparc/kernel/sys_sparc_64.c: TASK_UNMAPPED_BASE in processor_64.h is 0xfffff80100000000). The kernel's own view
/// of memory begins 4 GiB lower (PAGE_OFFSET in page_64.h), and no machine that QEMU has comes that far.
const MAPPINGS: u64 = 0xffff_f801_0000_0000;

/// What OpenBIOS runs in: its virtual addresses (arch/sparc/include/asm/pgtable_64.h, LOW_OBP_ADDRESS, HI_OBP_ADDRESS).
const FIRMWARE: Range<u64> = 0xf000_0000..0x1_0000_0000;

/// Whether code at the address is the kernel's, whose image lies at `image`.
///
/// Kernel and processes have an address space each, and the same low addresses in it. Programs are linked to begin at
/// 1 MiB, the kernel at 4 MiB: with less than 3 MiB of code a program has none where the kernel is.
pub fn is_kernel(pc: u64, image: &Range<u64>) -> bool {
    image.contains(&pc) || FIRMWARE.contains(&pc)
}

/// Whether the address is one of a process's mappings, whoever uses it.
pub fn is_mapping(address: u64) -> bool {
    address >= MAPPINGS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_known() {
        // sparc64-linux-gnu-as: sethi 0x2a5a01, %g0
        assert_eq!(marker(0x012a_5a01), Some(1));
        assert_eq!(marker(0x012a_5a03), Some(3));
        // nop; sethi 0x2a5a01, %g1
        assert_eq!((marker(0x0100_0000), marker(0x032a_5a01)), (None, None));
    }

    #[test]
    fn mappings_are_above_the_kernels_view_of_memory() {
        assert!(is_mapping(0xffff_f801_0012_3000));
        assert!(!is_mapping(0xffff_f800_1012_3000));
        assert!(is_kernel(0x40_4000, &(0x40_4000..0xc0_0000)));
        assert!(!is_kernel(0x10_7110, &(0x40_4000..0xc0_0000)));
    }
}

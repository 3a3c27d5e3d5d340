// SPDX-License-Identifier: GPL-2.0-or-later
//! SPARC V9.

use std::ops::Range;

use super::{Upkeep, Way};
use crate::model::Op;

/// The function of the kernel that drops a page from the data cache, whichever its colour (arch/sparc/mm/ultra.S); its
/// first argument is in register 8, %o0. It looks for lines by their tags, of which QEMU has none.
pub const FUNCTIONS: [(&str, Upkeep); 1] = [(
    "__flush_dcache_page",
    Upkeep::EveryColour {
        op: Op::Invalidate,
        address: 8,
    },
)];

/// Functions of the kernel whose stores are not held against those who load what they stored, and why.
///
/// `update_vsyscall` writes the page with the time, which every process has in whatever colour it came to lie
/// (arch/sparc/vdso/vma.c): a process may read a time that is a little old. So it is on every such machine, always.
pub const EXCUSED: [&str; 1] = ["update_vsyscall"];

/// Whether an instruction loads or stores: op is 3 (The SPARC Architecture Manual, Version 9, appendix A and E.2, as all
/// that follows).
fn loads_or_stores(instruction: u32) -> bool {
    instruction >> 30 == 3
}

/// Whether an instruction loads from or stores to an alternate address space, as the kernel does to reach a process's: the
/// highest bit but one of op3 is set.
pub fn is_alternate(instruction: u32) -> bool {
    loads_or_stores(instruction) && instruction & 1 << 23 != 0
}

/// The alternate space, if its number is in the instruction: i is 0.
fn alternate_space(instruction: u32) -> Option<u32> {
    let in_register = instruction & 1 << 13 != 0;
    (is_alternate(instruction) && !in_register).then_some(instruction >> 5 & 0xff)
}

/// Whether what an instruction loads or stores is found by the stack pointer, r14, or the frame pointer, r30.
pub fn is_of_stack(instruction: u32) -> bool {
    loads_or_stores(instruction) && matches!(instruction >> 14 & 0x1f, 14 | 30)
}

/// How the accesses of an instruction use the data cache. Those by physical address go to the second cache at once, and
/// blocks of 64 bytes are not brought in: UltraSPARC-IIi User's Manual, on address space identifiers and on block load and
/// store. Numbers: arch/sparc/include/uapi/asm/asi.h.
pub fn way(instruction: u32) -> Way {
    match alternate_space(instruction) {
        Some(0x14 | 0x15 | 0x1c | 0x1d) => Way::Round,
        Some(0x70 | 0x71 | 0x78 | 0x79 | 0xe0 | 0xe1 | 0xf0 | 0xf1 | 0xf8 | 0xf9) => {
            Way::NotBroughtIn
        }
        _ => Way::Cached,
    }
}

/// The kernel's own view of memory, up to where processes have mappings.
const LINEAR: Range<u64> = 0xffff_f800_0000_0000..MAPPINGS;

/// The physical address of one of the kernel's own view of memory.
pub fn linear(address: u64) -> Option<u64> {
    LINEAR.contains(&address).then(|| address - LINEAR.start)
}

/// `sethi 0x2a5a00+n, %g0`: a constant for the register that stays 0 (The SPARC Architecture Manual, Version 9: SETHI;
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

    #[test]
    fn ways_of_the_stack_and_of_processes_are_known() {
        // stx %l0, [%sp + 2047]; ldx [%fp - 8], %o0
        for stack in [0xe073_a7ff, 0xd05f_bff8] {
            assert!(is_of_stack(stack) && !is_alternate(stack), "{stack:#x}");
        }
        // lduba [%g1] 0x11, %g2; ldda [%o1] %asi, %f0
        for process in [0xc488_4220, 0xc19a_6000] {
            assert!(
                is_alternate(process) && !is_of_stack(process),
                "{process:#x}"
            );
        }
        // add %sp, 8, %o0
        assert!(!is_of_stack(0x9003_a008));
    }

    #[test]
    fn ways_round_the_cache_are_known() {
        // sparc64-linux-gnu-as -Av9a: ldda [%o1] 0xf0, %f0; stda %f16, [%o0] 0xe0; ldda [%o1] 0x71, %f0
        for block in [0xc19a_5e00, 0xe1ba_1c00, 0xc19a_4e20] {
            assert_eq!(way(block), Way::NotBroughtIn);
        }
        // ldxa [%g1] 0x14, %g2; stxa %g0, [%g1] 0x14; casxa [%g1] 0x14, %g2, %g3
        for physical in [0xc4d8_4280, 0xc0f0_4280, 0xc7f0_4282] {
            assert_eq!(way(physical), Way::Round);
        }
        // ldx [%g1], %g2; ldda [%o1] %asi, %f0; lduba [%g1] 0x11, %g2
        for other in [0xc458_4000, 0xc19a_6000, 0xc488_4220] {
            assert_eq!(way(other), Way::Cached);
        }
    }
}

// SPDX-License-Identifier: GPL-2.0-or-later
//! PA-RISC 1.1. QEMU tells addresses, also those of code, with the space in front: `space << 32 | offset`.

use super::Upkeep;
use crate::model::Op;

/// Functions of the kernel that do something to the data cache, with the registers of their arguments: 26 is the first,
/// 25 the second (arch/parisc/kernel/pacache.S). Their instructions name addresses that QEMU does not tell plugins.
pub const FUNCTIONS: [(&str, Upkeep); 7] = [
    ("flush_data_cache_local", Upkeep::All(Op::Flush)),
    ("flush_dcache_page_asm", page(Op::Flush)),
    ("purge_dcache_page_asm", page(Op::Invalidate)),
    ("flush_kernel_dcache_page_asm", linear_page(Op::Flush)),
    ("purge_kernel_dcache_page_asm", linear_page(Op::Invalidate)),
    ("flush_kernel_dcache_range_asm", linear_range(Op::Flush)),
    (
        "purge_kernel_dcache_range_asm",
        linear_range(Op::Invalidate),
    ),
];

const fn page(op: Op) -> Upkeep {
    Upkeep::Page {
        op,
        physical: 26,
        address: 25,
    }
}

const fn linear_page(op: Op) -> Upkeep {
    Upkeep::Linear {
        op,
        first: 26,
        end: None,
    }
}

const fn linear_range(op: Op) -> Upkeep {
    Upkeep::Linear {
        op,
        first: 26,
        end: Some(25),
    }
}

/// The kernel's own view of memory: __PAGE_OFFSET of 32-bit kernels in arch/parisc/include/asm/page.h, up to where
/// fixed mappings may be.
const LINEAR: std::ops::Range<u64> = 0x1000_0000..0xe000_0000;

/// The physical address of one of the kernel's own view of memory.
pub fn linear(address: u64) -> Option<u64> {
    LINEAR.contains(&address).then(|| address - LINEAR.start)
}

/// `ldo 0x1a00+n(%r0), %r0`: a sum for the register that stays 0 (PA-RISC 1.1 Architecture and Instruction Set
/// Reference, LOAD OFFSET; the displacement has its sign in the lowest bit).
pub fn marker(instruction: u32) -> Option<u32> {
    match instruction & !0x1e {
        0x3400_3400 => Some(instruction >> 1 & 0xf),
        _ => None,
    }
}

/// Whether an instruction loads or stores: major opcodes of indexed and short loads and stores, of coprocessors, and of
/// those with a displacement (PA-RISC 1.1 Architecture and Instruction Set Reference, appendix C).
fn loads_or_stores(instruction: u32) -> bool {
    matches!(instruction >> 26, 0x03 | 0x09 | 0x0b | 0x10..=0x13 | 0x18..=0x1b)
}

/// Whether what an instruction loads or stores is found by the stack pointer, r30.
pub fn is_of_stack(instruction: u32) -> bool {
    loads_or_stores(instruction) && instruction >> 21 & 0x1f == 30
}

/// Whether an instruction names the space register to be used. Else it is one of those that are the kernel's own while
/// the kernel runs (arch/parisc/include/asm/assembly.h, which calls them sr4 to sr7).
pub fn names_space(instruction: u32) -> bool {
    loads_or_stores(instruction) && instruction >> 14 & 3 != 0
}

/// The space of an address.
pub fn space(address: u64) -> u64 {
    address >> 32
}

/// The offset of an address in its space.
pub fn offset(address: u64) -> u64 {
    address & 0xffff_ffff
}

/// Whether the address is one of the kernel's, which has space 0 (arch/parisc/include/asm/mmu_context.h).
pub fn is_kernel(address: u64) -> bool {
    space(address) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_known() {
        // hppa-linux-gnu-as: ldo 0x1a01(%r0), %r0
        assert_eq!(marker(0x3400_3402), Some(1));
        assert_eq!(marker(0x3400_3406), Some(3));
        // ldo 0x1a01(%r0), %r1; ldo -0x1a01(%r0), %r0
        assert_eq!((marker(0x3401_3402), marker(0x3400_0bff)), (None, None));
    }

    #[test]
    fn ways_of_the_stack_and_of_processes_are_known() {
        // hppa-linux-gnu-as: ldw -20(%r30), %r2; stw,ma %r3, 64(%r30); stb %r0, 0(%r30)
        for stack in [0x4bc2_3fd9, 0x6fc3_0080, 0x0fc0_1200] {
            assert!(is_of_stack(stack), "{stack:#x}");
            assert!(!names_space(stack), "{stack:#x}");
        }
        // ldw 0(%sr3, %r26), %r28; ldb,ma 1(%sr1, %r25), %r1
        for process in [0x0f40_d09c, 0x0f22_5021] {
            assert!(names_space(process), "{process:#x}");
            assert!(!is_of_stack(process), "{process:#x}");
        }
        // ldo 64(%r30), %r30 loads nothing.
        assert!(!is_of_stack(0x37de_0080));
    }

    #[test]
    fn space_0_is_the_kernels() {
        assert!(is_kernel(0x1000_0000));
        assert!(!is_kernel(0x0000_4a00_1000_0000));
        assert_eq!(offset(0x0000_4a00_1000_0000), 0x1000_0000);
    }
}

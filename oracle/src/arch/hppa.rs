// SPDX-License-Identifier: GPL-2.0-or-later
//! PA-RISC 1.1. QEMU tells addresses, also those of code, with the space in front: `space << 32 | offset`.

/// `ldo 0x1a00+n(%r0), %r0`: a sum for the register that stays 0 (PA-RISC 1.1 Architecture and Instruction Set
/// Reference, LOAD OFFSET; the displacement has its sign in the lowest bit).
pub fn marker(instruction: u32) -> Option<u32> {
    match instruction & !0x1e {
        0x3400_3400 => Some(instruction >> 1 & 0xf),
        _ => None,
    }
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
    fn space_0_is_the_kernels() {
        assert!(is_kernel(0x1000_0000));
        assert!(!is_kernel(0x0000_4a00_1000_0000));
        assert_eq!(offset(0x0000_4a00_1000_0000), 0x1000_0000);
    }
}

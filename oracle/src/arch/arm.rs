// SPDX-License-Identifier: GPL-2.0-or-later
//! ARMv5 and ARMv6.

/// `bic r10, r10, #0, 2n`: clears no bit of r10. The immediate is 0 rotated by 2n, for which compilers have no use
/// (ARM ARM, DDI 0100I: A4.1.6 BIC, A5.1.3 immediate operands). Always; flags stay as they are.
pub fn marker(instruction: u32) -> Option<u32> {
    match instruction & !0xf00 {
        0xe3ca_a000 => Some(instruction >> 8 & 0xf),
        _ => None,
    }
}

/// Modules lie 16 MiB below the kernel's memory, and processes end there: TASK_SIZE in
/// arch/arm/include/asm/memory.h, with memory split 3 to 1 (CONFIG_VMSPLIT_3G).
const KERNEL: u64 = 0xbf00_0000;

/// Whether the address is one of the kernel's.
pub fn is_kernel(address: u64) -> bool {
    address >= KERNEL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_known() {
        // arm-linux-gnueabi-as: bic r10, r10, #0, 2
        assert_eq!(marker(0xe3ca_a100), Some(1));
        assert_eq!(marker(0xe3ca_a300), Some(3));
        // bic r10, r10, #1
        assert_eq!(marker(0xe3ca_a001), None);
        // bics r10, r10, #0, 2; bic r9, r10, #0, 2
        assert_eq!((marker(0xe3da_a100), marker(0xe3ca_9100)), (None, None));
    }
}

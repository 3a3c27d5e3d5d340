// SPDX-License-Identifier: GPL-2.0-or-later
//! ARMv5 and ARMv6. Sections refer to the ARM Architecture Reference Manual, DDI 0100I.

use std::ops::Range;

use super::{
    Call, Frames, InstructionSet, Maintenance, NONE, PageTables, RegisterSource, Stack, Switch,
    Translation,
};
use crate::model::Op;

/// ARMv5 and ARMv6, 32 bit, little-endian.
pub const ARM: InstructionSet = InstructionSet {
    qemu: Some("arm"),
    instruction: u32::from_le_bytes,
    marker,
    maintenance,
    is_stack_access,
    is_kernel_code: |pc, _| pc >= KERNEL_START,
    process_addresses: |_| 0..=KERNEL_START - 1,
    linear: |address| LINEAR.contains(&address).then(|| address - LINEAR.start),
    registers: RegisterSource::Named(&[
        "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "sp", "lr",
    ]),
    call,
    // THREAD_SIZE in arch/arm/include/asm/thread_info.h, without KASAN.
    stack: Some(Stack { pointer: 13, link: 14, word: 4, size: 8 << 10, frames: Frames::Above }),
    decodes_translations: true,
    // arch/arm/kernel/entry-armv.S: previous task, previous and next `thread_info`, which a task begins with (since 5.16).
    switch: Some(Switch { function: "__switch_to", before: 0, next: 2 }),
    page_tables: Some(PageTables { base_register: "TTBR0_EL1", linear: LINEAR, walk }),
    ..NONE
};

/// Decodes `bic r10, r10, #0, 2n`, which clears no bit of r10. The immediate is 0 rotated by 2n; compilers have no use
/// for the rotation (A4.1.6 BIC, A5.1.3 immediate operands). The instruction is unconditional and sets no flags.
fn marker(instruction: u32) -> Option<u32> {
    match instruction & !0xf00 {
        0xe3ca_a000 => Some(instruction >> 8 & 0xf),
        _ => None,
    }
}

/// Lowest kernel address, which is TASK_SIZE in arch/arm/include/asm/memory.h with CONFIG_VMSPLIT_3G. Modules begin
/// here, 16 MiB below the kernel's linear mapping.
const KERNEL_START: u64 = 0xbf00_0000;

/// Start of the kernel's linear mapping: PAGE_OFFSET with CONFIG_VMSPLIT_3G, and PHYS_OFFSET of the boards Versatile/PB
/// and Integrator/CP. It may be longer.
const LINEAR: Range<u64> = 0xc000_0000..0xd000_0000;

/// Decodes writes to register c7 of the system control coprocessor (part B, on caches and write buffers), the reads of
/// c7 that ARM926 repeats until no line is dirty (its manual, DDI 0198, on register c7), the range operations of ARMv6,
/// and the write to register c2 that switches the address space.
///
/// Only unconditional instructions count: the kernel uses conditional ones for DMA alone. Operations by set and way are
/// not decoded: the kernel has none for these machines. Writes to the registers that concern translations (c1, c3, c8
/// and c13) are often conditional, and forgetting a translation is always right.
fn maintenance(instruction: u32) -> Option<Maintenance> {
    if matches!(instruction & 0x0fff_0f10, 0x0e01_0f10 | 0x0e03_0f10 | 0x0e08_0f10 | 0x0e0d_0f10) {
        return Some(Maintenance::ForgetTranslations);
    }
    let register = |shift: u32| (instruction >> shift & 0xf) as u8;
    match instruction & 0xffff_0fff {
        0xee02_0f10 => Some(Maintenance::SwitchSpace { table: register(12) }),
        0xee07_0f16 | 0xee07_0f17 => Some(Maintenance::All(Op::Invalidate)),
        0xee07_0f1a | 0xee07_0f1b => Some(Maintenance::All(Op::Clean)),
        0xee07_0f1e | 0xee07_0f1f => Some(Maintenance::All(Op::Flush)),
        0xee07_0f36 | 0xee07_0f37 => line(Op::Invalidate, register(12)),
        0xee07_0f3a | 0xee07_0f3b => line(Op::Clean, register(12)),
        0xee07_0f3e | 0xee07_0f3f => line(Op::Flush, register(12)),
        0xee17_0f7a => Some(Maintenance::All(Op::Clean)),
        0xee17_0f7e => Some(Maintenance::All(Op::Flush)),
        _ => match instruction & 0xfff0_0fff {
            0xec40_0f06 => range(Op::Invalidate, register(16), register(12)),
            0xec40_0f0c => range(Op::Clean, register(16), register(12)),
            0xec40_0f0e => range(Op::Flush, register(16), register(12)),
            _ => None,
        },
    }
}

/// Returns true for a load or store whose base register is the stack pointer, r13 (A5.2 to A5.5: load and store word or
/// byte, miscellaneous, multiple, coprocessor).
fn is_stack_access(instruction: u32) -> bool {
    let miscellaneous = instruction & 0x90 == 0x90 && instruction & 0x60 != 0;
    let loads_or_stores = match instruction >> 25 & 7 {
        0b000 => miscellaneous,
        0b010 | 0b011 | 0b100 | 0b110 => true,
        _ => false,
    };
    loads_or_stores && instruction >> 16 & 0xf == 13
}

/// Decodes BL and BLX (A4.1.5, A4.1.8), which save the address of the next instruction in lr.
fn call(pc: u64, instruction: u32) -> Option<Call> {
    let unconditional = instruction >> 28 == 0xf;
    let target = match instruction {
        _ if unconditional => return None,
        _ if instruction & 0x0f00_0000 == 0x0b00_0000 => {
            let offset = i64::from((instruction << 8) as i32 >> 6);
            Some(pc.wrapping_add_signed(8 + offset) & 0xffff_ffff)
        }
        _ if instruction & 0x0fff_fff0 == 0x012f_ff30 => None,
        _ => return None,
    };
    Some(Call { site: pc, saved: pc + 4, target })
}

fn line(op: Op, address: u8) -> Option<Maintenance> {
    Some(Maintenance::Line { op, address })
}

fn range(op: Op, first: u8, last: u8) -> Option<Maintenance> {
    Some(Maintenance::Range { op, first, last })
}

/// Walks the page tables at `table`, the value of register c2 of the system control coprocessor. A page is cacheable if
/// its entry has bit C.
///
/// Both table formats (part B, on the virtual memory system) agree in the bits that are read here. Linux uses one table
/// for both halves of the address space.
fn walk(table: u64, address: u64, read: &dyn Fn(u64) -> Option<u32>) -> Option<Translation> {
    let address = address & 0xffff_ffff;
    let found = |entry: u32, size: u64| {
        let base = u64::from(entry) & !(size - 1) & 0xffff_ffff;
        Some(Translation { physical: base | address & (size - 1), cached: entry & 0b1000 != 0 })
    };
    let first = read(table & !0x3fff | address >> 20 << 2)?;
    match first & 0b11 {
        0b01 => {
            let second = read(u64::from(first) & !0x3ff | (address >> 12 & 0xff) << 2)?;
            match second & 0b11 {
                0b00 => None,
                0b01 => found(second, 64 << 10),
                _ => found(second, 4 << 10),
            }
        }
        0b10 => found(first, 1 << 20),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_decoded() {
        // arm-linux-gnueabi-as: bic r10, r10, #0, 2
        assert_eq!(marker(0xe3ca_a100), Some(1));
        assert_eq!(marker(0xe3ca_a300), Some(3));
        // bic r10, r10, #1
        assert_eq!(marker(0xe3ca_a001), None);
        // bics r10, r10, #0, 2; bic r9, r10, #0, 2
        assert_eq!((marker(0xe3da_a100), marker(0xe3ca_9100)), (None, None));
    }

    #[test]
    fn cache_maintenance_is_decoded() {
        // arm-linux-gnueabi-as -march=armv6, in order: mcr p15, 0, r0, c7, c6, 1; mcr p15, 0, r3, c7, c10, 1;
        // mcr p15, 0, r0, c7, c14, 1
        assert_eq!(maintenance(0xee07_0f36), line(Op::Invalidate, 0));
        assert_eq!(maintenance(0xee07_3f3a), line(Op::Clean, 3));
        assert_eq!(maintenance(0xee07_0f3e), line(Op::Flush, 0));
        // mcr p15, 0, r0, c7, c14, 0; mcr p15, 0, r0, c7, c6, 0; mrc p15, 0, r15, c7, c14, 3; mrc p15, 0, r15, c7, c10,
        // 3
        assert_eq!(maintenance(0xee07_0f1e), Some(Maintenance::All(Op::Flush)));
        assert_eq!(maintenance(0xee07_0f16), Some(Maintenance::All(Op::Invalidate)));
        assert_eq!(maintenance(0xee17_ff7e), Some(Maintenance::All(Op::Flush)));
        assert_eq!(maintenance(0xee17_ff7a), Some(Maintenance::All(Op::Clean)));
        // mcrr p15, 0, r1, r2, c14; mcrr p15, 0, r1, r2, c6: r2 has the first address of the range, r1 the last.
        assert_eq!(maintenance(0xec42_1f0e), range(Op::Flush, 2, 1));
        assert_eq!(maintenance(0xec42_1f06), range(Op::Invalidate, 2, 1));
        // mcr p15, 0, r1, c8, c7, 1; mcrne p15, 0, r1, c8, c7, 1; mcr p15, 0, r3, c8, c6, 0
        // mcr p15, 0, r0, c13, c0, 1
        for tlb in [0xee08_1f37, 0x1e08_1f37, 0xee08_3f16, 0xee0d_0f30] {
            assert_eq!(maintenance(tlb), Some(Maintenance::ForgetTranslations));
        }
        // mcr p15, 0, r0, c2, c0, 0
        assert_eq!(maintenance(0xee02_0f10), Some(Maintenance::SwitchSpace { table: 0 }));
        // mcr p15, 0, r0, c7, c10, 4 is a barrier; mcr p15, 0, r0, c7, c5, 1 concerns the instruction cache;
        // mcrne p15, 0, r1, c7, c10, 1 is conditional
        for other in [0xee07_0f9a, 0xee07_0f35, 0x1e07_1f3a] {
            assert_eq!(maintenance(other), None);
        }
    }

    #[test]
    fn stack_accesses_are_recognized() {
        // str r0, [sp, #4]; ldr r1, [sp, r2]; push {r4, lr}; strd r2, [sp, #8]; ldrh r0, [sp]; vpush {d8}
        for stack in [0xe58d_0004, 0xe79d_1002, 0xe92d_4010, 0xe1cd_20f8, 0xe1dd_00b0, 0xed2d_8b02]
        {
            assert!(is_stack_access(stack), "{stack:#x}");
        }
        // str sp, [r0]; ldm r0, {r1, sp}; strd r2, [r1]; swp r0, r1, [sp]
        for other in [0xe580_d000, 0xe890_2002, 0xe1c1_20f0, 0xe10d_0091] {
            assert!(!is_stack_access(other), "{other:#x}");
        }
    }

    #[test]
    fn calls_are_decoded() {
        let of = |instruction| {
            call(0xc014_b2d0, instruction).map(|call| (call.saved - call.site, call.target))
        };
        // arm-linux-gnueabi-as: bl .+0x100; bleq .-0x10; blx r3
        assert_eq!(of(0xeb00_003e), Some((4, Some(0xc014_b3d0))));
        assert_eq!(of(0x0bff_fffa), Some((4, Some(0xc014_b2c0))));
        assert_eq!(of(0xe12f_ff33), Some((4, None)));
        // b .+0x100; bx lr; blx .+0x100, which switches to Thumb
        assert_eq!((of(0xea00_003e), of(0xe12f_ff1e), of(0xfa00_003e)), (None, None, None));
    }

    #[test]
    fn page_tables_are_walked() {
        let table = 0x4000;
        let read = |physical: u64| match physical {
            // A cached section for 0xc00xxxxx, and a table of small pages for 0x400xxxxx.
            0x7000 => Some(0x0000_0c1e),
            0x5000 => Some(0x0000_8011),
            0x8004 => Some(0x0123_4aae),
            0x8008 => Some(0x0123_5aa6),
            0x800c => Some(0),
            _ => None,
        };
        let found = |address| {
            let found = walk(table, address, &read)?;
            Some((found.physical, found.cached))
        };
        assert_eq!(found(0xc001_2345), Some((0x1_2345, true)));
        assert_eq!(found(0x4000_1010), Some((0x0123_4010, true)));
        assert_eq!(found(0x4000_2010), Some((0x0123_5010, false)));
        assert_eq!((found(0x4000_3010), found(0x1000)), (None, None));
    }
}

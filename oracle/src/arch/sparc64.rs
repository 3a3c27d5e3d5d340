// SPDX-License-Identifier: GPL-2.0-or-later
//! SPARC V9. Instruction formats are from The SPARC Architecture Manual, Version 9, appendix A and E.2.

use std::ops::{Range, RangeInclusive};

use super::{
    Caching, Call, Frames, InstructionSet, Maintenance, NONE, RegisterSource, Stack, StateLayout,
};
use crate::model::{By, Op};

/// SPARC V9 with the data cache of UltraSPARC, big-endian.
pub const SPARC64: InstructionSet = InstructionSet {
    qemu: Some("sparc64"),
    instruction: u32::from_be_bytes,
    marker,
    functions: &FUNCTIONS,
    caching,
    is_stack_access,
    may_reach_process: is_alternate,
    is_kernel_code,
    overlapping_programs: true,
    process_addresses,
    linear,
    // `CPUSPARCState` in target/sparc/cpu.h: `regwptr` points to %o0, which is register 8.
    registers: RegisterSource::State(StateLayout {
        known: (8, 9),
        indirect: true,
        first: 8,
        // gdb-xml/sparc64-cpu.xml, which came with QEMU 11.
        names: &[
            "g0", "g1", "g2", "g3", "g4", "g5", "g6", "g7", "o0", "o1", "o2", "o3", "o4", "o5",
            "sp", "o7", "l0", "l1", "l2", "l3", "l4", "l5", "l6", "l7", "i0", "i1", "i2", "i3",
            "i4", "i5", "fp", "i7",
        ],
    }),
    call,
    // STACK_BIAS in arch/sparc/include/uapi/asm/ptrace.h, THREAD_SIZE in arch/sparc/include/asm/thread_info_64.h.
    stack: Some(Stack {
        pointer: 14,
        link: 15,
        word: 8,
        size: 16 << 10,
        frames: Frames::Windows { bias: 2047 },
    }),
    // If the TLB does not contain the address, QEMU raises TT_DMISS for the guest even when a plugin reads
    // (get_physical_address_data in target/sparc/mmu_helper.c). The guest's kernel then crashes.
    memory_is_readable: false,
    ..NONE
};

/// The kernel function that drops a page from the data cache in every colour (arch/sparc/mm/ultra.S). Its first
/// argument is in register 8, %o0. The function finds lines by their tags, which QEMU does not have.
const FUNCTIONS: [(&str, Maintenance); 1] =
    [("__flush_dcache_page", Maintenance::EveryColour { op: Op::Invalidate, address: 8 })];

/// Returns true for a load or store: op is 3.
fn loads_or_stores(instruction: u32) -> bool {
    instruction >> 30 == 3
}

/// Returns true for a load from or store to an alternate address space, which the kernel uses to reach process memory:
/// the second highest bit of op3 is set.
fn is_alternate(instruction: u32) -> bool {
    loads_or_stores(instruction) && instruction & 1 << 23 != 0
}

/// Returns the number of the alternate space if the instruction contains it: i is 0.
fn alternate_space(instruction: u32) -> Option<u32> {
    let in_register = instruction & 1 << 13 != 0;
    (is_alternate(instruction) && !in_register).then_some(instruction >> 5 & 0xff)
}

/// Returns true for a load or store whose base register is the stack pointer, r14, or the frame pointer, r30.
fn is_stack_access(instruction: u32) -> bool {
    loads_or_stores(instruction) && matches!(instruction >> 14 & 0x1f, 14 | 30)
}

/// Returns how an instruction uses the data cache. Accesses by physical address go directly to the second-level cache,
/// and block accesses of 64 bytes do not allocate (UltraSPARC-IIi User's Manual, on address space identifiers and on
/// block load and store). The numbers are from arch/sparc/include/uapi/asm/asi.h.
fn caching(instruction: u32) -> Caching {
    match alternate_space(instruction) {
        Some(0x14 | 0x15 | 0x1c | 0x1d) => Caching::Bypass,
        Some(0x70 | 0x71 | 0x78 | 0x79 | 0xe0 | 0xe1 | 0xf0 | 0xf1 | 0xf8 | 0xf9) => {
            Caching::NoAllocate
        }
        _ => Caching::Allocate,
    }
}

/// Decodes CALL, and JMPL with target register 15. Both save their own address.
fn call(pc: u64, instruction: u32) -> Option<Call> {
    const JMPL: u32 = 0x81c0_0000;
    let target = match instruction {
        _ if instruction >> 30 == 1 => {
            let offset = i64::from((instruction << 2) as i32);
            Some(pc.wrapping_add_signed(offset))
        }
        _ if instruction & 0xfff8_0000 == JMPL | 15 << 25 => None,
        _ => return None,
    };
    Some(Call { site: pc, saved: pc, target })
}

/// The kernel's linear mapping, up to the mappings of processes.
const LINEAR: Range<u64> = 0xffff_f800_0000_0000..MAPPINGS_START;

/// Converts an address in the linear mapping to a physical address.
fn linear(address: u64) -> Option<u64> {
    LINEAR.contains(&address).then(|| address - LINEAR.start)
}

/// Decodes `sethi 0x2a5a00+n, %g0`, a constant whose target is the register that is always 0 (SETHI; with a constant of
/// 0 the instruction is NOP).
fn marker(instruction: u32) -> Option<u32> {
    match instruction & !0xf {
        0x012a_5a00 => Some(instruction & 0xf),
        _ => None,
    }
}

/// Lowest mapping of 64-bit processes above the hole in their address space (arch/sparc/kernel/sys_sparc_64.c;
/// TASK_UNMAPPED_BASE in processor_64.h is 0xfffff80100000000). The kernel's linear mapping begins 4 GiB lower
/// (PAGE_OFFSET in page_64.h), and no machine of QEMU has enough memory for the two to overlap.
const MAPPINGS_START: u64 = 0xffff_f801_0000_0000;

/// Virtual addresses of OpenBIOS (LOW_OBP_ADDRESS and HI_OBP_ADDRESS in arch/sparc/include/asm/pgtable_64.h).
const FIRMWARE: Range<u64> = 0xf000_0000..0x1_0000_0000;

/// Returns true if the code at `pc` belongs to the kernel, whose image is at `image`, or to the firmware.
///
/// Kernel and processes have address spaces of their own that use the same low addresses. Programs are linked at 1 MiB
/// and the kernel at 4 MiB, so a program with more than 3 MiB of code overlaps the kernel.
fn is_kernel_code(pc: u64, image: &Range<u64>) -> bool {
    image.contains(&pc) || FIRMWARE.contains(&pc)
}

/// Returns the addresses that belong to a process. Only those in its mappings are unambiguous.
fn process_addresses(by: By) -> RangeInclusive<u64> {
    match by {
        By::Process => 0..=u64::MAX,
        By::Kernel => MAPPINGS_START..=u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_decoded() {
        // sparc64-linux-gnu-as: sethi 0x2a5a01, %g0
        assert_eq!(marker(0x012a_5a01), Some(1));
        assert_eq!(marker(0x012a_5a03), Some(3));
        // nop; sethi 0x2a5a01, %g1
        assert_eq!((marker(0x0100_0000), marker(0x032a_5a01)), (None, None));
    }

    #[test]
    fn mappings_are_above_the_linear_mapping() {
        assert!(process_addresses(By::Kernel).contains(&0xffff_f801_0012_3000));
        assert!(!process_addresses(By::Kernel).contains(&0xffff_f800_1012_3000));
        assert!(is_kernel_code(0x40_4000, &(0x40_4000..0xc0_0000)));
        assert!(!is_kernel_code(0x10_7110, &(0x40_4000..0xc0_0000)));
    }

    #[test]
    fn stack_and_process_accesses_are_recognized() {
        // stx %l0, [%sp + 2047]; ldx [%fp - 8], %o0
        for stack in [0xe073_a7ff, 0xd05f_bff8] {
            assert!(is_stack_access(stack) && !is_alternate(stack), "{stack:#x}");
        }
        // lduba [%g1] 0x11, %g2; ldda [%o1] %asi, %f0
        for process in [0xc488_4220, 0xc19a_6000] {
            assert!(is_alternate(process) && !is_stack_access(process), "{process:#x}");
        }
        // add %sp, 8, %o0
        assert!(!is_stack_access(0x9003_a008));
    }

    #[test]
    fn calls_are_decoded() {
        let of = |instruction| call(0x5a_74a4, instruction).map(|call| (call.saved, call.target));
        // sparc64-linux-gnu-as: call .+0x100; call .-0x10; call %g1
        assert_eq!(of(0x4000_0040), Some((0x5a_74a4, Some(0x5a_75a4))));
        assert_eq!(of(0x7fff_fffc), Some((0x5a_74a4, Some(0x5a_7494))));
        assert_eq!(of(0x9fc0_4000), Some((0x5a_74a4, None)));
        // ret, which is jmpl %i7+8, %g0; brnz %g1, .+0xf0
        assert_eq!((of(0x81c7_e008), of(0x0ac0_403c)), (None, None));
    }

    #[test]
    fn uncached_accesses_are_recognized() {
        // sparc64-linux-gnu-as -Av9a: ldda [%o1] 0xf0, %f0; stda %f16, [%o0] 0xe0; ldda [%o1] 0x71, %f0
        for block in [0xc19a_5e00, 0xe1ba_1c00, 0xc19a_4e20] {
            assert_eq!(caching(block), Caching::NoAllocate);
        }
        // ldxa [%g1] 0x14, %g2; stxa %g0, [%g1] 0x14; casxa [%g1] 0x14, %g2, %g3
        for physical in [0xc4d8_4280, 0xc0f0_4280, 0xc7f0_4282] {
            assert_eq!(caching(physical), Caching::Bypass);
        }
        // ldx [%g1], %g2; ldda [%o1] %asi, %f0; lduba [%g1] 0x11, %g2
        for other in [0xc458_4000, 0xc19a_6000, 0xc488_4220] {
            assert_eq!(caching(other), Caching::Allocate);
        }
    }
}

// SPDX-License-Identifier: GPL-2.0-or-later
//! PA-RISC 1.1. Every address that QEMU reports, code addresses included, contains the space before the offset:
//! `space << 32 | offset`.

use super::{
    Call, Frames, InstructionSet, Maintenance, NONE, RegisterSource, Stack, StateLayout, Switch,
};
use crate::model::Op;

/// PA-RISC 1.1, big-endian.
pub const HPPA: InstructionSet = InstructionSet {
    qemu: Some("hppa"),
    instruction: u32::from_be_bytes,
    marker,
    functions: &FUNCTIONS,
    is_stack_access,
    may_reach_process: names_space,
    is_kernel_code: |pc, _| space(pc) == KERNEL_SPACE,
    process_addresses: |_| PROCESSES_START..=u64::MAX,
    linear,
    mapped_below: LINEAR.start,
    maintenance,
    decodes_translations: true,
    space: |address| Some(space(address)),
    plain: offset,
    // `CPUHPPAState` in target/hppa/cpu.h: `gr`, an array of 32 registers of 64 bits.
    call,
    // arch/parisc/kernel/entry.S: previous and next task.
    switch: Some(Switch { function: "_switch_to", before: 26, next: 25 }),
    // THREAD_SIZE in arch/parisc/include/asm/thread_info.h: four pages. A frame is aligned to 64 bytes (FRAME_ALIGN in
    // asm/assembly.h), and a function saves its return address 20 bytes below it (RP_OFFSET).
    stack: Some(Stack {
        pointer: 30,
        link: 2,
        word: 4,
        size: 16 << 10,
        frames: Frames::Below { frame: 64, place: 64 - 20 },
    }),
    registers: RegisterSource::State(StateLayout {
        known: (26, 25),
        indirect: false,
        first: 0,
        names: &[],
    }),
    ..NONE
};

/// Kernel functions that maintain the data cache, with their argument registers: 26 is the first, 25 the second
/// (arch/parisc/kernel/pacache.S). QEMU does not report the addresses that their instructions use.
const FUNCTIONS: [(&str, Maintenance); 7] = [
    ("flush_data_cache_local", Maintenance::All(Op::Flush)),
    ("flush_dcache_page_asm", page(Op::Flush)),
    ("purge_dcache_page_asm", page(Op::Invalidate)),
    ("flush_kernel_dcache_page_asm", linear_page(Op::Flush)),
    ("purge_kernel_dcache_page_asm", linear_page(Op::Invalidate)),
    ("flush_kernel_dcache_range_asm", linear_range(Op::Flush)),
    ("purge_kernel_dcache_range_asm", linear_range(Op::Invalidate)),
];

const fn page(op: Op) -> Maintenance {
    Maintenance::Page { op, physical: 26, address: 25 }
}

const fn linear_page(op: Op) -> Maintenance {
    Maintenance::Linear { op, first: 26, end: None }
}

const fn linear_range(op: Op) -> Maintenance {
    Maintenance::Linear { op, first: 26, end: Some(25) }
}

/// Decodes instructions that change the data TLB: inserts and purges (PA-RISC 1.1 Architecture and Instruction Set
/// Reference, system control instructions; `ixtlb`, `ixtlbt` and `pxtlb` in target/hppa/insns.decode of QEMU), and DIAG.
fn maintenance(instruction: u32) -> Option<Maintenance> {
    let changes = match instruction >> 26 {
        0x01 => {
            matches!(instruction >> 6 & 0xff, 0x40 | 0x41 | 0x48 | 0x49 | 0x50 | 0x51 | 0x58 | 0x60)
        }
        0x05 => true,
        _ => false,
    };
    changes.then_some(Maintenance::ForgetTranslations)
}

/// The kernel's linear mapping, above its other mappings (arch/parisc/include/asm/fixmap.h): from __PAGE_OFFSET of 32-bit kernels in arch/parisc/include/asm/page.h to the lowest
/// address of fixed mappings.
const LINEAR: std::ops::Range<u64> = 0x1000_0000..0xe000_0000;

/// Converts an address in the linear mapping to a physical address.
fn linear(address: u64) -> Option<u64> {
    LINEAR.contains(&address).then(|| address - LINEAR.start)
}

/// Decodes `ldo 0x1a00+n(%r0), %r0`, a sum whose target is the register that is always 0 (PA-RISC 1.1 Architecture and
/// Instruction Set Reference, LOAD OFFSET; the lowest bit of the displacement is its sign).
fn marker(instruction: u32) -> Option<u32> {
    match instruction & !0x1e {
        0x3400_3400 => Some(instruction >> 1 & 0xf),
        _ => None,
    }
}

/// Returns true for the major opcodes of loads and stores: indexed, short, coprocessor, and with a displacement
/// (PA-RISC 1.1 Architecture and Instruction Set Reference, appendix C).
fn loads_or_stores(instruction: u32) -> bool {
    matches!(instruction >> 26, 0x03 | 0x09 | 0x0b | 0x10..=0x13 | 0x18..=0x1b)
}

/// Returns true for a load or store whose base register is the stack pointer, r30.
fn is_stack_access(instruction: u32) -> bool {
    loads_or_stores(instruction) && instruction >> 21 & 0x1f == 30
}

/// Returns true for a load or store that names its space register. Others use the space registers that belong to the
/// kernel while it runs (sr4 to sr7 in arch/parisc/include/asm/assembly.h).
fn names_space(instruction: u32) -> bool {
    loads_or_stores(instruction) && instruction >> 14 & 3 != 0
}

/// Decodes BRANCH AND LINK with link register 2 or 31, and BRANCH AND LINK EXTERNAL, which uses 31. Code that gets its
/// return address in 31 copies it to 2 in the delay slot. The return address is that of the instruction after the delay
/// slot.
fn call(pc: u64, instruction: u32) -> Option<Call> {
    const BRANCH: u32 = 0x3a;
    const EXTERNAL: u32 = 0x39;
    let field = |shift: u32, bits: u32| instruction >> shift & ((1 << bits) - 1);
    let target = match (instruction >> 26, field(13, 3), field(21, 5)) {
        // The displacement is w2{10}, w2{0..9}, and w1 above; w is its sign.
        (BRANCH, 0, 2) => {
            let words = field(16, 5) << 11 | field(2, 1) << 10 | field(3, 10);
            let sign = field(0, 1) << 16;
            let offset = 4 * (i64::from(words) - i64::from(sign));
            Some(pc.wrapping_add_signed(8 + offset))
        }
        (BRANCH, 0, 31) | (EXTERNAL, ..) => None,
        _ => return None,
    };
    Some(Call { site: pc, saved: pc + 8, target })
}

/// Returns the space of an address.
fn space(address: u64) -> u64 {
    address >> 32
}

/// Returns the offset of an address within its space.
fn offset(address: u64) -> u64 {
    address & 0xffff_ffff
}

/// Space of the kernel (arch/parisc/include/asm/mmu_context.h).
const KERNEL_SPACE: u64 = 0;

/// Lowest address in the space of a process.
const PROCESSES_START: u64 = (KERNEL_SPACE + 1) << 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::By;

    #[test]
    fn markers_are_decoded() {
        // hppa-linux-gnu-as: ldo 0x1a01(%r0), %r0
        assert_eq!(marker(0x3400_3402), Some(1));
        assert_eq!(marker(0x3400_3406), Some(3));
        // ldo 0x1a01(%r0), %r1; ldo -0x1a01(%r0), %r0
        assert_eq!((marker(0x3401_3402), marker(0x3400_0bff)), (None, None));
    }

    #[test]
    fn stack_and_process_accesses_are_recognized() {
        // hppa-linux-gnu-as: ldw -20(%r30), %r2; stw,ma %r3, 64(%r30); stb %r0, 0(%r30)
        for stack in [0x4bc2_3fd9, 0x6fc3_0080, 0x0fc0_1200] {
            assert!(is_stack_access(stack), "{stack:#x}");
            assert!(!names_space(stack), "{stack:#x}");
        }
        // ldw 0(%sr3, %r26), %r28; ldb,ma 1(%sr1, %r25), %r1
        for process in [0x0f40_d09c, 0x0f22_5021] {
            assert!(names_space(process), "{process:#x}");
            assert!(!is_stack_access(process), "{process:#x}");
        }
        // ldo 64(%r30), %r30 is an addition, not a load.
        assert!(!is_stack_access(0x37de_0080));
    }

    #[test]
    fn changes_of_the_tlb_are_decoded() {
        // hppa-linux-gnu-as: pdtlb %r0(%sr1,%r26); pdtlbe %r0(%sr1,%r26); idtlba %r16,(%sr1,%r8); idtlbp %r16,(%sr1,%r8);
        // idtlbt %r16,%r17 of PA-RISC 2.0
        for tlb in [0x0740_5200, 0x0740_5240, 0x0510_5040, 0x0510_5000, 0x0630_1800] {
            assert_eq!(maintenance(tlb), Some(Maintenance::ForgetTranslations), "{tlb:#x}");
        }
        // fdc %r0(%sr1,%r26); pitlb %r0(%sr4,%r26); ldw 0(%sr3,%r26),%r28
        for other in [0x0740_5280, 0x0740_2200, 0x0f40_d09c] {
            assert_eq!(maintenance(other), None, "{other:#x}");
        }
    }

    #[test]
    fn calls_are_decoded() {
        let of = |instruction| {
            call(0x1062_3160, instruction).map(|call| (call.saved - call.site, call.target))
        };
        // hppa-linux-gnu-as: b,l .+0x100,%r2; b,l .-0x10,%r2; b,l .+0x100,%r31; be,l 0(%sr4,%r22),%sr0,%r31
        assert_eq!(of(0xe840_01f0), Some((8, Some(0x1062_3260))));
        assert_eq!(of(0xe85f_1fd5), Some((8, Some(0x1062_3150))));
        assert_eq!(of(0xebe0_01f0), Some((8, None)));
        assert_eq!(of(0xe6c0_2000), Some((8, None)));
        // b,l .-0x10,%r0 is a jump; bv %r0(%r2) is a return.
        assert_eq!((of(0xe81f_1fd5), of(0xe840_c000)), (None, None));
    }

    #[test]
    fn the_kernel_has_space_0() {
        assert!((HPPA.is_kernel_code)(0x1000_0000, &(0..0)));
        assert!(!(HPPA.is_kernel_code)(0x0000_4a00_1000_0000, &(0..0)));
        let processes = (HPPA.process_addresses)(By::Kernel);
        assert!(!processes.contains(&0x1000_0000) && !processes.contains(&0xffff_ffff));
        assert!(processes.contains(&0x0000_4a00_1000_0000) && processes.contains(&(1 << 32)));
        assert_eq!(offset(0x0000_4a00_1000_0000), 0x1000_0000);
    }
}

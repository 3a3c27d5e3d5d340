// SPDX-License-Identifier: GPL-2.0-or-later
use super::*;
use crate::arch::InstructionSet;
use oracle_wire::config::Arch;

/// A guest with a few registers and one piece of memory.
struct Recorded {
    registers: Vec<(u8, u64)>,
    start: u64,
    memory: Vec<u8>,
}

impl Guest for Recorded {
    fn register(&self, number: u8) -> Option<u64> {
        self.registers.iter().find(|(known, _)| *known == number).map(|(_, value)| *value)
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        let offset = address.wrapping_sub(self.start) as usize;
        let Some(found) = self.memory.get(offset..offset.saturating_add(bytes.len())) else {
            return false;
        };
        bytes.copy_from_slice(found);
        true
    }
}

const MAP: &str = "c0008000 T _text\nc0010000 t memcpy\nc0010100 t copy_to_iter\nc0010200 t read_iter\n\
                   c0010300 t vfs_read\nc0010400 t sys_read\nc0010500 t other\nc0900000 B _end\n";

/// Calls from one function of [`MAP`] to another: `(site, target)`.
fn calls(saved_after: u64, pairs: &[(u64, Option<u64>)]) -> Calls {
    let mut calls = Calls::default();
    for &(site, target) in pairs {
        calls.insert(Call { site, saved: site + saved_after, target });
    }
    calls
}

/// Returns the backtrace of an access in memcpy, as function names.
fn names(arch: Arch, guest: &Recorded, calls: &Calls) -> String {
    let symbols = Symbols::parse(MAP);
    let set = InstructionSet::of(arch);
    let big = arch != Arch::Arm;
    let word = |bytes: &[u8]| {
        let sum = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        match big {
            true => bytes.iter().fold(0, sum),
            false => bytes.iter().rev().fold(0, sum),
        }
    };
    let frames = backtrace(0xc001_0010, set.stack.unwrap(), guest, word, calls, &symbols);
    let names = frames.iter().map(|frame| symbols.name(*frame).unwrap_or_else(|| "?".into()));
    names.collect::<Vec<_>>().join(" ")
}

/// memcpy <- copy_to_iter <- read_iter <- (by pointer) vfs_read <- sys_read.
const CHAIN: [(u64, Option<u64>); 6] = [
    (0xc001_0150, Some(0xc001_0000)),
    (0xc001_0250, Some(0xc001_0100)),
    (0xc001_0350, None),
    (0xc001_0450, Some(0xc001_0300)),
    // Other calls that the guest has made.
    (0xc001_0160, Some(0xc001_0500)),
    (0xc001_0550, Some(0xc001_0500)),
];

fn words(words: &[u32], big: bool) -> Vec<u8> {
    let bytes = |word: &u32| if big { word.to_be_bytes() } else { word.to_le_bytes() };
    words.iter().flat_map(bytes).collect()
}

#[test]
fn frames_are_found_on_a_stack_that_grows_down() {
    // The stack ends at 0xc0802000. It holds data, stale return addresses, and those of four frames.
    let stack =
        [5, 0xc001_0554, 0xc080_1000, 0xc001_0254, 0xc001_0164, 0xc001_0354, 1, 0xc001_0454, 0];
    let memory = words(&stack, false);
    let start = 0xc080_2000 - memory.len() as u64;
    let calls = calls(4, &CHAIN);
    let guest =
        |link| Recorded { registers: vec![(13, start), (14, link)], start, memory: memory.clone() };
    let all = "copy_to_iter+0x50 read_iter+0x50 vfs_read+0x50 sys_read+0x50";
    assert_eq!(names(Arch::Arm, &guest(0xc001_0154), &calls), all);
    // lr holds data and was not saved: frames are missing up to the next call by pointer.
    assert_eq!(names(Arch::Arm, &guest(7), &calls), "vfs_read+0x50 sys_read+0x50");
    // Nothing is mapped at the stack pointer.
    let lost = Recorded {
        registers: vec![(13, 0xbf00_0000), (14, 0xc001_0154)],
        start,
        memory: memory.clone(),
    };
    assert_eq!(names(Arch::Arm, &lost, &calls), "copy_to_iter+0x50");
}

#[test]
fn frames_are_found_on_a_stack_that_grows_up() {
    // A frame of 64 bytes has its return address in word 11. Other words are data.
    let mut stack = [0xc001_0358; 16 * 4];
    for (frame, saved) in [0xc001_0458, 0xc001_0358, 0xc001_0558, 0xc001_0258].iter().enumerate() {
        stack[16 * frame + 11] = *saved;
    }
    let start = 0xc080_0000;
    let memory = words(&stack, true);
    let pointer = start + memory.len() as u64;
    let guest = Recorded { registers: vec![(30, pointer), (2, 0xc001_0158)], start, memory };
    let all = "copy_to_iter+0x50 read_iter+0x50 vfs_read+0x50 sys_read+0x50";
    assert_eq!(names(Arch::Hppa, &guest, &calls(8, &CHAIN)), all);
}

#[test]
fn frames_are_found_in_register_windows_and_in_spilled_ones() {
    const BIAS: u64 = 2047;
    let frame = |number: u64| 0xc080_1000 + 0x100 * number;
    let mut memory = vec![0; 0x1000];
    let start = frame(0);
    let mut spill = |number: u64, pointer: u64, saved: u64| {
        let at = (frame(number) + 14 * 8 - start) as usize;
        memory[at..at + 8].copy_from_slice(&pointer.to_be_bytes());
        memory[at + 8..at + 16].copy_from_slice(&saved.to_be_bytes());
    };
    // The window of read_iter is in registers; what its frame holds is old. Those of its callers are spilled.
    spill(1, frame(2) - BIAS, 0xc001_0550);
    spill(2, frame(3) - BIAS, 0xc001_0450);
    spill(3, 0, 0);
    let pointer = |number: u64| frame(number) - BIAS;
    let registers = vec![
        (14, pointer(0)),
        (15, 0xc001_0150),
        (30, pointer(1)),
        (31, 0xc001_0250),
        (46, pointer(2)),
        (47, 0xc001_0350),
        // Not a window of an outer frame any more.
        (62, pointer(1)),
        (63, 0xc001_0550),
    ];
    let guest = Recorded { registers, start, memory };
    let all = "copy_to_iter+0x50 read_iter+0x50 vfs_read+0x50 sys_read+0x50";
    assert_eq!(names(Arch::Sparc64, &guest, &calls(0, &CHAIN)), all);
}

#[test]
fn a_function_that_has_made_calls_is_not_its_own_caller() {
    let symbols = Symbols::parse(MAP);
    let calls = calls(4, &CHAIN);
    let of = |saved: &[u64]| {
        let found: Vec<&Call> = saved.iter().filter_map(|word| calls.find(*word)).collect();
        chain(0xc001_0164, &found, &symbols)
    };
    // The link register holds the return address of the last call of copy_to_iter.
    assert_eq!(of(&[0xc001_0154, 0xc001_0254]), [0xc001_0250]);
    // Nothing calls a function that performs a system call.
    assert_eq!(
        of(&[0xc001_0254, 0xc001_0354, 0xc001_0454, 0xc001_0354]),
        [0xc001_0250, 0xc001_0350, 0xc001_0450]
    );
    // copy_to_iter was reached by a jump at the end of a function that vfs_read has called by pointer.
    assert_eq!(of(&[0xc001_0354, 0xc001_0454]), [0xc001_0350, 0xc001_0450]);
    let unknown = Symbols::default();
    let found: Vec<&Call> =
        [0xc001_0254, 0xc001_0354].iter().filter_map(|word| calls.find(*word)).collect();
    assert_eq!(chain(0xc001_0164, &found, &unknown), [0xc001_0250, 0xc001_0350]);
}

fn store(at: u64, pc: u64, physical: u64, changes: bool) -> Store {
    Store { at, pc, physical, changes }
}

#[test]
fn stores_of_one_call_share_a_backtrace() {
    let mut captures = Captures::new(4096, 32);
    captures.used(0x5000);
    let made = std::cell::Cell::new(0);
    let mut of = |store: Store, pointer: u64, frame: u64| {
        let capture = || {
            made.set(made.get() + 1);
            vec![frame]
        };
        captures.of_store(store, || Some(pointer), capture)
    };
    let first = of(store(1, 0x100, 0x5040, true), 0x8000, 0xaa);
    assert_ne!(first, 0);
    assert_eq!(of(store(9, 0x110, 0x5060, true), 0x8000, 0xbb), first);
    assert_eq!(of(store(30, 0x100, 0x5080, true), 0x8000, 0xbb), first);
    assert_eq!(made.get(), 1);
    // Another stack pointer, another function, and later.
    let second = of(store(31, 0x100, 0x50a0, true), 0x7000, 0xbb);
    assert_ne!(second, first);
    assert_eq!(of(store(32, 0x9100, 0x50c0, true), 0x7000, 0xbb), second);
    assert_eq!(of(store(99, 0x9100, 0x50e0, true), 0x7000, 0xbb), second);
    assert_eq!(made.get(), 4);
    // The stack pointer is not read for the next word of a copy.
    assert_eq!(of(store(100, 0x9104, 0x50e4, true), 0x6000, 0xcc), second);
    assert_eq!(made.get(), 4);
    assert_eq!(captures.frames(second), [0xbb]);
    assert!(captures.frames(0).is_empty());
}

#[test]
fn few_stores_to_pages_of_the_kernel_are_captured() {
    let mut captures = Captures::new(4096, 32);
    let mut at = 0;
    let mut count = |physical: u64, changes| {
        let traces = (0..100).map(|_| {
            at += 1000;
            captures.of_store(store(at, 0x100, physical, changes), || None, || vec![1])
        });
        traces.filter(|trace| *trace != 0).count()
    };
    assert_eq!(count(0x7040, true), 8);
    assert_eq!(count(0x7048, false), 0);
    // The kernel fills a page from its start.
    assert_eq!(count(0x7000, true), 100);
    assert_eq!(count(0x7000, false), 0);
    captures.used(0x7800);
    let trace = captures.of_store(store(1, 0x100, 0x7048, false), || None, || vec![1]);
    assert_ne!(trace, 0);
}

#[test]
fn id_and_name_of_a_process_are_found_in_its_task() {
    const PARENT: u32 = 0xc027_9640;
    let task = |id: u32, canary: bool, name: &str| {
        let mut memory = words(&[9, 1, 1, 7, id, id], false);
        if canary {
            memory.extend(words(&[0xdead_beef], false));
        }
        memory.extend(words(&[PARENT, PARENT, 1, 1], false));
        let mut name = name.as_bytes().to_vec();
        name.resize(NAME, 0);
        memory.extend(name);
        memory.resize(1024, 0);
        memory
    };
    const NAME: usize = 16;
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    for canary in [false, true] {
        let mut memory = task(1, canary, "init");
        memory.extend(task(42, canary, "cat"));
        let guest = Recorded { registers: Vec::new(), start: 0xc100_0000, memory };
        let mut tasks = Tasks::default();
        tasks.switch(0xc100_0400, &guest, word);
        assert_eq!(tasks.current(), 0);
        tasks.learn(0xc100_0000, Some(PARENT.into()), 4, &guest, word);
        tasks.switch(0xc100_0400, &guest, word);
        let cat = tasks.process(tasks.current()).unwrap().clone();
        assert_eq!((cat.id, cat.name.as_str()), (Some(42), "cat"));
        tasks.switch(0xc100_0000, &guest, word);
        assert_eq!(tasks.process(tasks.current()).unwrap().id, Some(1));
        tasks.switch(0xc100_0400, &guest, word);
        assert_eq!(tasks.current(), 1);
    }
    // Without the address of the parent, only the name is found.
    let guest = Recorded { registers: Vec::new(), start: 0, memory: task(1, false, "init") };
    let mut tasks = Tasks::default();
    tasks.learn(0, None, 4, &guest, word);
    tasks.switch(0, &guest, word);
    let init = tasks.process(tasks.current()).unwrap();
    assert_eq!((init.id, init.name.as_str()), (None, "init"));
}

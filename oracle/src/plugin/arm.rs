// SPDX-License-Identifier: GPL-2.0-or-later
//! What has to be looked up in an ARM machine while it runs: registers, and page tables in its memory.

use crate::arch::arm::{Translation, is_kernel, translate};
use crate::sys::{Instruction, Ram, Registers};

/// Of general registers, by their numbers; behind them the one with the address of the page tables.
const NAMES: [&str; 16] = [
    "r0",
    "r1",
    "r2",
    "r3",
    "r4",
    "r5",
    "r6",
    "r7",
    "r8",
    "r9",
    "r10",
    "r11",
    "r12",
    "sp",
    "lr",
    "TTBR0_EL1",
];
const TABLE: usize = 15;

/// The kernel's own view of memory, of which physical address 0 is the first byte: PAGE_OFFSET with CONFIG_VMSPLIT_3G,
/// and PHYS_OFFSET of the boards Versatile/PB and Integrator/CP.
const LINEAR: std::ops::Range<u64> = 0xc000_0000..0xd000_0000;

/// A machine as far as it is known.
#[derive(Default)]
pub struct Arm {
    registers: Option<Registers>,
    ram: Option<Ram>,
    /// The physical address of the page tables in use.
    table: u64,
}

impl Arm {
    /// Finds the machine's memory by an instruction of the kernel, if it has not yet.
    pub fn find_ram(&mut self, instruction: &Instruction) {
        let address = instruction.address();
        if self.ram.is_none() && LINEAR.contains(&address) {
            self.ram = instruction.ram(address - LINEAR.start);
        }
    }

    /// Looks at the registers.
    ///
    /// # Errors
    /// This QEMU does not show them.
    pub fn start(&mut self) -> Result<(), String> {
        let missing = "this QEMU does not show all registers of an ARM processor to plugins";
        if self.registers.is_none() {
            self.registers = Registers::find(&NAMES);
        }
        let table = self.registers.as_ref().and_then(|known| known.read(TABLE));
        self.table = table.ok_or(missing)?;
        Ok(())
    }

    /// Sees that a store that was just made is where the page tables say, and can be read there.
    ///
    /// # Errors
    /// It cannot.
    pub fn check(&self, address: u64, physical: u64, value: u64) -> Result<(), String> {
        let found = self.translate(address).map(|found| found.physical);
        let read = self.ram.as_ref().and_then(|ram| ram.word(physical));
        if found != Some(physical) || read.map(u64::from) != Some(value) {
            return Err(format!(
                "the guest stored {value:#x} at {address:#x}, which is {physical:#x} in memory, says QEMU; its page \
                 tables, as the plugin reads them, say {found:x?}, and {read:x?} is what is there"
            ));
        }
        Ok(())
    }

    /// Another address space begins.
    pub fn switch(&mut self, table: u64) {
        self.table = table;
    }

    /// Where an address is, in the address space in use.
    pub fn translate(&self, address: u64) -> Option<Translation> {
        let ram = self.ram.as_ref()?;
        translate(self.table, address, |physical| ram.word(physical))
    }

    /// The address space of a process's address.
    pub fn space(&self, address: u64) -> Option<u64> {
        (self.ram.is_some() && !is_kernel(address)).then_some(self.table)
    }

    /// A general register. Not the program counter.
    pub fn register(&self, number: u8) -> Option<u64> {
        match usize::from(number) {
            TABLE => None,
            index => self.registers.as_ref()?.read(index),
        }
    }
}

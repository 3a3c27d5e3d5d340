// SPDX-License-Identifier: GPL-2.0-or-later
//! Walks the page tables in the guest's memory, to find physical addresses and whether a page is cacheable.

use crate::arch::{PageTables, Translation};
use crate::sys::{Instruction, Ram, Registers};

/// Walks the page tables that are in use.
pub struct Walker {
    tables: &'static PageTables,
    base_register: Option<Registers>,
    ram: Option<Ram>,
    /// Physical address of the tables.
    base: u64,
}

impl Walker {
    /// Returns a walker that does not know the guest's memory yet.
    pub fn new(tables: &'static PageTables) -> Walker {
        Walker { tables, base_register: None, ram: None, base: 0 }
    }

    /// Locates the guest's memory in QEMU by the address of `instruction`, if that is an instruction of the kernel.
    pub fn find_ram(&mut self, instruction: &Instruction) {
        let (address, linear) = (instruction.address(), &self.tables.linear);
        if self.ram.is_none() && linear.contains(&address) {
            self.ram = instruction.ram(address - linear.start);
        }
    }

    /// Reads the register with the address of the tables.
    ///
    /// # Errors
    /// QEMU does not expose the register.
    pub fn read_base(&mut self) -> Result<(), String> {
        let name = self.tables.base_register;
        if self.base_register.is_none() {
            self.base_register = Registers::find(&[name]);
        }
        let register = self.base_register.as_ref();
        self.base = register
            .and_then(|register| register.read(0))
            .ok_or_else(|| format!("this QEMU does not expose the register {name} to plugins"))?;
        Ok(())
    }

    /// Compares the result of a walk with a store that the guest has just made.
    ///
    /// # Errors
    /// The walk leads to another address, or the guest's memory does not contain the value there.
    pub fn check(&self, address: u64, physical: u64, value: u64) -> Result<(), String> {
        let found = self.translate(address).map(|found| found.physical);
        let read = self.ram.as_ref().and_then(|ram| ram.word(physical));
        if found != Some(physical) || read.map(u64::from) != Some(value) {
            let hex = |number: Option<u64>| match number {
                Some(number) => format!("{number:#x}"),
                None => "nothing".into(),
            };
            return Err(format!(
                "the guest stored {value:#x} at {address:#x}, which QEMU maps to physical {physical:#x}; the plugin's \
                 page-table walk found {}, and the plugin read {} from the guest's memory",
                hex(found),
                hex(read.map(u64::from))
            ));
        }
        Ok(())
    }

    /// Uses the tables at `base` from now on.
    pub fn switch(&mut self, base: u64) {
        self.base = base;
    }

    /// Returns true if an address of the current address space is mapped uncached.
    pub fn is_uncached(&self, address: u64) -> bool {
        self.translate(address).is_some_and(|found| !found.cached)
    }

    /// Translates an address of the current address space.
    pub fn translate(&self, address: u64) -> Option<Translation> {
        let ram = self.ram.as_ref()?;
        (self.tables.walk)(self.base, address, &|physical| ram.word(physical))
    }

    /// Returns the physical address of the tables in use, once the guest's memory is known.
    pub fn base(&self) -> Option<u64> {
        self.ram.is_some().then_some(self.base)
    }
}

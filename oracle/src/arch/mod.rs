// SPDX-License-Identifier: GPL-2.0-or-later
//! What differs between instruction sets: the words a guest says to the plugin, and who an address belongs to.

pub mod arm;
mod hppa;
mod sparc64;

use std::collections::HashMap;

use oracle_wire::config::Arch;

use crate::model::{By, Op};
use crate::symbols::Symbols;

/// A word from the guest: an instruction that does nothing, with a number in it that no compiler has a reason to put
/// there. What it is about is stored right behind it. `suites/sys/src/oracle.rs` is the guest's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// A window opens; one store follows, its number in 32 bits.
    Open,
    /// The window is over.
    Close,
    /// An address pair the guest knows; four stores of 32 bits follow, one behind the other in memory: the virtual
    /// address of the first, then what the guest takes for its physical address, upper halves first.
    Known,
}

impl Marker {
    /// The marker with the number that every instruction set has in its instruction.
    fn from_number(number: u32) -> Option<Marker> {
        match number {
            1 => Some(Marker::Open),
            2 => Some(Marker::Close),
            3 => Some(Marker::Known),
            _ => None,
        }
    }

    /// How many stores follow it.
    pub fn payload(self) -> usize {
        match self {
            Marker::Open => 1,
            Marker::Close => 0,
            Marker::Known => 4,
        }
    }
}

/// What an instruction, or a function that begins with it, does to the data cache. Registers have the numbers that the
/// instruction set has for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upkeep {
    /// To the line at a virtual address.
    Line {
        /// What.
        op: Op,
        /// The register with the address.
        address: u8,
    },
    /// To the lines from one virtual address to another.
    Range {
        /// What.
        op: Op,
        /// The register with the address of the first byte.
        first: u8,
        /// The register with the address of the last byte, or of another in the last line.
        last: u8,
    },
    /// To the page of memory at a physical address.
    Page {
        /// What.
        op: Op,
        /// The register with the physical address.
        physical: u8,
        /// The register with a virtual address of the colour in which the page is looked for.
        address: u8,
    },
    /// To the lines from one address of the kernel's own view of memory to another.
    Linear {
        /// What.
        op: Op,
        /// The register with the address of the first byte.
        first: u8,
        /// The register with the address behind the last byte; `None`: to the end of the page.
        end: Option<u8>,
    },
    /// To a page of the kernel's own view of memory, in every colour.
    EveryColour {
        /// What.
        op: Op,
        /// The register with the address of the page.
        address: u8,
    },
    /// To all lines.
    All(Op),
    /// Nothing, but from here on virtual addresses are another process's.
    Space {
        /// The register with the physical address of its page tables.
        table: u8,
    },
}

impl Upkeep {
    /// Whether it is about one line or one page.
    fn is_of_one(&self) -> bool {
        matches!(
            self,
            Upkeep::Line { .. } | Upkeep::Page { .. } | Upkeep::EveryColour { .. }
        )
    }
}

/// How an access uses the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// What is not there is brought in.
    Cached,
    /// What is there is used; what is not is not brought in.
    NotBroughtIn,
    /// It goes round the cache.
    Round,
}

/// Which accesses of an instruction are listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// None.
    Nothing,
    /// Stores alone.
    Stores,
    /// All.
    All,
}

/// Functions of the kernel that do something to the cache, where their instructions do not tell what.
fn functions(arch: Arch) -> &'static [(&'static str, Upkeep)] {
    match arch {
        Arch::Hppa => &hppa::FUNCTIONS,
        Arch::Sparc64 => &sparc64::FUNCTIONS,
        Arch::Arm | Arch::None => &[],
    }
}

/// What there is to know of an instruction set, and of the kernel that runs on it.
#[derive(Clone, Debug)]
pub struct Machine {
    arch: Arch,
    /// The kernel's image; empty where it is not known.
    image: std::ops::Range<u64>,
    /// Functions of the kernel that do something to the cache, by address.
    functions: HashMap<u64, Upkeep>,
    deaf: bool,
}

impl Machine {
    /// Of a kernel with these symbols.
    pub fn new(arch: Arch, symbols: &Symbols) -> Machine {
        let known = functions(arch)
            .iter()
            .filter_map(|&(name, upkeep)| Some((symbols.address(name)?, upkeep)));
        Machine {
            arch,
            image: symbols.image().unwrap_or(0..0),
            functions: known.collect(),
            deaf: false,
        }
    }

    /// The same, but what is done to one line or one page is not heard of if `deaf`.
    pub fn deaf(self, deaf: bool) -> Machine {
        Machine { deaf, ..self }
    }

    /// The functions that do something to the cache and have no symbol: what they do would not be seen.
    pub fn unknown(&self, symbols: &Symbols) -> Vec<&'static str> {
        let names = functions(self.arch).iter().map(|(name, _)| *name);
        names
            .filter(|name| symbols.address(name).is_none())
            .collect()
    }

    /// The instruction in four bytes of the guest's memory.
    pub fn instruction(&self, bytes: [u8; 4]) -> u32 {
        match self.arch {
            Arch::Arm | Arch::None => u32::from_le_bytes(bytes),
            Arch::Hppa | Arch::Sparc64 => u32::from_be_bytes(bytes),
        }
    }

    /// The marker that an instruction is.
    pub fn marker(&self, instruction: u32) -> Option<Marker> {
        let number = match self.arch {
            Arch::Arm => arm::marker(instruction),
            Arch::Hppa => hppa::marker(instruction),
            Arch::Sparc64 => sparc64::marker(instruction),
            Arch::None => None,
        };
        Marker::from_number(number?)
    }

    /// What is done to the data cache by an instruction, or by the function that begins with it.
    pub fn upkeep(&self, pc: u64, instruction: u32) -> Option<Upkeep> {
        let upkeep = match self.arch {
            Arch::Arm => arm::upkeep(instruction),
            Arch::Hppa | Arch::Sparc64 => self.functions.get(&pc).copied(),
            Arch::None => None,
        };
        upkeep.filter(|upkeep| !self.deaf || !upkeep.is_of_one())
    }

    /// Whether stores of the kernel's function are known to be seen late by others, and are not held against them.
    pub fn is_excused(&self, function: &str) -> bool {
        match self.arch {
            Arch::Sparc64 => sparc64::EXCUSED.contains(&function),
            _ => false,
        }
    }

    /// How the accesses of an instruction use the cache.
    pub fn way(&self, instruction: u32) -> Way {
        match self.arch {
            Arch::Sparc64 => sparc64::way(instruction),
            _ => Way::Cached,
        }
    }

    /// Which accesses of an instruction matter where those of processes alone are judged. Nobody shares a stack, and
    /// pages that become stacks are cleared by the kernel before.
    pub fn heard(&self, pc: u64, instruction: u32) -> Heard {
        let (of_stack, of_process) = match self.arch {
            Arch::Arm => (arm::is_of_stack(instruction), true),
            Arch::Hppa => (
                hppa::is_of_stack(instruction),
                hppa::names_space(instruction),
            ),
            Arch::Sparc64 => (
                sparc64::is_of_stack(instruction),
                sparc64::is_alternate(instruction),
            ),
            Arch::None => return Heard::Nothing,
        };
        match self.by(pc) {
            _ if of_stack => Heard::Nothing,
            By::Kernel if !of_process => Heard::Stores,
            _ => Heard::All,
        }
    }

    /// The physical address of an address in the kernel's own view of memory.
    pub fn linear(&self, address: u64) -> Option<u64> {
        match self.arch {
            Arch::Hppa => hppa::linear(address),
            Arch::Sparc64 => sparc64::linear(address),
            Arch::Arm | Arch::None => None,
        }
    }

    /// Who runs the code at `pc`.
    pub fn by(&self, pc: u64) -> By {
        let of_kernel = match self.arch {
            Arch::Arm => arm::is_kernel(pc),
            Arch::Hppa => hppa::is_kernel(pc),
            Arch::Sparc64 => sparc64::is_kernel(pc, &self.image),
            Arch::None => false,
        };
        match of_kernel {
            true => By::Kernel,
            false => By::Process,
        }
    }

    /// Whether an address belongs to a process. Where it may be either's, it is its who makes the access.
    pub fn is_of_process(&self, address: u64, by: By) -> bool {
        match self.arch {
            Arch::Arm => !arm::is_kernel(address),
            Arch::Hppa => !hppa::is_kernel(address),
            Arch::Sparc64 => by == By::Process || sparc64::is_mapping(address),
            Arch::None => true,
        }
    }

    /// The address space that an address is in, where the address says so.
    pub fn space(&self, address: u64) -> Option<u64> {
        (self.arch == Arch::Hppa).then(|| hppa::space(address))
    }

    /// The address as the guest's programs know it.
    pub fn plain(&self, address: u64) -> u64 {
        match self.arch {
            Arch::Hppa => hppa::offset(address),
            _ => address,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_known_by_their_symbols() {
        let symbols =
            Symbols::parse("400000 T _text\n404000 T __flush_dcache_page\n800000 B _end\n");
        let machine = Machine::new(Arch::Sparc64, &symbols);
        assert!(machine.unknown(&symbols).is_empty());
        let here = machine.upkeep(0x40_4000, 0);
        assert!(matches!(here, Some(Upkeep::EveryColour { .. })));
        assert_eq!(machine.upkeep(0x40_4004, 0), None);
        assert_eq!(machine.clone().deaf(true).upkeep(0x40_4000, 0), None);
        assert_eq!(
            machine.unknown(&Symbols::default()),
            ["__flush_dcache_page"]
        );
    }

    #[test]
    fn addresses_belong_to_who_uses_them() {
        let symbols = Symbols::parse("400000 T _text\n800000 B _end\n");
        let machine = Machine::new(Arch::Sparc64, &symbols);
        assert_eq!(machine.by(0x40_4000), By::Kernel);
        assert_eq!(machine.by(0x10_7110), By::Process);
        // Programs' data and the kernel's image have the same addresses.
        assert!(machine.is_of_process(0x4e_f5f8, By::Process));
        assert!(!machine.is_of_process(0x4e_f5f8, By::Kernel));
        let machine = Machine::new(Arch::Hppa, &symbols);
        assert_eq!(machine.space(0x4a00_1000_0000), Some(0x4a00));
        assert_eq!(machine.plain(0x4a00_1000_0000), 0x1000_0000);
        assert_eq!(machine.linear(0x1000_3000), Some(0x3000));
    }
}

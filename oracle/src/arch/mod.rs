// SPDX-License-Identifier: GPL-2.0-or-later
//! Instruction sets. Each is one [`InstructionSet`] constant in a file of its own, and [`InstructionSet::of`] picks it.
//! Nothing else in the plugin asks which machine the guest has. `docs/adding-a-target.md` explains how to add one.

mod arm;
mod hppa;
mod sparc64;

use std::collections::HashMap;
use std::ops::{Range, RangeInclusive};

use oracle_wire::config::Arch;
use oracle_wire::message::Mapping;

use crate::model::{By, Op};
use crate::symbols::Symbols;

/// An instruction set, and the Linux kernel that runs on it.
///
/// The fields that do not apply to an instruction set can be taken from `NONE`, which has no markers, no cache
/// maintenance and no registers.
#[derive(Debug)]
pub struct InstructionSet {
    /// Name of the QEMU target, as in `qemu-system-NAME`. `None` accepts every QEMU.
    pub qemu: Option<&'static str>,
    /// Converts four bytes of the guest's memory to an instruction.
    pub instruction: fn([u8; 4]) -> u32,
    /// Returns the number in a marker instruction, and `None` for any other instruction.
    pub marker: fn(u32) -> Option<u32>,

    /// Returns the cache maintenance that an instruction performs.
    pub maintenance: fn(u32) -> Option<Maintenance>,
    /// Kernel functions that maintain the cache with instructions that the plugin cannot follow, each with its effect.
    pub functions: &'static [(&'static str, Maintenance)],
    /// Kernel functions that maintain the cache on behalf of one process, for its mappings. They may flush the whole
    /// cache to save time.
    pub process_flushes: &'static [&'static str],

    /// Returns how the accesses of an instruction use the data cache.
    pub caching: fn(u32) -> Caching,
    /// Returns true for a load or store that is addressed by the stack or frame pointer.
    pub is_stack_access: fn(u32) -> bool,
    /// Returns true for a load or store with which the kernel may reach the memory of a process.
    pub may_reach_process: fn(u32) -> bool,

    /// Returns true if the code at an address belongs to the kernel, whose image occupies the range.
    pub is_kernel_code: fn(u64, &Range<u64>) -> bool,
    /// Programs may have the addresses of the kernel's image, which is in an address space of its own.
    pub overlapping_programs: bool,
    /// Returns the addresses that belong to a process. Where an address could belong to either side, the code that uses
    /// it decides.
    pub process_addresses: fn(By) -> RangeInclusive<u64>,
    /// Converts an address in the kernel's linear mapping to a physical address.
    pub linear: fn(u64) -> Option<u64>,
    /// Addresses below this one are the kernel's, and outside the linear mapping. The plugin remembers their physical
    /// addresses from accesses, for cache maintenance of such addresses.
    pub mapped_below: u64,
    /// Returns the address space that QEMU encodes in an address.
    pub space: fn(u64) -> Option<u64>,
    /// Removes what QEMU adds to an address, such as the address space.
    pub plain: fn(u64) -> u64,

    /// Source of the general registers.
    pub registers: RegisterSource,
    /// Decodes a call by the instruction at an address. Jumps that save no return address are no calls.
    pub call: fn(u64, u32) -> Option<Call>,
    /// The kernel's stack, if the plugin can read backtraces from it.
    pub stack: Option<Stack>,
    /// QEMU can read the guest's memory at a virtual address without an effect on the guest.
    pub memory_is_readable: bool,
    /// `maintenance` decodes every instruction that ends a translation of the MMU.
    pub decodes_translations: bool,
    /// The kernel's function that switches to another task, if it is known.
    pub switch: Option<Switch>,
    /// The MMU's page tables, if the plugin has to walk them.
    pub page_tables: Option<PageTables>,
}

impl InstructionSet {
    /// Returns the record of `arch`.
    pub fn of(arch: Arch) -> &'static InstructionSet {
        match arch {
            Arch::Arm => &arm::ARM,
            Arch::Hppa => &hppa::HPPA,
            Arch::Sparc64 => &sparc64::SPARC64,
            Arch::None => &NONE,
        }
    }
}

/// No instruction set: the plugin recognizes nothing. Also the base of the other constants.
const NONE: InstructionSet = InstructionSet {
    qemu: None,
    instruction: u32::from_le_bytes,
    marker: |_| None,
    maintenance: |_| None,
    functions: &[],
    process_flushes: &["flush_cache_mm", "flush_cache_range"],
    caching: |_| Caching::Allocate,
    is_stack_access: |_| false,
    may_reach_process: |_| true,
    is_kernel_code: |_, _| false,
    overlapping_programs: false,
    process_addresses: |_| 0..=u64::MAX,
    linear: |_| None,
    mapped_below: 0,
    space: |_| None,
    plain: |address| address,
    registers: RegisterSource::None,
    call: |_, _| None,
    stack: None,
    memory_is_readable: true,
    decodes_translations: false,
    switch: None,
    page_tables: None,
};

/// A call instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Address of the instruction.
    pub site: u64,
    /// The value that the call saves as its return address.
    pub saved: u64,
    /// Address of the called function. `None` if it is in a register.
    pub target: Option<u64>,
}

/// The stack of kernel code. Registers are given by their numbers in the instruction set.
#[derive(Clone, Copy, Debug)]
pub struct Stack {
    /// Stack pointer.
    pub pointer: u8,
    /// Register in which a call saves its return address.
    pub link: u8,
    /// Bytes in a word.
    pub word: usize,
    /// Bytes in a kernel stack, a power of two. Stacks are aligned to it.
    pub size: u64,
    /// Location of the return addresses of outer frames.
    pub frames: Frames,
}

/// A function that the kernel runs when it switches to another task. Registers are given by their numbers in the
/// instruction set, and have these values when the function begins.
#[derive(Clone, Copy, Debug)]
pub struct Switch {
    /// Start of the function's name. The compiler may add a suffix.
    pub function: &'static str,
    /// Register with the address of the task that ran until now.
    pub before: u8,
    /// Register with the address of the task that runs next.
    pub next: u8,
}

/// Location of the return addresses of outer frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frames {
    /// Among the words above the stack pointer: the stack grows down.
    Above,
    /// Among the words below the stack pointer: the stack grows up. Frames are aligned, and each has one return address
    /// at a fixed place.
    Below {
        /// Bytes to which a frame is aligned, a power of two.
        frame: u64,
        /// Address of the return address, modulo `frame`.
        place: u64,
    },
    /// In register windows, and in the memory to which the kernel spills them.
    Windows {
        /// Bytes between a stack or frame pointer and the frame.
        bias: u64,
    },
}

/// Source of the values of the guest's general registers.
#[derive(Debug)]
pub enum RegisterSource {
    /// The plugin needs no registers of this machine.
    None,
    /// QEMU's plugin interface, by name. The number of a register is its index in the list.
    Named(&'static [&'static str]),
    /// QEMU's processor state in memory, for machines whose registers the plugin interface of some versions of QEMU does
    /// not expose.
    State(StateLayout),
}

/// Layout of the general registers in QEMU's processor state.
///
/// The offset of the registers depends on the build of QEMU. To find it, the guest puts two known values in two
/// registers that lie next to each other.
#[derive(Clone, Copy, Debug)]
pub struct StateLayout {
    /// The registers that hold the lower halves of the virtual and of the physical address at [`Marker::Known`].
    pub known: (u8, u8),
    /// The state holds a pointer to the registers instead of the registers, as with register windows.
    pub indirect: bool,
    /// Number of the first register in the array.
    pub first: u8,
    /// Names of all registers in order of their numbers, for versions of QEMU whose plugin interface exposes them. Empty
    /// if there is none.
    pub names: &'static [&'static str],
}

/// Page tables of the guest's MMU, little-endian, and where the plugin finds them.
#[derive(Debug)]
pub struct PageTables {
    /// QEMU's name for the register with the physical address of the tables in use.
    pub base_register: &'static str,
    /// Virtual addresses of the kernel's linear mapping, which begins at physical address 0.
    pub linear: Range<u64>,
    /// Looks up an address in the tables at a physical address.
    pub walk: Walk,
}

/// Looks up a virtual address in the page tables at a physical address. The third argument reads the word at a physical
/// address. Returns `None` if nothing is mapped.
pub type Walk = fn(u64, u64, &dyn Fn(u64) -> Option<u32>) -> Option<Translation>;

/// The result of a page-table walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Physical address.
    pub physical: u64,
    /// True if the page is cacheable.
    pub cached: bool,
}

/// A signal from the guest to the plugin: an instruction without effect that contains a number no compiler has a reason
/// to use. The stores directly after it carry its arguments. `suites/sys/src/oracle.rs` is the guest's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// Opens a window. One store follows: the window's number, 32 bits.
    Open,
    /// Closes the window.
    Close,
    /// Names an address whose physical address the guest knows. Four stores of 32 bits to consecutive addresses follow:
    /// the virtual address of the first store, then its physical address, upper halves first.
    Known,
}

impl Marker {
    /// Returns the marker with a number, which is the same on all instruction sets.
    fn from_number(number: u32) -> Option<Marker> {
        match number {
            1 => Some(Marker::Open),
            2 => Some(Marker::Close),
            3 => Some(Marker::Known),
            _ => None,
        }
    }

    /// Returns the word for the marker in error texts.
    pub fn word(self) -> &'static str {
        match self {
            Marker::Open => "open",
            Marker::Close => "close",
            Marker::Known => "known address",
        }
    }

    /// Returns the number of stores that follow the marker.
    pub fn payload(self) -> usize {
        match self {
            Marker::Open => 1,
            Marker::Close => 0,
            Marker::Known => 4,
        }
    }
}

/// Cache maintenance by an instruction, or by the kernel function that begins with the instruction. Registers are given
/// by their numbers in the instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maintenance {
    /// Maintains the line at a virtual address.
    Line {
        /// Operation.
        op: Op,
        /// Register with the address.
        address: u8,
    },
    /// Maintains the lines between two virtual addresses.
    Range {
        /// Operation.
        op: Op,
        /// Register with the address of the first byte.
        first: u8,
        /// Register with the address of the last byte, or of another byte in the last line.
        last: u8,
    },
    /// Maintains a page of physical memory in one colour.
    Page {
        /// Operation.
        op: Op,
        /// Register with the physical address.
        physical: u8,
        /// Register with a virtual address of that colour.
        address: u8,
    },
    /// Maintains the lines between two addresses in the kernel's linear mapping.
    Linear {
        /// Operation.
        op: Op,
        /// Register with the address of the first byte.
        first: u8,
        /// Register with the first address after the last byte. `None` means the end of the page.
        end: Option<u8>,
    },
    /// Maintains a page of the kernel's linear mapping in every colour.
    EveryColour {
        /// Operation.
        op: Op,
        /// Register with the address of the page.
        address: u8,
    },
    /// Maintains all lines.
    All(Op),
    /// Maintains nothing, but switches to the address space of another process.
    SwitchSpace {
        /// Register with the physical address of the page tables.
        table: u8,
    },
    /// Maintains nothing, but makes the MMU forget translations.
    ForgetTranslations,
}

impl Maintenance {
    /// Returns true for an operation on a single line or page.
    fn is_single(self) -> bool {
        matches!(
            self,
            Maintenance::Line { .. } | Maintenance::Page { .. } | Maintenance::EveryColour { .. }
        )
    }
}

/// Use of the data cache by an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// A miss allocates the line.
    Allocate,
    /// A hit uses the line. A miss allocates nothing.
    NoAllocate,
    /// The access goes to memory directly.
    Bypass,
}

/// The accesses of an instruction that the plugin watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// None.
    Nothing,
    /// Stores.
    Stores,
    /// Loads and stores.
    All,
}

/// The owner of an instruction, and if a kernel's instruction can take part in aliasing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A process.
    Process,
    /// The kernel.
    Kernel,
    /// The kernel, and the instruction is addressed by the stack or frame pointer. Nothing else maps a kernel stack.
    KernelStack,
}

impl Owner {
    /// Returns the code that makes the accesses.
    pub fn by(self) -> By {
        match self {
            Owner::Process => By::Process,
            Owner::Kernel | Owner::KernelStack => By::Kernel,
        }
    }
}

/// The guest's machine: its instruction set together with the symbols of its kernel.
#[derive(Clone, Debug)]
pub struct Machine {
    set: &'static InstructionSet,
    /// Addresses of the kernel's image. Empty if they are unknown.
    image: Range<u64>,
    /// Distance between the addresses of the kernel's image in QEMU and in the guest, once seen.
    image_distance: Option<usize>,
    /// Kernel functions that maintain the cache, by address.
    functions: HashMap<u64, Maintenance>,
    /// Addresses that belong to a process if a process uses them.
    used_by_process: RangeInclusive<u64>,
    /// Addresses that belong to a process if the kernel uses them.
    used_by_kernel: RangeInclusive<u64>,
    ignore_flushes: bool,
    /// Addresses of code and data that the kernel frees after its initialization.
    init: Range<u64>,
    /// Address of the function that switches to another task.
    switch: Option<u64>,
}

impl Machine {
    /// Returns the machine of a kernel with these symbols.
    pub fn new(arch: Arch, symbols: &Symbols) -> Machine {
        let set = InstructionSet::of(arch);
        let functions = set
            .functions
            .iter()
            .filter_map(|&(name, maintenance)| Some((symbols.address(name)?, maintenance)));
        Machine {
            set,
            image: symbols.image().unwrap_or(0..0),
            image_distance: None,
            functions: functions.collect(),
            used_by_process: (set.process_addresses)(By::Process),
            used_by_kernel: (set.process_addresses)(By::Kernel),
            ignore_flushes: false,
            init: match (symbols.address("__init_begin"), symbols.address("__init_end")) {
                (Some(start), Some(end)) => start..end,
                _ => 0..0,
            },
            switch: set.switch.and_then(|switch| symbols.address_of_prefix(switch.function)),
        }
    }

    /// Returns the same machine. If `ignore_flushes`, maintenance of single lines and pages is not recognized.
    pub fn ignore_flushes(self, ignore_flushes: bool) -> Machine {
        Machine { ignore_flushes, ..self }
    }

    /// Returns the names of cache functions that have no symbol. Their effect on the cache would go unseen.
    pub fn missing_functions(&self, symbols: &Symbols) -> Vec<&'static str> {
        let names = self.set.functions.iter().map(|(name, _)| *name);
        names.filter(|name| symbols.address(name).is_none()).collect()
    }

    /// Converts four bytes of the guest's memory to an instruction.
    pub fn instruction(&self, bytes: [u8; 4]) -> u32 {
        (self.set.instruction)(bytes)
    }

    /// Decodes a marker. Returns `None` for any other instruction.
    pub fn marker(&self, instruction: u32) -> Option<Marker> {
        Marker::from_number((self.set.marker)(instruction)?)
    }

    /// Returns the cache maintenance performed by the kernel's instruction at `pc`, or by the function that begins there.
    pub fn maintenance(&self, pc: u64, instruction: u32) -> Option<Maintenance> {
        let function = || self.functions.get(&pc).copied();
        let maintenance = (self.set.maintenance)(instruction).or_else(function);
        maintenance.filter(|maintenance| !self.ignore_flushes || !maintenance.is_single())
    }

    /// Returns true for the name of a function that maintains the cache on behalf of one process.
    pub fn flushes_for_process(&self, function: &str) -> bool {
        self.set.process_flushes.contains(&function)
    }

    /// Decodes a call.
    pub fn call(&self, pc: u64, instruction: u32) -> Option<Call> {
        (self.set.call)(pc, instruction)
    }

    /// Returns the kernel's stack, if the plugin can read backtraces from it.
    pub fn stack(&self) -> Option<Stack> {
        self.set.stack
    }

    /// Returns the function that switches to another task, if it begins at `pc`.
    pub fn switch_at(&self, pc: u64) -> Option<Switch> {
        self.set.switch.filter(|_| self.switch == Some(pc))
    }

    /// Converts a word of the guest's memory of at most 8 bytes to a number.
    pub fn word(&self, bytes: &[u8]) -> u64 {
        let sum = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        match (self.set.instruction)([0, 0, 0, 1]) {
            1 => bytes.iter().fold(0, sum),
            _ => bytes.iter().rev().fold(0, sum),
        }
    }

    /// Returns how the accesses of an instruction use the cache.
    pub fn caching(&self, instruction: u32) -> Caching {
        (self.set.caching)(instruction)
    }

    /// Returns the accesses that matter at depth `user`. Stack accesses do not: no two processes share a stack, and the
    /// kernel clears pages before they become stacks.
    pub fn watched(&self, by: By, instruction: u32) -> Watched {
        if (self.set.is_stack_access)(instruction) {
            return Watched::Nothing;
        }
        match by {
            By::Kernel if !(self.set.may_reach_process)(instruction) => Watched::Stores,
            _ => Watched::All,
        }
    }

    /// Converts an address in the kernel's linear mapping to a physical address.
    pub fn linear(&self, address: u64) -> Option<u64> {
        (self.set.linear)(address)
    }

    /// Returns the owner of an instruction in the code of `by`.
    pub fn owner(&self, by: By, instruction: u32) -> Owner {
        match by {
            By::Process => Owner::Process,
            By::Kernel if (self.set.is_stack_access)(instruction) => Owner::KernelStack,
            By::Kernel => Owner::Kernel,
        }
    }

    /// Returns true if an access of the kernel to an address can take part in aliasing. Nothing else maps a kernel stack,
    /// or the part of the kernel's image that the kernel never frees. Returns false for accesses of a process.
    #[inline(always)]
    pub fn may_alias(&self, owner: Owner, address: u64) -> bool {
        let is_image = || self.image.contains(&address) && !self.init.contains(&address);
        owner == Owner::Kernel && !is_image()
    }

    /// Returns the owner of the code at `pc`, which is at `host` in the memory of QEMU.
    ///
    /// The kernel's image is contiguous in physical memory and in QEMU's. Code at an address of the image belongs to a
    /// program if it is in another place there. The kernel runs before any program.
    pub fn code_owner(&mut self, pc: u64, host: usize) -> By {
        let by = self.by(pc);
        if by == By::Process || !self.set.overlapping_programs || !self.image.contains(&pc) {
            return by;
        }
        let distance = host.wrapping_sub(pc as usize);
        match *self.image_distance.get_or_insert(distance) == distance {
            true => By::Kernel,
            false => By::Process,
        }
    }

    /// Returns the owner of the code at `pc`, unless a program has an address of the kernel's image.
    pub fn by(&self, pc: u64) -> By {
        match (self.set.is_kernel_code)(pc, &self.image) {
            true => By::Kernel,
            false => By::Process,
        }
    }

    /// Returns true if `address` belongs to a process. Where it could belong to either side, the accessor decides.
    ///
    /// Runs for each access, so it compares with stored ranges, which is faster than a call through a function pointer.
    pub fn is_process_address(&self, address: u64, by: By) -> bool {
        let addresses = match by {
            By::Process => &self.used_by_process,
            By::Kernel => &self.used_by_kernel,
        };
        addresses.contains(&address)
    }

    /// Returns the mapping that contains an address, which `by` uses for the memory at `physical`.
    pub fn mapping(&self, address: u64, physical: u64, by: By) -> Mapping {
        match self.linear(address) {
            _ if self.is_process_address(address, by) => Mapping::Process,
            Some(linear) if linear == physical => Mapping::Linear,
            _ => Mapping::Kernel,
        }
    }

    /// Returns the address space of an address, if QEMU encodes one.
    pub fn space(&self, address: u64) -> Option<u64> {
        (self.set.space)(address)
    }

    /// Returns the address as the guest's programs use it.
    pub fn plain(&self, address: u64) -> u64 {
        (self.set.plain)(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_functions_are_found_by_their_symbols() {
        let symbols =
            Symbols::parse("400000 T _text\n404000 T __flush_dcache_page\n800000 B _end\n");
        let machine = Machine::new(Arch::Sparc64, &symbols);
        assert!(machine.missing_functions(&symbols).is_empty());
        let here = machine.maintenance(0x40_4000, 0);
        assert!(matches!(here, Some(Maintenance::EveryColour { .. })));
        assert_eq!(machine.maintenance(0x40_4004, 0), None);
        assert_eq!(machine.clone().ignore_flushes(true).maintenance(0x40_4000, 0), None);
        assert_eq!(machine.missing_functions(&Symbols::default()), ["__flush_dcache_page"]);
    }

    #[test]
    fn addresses_are_in_mappings_of_processes_or_of_the_kernel() {
        let arm = Machine::new(Arch::Arm, &Symbols::default());
        let mapping = |address, physical| arm.mapping(address, physical, By::Kernel);
        assert_eq!(mapping(0x4000_1000, 0x7000), Mapping::Process);
        assert_eq!(mapping(0xc000_7000, 0x7000), Mapping::Linear);
        assert_eq!(mapping(0xc880_1000, 0x7000), Mapping::Kernel);
        assert_eq!(mapping(0xffc0_1000, 0x7000), Mapping::Kernel);
        let hppa = Machine::new(Arch::Hppa, &Symbols::default());
        assert_eq!(hppa.mapping(0x1000_7000, 0x7000, By::Kernel), Mapping::Linear);
        assert_eq!(hppa.mapping(0x0000_9000, 0x7000, By::Kernel), Mapping::Kernel);
        assert_eq!(hppa.mapping(0x4a_0000_9000, 0x7000, By::Kernel), Mapping::Process);
        let sparc64 = Machine::new(Arch::Sparc64, &Symbols::default());
        let (linear, program) = (0xffff_f800_0000_7000, 0x10_7000);
        assert_eq!(sparc64.mapping(linear, 0x7000, By::Kernel), Mapping::Linear);
        assert_eq!(sparc64.mapping(program, 0x7000, By::Process), Mapping::Process);
    }

    #[test]
    fn memory_that_the_kernel_frees_is_no_part_of_its_image() {
        let map = "400000 T _text\n500000 T __init_begin\n600000 R __init_end\n800000 B _end\n";
        let machine = Machine::new(Arch::Arm, &Symbols::parse(map));
        let image = [0x40_0000, 0x50_0000, 0x60_0000, 0x80_0000];
        assert_eq!(
            image.map(|address| machine.may_alias(Owner::Kernel, address)),
            [false, true, false, true]
        );
    }

    #[test]
    fn the_accessor_decides_who_owns_an_ambiguous_address() {
        let symbols = Symbols::parse("400000 T _text\n800000 B _end\n");
        let machine = Machine::new(Arch::Sparc64, &symbols);
        assert_eq!(machine.by(0x40_4000), By::Kernel);
        assert_eq!(machine.by(0x10_7110), By::Process);
        // Another program is large enough to have code there. It is elsewhere in QEMU's memory.
        let mut sees = machine.clone();
        assert_eq!(sees.code_owner(0x40_4000, 0x7f00_0040_4000), By::Kernel);
        assert_eq!(sees.code_owner(0x40_8000, 0x7f00_0123_8000), By::Process);
        assert_eq!(sees.code_owner(0x7f_0000, 0x7f00_007f_0000), By::Kernel);
        assert_eq!(sees.code_owner(0x10_7110, 0x7f00_0010_7110), By::Process);
        // A program's data and the kernel's image can have the same address.
        assert!(machine.is_process_address(0x4e_f5f8, By::Process));
        assert!(!machine.is_process_address(0x4e_f5f8, By::Kernel));
        let machine = Machine::new(Arch::Hppa, &symbols);
        assert_eq!(machine.space(0x4a00_1000_0000), Some(0x4a00));
        assert_eq!(machine.plain(0x4a00_1000_0000), 0x1000_0000);
        assert_eq!(machine.linear(0x1000_3000), Some(0x3000));
    }
}

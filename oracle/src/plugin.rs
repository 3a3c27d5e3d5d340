// SPDX-License-Identifier: GPL-2.0-or-later
//! The plugin: chooses the instructions that need callbacks, and passes what the callbacks report to the session.

mod page_tables;
mod registers;

use std::collections::HashMap;
use std::fs::File;

use oracle_wire::config::{CacheKind, Config, Depth};

use crate::arch::{Caching, InstructionSet, Machine, Maintenance, Marker, Owner, Watched};
use crate::config;
use crate::mapped::MappedPages;
use crate::model::{By, Op};
use crate::session::{Listen, Reported, Session};
use crate::symbols::Symbols;
use crate::sys::{Block, GuestMemory, Info, Memory, Processor};
use crate::trace::Guest;
use crate::translations::{Place, Target, Translations};
use page_tables::Walker;
use registers::Registers;

/// The plugin, while QEMU runs.
pub struct Plugin {
    /// The cache has virtual tags: the kernel may map pages uncached, and flushes the cache at a switch of address
    /// spaces.
    virtual_tags: bool,
    page: u64,
    session: Session<File>,
    listen: Listen,
    /// Cache maintenance by the address of its instruction.
    maintenance: HashMap<u64, Maintenance>,
    registers: Registers,
    memory: Option<GuestMemory>,
    walker: Option<Walker>,
    mapped: MappedPages,
    translations: Translations,
    /// The plugin follows the kernel's cache maintenance, for which it must read registers.
    full: bool,
}

impl Plugin {
    /// Reads the configuration and creates the file for findings.
    ///
    /// # Errors
    /// The configuration is invalid or does not fit this QEMU, or a file cannot be read or created.
    pub fn new(arguments: &[String], info: &Info) -> Result<Plugin, String> {
        let config = config::read(arguments).map_err(|error| error.to_string())?;
        let set = InstructionSet::of(config.arch);
        check_qemu(set, info)?;
        let symbols = match &config.symbols {
            None => Symbols::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| format!("read the symbols {}: {error}", path.display()))?;
                Symbols::parse(&text)
            }
        };
        if config.depth != Depth::User {
            check_cache_functions(&config, &symbols)?;
        }
        let out = File::create(&config.findings)
            .map_err(|error| format!("create {}: {error}", config.findings.display()))?;
        let virtual_tags = config.cache.kind == CacheKind::Vivt;
        let (full, page) = (config.depth != Depth::User, config.page);
        let session = Session::new(config, symbols, out);
        Ok(Plugin {
            virtual_tags,
            page,
            listen: session.start(),
            session,
            maintenance: HashMap::new(),
            registers: Registers::new(&set.registers),
            memory: set.memory_is_readable.then(GuestMemory::default),
            walker: set.page_tables.as_ref().map(Walker::new),
            mapped: MappedPages::new(set.mapped_below, page),
            translations: Translations::new(set.decodes_translations, page),
            full,
        })
    }

    /// Returns true if the plugin needs a callback for translated blocks.
    pub fn listens(&self) -> bool {
        self.listen != Listen::Nothing
    }

    /// Registers callbacks for the instructions of a block that QEMU translates.
    pub fn translate(&mut self, block: &Block) {
        let mut payload = 0;
        for instruction in block.instructions() {
            if let Some(walker) = &mut self.walker {
                walker.find_ram(&instruction);
            }
            if payload > 0 {
                payload -= 1;
                instruction.on_payload();
            }
            let Some(word) = instruction.bytes() else {
                continue;
            };
            let pc = instruction.address();
            let by = self.session.code_owner(pc, instruction.host());
            let machine = self.session.machine();
            let word = machine.instruction(word);
            if let Some(marker) = machine.marker(word) {
                payload = marker.payload();
                instruction.on_marker(marker);
            }
            if by == By::Kernel {
                if let Some(call) = machine.call(pc, word) {
                    self.session.add_call(call);
                }
            }
            let machine = self.session.machine();
            if machine.switch_at(pc).is_some() {
                instruction.on_switch();
            }
            if self.listen == Listen::Accesses {
                let maintenance = machine.maintenance(pc, word).filter(|_| by == By::Kernel);
                if let Some(maintenance) = maintenance {
                    self.maintenance.insert(pc, maintenance);
                    instruction.on_maintenance();
                }
                let watched = match self.full {
                    true => Watched::All,
                    false => machine.watched(by, word),
                };
                instruction.on_access(machine.owner(by, word), machine.caching(word), watched);
            }
        }
    }

    /// Handles a marker. Returns true if QEMU must translate all blocks again.
    pub fn marker(&mut self, marker: Marker, processor: Processor) -> bool {
        let listen = match self.prepare(processor) {
            Ok(()) => self.session.marker(marker),
            Err(why) => self.session.refuse(why),
        };
        self.follow(listen)
    }

    /// Reads what is available only while the guest runs.
    fn prepare(&mut self, processor: Processor) -> Result<(), String> {
        self.registers.prepare(processor)?;
        if let Some(walker) = &mut self.walker {
            walker.read_base()?;
            self.session.use_tables(walker.base());
        }
        Ok(())
    }

    /// Handles a store that follows a marker. Returns true if QEMU must translate all blocks again.
    pub fn payload(&mut self, memory: &Memory) -> bool {
        if !memory.store() {
            return false;
        }
        let physical = memory.place().map(|place| place.physical);
        let (address, value) = (memory.address(), memory.value());
        let checked = match (&self.walker, physical) {
            (Some(walker), Some(physical)) => walker.check(address, physical, value),
            _ => Ok(()),
        };
        let listen = match checked {
            Ok(()) => self.session.payload(address, physical, value),
            Err(why) => self.session.refuse(why),
        };
        let follow = self.follow(listen);
        match self.session.known() {
            Some(pair) if self.full => follow | self.find_registers(pair),
            _ => follow,
        }
    }

    fn find_registers(&mut self, pair: (u64, u64)) -> bool {
        let listen = match self.registers.find(pair) {
            Ok(()) => Listen::Unchanged,
            Err(why) => self.session.refuse(why),
        };
        self.follow(listen)
    }

    /// Adopts the session's answer. Returns true if QEMU must translate all blocks again.
    fn follow(&mut self, listen: Listen) -> bool {
        if listen == Listen::Unchanged || listen == self.listen {
            return false;
        }
        self.listen = listen;
        // Until QEMU has translated the code again, nothing reports that translations end.
        self.end_translations();
        true
    }

    /// Handles a memory access. Returns true if QEMU must translate all blocks again.
    #[inline(always)]
    pub fn access(
        &mut self,
        pc: u64,
        memory: Memory,
        store: bool,
        owner: Owner,
        caching: Caching,
    ) -> bool {
        let (address, kind) = (memory.address(), memory.kind());
        if !store && self.session.remembers_load(address, kind) {
            return false;
        }
        if let Some(Target { place, cached }) = self.translations.find(address, kind) {
            let caching = if cached { caching } else { Caching::Bypass };
            let kind = Some(kind);
            let reported = Reported { pc, owner, address, store, kind, target: place, caching };
            if self.session.handles_repeat(&reported) {
                return false;
            }
        }
        self.access_slowly(pc, memory, store, owner, caching)
    }

    /// Handles an access whose translation is not known, or that may change something. A function of its own, so that
    /// the code for the others, which are most accesses, stays small.
    #[inline(never)]
    fn access_slowly(
        &mut self,
        pc: u64,
        memory: Memory,
        store: bool,
        owner: Owner,
        caching: Caching,
    ) -> bool {
        let (address, kind) = (memory.address(), memory.kind());
        let Some(place) = memory.place() else {
            return false;
        };
        let cached = match self.translations.find(address, kind) {
            Some(known) if known.place != place => {
                return self.mistranslated(address, known.place, place);
            }
            Some(known) => known.cached,
            None => {
                let walker = self.walker.as_ref().filter(|_| self.virtual_tags);
                let cached = !walker.is_some_and(|walker| walker.is_uncached(address));
                self.mapped.record(address, place.physical);
                self.translations.insert(address, kind, Target { place, cached });
                cached
            }
        };
        let caching = if cached { caching } else { Caching::Bypass };
        let kind = None;
        let reported = Reported { pc, owner, address, store, kind, target: place, caching };
        if !self.session.handles_repeat(&reported) {
            let guest = KernelView { registers: &self.registers, memory: self.memory.as_ref() };
            self.session.access(&reported, &guest);
        }
        false
    }

    /// Forgets all translations of addresses.
    fn end_translations(&mut self) {
        self.translations.clear();
        self.session.end_translations();
    }

    /// Gives up because a translation has ended without an instruction that the plugin knows.
    #[cold]
    fn mistranslated(&mut self, address: u64, remembered: Place, found: Place) -> bool {
        let (remembered, found) = (remembered.physical, found.physical);
        let listen = self.session.refuse(format!(
            "the plugin remembered that {address:#x} is at physical {remembered:#x}, but QEMU now maps it to {found:#x}; \
             the plugin must learn which instruction of this kernel changes translations; use `--oracle off` until then"
        ));
        self.follow(listen)
    }

    /// Handles cache maintenance that the guest is about to perform. Returns true if QEMU must translate all blocks
    /// again.
    pub fn maintain(&mut self, pc: u64) -> bool {
        let Some(&maintenance) = self.maintenance.get(&pc) else {
            return false;
        };
        let listen = match self.apply(pc, maintenance) {
            Ok(()) => Listen::Unchanged,
            Err(why) => self.session.refuse(why),
        };
        self.follow(listen)
    }

    /// Handles the kernel's switch to another task.
    pub fn switch(&mut self, pc: u64) {
        let guest = KernelView { registers: &self.registers, memory: self.memory.as_ref() };
        self.session.switch_task(pc, &guest);
    }

    fn apply(&mut self, pc: u64, maintenance: Maintenance) -> Result<(), String> {
        if let Maintenance::SwitchSpace { table } = maintenance {
            let table = self.registers.read(table)?;
            if let Some(walker) = &mut self.walker {
                walker.switch(table);
                self.session.use_tables(walker.base());
            }
            self.end_translations();
            self.session.switch_space(pc);
            return Ok(());
        }
        if maintenance == Maintenance::ForgetTranslations {
            self.end_translations();
            return Ok(());
        }
        // Until the guest has named an address, the registers may not be found, and nothing is checked.
        if !self.full || self.session.known().is_none() {
            return Ok(());
        }
        let register = |number| self.registers.read(number);
        match maintenance {
            Maintenance::All(op) => {
                let guest = KernelView { registers: &self.registers, memory: self.memory.as_ref() };
                self.session.maintain_all(pc, op, &guest);
            }
            Maintenance::Line { op, address } => self.lines(pc, op, register(address)?, 1),
            Maintenance::Range { op, first, last } => {
                let (first, last) = (register(first)?, register(last)?);
                self.lines(pc, op, first, last.saturating_sub(first) + 1);
            }
            Maintenance::Page { op, physical, address } => {
                let (physical, address) = (register(physical)?, register(address)?);
                let start = |address: u64| address & !(self.page - 1);
                let page = (start(address), start(physical));
                self.session.maintain(pc, op, page, self.page);
            }
            Maintenance::Linear { op, first, end } => {
                let first = register(first)?;
                let size = match end {
                    Some(end) => register(end)?.saturating_sub(first),
                    None => self.page,
                };
                self.lines(pc, op, first, size);
            }
            Maintenance::EveryColour { op, address } => {
                let address = register(address)?;
                if let Some(physical) = self.physical(address) {
                    self.session.maintain_every_colour(pc, op, physical);
                }
            }
            Maintenance::SwitchSpace { .. } | Maintenance::ForgetTranslations => {}
        }
        Ok(())
    }

    /// Applies `op` to the lines of `size` bytes from a virtual address, page by page.
    fn lines(&mut self, pc: u64, op: Op, address: u64, size: u64) {
        let end = address + size;
        let mut at = address;
        while at < end {
            let next = end.min((at | (self.page - 1)) + 1);
            if let Some(physical) = self.physical(at) {
                self.session.maintain(pc, op, (at, physical), next - at);
            }
            at = next;
        }
    }

    /// Returns the physical address of an address that the kernel uses. Outside the linear mapping, and without page
    /// tables, an address is known only if it has been used.
    fn physical(&self, address: u64) -> Option<u64> {
        match &self.walker {
            Some(walker) => walker.translate(address).map(|found| found.physical),
            None => {
                let linear = self.session.machine().linear(address);
                linear.or_else(|| self.mapped.physical(address))
            }
        }
    }
}

/// The guest during a callback.
struct KernelView<'p> {
    registers: &'p Registers,
    /// `None` if it cannot be read without an effect on the guest.
    memory: Option<&'p GuestMemory>,
}

impl Guest for KernelView<'_> {
    fn register(&self, number: u8) -> Option<u64> {
        self.registers.read(number).ok()
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        self.memory.is_some_and(|memory| memory.read(address, bytes))
    }
}

/// Checks that the symbols contain all cache functions of the kernel.
fn check_cache_functions(config: &Config, symbols: &Symbols) -> Result<(), String> {
    let missing = Machine::new(config.arch, symbols).missing_functions(symbols);
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(", ");
    let problem = match &config.symbols {
        Some(path) => format!("{} does not contain {names}", path.display()),
        None => format!("`symbols` is null, so the plugin cannot find {names}"),
    };
    Err(format!(
        "depth `full` needs the addresses of the kernel's cache functions, but {problem}; set `symbols` to the \
         System.map of this kernel, or use depth `user`"
    ))
}

/// Checks that this QEMU emulates the configured instruction set, with one processor.
fn check_qemu(set: &InstructionSet, info: &Info) -> Result<(), String> {
    let Some(name) = set.qemu else {
        return Ok(());
    };
    if info.target != name {
        return Err(format!(
            "the configuration is for {name}, but this QEMU emulates {}",
            info.target
        ));
    }
    if info.cpus != 1 {
        return Err(format!(
            "the guest has {} processors, but the model has one cache; use -smp 1",
            info.cpus
        ));
    }
    Ok(())
}

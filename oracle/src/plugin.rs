// SPDX-License-Identifier: GPL-2.0-or-later
//! Between QEMU and the session: which instructions to listen to, and what is heard.

mod arm;
mod registers;

use std::collections::HashMap;
use std::fs::File;

use oracle_wire::config::{Arch, CacheKind, Config, Depth};

use crate::arch::{Heard, Machine, Marker, Upkeep, Way};
use crate::config;
use crate::model::Op;
use crate::session::{Listen, Seen, Session, Where};
use crate::symbols::Symbols;
use crate::sys::{Block, Info, Memory, Processor};
use arm::Arm;
use registers::General;

/// The plugin, while QEMU runs.
pub struct Plugin {
    arch: Arch,
    /// The cache has virtual tags: pages may be mapped round it, and it is flushed for each address space.
    virtual_tags: bool,
    page: u64,
    session: Session<File>,
    listen: Listen,
    /// What instructions do to the cache, by their address.
    upkeep: HashMap<u64, Upkeep>,
    arm: Arm,
    /// Of machines whose registers QEMU does not show.
    general: General,
    /// Whether what the kernel does to the cache is followed, for which registers have to be read.
    full: bool,
}

impl Plugin {
    /// Reads the configuration and opens the file for findings.
    ///
    /// # Errors
    /// What is wrong with either, or with this QEMU, for a person.
    pub fn new(arguments: &[String], info: &Info) -> Result<Plugin, String> {
        let config = config::read(arguments).map_err(|error| error.to_string())?;
        fits(config.arch, info)?;
        let symbols = match &config.symbols {
            None => Symbols::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| format!("read the symbols {}: {error}", path.display()))?;
                Symbols::parse(&text)
            }
        };
        if config.depth == Depth::Full {
            knows_flushes(&config, &symbols)?;
        }
        let out = File::create(&config.findings)
            .map_err(|error| format!("create {}: {error}", config.findings.display()))?;
        let (arch, virtual_tags) = (config.arch, config.cache.kind == CacheKind::Vivt);
        let (full, page) = (config.depth == Depth::Full, config.page);
        let session = Session::new(config, symbols, out);
        Ok(Plugin {
            arch,
            virtual_tags,
            page,
            listen: session.start(),
            session,
            upkeep: HashMap::new(),
            arm: Arm::default(),
            general: General::new(arch),
            full,
        })
    }

    /// Whether blocks are of interest at all.
    pub fn listens(&self) -> bool {
        self.listen != Listen::Nothing
    }

    /// QEMU translates a block of the guest's code.
    pub fn translate(&mut self, block: &Block) {
        let mut payload = 0;
        for instruction in block.instructions() {
            if self.arch == Arch::Arm {
                self.arm.find_ram(&instruction);
            }
            if payload > 0 {
                payload -= 1;
                instruction.on_payload();
            }
            let Some(word) = instruction.bytes() else {
                continue;
            };
            let machine = self.session.machine();
            let word = machine.instruction(word);
            if let Some(marker) = machine.marker(word) {
                payload = marker.payload();
                instruction.on_marker(marker);
            }
            if self.listen == Listen::Accesses {
                if let Some(upkeep) = machine.upkeep(instruction.address(), word) {
                    self.upkeep.insert(instruction.address(), upkeep);
                    instruction.on_upkeep();
                }
                let heard = match self.full {
                    true => Heard::All,
                    false => machine.heard(instruction.address(), word),
                };
                instruction.on_access(machine.way(word), heard);
            }
        }
    }

    /// The guest runs a marker. True if blocks have to be translated anew.
    pub fn marked(&mut self, marker: Marker, processor: Processor) -> bool {
        self.general.look(processor);
        let listen = match self.start() {
            Ok(()) => self.session.marker(marker),
            Err(why) => self.session.refuse(why),
        };
        self.follow(listen)
    }

    /// Learns what can be known only while the guest runs.
    fn start(&mut self) -> Result<(), String> {
        match self.arch {
            Arch::Arm => self.arm.start(),
            _ => Ok(()),
        }
    }

    /// The guest makes a store that follows a marker. True if blocks have to be translated anew.
    pub fn payload(&mut self, memory: &Memory) -> bool {
        if !memory.store() {
            return false;
        }
        let (address, physical, value) = (memory.address(), memory.physical(), memory.value());
        let checked = match (self.arch, physical) {
            (Arch::Arm, Some(physical)) => self.arm.check(address, physical, value),
            _ => Ok(()),
        };
        let listen = match checked {
            Ok(()) => self.session.payload(address, physical, value),
            Err(why) => self.session.refuse(why),
        };
        let follow = self.follow(listen);
        match self.session.known() {
            Some(pair) if self.full && self.arch != Arch::Arm => follow | self.find_registers(pair),
            _ => follow,
        }
    }

    /// Finds the registers by what the guest has in them, now that it has said it.
    fn find_registers(&mut self, (address, physical): (u64, u64)) -> bool {
        let listen = match self.general.find(address, physical) {
            Ok(()) => Listen::AsBefore,
            Err(why) => self.session.refuse(why),
        };
        self.follow(listen)
    }

    fn follow(&mut self, listen: Listen) -> bool {
        if listen == Listen::AsBefore || listen == self.listen {
            return false;
        }
        self.listen = listen;
        true
    }

    /// The guest makes an access.
    pub fn accessed(&mut self, pc: u64, memory: &Memory, store: bool, way: Way) {
        let address = memory.address();
        let seen = Seen {
            pc,
            address,
            store,
            space: self.arm.space(address),
        };
        let round =
            || self.virtual_tags && self.arm.translate(address).is_some_and(|at| !at.cached);
        let find = || {
            let physical = memory.physical()?;
            let way = if round() { Way::Round } else { way };
            Some(Where { physical, way })
        };
        self.session.access(seen, || memory.size(), find);
    }

    /// The guest is about to do something to its cache. True if blocks have to be translated anew.
    pub fn upkeep(&mut self, pc: u64) -> bool {
        let Some(&upkeep) = self.upkeep.get(&pc) else {
            return false;
        };
        let listen = match self.keep(pc, upkeep) {
            Ok(()) => Listen::AsBefore,
            Err(why) => self.session.refuse(why),
        };
        self.follow(listen)
    }

    fn keep(&mut self, pc: u64, upkeep: Upkeep) -> Result<(), String> {
        if let Upkeep::Space { table } = upkeep {
            self.arm.switch(self.register(table)?);
            self.session.switch(pc);
            return Ok(());
        }
        // Before the guest has named an address, some machines' registers are not found, and nothing is judged.
        if !self.full || self.session.known().is_none() {
            return Ok(());
        }
        match upkeep {
            Upkeep::All(op) => self.session.maintain_all(pc, op),
            Upkeep::Line { op, address } => self.lines(pc, op, self.register(address)?, 1),
            Upkeep::Range { op, first, last } => {
                let (first, last) = (self.register(first)?, self.register(last)?);
                self.lines(pc, op, first, last.saturating_sub(first) + 1);
            }
            Upkeep::Page {
                op,
                physical,
                address,
            } => {
                let (physical, address) = (self.register(physical)?, self.register(address)?);
                let start = |address: u64| address & !(self.page - 1);
                let page = (start(address), start(physical));
                self.session.maintain(pc, op, page, self.page);
            }
            Upkeep::Linear { op, first, end } => {
                let first = self.register(first)?;
                let size = match end {
                    Some(end) => self.register(end)?.saturating_sub(first),
                    None => self.page,
                };
                self.lines(pc, op, first, size);
            }
            Upkeep::EveryColour { op, address } => {
                let address = self.register(address)?;
                if let Some(physical) = self.session.machine().linear(address) {
                    self.session.maintain_every_colour(pc, op, physical);
                }
            }
            Upkeep::Space { .. } => {}
        }
        Ok(())
    }

    /// `size` bytes from a virtual address on, page by page.
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

    /// Where an address is that the kernel uses.
    fn physical(&self, address: u64) -> Option<u64> {
        match self.arch {
            Arch::Arm => self.arm.translate(address).map(|found| found.physical),
            _ => self.session.machine().linear(address),
        }
    }

    fn register(&self, number: u8) -> Result<u64, String> {
        let value = match self.arch {
            Arch::Arm => self.arm.register(number),
            _ => self.general.read(number),
        };
        value.ok_or_else(|| format!("register {number} cannot be read of this QEMU"))
    }
}

/// Whether what the kernel does to the cache can be seen.
fn knows_flushes(config: &Config, symbols: &Symbols) -> Result<(), String> {
    let unknown = Machine::new(config.arch, symbols).unknown(symbols);
    match &unknown[..] {
        [] => Ok(()),
        names => Err(format!(
            "depth `full` has to know where the kernel flushes, and {} has no {}: name the System.map of this kernel as \
             `symbols`, or use depth `user`",
            config
                .symbols
                .as_ref()
                .map_or("`symbols`: null".into(), |path| path.display().to_string()),
            names.join(", ")
        )),
    }
}

/// Whether the configuration is of the machine that this QEMU emulates.
fn fits(arch: Arch, info: &Info) -> Result<(), String> {
    let name = match arch {
        Arch::Arm => "arm",
        Arch::Hppa => "hppa",
        Arch::Sparc64 => "sparc64",
        Arch::None => return Ok(()),
    };
    if info.target != name {
        return Err(format!(
            "the configuration is of {name}, and this QEMU emulates {}",
            info.target
        ));
    }
    if info.cpus != 1 {
        return Err(format!(
            "the guest has {} processors; the model is of one cache: use -smp 1",
            info.cpus
        ));
    }
    Ok(())
}

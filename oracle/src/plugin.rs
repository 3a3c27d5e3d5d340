// SPDX-License-Identifier: GPL-2.0-or-later
//! Between QEMU and the session: which instructions to listen to, and what is heard.

use std::fs::File;

use crate::arch::Marker;
use crate::config::{Arch, Config};
use crate::session::{Listen, Seen, Session};
use crate::symbols::Symbols;
use crate::sys::{Block, Info, Instruction, Memory};

/// The plugin, while QEMU runs.
pub struct Plugin {
    session: Session<File>,
    listen: Listen,
}

impl Plugin {
    /// Reads the configuration and opens the file for findings.
    ///
    /// # Errors
    /// What is wrong with either, or with this QEMU, for a person.
    pub fn new(arguments: &[String], info: &Info) -> Result<Plugin, String> {
        let config = Config::from_arguments(arguments).map_err(|error| error.to_string())?;
        fits(config.arch, info)?;
        let symbols = match &config.symbols {
            None => Symbols::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| format!("read the symbols {}: {error}", path.display()))?;
                Symbols::parse(&text)
            }
        };
        let out = File::create(&config.findings)
            .map_err(|error| format!("create {}: {error}", config.findings.display()))?;
        let session = Session::new(config, symbols, out);
        Ok(Plugin {
            listen: session.start(),
            session,
        })
    }

    /// Whether blocks are of interest at all.
    pub fn listens(&self) -> bool {
        self.listen != Listen::Nothing
    }

    /// QEMU translates a block of the guest's code.
    pub fn translate(&self, block: &Block) {
        let mut payload = 0;
        for instruction in block.instructions() {
            if payload > 0 {
                payload -= 1;
                instruction.on_payload();
            }
            let marker = self.marker(&instruction);
            if let Some(marker) = marker {
                payload = marker.payload();
                instruction.on_marker(marker);
            }
            if self.listen == Listen::Accesses {
                instruction.on_access();
            }
        }
    }

    fn marker(&self, instruction: &Instruction) -> Option<Marker> {
        let machine = self.session.machine();
        machine.marker(machine.instruction(instruction.bytes()?))
    }

    /// The guest runs a marker. True if blocks have to be translated anew.
    pub fn marked(&mut self, marker: Marker) -> bool {
        let listen = self.session.marker(marker);
        self.follow(listen)
    }

    /// The guest makes a store that follows a marker. True if blocks have to be translated anew.
    pub fn payload(&mut self, memory: &Memory) -> bool {
        if !memory.store() {
            return false;
        }
        let (address, physical) = (memory.address(), memory.physical());
        let listen = self.session.payload(address, physical, memory.value());
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
    pub fn accessed(&mut self, pc: u64, memory: &Memory) {
        let seen = Seen {
            pc,
            address: memory.address(),
            store: memory.store(),
            size: memory.size(),
        };
        self.session.access(seen, || memory.physical());
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

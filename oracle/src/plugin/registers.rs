// SPDX-License-Identifier: GPL-2.0-or-later
//! General registers of machines of which QEMU shows none to plugins: looked for in its own record of the processor.
//!
//! Where they are in the record depends on the build of QEMU. So the guest has two values in registers that it tells
//! right afterwards; where these are found, and nowhere else, the registers are.

use oracle_wire::config::Arch;

use crate::sys::Processor;

/// How a machine's registers lie in QEMU's record.
#[derive(Clone, Copy, Debug)]
struct Layout {
    /// The register that has the lower half of the virtual address, and the one with that of the physical one.
    told: (u8, u8),
    /// Whether there is a pointer to them in the record, as where they are in windows.
    elsewhere: bool,
    /// The number of the first register that lies there.
    first: u8,
}

/// `CPUHPPAState` in target/hppa/cpu.h: `gr`, 32 numbers of 64 bits.
const HPPA: Layout = Layout {
    told: (26, 25),
    elsewhere: false,
    first: 0,
};

/// `CPUSPARCState` in target/sparc/cpu.h: `regwptr` points to %o0, which is register 8.
const SPARC64: Layout = Layout {
    told: (8, 9),
    elsewhere: true,
    first: 8,
};

/// The registers, once they are found.
pub struct General {
    layout: Option<Layout>,
    processor: Option<Processor>,
    /// The record as it was when the guest had the values in its registers.
    seen: Vec<u64>,
    /// Index in the record of the first register, or of the pointer to it.
    found: Option<usize>,
}

impl General {
    /// Nothing is known yet.
    pub fn new(arch: Arch) -> General {
        General {
            layout: match arch {
                Arch::Hppa => Some(HPPA),
                Arch::Sparc64 => Some(SPARC64),
                Arch::Arm | Arch::None => None,
            },
            processor: None,
            seen: Vec::new(),
            found: None,
        }
    }

    /// The guest runs a marker: keeps what may be registers at this moment.
    pub fn look(&mut self, processor: Processor) {
        let Some(layout) = self.layout else {
            return;
        };
        let record = processor.record();
        self.seen = match layout.elsewhere {
            false => record.to_vec(),
            true => (0..record.len())
                .flat_map(|index| processor.behind(index).unwrap_or([u64::MAX; 2]))
                .collect(),
        };
        self.processor = Some(processor);
    }

    /// Finds the registers by the values that were in two of them, if they are not found yet.
    ///
    /// # Errors
    /// They are nowhere, or in several places.
    pub fn find(&mut self, address: u64, physical: u64) -> Result<(), String> {
        let (Some(layout), None) = (self.layout, self.found) else {
            return Ok(());
        };
        let half = |number: u64| number & 0xffff_ffff;
        let (address, physical) = (half(address), half(physical));
        let (low, high) = match layout.told {
            (first, second) if first < second => (address, physical),
            _ => (physical, address),
        };
        let step = if layout.elsewhere { 2 } else { 1 };
        let places: Vec<usize> = (0..self.seen.len().saturating_sub(1))
            .step_by(step)
            .filter(|&at| half(self.seen[at]) == low && half(self.seen[at + 1]) == high)
            .collect();
        let [at] = places[..] else {
            return Err(format!(
                "the guest had {address:#x} and {physical:#x} in registers {:?}, and QEMU's record of the processor has \
                 them in {} places: this plugin cannot read registers of this QEMU; use depth `user`",
                layout.told,
                places.len()
            ));
        };
        let before = layout.told.0.min(layout.told.1) - layout.first;
        self.found = match layout.elsewhere {
            true => Some(at / 2),
            false => at.checked_sub(before.into()),
        };
        Ok(())
    }

    /// The register's content, from a callback that may look at registers.
    pub fn read(&self, number: u8) -> Option<u64> {
        let (layout, processor, found) = (self.layout?, self.processor?, self.found?);
        let index = usize::from(number.checked_sub(layout.first)?);
        match layout.elsewhere {
            false => processor.record().get(found + index).copied(),
            true => processor.behind(found)?.get(index).copied(),
        }
    }
}

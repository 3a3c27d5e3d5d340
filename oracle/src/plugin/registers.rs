// SPDX-License-Identifier: GPL-2.0-or-later
//! Reads the guest's general registers.

use std::cell::Cell;

use crate::arch::{RegisterSource, StateLayout};
use crate::sys::{self, Processor};

/// The general registers, from the source that the instruction set names.
pub enum Registers {
    /// The plugin needs no registers.
    None,
    /// From QEMU's plugin interface.
    Named {
        /// Names of the registers.
        names: &'static [&'static str],
        /// Handles to them, once found.
        found: Option<sys::Registers>,
    },
    /// From QEMU's processor state, or from its plugin interface if that exposes them.
    State(StateRegisters),
}

impl Registers {
    /// Returns the registers of an instruction set, not yet found.
    pub fn new(source: &RegisterSource) -> Registers {
        match *source {
            RegisterSource::None => Registers::None,
            RegisterSource::Named(names) => Registers::Named { names, found: None },
            RegisterSource::State(layout) => Registers::State(StateRegisters::new(layout)),
        }
    }

    /// Prepares for reading, while the guest runs a marker.
    ///
    /// # Errors
    /// QEMU does not expose all registers.
    pub fn prepare(&mut self, processor: Processor) -> Result<(), String> {
        match self {
            Registers::None => {}
            Registers::Named { names, found } => {
                if found.is_none() {
                    *found = sys::Registers::find(names);
                }
                if found.is_none() {
                    return Err(format!(
                        "this QEMU does not expose all of the registers {} to plugins",
                        names.join(", ")
                    ));
                }
            }
            Registers::State(state) => state.capture(processor),
        }
        Ok(())
    }

    /// Finds the registers by the address pair that the guest has just named.
    ///
    /// # Errors
    /// The state does not contain the pair, or contains it in several places.
    pub fn find(&mut self, (address, physical): (u64, u64)) -> Result<(), String> {
        match self {
            Registers::State(state) => state.find(address, physical),
            Registers::None | Registers::Named { .. } => Ok(()),
        }
    }

    /// Returns the value of a register. Must be called from a callback that may read registers.
    ///
    /// # Errors
    /// The register is not available.
    pub fn read(&self, number: u8) -> Result<u64, String> {
        let value = match self {
            Registers::None => None,
            Registers::Named { found, .. } => {
                found.as_ref().and_then(|registers| registers.read(number.into()))
            }
            Registers::State(state) => state.read(number),
        };
        value.ok_or_else(|| format!("the plugin cannot read register {number} with this QEMU"))
    }
}

/// Registers in QEMU's processor state.
///
/// Their offset depends on the build of QEMU. To find it, the plugin searches the state for two values that the guest
/// holds in registers and also stores to memory. The pair must occur in exactly one place.
pub struct StateRegisters {
    layout: StateLayout,
    processor: Option<Processor>,
    /// Copy of the state from the moment when the guest had the values in its registers.
    captured: Vec<u64>,
    /// Index in the state of the first register, or of the pointer to it.
    found: Option<usize>,
    /// Register windows, as far as they have been seen.
    windows: Cell<Windows>,
    /// Handles to the registers, if the plugin interface exposes them.
    exposed: Option<sys::Registers>,
    /// The pair of registers at the last marker, according to the plugin interface.
    pair: Option<(u64, u64)>,
}

/// The lowest and the highest position of the current register window that has been seen.
#[derive(Clone, Copy, Debug)]
struct Windows {
    low: i64,
    high: i64,
}

/// Number of register windows of UltraSPARC.
const WINDOWS: i64 = 8;

/// Registers of a window that no other window has: half of its registers are those of a neighbour.
const WINDOW: i64 = 16;

impl StateRegisters {
    fn new(layout: StateLayout) -> StateRegisters {
        StateRegisters {
            layout,
            processor: None,
            captured: Vec::new(),
            found: None,
            windows: Cell::new(Windows { low: i64::MAX, high: 0 }),
            exposed: None,
            pair: None,
        }
    }

    /// Copies the parts of the state that may be registers.
    fn capture(&mut self, processor: Processor) {
        if self.exposed.is_none() && !self.layout.names.is_empty() {
            self.exposed = sys::Registers::find(self.layout.names);
        }
        if let Some(exposed) = &self.exposed {
            let (address, physical) = self.layout.known;
            let read = |number: u8| exposed.read_big_endian(number.into());
            self.pair = read(address).zip(read(physical));
        }
        let state = processor.state();
        self.captured = match self.layout.indirect {
            false => state.to_vec(),
            true => (0..state.len())
                .flat_map(|index| processor.behind(index).unwrap_or([u64::MAX; 2]))
                .collect(),
        };
        self.processor = Some(processor);
    }

    /// Finds the registers, unless they are already found.
    fn find(&mut self, address: u64, physical: u64) -> Result<(), String> {
        if self.found.is_some() {
            return Ok(());
        }
        let layout = self.layout;
        let half = |number: u64| number & 0xffff_ffff;
        let (address, physical) = (half(address), half(physical));
        let pair = self.pair.map(|(first, second)| (half(first), half(second)));
        if self.exposed.is_some() && pair != Some((address, physical)) {
            return Err(format!(
                "the guest had {address:#x} and {physical:#x} in two registers, but QEMU's plugin interface reports \
                 {pair:x?}; this plugin does not work with this QEMU; use depth `user`"
            ));
        }
        let (low, high) = match layout.known {
            (first, second) if first < second => (address, physical),
            _ => (physical, address),
        };
        let step = if layout.indirect { 2 } else { 1 };
        let places: Vec<usize> = (0..self.captured.len().saturating_sub(1))
            .step_by(step)
            .filter(|&at| half(self.captured[at]) == low && half(self.captured[at + 1]) == high)
            .collect();
        let [at] = places[..] else {
            if self.exposed.is_some() {
                // Only registers of outer windows remain unknown.
                return Ok(());
            }
            let (first, second) = layout.known;
            return Err(format!(
                "the guest had {address:#x} in register {first} and {physical:#x} in register {second}, and QEMU's \
                 processor state contains this pair in {} places instead of one; the plugin cannot read registers with \
                 this QEMU; use depth `user`",
                places.len()
            ));
        };
        let before = layout.known.0.min(layout.known.1) - layout.first;
        self.found = match layout.indirect {
            true => Some(at / 2),
            false => at.checked_sub(before.into()),
        };
        Ok(())
    }

    fn read(&self, number: u8) -> Option<u64> {
        match &self.exposed {
            Some(exposed) if usize::from(number) < self.layout.names.len() => {
                return exposed.read_big_endian(number.into());
            }
            _ => {}
        }
        let (processor, found) = (self.processor?, self.found?);
        let index = i64::from(number) - i64::from(self.layout.first);
        match self.layout.indirect {
            true if index >= 0 => self.read_window(processor, found, index),
            // The registers that no window contains are before the pointer.
            _ => processor.state().get(found.checked_add_signed(index as isize)?).copied(),
        }
    }

    /// Returns a register of the current window, or of an outer one if `index` is beyond the 24 registers of the current
    /// window. The windows form a ring. Its position is known once the guest has used all windows.
    fn read_window(&self, processor: Processor, found: usize, index: i64) -> Option<u64> {
        let at = processor.distance(found)?;
        let seen = self.windows.get();
        let seen = Windows { low: seen.low.min(at), high: seen.high.max(at) };
        self.windows.set(seen);
        let complete = seen.high - seen.low == (WINDOWS - 1) * WINDOW;
        let in_ring = match (index < 24, complete) {
            (true, _) => index,
            (false, true) => (at - seen.low + index) % (WINDOWS * WINDOW) - (at - seen.low),
            (false, false) => return None,
        };
        processor.word_behind(found, in_ring)
    }
}

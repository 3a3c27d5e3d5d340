// SPDX-License-Identifier: GPL-2.0-or-later
//! One life of the guest: windows that open and close, the check that addresses are what they seem, and the findings of
//! each window. Knows nothing of QEMU: it is told what the guest does and answers what to listen to.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::Write;

use oracle_wire::config::{CacheKind, Config, Depth};
use oracle_wire::message::{End, Hello, Hex, Known, Message};
use oracle_wire::window::SELF_CHECK;

use crate::arch::{Machine, Marker, Way};
use crate::findings;
use crate::model::{self, By, Finding, Model, Op, Place, Places};
use crate::symbols::Symbols;

/// Of QEMU's interface for plugins: `include/qemu/qemu-plugin.h`, QEMU_PLUGIN_VERSION. 4 came with QEMU 9.2, and brought
/// the values of accesses.
pub const API: i32 = 4;

/// Findings a window that are written; more are counted.
const WRITTEN: usize = 300;

/// What to listen to from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// As before.
    AsBefore,
    /// To markers, and to every access.
    Accesses,
    /// To markers alone.
    Markers,
    /// To nothing.
    Nothing,
}

/// An access as QEMU tells it.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The instruction that makes it.
    pub pc: u64,
    /// Virtual address of the first byte.
    pub address: u64,
    /// True for a store, false for a load.
    pub store: bool,
    /// The address space, where that is known.
    pub space: Option<u64>,
}

/// Where an access goes.
#[derive(Clone, Copy, Debug)]
pub struct Where {
    /// Physical address of the first byte.
    pub physical: u64,
    /// How it uses the cache.
    pub way: Way,
}

/// One life of the guest.
pub struct Session<W> {
    config: Config,
    places: Places,
    machine: Machine,
    symbols: Symbols,
    out: W,
    awaited: Option<Awaited>,
    known: Option<(u64, u64)>,
    refused: bool,
    window: Option<Window>,
}

/// Stores that have to follow a marker.
struct Awaited {
    marker: Marker,
    values: Vec<u64>,
    /// Where the first went.
    first: Option<(u64, Option<u64>)>,
}

/// A window that is open.
struct Window {
    id: u32,
    model: Model,
    accesses: u64,
    findings: u64,
    /// The number of each finding that is not like another, from 0.
    distinct: HashMap<Like, usize>,
    /// How often there was one like each.
    repeats: Vec<u64>,
}

/// Findings are like each other if all of this is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Like {
    kind: model::Kind,
    pcs: [u64; 2],
    ops: [bool; 2],
    colours: [Option<Place>; 2],
}

impl<W: Write> Session<W> {
    /// Begins to write to `out`.
    pub fn new(config: Config, symbols: Symbols, out: W) -> Self {
        let mut session = Session {
            places: Places::new(&config.cache, config.page),
            machine: Machine::new(config.arch, &symbols).deaf(config.deaf),
            symbols,
            out,
            awaited: None,
            known: None,
            refused: false,
            window: None,
            config,
        };
        session.write(&Message::Hello(Hello {
            version: env!("CARGO_PKG_VERSION").into(),
            api: API,
            arch: session.config.arch,
            cache: session.config.cache,
            depth: session.config.depth,
        }));
        session
    }

    /// What there is to know of the instruction set.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// What to listen to at the start.
    pub fn start(&self) -> Listen {
        match self.config.aliases() {
            true => Listen::Markers,
            false => Listen::Nothing,
        }
    }

    /// The address pair that the guest named, virtual and physical, once QEMU agreed.
    pub fn known(&self) -> Option<(u64, u64)> {
        self.known
    }

    /// The guest runs a marker.
    pub fn marker(&mut self, marker: Marker) -> Listen {
        if self.refused {
            return Listen::Nothing;
        }
        if let Some(awaited) = self.awaited.take() {
            return self.refuse(format!(
                "{marker:?} came before all of {:?} had: only {} of its {} stores were seen",
                awaited.marker,
                awaited.values.len(),
                awaited.marker.payload()
            ));
        }
        if marker == Marker::Close {
            self.close();
            return Listen::AsBefore;
        }
        self.awaited = Some(Awaited {
            marker,
            values: Vec::new(),
            first: None,
        });
        Listen::AsBefore
    }

    /// A store that follows a marker puts `value` at an address.
    pub fn payload(&mut self, address: u64, physical: Option<u64>, value: u64) -> Listen {
        let Some(awaited) = &mut self.awaited else {
            return Listen::AsBefore;
        };
        awaited.values.push(value);
        let address = self.machine.plain(address);
        let first = *awaited.first.get_or_insert((address, physical));
        if awaited.values.len() < awaited.marker.payload() {
            return Listen::AsBefore;
        }
        let values = self.awaited.take().map_or(Vec::new(), |done| done.values);
        match values[..] {
            [id] => self.open(id as u32),
            [high, low, said_high, said_low] => {
                self.know(first, high << 32 | low, said_high << 32 | said_low)
            }
            _ => Listen::AsBefore,
        }
    }

    fn open(&mut self, id: u32) -> Listen {
        self.close();
        if id != SELF_CHECK && self.known.is_none() {
            return self.refuse(format!(
                "window {id} opens before the guest has named an address whose physical address it knows"
            ));
        }
        self.write(&Message::Window { id });
        self.window = Some(Window {
            id,
            model: Model::new(&self.config.cache, self.config.page),
            accesses: 0,
            findings: 0,
            distinct: HashMap::new(),
            repeats: Vec::new(),
        });
        Listen::Accesses
    }

    /// Accesses are still heard, and of no interest: to translate the guest anew for each window takes longer.
    fn close(&mut self) {
        let Some(mut window) = self.window.take() else {
            return;
        };
        let distinct = window.repeats.len() as u64;
        window.repeats.truncate(WRITTEN);
        self.write(&Message::End(End {
            window: window.id,
            findings: window.findings,
            distinct,
            repeats: window.repeats,
            accesses: window.accesses,
        }));
    }

    /// Compares the address pair that the guest stored, `address` and `said`, with the virtual and physical address that
    /// QEMU reports for that store.
    fn know(&mut self, seen: (u64, Option<u64>), address: u64, said: u64) -> Listen {
        let (seen, physical) = seen;
        self.write(&Message::Known(Known {
            address: Hex(address),
            physical: physical.map(Hex),
            said: Hex(said),
        }));
        if seen != address || physical != Some(said) {
            let physical = physical.map_or("no memory".into(), |physical| format!("{physical:#x}"));
            return self.refuse(format!(
                "the guest maps {address:#x} to physical {said:#x}, but QEMU maps {seen:#x} to {physical}; this plugin \
                 does not work with this QEMU"
            ));
        }
        self.known = Some((address, said));
        Listen::AsBefore
    }

    /// Gives up.
    pub fn refuse(&mut self, why: String) -> Listen {
        self.write(&Message::Refused { why });
        self.refused = true;
        self.window = None;
        Listen::Nothing
    }

    /// The guest makes an access. What takes a while is asked for where it matters: `size` tells how many bytes, `find` where it
    /// goes; `None` for a device.
    pub fn access(
        &mut self,
        seen: Seen,
        size: impl Fn() -> u64,
        find: impl FnOnce() -> Option<Where>,
    ) {
        // Before the guest has named an address nothing is judged: what the kernel does to the cache is not seen yet.
        let (Some(window), Some(_)) = (&mut self.window, self.known) else {
            return;
        };
        let by = self.machine.by(seen.pc);
        let judged = match self.config.depth {
            Depth::Full => true,
            Depth::User => self.machine.is_of_process(seen.address, by),
        };
        if !judged && !seen.store {
            return;
        }
        let Some(Where { physical, way }) = find() else {
            return;
        };
        window.accesses += 1;
        // Before it maps a page round the cache the kernel flushes it, which depth `user` takes on trust.
        let trusted = self.config.depth == Depth::User && self.config.cache.kind == CacheKind::Vivt;
        if !judged || trusted && way == Way::Round {
            return window.model.start_anew(physical);
        }
        let place = self.places.of(seen.address);
        let (at, machine) = (window.accesses, &self.machine);
        let access = || model::Access {
            at,
            op: if seen.store { Op::Store } else { Op::Load },
            by,
            space: seen.space.or(machine.space(seen.address)),
            address: seen.address,
            physical,
            size: size(),
            place: (way != Way::Round).then_some(place),
            brings_in: way == Way::Cached,
            pc: seen.pc,
        };
        let model = &mut window.model;
        if way != Way::Round && model.is_old_news(seen.store, physical, place, access) {
            return;
        }
        let mut found = Vec::new();
        model.access(access(), |finding| found.push(finding));
        for finding in found {
            self.note(finding);
        }
    }

    /// The kernel does `op` to the lines that hold `size` bytes from a virtual address on, all in one page.
    pub fn maintain(&mut self, pc: u64, op: Op, (address, physical): (u64, u64), size: u64) {
        let place = self.places.of(address);
        let access = self.of_kernel(pc, op, address);
        if let (Some(window), Depth::Full) = (&mut self.window, self.config.depth) {
            let access = model::Access {
                physical,
                size,
                place: Some(place),
                ..access
            };
            window.model.access(access, |_| {});
        }
    }

    /// The kernel does `op` to a page of memory in every colour.
    pub fn maintain_every_colour(&mut self, pc: u64, op: Op, physical: u64) {
        let page = self.config.page;
        let physical = physical & !(page - 1);
        for colour in 0..self.config.cache.period / page {
            self.maintain(pc, op, (colour * page, physical), page);
        }
    }

    /// The kernel does `op` to all lines.
    pub fn maintain_all(&mut self, pc: u64, op: Op) {
        if self.config.depth == Depth::Full {
            self.all(pc, op);
        }
    }

    /// Virtual addresses are another process's from here on. A cache with virtual tags is flushed for that; in depth
    /// `user` the kernel is trusted to have done it.
    pub fn switch(&mut self, pc: u64) {
        if self.config.depth == Depth::User && self.config.cache.kind == CacheKind::Vivt {
            self.all(pc, Op::Flush);
        }
    }

    fn all(&mut self, pc: u64, op: Op) {
        let access = self.of_kernel(pc, op, 0);
        let Some(window) = &mut self.window else {
            return;
        };
        match op {
            Op::Clean => window.model.clean_all(),
            // Of dirty data the kernel drops all only where there is nothing yet.
            _ => window.model.flush_all(access),
        }
    }

    /// Something the kernel does to the cache.
    fn of_kernel(&self, pc: u64, op: Op, address: u64) -> model::Access {
        model::Access {
            at: self.window.as_ref().map_or(0, |window| window.accesses),
            op,
            by: By::Kernel,
            space: None,
            address,
            physical: 0,
            size: 0,
            place: None,
            brings_in: false,
            pc,
        }
    }

    /// Counts a finding, and writes it if there was none like it.
    fn note(&mut self, finding: Finding) {
        let Some(window) = &mut self.window else {
            return;
        };
        let of_kernel = finding.earlier.by == By::Kernel;
        let name = |pc| self.symbols.function(self.machine.plain(pc));
        let function = of_kernel.then(|| name(finding.earlier.pc)).flatten();
        if function.is_some_and(|(name, _)| self.machine.is_excused(name)) {
            return;
        }
        window.findings += 1;
        let both = [&finding.earlier, &finding.later];
        let colours = match self.config.cache.kind {
            CacheKind::Vipt => both.map(|access| access.place),
            _ => [None; 2],
        };
        let like = Like {
            kind: finding.kind,
            pcs: both.map(|access| access.pc),
            ops: both.map(|access| access.op == Op::Store),
            colours,
        };
        let index = match window.distinct.entry(like) {
            Entry::Occupied(known) => {
                window.repeats[*known.get()] += 1;
                return;
            }
            Entry::Vacant(new) => *new.insert(window.repeats.len()),
        };
        window.repeats.push(1);
        if index >= WRITTEN {
            return;
        }
        let access = |access: &model::Access| {
            let plain = |address| self.machine.plain(address);
            let name = |pc| self.symbols.name(self.machine.plain(pc));
            findings::access(access, &self.config.cache, plain, name)
        };
        let message = findings::message(window.id, index as u32 + 1, &finding, access);
        self.write(&message);
    }

    /// A line at a time, at once: QEMU is killed, not ended.
    fn write(&mut self, message: &Message) {
        let line = message.render();
        let written = self
            .out
            .write_all(line.as_bytes())
            .and_then(|()| self.out.flush());
        if let Err(error) = written {
            // Findings that nobody can read are no findings; without the file the host sees that something is missing.
            eprintln!("oracle: write a finding: {error}; make room where the findings go");
            std::process::abort();
        }
    }
}

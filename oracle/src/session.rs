// SPDX-License-Identifier: GPL-2.0-or-later
//! A session, from the start of QEMU to its end: the windows, the check of an address pair, and the findings. A session
//! does not call QEMU. The plugin reports the guest's actions to it, and the session returns the callbacks that the
//! plugin needs next.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::Write;

use oracle_wire::config::{CacheKind, Config, Depth};
use oracle_wire::culprit;
use oracle_wire::message::{self, End, Hello, Hex, Known, Mapping, Message};
use oracle_wire::window::SELF_CHECK;

use crate::arch::{Caching, Call, Machine, Marker, Owner};
use crate::findings;
use crate::model::{self, AddressSpace, By, Finding, Model, Op, Place, Places, StoreEffect, Trace};
use crate::symbols::Symbols;
use crate::trace::{self, Calls, Captures, Guest, Store, Tasks};
use crate::translations;

/// Version of QEMU's plugin interface, QEMU_PLUGIN_VERSION in `include/plugins/qemu-plugin.h`. Version 4 came with QEMU
/// 9.2 and added the values of memory accesses. Version 7 came with QEMU 11.1, which loads no older plugins.
pub const API: i32 = if cfg!(feature = "api-7") { 7 } else { 4 };

/// Maximum number of findings written for each window. Further findings are only counted. A finding stands for all that
/// have the same culprits, so few windows have more than a handful.
const WRITTEN: usize = 300;

/// The callbacks that the plugin needs from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// The same as before.
    Unchanged,
    /// Markers and memory accesses.
    Accesses,
    /// Markers only.
    Markers,
    /// None.
    Nothing,
}

/// A memory access as QEMU reports it.
#[derive(Clone, Copy, Debug)]
pub struct Reported {
    /// Address of the instruction.
    pub pc: u64,
    /// The owner of the instruction.
    pub owner: Owner,
    /// Virtual address of the first byte.
    pub address: u64,
    /// True for a store, false for a load.
    pub store: bool,
    /// Number that is the same for accesses with the same size and the same translation of addresses. `None` if a
    /// translation may end without [`Session::end_translations`].
    pub kind: Option<u32>,
    /// The bytes in memory.
    pub target: translations::Place,
    /// Use of the cache.
    pub caching: Caching,
}

impl Reported {
    /// Returns the access for the model.
    #[inline(always)]
    fn access(
        &self,
        at: u64,
        (tables, process): (Option<u64>, AddressSpace),
        place: Option<Place>,
        trace: Trace,
    ) -> model::Access {
        model::Access {
            at,
            op: if self.store { Op::Store } else { Op::Load },
            by: self.owner.by(),
            tables,
            process,
            address: self.address,
            physical: self.target.physical,
            size: self.target.size,
            place,
            allocates: self.caching == Caching::Allocate,
            pc: self.pc,
            trace,
        }
    }
}

/// The session of one QEMU process.
pub struct Session<W> {
    config: Config,
    places: Places,
    machine: Machine,
    symbols: Symbols,
    out: W,
    pending: Option<PendingMarker>,
    known: Option<(u64, u64)>,
    refused: bool,
    window: Option<Window>,
    /// The model of the last window, to be used again.
    model: Option<Model>,
    calls: Calls,
    captures: Captures,
    tasks: Tasks,
    /// Physical address of the page tables in use, if the plugin walks them.
    tables: Option<u64>,
    spaces: Spaces,
}

/// The address spaces whose addresses have been used, at depth `strict`.
#[derive(Debug, Default)]
struct Spaces {
    known: Vec<u64>,
    /// The space that was used last, with its number in the model.
    last: Option<(u64, AddressSpace)>,
}

impl Spaces {
    /// Returns the number of the space that was used last.
    fn current(&self) -> AddressSpace {
        self.last.map_or(AddressSpace::NONE, |(_, number)| number)
    }

    /// Returns the space of an access to an address of a process, unless it is the one that was used last. `tables` are
    /// the page tables in use.
    fn new_space(&self, access: &Reported, tables: Option<u64>, machine: &Machine) -> Option<u64> {
        if !machine.is_process_address(access.address, access.owner.by()) {
            return None;
        }
        let space = tables.or_else(|| machine.space(access.address))?;
        (self.last.map(|(last, _)| last) != Some(space)).then_some(space)
    }

    /// Records the use of a space.
    fn enter(&mut self, space: u64) {
        let number = self.known.iter().position(|known| *known == space).unwrap_or_else(|| {
            self.known.push(space);
            self.known.len() - 1
        });
        self.last = Some((space, AddressSpace::new(number)));
    }
}

/// A marker whose stores have not all arrived.
struct PendingMarker {
    marker: Marker,
    values: Vec<u64>,
    /// Virtual and physical address of the first store.
    first: Option<(u64, Option<u64>)>,
}

/// An open window.
struct Window {
    id: u32,
    model: Model,
    accesses: u64,
    findings: u64,
    /// Index of the group of each finding.
    seen: HashMap<Signature, usize>,
    /// Index of each group.
    groups: HashMap<Group, usize>,
    /// Number of findings in each group.
    repeats: Vec<u64>,
}

/// The properties in which repeats of a finding agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Signature {
    kind: model::FindingKind,
    pcs: [u64; 2],
    traces: [Trace; 2],
    stores: [bool; 2],
}

/// The properties in which findings with the same cause agree: they are written once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Group {
    kind: model::FindingKind,
    stores: [bool; 2],
    culprits: [Culprit; 2],
}

/// Code that is responsible for an access.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Culprit {
    /// A process.
    Process,
    /// A function of the kernel.
    Function(String),
    /// An instruction of the kernel, if functions are unknown: the innermost call, or else the access.
    Address(u64),
}

impl Culprit {
    fn of(access: &message::Access) -> Culprit {
        match (access.by, &access.culprit) {
            (By::Process, _) => Culprit::Process,
            (By::Kernel, Some(function)) => Culprit::Function(function.clone()),
            (By::Kernel, None) => {
                Culprit::Address(access.callers.first().map_or(access.pc, |caller| caller.pc).0)
            }
        }
    }
}

impl<W: Write> Session<W> {
    /// Starts a session that writes to `out`.
    pub fn new(config: Config, symbols: Symbols, out: W) -> Self {
        let mut session = Session {
            places: Places::new(&config.cache, config.page),
            machine: Machine::new(config.arch, &symbols).ignore_flushes(config.ignore_flushes),
            symbols,
            out,
            pending: None,
            known: None,
            refused: false,
            window: None,
            model: None,
            calls: Calls::default(),
            captures: Captures::new(config.page, config.cache.line),
            tasks: Tasks::default(),
            tables: None,
            spaces: Spaces::default(),
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

    /// Records a call in the kernel's code, which the guest is about to run.
    pub fn add_call(&mut self, call: Call) {
        self.calls.insert(call);
    }

    /// Handles the kernel's switch to another task, at the start of the function that performs it.
    pub fn switch_task(&mut self, pc: u64, guest: &impl Guest) {
        // Before the guest has named an address, registers may not be available.
        let (Some(switch), Some(_)) = (self.machine.switch_at(pc), self.known) else {
            return;
        };
        let machine = &self.machine;
        let size = machine.stack().map_or(4, |stack| stack.word);
        let word = |bytes: &[u8]| machine.word(bytes);
        if self.tasks.are_unknown() {
            // The first switch after the guest's init has named an address is one away from init.
            let parent = self.symbols.address("init_task");
            if let Some(init) = guest.register(switch.before) {
                self.tasks.learn(init, parent, size, guest, word);
            }
        }
        if let Some(next) = guest.register(switch.next) {
            self.tasks.switch(next, guest, word);
        }
    }

    /// Returns the guest's machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Returns the owner of the code at `pc`, which is at `host` in the memory of QEMU.
    pub fn code_owner(&mut self, pc: u64, host: usize) -> By {
        self.machine.code_owner(pc, host)
    }

    /// Returns the callbacks that the plugin needs at first.
    pub fn start(&self) -> Listen {
        match self.config.aliases() {
            true => Listen::Markers,
            false => Listen::Nothing,
        }
    }

    /// Returns the virtual and physical address that the guest named, once QEMU has confirmed them.
    pub fn known(&self) -> Option<(u64, u64)> {
        self.known
    }

    /// Handles a marker.
    pub fn marker(&mut self, marker: Marker) -> Listen {
        if self.refused {
            return Listen::Nothing;
        }
        if let Some(pending) = self.pending.take() {
            return self.refuse(format!(
                "the guest's marker `{}` is incomplete: {} of {} stores arrived before the next marker, `{}`",
                pending.marker.word(),
                pending.values.len(),
                pending.marker.payload(),
                marker.word()
            ));
        }
        if marker == Marker::Close {
            self.close();
            return Listen::Unchanged;
        }
        self.pending = Some(PendingMarker { marker, values: Vec::new(), first: None });
        Listen::Unchanged
    }

    /// Handles a store that follows a marker.
    pub fn payload(&mut self, address: u64, physical: Option<u64>, value: u64) -> Listen {
        let Some(pending) = &mut self.pending else {
            return Listen::Unchanged;
        };
        pending.values.push(value);
        let address = self.machine.plain(address);
        let first = *pending.first.get_or_insert((address, physical));
        if pending.values.len() < pending.marker.payload() {
            return Listen::Unchanged;
        }
        let values = self.pending.take().map_or(Vec::new(), |done| done.values);
        match values[..] {
            [id] => self.open(id as u32),
            [high, low, expected_high, expected_low] => {
                let expected = expected_high << 32 | expected_low;
                self.check_known(first, high << 32 | low, expected)
            }
            _ => Listen::Unchanged,
        }
    }

    fn open(&mut self, id: u32) -> Listen {
        self.close();
        if id != SELF_CHECK && self.known.is_none() {
            return self.refuse(format!(
                "window {id} opened before the guest named an address whose physical address it knows"
            ));
        }
        self.write(&Message::Window { id });
        self.captures.restart();
        let model = match self.model.take() {
            Some(mut model) => {
                model.restart();
                model
            }
            None => Model::new(&self.config.cache, self.config.page),
        };
        self.window = Some(Window {
            id,
            model,
            accesses: 0,
            findings: 0,
            seen: HashMap::new(),
            groups: HashMap::new(),
            repeats: Vec::new(),
        });
        Listen::Accesses
    }

    /// Closes the window. Access callbacks stay registered: retranslating the guest for each window takes longer.
    fn close(&mut self) {
        let Some(mut window) = self.window.take() else {
            return;
        };
        self.model = Some(window.model);
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

    /// Compares the address pair that the guest stored, `address` and `expected`, with the virtual and physical address
    /// that QEMU reports for the first of these stores.
    fn check_known(&mut self, reported: (u64, Option<u64>), address: u64, expected: u64) -> Listen {
        let (reported, physical) = reported;
        self.write(&Message::Known(Known {
            address: Hex(address),
            physical: physical.map(Hex),
            expected: Hex(expected),
        }));
        if reported != address || physical != Some(expected) {
            let physical = physical.map_or("no memory".into(), |physical| format!("{physical:#x}"));
            return self.refuse(format!(
                "the guest maps {address:#x} to physical {expected:#x}, but QEMU maps {reported:#x} to {physical}; this \
                 plugin does not work with this QEMU"
            ));
        }
        self.known = Some((address, expected));
        Listen::Unchanged
    }

    /// Stops the session because the observations cannot be trusted.
    pub fn refuse(&mut self, why: String) -> Listen {
        self.write(&Message::Refused { why });
        self.refused = true;
        self.window = None;
        Listen::Nothing
    }

    /// Uses the page tables at a physical address from now on.
    pub fn use_tables(&mut self, tables: Option<u64>) {
        self.tables = tables;
    }

    /// Handles a load like an earlier one, since which nothing has changed. Returns false for any other load, without an
    /// effect.
    #[inline(always)]
    pub fn remembers_load(&mut self, address: u64, kind: u32) -> bool {
        match &mut self.window {
            Some(window) if window.model.remembers_load(address, kind) => {
                window.accesses += 1;
                true
            }
            _ => false,
        }
    }

    /// Forgets translations of addresses.
    pub fn end_translations(&mut self) {
        if let Some(window) = &mut self.window {
            window.model.forget_loads();
        }
    }

    /// Handles a memory access that changes nothing, or only the record of the last store. Most accesses are of this
    /// kind. Returns false for any other access, without an effect.
    #[inline(always)]
    pub fn handles_repeat(&mut self, reported: &Reported) -> bool {
        // Ignores accesses until the guest has reported a known address: before that, the plugin cannot see cache
        // maintenance.
        let (Some(window), Some(_)) = (&mut self.window, self.known) else {
            return true;
        };
        let full = self.config.depth != Depth::User;
        if !full && !self.machine.is_process_address(reported.address, reported.owner.by()) {
            return !reported.store;
        }
        let strict = self.config.depth == Depth::Strict;
        if strict && self.spaces.new_space(reported, self.tables, &self.machine).is_some() {
            return false;
        }
        let Reported { pc, store, target, .. } = *reported;
        let place = self.places.of(reported.address);
        let Some(effect) = window.model.effect(target.physical, target.size, place) else {
            return false;
        };
        if reported.caching == Caching::Bypass || store && effect == StoreEffect::Changes {
            return false;
        }
        let at = window.accesses + 1;
        if store && effect == StoreEffect::IsLast {
            let frames = match full && self.machine.may_alias(reported.owner, reported.address) {
                false => 0,
                true => {
                    let store = Store { at, pc, physical: target.physical, changes: false };
                    match self.captures.known_of_store(store) {
                        Some(frames) => frames,
                        None => return false,
                    }
                }
            };
            let trace = Trace::new(frames, self.tasks.current());
            let spaces = (self.tables, AddressSpace::NONE);
            window.model.repeat(&reported.access(at, spaces, Some(place), trace));
        }
        if let (false, Some(kind)) = (store, reported.kind) {
            window.model.remember_load(reported.address, target.size, kind);
        }
        window.accesses = at;
        true
    }

    /// Handles a memory access for which [`Session::handles_repeat`] has returned false. `guest` is the guest at the
    /// access.
    pub fn access(&mut self, reported: &Reported, guest: &impl Guest) {
        let strict = self.config.depth == Depth::Strict;
        let Some(window) = &mut self.window else {
            return;
        };
        window.accesses += 1;
        if strict {
            if let Some(space) = self.spaces.new_space(reported, self.tables, &self.machine) {
                self.spaces.enter(space);
                window.model.settle();
            }
        }
        let Reported { pc, owner, address, store, target, caching, .. } = *reported;
        let by = owner.by();
        let bypass = caching == Caching::Bypass;
        let full = self.config.depth != Depth::User;
        // An access that is not checked only resets a line. The kernel flushes a page before it maps the page uncached.
        // Depth `user` trusts it to do so.
        let checked = full || self.machine.is_process_address(address, by);
        let trusted = !full && self.config.cache.kind == CacheKind::Vivt;
        if !checked || trusted && bypass {
            return window.model.reset_line(target.physical);
        }
        let (at, machine) = (window.accesses, &self.machine);
        let place = (!bypass).then(|| self.places.of(address));
        let (calls, symbols, captures) = (&self.calls, &self.symbols, &mut self.captures);
        let backtrace = || match (machine.stack(), by) {
            (Some(stack), By::Kernel) => {
                let word = |bytes: &[u8]| machine.word(bytes);
                trace::backtrace(pc, stack, guest, word, calls, symbols)
            }
            _ => Vec::new(),
        };
        let effect =
            place.and_then(|place| window.model.effect(target.physical, target.size, place));
        let repeats = effect == Some(StoreEffect::IsLast);
        let frames = match store && full && machine.may_alias(owner, address) {
            false => 0,
            true => {
                let store = Store { at, pc, physical: target.physical, changes: !repeats };
                let pointer = || guest.register(machine.stack()?.pointer);
                captures.of_store(store, pointer, backtrace)
            }
        };
        let trace = Trace::new(frames, self.tasks.current());
        let process = match strict && machine.is_process_address(address, by) {
            true => self.spaces.current(),
            false => AddressSpace::NONE,
        };
        let access = reported.access(at, (self.tables, process), place, trace);
        if store && repeats {
            return window.model.repeat(&access);
        }
        if machine.is_process_address(address, by) {
            captures.used(target.physical);
        }
        let mut findings = Vec::new();
        window.model.access(access, |finding| findings.push(finding));
        if findings.is_empty() {
            return;
        }
        captures.used(target.physical);
        // A process cannot read the kernel's memory, and neither can the plugin while a process runs.
        if by == By::Kernel {
            self.tasks.refresh(guest, |bytes| machine.word(bytes));
        }
        let trace = Trace::new(captures.intern(backtrace()), self.tasks.current());
        for mut finding in findings {
            finding.later.trace = trace;
            if let Some(last) = finding.story.last_mut().filter(|last| last.at == at) {
                last.trace = trace;
            }
            self.count(finding);
        }
    }

    /// Handles maintenance of the lines that contain the `size` bytes at an address, all of them in one page.
    pub fn maintain(&mut self, pc: u64, op: Op, (address, physical): (u64, u64), size: u64) {
        let place = self.places.of(address);
        let access = self.maintenance(pc, op, address);
        if let (Some(window), Depth::Full | Depth::Strict) = (&mut self.window, self.config.depth) {
            let access = model::Access { physical, size, place: Some(place), ..access };
            window.model.access(access, |_| {});
        }
    }

    /// Handles maintenance of a physical page in every colour.
    pub fn maintain_every_colour(&mut self, pc: u64, op: Op, physical: u64) {
        let page = self.config.page;
        let physical = physical & !(page - 1);
        for colour in 0..self.config.cache.period / page {
            self.maintain(pc, op, (colour * page, physical), page);
        }
    }

    /// Handles maintenance of all lines.
    pub fn maintain_all(&mut self, pc: u64, op: Op, guest: &impl Guest) {
        match self.config.depth {
            Depth::User => {}
            Depth::Strict if op == Op::Flush && self.is_for_process(pc, guest) => {
                let process = self.spaces.current();
                let flush = model::Access { process, ..self.maintenance(pc, op, 0) };
                if let Some(window) = &mut self.window {
                    window.model.flush_process(flush);
                }
            }
            Depth::Full | Depth::Strict => self.all_lines(pc, op),
        }
    }

    /// Returns true if the maintenance at `pc` is on behalf of a process: by the function that contains it, or by one
    /// of the next callers.
    fn is_for_process(&self, pc: u64, guest: &impl Guest) -> bool {
        /// Frames between a flush and the function that decides to flush the whole cache.
        const FRAMES: usize = 6;
        let machine = &self.machine;
        let word = |bytes: &[u8]| machine.word(bytes);
        let callers = match machine.stack() {
            Some(stack) => trace::backtrace(pc, stack, guest, word, &self.calls, &self.symbols),
            None => Vec::new(),
        };
        let mut sites = std::iter::once(pc).chain(callers.into_iter().take(FRAMES));
        sites.any(|site| {
            let function = self.symbols.function(machine.plain(site));
            function.is_some_and(|(name, _)| machine.flushes_for_process(culprit::function(name)))
        })
    }

    /// Handles a switch to another address space. The kernel flushes a cache with virtual tags at a switch, and depth
    /// `user` trusts it to do so.
    pub fn switch_space(&mut self, pc: u64) {
        if self.config.depth == Depth::User && self.config.cache.kind == CacheKind::Vivt {
            self.all_lines(pc, Op::Flush);
        }
    }

    fn all_lines(&mut self, pc: u64, op: Op) {
        let access = self.maintenance(pc, op, 0);
        let Some(window) = &mut self.window else {
            return;
        };
        match op {
            Op::Clean => window.model.clean_all(),
            // The kernel invalidates all lines only before there is dirty data, and then a flush has the same effect.
            _ => window.model.flush_all(access),
        }
    }

    /// Returns the access for a maintenance operation of the kernel.
    fn maintenance(&self, pc: u64, op: Op, address: u64) -> model::Access {
        model::Access {
            at: self.window.as_ref().map_or(0, |window| window.accesses),
            op,
            by: By::Kernel,
            tables: None,
            process: AddressSpace::NONE,
            address,
            physical: 0,
            size: 0,
            place: None,
            allocates: false,
            pc,
            trace: Trace::new(0, self.tasks.current()),
        }
    }

    /// Counts a finding, and writes it if it is the first of its group.
    fn count(&mut self, finding: Finding) {
        let Some(window) = &mut self.window else {
            return;
        };
        window.findings += 1;
        let both = [&finding.earlier, &finding.later];
        let signature = Signature {
            kind: finding.kind,
            pcs: both.map(|access| access.pc),
            traces: both.map(|access| access.trace),
            stores: both.map(|access| access.op == Op::Store),
        };
        if let Some(&index) = window.seen.get(&signature) {
            window.repeats[index] += 1;
            return;
        }
        let access = |access: &model::Access| {
            let plain = |address| self.machine.plain(address);
            let name = |pc| self.symbols.name(self.machine.plain(pc));
            let callers = self.captures.frames(access.trace.frames());
            let process = self.tasks.process(access.trace.process());
            let machine = (self.config.arch, &self.config.cache);
            let space = space(&self.machine, access);
            let mapping = mapping(&self.machine, access);
            findings::access(access, machine, space, plain, name, (callers, process), mapping)
        };
        let group = Group {
            kind: signature.kind,
            stores: signature.stores,
            culprits: both.map(|one| Culprit::of(&access(one))),
        };
        let index = match window.groups.entry(group) {
            Entry::Occupied(known) => {
                window.repeats[*known.get()] += 1;
                window.seen.insert(signature, *known.get());
                return;
            }
            Entry::Vacant(new) => *new.insert(window.repeats.len()),
        };
        window.seen.insert(signature, index);
        window.repeats.push(1);
        if index >= WRITTEN {
            return;
        }
        let message = findings::message(window.id, index as u32 + 1, &finding, access);
        self.write(&message);
    }

    /// Writes and flushes one message, because QEMU may be killed at any time.
    fn write(&mut self, message: &Message) {
        let line = message.render();
        let written = self.out.write_all(line.as_bytes()).and_then(|()| self.out.flush());
        if let Err(error) = written {
            // Without its findings the session is worthless. After an abort the host notices the incomplete file.
            eprintln!(
                "oracle: cannot write to the file of findings: {error}; free space on its file system"
            );
            std::process::abort();
        }
    }
}

/// Returns the address space of an access, if it is known.
fn space(machine: &Machine, access: &model::Access) -> Option<u64> {
    if !matches!(access.op, Op::Load | Op::Store) {
        return None;
    }
    let of_process = machine.is_process_address(access.address, access.by);
    access.tables.filter(|_| of_process).or_else(|| machine.space(access.address))
}

/// Returns the mapping that contains the address of an access, if the access uses one.
fn mapping(machine: &Machine, access: &model::Access) -> Option<Mapping> {
    let translated = access.address != access.physical;
    (matches!(access.op, Op::Load | Op::Store) && translated)
        .then(|| machine.mapping(access.address, access.physical, access.by))
}

// SPDX-License-Identifier: GPL-2.0-or-later
//! QEMU's interface for plugins, version 4, as far as it is used: `include/qemu/qemu-plugin.h` of QEMU 9.2 and later.
//!
//! A guest with one processor has one thread that runs its code, and all callbacks come from it. The plugin is installed
//! before that thread starts. So its state needs no lock.

mod inside;

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::marker::PhantomData;

use crate::arch::{Heard, Marker, Way};
use crate::plugin::Plugin;
use crate::session::API;
pub use inside::{Processor, Ram, Registers};

/// Which version of the interface this plugin was made for: QEMU looks for it.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static qemu_plugin_version: c_int = API;

/// `qemu_plugin_id_t`.
type Id = u64;

/// `qemu_info_t`.
#[repr(C)]
struct RawInfo {
    target_name: *const c_char,
    version_min: c_int,
    version_cur: c_int,
    system_emulation: bool,
    smp_vcpus: c_int,
    max_vcpus: c_int,
}

/// `struct qemu_plugin_tb`, of which nothing is known.
enum RawBlock {}
/// `struct qemu_plugin_insn`, likewise.
enum RawInstruction {}
/// `struct qemu_plugin_hwaddr`, likewise.
enum RawPhysical {}

/// `qemu_plugin_mem_value`.
#[repr(C)]
struct RawValue {
    kind: c_int,
    data: RawData,
}

#[repr(C)]
#[derive(Clone, Copy)]
union RawData {
    byte: u8,
    half: u16,
    word: u32,
    double: u64,
    quad: [u64; 2],
}

/// `enum qemu_plugin_cb_flags`: the callback does not look at registers, or does.
const NO_REGISTERS: c_int = 0;
const REGISTERS: c_int = 1;
/// `enum qemu_plugin_mem_rw`.
const READS: c_int = 1;
const WRITES: c_int = 2;

type OnBlock = extern "C" fn(Id, *const RawBlock);
type OnRun = extern "C" fn(c_uint, *mut c_void);
type OnMemory = extern "C" fn(c_uint, u32, u64, *mut c_void);

unsafe extern "C" {
    fn qemu_plugin_register_vcpu_tb_trans_cb(id: Id, callback: OnBlock);
    fn qemu_plugin_register_vcpu_insn_exec_cb(
        instruction: *mut RawInstruction,
        callback: OnRun,
        flags: c_int,
        data: *mut c_void,
    );
    fn qemu_plugin_register_vcpu_mem_cb(
        instruction: *mut RawInstruction,
        callback: OnMemory,
        flags: c_int,
        accesses: c_int,
        data: *mut c_void,
    );
    fn qemu_plugin_tb_n_insns(block: *const RawBlock) -> usize;
    fn qemu_plugin_tb_get_insn(block: *const RawBlock, index: usize) -> *mut RawInstruction;
    fn qemu_plugin_insn_data(
        instruction: *const RawInstruction,
        into: *mut c_void,
        room: usize,
    ) -> usize;
    fn qemu_plugin_insn_size(instruction: *const RawInstruction) -> usize;
    fn qemu_plugin_insn_vaddr(instruction: *const RawInstruction) -> u64;
    safe fn qemu_plugin_mem_size_shift(memory: u32) -> c_uint;
    safe fn qemu_plugin_mem_is_store(memory: u32) -> bool;
    safe fn qemu_plugin_mem_get_value(memory: u32) -> RawValue;
    fn qemu_plugin_get_hwaddr(memory: u32, address: u64) -> *mut RawPhysical;
    fn qemu_plugin_hwaddr_is_io(physical: *const RawPhysical) -> bool;
    fn qemu_plugin_hwaddr_phys_addr(physical: *const RawPhysical) -> u64;
    fn qemu_plugin_reset(id: Id, callback: extern "C" fn(Id));
    fn qemu_plugin_insn_haddr(instruction: *const RawInstruction) -> *const c_void;
}

/// What QEMU says of itself.
pub struct Info {
    /// The instruction set it emulates, as in `qemu-system-NAME`.
    pub target: String,
    /// Processors of the guest.
    pub cpus: i32,
}

/// The one plugin, and the number QEMU has for it.
struct Installed(UnsafeCell<Option<(Id, Plugin)>>);

// SAFETY: written once before there are other threads, then used by the one thread that runs the guest; see above.
unsafe impl Sync for Installed {}

static INSTALLED: Installed = Installed(UnsafeCell::new(None));

/// Calls `work` with the plugin.
fn with<T>(work: impl FnOnce(Id, &mut Plugin) -> T) -> Option<T> {
    // SAFETY: callbacks come from one thread, and none from within another: no other reference is alive.
    let installed = unsafe { &mut *INSTALLED.0.get() };
    installed.as_mut().map(|(id, plugin)| work(*id, plugin))
}

/// Called by QEMU, once, at its start. Anything but 0 ends QEMU.
///
/// # Safety
/// QEMU's: the pointers are what its header says.
#[unsafe(no_mangle)]
unsafe extern "C" fn qemu_plugin_install(
    id: Id,
    info: *const RawInfo,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    // SAFETY: QEMU's promise, for as long as this call takes.
    let (raw, name) = unsafe { (&*info, CStr::from_ptr((*info).target_name)) };
    if !raw.system_emulation {
        eprintln!("oracle: this QEMU emulates no machine; use qemu-system-NAME");
        return 1;
    }
    let info = Info {
        target: name.to_string_lossy().into_owned(),
        cpus: raw.smp_vcpus,
    };
    let argument = |index: c_int| {
        // SAFETY: QEMU's promise: there are `argc` texts.
        let text = unsafe { CStr::from_ptr(*argv.add(index as usize)) };
        text.to_string_lossy().into_owned()
    };
    let arguments: Vec<String> = (0..argc).map(argument).collect();
    let plugin = match Plugin::new(&arguments, &info) {
        Ok(plugin) => plugin,
        Err(why) => {
            eprintln!("oracle: {why}");
            return 1;
        }
    };
    // SAFETY: the thread that runs the guest does not exist yet, and no callback is registered.
    unsafe { *INSTALLED.0.get() = Some((id, plugin)) };
    register(id);
    0
}

/// Registers what the plugin listens to now.
extern "C" fn register(id: Id) {
    if with(|_, plugin| plugin.listens()) == Some(true) {
        // SAFETY: the number is this plugin's.
        unsafe { qemu_plugin_register_vcpu_tb_trans_cb(id, on_block) };
    }
}

/// Has everything translated anew, if `needed`.
fn translate_anew(id: Id, needed: bool) {
    if needed {
        // SAFETY: the number is this plugin's. QEMU does it once the guest's code has come to a halt.
        unsafe { qemu_plugin_reset(id, register) };
    }
}

extern "C" fn on_block(_: Id, block: *const RawBlock) {
    let block = Block {
        raw: block,
        life: PhantomData,
    };
    with(|_, plugin| plugin.translate(&block));
}

/// Called by `oracle_on_marker` with what QEMU's translated code keeps in a register of the host throughout: the
/// address of its record of the guest's processor. Null on a host of which that is not known.
extern "C" fn on_marker(_: c_uint, data: *mut c_void, record: *const u64) {
    let marker = match data as usize {
        0 => Marker::Open,
        1 => Marker::Close,
        _ => Marker::Known,
    };
    // SAFETY: the trampoline's promise.
    let processor = unsafe { Processor::at(record) };
    with(|id, plugin| translate_anew(id, plugin.marked(marker, processor)));
}

// TCG_AREG0 in QEMU's tcg/x86_64/tcg-target.h is rbp: the third argument of a call goes in rdx.
#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".globl oracle_on_marker",
    ".hidden oracle_on_marker",
    "oracle_on_marker:",
    "mov rdx, rbp",
    "jmp {on_marker}",
    on_marker = sym on_marker,
);

// TCG_AREG0 in QEMU's tcg/aarch64/tcg-target.h is x19: the third argument of a call goes in x2.
#[cfg(target_arch = "aarch64")]
std::arch::global_asm!(
    ".globl oracle_on_marker",
    ".hidden oracle_on_marker",
    "oracle_on_marker:",
    "mov x2, x19",
    "b {on_marker}",
    on_marker = sym on_marker,
);

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
unsafe extern "C" {
    safe fn oracle_on_marker(cpu: c_uint, data: *mut c_void);
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
extern "C" fn oracle_on_marker(cpu: c_uint, data: *mut c_void) {
    on_marker(cpu, data, std::ptr::null());
}

extern "C" fn on_upkeep(_: c_uint, pc: *mut c_void) {
    with(|id, plugin| translate_anew(id, plugin.upkeep(pc as u64)));
}

extern "C" fn on_payload(_: c_uint, raw: u32, address: u64, _: *mut c_void) {
    let memory = Memory { raw, address };
    with(|id, plugin| translate_anew(id, plugin.payload(&memory)));
}

extern "C" fn on_access<const STORE: bool, const WAY: usize>(
    _: c_uint,
    raw: u32,
    address: u64,
    pc: *mut c_void,
) {
    let memory = Memory { raw, address };
    with(|_, plugin| plugin.accessed(pc as u64, &memory, STORE, WAYS[WAY]));
}

/// Ways, by the number that [`on_access`] has for them.
const WAYS: [Way; 3] = [Way::Cached, Way::NotBroughtIn, Way::Round];

/// A block of code that QEMU translates now.
pub struct Block<'t> {
    raw: *const RawBlock,
    life: PhantomData<&'t RawBlock>,
}

impl<'t> Block<'t> {
    /// Its instructions, in order.
    pub fn instructions(&self) -> impl Iterator<Item = Instruction<'t>> {
        // SAFETY: QEMU's pointer is good while the block is being translated.
        let count = unsafe { qemu_plugin_tb_n_insns(self.raw) };
        (0..count).map(|index| Instruction {
            // SAFETY: likewise, and there are `count`.
            raw: unsafe { qemu_plugin_tb_get_insn(self.raw, index) },
            life: PhantomData,
        })
    }
}

/// An instruction of a block.
pub struct Instruction<'t> {
    raw: *mut RawInstruction,
    life: PhantomData<&'t RawInstruction>,
}

impl Instruction<'_> {
    /// Its address.
    pub fn address(&self) -> u64 {
        // SAFETY: QEMU's pointer is good while the block is being translated.
        unsafe { qemu_plugin_insn_vaddr(self.raw) }
    }

    /// Its bytes as they lie in memory, if they are four.
    pub fn bytes(&self) -> Option<[u8; 4]> {
        let mut bytes = [0; 4];
        // SAFETY: as above; there is room for as many bytes as are asked for.
        let whole = unsafe {
            qemu_plugin_insn_size(self.raw) == bytes.len()
                && qemu_plugin_insn_data(self.raw, bytes.as_mut_ptr().cast(), bytes.len())
                    == bytes.len()
        };
        whole.then_some(bytes)
    }

    /// Have [`Plugin::marked`] called when it runs.
    pub fn on_marker(&self, marker: Marker) {
        let number: usize = match marker {
            Marker::Open => 0,
            Marker::Close => 1,
            Marker::Known => 2,
        };
        let data = number as *mut c_void;
        // SAFETY: as above; the data is a number.
        unsafe {
            qemu_plugin_register_vcpu_insn_exec_cb(self.raw, oracle_on_marker, REGISTERS, data)
        }
    }

    /// Have [`Plugin::upkeep`] called before it runs.
    pub fn on_upkeep(&self) {
        let data = self.address() as *mut c_void;
        // SAFETY: as above; the data is a number.
        unsafe { qemu_plugin_register_vcpu_insn_exec_cb(self.raw, on_upkeep, REGISTERS, data) }
    }

    /// The guest's memory, if this instruction is at `physical` in it.
    pub fn ram(&self, physical: u64) -> Option<Ram> {
        // SAFETY: as above.
        let here = unsafe { qemu_plugin_insn_haddr(self.raw) } as usize;
        Ram::around(here, physical)
    }

    /// Have [`Plugin::payload`] called for its stores.
    pub fn on_payload(&self) {
        self.on_memory(on_payload, WRITES, 0);
    }

    /// Have [`Plugin::accessed`] called for those of its loads and stores that are `heard`.
    pub fn on_access(&self, way: Way, heard: Heard) {
        let (on_load, on_store): (OnMemory, OnMemory) = match way {
            Way::Cached => (on_access::<false, 0>, on_access::<true, 0>),
            Way::NotBroughtIn => (on_access::<false, 1>, on_access::<true, 1>),
            Way::Round => (on_access::<false, 2>, on_access::<true, 2>),
        };
        if heard == Heard::All {
            self.on_memory(on_load, READS, self.address());
        }
        if heard != Heard::Nothing {
            self.on_memory(on_store, WRITES, self.address());
        }
    }

    fn on_memory(&self, callback: OnMemory, accesses: c_int, data: u64) {
        let (flags, data) = (NO_REGISTERS, data as *mut c_void);
        // SAFETY: as above; the data is a number.
        unsafe { qemu_plugin_register_vcpu_mem_cb(self.raw, callback, flags, accesses, data) }
    }
}

/// An access to memory that was just made.
pub struct Memory {
    raw: u32,
    address: u64,
}

impl Memory {
    /// Virtual address of its first byte, with what QEMU puts in front.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// True for a store, false for a load.
    pub fn store(&self) -> bool {
        qemu_plugin_mem_is_store(self.raw)
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        1 << qemu_plugin_mem_size_shift(self.raw)
    }

    /// Physical address of its first byte; `None` for a device.
    pub fn physical(&self) -> Option<u64> {
        // SAFETY: called from the callback of this very access, as QEMU asks for; null is no address.
        unsafe {
            let physical = qemu_plugin_get_hwaddr(self.raw, self.address);
            let memory = !physical.is_null() && !qemu_plugin_hwaddr_is_io(physical);
            memory.then(|| qemu_plugin_hwaddr_phys_addr(physical))
        }
    }

    /// What was loaded or stored, the lower 64 bits.
    pub fn value(&self) -> u64 {
        let RawValue { kind, data } = qemu_plugin_mem_get_value(self.raw);
        // SAFETY: `enum qemu_plugin_mem_value_type` says which of them it is.
        unsafe {
            match kind {
                0 => data.byte.into(),
                1 => data.half.into(),
                2 => data.word.into(),
                3 => data.double,
                _ => data.quad[0],
            }
        }
    }
}

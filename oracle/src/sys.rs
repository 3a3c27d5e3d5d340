// SPDX-License-Identifier: GPL-2.0-or-later
//! Bindings to QEMU's plugin interface: `include/plugins/qemu-plugin.h`, which was `include/qemu/qemu-plugin.h` before
//! QEMU 11. The module `api` contains everything in which the supported versions, 4 and 7, differ.
//!
//! A guest with one processor has one thread that runs its code, and all callbacks come from that thread. QEMU installs
//! the plugin before the thread starts. The plugin's state therefore needs no lock.

mod api;
mod guest;

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::marker::PhantomData;

use crate::arch::{Caching, Marker, Owner, Watched};
use crate::plugin::Plugin;
use crate::session::API;
use crate::translations::Place;
pub use guest::{GuestMemory, Processor, Ram, Registers};

/// Version of the interface that the plugin was built for. QEMU looks up this symbol.
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

/// `struct qemu_plugin_tb`, which is opaque.
enum RawBlock {}
/// `struct qemu_plugin_insn`, which is opaque.
enum RawInstruction {}
/// `struct qemu_plugin_hwaddr`, which is opaque.
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

/// `enum qemu_plugin_cb_flags`: the callback reads no registers, or may read them.
const NO_REGISTERS: c_int = 0;
const REGISTERS: c_int = 1;
/// `enum qemu_plugin_mem_rw`.
const READS: c_int = 1;
const WRITES: c_int = 2;

type OnRun = extern "C" fn(c_uint, *mut c_void);
type OnMemory = extern "C" fn(c_uint, u32, u64, *mut c_void);

unsafe extern "C" {
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
    fn qemu_plugin_insn_haddr(instruction: *const RawInstruction) -> *const c_void;
}

/// The running QEMU.
pub struct Info {
    /// Name of the emulated instruction set, as in `qemu-system-NAME`.
    pub target: String,
    /// Number of processors of the guest.
    pub cpus: i32,
}

/// The plugin, with the ID that QEMU assigned to it.
struct Installed(UnsafeCell<Option<(Id, Plugin)>>);

// SAFETY: written once, before there are other threads, then used only by the thread that runs the guest; see the
// module.
unsafe impl Sync for Installed {}

static INSTALLED: Installed = Installed(UnsafeCell::new(None));

/// Calls `work` with the plugin, if it is installed.
fn with<T>(work: impl FnOnce(Id, &mut Plugin) -> T) -> Option<T> {
    // SAFETY: all callbacks come from one thread, and they do not nest: there is no other reference.
    let installed = unsafe { &mut *INSTALLED.0.get() };
    installed.as_mut().map(|(id, plugin)| work(*id, plugin))
}

/// Installs the plugin. QEMU calls this function once, when it starts, and exits if the result is not 0.
///
/// # Safety
/// The arguments must be as QEMU's header describes them.
#[unsafe(no_mangle)]
unsafe extern "C" fn qemu_plugin_install(
    id: Id,
    info: *const RawInfo,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    // SAFETY: QEMU keeps both valid during this call.
    let (raw, name) = unsafe { (&*info, CStr::from_ptr((*info).target_name)) };
    if !raw.system_emulation {
        eprintln!("oracle: this QEMU emulates user programs, not a machine; use qemu-system-NAME");
        return 1;
    }
    let info = Info { target: name.to_string_lossy().into_owned(), cpus: raw.smp_vcpus };
    let argument = |index: c_int| {
        // SAFETY: QEMU passes `argc` strings.
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
    // SAFETY: no callback is registered, and the thread that runs the guest has not started.
    unsafe { *INSTALLED.0.get() = Some((id, plugin)) };
    register(id);
    0
}

/// Registers the callback for translated blocks, if the plugin needs it.
fn register(id: Id) {
    if with(|_, plugin| plugin.listens()) == Some(true) {
        api::on_translation(id);
    }
}

/// Makes QEMU translate all blocks again, if `needed`.
fn retranslate(id: Id, needed: bool) {
    if needed {
        api::reset(id);
    }
}

/// Handles the reset of the plugin, after which no callback is registered.
fn on_reset() {
    if let Some(id) = with(|id, _| id) {
        register(id);
    }
}

/// Handles the translation of a block.
fn on_block(block: *const RawBlock) {
    let block = Block { raw: block, life: PhantomData };
    with(|_, plugin| plugin.translate(&block));
}

/// Handles a marker. The trampoline `oracle_on_marker` passes `state`, the address of QEMU's processor state, which
/// translated code keeps in a fixed register of the host. `state` is null if that register is unknown for this host.
extern "C" fn on_marker(_: c_uint, data: *mut c_void, state: *const u64) {
    let marker = match data as usize {
        0 => Marker::Open,
        1 => Marker::Close,
        _ => Marker::Known,
    };
    // SAFETY: the trampoline passes the processor state or null.
    let processor = unsafe { Processor::at(state) };
    with(|id, plugin| retranslate(id, plugin.marker(marker, processor)));
}

// TCG_AREG0 in QEMU's tcg/x86_64/tcg-target.h is rbp. The third argument of a call is passed in rdx.
#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".globl oracle_on_marker",
    ".hidden oracle_on_marker",
    "oracle_on_marker:",
    "mov rdx, rbp",
    "jmp {on_marker}",
    on_marker = sym on_marker,
);

// TCG_AREG0 in QEMU's tcg/aarch64/tcg-target.h is x19. The third argument of a call is passed in x2.
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

extern "C" fn on_maintenance(_: c_uint, pc: *mut c_void) {
    with(|id, plugin| retranslate(id, plugin.maintain(pc as u64)));
}

extern "C" fn on_switch(_: c_uint, pc: *mut c_void) {
    with(|_, plugin| plugin.switch(pc as u64));
}

extern "C" fn on_payload(_: c_uint, raw: u32, address: u64, _: *mut c_void) {
    let memory = Memory { raw, address };
    with(|id, plugin| retranslate(id, plugin.payload(&memory)));
}

/// Handles an access. The constants are known when the instruction is translated: the direction, the owner of the code
/// as an index of [`OWNERS`], and the use of the cache as an index of [`CACHINGS`]. To determine them again for each
/// access would take time.
extern "C" fn on_access<const STORE: bool, const OWNER: usize, const CACHING: usize>(
    _: c_uint,
    raw: u32,
    address: u64,
    pc: *mut c_void,
) {
    let memory = Memory { raw, address };
    with(|id, plugin| {
        let again = plugin.access(pc as u64, memory, STORE, OWNERS[OWNER], CACHINGS[CACHING]);
        retranslate(id, again);
    });
}

/// Returns the callbacks for loads and for stores by the code of `owner`.
fn on_accesses<const CACHING: usize>(owner: Owner) -> (OnMemory, OnMemory) {
    match owner {
        Owner::Process => (on_access::<false, 0, CACHING>, on_access::<true, 0, CACHING>),
        Owner::Kernel => (on_access::<false, 1, CACHING>, on_access::<true, 1, CACHING>),
        Owner::KernelStack => (on_access::<false, 2, CACHING>, on_access::<true, 2, CACHING>),
    }
}

/// Values of the parameter `OWNER` of [`on_access`].
const OWNERS: [Owner; 3] = [Owner::Process, Owner::Kernel, Owner::KernelStack];

/// Values of the parameter `CACHING` of [`on_access`].
const CACHINGS: [Caching; 3] = [Caching::Allocate, Caching::NoAllocate, Caching::Bypass];

/// A block of code during its translation.
pub struct Block<'t> {
    raw: *const RawBlock,
    life: PhantomData<&'t RawBlock>,
}

impl<'t> Block<'t> {
    /// Returns the instructions of the block, in order.
    pub fn instructions(&self) -> impl Iterator<Item = Instruction<'t>> {
        // SAFETY: the pointer is valid while QEMU translates the block.
        let count = unsafe { qemu_plugin_tb_n_insns(self.raw) };
        (0..count).map(|index| Instruction {
            // SAFETY: as above, and the block has `count` instructions.
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
    /// Returns the virtual address of the instruction.
    pub fn address(&self) -> u64 {
        // SAFETY: the pointer is valid while QEMU translates the block.
        unsafe { qemu_plugin_insn_vaddr(self.raw) }
    }

    /// Returns the bytes of the instruction in memory order, if there are four.
    pub fn bytes(&self) -> Option<[u8; 4]> {
        let mut bytes = [0; 4];
        // SAFETY: as above, and the buffer has the size that is passed.
        let whole = unsafe {
            qemu_plugin_insn_size(self.raw) == bytes.len()
                && qemu_plugin_insn_data(self.raw, bytes.as_mut_ptr().cast(), bytes.len())
                    == bytes.len()
        };
        whole.then_some(bytes)
    }

    /// Makes QEMU call [`Plugin::marker`] when the instruction runs.
    pub fn on_marker(&self, marker: Marker) {
        let number: usize = match marker {
            Marker::Open => 0,
            Marker::Close => 1,
            Marker::Known => 2,
        };
        let data = number as *mut c_void;
        // SAFETY: as above, and the callback takes `data` as a number, not as a pointer.
        unsafe {
            qemu_plugin_register_vcpu_insn_exec_cb(self.raw, oracle_on_marker, REGISTERS, data)
        }
    }

    /// Makes QEMU call [`Plugin::maintain`] before the instruction runs.
    pub fn on_maintenance(&self) {
        let data = self.address() as *mut c_void;
        // SAFETY: as above, and the callback takes `data` as a number, not as a pointer.
        unsafe { qemu_plugin_register_vcpu_insn_exec_cb(self.raw, on_maintenance, REGISTERS, data) }
    }

    /// Makes QEMU call [`Plugin::switch`] before the instruction runs.
    pub fn on_switch(&self) {
        let data = self.address() as *mut c_void;
        // SAFETY: as above, and the callback takes `data` as a number, not as a pointer.
        unsafe { qemu_plugin_register_vcpu_insn_exec_cb(self.raw, on_switch, REGISTERS, data) }
    }

    /// Returns the guest's memory, in which this instruction is at `physical`.
    pub fn ram(&self, physical: u64) -> Option<Ram> {
        Ram::around(self.host(), physical)
    }

    /// Returns the address of the instruction in the memory of QEMU.
    pub fn host(&self) -> usize {
        // SAFETY: as above.
        unsafe { qemu_plugin_insn_haddr(self.raw) as usize }
    }

    /// Makes QEMU call [`Plugin::payload`] for the stores of the instruction.
    pub fn on_payload(&self) {
        self.on_memory(on_payload, WRITES, NO_REGISTERS, 0);
    }

    /// Makes QEMU call [`Plugin::access`] for the accesses of the instruction that are `watched`. `owner` is the owner
    /// of the instruction.
    pub fn on_access(&self, owner: Owner, caching: Caching, watched: Watched) {
        let (on_load, on_store) = match caching {
            Caching::Allocate => on_accesses::<0>(owner),
            Caching::NoAllocate => on_accesses::<1>(owner),
            Caching::Bypass => on_accesses::<2>(owner),
        };
        // A backtrace needs registers. They are in memory anyway before an access, which may cause an exception.
        let flags = match owner {
            Owner::Process => NO_REGISTERS,
            Owner::Kernel | Owner::KernelStack => REGISTERS,
        };
        if watched == Watched::All {
            self.on_memory(on_load, READS, flags, self.address());
        }
        if watched != Watched::Nothing {
            self.on_memory(on_store, WRITES, flags, self.address());
        }
    }

    fn on_memory(&self, callback: OnMemory, accesses: c_int, flags: c_int, data: u64) {
        let data = data as *mut c_void;
        // SAFETY: as above, and the callback takes `data` as a number, not as a pointer.
        unsafe { qemu_plugin_register_vcpu_mem_cb(self.raw, callback, flags, accesses, data) }
    }
}

/// A memory access that the guest has just made.
#[derive(Clone, Copy)]
pub struct Memory {
    raw: u32,
    address: u64,
}

impl Memory {
    /// Returns the virtual address of the first byte, including what QEMU adds to it, such as the address space.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Returns true for a store, false for a load.
    pub fn store(&self) -> bool {
        qemu_plugin_mem_is_store(self.raw)
    }

    /// Returns a number that is the same for all accesses of the same size and state of the MMU: QEMU's `MemOpIdx`.
    #[inline(always)]
    pub fn kind(&self) -> u32 {
        self.raw & 0xffff
    }

    /// Returns the target of the access if it is memory, not a device.
    #[inline(always)]
    pub fn place(&self) -> Option<Place> {
        // SAFETY: called from the callback of this access, as QEMU requires, and null is handled.
        unsafe {
            let physical = qemu_plugin_get_hwaddr(self.raw, self.address);
            if physical.is_null() || qemu_plugin_hwaddr_is_io(physical) {
                return None;
            }
            let size = 1 << qemu_plugin_mem_size_shift(self.raw);
            Some(Place { physical: qemu_plugin_hwaddr_phys_addr(physical), size })
        }
    }

    /// Returns the lower 64 bits of the value that was loaded or stored.
    pub fn value(&self) -> u64 {
        let RawValue { kind, data } = qemu_plugin_mem_get_value(self.raw);
        // SAFETY: `kind`, an `enum qemu_plugin_mem_value_type`, selects the valid field.
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

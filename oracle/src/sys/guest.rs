// SPDX-License-Identifier: GPL-2.0-or-later
//! State of the guest: its memory, its registers, and QEMU's processor state.

use std::ffi::{CStr, c_int, c_uint, c_void};
use std::ops::Range;

use super::api::RawRegister;

unsafe extern "C" {
    fn qemu_plugin_get_registers() -> *const RawArray<RawRegister>;
    /// Returns a number up to version 5 and a Boolean from version 6 on. Nothing is read from its result.
    fn qemu_plugin_read_register(register: *mut c_void, into: *mut RawArray<u8>) -> c_int;
    fn qemu_plugin_read_memory_vaddr(address: u64, into: *mut RawArray<u8>, length: usize) -> bool;
    /// From GLib, which QEMU links.
    fn g_byte_array_new() -> *mut RawArray<u8>;
    fn g_byte_array_set_size(array: *mut RawArray<u8>, length: c_uint);
}

/// GLib's `GArray` and `GByteArray`.
#[repr(C)]
struct RawArray<T> {
    data: *const T,
    length: c_uint,
}

/// The guest's memory, which is a contiguous mapping in QEMU.
#[derive(Clone, Debug)]
pub struct Ram {
    /// Address in QEMU of physical address 0, which need not be mapped.
    zero: usize,
    /// Addresses of the mapping in QEMU.
    mapped: Range<usize>,
}

impl Ram {
    /// Returns the mapping of QEMU that contains `here`, the address of `physical` in the guest.
    pub(super) fn around(here: usize, physical: u64) -> Option<Ram> {
        let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
        let mut mapped = maps.lines().filter_map(readable);
        Some(Ram {
            zero: here.wrapping_sub(physical as usize),
            mapped: mapped.find(|mapped| mapped.contains(&here))?,
        })
    }

    /// Reads the little-endian word at a physical address. Returns `None` if there is no memory.
    pub fn word(&self, physical: u64) -> Option<u32> {
        let place = self.zero.wrapping_add(physical as usize);
        let inside = place >= self.mapped.start && place < self.mapped.end - size_of::<u32>();
        if !inside || place % align_of::<u32>() != 0 {
            return None;
        }
        // SAFETY: the word is mapped and aligned. QEMU never unmaps the guest's memory, and the guest's processor is
        // stopped during a callback.
        Some(u32::from_le(unsafe { (place as *const u32).read_volatile() }))
    }
}

/// The guest's memory by virtual address, as the guest's processor would read it now.
pub struct GuestMemory {
    buffer: *mut RawArray<u8>,
}

impl Default for GuestMemory {
    fn default() -> GuestMemory {
        // SAFETY: the function takes no arguments.
        GuestMemory { buffer: unsafe { g_byte_array_new() } }
    }
}

impl GuestMemory {
    /// Reads memory into `bytes`. Returns false if nothing is mapped there. Must be called from a callback that may
    /// read registers. Takes about a microsecond.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        // SAFETY: GLib returned the buffer, and QEMU sets its size.
        let read = unsafe {
            if !qemu_plugin_read_memory_vaddr(address, self.buffer, bytes.len()) {
                return false;
            }
            std::slice::from_raw_parts((*self.buffer).data, (*self.buffer).length as usize)
        };
        if read.len() != bytes.len() {
            return false;
        }
        bytes.copy_from_slice(read);
        true
    }
}

/// Returns the addresses in a line of `/proc/self/maps`, if the mapping is readable.
fn readable(line: &str) -> Option<Range<usize>> {
    let (addresses, rest) = line.split_once(' ')?;
    let (start, end) = addresses.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    rest.starts_with('r').then_some(number(start)?..number(end)?)
}

/// Registers of the guest's processor that QEMU exposes to plugins.
pub struct Registers {
    handles: Vec<*mut c_void>,
    buffer: *mut RawArray<u8>,
}

impl Registers {
    /// Finds registers by name. Returns `None` if one is missing. Must be called from a callback.
    pub fn find(names: &[&str]) -> Option<Registers> {
        // SAFETY: called from a callback, as QEMU requires. QEMU leaves the list and its strings to the caller, which
        // never frees them.
        let known = unsafe {
            let list = qemu_plugin_get_registers();
            if list.is_null() || (*list).data.is_null() {
                return None;
            }
            std::slice::from_raw_parts((*list).data, (*list).length as usize)
        };
        let handle = |name: &&str| {
            let of_name = |one: &&RawRegister| {
                // SAFETY: the string belongs to the list; see above.
                let text = unsafe { CStr::from_ptr(one.name) };
                text.to_bytes() == name.as_bytes()
            };
            known.iter().find(of_name).map(|one| one.handle)
        };
        Some(Registers {
            handles: names.iter().map(handle).collect::<Option<_>>()?,
            // SAFETY: the function takes no arguments.
            buffer: unsafe { g_byte_array_new() },
        })
    }

    /// Reads the register at `index` in the list of names, as a little-endian number. Must be called from a callback
    /// that may read registers.
    pub fn read(&self, index: usize) -> Option<u64> {
        self.bytes(index, |bytes| bytes.iter().rev().fold(0, append))
    }

    /// Reads a register of a big-endian guest, as [`Registers::read`] does.
    pub fn read_big_endian(&self, index: usize) -> Option<u64> {
        self.bytes(index, |bytes| bytes.iter().fold(0, append))
    }

    fn bytes(&self, index: usize, number: impl FnOnce(&[u8]) -> u64) -> Option<u64> {
        let handle = *self.handles.get(index)?;
        // SAFETY: QEMU returned the handle, and GLib the buffer. QEMU appends to the buffer.
        let bytes = unsafe {
            g_byte_array_set_size(self.buffer, 0);
            qemu_plugin_read_register(handle, self.buffer);
            std::slice::from_raw_parts((*self.buffer).data, (*self.buffer).length as usize)
        };
        matches!(bytes.len(), 4 | 8).then(|| number(bytes))
    }
}

/// Appends a byte to a number.
fn append(number: u64, byte: &u8) -> u64 {
    number << 8 | u64::from(*byte)
}

/// QEMU's state of the guest's processor (`CPUArchState`), as words of 64 bits.
#[derive(Clone, Copy, Debug)]
pub struct Processor {
    /// Null if the address is unknown.
    state: *const u64,
}

/// Number of words that are read. The state of every machine is longer, and the general registers are near its start.
const WORDS: usize = 128;

/// Minimum size in bytes of the state of machines with register windows. Only the state of these machines contains a
/// pointer to registers.
const WINDOWED_STATE: usize = 4096;

impl Processor {
    /// Returns the processor with the state at `state`.
    ///
    /// # Safety
    /// `state` must be null, or the state of the guest's only processor.
    pub(super) unsafe fn at(state: *const u64) -> Processor {
        Processor { state }
    }

    /// Returns the first words of the state, or nothing if its address is unknown. Must be called from a callback.
    pub fn state(&self) -> &[u64] {
        match self.state.is_null() {
            true => &[],
            // SAFETY: `at` requires a valid state. QEMU never frees the state of the only processor, which is stopped
            // during a callback.
            false => unsafe { std::slice::from_raw_parts(self.state, WORDS) },
        }
    }

    /// Returns the two words behind the pointer at `index`, if that points into the state itself.
    pub fn behind(&self, index: usize) -> Option<[u64; 2]> {
        Some([self.word_behind(index, 0)?, self.word_behind(index, 1)?])
    }

    /// Returns the word that is `words` after the one to which the pointer at `index` points, if both are in the state
    /// itself.
    pub fn word_behind(&self, index: usize, words: i64) -> Option<u64> {
        let pointer = *self.state().get(index)? as usize;
        let start = self.state as usize;
        let place = pointer.wrapping_add_signed(8 * words as isize);
        let inside = |place| place > start && place < start + WINDOWED_STATE - 8;
        if !inside(pointer) || !inside(place) || place % align_of::<u64>() != 0 {
            return None;
        }
        // SAFETY: the word lies inside the state; see above.
        Some(unsafe { *(place as *const u64) })
    }

    /// Returns the distance of the word to which the pointer at `index` points from the start of the state, in words.
    pub fn distance(&self, index: usize) -> Option<i64> {
        let pointer = *self.state().get(index)?;
        Some((pointer as i64).wrapping_sub(self.state as i64) / 8)
    }
}

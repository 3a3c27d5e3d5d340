// SPDX-License-Identifier: GPL-2.0-or-later
//! What is looked at inside the guest and QEMU: memory, registers, and QEMU's own record of the processor.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ops::Range;

unsafe extern "C" {
    fn qemu_plugin_get_registers() -> *const RawArray<RawRegister>;
    fn qemu_plugin_read_register(register: *mut c_void, into: *mut RawArray<u8>) -> c_int;
    /// Of GLib, which QEMU brings.
    fn g_byte_array_new() -> *mut RawArray<u8>;
    fn g_byte_array_set_size(array: *mut RawArray<u8>, length: c_uint);
}

/// GLib's `GArray` and `GByteArray`.
#[repr(C)]
struct RawArray<T> {
    data: *const T,
    length: c_uint,
}

/// `qemu_plugin_reg_descriptor`.
#[repr(C)]
struct RawRegister {
    handle: *mut c_void,
    name: *const c_char,
    feature: *const c_char,
}

/// The guest's memory as QEMU has it: one piece of QEMU's own, with one offset between the two.
#[derive(Clone, Debug)]
pub struct Ram {
    /// Where the byte with physical address 0 is, or would be.
    zero: usize,
    /// QEMU's own addresses of the piece.
    mapped: Range<usize>,
}

impl Ram {
    /// The piece that QEMU has at `here`, which is `physical` in the guest.
    pub(super) fn around(here: usize, physical: u64) -> Option<Ram> {
        let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
        let mut mapped = maps.lines().filter_map(readable);
        Some(Ram {
            zero: here.wrapping_sub(physical as usize),
            mapped: mapped.find(|mapped| mapped.contains(&here))?,
        })
    }

    /// The little-endian word at a physical address, as the guest has it now; `None` where there is no memory.
    pub fn word(&self, physical: u64) -> Option<u32> {
        let place = self.zero.wrapping_add(physical as usize);
        let inside = place >= self.mapped.start && place < self.mapped.end - size_of::<u32>();
        if !inside || place % align_of::<u32>() != 0 {
            return None;
        }
        // SAFETY: it is mapped and aligned; QEMU keeps the guest's memory for as long as it runs, and the guest's
        // processor stands still during a callback.
        Some(u32::from_le(unsafe {
            (place as *const u32).read_volatile()
        }))
    }
}

/// The addresses in a line of `/proc/self/maps`, if they can be read.
fn readable(line: &str) -> Option<Range<usize>> {
    let (addresses, rest) = line.split_once(' ')?;
    let (start, end) = addresses.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    rest.starts_with('r')
        .then_some(number(start)?..number(end)?)
}

/// Registers of the guest's processor, of those that QEMU shows to plugins.
pub struct Registers {
    handles: Vec<*mut c_void>,
    buffer: *mut RawArray<u8>,
}

impl Registers {
    /// Those with the names; `None` if one is missing. To be called from a callback.
    pub fn find(names: &[&str]) -> Option<Registers> {
        // SAFETY: a callback is under way, as QEMU asks for. The list is ours and stays; a text for each is in it.
        let known = unsafe {
            let list = qemu_plugin_get_registers();
            if list.is_null() || (*list).data.is_null() {
                return None;
            }
            std::slice::from_raw_parts((*list).data, (*list).length as usize)
        };
        let handle = |name: &&str| {
            let of_name = |one: &&RawRegister| {
                // SAFETY: as above.
                let text = unsafe { CStr::from_ptr(one.name) };
                text.to_bytes() == name.as_bytes()
            };
            known.iter().find(of_name).map(|one| one.handle)
        };
        Some(Registers {
            handles: names.iter().map(handle).collect::<Option<_>>()?,
            // SAFETY: nothing is passed.
            buffer: unsafe { g_byte_array_new() },
        })
    }

    /// The little-endian content of the register that was named at `index`, from a callback that may look at registers.
    pub fn read(&self, index: usize) -> Option<u64> {
        let handle = *self.handles.get(index)?;
        // SAFETY: the handle is QEMU's own, the buffer GLib's; QEMU appends to it.
        let bytes = unsafe {
            g_byte_array_set_size(self.buffer, 0);
            qemu_plugin_read_register(handle, self.buffer);
            std::slice::from_raw_parts((*self.buffer).data, (*self.buffer).length as usize)
        };
        let of_64 = |bytes: &[u8]| {
            bytes
                .iter()
                .rev()
                .fold(0, |sum, &byte| sum << 8 | u64::from(byte))
        };
        matches!(bytes.len(), 4 | 8).then(|| of_64(bytes))
    }
}

/// QEMU's record of the guest's processor, by words of 64 bits.
#[derive(Clone, Copy, Debug)]
pub struct Processor {
    /// Null where it is not known.
    record: *const u64,
}

/// How much of the record is looked at. On all machines it is longer, and general registers are near its start.
const LOOKED_AT: usize = 128;

impl Processor {
    /// The record is at `record`, or nowhere.
    ///
    /// # Safety
    /// If it is not null it is QEMU's record of the guest's one processor.
    pub(super) unsafe fn at(record: *const u64) -> Processor {
        Processor { record }
    }

    /// Its beginning; nothing on a host of which it is not known where the record is. From a callback.
    pub fn record(&self) -> &[u64] {
        match self.record.is_null() {
            true => &[],
            // SAFETY: translated code has the record's address where the trampoline took it from, the guest has one
            // processor, whose record stays, and stands still during a callback.
            false => unsafe { std::slice::from_raw_parts(self.record, LOOKED_AT) },
        }
    }

    /// The two words behind a pointer in the record, if what is at `index` is one into the record itself.
    pub fn behind(&self, index: usize) -> Option<[u64; 2]> {
        let place = *self.record().get(index)? as usize;
        let start = self.record as usize;
        // The record of the one machine that has windows is larger than a page.
        let inside = place > start && place < start + 4096 - 16;
        if !inside || place % align_of::<u64>() != 0 {
            return None;
        }
        // SAFETY: inside the record; see above.
        Some(unsafe { *(place as *const [u64; 2]) })
    }
}

// SPDX-License-Identifier: GPL-2.0-or-later
//! The parts of QEMU's plugin interface in which its versions differ.
//!
//! From version 7 on, every callback gets a pointer that belongs to the plugin, and no longer the plugin's ID. This
//! plugin has a single state and does not need the pointer. The list of registers has a longer element from version 6
//! on.

use std::ffi::{c_char, c_void};

use super::{Id, RawBlock};

/// `qemu_plugin_reg_descriptor`.
#[repr(C)]
pub(super) struct RawRegister {
    /// Handle to read the register.
    pub handle: *mut c_void,
    pub name: *const c_char,
    feature: *const c_char,
    #[cfg(feature = "api-7")]
    is_readonly: bool,
}

#[cfg(not(feature = "api-7"))]
unsafe extern "C" {
    fn qemu_plugin_register_vcpu_tb_trans_cb(id: Id, callback: extern "C" fn(Id, *const RawBlock));
    fn qemu_plugin_reset(id: Id, callback: extern "C" fn(Id));
}

#[cfg(feature = "api-7")]
unsafe extern "C" {
    fn qemu_plugin_register_vcpu_tb_trans_cb(
        id: Id,
        callback: extern "C" fn(*const RawBlock, *mut c_void),
        data: *mut c_void,
    );
    fn qemu_plugin_reset(id: Id, callback: extern "C" fn(*mut c_void), data: *mut c_void);
}

#[cfg(not(feature = "api-7"))]
extern "C" fn on_block(_: Id, block: *const RawBlock) {
    super::on_block(block);
}

#[cfg(feature = "api-7")]
extern "C" fn on_block(block: *const RawBlock, _: *mut c_void) {
    super::on_block(block);
}

#[cfg(not(feature = "api-7"))]
extern "C" fn on_reset(_: Id) {
    super::on_reset();
}

#[cfg(feature = "api-7")]
extern "C" fn on_reset(_: *mut c_void) {
    super::on_reset();
}

/// Registers the callback for translated blocks.
pub(super) fn on_translation(id: Id) {
    // SAFETY: the ID is this plugin's.
    unsafe {
        #[cfg(not(feature = "api-7"))]
        qemu_plugin_register_vcpu_tb_trans_cb(id, on_block);
        #[cfg(feature = "api-7")]
        qemu_plugin_register_vcpu_tb_trans_cb(id, on_block, std::ptr::null_mut());
    }
}

/// Unregisters all callbacks, then calls [`super::on_reset`]. QEMU does both after it has stopped the guest's code.
pub(super) fn reset(id: Id) {
    // SAFETY: the ID is this plugin's.
    unsafe {
        #[cfg(not(feature = "api-7"))]
        qemu_plugin_reset(id, on_reset);
        #[cfg(feature = "api-7")]
        qemu_plugin_reset(id, on_reset, std::ptr::null_mut());
    }
}

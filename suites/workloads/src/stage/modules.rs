// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernel modules. If FUSE and CUSE are modules, the image contains them.

use protocol::modules::{ORDER, path};
use sys::{Errno, MountFlags, exists, load_module, mount, read_text, unload_module, unmount};

use crate::stage::counters::CONNECTIONS;

/// Loads the modules of the image that are not loaded, and mounts the filesystem at [`CONNECTIONS`] if it is not mounted.
///
/// # Errors
/// Fails as finit_module(2) or mount(2).
pub fn load_missing() -> sys::Result<()> {
    for name in names()?.iter().filter(|name| !is_loaded(name)) {
        load(name, "")?;
    }
    match mount("fusectl", CONNECTIONS, "fusectl", MountFlags::default(), "") {
        // It is mounted.
        Err(error) if error.errno == Errno::EBUSY => Ok(()),
        mounted => mounted,
    }
}

/// Returns the names of the modules of the image, in the order in which they can be loaded. Empty if everything is built
/// in.
pub(crate) fn names() -> sys::Result<Vec<String>> {
    if !exists(ORDER) {
        return Ok(Vec::new());
    }
    Ok(read_text(ORDER)?.lines().map(str::to_owned).collect())
}

/// Loads one module. `parameters` are separated by spaces.
pub(crate) fn load(name: &str, parameters: &str) -> sys::Result<()> {
    load_module(&path(name), parameters)
}

/// Returns true if the module is loaded.
pub(crate) fn is_loaded(name: &str) -> bool {
    exists(&format!("/sys/module/{}", in_kernel(name)))
}

/// Unloads one module.
pub(crate) fn unload(name: &str) -> sys::Result<()> {
    unload_module(&in_kernel(name))
}

/// Unmounts the filesystem at [`CONNECTIONS`], if it is mounted. A mounted filesystem uses the module that implements it.
pub(crate) fn unmount_connections() -> sys::Result<()> {
    match unmount(CONNECTIONS) {
        // Nothing is mounted there, or the directory does not exist.
        Err(error) if matches!(error.errno, Errno::EINVAL | Errno::ENOENT) => Ok(()),
        unmounted => unmounted,
    }
}

/// Returns the name of a module in the kernel, which contains `_` for each `-` of the file's name.
fn in_kernel(name: &str) -> String {
    name.replace('-', "_")
}

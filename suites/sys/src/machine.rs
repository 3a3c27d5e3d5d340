// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine as a whole.

use crate::backend::machine as backend;
use crate::errno::{Context, Result};
use crate::file::{Fd, OpenFlags};

/// Identification of the running kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uname {
    /// Release, as `uname -r` prints it.
    pub release: String,
    /// Machine, as `uname -m` prints it.
    pub machine: String,
}

/// Identifies the running kernel.
///
/// # Errors
/// Fails as uname(2).
pub fn uname() -> Result<Uname> {
    let (release, machine) = backend::uname().context(|| "uname".into())?;
    Ok(Uname { release, machine })
}

/// Returns the page size in bytes.
pub fn page_size() -> usize {
    backend::page_size()
}

/// Returns true if the kernel is big-endian.
pub fn big_endian() -> bool {
    backend::big_endian()
}

/// Flushes all filesystems to their storage.
pub fn sync() {
    backend::sync();
}

/// Loads the kernel module in the file at `path`. `parameters` are separated by spaces, as in `limit=5 name=x`.
///
/// # Errors
/// Fails as open(2) or finit_module(2).
pub fn load_module(path: &str, parameters: &str) -> Result<()> {
    let file = Fd::open(path, OpenFlags::READ)?;
    backend::load_module(file.number(), parameters).context(|| format!("load the module {path}"))
}

/// Unloads the kernel module `name`.
///
/// # Errors
/// Fails as delete_module(2): with EAGAIN if the module is in use.
pub fn unload_module(name: &str) -> Result<()> {
    backend::unload_module(name).context(|| format!("unload the module {name}"))
}

/// Restarts the machine.
///
/// # Errors
/// Fails as reboot(2). Does not return on success.
pub fn restart() -> Result<()> {
    backend::restart().context(|| "restart the machine".into())
}

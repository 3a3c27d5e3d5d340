// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine as a whole.

use crate::backend::machine as backend;
use crate::errno::{Context, Result};

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

/// Restarts the machine.
///
/// # Errors
/// Fails as reboot(2). Does not return on success.
pub fn restart() -> Result<()> {
    backend::restart().context(|| "restart the machine".into())
}

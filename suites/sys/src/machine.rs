// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine as a whole.

use crate::backend::machine as backend;
use crate::errno::{During, Result};

/// What the running kernel says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uname {
    /// `uname -r`.
    pub release: String,
    /// `uname -m`.
    pub machine: String,
}

/// What the running kernel says it is.
///
/// # Errors
/// What uname(2) says.
pub fn uname() -> Result<Uname> {
    let (release, machine) = backend::uname().during(|| "uname".into())?;
    Ok(Uname { release, machine })
}

/// Bytes in a page.
pub fn page_size() -> usize {
    backend::page_size()
}

/// True if the kernel keeps the highest byte of a number first.
pub fn big_endian() -> bool {
    backend::big_endian()
}

/// Writes everything to disk.
pub fn sync() {
    backend::sync();
}

/// Restarts the machine.
///
/// # Errors
/// What reboot(2) says; on success it does not return.
pub fn restart() -> Result<()> {
    backend::restart().during(|| "restart the machine".into())
}

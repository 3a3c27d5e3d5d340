// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads, which WebAssembly does not have.

use super::SysResult;

pub(crate) const HAS_THREADS: bool = false;

pub(crate) fn run_threads(_count: usize, body: &(dyn Fn(usize) + Sync)) -> SysResult<()> {
    body(0);
    Ok(())
}

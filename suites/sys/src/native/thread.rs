// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads.

use std::thread::{Builder, scope};

use super::{SysResult, errno_of};

pub(crate) const HAS_THREADS: bool = true;

pub(crate) fn run_threads(count: usize, body: &(dyn Fn(usize) + Sync)) -> SysResult<()> {
    scope(|scope| {
        for index in 1..count {
            let thread = Builder::new().spawn_scoped(scope, move || body(index));
            thread.map_err(|error| errno_of(&error))?;
        }
        body(0);
        Ok(())
    })
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Opens and closes the windows of the emulator's cache oracle: three windows that check the oracle, then one for each
//! case. There are no windows unless the kernel's command line contains `dmmap.oracle=1`.

use oracle_wire::window;
use protocol::plan::Plan;
use sys::{Errno, Mapping, Prot, Sharing};

use crate::boot;

/// The oracle, which may be absent.
#[derive(Clone, Copy)]
pub struct Oracle {
    on: bool,
}

impl Oracle {
    /// No oracle.
    pub const OFF: Oracle = Oracle { on: false };

    /// Reads the command line, and runs the windows that check the oracle.
    ///
    /// # Errors
    /// A system call failed in one of these windows.
    pub fn start(plan: &Plan) -> Result<Oracle, String> {
        let on = boot::parameter("dmmap.oracle").is_some_and(|value| value == "1");
        let oracle = Oracle { on };
        // A plan without cases needs no oracle, and does not contain the period of the colours.
        if let (true, Some(case)) = (on, plan.cases.first()) {
            oracle.check(case.period).map_err(|error| format!("check the oracle: {error}"))?;
        }
        Ok(oracle)
    }

    /// Runs `work` in the window of the case at `index` of the plan.
    pub fn in_case_window<T>(self, index: usize, work: impl FnOnce() -> T) -> T {
        self.in_window(window::of_case(index), work)
    }

    fn in_window<T>(self, id: u32, work: impl FnOnce() -> T) -> T {
        if self.on {
            sys::oracle::open(id);
        }
        let done = work();
        if self.on {
            sys::oracle::close();
        }
        done
    }

    fn check(self, period: u64) -> sys::Result<()> {
        self.in_window(window::SELF_CHECK, name_page)?;
        self.in_window(window::COHERENT, || use_two_mappings(period, 0, Sharing::Shared))?;
        // A private read-only mapping also shows the file's page, but no store can go through it. The kernel therefore
        // chooses no matching colour for it and, with virtual tags, does not make it uncached.
        let next_colour = sys::page_size() as u64;
        self.in_window(window::INCOHERENT, || {
            use_two_mappings(period, next_colour, Sharing::Private)
        })
    }
}

/// Names the physical address of a page, according to the kernel.
fn name_page() -> sys::Result<()> {
    let page = sys::page_size();
    let mapping = Mapping::anonymous(page, Prot::ReadWrite)?;
    mapping.store(0, 0u8);
    sys::oracle::known(&mapping, physical(&mapping)?);
    Ok(())
}

/// Returns the physical address of the first byte of a mapping, which this process has touched.
fn physical(mapping: &Mapping) -> sys::Result<u64> {
    let frame = mapping.frame(0)?.ok_or_else(|| sys::Error {
        what: "find the page of a mapping in /proc/self/pagemap".into(),
        errno: Errno::ENODATA,
    })?;
    Ok(frame * sys::page_size() as u64)
}

/// Stores to a page through one mapping, and loads before and after each store through another. The address of the
/// second mapping is `apart` bytes above that of the first, modulo `period`.
fn use_two_mappings(period: u64, apart: u64, sharing: Sharing) -> sys::Result<()> {
    let page = sys::page_size();
    let file = sys::memfd("oracle", page as u64)?;
    // PA-RISC assigns one colour to each file and rejects shared mappings in any other.
    let writer = Mapping::of(&file, 0, page, Prot::ReadWrite, Sharing::Shared)?;
    let place = ((writer.address() + apart) % period, period);
    let reader = Mapping::of_at(&file, 0, page, Prot::Read, sharing, place)?;
    for value in 1..=2u32 {
        let _: u32 = reader.load(0);
        writer.store(0, value);
        let _: u32 = reader.load(0);
    }
    Ok(())
}

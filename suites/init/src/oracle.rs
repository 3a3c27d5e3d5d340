// SPDX-License-Identifier: MIT OR Apache-2.0
//! Windows for a cache oracle beside the emulator: one around each case, and before them all some in which it can show
//! that it sees what it should. Only where the kernel's command line says `dmmap.oracle=1`; else nothing is said.

use oracle_wire::window;
use protocol::plan::Plan;
use sys::{Errno, Mapping, Prot, Sharing};

use crate::boot;

/// Whether there are windows.
#[derive(Clone, Copy)]
pub struct Oracle {
    on: bool,
}

impl Oracle {
    /// Nobody listens.
    pub const OFF: Oracle = Oracle { on: false };

    /// Looks at the command line, and goes through the windows before the cases.
    pub fn start(plan: &Plan) -> Result<Oracle, String> {
        let on = boot::parameter("dmmap.oracle").is_some_and(|value| value == "1");
        let oracle = Oracle { on };
        // A plan without cases has nothing to be found in, and does not say where colours repeat.
        if let (true, Some(case)) = (on, plan.cases.first()) {
            oracle
                .show(case.period)
                .map_err(|error| format!("windows for the oracle: {error}"))?;
        }
        Ok(oracle)
    }

    /// Runs `work` in the window of the plan's case `index`.
    pub fn around<T>(self, index: usize, work: impl FnOnce() -> T) -> T {
        self.within(window::of_case(index), work)
    }

    fn within<T>(self, id: u32, work: impl FnOnce() -> T) -> T {
        if self.on {
            sys::oracle::open(id);
        }
        let done = work();
        if self.on {
            sys::oracle::close();
        }
        done
    }

    fn show(self, period: u64) -> sys::Result<()> {
        self.within(window::SELF_CHECK, name_a_page)?;
        self.within(window::COHERENT, || use_twice(period, 0, Sharing::Shared))?;
        // Read-only and private: the kernel shares the page all the same, and cares for no colours, as nobody could
        // store to it through this mapping. Where tags are virtual it is not made uncached for the same reason.
        let next_colour = sys::page_size() as u64;
        self.within(window::INCOHERENT, || {
            use_twice(period, next_colour, Sharing::Private)
        })
    }
}

/// Says where in memory a page is, by the kernel's own table.
fn name_a_page() -> sys::Result<()> {
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

/// Stores to a page through one mapping and loads it, before and after, through another whose colour is `apart` bytes
/// away.
fn use_twice(period: u64, apart: u64, sharing: Sharing) -> sys::Result<()> {
    let page = sys::page_size();
    let file = sys::memfd("oracle", page as u64)?;
    // PA-RISC has a colour for each file, and takes no other for what is shared.
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

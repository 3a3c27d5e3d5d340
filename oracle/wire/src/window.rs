// SPDX-License-Identifier: MIT OR Apache-2.0
//! Window numbers. A window is a span of the guest's execution, and each finding belongs to one window.
//!
//! The first three windows run before the cases and check the oracle itself.

/// The guest names an address whose physical address it knows.
pub const SELF_CHECK: u32 = 0;

/// The guest uses two coherent mappings of a page. The oracle must find nothing.
pub const COHERENT: u32 = 1;

/// The guest uses two mappings of a page that the kernel does not keep coherent. The oracle must find something.
pub const INCOHERENT: u32 = 2;

/// The first case of a boot's plan. Each further case has the next number.
const FIRST_CASE: u32 = 16;

/// Returns the window of the case at `index` in a boot's plan.
pub fn of_case(index: usize) -> u32 {
    FIRST_CASE + index as u32
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernel modules in the image.

/// Directory of the modules.
pub const DIR: &str = "/modules";

/// File with the names of the modules, one a line, in the order in which they can be loaded. Absent if the kernel has no
/// modules.
pub const ORDER: &str = "/modules/order";

/// Returns the path of the module `name`.
pub fn path(name: &str) -> String {
    format!("{DIR}/{name}.ko")
}

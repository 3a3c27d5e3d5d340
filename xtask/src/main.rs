// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask`: see the library's documentation, or `cargo xtask --help`.

fn main() {}

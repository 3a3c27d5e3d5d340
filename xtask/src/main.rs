// SPDX-License-Identifier: MIT OR Apache-2.0
//! host tool
fn main() {}

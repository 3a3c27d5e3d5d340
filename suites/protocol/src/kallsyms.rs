// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names and addresses of the kernel's functions, which the guest sends as a file.

/// Name of the file. Its lines have the form of `/proc/kallsyms`.
pub const FILE: &str = "kallsyms";

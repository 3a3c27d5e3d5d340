// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs in the image that are cases.

/// Directory of the programs.
pub const DIR: &str = "/programs";

/// Exit status of a program whose checks all held.
pub const PASSED: i32 = 0;

/// Exit status of a program that cannot run on this machine. It is the status that kselftest uses (`KSFT_SKIP`).
pub const SKIPPED: i32 = 4;

/// Returns the path of the program `name`, which may contain a directory.
pub fn path(name: &str) -> String {
    format!("{DIR}/{name}")
}

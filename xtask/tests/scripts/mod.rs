// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shell scripts that stand in for programs.

use std::path::Path;

/// Creates the program `path`, which runs `script` in a shell.
pub fn write(path: &Path, script: &str) {
    // A separate process writes the file. If this process did, children that other tests start meanwhile would inherit
    // the open file, and a file that is open for writing cannot be run.
    let text = format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n");
    let write = "cat >\"$0\" && chmod 755 \"$0\"";
    let writer = duct::cmd!("sh", "-c", write, path).stdin_bytes(text);
    writer.run().unwrap();
}

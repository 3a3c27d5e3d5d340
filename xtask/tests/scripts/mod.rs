// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shell scripts that stand in for programs.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Creates the program `path`, which runs `script` in a shell.
pub fn write(path: &Path, script: &str) {
    // A separate process writes the file. If this process did, children that other tests start meanwhile would inherit
    // the open file, and a file that is open for writing cannot be run.
    let mut writer = Command::new("sh")
        .args(["-c", "cat >\"$0\" && chmod 755 \"$0\""])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let text = format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n");
    let mut stdin = writer.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    assert!(writer.wait().unwrap().success(), "write {}", path.display());
}

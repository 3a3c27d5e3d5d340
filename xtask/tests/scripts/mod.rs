// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shell scripts that play programs.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Makes `path` a program that runs `script` in a shell.
pub fn write(path: &Path, script: &str) {
    // By a process of its own: a file that is open for writing cannot be run, and what this process has open,
    // children that other tests start just then have open too.
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

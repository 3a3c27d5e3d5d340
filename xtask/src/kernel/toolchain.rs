// SPDX-License-Identifier: MIT OR Apache-2.0
//! The compiler and linker a kernel is built with.

use std::io::ErrorKind;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// What the tools say of themselves, which is all that kbuild goes by as well.
#[derive(Debug)]
pub(super) struct Toolchain {
    /// First line of `gcc --version`.
    pub compiler: String,
    /// First line of `ld --version`.
    pub linker: String,
}

impl Toolchain {
    /// Asks the tools whose names begin with `cross`.
    ///
    /// # Errors
    /// One is missing.
    pub(super) fn find(cross: &str) -> Result<Self> {
        Ok(Toolchain {
            compiler: version(&format!("{cross}gcc"))?,
            linker: version(&format!("{cross}ld"))?,
        })
    }
}

fn version(program: &str) -> Result<String> {
    let output = Command::new(program)
        .arg("--version")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(
            "there is no {program} here, which the kernel is built with: \
             `cargo xtask doctor` says what else is missing and which package has it"
        ),
        output => output.with_context(|| format!("run {program} --version"))?,
    };
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().next() {
        Some(line) if output.status.success() => Ok(line.trim().to_owned()),
        _ => bail!("{program} --version failed ({})", output.status),
    }
}

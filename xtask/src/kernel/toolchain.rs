// SPDX-License-Identifier: MIT OR Apache-2.0
//! The compiler and linker a kernel is built with.

use anyhow::{Context, Result};
use xshell::cmd;

use crate::shell;

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
    let sh = shell::here()?;
    let text = shell::read(cmd!(sh, "{program} --version"))
        .with_context(|| format!("get the version of {program}, which builds the kernel"))?;
    let line = text.lines().next();
    line.map(|line| line.trim().to_owned())
        .with_context(|| format!("{program} --version prints nothing"))
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The compiler and linker that build a kernel.

use anyhow::{Context, Result};
use xshell::cmd;

use crate::shell;

/// Versions of compiler and linker. kbuild likewise detects a changed tool only by its version text.
#[derive(Clone, Debug)]
pub(super) struct Toolchain {
    /// First line of `gcc --version`.
    pub compiler: String,
    /// First line of `ld --version`.
    pub linker: String,
}

impl Toolchain {
    /// Reads the versions of the tools with the prefix `cross`.
    ///
    /// # Errors
    /// A tool is missing.
    pub(super) fn find(cross: &str) -> Result<Self> {
        Ok(Toolchain {
            compiler: version(&format!("{cross}gcc"))?,
            linker: version(&format!("{cross}ld"))?,
        })
    }

    /// Reads the versions of clang and its linker.
    ///
    /// # Errors
    /// A tool is missing.
    pub(super) fn llvm() -> Result<Self> {
        Ok(Toolchain { compiler: version("clang")?, linker: version("ld.lld")? })
    }
}

/// Returns the first line that `program --version` prints.
///
/// # Errors
/// The program is missing.
pub(super) fn version(program: &str) -> Result<String> {
    let sh = shell::here()?;
    let text = shell::read(cmd!(sh, "{program} --version"))
        .with_context(|| format!("get the version of {program}, which builds the kernel"))?;
    let line = text.lines().next();
    line.map(|line| line.trim().to_owned())
        .with_context(|| format!("{program} --version prints nothing"))
}

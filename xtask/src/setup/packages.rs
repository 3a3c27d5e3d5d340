// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs the lab needs, whether they are here, and which package has them.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

/// Something the lab needs on the host, and the package that has it on each distribution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Name of the program, as typed; where `files` is given, what a person would call it.
    pub program: String,
    /// Package on Debian and its derivatives.
    pub debian: String,
    /// Package on Fedora.
    pub fedora: String,
    /// Package on Arch Linux.
    pub arch: String,
    /// For a library or a header: the places where distributions put it; one of them suffices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PathBuf>,
}

impl Program {
    /// Where it is, if it is there; `path` is the content of `PATH`.
    pub fn find(&self, path: &OsStr) -> Option<PathBuf> {
        if self.files.is_empty() {
            return find_program(&self.program, path);
        }
        self.files.iter().find(|file| file.exists()).cloned()
    }
}

/// The program called `name` in the first directory of `path` (content of `PATH`) that has it.
pub fn find_program(name: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .map(|dir| dir.join(name))
        .find(|file| {
            file.metadata()
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
}

/// What every target needs: `programs.yaml`, which is part of this program.
///
/// # Errors
/// The file does not parse: names file, line and what was expected.
pub fn common() -> Result<Vec<Program>> {
    let file = Path::new("xtask/src/setup/programs.yaml");
    crate::yaml::parse(include_str!("programs.yaml"), file)
}

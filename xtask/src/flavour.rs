// SPDX-License-Identifier: MIT OR Apache-2.0
//! Flavours: overlays on a kernel's configuration, read from `kernel-configs/flavours/*.yaml`.

use std::path::Path;

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{files, yaml};

/// A configuration overlay and its cost in time and memory. Its options are in the `.config` file of the same name.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Flavour {
    /// Name for `--flavour`.
    pub name: String,
    /// Description in one line, for `cargo xtask list`.
    pub about: String,
    /// Factor by which all deadlines are multiplied.
    pub time: f64,
    /// Factor by which the machine's memory is multiplied.
    pub memory: u32,
    /// Additional words for the kernel command line.
    #[serde(default)]
    pub append: Vec<String>,
    /// Directory of the kernel source, relative to its root, that is compiled for coverage. The run ends with a report
    /// of the lines that the patch queue changed there. Needs `CONFIG_GCOV_KERNEL`.
    #[serde(default)]
    pub coverage: Option<String>,
}

/// Reads all flavours in `dir`, sorted by name.
///
/// # Errors
/// A file cannot be read or does not parse. The error names the file, the line and what was expected.
pub(crate) fn load_all(dir: &Path) -> Result<Vec<Flavour>> {
    let files = files::with_extension(dir, "yaml")?;
    let mut flavours: Vec<Flavour> =
        files.iter().map(|file| yaml::read(file)).collect::<Result<_>>()?;
    flavours.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(flavours)
}

/// Returns the flavour called `name`.
///
/// # Errors
/// No such flavour exists. The error lists the existing ones.
pub(crate) fn find<'f>(flavours: &'f [Flavour], name: &str) -> Result<&'f Flavour> {
    match flavours.iter().find(|flavour| flavour.name == name) {
        Some(flavour) => Ok(flavour),
        None => {
            let names: Vec<_> = flavours.iter().map(|f| f.name.as_str()).collect();
            bail!("--flavour {name}: no such flavour; choose one of: {}", names.join(", "))
        }
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Flavours: overlays on a kernel's config, read from `kernel-configs/flavours/*.yaml`.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// A config overlay and what it costs. Its options are in the `.config` file of the same name.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Flavour {
    /// Name, as in `--flavour`.
    pub name: String,
    /// One line for `cargo xtask list`.
    pub about: String,
    /// What deadlines and clocks are multiplied by.
    pub time: f64,
    /// What the machine's memory is multiplied by.
    pub memory: u32,
    /// More words for the kernel command line.
    #[serde(default)]
    pub append: Vec<String>,
    /// A directory of the kernel's source, below its root: the kernel counts how often each line of what the patch queue
    /// has changed there runs. Wants `CONFIG_GCOV_KERNEL`.
    #[serde(default)]
    pub count: Option<String>,
}

/// All flavours in `dir`, by name.
///
/// # Errors
/// A file that cannot be read or does not parse: names file, line and what was expected.
pub(crate) fn load_all(dir: &Path) -> Result<Vec<Flavour>> {
    let mut flavours = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|ext| ext == "yaml") {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("read {}", path.display()))?;
            flavours.push(crate::yaml::parse(&text, &path)?);
        }
    }
    flavours.sort_by(|a: &Flavour, b| a.name.cmp(&b.name));
    Ok(flavours)
}

/// The flavour called `name`.
///
/// # Errors
/// There is none: says which there are.
pub(crate) fn find<'f>(flavours: &'f [Flavour], name: &str) -> Result<&'f Flavour> {
    match flavours.iter().find(|flavour| flavour.name == name) {
        Some(flavour) => Ok(flavour),
        None => {
            let names: Vec<_> = flavours.iter().map(|f| f.name.as_str()).collect();
            bail!(
                "--flavour {name}: no such flavour; there are: {}",
                names.join(", ")
            )
        }
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask man`: manual pages, one for each command.

use std::path::Path;

use anyhow::{Context, Result};
use clap::CommandFactory;

use crate::cli::Cli;
use crate::files;
use crate::output::outln;

/// Name of the first page. `cargo help xtask` shows the page of this name.
const NAME: &str = "cargo-xtask";

/// Writes the pages to `dir`.
///
/// # Errors
/// The directory cannot be created or written to.
pub(super) fn run(dir: &Path) -> Result<()> {
    files::create_dir(dir)?;
    let command = Cli::command().name(NAME).display_name(NAME).bin_name("cargo xtask");
    clap_mangen::generate_to(command, dir)
        .with_context(|| format!("write manual pages to {}", dir.display()))?;
    let pages = files::with_extension(dir, "1")?.len();
    outln!("{pages} manual pages written; read the first: man {}/{NAME}.1", dir.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        run(&dir.path().join("man1")).unwrap();
        let pages = files::with_extension(&dir.path().join("man1"), "1").unwrap();
        let names: Vec<_> = pages.iter().map(|page| page.file_stem().unwrap()).collect();
        for name in ["cargo-xtask", "cargo-xtask-test", "cargo-xtask-queue-check"] {
            assert!(names.contains(&name.as_ref()), "{name}: {names:?}");
        }
        let text = files::read(&dir.path().join("man1/cargo-xtask-test.1")).unwrap();
        assert!(text.contains("\\-\\-oracle\\-depth"), "{text}");
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds the plugin.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::Artifact;

use crate::cargo::Build;

/// Builds `oracle/` for the host and returns the path of the plugin.
///
/// # Errors
/// The build fails. The error contains the compiler's messages.
pub(crate) fn build(checkout: &Path) -> Result<PathBuf> {
    let what = "the oracle (`--oracle off` runs without it)";
    let artifacts = command(checkout).run(checkout, what)?;
    library(&artifacts).context("cargo named no liboracle.so")
}

/// Returns the path that the plugin will have, for display.
pub(crate) fn planned(checkout: &Path) -> PathBuf {
    target_dir(checkout).join("release/liboracle.so")
}

fn target_dir(checkout: &Path) -> PathBuf {
    checkout.join("target/oracle")
}

fn command(checkout: &Path) -> Build {
    Build::new("oracle", &["--release"], &target_dir(checkout))
}

/// Returns the path of the plugin, if an artifact contains it. Procedural macros are shared libraries too.
fn library(artifacts: &[Artifact]) -> Option<PathBuf> {
    let mut files = artifacts.iter().flat_map(|artifact| &artifact.filenames);
    let file = files.find(|file| file.file_name() == Some("liboracle.so"));
    file.map(|file| file.clone().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::artifacts;
    use crate::cargo::tests::message;

    #[test]
    fn the_plugin_has_a_target_directory_of_its_own() {
        let command = command(Path::new("/checkout"));
        let args: Vec<_> = command.args.iter().map(|arg| arg.to_string_lossy()).collect();
        insta::assert_snapshot!(args.join(" "), @"build --quiet --package oracle --release --message-format json-render-diagnostics --target-dir /checkout/target/oracle");
    }

    #[test]
    fn the_library_is_found_among_the_messages() {
        let mut messages = message(None, &["/t/libserde_derive.so"]);
        assert_eq!(library(&artifacts(&messages)), None);
        messages.extend(message(None, &["/t/liboracle.rlib", "/t/liboracle.so"]));
        let found = library(&artifacts(&messages));
        assert_eq!(found, Some("/t/liboracle.so".into()));
    }
}

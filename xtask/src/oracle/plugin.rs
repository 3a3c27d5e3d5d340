// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds the plugin.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::Artifact;

use crate::cargo::Build;
use crate::machine::plugin_api::PluginApi;

/// Builds `oracle/` for the host, for QEMU's plugin interface `api`, and returns the path of the plugin.
///
/// # Errors
/// The build fails. The error contains the compiler's messages.
pub(crate) fn build(checkout: &Path, api: PluginApi) -> Result<PathBuf> {
    let what = "the oracle (`--oracle off` runs without it)";
    let artifacts = command(checkout, api).run(checkout, what)?;
    library(&artifacts).context("cargo named no liboracle.so")
}

/// Returns the path that the plugin will have with QEMU 9.2 to 10.2, for display.
pub(crate) fn planned(checkout: &Path) -> PathBuf {
    target_dir(checkout, PluginApi::V4).join("release/liboracle.so")
}

/// Returns the directory of the build. Each interface has its own, so that two runs with different QEMUs do not replace
/// each other's plugin.
fn target_dir(checkout: &Path, api: PluginApi) -> PathBuf {
    checkout.join(match api {
        PluginApi::V4 => "target/oracle",
        PluginApi::V7 => "target/oracle-api-7",
    })
}

fn command(checkout: &Path, api: PluginApi) -> Build {
    let more: &[&str] = match api {
        PluginApi::V4 => &["--release"],
        PluginApi::V7 => &["--release", "--features", "api-7"],
    };
    Build::new("oracle", more, &target_dir(checkout, api))
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
    fn the_plugin_has_a_target_directory_for_each_interface() {
        let args = |api| {
            let command = command(Path::new("/checkout"), api);
            let args: Vec<_> = command.args.iter().map(|arg| arg.to_string_lossy()).collect();
            args.join(" ")
        };
        insta::assert_snapshot!(args(PluginApi::V4), @"build --quiet --package oracle --release --message-format json-render-diagnostics --target-dir /checkout/target/oracle");
        insta::assert_snapshot!(args(PluginApi::V7), @"build --quiet --package oracle --release --features api-7 --message-format json-render-diagnostics --target-dir /checkout/target/oracle-api-7");
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

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds the plugin.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::cargo;

/// Builds `oracle/` for the host and returns the path of the plugin.
///
/// # Errors
/// The build fails. The error contains the compiler's messages.
pub(crate) fn build(checkout: &Path) -> Result<PathBuf> {
    let what = "the oracle (`--oracle off` runs without it)";
    cargo::run(
        command(checkout),
        checkout,
        (what, "shared library"),
        library,
    )
}

/// Returns the path that the plugin will have, for display.
pub(crate) fn planned(checkout: &Path) -> PathBuf {
    target_dir(checkout).join("release/liboracle.so")
}

fn target_dir(checkout: &Path) -> PathBuf {
    checkout.join("target/oracle")
}

fn command(checkout: &Path) -> Command {
    cargo::build("oracle", &["--release"], &target_dir(checkout))
}

/// Returns the path of the plugin, if a message of cargo names it.
fn library(message: &serde_json::Value) -> Option<PathBuf> {
    let files = message.get("filenames")?.as_array()?;
    let mut files = files.iter().filter_map(|file| file.as_str());
    // Procedural macros are shared libraries too.
    let name = |path: &Path| path.file_name().is_some_and(|name| name == "liboracle.so");
    files.find(|file| name(Path::new(file))).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugin_has_a_target_directory_of_its_own() {
        let command = command(Path::new("/checkout"));
        let args: Vec<_> = command
            .get_args()
            .map(|arg| arg.to_string_lossy())
            .collect();
        insta::assert_snapshot!(args.join(" "), @"build --quiet --package oracle --release --message-format json-render-diagnostics --target-dir /checkout/target/oracle");
    }

    #[test]
    fn the_library_is_found_among_the_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","filenames":["/t/libserde_derive.so"]}"#,
            "\nnot json\n",
            r#"{"reason":"compiler-artifact","filenames":["/t/liboracle.rlib","/t/liboracle.so"]}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(
            cargo::last(messages, library),
            Some(PathBuf::from("/t/liboracle.so"))
        );
        let other = r#"{"filenames":["/t/libserde_derive.so"]}"#;
        assert_eq!(cargo::last(other, library), None);
    }
}

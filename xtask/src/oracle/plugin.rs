// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds the plugin, by the cargo that runs this tool.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Builds `oracle/` for the host and returns the path of the plugin.
///
/// # Errors
/// The build fails: carries what the compiler said.
pub fn build(checkout: &Path) -> Result<PathBuf> {
    let mut command = command(checkout);
    let output = command
        .current_dir(checkout)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {command:?}"))?;
    if !output.status.success() {
        bail!(
            "build the oracle (`--oracle off` runs without it): {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    library(&String::from_utf8_lossy(&output.stdout))
        .with_context(|| format!("{command:?} named no shared library"))
}

/// Where the plugin will be, for a reader.
pub fn planned(checkout: &Path) -> PathBuf {
    target_dir(checkout).join("release/liboracle.so")
}

/// A directory of its own, so that no build waits for another or throws it away.
fn target_dir(checkout: &Path) -> PathBuf {
    checkout.join("target/oracle")
}

fn command(checkout: &Path) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet", "--package", "oracle", "--release"])
        .args(["--message-format", "json-render-diagnostics"])
        .arg("--target-dir")
        .arg(target_dir(checkout));
    command
}

/// The shared library that cargo's messages name.
fn library(messages: &str) -> Option<PathBuf> {
    let mut libraries = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let files = message.get("filenames")?.as_array()?;
        let mut files = files.iter().filter_map(|file| file.as_str());
        // Macros that the compiler loads are shared libraries, too.
        let name = |path: &Path| path.file_name().is_some_and(|name| name == "liboracle.so");
        files.find(|file| name(Path::new(file))).map(PathBuf::from)
    });
    libraries.next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugin_is_built_beside_the_other_builds() {
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
        assert_eq!(library(messages), Some(PathBuf::from("/t/liboracle.so")));
        assert_eq!(library(r#"{"filenames":["/t/libserde_derive.so"]}"#), None);
    }
}

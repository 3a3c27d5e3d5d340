// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds the guest's program: static, for the target, by the cargo that runs this tool.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::target::RustSpec;

/// Builds `suites/init` and returns the path of the executable.
///
/// # Errors
/// The build fails: carries what the compiler said.
pub fn build(checkout: &Path, rust: &RustSpec) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // A directory of its own, so that neither build waits for the other or throws it away.
    let target_dir = checkout.join("target/guest");
    let mut command = std::process::Command::new(cargo);
    command
        .current_dir(checkout)
        .args(["build", "--package", "init", "--profile", "guest"])
        .args([
            "--target",
            &rust.target,
            "--message-format",
            "json-render-diagnostics",
        ])
        .arg("--target-dir")
        .arg(&target_dir)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stdin(Stdio::null());
    let output = command
        .output()
        .with_context(|| format!("start {command:?}"))?;
    if !output.status.success() {
        bail!(
            "build the guest's program for {}: {}\n{}",
            rust.target,
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    executable(&String::from_utf8_lossy(&output.stdout))
        .with_context(|| format!("{command:?} named no executable"))
}

/// The executable that cargo's messages name.
fn executable(messages: &str) -> Option<PathBuf> {
    let mut paths = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message.get("executable")?.as_str()?))
    });
    paths.next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_among_the_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","executable":null}"#,
            "\nnot json\n",
            r#"{"reason":"compiler-artifact","executable":"/t/init"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(executable(messages), Some(PathBuf::from("/t/init")));
        assert_eq!(executable("{}"), None);
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds the guest's program: static, for the target, by the cargo that runs this tool.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::wasm;
use crate::setup::std_source::Toolchain;
use crate::target::{Backend, RustSpec};

/// Builds `suites/init` for the machine that `rust` describes and returns the path of the executable. The lab's `cache`
/// may hold the source of the standard library.
///
/// # Errors
/// The build fails: carries what the compiler said.
pub fn build(checkout: &Path, cache: &Path, rust: &RustSpec) -> Result<PathBuf> {
    let toolchain = Toolchain::find()?;
    let source = || {
        toolchain.std_source(cache).with_context(|| {
            format!(
                "the source of Rust's standard library is missing, which {} needs: `rustup component add rust-src`",
                rust.target
            )
        })
    };
    // A directory of its own, so that neither build waits for the other or throws it away.
    let target_dir = checkout.join("target/guest");
    let std = match (rust.backend, toolchain.has_std(&rust.target)) {
        (Backend::WasmC, _) => {
            let out = target_dir.join(rust.cross.trim_end_matches('-'));
            return wasm::build(checkout, &rust.cross, &source()?, &out);
        }
        (Backend::Native, true) => None,
        (Backend::Native, false) => Some(source()?),
    };
    let mut command = command(rust, std.as_deref());
    command
        .current_dir(checkout)
        .arg("--target-dir")
        .arg(&target_dir)
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

/// The cargo command for it; `std` is the source of the standard library where that has to be built as well.
fn command(rust: &RustSpec, std: Option<&Path>) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args([
            "build",
            "--quiet",
            "--package",
            "init",
            "--profile",
            "guest",
        ])
        .args(["--target", &rust.target])
        .args(["--message-format", "json-render-diagnostics"])
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        // -Z is for nightly toolchains; the standard library is built with what a stable one is, too. Set for every
        // target: where it changes, cargo builds anew what all of them share, and all that depends on it.
        .env("RUSTC_BOOTSTRAP", "1");
    if !rust.cross.is_empty() {
        let triple = rust.target.to_uppercase().replace(['-', '.'], "_");
        let linker = format!("CARGO_TARGET_{triple}_LINKER");
        command.env(linker, format!("{}gcc", rust.cross));
    }
    if let Some(source) = std {
        command
            .arg("-Zbuild-std=std,panic_abort")
            .env("__CARGO_TESTS_ONLY_SRC_ROOT", source);
    }
    command
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

    /// What cargo builds for the host depends on it, and is shared: a target that had another would have it built anew.
    #[test]
    fn every_target_is_built_with_the_same_rustc() {
        let rust = crate::target::tests::x86_64().rust;
        for std in [None, Some(Path::new("/rust/library"))] {
            let command = command(&rust, std);
            let mut set = command
                .get_envs()
                .filter(|(name, _)| *name == "RUSTC_BOOTSTRAP");
            assert_eq!(set.next().and_then(|(_, value)| value), Some("1".as_ref()));
        }
    }

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

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds the guest's program: static, for the target, by the cargo that runs this tool.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::wasm;
use crate::cargo;
use crate::setup::debian::std_source::{self, Toolchain};
use crate::target::{Backend, RustSpec};

/// Builds `suites/init` for the machine that `rust` describes and returns the path of the executable. The lab's `cache`
/// may hold the source of the standard library.
///
/// # Errors
/// The build fails: carries what the compiler said.
pub(crate) fn build(checkout: &Path, cache: &Path, rust: &RustSpec) -> Result<PathBuf> {
    let toolchain = Toolchain::find()?;
    let source = || {
        toolchain.std_source(cache).with_context(|| {
            format!(
                "the source of Rust's standard library is missing, which {} needs: `rustup component add rust-src`",
                rust.target
            )
        })
    };
    let std = match std_source::is_needed(&toolchain, rust) {
        true => Some(source()?),
        false => None,
    };
    // A directory of its own, so that neither build waits for the other or throws it away.
    let target_dir = checkout.join("target/guest");
    let built = compile(checkout, rust, std.as_deref(), &target_dir)?;
    match rust.backend {
        Backend::Native => Ok(built),
        Backend::WasmC => {
            let out = target_dir.join(rust.cross.trim_end_matches('-'));
            wasm::build(checkout, &rust.cross, &built, &out)
        }
    }
}

/// What rustc makes of it.
fn compile(
    checkout: &Path,
    rust: &RustSpec,
    std: Option<&Path>,
    target_dir: &Path,
) -> Result<PathBuf> {
    let what = format!("the guest's program for {}", rust.target);
    let command = command(rust, std, target_dir);
    cargo::run(command, checkout, (&what, "executable"), executable)
}

/// The cargo command for it; `std` is the source of the standard library where that has to be built as well.
fn command(rust: &RustSpec, std: Option<&Path>, target_dir: &Path) -> Command {
    let args = ["--profile", "guest", "--target", &rust.target];
    let mut command = cargo::build("init", &args, target_dir);
    command
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        // -Z is for nightly toolchains; the standard library is built with what a stable one is, too. Set for every
        // target: where it changes, cargo builds anew what all of them share, and all that depends on it.
        .env("RUSTC_BOOTSTRAP", "1");
    // Not the user's flags, which are for another machine.
    match rust.backend {
        Backend::Native => command.env("RUSTFLAGS", "-C target-feature=+crt-static"),
        Backend::WasmC => command.env("RUSTFLAGS", ""),
    };
    if rust.backend == Backend::Native && !rust.cross.is_empty() {
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

/// The executable that a message of cargo's names.
fn executable(message: &serde_json::Value) -> Option<PathBuf> {
    Some(PathBuf::from(message.get("executable")?.as_str()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::args::quote;

    /// The command as a person would type it, but for cargo's own name.
    fn text(rust: &RustSpec, std: Option<&str>) -> String {
        let command = command(
            rust,
            std.map(Path::new),
            Path::new("/checkout/target/guest"),
        );
        let set = command.get_envs().filter_map(|(name, value)| {
            let value = quote(&value?.to_string_lossy());
            Some(format!("{}={value}", name.to_string_lossy()))
        });
        let args = command.get_args().map(|arg| arg.to_string_lossy().into());
        let words: Vec<String> = set.chain(args).collect();
        words.join(" ")
    }

    #[test]
    fn a_program_is_static_and_linked_by_the_targets_own_compiler() {
        let mut rust = crate::target::tests::x86_64().rust;
        insta::assert_snapshot!(text(&rust, None), @"RUSTC_BOOTSTRAP=1 RUSTFLAGS='-C target-feature=+crt-static' build --quiet --package init --profile guest --target x86_64-unknown-linux-gnu --message-format json-render-diagnostics --target-dir /checkout/target/guest");
        rust.target = "armv5te-unknown-linux-gnueabi".into();
        rust.cross = "arm-linux-gnueabi-".into();
        insta::assert_snapshot!(text(&rust, Some("/rust/library")), @"CARGO_TARGET_ARMV5TE_UNKNOWN_LINUX_GNUEABI_LINKER=arm-linux-gnueabi-gcc RUSTC_BOOTSTRAP=1 RUSTFLAGS='-C target-feature=+crt-static' __CARGO_TESTS_ONLY_SRC_ROOT=/rust/library build --quiet --package init --profile guest --target armv5te-unknown-linux-gnueabi --message-format json-render-diagnostics --target-dir /checkout/target/guest -Zbuild-std=std,panic_abort");
    }

    #[test]
    fn webassembly_is_neither_linked_nor_static() {
        let rust = RustSpec {
            target: "wasm32-unknown-unknown".into(),
            backend: Backend::WasmC,
            cross: "hppa-linux-gnu-".into(),
        };
        insta::assert_snapshot!(text(&rust, Some("/rust/library")), @"RUSTC_BOOTSTRAP=1 RUSTFLAGS='' __CARGO_TESTS_ONLY_SRC_ROOT=/rust/library build --quiet --package init --profile guest --target wasm32-unknown-unknown --message-format json-render-diagnostics --target-dir /checkout/target/guest -Zbuild-std=std,panic_abort");
    }

    /// What cargo builds for the host depends on it, and is shared: a target that had another would have it built anew.
    #[test]
    fn every_target_is_built_with_the_same_rustc() {
        let rust = crate::target::tests::x86_64().rust;
        for std in [None, Some("/rust/library")] {
            assert!(text(&rust, std).contains("RUSTC_BOOTSTRAP=1 "));
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
        assert_eq!(
            cargo::last(messages, executable),
            Some(PathBuf::from("/t/init"))
        );
        assert_eq!(cargo::last("{}", executable), None);
    }
}

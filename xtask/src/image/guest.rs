// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds the guest's program: static, for the target, by the cargo that runs this tool.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::wasm;
use crate::cargo::Build;
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
    let artifacts = command(rust, std, target_dir).run(checkout, &what)?;
    let mut executables = artifacts.into_iter().filter_map(|made| made.executable);
    let last = executables.next_back();
    Ok(last.context("cargo named no executable")?.into())
}

/// The cargo command for it; `std` is the source of the standard library where that has to be built as well.
fn command(rust: &RustSpec, std: Option<&Path>, target_dir: &Path) -> Build {
    let args = ["--profile", "guest", "--target", &rust.target];
    let mut build = Build::new("init", &args, target_dir);
    // Not the user's flags, which are for another machine.
    let flags = match rust.backend {
        Backend::Native => "-C target-feature=+crt-static",
        Backend::WasmC => "",
    };
    build.env = BTreeMap::from([
        ("CARGO_ENCODED_RUSTFLAGS".into(), None),
        ("RUSTFLAGS".into(), Some(flags.into())),
        // -Z is for nightly toolchains; the standard library is built with what a stable one is, too. Set for every
        // target: where it changes, cargo builds anew what all of them share, and all that depends on it.
        ("RUSTC_BOOTSTRAP".into(), Some("1".into())),
    ]);
    if rust.backend == Backend::Native && !rust.cross.is_empty() {
        let triple = rust.target.to_uppercase().replace(['-', '.'], "_");
        let linker = format!("CARGO_TARGET_{triple}_LINKER");
        let gcc = format!("{}gcc", rust.cross);
        build.env.insert(linker, Some(gcc.into()));
    }
    if let Some(source) = std {
        build.args.push("-Zbuild-std=std,panic_abort".into());
        let root = "__CARGO_TESTS_ONLY_SRC_ROOT".into();
        build.env.insert(root, Some(source.into()));
    }
    build
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
        let set = command.env.iter().filter_map(|(name, value)| {
            let value = quote(&value.as_ref()?.to_string_lossy());
            Some(format!("{name}={value}"))
        });
        let args = command.args.iter().map(|arg| arg.to_string_lossy().into());
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
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds the guest program as a static executable for the target, with the cargo that runs this tool.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::wasm;
use crate::cargo::Build;
use crate::setup::debian::std_source::{self, Toolchain};
use crate::target::{Backend, RustSpec};

/// Builds `suites/init` for the machine that `rust` describes, and returns the path of the executable. `cache` is the
/// lab's cache, which may contain the source of the standard library.
///
/// # Errors
/// The build fails. The error contains the compiler's messages.
pub(crate) fn build(checkout: &Path, cache: &Path, rust: &RustSpec) -> Result<PathBuf> {
    let std = std_source(cache, rust)?;
    // A separate target directory, so that this build and the build of the lab neither wait for each other nor discard
    // each other's results.
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

/// Returns the source of the standard library in the toolchain or in the lab's `cache`, or `None` if the toolchain includes
/// the library for the machine that `rust` describes.
///
/// # Errors
/// The source is needed and missing.
pub(super) fn std_source(cache: &Path, rust: &RustSpec) -> Result<Option<PathBuf>> {
    let toolchain = Toolchain::find()?;
    if !std_source::is_needed(&toolchain, rust) {
        return Ok(None);
    }
    let source = toolchain.std_source(cache).with_context(|| {
        format!(
            "the source of Rust's standard library, which {} needs, is missing: run `rustup component add rust-src`",
            rust.target
        )
    })?;
    Ok(Some(source))
}

/// Compiles the guest program with rustc, and returns the path of the output.
fn compile(
    checkout: &Path,
    rust: &RustSpec,
    std: Option<&Path>,
    target_dir: &Path,
) -> Result<PathBuf> {
    let what = format!("the guest program for {}", rust.target);
    let artifacts = command(rust, std, target_dir).run(checkout, &what)?;
    let mut executables = artifacts.into_iter().filter_map(|artifact| artifact.executable);
    let last = executables.next_back();
    Ok(last.context("the build of the guest program produced no executable")?.into())
}

/// Returns the cargo command. `std` is the source of the standard library, if that has to be built too.
fn command(rust: &RustSpec, std: Option<&Path>, target_dir: &Path) -> Build {
    let args = ["--profile", "guest", "--target", &rust.target];
    let mut build = Build::new("init", &args, target_dir);
    set_environment(&mut build, rust, std);
    build
}

/// Makes `build` one of a static program for the machine that `rust` describes. `std` is the source of the standard library,
/// if that has to be built too.
pub(super) fn set_environment(build: &mut Build, rust: &RustSpec, std: Option<&Path>) {
    // Overrides the user's flags, which are meant for the host.
    let flags = match rust.backend {
        Backend::Native => "-C target-feature=+crt-static",
        Backend::WasmC => "",
    };
    build.env.extend([
        ("CARGO_ENCODED_RUSTFLAGS".into(), None),
        ("RUSTFLAGS".into(), Some(flags.into())),
        // Allows -Z options and the standard library's unstable features with a stable toolchain. Set for every target:
        // if the variable changed, cargo would rebuild the crates that all targets share.
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::args::quote;

    /// Returns the command as typed in a shell, without the name of cargo.
    fn text(rust: &RustSpec, std: Option<&str>) -> String {
        let command = command(rust, std.map(Path::new), Path::new("/checkout/target/guest"));
        let set = command.env.iter().filter_map(|(name, value)| {
            let value = quote(&value.as_ref()?.to_string_lossy());
            Some(format!("{name}={value}"))
        });
        let args = command.args.iter().map(|arg| arg.to_string_lossy().into());
        let words: Vec<String> = set.chain(args).collect();
        words.join(" ")
    }

    #[test]
    fn the_program_is_static_and_linked_by_the_cross_compiler() {
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

    /// Crates that cargo builds for the host are shared by all targets and depend on this variable. A target with a
    /// different value would rebuild them.
    #[test]
    fn every_target_sets_rustc_bootstrap() {
        let rust = crate::target::tests::x86_64().rust;
        for std in [None, Some("/rust/library")] {
            assert!(text(&rust, std).contains("RUSTC_BOOTSTRAP=1 "));
        }
    }
}

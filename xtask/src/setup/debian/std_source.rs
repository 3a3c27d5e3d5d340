// SPDX-License-Identifier: MIT OR Apache-2.0
//! Source of Rust's standard library, for targets whose standard library the toolchain does not include.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use xshell::cmd;

use super::package;
use crate::program::find_program;
use crate::setup::{Host, SetupMode};
use crate::target::{Backend, RustSpec, Target};
use crate::{files, guard, paths, shell};

/// Archives of Debian that have `rust-src`. The first has the most versions.
const SUITES: [&str; 4] = ["trixie-backports", "trixie", "bookworm-backports", "bookworm"];

/// Rust toolchain that builds the guest's programs.
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    pub sysroot: PathBuf,
    /// Version, such as `1.95.0`.
    pub version: String,
}

impl Toolchain {
    /// Runs the rustc that cargo uses in the checkout, to get its version and sysroot.
    ///
    /// # Errors
    /// There is no rustc, or its output has an unknown format.
    pub(crate) fn find() -> Result<Self> {
        let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
        let sh = shell::in_dir(&paths::checkout())?;
        let version = shell::read(cmd!(sh, "{rustc} --version"))?;
        let sysroot = shell::read(cmd!(sh, "{rustc} --print sysroot"))?;
        let number = version.split_whitespace().nth(1);
        Ok(Self {
            sysroot: sysroot.trim().into(),
            version: number
                .with_context(|| {
                    format!("no version in the output of `{rustc} --version`: {version:?}")
                })?
                .to_owned(),
        })
    }

    /// Returns true if the toolchain includes a standard library for the target triple `target`.
    pub(crate) fn has_std(&self, target: &str) -> bool {
        self.sysroot.join("lib/rustlib").join(target).join("lib").is_dir()
    }

    /// Returns the directory `library` with the source of the standard library, in the toolchain or in the lab's `cache`.
    pub(crate) fn std_source(&self, cache: &Path) -> Option<PathBuf> {
        let own = self.sysroot.join("lib/rustlib/src/rust/library");
        [own, self.cached(cache)].into_iter().find(|path| path.join("std/Cargo.toml").is_file())
    }

    fn cached(&self, cache: &Path) -> PathBuf {
        cache.join("rust-src").join(&self.version).join("library")
    }
}

/// Returns true if the standard library must be built for the guest's programs. WebAssembly always needs this, because
/// the library that comes with rustc uses instructions that `wasm2c` may not support.
pub(crate) fn is_needed(toolchain: &Toolchain, rust: &RustSpec) -> bool {
    rust.backend == Backend::WasmC || !toolchain.has_std(&rust.target)
}

/// Installs the source if one of `targets` needs it and it is missing: through rustup, or, if that fails, from Debian's
/// package of the same version, which is unpacked into the lab's cache.
///
/// # Errors
/// The source could not be installed, or `mode` forbids it. The error says how to install it.
pub(crate) fn ensure(
    host: &Host,
    targets: &[&Target],
    mode: SetupMode,
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    let toolchain = Toolchain::find()?;
    let needing = targets.iter().find(|target| is_needed(&toolchain, &target.rust));
    let (Some(target), None) = (needing, toolchain.std_source(&host.cache)) else {
        return Ok(());
    };
    let what = format!("the source of Rust's standard library, which {} needs", target.name);
    let advice = format!(
        "{what}, is missing; run `rustup component add rust-src`, or install version {} of your distribution's package \
         rust-src",
        toolchain.version
    );
    if mode == SetupMode::Forbidden {
        bail!("{advice} (--no-setup forbids installing anything)");
    }
    say(&format!("missing: {what}"));
    if let Some(rustup) = find_program("rustup", &host.path) {
        say("rustup will add the component rust-src to the toolchain");
        let command = guard::command(&rustup, ["component", "add", "rust-src"]);
        let output = guard::run(&command.dir(paths::checkout()).stdout_null().stderr_capture())?;
        if output.status.success() && toolchain.std_source(&host.cache).is_some() {
            return Ok(());
        }
        let why = String::from_utf8_lossy(&output.stderr);
        say(&format!("rustup failed: {}", why.lines().last().unwrap_or_default()));
    }
    say("downloading Debian's package rust-src");
    from_debian(&toolchain, &host.cache).context(advice)
}

/// Downloads Debian's package with the version of the toolchain, and unpacks it into `cache`.
fn from_debian(toolchain: &Toolchain, cache: &Path) -> Result<()> {
    let library = toolchain.cached(cache);
    let version_dir = library.parent().expect("it has two parents").to_owned();
    let all_versions = version_dir.parent().expect("it has two parents");
    files::create_dir(all_versions)?;
    let scratch =
        tempfile::tempdir_in(all_versions).context("create a directory for the download")?;
    let mirror = package::mirror(Path::new("apt-get"))?;
    let name = format!("rust-src={}*", toolchain.version);
    let mut errors = Vec::new();
    for suite in SUITES {
        match package::download_from(&name, suite, &mirror, scratch.path()) {
            Ok(package) => {
                let unpacked = scratch.path().join("unpacked");
                unpack(&package, &toolchain.version, &unpacked)?;
                return fs::rename(&unpacked, &version_dir)
                    .with_context(|| format!("move the source to {}", version_dir.display()));
            }
            Err(error) => errors.push(format!("{suite}: {error:#}")),
        }
    }
    bail!("no archive of Debian has rust-src {}:\n{}", toolchain.version, errors.join("\n"))
}

/// Unpacks the library in `package`, which has version `version`, into the new directory `into`.
fn unpack(package: &Path, version: &str, into: &Path) -> Result<()> {
    files::create_dir(into)?;
    let library = format!("./usr/src/rustc-{version}/library");
    let words = ["-x", "--strip-components=4", "--no-same-owner", "-C"].map(OsStr::new);
    let words = words.into_iter().chain([into.as_os_str(), library.as_ref()]);
    package::pipe(&package::members(package).pipe(guard::command("tar", words)))
        .with_context(|| format!("unpack {}", package.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_is_needed_without_a_library_and_always_for_webassembly() {
        let dir = tempfile::tempdir().unwrap();
        let toolchain = Toolchain { sysroot: dir.path().into(), version: "1.95.0".into() };
        let rust = |target: &str, backend| RustSpec {
            target: target.into(),
            backend,
            cross: String::new(),
        };
        let x86_64 = rust("x86_64-unknown-linux-gnu", Backend::Native);
        let wasm32 = rust("wasm32-unknown-unknown", Backend::WasmC);
        assert!(is_needed(&toolchain, &x86_64) && is_needed(&toolchain, &wasm32));
        for rust in [&x86_64, &wasm32] {
            fs::create_dir_all(dir.path().join("lib/rustlib").join(&rust.target).join("lib"))
                .unwrap();
        }
        assert!(!is_needed(&toolchain, &x86_64) && is_needed(&toolchain, &wasm32));
    }
}

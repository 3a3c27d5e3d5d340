// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rust's standard library for targets that the toolchain has none built for: its source, to build it from.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use xshell::cmd;

use super::package;
use crate::program::find_program;
use crate::setup::{Host, SetupMode};
use crate::target::{Backend, RustSpec, Target};
use crate::{guard, paths, shell};

/// The archives of Debian that carry `rust-src`, the one with the most versions first.
const SUITES: [&str; 4] = [
    "trixie-backports",
    "trixie",
    "bookworm-backports",
    "bookworm",
];

/// The toolchain that builds the guest's programs.
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    /// Its directory.
    pub sysroot: PathBuf,
    /// `1.95.0`.
    pub version: String,
}

impl Toolchain {
    /// Asks the rustc that cargo will run in the checkout.
    ///
    /// # Errors
    /// There is none, or it says something else than rustc does.
    pub(crate) fn find() -> Result<Self> {
        let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
        let sh = shell::in_dir(&paths::checkout())?;
        let version = shell::read(cmd!(sh, "{rustc} --version"))?;
        let sysroot = shell::read(cmd!(sh, "{rustc} --print sysroot"))?;
        let number = version.split_whitespace().nth(1);
        Ok(Self {
            sysroot: sysroot.trim().into(),
            version: number
                .with_context(|| format!("{rustc} --version says {version:?}"))?
                .to_owned(),
        })
    }

    /// Whether it has a standard library for the triple `target`.
    pub(crate) fn has_std(&self, target: &str) -> bool {
        self.sysroot
            .join("lib/rustlib")
            .join(target)
            .join("lib")
            .is_dir()
    }

    /// The source of its standard library, the directory `library`: its own, or the one in the lab's `cache`.
    pub(crate) fn std_source(&self, cache: &Path) -> Option<PathBuf> {
        let own = self.sysroot.join("lib/rustlib/src/rust/library");
        [own, self.kept(cache)]
            .into_iter()
            .find(|path| path.join("std/Cargo.toml").is_file())
    }

    fn kept(&self, cache: &Path) -> PathBuf {
        cache.join("rust-src").join(&self.version).join("library")
    }
}

/// Whether the standard library has to be built for the guest's programs: for WebAssembly always, since the one that
/// comes with rustc uses instructions that `wasm2c` may not know.
pub(crate) fn is_needed(toolchain: &Toolchain, rust: &RustSpec) -> bool {
    rust.backend == Backend::WasmC || !toolchain.has_std(&rust.target)
}

/// Makes sure that the source is there if one of `targets` needs it: lets rustup add it to the toolchain, else takes
/// Debian's package of the same version into the lab's cache.
///
/// # Errors
/// It is not there and cannot be had, or may not: says what to do.
pub(crate) fn ensure(
    host: &Host,
    targets: &[&Target],
    mode: SetupMode,
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    let toolchain = Toolchain::find()?;
    let needing = targets
        .iter()
        .find(|target| is_needed(&toolchain, &target.rust));
    let (Some(target), None) = (needing, toolchain.std_source(&host.cache)) else {
        return Ok(());
    };
    let what = format!(
        "the source of Rust's standard library, which {} needs",
        target.name
    );
    let advice = format!(
        "{what}, is missing: `rustup component add rust-src`, or the package rust-src of your distribution, of version \
         {} like rustc",
        toolchain.version
    );
    if mode == SetupMode::Forbidden {
        bail!("{advice}; --no-setup forbids to install anything");
    }
    say(&format!("missing: {what}"));
    if let Some(rustup) = find_program("rustup", &host.path) {
        say("rustup will add the component rust-src to the toolchain");
        let command = guard::command(&rustup, ["component", "add", "rust-src"]);
        let command = command.dir(paths::checkout());
        let output = guard::run(&command.stdout_null().stderr_capture())?;
        if output.status.success() && toolchain.std_source(&host.cache).is_some() {
            return Ok(());
        }
        let why = String::from_utf8_lossy(&output.stderr);
        say(&format!(
            "rustup cannot: {}",
            why.lines().last().unwrap_or_default()
        ));
    }
    say("taking it from Debian's package rust-src");
    from_debian(&toolchain, &host.cache).context(advice)
}

/// Unpacks Debian's package of the version that the toolchain has.
fn from_debian(toolchain: &Toolchain, cache: &Path) -> Result<()> {
    let kept = toolchain.kept(cache);
    let home = kept.parent().expect("it has two parts").to_owned();
    let above = home.parent().expect("it has two parts");
    fs::create_dir_all(above).with_context(|| format!("make {}", above.display()))?;
    let scratch = tempfile::tempdir_in(above).context("make a directory for the download")?;
    let mut complaints = Vec::new();
    for suite in SUITES {
        match download(
            &format!("rust-src={}*", toolchain.version),
            suite,
            scratch.path(),
        ) {
            Ok(package) => {
                let unpacked = scratch.path().join("unpacked");
                unpack(&package, &toolchain.version, &unpacked)?;
                return fs::rename(&unpacked, &home)
                    .with_context(|| format!("put the source into {}", home.display()));
            }
            Err(error) => complaints.push(format!("{suite}: {error:#}")),
        }
    }
    bail!("no archive of Debian has it:\n{}", complaints.join("\n"))
}

/// Downloads a package from an archive of Debian that the machine need not know, but whose mirror and keys it does.
fn download(package: &str, suite: &str, scratch: &Path) -> Result<PathBuf> {
    let mirror = package::mirror(Path::new("apt-get"))?;
    let dir = scratch.join(suite);
    fs::create_dir(&dir).with_context(|| format!("make {}", dir.display()))?;
    let sources = format!("deb [signed-by={}] {mirror} {suite} main\n", package::KEYS);
    package::Lists::new(&dir, Some(&sources))?.download(package, &dir)
}

/// Unpacks the library from the package of the version `version` into the new directory `into`.
fn unpack(package: &Path, version: &str, into: &Path) -> Result<()> {
    fs::create_dir(into).with_context(|| format!("make {}", into.display()))?;
    let library = format!("./usr/src/rustc-{version}/library");
    let words = ["-x", "--strip-components=4", "--no-same-owner", "-C"].map(OsStr::new);
    let words = words
        .into_iter()
        .chain([into.as_os_str(), library.as_ref()]);
    package::pipe(&package::members(package).pipe(guard::command("tar", words)))
        .with_context(|| format!("unpack {}", package.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webassembly_needs_it_even_where_rustc_has_one_and_others_only_where_it_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let toolchain = Toolchain {
            sysroot: dir.path().into(),
            version: "1.95.0".into(),
        };
        let rust = |target: &str, backend| RustSpec {
            target: target.into(),
            backend,
            cross: String::new(),
        };
        let x86_64 = rust("x86_64-unknown-linux-gnu", Backend::Native);
        let wasm32 = rust("wasm32-unknown-unknown", Backend::WasmC);
        assert!(is_needed(&toolchain, &x86_64) && is_needed(&toolchain, &wasm32));
        for rust in [&x86_64, &wasm32] {
            fs::create_dir_all(
                dir.path()
                    .join("lib/rustlib")
                    .join(&rust.target)
                    .join("lib"),
            )
            .unwrap();
        }
        assert!(!is_needed(&toolchain, &x86_64) && is_needed(&toolchain, &wasm32));
    }
}

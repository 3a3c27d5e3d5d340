// SPDX-License-Identifier: MIT OR Apache-2.0
//! Debian's kernel source.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use duct::Expression;

use super::package;
use crate::{files, guard};

/// Downloads `package`, and unpacks its kernel source into the empty directory `into`. Returns the name and the version
/// of the package, which depends on the host's Debian release. If the machine's own package sources do not have it, it
/// comes from one of the archive's `suites`.
///
/// # Errors
/// apt, the package or the network is not available, a signature is invalid, or the disk is full.
pub(crate) fn fetch(
    package: &str,
    suites: &[String],
    into: &Path,
    say: &mut dyn FnMut(String),
) -> Result<String> {
    let scratch = into.with_file_name("download");
    files::create_dir(&scratch)?;
    say(format!("download Debian's {package}"));
    let package = package::download(package, suites, &scratch).with_context(|| {
        format!(
            "cannot download Debian's {package}. Check the network, or use another source with --kernel-src DIR|TARBALL"
        )
    })?;
    let name =
        package::name_in(&package).context("apt-get downloaded a file with an unknown name")?;
    say(format!("unpack {name}"));
    unpack_package(&package, into)?;
    fs::remove_dir_all(&scratch).with_context(|| format!("remove {}", scratch.display()))?;
    Ok(name)
}

/// Returns the name and the version of the package that [`fetch`] would download.
///
/// # Errors
/// apt is not available, or knows no such package.
pub(crate) fn name(package: &str, suites: &[String]) -> Result<String> {
    let scratch = tempfile::tempdir().context("create a temporary directory")?;
    package::identify(package, suites, scratch.path())
        .with_context(|| format!("cannot get the version of Debian's {package}"))
}

fn unpack_package(package: &Path, into: &Path) -> Result<()> {
    let tarball = ["-x", "--to-stdout", "--wildcards", "*/linux-source-*.tar.xz"];
    let tarball = package::members(package).pipe(guard::command("tar", tarball));
    package::pipe(&tarball.pipe(untar(&["-xJ"], into)))
        .with_context(|| format!("unpack {}", package.display()))
}

/// Unpacks a tarball of a kernel source into the directory `into`. tar detects the compression.
///
/// # Errors
/// The file is not a tarball, or the disk is full.
pub(crate) fn unpack_tarball(tarball: &Path, into: &Path) -> Result<()> {
    let mode = ["-x".as_ref(), "-f".as_ref(), tarball.as_os_str()];
    package::pipe(&untar(&mode, into)).with_context(|| format!("unpack {}", tarball.display()))
}

fn untar<M: AsRef<OsStr>>(mode: &[M], into: &Path) -> Expression {
    let words = ["--strip-components=1", "--no-same-owner", "-C"];
    let words = words.iter().map(OsStr::new).chain([into.as_os_str()]);
    guard::command("tar", mode.iter().map(AsRef::as_ref).chain(words))
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Debian's kernel source.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::package;
use crate::guard;

/// The package. Its version is whichever the machine's Debian has.
pub(crate) const PACKAGE: &str = "linux-source-6.12";

/// Downloads the package and unpacks the source it holds into the empty directory `into`.
/// Returns the package's name and version.
///
/// # Errors
/// No apt here, no package, no network, a signature that does not hold, a full disk.
pub(crate) fn fetch(into: &Path, say: &mut dyn FnMut(String)) -> Result<String> {
    let scratch = into.with_file_name("download");
    fs::create_dir(&scratch).with_context(|| format!("make {}", scratch.display()))?;
    say(format!("download Debian's {PACKAGE}"));
    let package = package::download(PACKAGE, &scratch).context(
        "Debian's kernel source cannot be had. Is there a network, and does this Debian have it (bookworm-security, \
         trixie)? A source of your own does as well: --kernel-src DIR|TARBALL",
    )?;
    let name = package::name_in(&package).context("apt-get left a file of an unknown name")?;
    say(format!("unpack {name}"));
    unpack_package(&package, into)?;
    fs::remove_dir_all(&scratch).with_context(|| format!("remove {}", scratch.display()))?;
    Ok(name)
}

fn unpack_package(package: &Path, into: &Path) -> Result<()> {
    let mut tarball = guard::command("tar");
    tarball.args([
        "-x",
        "--to-stdout",
        "--wildcards",
        "*/linux-source-*.tar.xz",
    ]);
    package::pipe(vec![package::members(package), tarball, untar("-xJ", into)])
        .with_context(|| format!("unpack {}", package.display()))
}

/// Unpacks a tarball of a kernel source, compressed in any way tar knows, into the directory `into`.
///
/// # Errors
/// Not a tarball; a full disk.
pub(crate) fn unpack_tarball(tarball: &Path, into: &Path) -> Result<()> {
    let mut command = untar("-x", into);
    command.arg("-f").arg(tarball);
    package::pipe(vec![command]).with_context(|| format!("unpack {}", tarball.display()))
}

fn untar(mode: &str, into: &Path) -> Command {
    let mut command = guard::command("tar");
    command
        .args([mode, "--strip-components=1", "--no-same-owner", "-C"])
        .arg(into);
    command
}

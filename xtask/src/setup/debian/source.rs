// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sources of Debian packages, verified by apt. This needs no root.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::package::{self, Lists};
use crate::{files, guard};

/// Release of Debian that the sources come from.
const SUITE: &str = "stable";

/// Downloads the source of `package` as its authors published it, without Debian's changes, and unpacks it into the new
/// directory `into`.
///
/// # Errors
/// apt, the package or the network is not available, a signature is invalid, or the disk is full.
pub(crate) fn fetch(package: &str, into: &Path) -> Result<()> {
    let parent = into.parent().context("the source has a parent directory")?;
    let scratch = tempfile::tempdir_in(parent)
        .with_context(|| format!("create a directory in {}", parent.display()))?;
    let tarball = Lists::of_sources(SUITE, scratch.path())?
        .download_source(package, scratch.path())
        .with_context(|| {
            format!("cannot download Debian's source of {package}; check the network")
        })?;
    let tree = scratch.path().join("tree");
    files::create_dir(&tree)?;
    let words = ["--strip-components=1".as_ref(), "--no-same-owner".as_ref(), "-C".as_ref()];
    let words = words.into_iter().chain([tree.as_os_str(), "-xf".as_ref(), tarball.as_os_str()]);
    package::pipe(&guard::command("tar", words))
        .with_context(|| format!("unpack {}", tarball.display()))?;
    fs::rename(&tree, into).with_context(|| format!("move {}", into.display()))
}

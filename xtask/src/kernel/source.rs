// SPDX-License-Identifier: MIT OR Apache-2.0
//! Unpatched kernel sources: obtaining them and identifying their content.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::cache::{self, Cache};
use super::digest::{self, Listing};
use super::{Progress, user_tree};
use crate::files;
use crate::kernel_version::Version;
use crate::lock::{Hold, Lock};
use crate::setup::debian::kernel_source;

/// Origin of a kernel source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A source package of Debian.
    Debian {
        /// Name of the package.
        package: String,
        /// Suites of the archive to download it from if the machine's own package sources do not have it.
        suites: Vec<String>,
    },
    /// A directory or tarball of the user. The lab never modifies it.
    Path(PathBuf),
}

/// Serves as the identifier of every file in a source that never changes.
pub(crate) const PRISTINE: &str = "=";

/// An unpatched source that is ready to be read.
#[derive(Debug)]
pub(crate) struct Base {
    /// Unique identifier, usable as a directory name.
    pub id: String,
    /// Identifier of the content, part of the kernel's hash. Two trees with the same content have the same identifier.
    pub content: String,
    /// Name for messages.
    pub name: String,
    /// Root directory.
    pub root: PathBuf,
    /// Version of Linux.
    pub version: Version,
    /// Files of a user's tree; `None` for a source in the cache, which never changes.
    listing: Option<Listing>,
    /// Protects a source in the cache from `cargo xtask clean`.
    _lock: Option<Lock>,
}

impl Base {
    /// Returns true if the files never change, so that they can be shared by hard links.
    pub(crate) fn is_frozen(&self) -> bool {
        self.listing.is_none()
    }

    /// Returns the files of the source.
    pub(crate) fn listing(&self) -> Result<Listing> {
        match &self.listing {
            Some(listing) => Ok(listing.clone()),
            None => {
                let files = user_tree::walk(&self.root)?;
                Ok(files.into_iter().map(|path| (path, PRISTINE.to_owned())).collect())
            }
        }
    }
}

/// Prepares a source for reading: downloads, unpacks or scans it as needed.
///
/// # Errors
/// The source cannot be obtained, or it is not a kernel source.
pub(crate) fn open(
    source: &Source,
    cache: Cache,
    progress: &mut dyn FnMut(Progress),
) -> Result<Base> {
    match source {
        Source::Debian { package, suites } => {
            open_unpacked(&cache.sources().join(package), progress, &mut |into, progress| {
                let mut say = |step| progress(Progress::step(step));
                kernel_source::fetch(package, suites, into, &mut say)
            })
        }
        Source::Path(path) => {
            let path = fs::canonicalize(path)
                .with_context(|| format!("open --kernel-src {}", path.display()))?;
            if path.is_dir() {
                open_tree(&path, cache, progress)
            } else {
                open_tarball(&path, cache, progress)
            }
        }
    }
}

/// Returns true if [`open`] needs no download.
pub(crate) fn is_at_hand(source: &Source, cache: Cache) -> bool {
    match source {
        Source::Debian { package, .. } => name_file(&cache.sources().join(package)).exists(),
        Source::Path(_) => true,
    }
}

/// Returns the identifier of a source's content, and the version of Linux, without downloading the source.
///
/// # Errors
/// apt does not know Debian's package, or the user's source is not a kernel source.
pub(crate) fn identify(
    source: &Source,
    cache: Cache,
    progress: &mut dyn FnMut(Progress),
) -> Result<(String, Version)> {
    match source {
        Source::Debian { package, suites } if !is_at_hand(source, cache) => {
            // linux-source-6.12
            let version = package.rsplit('-').next().and_then(|version| version.parse().ok());
            let version = version.with_context(|| {
                format!("the name of the package {package} does not end with a version of Linux")
            })?;
            Ok((kernel_source::name(package, suites)?, version))
        }
        _ => {
            let base = open(source, cache, progress)?;
            Ok((base.content.clone(), base.version))
        }
    }
}

/// Returns the version of the user's source `path`, a directory or a tarball. Unpacks a tarball into the cache.
///
/// # Errors
/// `path` is not a kernel source.
pub(crate) fn version_of(
    path: &Path,
    cache: Cache,
    progress: &mut dyn FnMut(Progress),
) -> Result<Version> {
    match path.is_dir() {
        true => version(path),
        false => Ok(open(&Source::Path(path.to_owned()), cache, progress)?.version),
    }
}

/// Unpacks a source into an empty directory and returns the source's name.
type Unpack<'a> = &'a mut dyn FnMut(&Path, &mut dyn FnMut(Progress)) -> Result<String>;

/// Path of the file with the name of the unpacked source in `dir`. The source is complete if the file exists.
fn name_file(dir: &Path) -> PathBuf {
    dir.join("name")
}

/// Opens the unpacked source in `dir` of the cache. Calls `unpack` if the source is not there yet.
fn open_unpacked(dir: &Path, progress: &mut dyn FnMut(Progress), unpack: Unpack) -> Result<Base> {
    const ACTIVITY: &str = "is unpacking the kernel source";
    let name_file = name_file(dir);
    let lock = loop {
        let lock = cache::lock(&cache::lock_path(dir), Hold::Shared, ACTIVITY, progress)?;
        if name_file.exists() {
            break lock;
        }
        drop(lock);
        let _alone = cache::lock(&cache::lock_path(dir), Hold::Exclusive, ACTIVITY, progress)?;
        if name_file.exists() {
            continue;
        }
        // No other run uses the directory, so existing files were left behind by a killed run.
        cache::remove_dir(dir)?;
        let unpacked = dir.join("unpacking");
        files::create_dir(&unpacked)?;
        let name = unpack(&unpacked, progress)?;
        fs::rename(&unpacked, dir.join("tree"))
            .with_context(|| format!("move the unpacked source to {}", dir.display()))?;
        // The name file marks the source as complete, so it is created last and by a rename.
        files::write_atomically(&name_file, name)?;
    };
    let name = files::read(&name_file)?;
    let root = dir.join("tree");
    Ok(Base {
        id: sanitize(&name),
        content: name.clone(),
        version: version(&root)?,
        name,
        root,
        listing: None,
        _lock: Some(lock),
    })
}

fn open_tarball(path: &Path, cache: Cache, progress: &mut dyn FnMut(Progress)) -> Result<Base> {
    let open = || File::open(path).and_then(digest::of_reader);
    let hash = open().with_context(|| format!("read {}", path.display()))?;
    let stem = path.file_name().unwrap_or_default().to_string_lossy();
    let name = format!("{stem}-{}", &hash[..16]);
    let dir = cache.sources().join(sanitize(&name));
    open_unpacked(&dir, progress, &mut |into, progress| {
        progress(Progress::step(format!("unpack {}", path.display())));
        kernel_source::unpack_tarball(path, into)?;
        Ok(name.clone())
    })
}

fn open_tree(path: &Path, cache: Cache, progress: &mut dyn FnMut(Progress)) -> Result<Base> {
    let version = version(path)?;
    let shown = path.to_string_lossy();
    let id = format!("own-{}", &digest::of(shown.as_bytes())[..16]);
    let dir = cache.sources().join(&id);
    let lock = cache::lock(
        &cache::lock_path(&dir),
        Hold::Exclusive,
        "is scanning the same source tree",
        progress,
    )?;
    files::create_dir(&dir)?;
    progress(Progress::step(format!("scan {shown}")));
    let listing = user_tree::listing(path, &dir.join("index"))?;
    drop(lock);
    Ok(Base {
        content: digest::of_listing(&listing),
        id,
        name: shown.into_owned(),
        root: path.to_owned(),
        version,
        listing: Some(listing),
        _lock: None,
    })
}

/// Reads the version from the Makefile in the root of a source.
///
/// # Errors
/// `root` is not the root of a kernel source.
pub(crate) fn version(root: &Path) -> Result<Version> {
    let makefile = root.join("Makefile");
    let text = fs::read_to_string(&makefile).with_context(|| {
        format!("read {}: is {} the root of a kernel source?", makefile.display(), root.display())
    })?;
    match version_in(&text) {
        Some(version) => Ok(version),
        None => bail!(
            "{} does not define VERSION and PATCHLEVEL: expected the root of a kernel source",
            makefile.display()
        ),
    }
}

fn version_in(makefile: &str) -> Option<Version> {
    let value = |name| variable(makefile, name);
    format!("{}.{}", value("VERSION")?, value("PATCHLEVEL")?).parse().ok()
}

/// Returns the release from the Makefile in the root of a source of `version`: `6.12.117`, or `6.12` without a sublevel.
pub(crate) fn release(root: &Path, version: Version) -> Result<String> {
    let makefile = files::read(&root.join("Makefile"))?;
    Ok(match variable(&makefile, "SUBLEVEL").filter(|sublevel| *sublevel != "0") {
        Some(sublevel) => format!("{version}.{sublevel}"),
        None => version.to_string(),
    })
}

/// Returns the value of a variable in a Makefile, unless it is empty.
fn variable<'m>(makefile: &'m str, name: &str) -> Option<&'m str> {
    let value = |line: &'m str| line.strip_prefix(name)?.trim_start().strip_prefix('=');
    makefile.lines().find_map(value).map(str::trim).filter(|value| !value.is_empty())
}

/// Replaces the characters of `name` that kbuild rejects in a path, such as spaces and colons.
fn sanitize(name: &str) -> String {
    let valid = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    name.chars().map(|c| if valid(c) { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_makefile() {
        let makefile = "# SPDX\nVERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 117\nNAME = Baby\n";
        assert_eq!(version_in(makefile), "6.12".parse().ok());
        assert_eq!(version_in("all:\n\tcc\n"), None);
        assert_eq!(version_in("VERSION =\nPATCHLEVEL =\n"), None);
    }

    #[test]
    fn a_package_version_becomes_a_valid_path() {
        let name = "linux-source-6.12 1:6.12.117-1~deb12u1";
        assert_eq!(sanitize(name), "linux-source-6.12-1-6.12.117-1-deb12u1");
    }
}

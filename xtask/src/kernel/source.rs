// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sources: where an unpatched kernel comes from, and what identifies its content.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::cache::{self, Cache};
use super::{Progress, digest, own};
use crate::lock::Lock;
use crate::setup::debian::kernel_source;

/// Where a kernel's source comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Debian's package of the version the lab is made for.
    Debian,
    /// A user's own directory or tarball, which is never changed.
    Own(PathBuf),
}

/// For each file of a tree, by its path below the root: what identifies the content, executable or not included.
pub(crate) type Listing = std::collections::BTreeMap<String, String>;

/// What stands for the content of a file in a source that never changes.
pub(crate) const PRISTINE: &str = "=";

/// A source that is there to be read.
#[derive(Debug)]
pub(crate) struct Base {
    /// Tells it from any other, and fit for the name of a directory.
    pub id: String,
    /// What the hash of a kernel has of it: as `id`, but two trees with the same content share it.
    pub content: String,
    /// What a person calls it.
    pub name: String,
    /// Its top directory.
    pub root: PathBuf,
    /// `VERSION.PATCHLEVEL`.
    pub series: String,
    /// The files of a user's tree; `None` for a source in the cache, which never changes.
    listing: Option<Listing>,
    /// Keeps a source in the cache from being cleaned away.
    _lock: Option<Lock>,
}

impl Base {
    /// Whether the files may be shared by hard links.
    pub(crate) fn is_frozen(&self) -> bool {
        self.listing.is_none()
    }

    /// The files of the source.
    pub(crate) fn listing(&self) -> Result<Listing> {
        match &self.listing {
            Some(listing) => Ok(listing.clone()),
            None => {
                let files = own::walk(&self.root)?;
                Ok(files
                    .into_iter()
                    .map(|path| (path, PRISTINE.to_owned()))
                    .collect())
            }
        }
    }
}

/// Makes the source readable: downloads, unpacks or looks through it as needed.
///
/// # Errors
/// It cannot be had, or is no kernel source.
pub(crate) fn open(
    source: &Source,
    cache: Cache,
    progress: &mut dyn FnMut(Progress),
) -> Result<Base> {
    match source {
        Source::Debian => open_unpacked(
            &cache.sources().join(kernel_source::PACKAGE),
            progress,
            &mut |into, progress| {
                kernel_source::fetch(into, &mut |step| progress(Progress::step(step)))
            },
        ),
        Source::Own(path) => {
            let path = fs::canonicalize(path)
                .with_context(|| format!("--kernel-src {}", path.display()))?;
            if path.is_dir() {
                open_tree(&path, cache, progress)
            } else {
                open_tarball(&path, cache, progress)
            }
        }
    }
}

/// Fills the empty directory it is given with a source; returns the source's name.
type Fill<'a> = &'a mut dyn FnMut(&Path, &mut dyn FnMut(Progress)) -> Result<String>;

/// The source in `dir` of the cache. `fill` is asked for it if it is not there yet.
fn open_unpacked(dir: &Path, progress: &mut dyn FnMut(Progress), fill: Fill) -> Result<Base> {
    const DOING: &str = "unpacks the kernel source";
    let name_file = dir.join("name");
    let lock = loop {
        let lock = cache::lock_shared(&cache::lock_of(dir), DOING, progress)?;
        if name_file.exists() {
            break lock;
        }
        drop(lock);
        let _alone = cache::lock(&cache::lock_of(dir), DOING, progress)?;
        if name_file.exists() {
            continue;
        }
        // Alone here: whatever lies about was left by a run that was killed.
        cache::remove_dir(dir)?;
        let unpacked = dir.join("unpacking");
        fs::create_dir_all(&unpacked).with_context(|| format!("make {}", unpacked.display()))?;
        let name = fill(&unpacked, progress)?;
        let place = || -> std::io::Result<()> {
            fs::rename(&unpacked, dir.join("tree"))?;
            // Last, and whole at once: with it the source is there.
            fs::write(dir.join("name.new"), name)?;
            fs::rename(dir.join("name.new"), &name_file)
        };
        place().with_context(|| format!("put the source into {}", dir.display()))?;
    };
    let name =
        fs::read_to_string(&name_file).with_context(|| format!("read {}", name_file.display()))?;
    let root = dir.join("tree");
    Ok(Base {
        id: fit_for_path(&name),
        content: name.clone(),
        series: series(&root)?,
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
    let dir = cache.sources().join(fit_for_path(&name));
    open_unpacked(&dir, progress, &mut |into, progress| {
        progress(Progress::step(format!("unpack {}", path.display())));
        kernel_source::unpack_tarball(path, into)?;
        Ok(name.clone())
    })
}

fn open_tree(path: &Path, cache: Cache, progress: &mut dyn FnMut(Progress)) -> Result<Base> {
    let series = series(path)?;
    let shown = path.to_string_lossy();
    let id = format!("own-{}", &digest::of(shown.as_bytes())[..16]);
    let dir = cache.sources().join(&id);
    let lock = cache::lock(
        &cache::lock_of(&dir),
        "looks through the same tree",
        progress,
    )?;
    fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    progress(Progress::step(format!("look through {shown}")));
    let listing = own::listing(path, &dir.join("index"))?;
    drop(lock);
    Ok(Base {
        content: digest::of_listing(&listing),
        id,
        name: shown.into_owned(),
        root: path.to_owned(),
        series,
        listing: Some(listing),
        _lock: None,
    })
}

/// `VERSION.PATCHLEVEL` from the Makefile at the top of a source.
///
/// # Errors
/// This is not the top of a kernel source.
pub(crate) fn series(root: &Path) -> Result<String> {
    let makefile = root.join("Makefile");
    let text = fs::read_to_string(&makefile).with_context(|| {
        format!(
            "read {}: is this the top of a kernel source?",
            makefile.display()
        )
    })?;
    match series_in(&text) {
        Some(series) => Ok(series),
        None => bail!(
            "{}: no VERSION and PATCHLEVEL: this is not the top of a kernel source",
            makefile.display()
        ),
    }
}

fn series_in(makefile: &str) -> Option<String> {
    let value = |name: &str| {
        makefile
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='))
            .map(str::trim)
            .filter(|value| !value.is_empty())
    };
    Some(format!("{}.{}", value("VERSION")?, value("PATCHLEVEL")?))
}

/// kbuild takes neither spaces nor colons in a path.
fn fit_for_path(name: &str) -> String {
    let fit = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    name.chars().map(|c| if fit(c) { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_is_read_from_the_makefile() {
        let makefile = "# SPDX\nVERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 117\nNAME = Baby\n";
        assert_eq!(series_in(makefile).as_deref(), Some("6.12"));
        assert_eq!(series_in("all:\n\tcc\n"), None);
        assert_eq!(series_in("VERSION =\nPATCHLEVEL =\n"), None);
    }

    #[test]
    fn a_package_version_becomes_a_path_kbuild_takes() {
        let name = "linux-source-6.12 1:6.12.117-1~deb12u1";
        assert_eq!(fit_for_path(name), "linux-source-6.12-1-6.12.117-1-deb12u1");
    }
}

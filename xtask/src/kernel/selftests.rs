// SPDX-License-Identifier: MIT OR Apache-2.0
//! A copy of the parts of a kernel source that its selftests need, for one architecture. Their makefiles write to the
//! source, which the lab never does to a source of the user or of the cache.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::cache::{self, Cache};
use super::make::Make;
use super::source::{self, Base, Source};
use super::{Progress, digest};
use crate::files;
use crate::lock::{Hold, Lock};
use crate::target::KernelSpec;

/// Directories that are copied. Of `lib` and `mm`, the selftests include headers.
const DIRS: [&str; 5] = ["arch/", "include/", "scripts/", "tools/", "usr/"];
const DIRS_OF_HEADERS: [&str; 2] = ["lib/", "mm/"];
const FILES: [&str; 3] = ["Kbuild", "Kconfig", "Makefile"];

/// File whose content identifies a complete copy.
const STAMP: &str = "made-of";

/// The selftests of a kernel source, ready to be built.
#[derive(Debug)]
pub(crate) struct Selftests {
    /// Directory of the collections, such as `mm`.
    pub dir: PathBuf,
    /// Headers of the kernel for programs.
    pub headers: PathBuf,
    /// Nobody else builds in the copy meanwhile.
    _lock: Lock,
}

/// Copies the selftests of `source` for the architecture of `spec`, or finds the copy of an earlier run, and makes the
/// headers of the kernel. Their makefiles do not notice another compiler, so each `compiler` (its name, version and options)
/// has a copy of its own.
///
/// # Errors
/// The source cannot be obtained, make fails, or the disk is full.
pub(crate) fn open(
    source: &Source,
    cache: &Path,
    spec: &KernelSpec,
    compiler: &str,
    jobs: usize,
    progress: &mut dyn FnMut(Progress),
) -> Result<Selftests> {
    let cache = Cache(cache);
    let base = source::open(source, cache, progress)?;
    let compiler = &digest::of(compiler.as_bytes())[..12];
    let dir = cache.selftests().join(format!("{}-{}-{compiler}", base.id, spec.arch));
    let what = "is building selftests of the kernel";
    let lock = cache::lock(&cache::lock_path(&dir), Hold::Exclusive, what, progress)?;
    let (tree, obj) = (dir.join("tree"), dir.join("headers"));
    let stamp = digest::of_parts([base.content.as_bytes(), spec.arch.as_bytes()]);
    if files::read_if_exists(&dir.join(STAMP))?.as_deref() != Some(stamp.as_str()) {
        cache::remove_dir(&dir).with_context(|| format!("remove {}", dir.display()))?;
        progress(Progress::step(format!(
            "copy the selftests of {}, and make its headers",
            base.name
        )));
        copy(&base, &tree)?;
        files::create_dir(&obj)?;
        let make = Make {
            tree: tree.clone(),
            obj: obj.clone(),
            log: dir.join("headers.log"),
            spec,
            settings: Vec::new(),
            jobs,
        };
        make.run(&["headers"], &[], &mut |_, _| {})?;
        files::write_atomically(&dir.join(STAMP), stamp)?;
    }
    Ok(Selftests {
        dir: tree.join("tools/testing/selftests"),
        headers: obj.join("usr/include"),
        _lock: lock,
    })
}

fn copy(base: &Base, tree: &Path) -> Result<()> {
    for path in base.listing()?.keys().filter(|path| is_needed(path)) {
        let (from, to) = (base.root.join(path), tree.join(path));
        files::create_dir(to.parent().context("a file is in a directory")?)?;
        let linked = base.is_frozen() && fs::hard_link(&from, &to).is_ok();
        if linked {
            continue;
        }
        let copied = match fs::read_link(&from) {
            Ok(target) => std::os::unix::fs::symlink(target, &to),
            Err(_) => fs::copy(&from, &to).map(|_| ()),
        };
        copied.with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    }
    Ok(())
}

/// Returns true if the selftests, or the headers of the kernel, need the source file at `path`.
fn is_needed(path: &str) -> bool {
    let is_in = |dirs: &[&str]| dirs.iter().any(|dir| path.starts_with(dir));
    is_in(&DIRS) || FILES.contains(&path) || (is_in(&DIRS_OF_HEADERS) && path.ends_with(".h"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_part_of_the_source_is_needed() {
        for path in
            ["Makefile", "tools/testing/selftests/lib.mk", "mm/gup_test.h", "arch/arm/Makefile"]
        {
            assert!(is_needed(path), "{path}");
        }
        for path in ["mm/slub.c", "fs/fuse/dev.c", "drivers/Makefile", "MAINTAINERS"] {
            assert!(!is_needed(path), "{path}");
        }
    }
}

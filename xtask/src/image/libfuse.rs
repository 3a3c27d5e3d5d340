// SPDX-License-Identifier: MIT OR Apache-2.0
//! libfuse with the lab's patches, for the C programs in `clients/`.
//!
//! It is built from Debian's source with the C compiler of the target, as one object file, which is linked into each
//! program. The result stays in the cache, under a hash of the source's version, the patches, the configuration and the
//! compiler.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::upstream;
use crate::files;
use crate::lock::{self, Hold};

/// Line of `meson.build` with the version that the patches are for.
const VERSION: &str = "version: '3.17.2'";

/// Directory of the patches and of `config/`, in the checkout.
const PATCHES: &str = "clients/libfuse";

/// Files that make the library, as in `lib/meson.build`, without iconv.
const SOURCES: [&str; 15] = [
    "buffer.c",
    "compat.c",
    "cuse_lowlevel.c",
    "fuse.c",
    "fuse_log.c",
    "fuse_loop.c",
    "fuse_loop_mt.c",
    "fuse_lowlevel.c",
    "fuse_opt.c",
    "fuse_signals.c",
    "helper.c",
    "modules/subdir.c",
    "mount.c",
    "mount_util.c",
    "util.c",
];

/// Arguments of the compiler. 64-bit offsets and times: as in [`super::c`]. The rest is from libfuse's `meson.build`.
const FLAGS: [&str; 15] = [
    "-r",
    "-nostdlib",
    "-std=gnu11",
    "-O2",
    "-g",
    "-w",
    "-ffunction-sections",
    "-fno-strict-aliasing",
    "-D_FILE_OFFSET_BITS=64",
    "-D_TIME_BITS=64",
    "-D_REENTRANT",
    "-DHAVE_LIBFUSE_PRIVATE_CONFIG_H",
    "-DFUSE_USE_VERSION=317",
    "-DFUSERMOUNT_DIR=\"/usr/bin\"",
    "-I../include",
];

/// Name of the object file.
const OBJECT: &str = "libfuse3.o";

/// A built libfuse.
#[derive(Clone, Debug)]
pub(super) struct Libfuse {
    /// Directory of the object file and of the patched source.
    dir: PathBuf,
}

impl Libfuse {
    /// Returns libfuse for the compiler with the prefix `cross`. Downloads, patches and builds it first if the cache does
    /// not have it; `say` gets a line about that.
    ///
    /// # Errors
    /// The source cannot be downloaded or has another version, a patch does not apply, or the compiler fails.
    pub(super) fn build(
        checkout: &Path,
        cache: &Path,
        cross: &str,
        say: &mut dyn FnMut(String),
    ) -> Result<Self> {
        let cache = cache.join("libfuse");
        let waiting = "is building libfuse";
        let _lock = lock::lock(&cache.join("lock"), Hold::Exclusive, waiting, &mut *say)?;
        let ours = checkout.join(PATCHES);
        let patches = files::with_extension(&ours, "patch")?;
        let config = files::with_extension(&ours.join("config"), "h")?;
        let texts = [VERSION].into_iter().chain(FLAGS).chain(SOURCES);
        let inputs: Vec<_> = patches.iter().chain(&config).cloned().collect();
        let dir = cache.join(upstream::hash(cross, texts, &inputs)?);
        if !dir.is_dir() {
            let source = upstream::source("fuse3", &cache, say)?;
            if !files::read(&source.join("meson.build"))?.contains(VERSION) {
                bail!(
                    "the source in {} is not that of {VERSION}; adapt the patches in {PATCHES}",
                    source.display()
                );
            }
            say(format!("build libfuse with {cross}gcc; the result stays in {}", cache.display()));
            upstream::create(&dir, |tree| {
                upstream::patched(&source, tree, &patches)?;
                for header in &config {
                    let name = header.file_name().context("a header has a name")?;
                    files::write(&tree.join("include").join(name), files::read_bytes(header)?)?;
                }
                compile(cross, tree)
            })
            .context("build libfuse for the guest")?;
        }
        Ok(Libfuse { dir })
    }

    /// Returns the libfuse in `dir`, which need not exist.
    #[cfg(test)]
    pub(super) fn in_dir(dir: PathBuf) -> Self {
        Libfuse { dir }
    }

    /// Returns the object file with the library.
    pub(super) fn object(&self) -> PathBuf {
        self.dir.join(OBJECT)
    }

    /// Returns the arguments of the compiler for a program that is linked with the library. Programs can include libfuse's
    /// headers, and files of its source, such as `test/test_dmmap.c`.
    pub(super) fn flags(&self) -> Vec<String> {
        let include = format!("-I{}", self.dir.join("include").display());
        let source = format!("-I{}", self.dir.display());
        vec![include, source, "-Wl,--gc-sections".into(), "-lpthread".into(), "-ldl".into()]
    }

    /// Returns a short name of this build, which differs from that of every other.
    pub(super) fn name(&self) -> String {
        let name = self.dir.file_name().unwrap_or_default().to_string_lossy();
        format!("libfuse-{}", name.get(..16).unwrap_or(&name))
    }
}

/// Compiles the library in the patched source `tree`.
fn compile(cross: &str, tree: &Path) -> Result<()> {
    let object = tree.join(OBJECT).display().to_string();
    let args: Vec<String> =
        FLAGS.into_iter().chain(["-o", &object]).chain(SOURCES).map(str::to_owned).collect();
    upstream::run(&format!("{cross}gcc"), &args, &tree.join("lib"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Returns a checkout with two patches that make a header, and a source that they apply to.
    fn checkout(dir: &Path) -> (PathBuf, PathBuf) {
        let (checkout, cache) = (dir.join("checkout"), dir.join("cache"));
        let write = |path: PathBuf, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let patch = |from: &str, to: &str| {
            format!("--- a/include/a.h\n+++ b/include/a.h\n@@ -1 +1 @@\n-{from}\n+{to}\n")
        };
        write(checkout.join(PATCHES).join("0001-b.patch"), &patch("a", "b"));
        write(checkout.join(PATCHES).join("0002-c.patch"), &patch("b", "int c(void);"));
        write(checkout.join(PATCHES).join("config/fuse_config.h"), "#define C c\n");
        let source = cache.join("libfuse/source");
        write(source.join("meson.build"), "project('libfuse3', version: '3.17.2')\n");
        write(source.join("include/a.h"), "a\n");
        for file in SOURCES {
            write(source.join("lib").join(file), "");
        }
        let user = "#include <fuse_config.h>\n#include <a.h>\nint C(void) { return 3; }\n";
        write(source.join("lib/util.c"), user);
        (checkout, cache)
    }

    #[test]
    fn the_patched_source_is_built_once() {
        let dir = tempfile::tempdir().unwrap();
        let (checkout, cache) = checkout(dir.path());
        let mut lines = Vec::new();
        let mut build = || {
            let mut said = Vec::new();
            let built = Libfuse::build(&checkout, &cache, "", &mut |line| said.push(line)).unwrap();
            lines.extend(said);
            built
        };
        let first = build();
        assert!(first.object().is_file());
        assert_eq!(build().object(), first.object());
        let patch = checkout.join(PATCHES).join("0002-c.patch");
        fs::write(&patch, fs::read_to_string(&patch).unwrap().replace("(void);", "(void );"))
            .unwrap();
        let second = build();
        assert_ne!(second.object(), first.object());
        assert_ne!(second.name(), first.name());
        assert_eq!(lines.len(), 2);
        let line = lines[0].replace(&*cache.to_string_lossy(), "CACHE");
        insta::assert_snapshot!(line, @"build libfuse with gcc; the result stays in CACHE/libfuse");
    }

    #[test]
    fn a_patch_that_does_not_apply_and_another_version_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let (checkout, cache) = checkout(dir.path());
        let error = || {
            let error = Libfuse::build(&checkout, &cache, "", &mut |_| {}).unwrap_err();
            format!("{error:#}").replace(&*dir.path().to_string_lossy(), "DIR")
        };
        fs::write(cache.join("libfuse/source/include/a.h"), "other\n").unwrap();
        let message = error();
        assert!(message.contains("apply the patches"), "{message}");
        assert!(message.contains("patch failed: include/a.h:1"), "{message}");
        fs::write(cache.join("libfuse/source/meson.build"), "version: '4.0.0'\n").unwrap();
        insta::assert_snapshot!(error(), @"the source in DIR/cache/libfuse/source is not that of version: '3.17.2'; adapt the patches in clients/libfuse");
    }
}

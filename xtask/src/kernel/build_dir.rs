// SPDX-License-Identifier: MIT OR Apache-2.0
//! A directory in which kernels are built one after another. Each build reuses what the one before it has compiled.
//!
//! ```text
//! tree/       patched source; unchanged files keep their modification times
//! tree.files  identifier of the content of each file in tree/
//! obj/        output directory of make
//! scratch/    copies of the files that patches are applied to
//! fragment    merged config fragments
//! configured  digest of everything that obj/.config depends on
//! build.log   output of make in the last build
//! ```

use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::cache::{self, Cache};
use super::config::{self, ConfigOption};
use super::digest::{self, Listing};
use super::make::{self, Make};
use super::queue::{Applied, Queue};
use super::source::Base;
use super::toolchain::Toolchain;
use super::{Progress, tree};
use crate::files;
use crate::lock::{Hold, Lock};

/// A build directory that is locked by this process.
#[derive(Debug)]
pub(super) struct BuildDir {
    pub path: PathBuf,
    _lock: Lock,
}

/// Everything that determines the `.config`, apart from the source.
pub(super) struct Configuration<'a> {
    /// Make target that creates the `.config`, such as `allnoconfig`. It must be one that reads `KCONFIG_ALLCONFIG`.
    pub start: &'a str,
    /// Options that the `.config` must have.
    pub options: &'a [ConfigOption],
    /// Compiler and linker, which some options depend on.
    pub toolchain: &'a Toolchain,
}

impl BuildDir {
    /// Locks the build directory `name` for the source `base`. Waits while another process builds in it.
    pub(super) fn lock(
        cache: Cache,
        base: &Base,
        name: &str,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        let path = cache.slots().join(&base.id).join(name);
        let lock = cache::lock(
            &cache::lock_path(&path),
            Hold::Exclusive,
            "is building in the same directory",
            progress,
        )?;
        Ok(Self { path, _lock: lock })
    }

    /// Removes results of earlier builds that may be wrong. Returns true if make has to build everything.
    pub(super) fn prepare(&self) -> Result<bool> {
        let obj = self.obj();
        let prepare = || -> Result<bool> {
            fs::create_dir_all(&self.path)?;
            // Without a record, the tree is created anew. Existing objects could then be newer than source files that
            // they were not built from.
            let from_scratch =
                !obj.join(".config").exists() || make::was_killed(&obj) || !self.record().exists();
            if from_scratch {
                cache::remove_dir(&obj)?;
                files::remove(&self.path.join("configured"))?;
            }
            fs::create_dir_all(&obj)?;
            File::create(self.log())?;
            Ok(from_scratch)
        };
        prepare().with_context(|| format!("prepare {}", self.path.display()))
    }

    /// Updates the tree to the source `base` with `queue` applied.
    pub(super) fn patch(&self, base: &Base, queue: &Queue) -> Result<(Applied, Listing)> {
        let applied = queue.apply(&base.root, &self.path.join("scratch"))?;
        let files = tree::sync(base, &applied.overlay, &self.tree(), &self.record())?;
        Ok((applied, files))
    }

    /// Generates `obj/.config` and checks it. Does nothing if the inputs are the same as last time.
    pub(super) fn configure(
        &self,
        make: &Make,
        configuration: &Configuration,
        files: &Listing,
    ) -> Result<()> {
        let Configuration { start, options, toolchain } = configuration;
        let fragment = config::text(options);
        let kconfigs = || files.iter().filter(|(path, _)| is_kconfig(path));
        let from = digest::of_parts(
            [*start, &fragment, &toolchain.compiler, &toolchain.linker]
                .into_iter()
                .chain(kconfigs().flat_map(|(path, id)| [path.as_str(), id.as_str()]))
                .map(str::as_bytes),
        );
        let done = self.path.join("configured");
        if fs::read_to_string(&done).is_ok_and(|digest| digest == from) {
            return Ok(());
        }
        let fragment_file = self.path.join("fragment");
        files::write_atomically(&fragment_file, fragment)?;
        // Written to a new file: if the modification time of .config changes, make checks every object.
        let new = self.obj().join(".config.new");
        let variables =
            [("KCONFIG_ALLCONFIG", fragment_file.as_path()), ("KCONFIG_CONFIG", new.as_path())];
        make.run(&[start, "olddefconfig"], &variables, &mut |_, _| {})?;
        let text = files::read(&new)?;
        let dropped = config::dropped(options, &text);
        let definitions =
            config::definitions(&self.tree(), kconfigs().map(|(path, _)| path), &dropped);
        if let Some(error) = config::describe_dropped(&dropped, &definitions) {
            bail!("{error}");
        }
        let config = self.obj().join(".config");
        if fs::read_to_string(&config).is_ok_and(|old| old == text) {
            files::remove(&new)?;
        } else {
            fs::rename(&new, &config).with_context(|| format!("write {}", config.display()))?;
        }
        files::write_atomically(&done, from)
    }

    pub(super) fn tree(&self) -> PathBuf {
        self.path.join("tree")
    }

    fn record(&self) -> PathBuf {
        self.path.join("tree.files")
    }

    pub(super) fn obj(&self) -> PathBuf {
        self.path.join("obj")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("build.log")
    }
}

/// Returns true for the files that the `.config` may depend on: Kconfig files, and the tools that read them.
fn is_kconfig(path: &str) -> bool {
    files::last_component(path).starts_with("Kconfig")
        || (path.starts_with("scripts/") && !path.contains("/dtc/"))
}

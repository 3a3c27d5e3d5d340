// SPDX-License-Identifier: MIT OR Apache-2.0
//! A slot: the build directory for one source, target and flavour, which is reused for every build.
//!
//! ```text
//! tree/       patched source; unchanged files keep their modification times
//! tree.files  identifier of the content of each file in tree/
//! obj/        output directory of make
//! scratch/    copies of the files that patches are applied to
//! fragment    merged config fragments
//! configured  digest of everything that obj/.config depends on
//! result/     finished kernel, before it is moved to its final directory
//! build.log   output of make in the last build
//! ```

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::cache::{self, Cache};
use super::config;
use super::coverage_files;
use super::digest::{self, Listing};
use super::make::{self, Make};
use super::queue::Applied;
use super::source::Base;
use super::{BUILD_INFO, BuildInfo, Inputs, Progress, Request, file_name, tree};
use crate::files;
use crate::lock::{Hold, Lock};

/// A slot that is locked by this process.
pub(super) struct Slot<'a> {
    request: &'a Request<'a>,
    dir: PathBuf,
    estimate: PathBuf,
    _lock: Lock,
}

impl<'a> Slot<'a> {
    /// Locks the slot for the request. Waits while another process builds in it.
    pub(super) fn lock(
        cache: Cache,
        base: &Base,
        request: &'a Request,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        let name = format!("{}-{}", request.target.name, request.flavour);
        let dir = cache.slots().join(&base.id).join(&name);
        let lock = cache::lock(
            &cache::lock_path(&dir),
            Hold::Exclusive,
            "is building in the same directory",
            progress,
        )?;
        let estimate = cache.estimates().join(format!("{}-{name}", base.version));
        Ok(Slot { request, dir, estimate, _lock: lock })
    }

    /// Builds the kernel and moves it to the directory `kernel`.
    pub(super) fn build(
        &self,
        inputs: &Inputs,
        hash: &str,
        kernel: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<()> {
        let from_scratch = self.prepare()?;
        progress(Progress::step("patch the source".into()));
        let applied = inputs.queue.apply(&inputs.base.root, &self.dir.join("scratch"))?;
        let files = tree::sync(&inputs.base, &applied.overlay, &self.tree(), &self.record())?;
        progress(Progress::step("configure".into()));
        self.configure(inputs, &files)?;
        self.compile(from_scratch, progress)?;
        progress(Progress::step("store the kernel in the cache".into()));
        self.publish(inputs, &applied, hash, kernel)
    }

    /// Removes results of earlier builds that may be wrong. Returns true if make has to build everything.
    fn prepare(&self) -> Result<bool> {
        let obj = self.obj();
        let prepare = || -> Result<bool> {
            fs::create_dir_all(&self.dir)?;
            cache::remove_dir(&self.dir.join("result"))?;
            // Without a record, the tree is created anew. Existing objects could then be newer than source files that
            // they were not built from.
            let from_scratch =
                !obj.join(".config").exists() || make::was_killed(&obj) || !self.record().exists();
            if from_scratch {
                cache::remove_dir(&obj)?;
                files::remove(&self.dir.join("configured"))?;
            }
            fs::create_dir_all(&obj)?;
            File::create(self.log())?;
            Ok(from_scratch)
        };
        prepare().with_context(|| format!("prepare {}", self.dir.display()))
    }

    /// Generates `obj/.config` and checks it. Does nothing if the inputs are the same as last time.
    fn configure(&self, inputs: &Inputs, files: &Listing) -> Result<()> {
        let fragment = config::text(&inputs.options);
        let kconfigs = || files.iter().filter(|(path, _)| is_kconfig(path));
        let from = digest::of_parts(
            [&fragment, &inputs.toolchain.compiler, &inputs.toolchain.linker]
                .into_iter()
                .chain(kconfigs().flat_map(|(path, id)| [path, id]))
                .map(|part| part.as_bytes()),
        );
        let done = self.dir.join("configured");
        if fs::read_to_string(&done).is_ok_and(|digest| digest == from) {
            return Ok(());
        }
        let fragment_file = self.dir.join("fragment");
        files::write_atomically(&fragment_file, fragment)?;
        // Written to a new file: if the modification time of .config changes, make checks every object.
        let new = self.obj().join(".config.new");
        let variables =
            [("KCONFIG_ALLCONFIG", fragment_file.as_path()), ("KCONFIG_CONFIG", new.as_path())];
        self.make().run(&["allnoconfig", "olddefconfig"], &variables, &mut |_, _| {})?;
        let text = files::read(&new)?;
        let dropped = config::dropped(&inputs.options, &text);
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

    fn compile(&self, from_scratch: bool, progress: &mut dyn FnMut(Progress)) -> Result<()> {
        // The total number of steps is known only for a build from scratch, and only from an earlier one.
        let estimate =
            fs::read_to_string(&self.estimate).ok().and_then(|text| text.trim().parse().ok());
        let of = estimate.filter(|_| from_scratch);
        let spec = &self.request.target.kernel;
        let mut report = |done, what: &str| progress(Progress { done, of, what: what.to_owned() });
        let targets: Vec<&str> = spec.make.split_whitespace().collect();
        let steps = self.make().run(&targets, &[], &mut report)?;
        if from_scratch {
            files::create_dir(self.estimate.parent().expect("a file in the cache has a parent"))?;
            files::write_atomically(&self.estimate, steps.to_string())?;
        }
        Ok(())
    }

    fn publish(&self, inputs: &Inputs, applied: &Applied, hash: &str, kernel: &Path) -> Result<()> {
        let (obj, result) = (self.obj(), self.dir.join("result"));
        files::create_dir(&result)?;
        let spec = &self.request.target.kernel;
        let boot_files = std::iter::once(&spec.image).chain(&spec.dtb);
        let boot_files = boot_files.map(|path| (path.as_str(), file_name(path)));
        let always = ["vmlinux", "System.map"].map(|name| (name, name));
        for (from, to) in boot_files.chain(always).chain([(".config", "config")]) {
            cache::copy_synced(&obj.join(from), &result.join(to))?;
        }
        if let Some(dir) = self.request.coverage {
            let trees =
                coverage_files::Trees { base: &inputs.base.root, tree: &self.tree(), obj: &obj };
            coverage_files::publish(dir, &trees, &applied.overlay, &result)?;
        }
        let info = BuildInfo {
            version: files::read(&obj.join("include/config/kernel.release"))?.trim().to_owned(),
            hash: hash.to_owned(),
            config_hash: digest::of(files::read(&obj.join(".config"))?.as_bytes()),
            compiler: inputs.toolchain.compiler.clone(),
            linker: inputs.toolchain.linker.clone(),
            target: self.request.target.name.clone(),
            flavour: self.request.flavour.to_owned(),
            source: inputs.base.name.clone(),
            patches: inputs.queue.patches.iter().map(|patch| patch.name.clone()).collect(),
            present_fixes: applied.present.clone(),
            image: file_name(&spec.image).to_owned(),
            dtb: spec.dtb.as_deref().map(|dtb| file_name(dtb).to_owned()),
        };
        let info = serde_json::to_string_pretty(&info).context("serialize build.json")?;
        files::write_atomically(&result.join(BUILD_INFO), info)?;
        cache::publish(&result, kernel)
    }

    fn make(&self) -> Make<'_> {
        Make {
            tree: self.tree(),
            obj: self.obj(),
            log: self.log(),
            spec: &self.request.target.kernel,
            coverage: self.request.coverage,
            kcsan: self.request.kcsan,
            jobs: self.request.jobs,
        }
    }

    fn tree(&self) -> PathBuf {
        self.dir.join("tree")
    }

    fn record(&self) -> PathBuf {
        self.dir.join("tree.files")
    }

    fn obj(&self) -> PathBuf {
        self.dir.join("obj")
    }

    fn log(&self) -> PathBuf {
        self.dir.join("build.log")
    }
}

/// Returns true for the files that the `.config` may depend on: Kconfig files, and the tools that read them.
fn is_kconfig(path: &str) -> bool {
    file_name(path).starts_with("Kconfig")
        || (path.starts_with("scripts/") && !path.contains("/dtc/"))
}

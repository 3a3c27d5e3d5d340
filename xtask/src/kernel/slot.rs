// SPDX-License-Identifier: MIT OR Apache-2.0
//! A slot: the build directory for one source, target and flavour, which is reused for every build. In addition to the
//! files of every [`BuildDir`], it has the directory `result/` with a finished kernel, before it is moved to its final
//! directory.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::build_dir::{BuildDir, Configuration};
use super::cache::{self, Cache};
use super::coverage_files;
use super::digest;
use super::make::{self, Make};
use super::modules;
use super::queue::Applied;
use super::source::Base;
use super::{BUILD_INFO, BuildInfo, Inputs, Progress, Request};
use crate::files;

/// A slot that is locked by this process.
pub(super) struct Slot<'a> {
    request: &'a Request<'a>,
    base: &'a Base,
    dir: BuildDir,
    estimate: PathBuf,
}

impl<'a> Slot<'a> {
    /// Locks the slot for the request. Waits while another process builds in it.
    pub(super) fn lock(
        cache: Cache,
        base: &'a Base,
        request: &'a Request<'a>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        let name = format!("{}-{}", request.target.name, request.flavour);
        let dir = BuildDir::lock(cache, base, &name, progress)?;
        let estimate = cache.estimates().join(format!("{}-{name}", base.version));
        Ok(Slot { request, base, dir, estimate })
    }

    /// Builds the kernel and moves it to the directory `kernel`.
    pub(super) fn build(
        &self,
        inputs: &Inputs,
        hash: &str,
        kernel: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<()> {
        let result = self.result();
        cache::remove_dir(&result).with_context(|| format!("remove {}", result.display()))?;
        let from_scratch = self.dir.prepare()?;
        progress(Progress::step("patch the source".into()));
        let (applied, files) = self.dir.patch(self.base, &inputs.queue)?;
        progress(Progress::step("configure".into()));
        let configuration = Configuration {
            start: "allnoconfig",
            options: &inputs.options,
            toolchain: &inputs.toolchain,
        };
        self.dir.configure(&self.make(), &configuration, &files)?;
        self.compile(inputs, from_scratch, progress)?;
        progress(Progress::step("store the kernel in the cache".into()));
        self.publish(inputs, &applied, hash, kernel)
    }

    fn compile(
        &self,
        inputs: &Inputs,
        from_scratch: bool,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<()> {
        // The total number of steps is known only for a build from scratch, and only from an earlier one.
        let estimate =
            fs::read_to_string(&self.estimate).ok().and_then(|text| text.trim().parse().ok());
        let of = estimate.filter(|_| from_scratch);
        let spec = &self.request.target.kernel;
        let mut report = |done, what: &str| progress(Progress { done, of, what: what.to_owned() });
        let mut targets: Vec<&str> = spec.make.split_whitespace().collect();
        if inputs.has_modules() {
            targets.push(modules::TARGET);
        }
        let steps = self.make().run(&targets, &[], &mut report)?;
        if from_scratch {
            files::create_dir(self.estimate.parent().expect("a file in the cache has a parent"))?;
            files::write_atomically(&self.estimate, steps.to_string())?;
        }
        Ok(())
    }

    fn publish(&self, inputs: &Inputs, applied: &Applied, hash: &str, kernel: &Path) -> Result<()> {
        let (obj, result) = (self.dir.obj(), self.result());
        files::create_dir(&result)?;
        let spec = &self.request.target.kernel;
        let boot_files = std::iter::once(&spec.image).chain(&spec.dtb);
        let boot_files = boot_files.map(|path| (path.as_str(), files::last_component(path)));
        let always = ["vmlinux", "System.map"].map(|name| (name, name));
        for (from, to) in boot_files.chain(always).chain([(".config", "config")]) {
            cache::copy_synced(&obj.join(from), &result.join(to))?;
        }
        let modules = match inputs.has_modules() {
            true => modules::publish(&obj, &result)?,
            false => Vec::new(),
        };
        if let Some(dir) = self.request.coverage {
            let trees =
                coverage_files::Trees { base: &self.base.root, tree: &self.dir.tree(), obj: &obj };
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
            source: self.base.name.clone(),
            patches: inputs.queue.patches.iter().map(|patch| patch.name.clone()).collect(),
            present_fixes: applied.present.clone(),
            image: files::last_component(&spec.image).to_owned(),
            dtb: spec.dtb.as_deref().map(|dtb| files::last_component(dtb).to_owned()),
            modules,
        };
        let info = serde_json::to_string_pretty(&info).context("serialize build.json")?;
        files::write_atomically(&result.join(BUILD_INFO), info)?;
        cache::publish(&result, kernel)
    }

    fn make(&self) -> Make<'_> {
        let coverage = self.request.coverage.map(make::coverage_setting).into_iter();
        let kcsan = self.request.kcsan.map(make::kcsan_setting);
        Make {
            tree: self.dir.tree(),
            obj: self.dir.obj(),
            log: self.dir.log(),
            spec: &self.request.target.kernel,
            settings: coverage.chain(kcsan).collect(),
            jobs: self.request.jobs,
        }
    }

    fn result(&self) -> PathBuf {
        self.dir.path.join("result")
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! A slot: the directory where the kernel of one source, target and flavour is built, again and again.
//!
//! ```text
//! tree/       the source with the patches; files that did not change keep their times
//! tree.files  what is in each of them
//! obj/        what make writes
//! scratch/    where patches are applied
//! fragment    the merged fragments
//! configured  digest of all that obj/.config came from
//! result/     a finished kernel, about to be moved to its place
//! build.log   what make printed the last time
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::cache::{self, Cache};
use super::config;
use super::counted;
use super::make::{self, Make};
use super::queue::Overlay;
use super::source::{Base, Listing};
use super::{Inputs, LABEL, Label, Progress, Request, digest, file_name, tree};
use crate::lock::Lock;

/// A slot that is ours alone.
pub(super) struct Slot<'a> {
    request: &'a Request<'a>,
    dir: PathBuf,
    estimate: PathBuf,
    _lock: Lock,
}

impl<'a> Slot<'a> {
    /// The slot for the request, once nobody else builds in it.
    pub(super) fn lock(
        cache: Cache,
        base: &Base,
        request: &'a Request,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        let name = format!("{}-{}", request.target.name, request.flavour);
        let dir = cache.slots().join(&base.id).join(&name);
        let lock = cache::lock(&cache::lock_of(&dir), "builds in the same place", progress)?;
        let estimate = cache.estimates().join(name);
        Ok(Slot {
            request,
            dir,
            estimate,
            _lock: lock,
        })
    }

    /// Builds the kernel and puts it into the directory `kernel`.
    pub(super) fn build(
        &self,
        inputs: &Inputs,
        hash: &str,
        kernel: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<()> {
        let anew = self.prepare()?;
        progress(Progress::step("patch the source".into()));
        let scratch = self.dir.join("scratch");
        let overlay = inputs.queue.apply(&inputs.base.root, &scratch)?;
        let files = tree::follow(&inputs.base, &overlay, &self.tree(), &self.record())?;
        progress(Progress::step("configure".into()));
        self.configure(inputs, &files)?;
        self.compile(anew, progress)?;
        progress(Progress::step("put the kernel into the cache".into()));
        self.publish(inputs, &overlay, hash, kernel)
    }

    /// Throws away what cannot be trusted. Whether make starts from nothing.
    fn prepare(&self) -> Result<bool> {
        let obj = self.obj();
        let prepare = || -> io::Result<bool> {
            fs::create_dir_all(&self.dir)?;
            cache::remove_dir(&self.dir.join("result"))?;
            // Objects of a tree that is made anew may be newer than its files and yet made of others.
            let anew =
                !obj.join(".config").exists() || make::was_killed(&obj) || !self.record().exists();
            if anew {
                cache::remove_dir(&obj)?;
                remove_file(&self.dir.join("configured"))?;
            }
            fs::create_dir_all(&obj)?;
            File::create(self.log())?;
            Ok(anew)
        };
        prepare().with_context(|| format!("prepare {}", self.dir.display()))
    }

    /// Makes `obj/.config` and checks it, unless it came from the very same before.
    fn configure(&self, inputs: &Inputs, files: &Listing) -> Result<()> {
        let fragment = config::text(&inputs.wishes);
        let kconfigs = || files.iter().filter(|(path, _)| is_kconfig(path));
        let from = digest::of_parts(
            [
                &fragment,
                &inputs.toolchain.compiler,
                &inputs.toolchain.linker,
            ]
            .into_iter()
            .chain(kconfigs().flat_map(|(path, id)| [path, id]))
            .map(|part| part.as_bytes()),
        );
        let done = self.dir.join("configured");
        if fs::read_to_string(&done).is_ok_and(|digest| digest == from) {
            return Ok(());
        }
        let fragment_file = self.dir.join("fragment");
        crate::paths::write_whole(&fragment_file, fragment.as_bytes())?;
        // Aside, because a new time on .config costs make a look at everything.
        let new = self.obj().join(".config.new");
        let variables = [
            ("KCONFIG_ALLCONFIG", fragment_file.as_path()),
            ("KCONFIG_CONFIG", new.as_path()),
        ];
        self.make()
            .run(&["allnoconfig", "olddefconfig"], &variables, &mut |_, _| {})?;
        let text = read(&new)?;
        let dropped = config::dropped(&inputs.wishes, &text);
        let definitions =
            config::definitions(&self.tree(), kconfigs().map(|(path, _)| path), &dropped);
        if let Some(complaint) = config::complaint(&dropped, &definitions) {
            bail!("{complaint}");
        }
        let config = self.obj().join(".config");
        if fs::read_to_string(&config).is_ok_and(|old| old == text) {
            remove_file(&new).context("remove a file of the build directory")?;
        } else {
            fs::rename(&new, &config).with_context(|| format!("write {}", config.display()))?;
        }
        crate::paths::write_whole(&done, from.as_bytes())
    }

    fn compile(&self, anew: bool, progress: &mut dyn FnMut(Progress)) -> Result<()> {
        // How many steps make will take is only known for a build from nothing, from the one before.
        let known = fs::read_to_string(&self.estimate)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        let of = known.filter(|_| anew);
        let spec = &self.request.target.kernel;
        let mut report = |done, what: &str| {
            progress(Progress {
                done,
                of,
                what: what.to_owned(),
            })
        };
        let targets: Vec<&str> = spec.make.split_whitespace().collect();
        let steps = self.make().run(&targets, &[], &mut report)?;
        if anew {
            let dir = self.estimate.parent().expect("below the cache");
            fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
            crate::paths::write_whole(&self.estimate, steps.to_string().as_bytes())?;
        }
        Ok(())
    }

    fn publish(&self, inputs: &Inputs, overlay: &Overlay, hash: &str, kernel: &Path) -> Result<()> {
        let (obj, result) = (self.obj(), self.dir.join("result"));
        fs::create_dir_all(&result).with_context(|| format!("make {}", result.display()))?;
        let spec = &self.request.target.kernel;
        let named = std::iter::once(&spec.image).chain(&spec.dtb);
        let named = named.map(|path| (path.as_str(), file_name(path)));
        let always = ["vmlinux", "System.map"].map(|name| (name, name));
        for (from, to) in named.chain(always).chain([(".config", "config")]) {
            copy_synced(&obj.join(from), &result.join(to))?;
        }
        if let Some(dir) = self.request.count {
            let trees = counted::Trees {
                base: &inputs.base.root,
                tree: &self.tree(),
                obj: &obj,
            };
            counted::publish(dir, &trees, overlay, &result)?;
        }
        let label = Label {
            version: read(&obj.join("include/config/kernel.release"))?
                .trim()
                .to_owned(),
            hash: hash.to_owned(),
            config_hash: digest::of(read(&obj.join(".config"))?.as_bytes()),
            compiler: inputs.toolchain.compiler.clone(),
            linker: inputs.toolchain.linker.clone(),
            target: self.request.target.name.clone(),
            flavour: self.request.flavour.to_owned(),
            source: inputs.base.name.clone(),
            patches: inputs
                .queue
                .patches
                .iter()
                .map(|patch| patch.name.clone())
                .collect(),
            image: file_name(&spec.image).to_owned(),
            dtb: spec.dtb.as_deref().map(|dtb| file_name(dtb).to_owned()),
        };
        let label = serde_json::to_string_pretty(&label).context("describe the kernel")?;
        crate::paths::write_whole(&result.join(LABEL), label.as_bytes())?;
        cache::publish(&result, kernel)
    }

    fn make(&self) -> Make<'_> {
        Make {
            tree: self.tree(),
            obj: self.obj(),
            log: self.log(),
            spec: &self.request.target.kernel,
            count: self.request.count,
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

/// Whether what a configuration comes out as may depend on the file: the options, and the tools that read them.
fn is_kconfig(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.starts_with("Kconfig") || (path.starts_with("scripts/") && !path.contains("/dtc/"))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Copies a file and waits until the copy is on disk: what is in the cache outlives a power cut.
pub(super) fn copy_synced(from: &Path, to: &Path) -> Result<()> {
    let copy = || -> io::Result<()> {
        fs::copy(from, to)?;
        File::open(to)?.sync_all()
    };
    copy().with_context(|| format!("copy {} to {}", from.display(), to.display()))
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernels: source + patch queue + config + tools -> a content hash -> a finished kernel in the user's cache.
//!
//! | module | what it knows |
//! |---|---|
//! | [`source`], `debian`, `own` | where an unpatched source comes from and what is in it |
//! | [`queue`] | the patches: reading, applying, what is wrong with one that does not apply |
//! | `tree` | a source tree that follows source and patches and touches no file whose content stays |
//! | [`config`] | fragments: merging, checking what the kernel's tools made of them |
//! | `make`, `log` | running make; what it prints, and which of it says why it failed |
//! | [`counted`] | what is kept of the source of a kernel that counts which of its lines run |
//! | `slot` | a build directory: all of the above, one after the other |
//! | [`edit`] | the queue as a git tree, and back |
//! | [`cache`] | where things lie, locks, cleaning |

pub(crate) mod cache;
pub(crate) mod config;
pub(crate) mod counted;
mod digest;
pub mod edit;
mod log;
mod make;
mod own;
pub(crate) mod queue;
mod slot;
pub(crate) mod source;
mod toolchain;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::lock::Lock;
use crate::target::{KernelSpec, Target};
use cache::Cache;
use queue::Queue;
use source::Base;
use toolchain::Toolchain;

pub(crate) use crate::interrupt::Interrupted;
pub use cache::clean;
pub use source::Source;

/// Counts up whenever the same input would give another kernel than before, because this module has changed.
const RECIPE: u32 = 1;

/// Held while a kernel is built: make takes every core by itself.
static BUILDING: Mutex<()> = Mutex::new(());

/// Which kernel to build.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Root of the checkout: `kernel-configs` and `kernel-patches` are there.
    pub checkout: &'a Path,
    /// The lab's directory in the user's cache.
    pub cache: &'a Path,
    /// The machine it is for.
    pub target: &'a Target,
    /// Name of the config overlay.
    pub flavour: &'a str,
    /// What the kernel counts the lines of: [`crate::flavour::Flavour::count`].
    pub count: Option<&'a str>,
    /// Where the source comes from.
    pub source: Source,
    /// Whether the patch queue is applied.
    pub queue: bool,
    /// Patches on top of it, in the order they apply.
    pub patches: &'a [PathBuf],
    /// Compilers at a time.
    pub jobs: usize,
}

/// A finished kernel. It is not cleaned away while this lives.
#[derive(Clone, Debug)]
pub struct Built {
    /// Its directory in the cache.
    pub dir: PathBuf,
    /// What QEMU boots.
    pub image: PathBuf,
    /// The device tree for it, where the machine has none of its own.
    pub dtb: Option<PathBuf>,
    /// The ELF file for gdb.
    pub vmlinux: PathBuf,
    /// The `.config` it was built with.
    pub config: PathBuf,
    /// `uname -r`.
    pub version: String,
    /// SHA-256 over all that went into it.
    pub hash: String,
    /// SHA-256 of the `.config`.
    pub config_hash: String,
    /// What the compiler says of itself.
    pub compiler: String,
    /// Whether it was there before.
    pub from_cache: bool,
    /// None for a kernel that is not in the cache.
    _lease: Option<Lock>,
}

impl Built {
    /// A kernel that somebody else built. Nothing is known of it but its bytes. A device tree that the machine needs
    /// is beside it.
    ///
    /// # Errors
    /// The image cannot be read, or the device tree is not there.
    pub fn elsewhere(image: &Path, spec: &KernelSpec) -> Result<Self> {
        let image = image
            .canonicalize()
            .with_context(|| format!("find the kernel image {}", image.display()))?;
        let bytes = fs::read(&image).with_context(|| format!("read {}", image.display()))?;
        let dir = image.parent().unwrap_or(Path::new("/")).to_owned();
        let dtb = spec.dtb.as_deref().map(|dtb| dir.join(file_name(dtb)));
        if let Some(dtb) = dtb.as_deref().filter(|dtb| !dtb.is_file()) {
            bail!(
                "the machine needs {} beside the kernel image: copy it there from {} of the build directory",
                dtb.display(),
                spec.dtb.as_deref().unwrap_or_default()
            );
        }
        Ok(Built {
            vmlinux: dir.join("vmlinux"),
            config: dir.join(".config"),
            dir,
            image,
            dtb,
            version: String::new(),
            hash: digest::of(&bytes),
            config_hash: String::new(),
            compiler: String::new(),
            from_cache: true,
            _lease: None,
        })
    }
}

/// Where the image of a kernel and its device tree will be, for a reader: the hash is known only once its source is
/// there.
pub(crate) fn planned(cache: &Path, spec: &KernelSpec) -> (PathBuf, Option<PathBuf>) {
    let dir = Cache(cache).kernels().join("HASH");
    let dtb = spec.dtb.as_deref().map(|dtb| dir.join(file_name(dtb)));
    (dir.join(file_name(&spec.image)), dtb)
}

/// The last part of a path inside a build directory: its name in the kernel's directory.
fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// What is being done right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Steps done.
    pub done: u64,
    /// Steps in all, where known.
    pub of: Option<u64>,
    /// The step: `CC fs/fuse/dev.o`.
    pub what: String,
}

impl Progress {
    /// A step that is not counted.
    pub fn step(what: String) -> Self {
        Progress {
            done: 0,
            of: None,
            what,
        }
    }
}

/// All that goes into a kernel.
struct Inputs {
    base: Base,
    queue: Queue,
    wishes: Vec<config::Wish>,
    toolchain: Toolchain,
}

/// Builds the kernel, or finds it in the cache.
///
/// # Errors
/// The source cannot be had, a patch does not apply, an option does not survive, the compiler fails, the disk is
/// full: each says what and where. [`Interrupted`].
pub fn build(request: &Request, progress: &mut dyn FnMut(Progress)) -> Result<Built> {
    let built = find_or_build(request, progress);
    built.map_err(|error| hint(error, request.cache))
}

fn find_or_build(request: &Request, progress: &mut dyn FnMut(Progress)) -> Result<Built> {
    check_path(request.cache)?;
    let cache = Cache(request.cache);
    let inputs = inputs(request, cache, progress)?;
    let hash = inputs.hash(request);
    let dir = cache.kernels().join(&hash);
    if let Some(built) = find(&dir, true)? {
        return Ok(built);
    }
    let slot = slot::Slot::lock(cache, &inputs.base, request, progress)?;
    // Another run may have built it while this one waited.
    if let Some(built) = find(&dir, true)? {
        return Ok(built);
    }
    let turn = match BUILDING.try_lock() {
        Ok(turn) => turn,
        Err(_) => {
            progress(Progress::step("waits until another kernel is built".into()));
            BUILDING.lock().unwrap_or_else(PoisonError::into_inner)
        }
    };
    slot.build(&inputs, &hash, &dir, progress)?;
    drop(turn);
    match find(&dir, false)? {
        Some(built) => Ok(built),
        None => bail!(
            "{} was removed while it was built: run again",
            dir.display()
        ),
    }
}

fn inputs(request: &Request, cache: Cache, progress: &mut dyn FnMut(Progress)) -> Result<Inputs> {
    // What costs nothing comes first: a typing error should not have to wait for a download.
    let target = &request.target.name;
    let wishes = config::read(request.checkout, target, request.flavour, request.queue)?;
    let toolchain = Toolchain::find(&request.target.kernel.cross)?;
    let base = source::open(&request.source, cache, progress)?;
    let fixes = &request.target.kernel.fixes;
    let mut queue = queue::fixes(request.checkout, &base.series, fixes)?;
    if request.queue {
        queue
            .patches
            .extend(queue::read(request.checkout, &base.series)?.patches);
    }
    queue.add(request.patches)?;
    Ok(Inputs {
        base,
        queue,
        wishes,
        toolchain,
    })
}

impl Inputs {
    fn hash(&self, request: &Request) -> String {
        let spec = &request.target.kernel;
        let recipe = RECIPE.to_string();
        let wishes = config::text(&self.wishes);
        let mut parts = vec![
            recipe.as_bytes(),
            self.base.content.as_bytes(),
            wishes.as_bytes(),
            self.toolchain.compiler.as_bytes(),
            self.toolchain.linker.as_bytes(),
        ];
        let words = [&spec.arch, &spec.cross, &spec.make, &spec.image];
        parts.extend(
            words
                .into_iter()
                .chain(&spec.dtb)
                .map(|word| word.as_bytes()),
        );
        parts.extend(request.count.map(str::as_bytes));
        parts.extend(self.queue.patches.iter().map(|patch| patch.text.as_slice()));
        digest::of_parts(parts)
    }
}

/// What is written beside a finished kernel.
#[derive(Serialize, Deserialize)]
struct Label {
    version: String,
    hash: String,
    config_hash: String,
    compiler: String,
    linker: String,
    target: String,
    flavour: String,
    source: String,
    patches: Vec<String>,
    image: String,
    #[serde(default)]
    dtb: Option<String>,
}

/// Name of the [`Label`] in a kernel's directory.
const LABEL: &str = "build.json";

fn find(dir: &Path, from_cache: bool) -> Result<Option<Built>> {
    let Some(lease) = cache::lease(dir)? else {
        return Ok(None);
    };
    let path = dir.join(LABEL);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let label: Label =
        serde_json::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
    Ok(Some(Built {
        dir: dir.to_owned(),
        image: dir.join(label.image),
        dtb: label.dtb.map(|dtb| dir.join(dtb)),
        vmlinux: dir.join("vmlinux"),
        config: dir.join("config"),
        version: label.version,
        hash: label.hash,
        config_hash: label.config_hash,
        compiler: label.compiler,
        from_cache,
        _lease: Some(lease),
    }))
}

fn check_path(cache: &Path) -> Result<()> {
    let text = cache.to_string_lossy();
    if !cache.is_absolute() || text.contains(|c: char| c.is_whitespace() || c == ':') {
        bail!(
            "a kernel cannot be built in {text:?}: its makefiles take neither relative paths nor spaces nor \
             colons; set XDG_CACHE_HOME to another directory"
        );
    }
    Ok(())
}

/// Adds what to do about an error whose cause is elsewhere.
fn hint(error: anyhow::Error, cache: &Path) -> anyhow::Error {
    let full = error
        .chain()
        .any(|cause| cause.to_string().contains("No space left on device"));
    match full {
        true => error.context(format!(
            "the disk that has {} is full; `cargo xtask clean --older-than 0s` frees what the lab keeps there",
            cache.display()
        )),
        false => error,
    }
}

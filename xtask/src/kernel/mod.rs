// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds kernels. Source, patch queue, configuration and tools determine a content hash. The finished kernel is stored
//! in the user's cache under that hash.
//!
//! | module | task |
//! |---|---|
//! | `toolchain` | reads the versions of compiler and linker |
//! | [`source`], `user_tree` | obtains an unpatched source and lists its files |
//! | [`queue`] | reads and applies the patches, and explains why a patch does not apply |
//! | `fixes` | finds fixes, which targets and queues share |
//! | `stacks` | parses the headings that divide the queue into stacks |
//! | `tree` | updates a patched source tree without touching files whose content stays the same |
//! | [`config`] | merges config fragments and checks the resulting `.config` |
//! | `make`, `log` | runs make and extracts steps and errors from its output |
//! | [`selftests`] | a copy of the kernel's selftests to build in, and the headers for programs |
//! | `coverage_files` | keeps the files that a coverage report needs |
//! | `modules` | keeps the loadable modules, in the order in which they can be loaded |
//! | `build_dir` | a directory for builds, with a patched source and a `.config` |
//! | `slot` | builds one kernel in a build directory, with all of the above |
//! | `system_map` | finds the `System.map` of the user's image |
//! | [`edit`] | converts the queue to a git tree and back |
//! | `branches` | marks the stacks in that tree with branches |
//! | `sender` | puts the user's name into patches to send |
//! | [`mail`] | writes a stack as mails |
//! | [`port`] | carries the queue to another version, and compares the queues of two versions |
//! | [`check`] | checks each patch: style, documentation, builds |
//! | `digest` | computes SHA-256 digests |
//! | [`cache`] | locates, locks and cleans the directories of the cache |

mod branches;
mod build_dir;
pub(crate) mod cache;
pub mod check;
pub(crate) mod config;
pub(crate) mod coverage_files;
mod digest;
pub mod edit;
mod fixes;
mod log;
pub mod mail;
mod make;
mod modules;
pub mod port;
pub(crate) mod queue;
pub(crate) mod selftests;
mod sender;
mod slot;
pub(crate) mod source;
pub(crate) mod stacks;
mod system_map;
mod toolchain;
mod tree;
mod user_tree;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::files;
use crate::kernel_version::Version;
use crate::lock::Lock;
use crate::output::errln;
use crate::target::{KernelSpec, Target};
use cache::Cache;
use queue::Queue;
use source::Base;
use toolchain::Toolchain;

pub(crate) use crate::interrupt::Interrupted;
pub use cache::clean;
pub(crate) use make::{ignored, unset};
pub use queue::Selection;
pub use sender::Identity;
pub use source::Source;

/// Version of the build procedure. Increase it when a change to this module makes the same inputs produce a different
/// kernel.
const RECIPE: u32 = 1;

/// Lock held during a kernel build. Kernels are built one at a time, because make uses all cores.
static BUILDING: Mutex<()> = Mutex::new(());

/// Description of the kernel to build.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Root of the checkout, which contains `kernel-configs` and `kernel-patches`.
    pub checkout: &'a Path,
    /// The lab's directory in the user's cache.
    pub cache: &'a Path,
    /// Machine that the kernel is for.
    pub target: &'a Target,
    /// Name of the config overlay.
    pub flavour: &'a str,
    /// Source directory that is compiled for coverage, if any.
    pub coverage: Option<&'a str>,
    /// Source directory that is compiled for KCSAN, if any.
    pub kcsan: Option<&'a str>,
    /// Origin of the source.
    pub source: Source,
    /// Part of the patch queue to apply.
    pub queue: &'a Selection,
    /// Additional patches, applied in this order after the queue.
    pub patches: &'a [PathBuf],
    /// Further options of the kernel, which take precedence: each is `OPTION=VALUE` or the path of a config fragment.
    pub config: &'a [String],
    /// Number of parallel jobs of make.
    pub jobs: usize,
}

/// A finished kernel. `cargo xtask clean` does not remove it while this value exists.
#[derive(Clone, Debug)]
pub struct Built {
    /// Directory in the cache, or the directory of the user's image.
    pub dir: PathBuf,
    /// Image that QEMU boots.
    pub image: PathBuf,
    /// Device tree, if QEMU has to pass one to the kernel.
    pub dtb: Option<PathBuf>,
    /// Loadable modules, in the order in which they can be loaded.
    pub modules: Vec<PathBuf>,
    /// ELF file for gdb.
    pub vmlinux: PathBuf,
    /// The kernel's `.config`.
    pub config: PathBuf,
    /// The kernel's `System.map`; `None` if the user's image has none.
    pub system_map: Option<PathBuf>,
    /// Output of `uname -r`; empty if unknown.
    pub version: String,
    /// SHA-256 of all inputs of the build, or of the user's image.
    pub hash: String,
    /// SHA-256 of the `.config`; empty if unknown.
    pub config_hash: String,
    /// First line of `gcc --version`; empty if unknown.
    pub compiler: String,
    /// Names of the fixes that were passed over, because the source already contains them.
    pub present_fixes: Vec<String>,
    /// Lines about fixes in the series that were passed over, because they are for other versions.
    pub left_out: Vec<String>,
    /// Names of the applied stacks; empty unless `--stack` selected them.
    pub stacks: Vec<String>,
    /// True if the kernel was not built by this run.
    pub from_cache: bool,
    /// Keeps [`clean`] from removing the kernel; `None` if it is not in the cache.
    _lease: Option<Lock>,
}

impl Built {
    /// Describes a kernel that the user built and of which only the image is known. `dtb` is its device tree. If that is
    /// `None`, and the machine needs one, the file must be in the same directory as the image.
    ///
    /// # Errors
    /// The image cannot be read, or the device tree is missing.
    pub fn from_image(image: &Path, dtb: Option<&Path>, spec: &KernelSpec) -> Result<Self> {
        let image = image
            .canonicalize()
            .with_context(|| format!("find the kernel image {}", image.display()))?;
        let bytes = files::read_bytes(&image)?;
        let dir = image.parent().unwrap_or(Path::new("/")).to_owned();
        let dtb = match dtb {
            Some(dtb) => {
                Some(dtb.canonicalize().with_context(|| format!("find {}", dtb.display()))?)
            }
            None => spec.dtb.as_deref().map(|dtb| dir.join(files::last_component(dtb))),
        };
        if let Some(dtb) = dtb.as_deref().filter(|dtb| !dtb.is_file()) {
            bail!(
                "the machine needs a device tree: pass it with --dtb, or copy {} from the kernel's build directory to {}",
                spec.dtb.as_deref().unwrap_or_default(),
                dtb.display()
            );
        }
        Ok(Built {
            vmlinux: dir.join("vmlinux"),
            config: dir.join(".config"),
            system_map: system_map::beside(&image),
            dir,
            image,
            dtb,
            modules: Vec::new(),
            version: String::new(),
            hash: digest::of(&bytes),
            config_hash: String::new(),
            compiler: String::new(),
            present_fixes: Vec::new(),
            left_out: Vec::new(),
            stacks: Vec::new(),
            from_cache: true,
            _lease: None,
        })
    }

    /// Returns a line for each fix that was passed over.
    pub(crate) fn notes(&self) -> impl Iterator<Item = String> {
        let present = self.present_fixes.iter();
        let present = present
            .map(|fix| format!("{fix} was passed over: the source already contains this fix"));
        present.chain(self.left_out.iter().cloned())
    }
}

/// Returns the version of the user's source `path`, a directory or a tarball.
///
/// # Errors
/// `path` is not a kernel source.
pub(crate) fn source_version(path: &Path, cache: &Path) -> Result<Version> {
    source::version_of(path, Cache(cache), &mut |step| errln!("{}", step.what))
}

/// Returns the paths that a kernel image and its device tree will have, for display. `HASH` stands for the hash, which
/// cannot be computed before the source is available.
pub(crate) fn planned_paths(cache: &Path, spec: &KernelSpec) -> (PathBuf, Option<PathBuf>) {
    let dir = Cache(cache).kernels().join("HASH");
    let dtb = spec.dtb.as_deref().map(|dtb| dir.join(files::last_component(dtb)));
    (dir.join(files::last_component(&spec.image)), dtb)
}

/// Current step of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Number of this step; 0 if steps are not counted.
    pub done: u64,
    /// Total number of steps, if known.
    pub of: Option<u64>,
    /// Description of the step: `CC fs/fuse/dev.o`.
    pub what: String,
}

impl Progress {
    /// Returns a step without a number.
    pub fn step(what: String) -> Self {
        Progress { done: 0, of: None, what }
    }
}

/// Inputs that determine the content of a kernel.
struct Inputs {
    /// Identifier of the unpatched source's content.
    content: String,
    /// Fixes for the machine, the selected part of the patch queue, and additional patches.
    queue: Queue,
    options: Vec<config::ConfigOption>,
    toolchain: Toolchain,
}

/// Builds the kernel, or finds it in the cache.
///
/// # Errors
/// The source is not available, a patch does not apply, Kconfig drops an option, the compiler fails or the disk is
/// full. [`Interrupted`] if the user stops the lab.
pub fn build(request: &Request, progress: &mut dyn FnMut(Progress)) -> Result<Built> {
    find_or_build(request, progress).map_err(|error| add_hint(error, request.cache))
}

fn find_or_build(request: &Request, progress: &mut dyn FnMut(Progress)) -> Result<Built> {
    check_cache_path(request.cache)?;
    // A quick check comes first, so that it fails before a download.
    let toolchain = Toolchain::find(&request.target.kernel.cross)?;
    let cache = Cache(request.cache);
    let early = find_without_source(request, cache, &toolchain, progress)?;
    let (inputs, built) = match early {
        Some(found) => found,
        None => {
            let base = source::open(&request.source, cache, progress)?;
            let inputs = inputs(request, &base.content, base.version, toolchain)?;
            let built = find_or_build_inputs(request, &base, &inputs, progress)?;
            (inputs, built)
        }
    };
    // The same kernel may be in the cache for another selection of stacks, so these texts are not stored there.
    let stacks = match request.queue {
        Selection::Stack(_) => inputs.queue.stacks.into_iter().map(|stack| stack.name).collect(),
        Selection::All | Selection::Nothing => Vec::new(),
    };
    let left_out = inputs.queue.left_out.into_iter().map(|entry| entry.note).collect();
    Ok(Built { stacks, left_out, ..built })
}

/// Returns the key of a kernel in the cache: the SHA-256 of all inputs of its build. Does not download Debian's source.
///
/// # Errors
/// The compiler or the source is not available, or a patch or a config fragment does not parse.
pub fn key(request: &Request, progress: &mut dyn FnMut(Progress)) -> Result<String> {
    let toolchain = Toolchain::find(&request.target.kernel.cross)?;
    let (content, version) = source::identify(&request.source, Cache(request.cache), progress)?;
    Ok(inputs(request, &content, version, toolchain)?.hash(request))
}

/// Returns one key for several kernels, from the key of each.
pub(crate) fn combined_key(keys: &[String]) -> String {
    match keys {
        [one] => one.clone(),
        several => digest::of_parts(several.iter().map(String::as_bytes)),
    }
}

/// Returns a kernel that is in the cache although its source is not, such as in a CI job that keeps only kernels. Returns
/// `None` if the kernel must be built, if the source is in the cache, or if apt does not know the source.
fn find_without_source(
    request: &Request,
    cache: Cache,
    toolchain: &Toolchain,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<(Inputs, Built)>> {
    let has_kernels = || cache.kernels().read_dir().is_ok_and(|mut dirs| dirs.next().is_some());
    if source::is_at_hand(&request.source, cache) || !has_kernels() {
        return Ok(None);
    }
    let Ok((content, version)) = source::identify(&request.source, cache, progress) else {
        return Ok(None);
    };
    let inputs = inputs(request, &content, version, toolchain.clone())?;
    let built = find(&cache.kernels().join(inputs.hash(request)), true)?;
    Ok(built.map(|built| (inputs, built)))
}

fn find_or_build_inputs(
    request: &Request,
    base: &Base,
    inputs: &Inputs,
    progress: &mut dyn FnMut(Progress),
) -> Result<Built> {
    let cache = Cache(request.cache);
    let hash = inputs.hash(request);
    let dir = cache.kernels().join(&hash);
    if let Some(built) = find(&dir, true)? {
        return Ok(built);
    }
    let slot = slot::Slot::lock(cache, base, request, progress)?;
    // Another run may have built the kernel while this run waited for the lock.
    if let Some(built) = find(&dir, true)? {
        return Ok(built);
    }
    let turn = match BUILDING.try_lock() {
        Ok(turn) => turn,
        Err(_) => {
            progress(Progress::step("waiting for the build of another kernel".into()));
            BUILDING.lock().unwrap_or_else(PoisonError::into_inner)
        }
    };
    slot.build(inputs, &hash, &dir, progress)?;
    drop(turn);
    match find(&dir, false)? {
        Some(built) => Ok(built),
        None => bail!(
            "{} was removed while the kernel was being built: run the command again",
            dir.display()
        ),
    }
}

/// Reads the inputs of a build. `content` identifies the content of the unpatched source, which has this `version`.
fn inputs(
    request: &Request,
    content: &str,
    version: Version,
    toolchain: Toolchain,
) -> Result<Inputs> {
    let (target, flavour) = (&request.target.name, request.flavour);
    let whole_queue = *request.queue == Selection::All;
    let mut options = config::read(request.checkout, version, target, flavour, whole_queue)?;
    for argument in request.config {
        options.extend(config::from_argument(argument)?);
    }
    let options = config::merge(options);
    let mut queue = fixes::of_target(request.checkout, version, &request.target.kernel.fixes)?;
    queue.append(queue::read_selected(request.checkout, version, request.queue)?);
    queue.add(request.patches, version)?;
    Ok(Inputs { content: content.to_owned(), queue, options, toolchain })
}

impl Inputs {
    /// Returns true if the kernel can load modules.
    fn has_modules(&self) -> bool {
        let mut options = self.options.iter();
        options.any(|option| option.symbol == modules::OPTION && option.value == "y")
    }

    fn hash(&self, request: &Request) -> String {
        let spec = &request.target.kernel;
        let recipe = RECIPE.to_string();
        let options = config::text(&self.options);
        let mut parts = vec![
            recipe.as_bytes(),
            self.content.as_bytes(),
            options.as_bytes(),
            self.toolchain.compiler.as_bytes(),
            self.toolchain.linker.as_bytes(),
        ];
        let words = [&spec.arch, &spec.cross, &spec.make, &spec.image];
        parts.extend(words.into_iter().chain(&spec.dtb).map(|word| word.as_bytes()));
        parts.extend(request.coverage.map(str::as_bytes));
        parts.extend(request.kcsan.map(str::as_bytes));
        parts.extend(self.queue.patches.iter().map(|patch| patch.text.as_slice()));
        digest::of_parts(parts)
    }
}

/// Description of a finished kernel, stored in its directory.
#[derive(Serialize, Deserialize)]
struct BuildInfo {
    version: String,
    hash: String,
    config_hash: String,
    compiler: String,
    linker: String,
    target: String,
    flavour: String,
    source: String,
    patches: Vec<String>,
    #[serde(default)]
    present_fixes: Vec<String>,
    image: String,
    #[serde(default)]
    dtb: Option<String>,
    #[serde(default)]
    modules: Vec<String>,
}

/// Name of the file that holds the [`BuildInfo`].
const BUILD_INFO: &str = "build.json";

fn find(dir: &Path, from_cache: bool) -> Result<Option<Built>> {
    let Some(lease) = cache::lease(dir)? else {
        return Ok(None);
    };
    let path = dir.join(BUILD_INFO);
    let text = files::read(&path)?;
    let info: BuildInfo =
        serde_json::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
    Ok(Some(Built {
        dir: dir.to_owned(),
        image: dir.join(info.image),
        dtb: info.dtb.map(|dtb| dir.join(dtb)),
        modules: info.modules.iter().map(|module| dir.join(module)).collect(),
        vmlinux: dir.join("vmlinux"),
        config: dir.join("config"),
        system_map: Some(dir.join("System.map")),
        version: info.version,
        hash: info.hash,
        config_hash: info.config_hash,
        compiler: info.compiler,
        present_fixes: info.present_fixes,
        left_out: Vec::new(),
        stacks: Vec::new(),
        from_cache,
        _lease: Some(lease),
    }))
}

fn check_cache_path(cache: &Path) -> Result<()> {
    let text = cache.to_string_lossy();
    if !cache.is_absolute() || text.contains(|c: char| c.is_whitespace() || c == ':') {
        bail!(
            "cannot build a kernel in {text:?}: the kernel's makefiles reject relative paths, spaces and colons; \
             set XDG_CACHE_HOME to a different directory"
        );
    }
    Ok(())
}

/// Adds advice to an error that a full disk caused.
fn add_hint(error: anyhow::Error, cache: &Path) -> anyhow::Error {
    let full = error.chain().any(|cause| cause.to_string().contains("No space left on device"));
    match full {
        true => error.context(format!(
            "the disk that holds {} is full; `cargo xtask clean --older-than 0s` empties the lab's cache there",
            cache.display()
        )),
        false => error,
    }
}

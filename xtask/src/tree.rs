// SPDX-License-Identifier: MIT OR Apache-2.0
//! Loads the YAML of the checkout, and applies the command line to it: selects targets, compiles plans and describes jobs.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::cli::{self, Machine};
use crate::flavour::{self, Flavour};
use crate::kernel::{self, Selection, queue, stacks};
use crate::kernel_version::{self, AppliedStacks, KernelVersion, Version};
use crate::machine::accel::Accel;
use crate::oracle::OracleRequest;
use crate::output::errln;
use crate::paths;
use crate::plan::{self, Filter};
use crate::policy::Policy;
use crate::run::{Job, KernelFrom, Unit};
use crate::setup::{self, SetupMode};
use crate::suite::{self, Suite};
use crate::target::{self, QemuSpec, Target};

/// Content of the checkout's YAML files.
pub(crate) struct Tree {
    /// Root of the checkout.
    pub checkout: PathBuf,
    pub targets: Vec<Target>,
    pub kernels: Vec<KernelVersion>,
    pub flavours: Vec<Flavour>,
    pub suites: Vec<Suite>,
}

impl Tree {
    /// Reads all files.
    ///
    /// # Errors
    /// A file does not parse, a suite, a flavour or a kernel version names an unknown target, or the stacks of a kernel version are
    /// not those of its patch queue. The error contains the file and the expected content.
    pub(crate) fn load() -> Result<Self> {
        let checkout = paths::checkout();
        let (configs, cases) = (checkout.join("kernel-configs"), checkout.join("suites"));
        let tree = Self {
            targets: target::load_all(&configs)?,
            kernels: kernel_version::load_all(&checkout.join("kernel-patches"))?,
            flavours: flavour::load_all(&configs.join("flavours"))?,
            suites: suite::load_all(&cases)?,
            checkout,
        };
        flavour::check_targets(&configs.join("flavours"), &tree.flavours, &tree.targets)?;
        suite::check_skips(&cases, &tree.suites, &tree.targets)?;
        let fixes = tree.checkout.join(queue::DIR).join("fixes");
        suite::check_findings(&cases, &tree.suites, &tree.targets, &fixes)?;
        let names: Vec<&str> = tree.targets.iter().map(|target| target.name.as_str()).collect();
        kernel_version::check_push(&tree.kernels, &names)?;
        stacks::check_described(&tree.checkout, &tree.kernels)?;
        Ok(tree)
    }

    /// Returns the targets and the flavour that the user selected. The targets have the changes of the flavour, and the
    /// memory and the arguments that the user asked for. The flavour has the number of processors.
    ///
    /// # Errors
    /// A target or the flavour does not exist, or a target cannot have the flavour or so many processors.
    pub(crate) fn select(&self, machine: &Machine) -> Result<(Vec<Target>, Flavour)> {
        let targets = target::select(&self.targets, &machine.arch)?;
        let flavour = flavour::find(&self.flavours, &machine.flavour)?;
        if let Some(cpus) = machine.cpus {
            check_cpus(&targets, cpus)?;
        }
        let flavour = Flavour {
            cpus: machine.cpus.or(flavour.cpus),
            memory: if machine.memory.is_some() { 1 } else { flavour.memory },
            ..flavour.clone()
        };
        let targets =
            targets.into_iter().map(|target| Ok(with_options(flavour.apply_to(target)?, machine)));
        Ok((targets.collect::<Result<_>>()?, flavour))
    }

    /// Returns the kernels that the user selected: versions, or one source or image of the user.
    ///
    /// # Errors
    /// A version or a file does not exist, or the queue of a version does not have the selected stack.
    pub(crate) fn kernels(&self, machine: &Machine) -> Result<Vec<KernelFrom>> {
        check_paths(machine)?;
        Ok(match (&machine.kernel_image, &machine.kernel_src) {
            (Some(image), _) => {
                vec![KernelFrom::Image { image: image.clone(), dtb: machine.dtb.clone() }]
            }
            (None, Some(path)) => vec![KernelFrom::Source(path.clone())],
            (None, None) => {
                let versions = kernel_version::select(&self.kernels, &machine.kernel)?;
                if let Some(name) = &machine.stack {
                    for kernel in &versions {
                        self.stacks(name, kernel.version)?;
                    }
                }
                versions.into_iter().cloned().map(KernelFrom::Version).collect()
            }
        })
    }

    /// Returns the stacks of `version` that `--stack NAME` selects.
    ///
    /// # Errors
    /// The queue of the version does not have the stack, or the version is not described.
    pub(crate) fn stacks(&self, name: &str, version: Version) -> Result<AppliedStacks> {
        let selection = Selection::Stack(name.to_owned());
        let queue = queue::read_selected(&self.checkout, version, &selection)?;
        let kernel = self.kernels.iter().find(|kernel| kernel.version == version);
        let kernel = kernel.with_context(|| {
            format!(
                "--stack {name}: {}/{version} has no {}, which lists the promises of each stack",
                queue::DIR,
                kernel_version::FILE
            )
        })?;
        let names = queue.stacks.into_iter().map(|stack| stack.name).collect();
        Ok(AppliedStacks { kernel: kernel.clone(), names })
    }

    /// Returns the patches of the kernel `from`, or `None` for the user's own kernel image, of which nothing is known.
    fn patched(&self, machine: &Machine, from: &KernelFrom) -> Result<Option<Patched>> {
        let version = match from {
            KernelFrom::Version(kernel) => kernel.version,
            KernelFrom::Source(path) => kernel::source_version(path, &paths::cache()?)?,
            KernelFrom::Image { .. } => return Ok(None),
        };
        let stacks = machine.stack.as_ref().map(|name| self.stacks(name, version)).transpose()?;
        let queue = queue::read_selected(&self.checkout, version, &selection(machine))?;
        let of_queue = queue.patches.into_iter().filter_map(|patch| patch.fix);
        let names = machine.patch.iter().filter_map(|path| path.file_name());
        let of_user = names.map(|name| name.to_string_lossy().into_owned());
        Ok(Some(Patched { stacks, fixes: of_queue.chain(of_user).collect() }))
    }
}

/// Patches of a kernel that do not depend on the target.
struct Patched {
    /// Stacks that `--stack` selects; `None` without that option.
    stacks: Option<AppliedStacks>,
    /// File names of the fixes in the selected part of the patch queue, and of the patches of `--patch`.
    fixes: BTreeSet<String>,
}

/// Returns the target with the machine, the memory, the words of the kernel command line and the arguments of QEMU that
/// the user asked for.
fn with_options(mut target: Target, machine: &Machine) -> Target {
    if let Some(board) = &machine.board {
        target = on_board(target, board, machine.console.as_deref());
    }
    let qemu = &mut target.qemu;
    qemu.memory_mib = machine.memory.unwrap_or(qemu.memory_mib);
    qemu.append.extend(machine.append.iter().cloned());
    qemu.args.extend(machine.qemu_arg.iter().cloned());
    target
}

/// Returns the target with another machine of QEMU, of which nothing is known but the first serial port.
fn on_board(mut target: Target, board: &str, console: Option<&str>) -> Target {
    // The device tree describes the machine of the target.
    target.kernel.dtb = None;
    let console = console.map_or(target.qemu.console, str::to_owned);
    let device = console.split(',').next().unwrap_or(&console);
    target.qemu = QemuSpec {
        machine: board.to_owned(),
        cpu: None,
        args: vec!["-nodefaults".into()],
        records: format!("/dev/{device}"),
        records_args: Vec::new(),
        console,
        append: Vec::new(),
        ..target.qemu
    };
    target
}

/// Checks that the files and the directory that the user named exist.
fn check_paths(machine: &Machine) -> Result<()> {
    let source = machine.kernel_src.iter().map(|path| ("--kernel-src", path, true));
    let image = machine.kernel_image.iter().map(|path| ("--kernel-image", path, false));
    let dtb = machine.dtb.iter().map(|path| ("--dtb", path, false));
    let patches = machine.patch.iter().map(|path| ("--patch", path, false));
    for (option, path, may_be_dir) in source.chain(image).chain(dtb).chain(patches) {
        let found = path.metadata().with_context(|| format!("{option} {}", path.display()))?;
        if found.is_dir() && !may_be_dir {
            bail!("{option} {}: this is a directory; pass a file", path.display());
        }
    }
    Ok(())
}

/// Checks that all `targets` can have `cpus` processors.
fn check_cpus(targets: &[&Target], cpus: u32) -> Result<()> {
    for target in targets {
        if let Some(reason) = target.qemu.one_cpu.as_ref().filter(|_| cpus > 1) {
            bail!("--cpus {cpus}: {} has one processor: {reason}", target.name);
        }
    }
    Ok(())
}

/// Returns the part of the patch queue that the user selected.
fn selection(machine: &Machine) -> Selection {
    match &machine.stack {
        _ if machine.no_queue => Selection::Nothing,
        Some(name) => Selection::Stack(name.clone()),
        None => Selection::All,
    }
}

/// Returns the job for the options `machine`. Its run directory is `run_dir`, and it does not use the oracle.
///
/// # Errors
/// The user's cache directory is unknown.
pub(crate) fn job(
    tree: &Tree,
    machine: &Machine,
    flavour: Flavour,
    accel: Accel,
    scale: f64,
    run_dir: PathBuf,
) -> Result<Job> {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    Ok(Job {
        checkout: tree.checkout.clone(),
        cache: paths::cache()?,
        run_dir,
        command: command_line(),
        queue: selection(machine),
        patches: machine.patch.clone(),
        config: machine.config.clone(),
        accel,
        oracle: OracleRequest::OFF,
        scale: scale * flavour.time,
        policy: Policy::default(),
        flavour,
        jobs: machine.jobs.unwrap_or(cores),
    })
}

/// Returns the command line of this process, with the options of configuration files. The program is always `cargo xtask`,
/// however it was started.
fn command_line() -> Vec<String> {
    ["cargo", "xtask"].map(str::to_owned).into_iter().chain(cli::words()).collect()
}

/// Returns each target with each kernel and the selected cases. Deadlines are multiplied by `scale`, and by the factor
/// for the `oracle`.
///
/// # Errors
/// As [`plan::compile`], or the source of a kernel does not have the selected stack.
pub(crate) fn units(
    tree: &Tree,
    machine: &Machine,
    targets: &[Target],
    kernels: &[KernelFrom],
    filter: &Filter,
    scale: f64,
    oracle: OracleRequest,
) -> Result<Vec<Unit>> {
    let patched = kernels.iter().map(|kernel| tree.patched(machine, kernel));
    let patched: Vec<Option<Patched>> = patched.collect::<Result<_>>()?;
    let mut units = Vec::new();
    for target in targets {
        let scale = scale * oracle.time_factor(&target.cache);
        for (kernel, patched) in kernels.iter().zip(&patched) {
            let stacks = patched.as_ref().and_then(|patched| patched.stacks.as_ref());
            let fixes = patched.as_ref().map_or_else(BTreeSet::new, |patched| {
                patched.fixes.iter().chain(&target.kernel.fixes).cloned().collect()
            });
            let cases = plan::compile(&tree.suites, target, stacks, &fixes, filter, scale)?;
            units.push(Unit {
                target: target.clone(),
                kernel: kernel.clone(),
                stacks: stacks.map(|stacks| stacks.names.clone()).unwrap_or_default(),
                cases,
                files: Vec::new(),
                base: Vec::new(),
            });
        }
    }
    Ok(units)
}

/// Installs missing programs, including a QEMU that can load the `oracle`. With `--no-setup`, only reports them. Before a
/// kernel build, names the variables of the environment that the build ignores.
///
/// # Errors
/// A program is missing and was not installed.
pub(crate) fn ensure(targets: &[Target], machine: &Machine, oracle: OracleRequest) -> Result<()> {
    let mode = if machine.no_setup { SetupMode::Forbidden } else { SetupMode::Allowed };
    let targets: Vec<&Target> = targets.iter().collect();
    let kernel = machine.kernel_image.is_none();
    let mut say = |line: &str| errln!("{line}");
    let ignored = kernel::ignored(|name| std::env::var_os(name));
    if kernel && !ignored.is_empty() {
        say(&format!("the kernel is built without these variables: {}", ignored.join(", ")));
    }
    setup::ensure(&targets, kernel, oracle, mode, &mut say)
}

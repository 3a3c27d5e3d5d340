// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands: from the command line to the parts that do the work, one function each. Each returns an exit code.

mod interactive;
mod list;
mod oracle;
mod queue;
mod report;
mod test;

use std::path::PathBuf;

use anyhow::Result;
use indicatif::HumanBytes;

use crate::cli::{Cli, Command, Machine};
use crate::flavour::{self, Flavour};
use crate::kernel::{Built, Source};
use crate::machine::accel::Accel;
use crate::oracle::Wanted;
use crate::plan::{self, Case, Filter};
use crate::report::term;
use crate::run::{Job, KernelFrom};
use crate::setup::{self, SetupMode};
use crate::suite::{self, Suite};
use crate::target::{self, Target};
use crate::{bench, check, ci, interrupt, kernel, paths};

/// Does what the command line says.
///
/// # Errors
/// The command could not do what was asked: exit code 2.
pub fn run(cli: Cli) -> Result<u8> {
    match cli.command {
        Command::Test(args) => test::run(&args),
        Command::Check => check::run(&paths::checkout()),
        Command::Build(machine) => build(&machine),
        Command::Boot(args) => interactive::run(&args, interactive::Kind::Shell),
        Command::Gdb(args) => interactive::run(&args, interactive::Kind::Gdb),
        Command::List { json, by_promise } => list::run(&Tree::load()?, by_promise, json),
        Command::Doctor { json } => setup::doctor::run(&Tree::load()?.targets, json),
        Command::Bench(args) => bench::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Oracle(args) => oracle::run(&args),
        Command::CiMatrix { format } => ci_matrix(format),
        Command::Queue(args) => queue::run(&args),
        Command::Clean { older_than } => clean(older_than),
    }
}

/// What the checkout's YAML says.
pub(crate) struct Tree {
    /// Root of the checkout.
    pub checkout: PathBuf,
    /// All targets.
    pub targets: Vec<Target>,
    /// All flavours.
    pub flavours: Vec<Flavour>,
    /// All suites.
    pub suites: Vec<Suite>,
}

impl Tree {
    /// Reads it.
    ///
    /// # Errors
    /// A file that does not parse, a skip of what does not exist: names file, line and what was expected.
    pub(crate) fn load() -> Result<Self> {
        let checkout = paths::checkout();
        let (configs, cases) = (checkout.join("kernel-configs"), checkout.join("suites"));
        let tree = Self {
            targets: target::load_all(&configs)?,
            flavours: flavour::load_all(&configs.join("flavours"))?,
            suites: suite::load_all(&cases)?,
            checkout,
        };
        suite::check_skips(&cases, &tree.suites, &tree.targets)?;
        Ok(tree)
    }

    /// The targets and the flavour a person named.
    ///
    /// # Errors
    /// One of them does not exist.
    pub(crate) fn select(&self, machine: &Machine) -> Result<(Vec<Target>, Flavour)> {
        let targets = target::select(&self.targets, &machine.arch)?;
        let flavour = flavour::find(&self.flavours, &machine.flavour)?;
        Ok((targets.into_iter().cloned().collect(), flavour.clone()))
    }
}

/// The job that `machine` describes, in `run_dir`.
///
/// # Errors
/// The user has no cache directory.
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
        source: match (&machine.kernel_image, &machine.kernel_src) {
            (Some(image), _) => KernelFrom::Image(image.clone()),
            (None, Some(path)) => KernelFrom::Source(Source::Path(path.clone())),
            (None, None) => KernelFrom::Source(Source::Debian),
        },
        queue: !machine.no_queue,
        patches: machine.patch.clone(),
        accel,
        oracle: Wanted::OFF,
        scale: scale * flavour.time,
        flavour,
        jobs: machine.jobs.unwrap_or(cores),
        keep: false,
    })
}

/// The cases of each target that `filter` leaves; `scale` is what deadlines are multiplied by, besides what the oracle costs
/// where it is `wanted`.
///
/// # Errors
/// As [`plan::compile`].
pub(crate) fn plans(
    tree: &Tree,
    targets: &[Target],
    filter: &Filter,
    scale: f64,
    wanted: Wanted,
) -> Result<Vec<(Target, Vec<Case>)>> {
    let plan = |target: &Target| {
        let scale = scale * wanted.time(&target.cache);
        let cases = plan::compile(&tree.suites, target, filter, scale)?;
        Ok((target.clone(), cases))
    };
    targets.iter().map(plan).collect()
}

/// Installs what is missing, or says it; also what the oracle needs where it is `wanted`.
///
/// # Errors
/// Something is missing and was not installed.
pub(crate) fn ensure(targets: &[Target], machine: &Machine, wanted: Wanted) -> Result<()> {
    let mode = match machine.no_setup {
        true => SetupMode::Forbidden,
        false => SetupMode::Allowed,
    };
    let targets: Vec<&Target> = targets.iter().collect();
    let kernel = machine.kernel_image.is_none();
    let mut say = |line: &str| eprintln!("{line}");
    setup::ensure(&targets, kernel, wanted, mode, &mut say)
}

fn build(machine: &Machine) -> Result<u8> {
    interrupt::install()?;
    let tree = Tree::load()?;
    let (targets, flavour) = tree.select(machine)?;
    ensure(&targets, machine, Wanted::OFF)?;
    let job = job(&tree, machine, flavour, Accel::Auto, 1.0, PathBuf::new())?;
    for target in &targets {
        let built = build_with_bar(&job, target)?;
        println!(
            "{}: Linux {} ({})",
            target.name, built.version, job.flavour.name
        );
        println!("  image    {}", built.image.display());
        println!("  vmlinux  {}", built.vmlinux.display());
        println!("  config   {}", built.config.display());
    }
    Ok(0)
}

/// Builds the kernel of `target` under a progress bar.
///
/// # Errors
/// The build failed.
pub(crate) fn build_with_bar(job: &Job, target: &Target) -> Result<Built> {
    let bar = term::build_bar(&target.name);
    let built = job.kernel(target, &mut |step| bar.step(step.done, step.of, &step.what));
    bar.finish();
    built
}

fn ci_matrix(format: ci::Format) -> Result<u8> {
    let targets = target::load_all(&paths::checkout().join("kernel-configs"))?;
    print!("{}", ci::render(format, &targets));
    Ok(0)
}

fn clean(older_than: std::time::Duration) -> Result<u8> {
    let removed = kernel::clean(&paths::cache()?, older_than)?;
    for item in &removed {
        println!(
            "removed {} ({})",
            item.path.display(),
            HumanBytes(item.bytes)
        );
    }
    let freed = removed.iter().map(|item| item.bytes).sum();
    println!("{} removed, {} freed", removed.len(), HumanBytes(freed));
    Ok(0)
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The YAML of the checkout, loaded, and what a command line makes of it: targets, plans, a job.

use std::path::PathBuf;

use anyhow::Result;

use crate::cli::Machine;
use crate::flavour::{self, Flavour};
use crate::kernel::Source;
use crate::machine::accel::Accel;
use crate::oracle::OracleRequest;
use crate::paths;
use crate::plan::{self, Case, Filter};
use crate::run::{Job, KernelFrom};
use crate::setup::{self, SetupMode};
use crate::suite::{self, Suite};
use crate::target::{self, Target};

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
        oracle: OracleRequest::OFF,
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
    wanted: OracleRequest,
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
pub(crate) fn ensure(targets: &[Target], machine: &Machine, wanted: OracleRequest) -> Result<()> {
    let mode = match machine.no_setup {
        true => SetupMode::Forbidden,
        false => SetupMode::Allowed,
    };
    let targets: Vec<&Target> = targets.iter().collect();
    let kernel = machine.kernel_image.is_none();
    let mut say = |line: &str| eprintln!("{line}");
    setup::ensure(&targets, kernel, wanted, mode, &mut say)
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Run: the whole pipeline. `run_pipeline` takes one unit through it, a target with its kernel, and [`all`] takes every
//! unit.

mod symbols;

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use anyhow::{Context, Error, Result};
use walkdir::WalkDir;

use crate::boot::{self, Parameters};
use crate::event::{Event, Events};
use crate::flavour::Flavour;
use crate::gate::Gate;
use crate::image::guest_files::GuestFile;
use crate::image::{Image, guest, programs};
use crate::kernel::{self, Built, Progress, Selection, Source};
use crate::kernel_version::KernelVersion;
use crate::ledger::{Control, Ledger};
use crate::machine::accel::{self, Accel, Chosen};
use crate::machine::qemu::Qemu;
use crate::oracle::{self, Oracle, OracleDecision, OracleRequest};
use crate::plan::Case;
use crate::policy::{Failures, Policy};
use crate::results::{Accelerator, Phase, RunResult, SCHEMA, TargetResult};
use crate::run_dir::{INITRAMFS, boot_dir};
use crate::target::{QemuSpec, Target};
use crate::watch::BootEnd;
use crate::watch::clock::Limits;
use crate::{coverage, interrupt, version};

/// Settings of a run, which are fixed before anything starts.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// Root of the checkout.
    pub checkout: PathBuf,
    /// The lab's directory in the user's cache.
    pub cache: PathBuf,
    pub run_dir: PathBuf,
    /// Command line, for the results.
    pub command: Vec<String>,
    pub flavour: Flavour,
    /// Part of the patch queue to apply.
    pub queue: Selection,
    /// Patches on top of the queue.
    pub patches: Vec<PathBuf>,
    /// Options of the kernel in addition to those of the lab: values of `--config`.
    pub config: Vec<String>,
    /// Requested accelerator.
    pub accel: Accel,
    pub oracle: OracleRequest,
    /// Factor for all time limits. It includes the factor of the flavour.
    pub scale: f64,
    /// Repetition of cases, and limits that stop the run early.
    pub policy: Policy,
    /// Number of processes that `make` may run in parallel.
    pub jobs: usize,
}

/// Origin of a kernel.
#[derive(Clone, Debug)]
pub(crate) enum KernelFrom {
    /// The lab builds it from Debian's source of this version.
    Version(KernelVersion),
    /// The lab builds it from this source of the user, a directory or a tarball.
    Source(PathBuf),
    /// The user built it.
    Image {
        image: PathBuf,
        /// Device tree; `None` for that of the target, in the directory of the image.
        dtb: Option<PathBuf>,
    },
}

impl KernelFrom {
    /// Returns the name of `target` with this kernel: `x86_64`, or `x86_64-VERSION` for a version that is not the
    /// default.
    pub(crate) fn name_on(&self, target: &Target) -> String {
        match self {
            Self::Version(kernel) if !kernel.default => {
                format!("{}-{}", target.name, kernel.version)
            }
            _ => target.name.clone(),
        }
    }

    /// Returns the origin of the source; `None` for an image.
    pub(crate) fn source(&self) -> Option<Source> {
        match self {
            Self::Image { .. } => None,
            Self::Source(path) => Some(Source::Path(path.clone())),
            Self::Version(KernelVersion { package, suites, .. }) => {
                Some(Source::Debian { package: package.clone(), suites: suites.clone() })
            }
        }
    }
}

/// A target, the kernel that runs on it, and the cases to run there.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub target: Target,
    pub kernel: KernelFrom,
    /// Stacks of the patch queue that `--stack` selects; empty without that option.
    pub stacks: Vec<String>,
    pub cases: Vec<Case>,
    /// Files of the user in the initramfs.
    pub files: Vec<GuestFile>,
    /// Archive of the user on which the initramfs is based; empty for none.
    pub base: Vec<u8>,
}

impl Unit {
    /// Returns the name in reports and of the directory, unique in a run.
    pub(crate) fn name(&self) -> String {
        self.kernel.name_on(&self.target)
    }

    /// Returns the result of a run that has not started yet.
    fn result(&self, flavour: &Flavour) -> TargetResult {
        TargetResult {
            name: self.name(),
            target: self.target.name.clone(),
            kernel: match &self.kernel {
                KernelFrom::Version(kernel) => Some(kernel.version.to_string()),
                KernelFrom::Source(_) | KernelFrom::Image { .. } => None,
            },
            flavour: flavour.name.clone(),
            stacks: self.stacks.clone(),
            ..TargetResult::default()
        }
    }
}

/// Tests all units, as many in parallel as the machine allows, and returns the results.
pub(crate) fn all(job: &Job, units: &[Unit], events: &Events) -> RunResult {
    let (started, clock) = (SystemTime::now(), Instant::now());
    events.send(Event::RunStart {
        run_dir: job.run_dir.clone(),
        targets: units.iter().map(Unit::name).collect(),
        cases: units.iter().map(|unit| unit.cases.len()).sum(),
    });
    let gate = Gate::of_this_machine();
    let failures = Failures::new(job.policy.max_fail);
    let targets = std::thread::scope(|scope| {
        let (gate, failures) = (&gate, &failures);
        let spawn = |unit| scope.spawn(move || test_unit(job, unit, gate, failures, events));
        let threads: Vec<_> = units.iter().map(spawn).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.map(|result| result.expect("no unit panics")).collect()
    });
    let result = RunResult {
        schema: SCHEMA,
        tool: version::tool(&job.checkout),
        commands: vec![job.command.clone()],
        started: humantime::format_rfc3339_seconds(started).to_string(),
        seconds: clock.elapsed().as_secs_f64(),
        interrupted: interrupt::requested(),
        targets,
    };
    events.send(Event::RunEnd { result: Box::new(result.clone()) });
    result
}

/// Tests one unit. An error becomes the failure in its result.
fn test_unit(
    job: &Job,
    unit: &Unit,
    gate: &Gate,
    failures: &Failures,
    events: &Events,
) -> TargetResult {
    let control = Control { policy: &job.policy, failures, events };
    let mut ledger = Ledger::open(unit.result(&job.flavour), &unit.cases, control);
    match run_pipeline(job, unit, gate, &mut ledger) {
        Ok(()) => {}
        Err(_) if interrupt::requested() => ledger.interrupted(),
        Err(error) => ledger.fail(format!("{error:#}")),
    }
    ledger.close()
}

/// Takes one unit through the pipeline.
fn run_pipeline(job: &Job, unit: &Unit, gate: &Gate, ledger: &mut Ledger) -> Result<()> {
    if ledger.is_over() {
        return Ok(());
    }
    let target = &unit.target;
    let qemu = scaled(&target.qemu, &job.flavour);
    let found = Qemu::ask(&qemu.binary)?;
    let decision = oracle::decide(job.oracle, target, job.accel, &found)?;
    ledger.set_oracle(&decision);
    let built = kernel(job, unit, ledger)?;
    // Kernels are built one after the other, and another target may have failed meanwhile.
    if ledger.is_over() {
        return Ok(());
    }
    let image = image(job, unit, &built, ledger)?;
    let symbols = match (&decision, &built.system_map) {
        (OracleDecision::Off(_), _) => None,
        (_, Some(map)) => Some(map.clone()),
        (_, None) => {
            let request = symbols::Request { job, unit, qemu: &qemu, built: &built, image: &image };
            Some(symbols::of_image(&request, gate, ledger)?)
        }
    };
    let oracle = oracle(job, target, &found, &decision, symbols, ledger)?;
    if let Some(oracle) = &oracle {
        ledger.set_excuses(&oracle.excuses);
    }
    let accel = match oracle {
        Some(_) => Accel::Tcg,
        None => job.accel,
    };
    let mut chosen = accel::probe(&qemu.binary, &target.kernel.arch, accel, &job.cache)?;
    ledger.provenance().qemu = version::first_line(&qemu.binary, "--version");
    let _pass = gate.enter(qemu.memory_mib, || ledger.waiting("for another guest to end"))?;
    while let cases @ [_, ..] = ledger.plan_boot().as_slice() {
        ledger.set_accel(&chosen);
        let parameters = Parameters {
            qemu: &qemu,
            proof: target.cache.proof.as_deref(),
            accel: chosen.accel,
            kernel: &built.image,
            dtb: built.dtb.as_deref(),
            image: &image,
            oracle: oracle.as_ref(),
            limits: Limits::scaled(job.scale * job.oracle.time_factor(&target.cache)),
        };
        let boot_dir = boot_dir(&job.run_dir, &unit.name(), ledger.boot());
        let booted = boot::run(&parameters, &boot_dir, cases, ledger)?;
        match fallback(&chosen, accel, ledger.came_up(), &booted.end) {
            Some(tcg) => chosen = accel::disable_kvm(&qemu.binary, &job.cache, tcg),
            None => ledger.boot_ended(&booted.end, booted.last_lines),
        }
    }
    write_coverage(job, unit, &built, ledger)
}

/// Returns TCG as the accelerator for the next boot if the lab chose KVM and the guest did not send its first record in
/// time. A host on which the probe guest of [`accel::probe`] runs may still hang with a real kernel.
fn fallback(chosen: &Chosen, requested: Accel, came_up: bool, end: &BootEnd) -> Option<Chosen> {
    let silent = matches!(end, BootEnd::Silence(_) | BootEnd::Overtime(_));
    (chosen.accel == Accelerator::Kvm && requested == Accel::Auto && !came_up && silent).then(
        || Chosen {
            accel: Accelerator::Tcg,
            reason: Some(
                "a probe guest ran under KVM, but this kernel did not boot in time".into(),
            ),
        },
    )
}

/// Writes the coverage report if the flavour counts the lines that ran. A run that stopped early has no counts of its last
/// boot.
fn write_coverage(job: &Job, unit: &Unit, built: &Built, ledger: &Ledger) -> Result<()> {
    let is_whole = !interrupt::requested() && !ledger.has_stopped();
    let Some(dir) = job.flavour.coverage.as_deref().filter(|_| is_whole) else {
        return Ok(());
    };
    let request = coverage::Request {
        checkout: &job.checkout,
        built,
        dir,
        cross: &unit.target.kernel.cross,
        run: &job.run_dir.join(unit.name()),
    };
    ledger.note(coverage::write(&request)?);
    Ok(())
}

/// Builds the kernel, or takes it from the cache.
fn kernel(job: &Job, unit: &Unit, ledger: &mut Ledger) -> Result<Built> {
    ledger.phase(Phase::Kernel, format!("flavour {}", job.flavour.name));
    let built = job.kernel(&unit.target, &unit.kernel, &mut |step| {
        ledger.progress(step.done, step.of, step.what);
    })?;
    built.notes().for_each(|note| ledger.note(note));
    let provenance = ledger.provenance();
    provenance.kernel_version = built.version.clone();
    provenance.kernel_hash = built.hash.clone();
    provenance.config_hash = built.config_hash.clone();
    provenance.compiler = built.compiler.clone();
    Ok(built)
}

fn image(job: &Job, unit: &Unit, built: &Built, ledger: &mut Ledger) -> Result<Image> {
    ledger.phase(Phase::Image, "");
    let mut say = |line| ledger.progress(0, None, line);
    let image = job.image(&unit.target, built, &unit.cases, &mut say)?;
    let image = image.with_files(&unit.files).on_base(unit.base.clone());
    ledger.provenance().image_hash = image.hash();
    ledger.provenance().rustc = version::rustc();
    Ok(image)
}

/// Builds the oracle for this QEMU, and its configuration. Returns `None` if the target runs without the oracle.
fn oracle(
    job: &Job,
    target: &Target,
    qemu: &Qemu,
    decision: &OracleDecision,
    symbols: Option<PathBuf>,
    ledger: &Ledger,
) -> Result<Option<Oracle>> {
    let (OracleDecision::On(depth), Some(model)) = (decision, &target.cache.model) else {
        return Ok(None);
    };
    ledger.progress(0, None, "build the oracle".into());
    let api = qemu.plugin_api().map_err(Error::msg)?;
    let excuses = oracle::excuse::read(&job.checkout)?;
    Ok(Some(Oracle {
        plugin: oracle::plugin::build(&job.checkout, api)?,
        excuses: oracle::excuse::of_target(excuses, &target.name),
        config: oracle::Config {
            ignore_flushes: job.oracle.ignore_flushes,
            ..oracle::config::for_target(&target.cache, model, *depth, symbols)
        },
    }))
}

impl Job {
    /// Builds the guest program and the C programs of `cases` for `target`, and makes the image. `say` gets a line about
    /// each step that takes long.
    ///
    /// # Errors
    /// A program does not compile, or Debian's source of something that it needs cannot be downloaded.
    pub(crate) fn image(
        &self,
        target: &Target,
        built: &Built,
        cases: &[Case],
        say: &mut dyn FnMut(String),
    ) -> Result<Image> {
        let init = guest::build(&self.checkout, &self.cache, &target.rust)?;
        let programs = cases.iter().filter(|case| case.skip.is_none());
        let programs = programs.filter_map(|case| case.program.as_ref());
        let (checkout, cache, cross) = (&self.checkout, &self.cache, &target.rust.cross);
        let programs = programs::Builder { checkout, cache, cross, say }.build(programs)?;
        Image::new(&init, &built.modules, programs)
    }

    /// Returns the kernel of `target` from `origin`: built now, from the cache, or built by the user.
    ///
    /// # Errors
    /// The build failed or was interrupted, or the user's image does not exist.
    pub(crate) fn kernel(
        &self,
        target: &Target,
        origin: &KernelFrom,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Built> {
        if let KernelFrom::Image { image, dtb } = origin {
            return Built::from_image(image, dtb.as_deref(), &target.kernel);
        }
        kernel::build(&self.request(target, origin)?, progress)
            .with_context(|| format!("build the kernel of {}", origin.name_on(target)))
    }

    /// Returns the key in the build cache of the kernel of `target` from `origin`.
    ///
    /// # Errors
    /// As [`kernel::key`], or the user built the kernel.
    pub(crate) fn key(
        &self,
        target: &Target,
        origin: &KernelFrom,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<String> {
        kernel::key(&self.request(target, origin)?, progress)
            .with_context(|| format!("get the key of the kernel of {}", origin.name_on(target)))
    }

    /// Returns the description of the kernel to build.
    ///
    /// # Errors
    /// The user built the kernel.
    fn request<'a>(
        &'a self,
        target: &'a Target,
        origin: &'a KernelFrom,
    ) -> Result<kernel::Request<'a>> {
        let source = origin.source();
        let source = source.context("the lab does not build the kernel of --kernel-image")?;
        Ok(kernel::Request {
            checkout: &self.checkout,
            cache: &self.cache,
            target,
            flavour: &self.flavour.name,
            coverage: self.flavour.coverage.as_deref(),
            kcsan: self.flavour.kcsan.as_deref(),
            source,
            queue: &self.queue,
            patches: &self.patches,
            config: &self.config,
            jobs: self.jobs,
        })
    }
}

/// Returns the machine with the processors, the memory and the kernel command line that the flavour needs.
pub(crate) fn scaled(qemu: &QemuSpec, flavour: &Flavour) -> QemuSpec {
    QemuSpec {
        cpus: flavour.cpus.filter(|_| qemu.one_cpu.is_none()).unwrap_or(qemu.cpus),
        memory_mib: qemu.memory_mib * flavour.memory,
        append: [qemu.append.as_slice(), &flavour.append].concat(),
        ..qemu.clone()
    }
}

/// Removes the initramfs of each boot.
pub(crate) fn remove_initramfs(run_dir: &Path) {
    for file in WalkDir::new(run_dir).min_depth(3).max_depth(3).into_iter().flatten() {
        if file.file_name() == INITRAMFS {
            let _ = std::fs::remove_file(file.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flavour;
    use crate::machine::args::{self, Boot, Console};

    #[test]
    fn a_flavour_changes_processors_and_memory() {
        let boot = Boot {
            accel: Accelerator::Tcg,
            kernel: Path::new("bzImage"),
            dtb: None,
            initrd: Path::new("initramfs.cpio"),
            console: Console::Log,
            gdb: false,
            oracle: None,
        };
        let flavour = Flavour { cpus: Some(4), memory: 2, ..flavour::tests::plain() };
        let target = crate::target::tests::x86_64();
        let args = |spec: &QemuSpec| args::qemu(spec, &boot);
        let pairs = args(&target.qemu).into_iter().zip(args(&scaled(&target.qemu, &flavour)));
        let differences: Vec<_> = pairs.filter(|(plain, scaled)| plain != scaled).collect();
        let expected = [("2", "4"), ("1024M", "2048M")];
        assert_eq!(differences, expected.map(|(plain, scaled)| (plain.into(), scaled.into())));
    }

    #[test]
    fn a_target_with_one_processor_keeps_it() {
        let flavour = Flavour { cpus: Some(4), ..flavour::tests::plain() };
        let qemu = crate::target::tests::x86_64().qemu;
        let single = QemuSpec { cpus: 1, one_cpu: Some("it is old".into()), ..qemu };
        assert_eq!(scaled(&single, &flavour).cpus, 1);
    }

    #[test]
    fn the_lab_falls_back_to_tcg_only_if_it_chose_kvm_and_no_record_arrived() {
        let kvm = Chosen { accel: Accelerator::Kvm, reason: None };
        let tcg = Chosen { accel: Accelerator::Tcg, reason: None };
        let silence = BootEnd::Silence(Phase::Boot);
        let next = |chosen, requested, came_up, end| {
            fallback(chosen, requested, came_up, end).map(|next| next.accel)
        };
        assert_eq!(next(&kvm, Accel::Auto, false, &silence), Some(Accelerator::Tcg));
        assert_eq!(next(&kvm, Accel::Kvm, false, &silence), None);
        assert_eq!(next(&kvm, Accel::Auto, true, &silence), None);
        assert_eq!(next(&tcg, Accel::Auto, false, &silence), None);
        let crash = BootEnd::Crash("Kernel panic".into());
        assert_eq!(next(&kvm, Accel::Auto, false, &crash), None);
    }
}

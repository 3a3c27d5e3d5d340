// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bench: measures the lab and direct mmap, and prints the tables of docs/performance.md.
//!
//! The bench sets no limits, so no figure makes it fail. The tests do not measure performance.

mod build;
mod table;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use protocol::plan::Mode;

use crate::boot::{self, Parameters};
use crate::cli::{self, Bench};
use crate::event::Events;
use crate::files::kib_in;
use crate::machine::accel::{self, Accel};
use crate::oracle::OracleRequest;
use crate::output::outln;
use crate::plan::{self, Case, Filter};
use crate::results::{RunResult, Verdict};
use crate::run::{self, Job, KernelFrom, Unit};
use crate::target::Target;
use crate::tree::{Tree, ensure, job};
use crate::wait::{self, Waited};
use crate::watch::clock::Limits;
use crate::{interrupt, paths};
use table::{Figures, median};

/// Time limit for a machine that boots and powers off.
const HALT_LIMIT: Duration = Duration::from_secs(60);

/// Measures each target and prints the tables.
///
/// # Errors
/// A build or a boot failed, or a case did not pass. The figures of such a run would be meaningless.
pub(crate) fn run(args: &Bench) -> Result<u8> {
    interrupt::install()?;
    let tree = Tree::load()?;
    let (targets, _) = tree.select(&args.machine)?;
    let kernels = tree.kernels(&args.machine)?;
    ensure(&targets, &args.machine, OracleRequest::OFF)?;
    for target in &targets {
        for kernel in &kernels {
            let lab = lab(&tree, &args.machine, target, kernel)?;
            outln!("## {}\n", kernel.name_on(target));
            outln!("{}", guest_table(&lab, &tree)?);
            outln!("{}", lab_table(&lab, &tree, args.repeat)?);
            if args.cold {
                outln!("{}", build::table(&lab)?);
            }
        }
    }
    Ok(0)
}

/// One target and its kernel, and the parameters that all their runs share.
struct Lab<'a> {
    target: &'a Target,
    kernel: KernelFrom,
    job: Job,
    checkout: PathBuf,
}

fn lab<'a>(
    tree: &Tree,
    machine: &cli::Machine,
    target: &'a Target,
    kernel: &KernelFrom,
) -> Result<Lab<'a>> {
    let (_, flavour) = tree.select(machine)?;
    let job = job(tree, machine, flavour, Accel::Auto, 1.0, PathBuf::new())?;
    Ok(Lab { target, kernel: kernel.clone(), job, checkout: tree.checkout.clone() })
}

impl Lab<'_> {
    /// Runs `cases` with all the steps of `cargo xtask test`, and returns the results and the time.
    fn test(&self, cases: Vec<Case>) -> Result<(RunResult, Duration)> {
        let mut job = self.job.clone();
        job.run_dir = paths::new_run(&self.checkout, false)?;
        let clock = Instant::now();
        let unit = Unit {
            target: self.target.clone(),
            kernel: self.kernel.clone(),
            stacks: Vec::new(),
            cases,
            files: Vec::new(),
            base: Vec::new(),
        };
        let result = run::all(&job, &[unit], &Events::silent());
        let took = clock.elapsed();
        for case in result.targets.iter().flat_map(|target| &target.cases) {
            if case.verdict != Verdict::Pass {
                let detail = case.verdict.detail().unwrap_or_default();
                bail!(
                    "{}: {}: {detail}; the bench prints figures only if all cases pass",
                    case.id,
                    case.verdict.word()
                );
            }
        }
        run::remove_initramfs(&job.run_dir);
        Ok((result, took))
    }

    fn cases(&self, tree: &Tree, suite: &str) -> Result<Vec<Case>> {
        let filter = Filter { suites: vec![suite.into()], ..Filter::default() };
        plan::compile(&tree.suites, self.target, None, &Default::default(), &filter, self.job.scale)
    }

    /// Returns the time from the start of QEMU to its exit, for a guest that powers off immediately.
    fn raw_boot(&self) -> Result<Duration> {
        let built = self.job.kernel(self.target, &self.kernel, &mut |_| {})?;
        let image = self.job.image(self.target, &built, &[], &mut |_| {})?;
        let qemu = run::scaled(&self.target.qemu, &self.job.flavour);
        let arch = &self.target.kernel.arch;
        let chosen = accel::probe(&qemu.binary, arch, self.job.accel, &self.job.cache)?;
        let parameters = Parameters {
            qemu: &qemu,
            proof: self.target.cache.proof.as_deref(),
            accel: chosen.accel,
            kernel: &built.image,
            dtb: built.dtb.as_deref(),
            image: &image,
            oracle: None,
            limits: Limits::scaled(1.0),
        };
        let dir = tempfile::tempdir().context("create a directory for the boot")?;
        let clock = Instant::now();
        let mut machine = boot::start(&parameters, dir.path(), &boot::plan_of(Mode::Halt, &[]))?;
        let Waited::Done(_) = wait::until(HALT_LIMIT, || machine.ended())? else {
            bail!("QEMU did not exit within {HALT_LIMIT:?}");
        };
        Ok(clock.elapsed())
    }
}

/// Returns the tables of the figures that the guest measured in the suite `bench`.
fn guest_table(lab: &Lab, tree: &Tree) -> Result<String> {
    let (result, _) = lab.test(lab.cases(tree, "bench")?)?;
    Ok(result
        .targets
        .iter()
        .flat_map(|target| &target.cases)
        .map(|case| match case.id.starts_with("bench/exchange") {
            true => table::exchange(&case.id, &case.figures),
            false => table::plain(&case.id, &case.figures),
        })
        .collect())
}

/// Returns the table of the time and memory that the lab needs besides its guests.
fn lab_table(lab: &Lab, tree: &Tree, repeat: usize) -> Result<String> {
    let smoke = lab.cases(tree, "smoke")?;
    lab.test(smoke.clone())?;
    let mut raw = Vec::new();
    let mut warm = Vec::new();
    for _ in 0..repeat {
        raw.push(lab.raw_boot()?);
        warm.push(lab.test(smoke.clone())?.1);
    }
    let (raw, warm) = (median(raw), median(warm));
    let edit = build::edit(lab, smoke)?;

    let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
    let mut figures = Figures::new("the lab", "median");
    figures.add("raw boot to power-off, same kernel and image", seconds(raw));
    figures.add("`test --suite smoke`, nothing changed", seconds(warm));
    figures.add("ratio", format!("{:.2}", warm.as_secs_f64() / raw.as_secs_f64()));
    figures.add("edit of fs/fuse/dmmap.c to the verdict of smoke", seconds(edit));
    figures.add("peak memory of the tool", format!("{} KiB", peak_kib()?));
    Ok(figures.to_string())
}

/// Returns the peak memory (VmHWM) of this process in KiB. By now, the process has done everything that
/// `cargo xtask test` does.
fn peak_kib() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    kib_in(&status, "VmHWM").context("no VmHWM in /proc/self/status")
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask run --kselftest`: the kernel's own selftests, each as a case.

use std::time::Duration;

use anyhow::{Context, Result};
use protocol::plan::GuestProgram;
use protocol::programs::SKIPPED;

use crate::cli::Run;
use crate::image::guest_files::GuestFile;
use crate::image::kselftest::{self, Builder, Selftest, Selftests};
use crate::kernel::{self, selftests};
use crate::output::errln;
use crate::plan::Case;
use crate::run::{Job, KernelFrom};
use crate::target::Target;
use crate::version;

use super::{CaseSpec, case};

/// Suite of the cases.
const SUITE: &str = "kselftest";

/// Deadline of a selftest without `--timeout`, before it is multiplied for the oracle. The kernel's runner allows 45
/// seconds (kselftest/runner.sh), on hardware.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Builds the selftests of the command line, and returns their cases and their files.
///
/// # Errors
/// The source of the kernel cannot be obtained, or a collection does not exist.
pub(super) fn prepare(
    args: &Run,
    target: &Target,
    kernel: &KernelFrom,
    job: &Job,
) -> Result<(Vec<Case>, Vec<GuestFile>)> {
    let source = kernel.source().context("--kselftest needs the source of the kernel")?;
    let (spec, cross) = (&target.kernel, &target.rust.cross);
    let gcc = format!("{cross}gcc");
    let version = version::first_line(&gcc, "--version");
    let compiler = format!("{gcc}: {version}: {}", kselftest::flags());
    let mut say = |step: kernel::Progress| errln!("{}", step.what);
    let opened = selftests::open(&source, &job.cache, spec, &compiler, job.jobs, &mut say);
    let opened = opened.context("prepare the kernel's selftests")?;
    let unset: Vec<&str> = kernel::unset().collect();
    let builder = Builder {
        dir: &opened.dir,
        headers: &opened.headers,
        arch: &spec.arch,
        cross,
        unset: &unset,
        jobs: job.jobs,
    };
    let mut built = Selftests::default();
    for wanted in &args.kselftest {
        errln!("build the selftests {wanted} with {gcc}");
        builder.build(wanted, &mut built)?;
    }
    let scale = job.scale * job.oracle.time_factor(&target.cache);
    let deadline = args.timeout.unwrap_or_else(|| TIMEOUT.mul_f64(scale));
    let cases = built.tests.into_iter().map(|test| as_case(target, test, deadline)).collect();
    Ok((cases, built.files))
}

fn as_case(target: &Target, test: Selftest, deadline: Duration) -> Case {
    let Selftest { name, command, skip } = test;
    let argv = ["/bin/sh", "-c", &command].map(str::to_owned).into();
    let program = GuestProgram { argv, stream: false, skip_code: Some(SKIPPED), files: Vec::new() };
    let about = format!("The kernel's selftest: {command}");
    Case { skip, ..case(target, CaseSpec { suite: SUITE, name: &name, about, program, deadline }) }
}

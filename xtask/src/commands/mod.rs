// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands: one function per command of the command line. Each returns an exit code.

mod compare;
mod completions;
mod interactive;
mod list;
mod man;
mod oracle;
mod queue;
mod report;
mod run;
mod test;
mod watch;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use indicatif::HumanBytes;

use crate::cli::{BISECT, Cli, Command, Machine, Records};
use crate::kernel::Built;
use crate::machine::accel::Accel;
use crate::oracle::OracleRequest;
use crate::output::{out, outln};
use crate::paths::Latest;
use crate::report::{Origin, merge, term, write_all};
use crate::results::RunResult;
use crate::run::{Job, KernelFrom};
use crate::target::Target;
use crate::tree::{Tree, ensure, job};
use crate::{bench, check, ci, config, history, interrupt, kernel, paths, schema, setup};

/// Returns the exit code of the command line `words` if the lab cannot do what was asked. `cargo xtask run` otherwise ends
/// with the exit code of a program, which may be 2; and for `git bisect run`, 2 is a bad commit.
pub fn failure_code(words: impl Iterator<Item = OsString>) -> u8 {
    let words: Vec<OsString> = words.skip(1).collect();
    match words.first() {
        Some(command) if command == "run" => run::CANNOT,
        _ if words.iter().any(|word| word == BISECT) => test::END_BISECTION,
        _ => 2,
    }
}

/// Runs the command and returns its exit code.
///
/// # Errors
/// The command failed. The exit code is then that of [`failure_code`].
pub fn run(cli: Cli) -> Result<u8> {
    match cli.command {
        Command::Test(args) => test::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Check => check::run(&paths::checkout()),
        Command::Build(machine) => build(&machine),
        Command::Boot(args) => interactive::run(&args, interactive::Kind::Shell),
        Command::Gdb(args) => interactive::run(&args, interactive::Kind::Gdb),
        Command::List(args) => list::run(&Tree::load()?, &args),
        Command::Doctor { json } => setup::doctor::run(&Tree::load()?.targets, json),
        Command::Compare(args) => compare::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Oracle(args) => oracle::run(&args),
        Command::CiMatrix { format } => ci_matrix(format),
        Command::Schema { kind, .. } => json_schema(kind),
        Command::Queue(args) => queue::run(&args),
        Command::Clean { older_than } => clean(older_than),
        Command::Config => {
            out!("{}", config::describe(std::env::args_os())?);
            Ok(0)
        }
        Command::Completions { shell } => {
            completions::run(shell);
            Ok(0)
        }
        Command::Man { dir } => man::run(&dir).map(|()| 0),
    }
}

/// Returns the single item of `selected`, which `option` selects. `why` is the reason for a single one.
fn only<'t, T>(selected: &'t [T], option: &str, noun: &str, why: &str) -> Result<&'t T> {
    match selected {
        [one] => Ok(one),
        more => bail!("{option} selects {} {noun}; select only one, because {why}", more.len()),
    }
}

/// Writes the reports of a run and makes it the latest of its kind. The one before it loses its initramfs if it passed. The
/// results of `cargo xtask test` go into the history.
/// `rerun` is the command that repeats the run.
///
/// # Errors
/// A report or the link cannot be written.
fn settle(
    kind: Latest,
    run_dir: &Path,
    records: &Records,
    result: &RunResult,
    rerun: &str,
) -> Result<()> {
    for dir in std::iter::once(run_dir).chain(records.report_dir.as_deref()) {
        write_all(dir, result, Origin::Run { dir: run_dir, rerun })?;
    }
    let checkout = paths::checkout();
    if matches!(kind, Latest::Test) {
        history::add(&checkout, run_dir, result)?;
    }
    let previous = paths::latest(&checkout, kind).canonicalize();
    paths::point(&checkout, kind, run_dir)?;
    if let Ok(previous) = previous {
        shrink(&previous);
    }
    Ok(())
}

/// Removes each initramfs of a run in which all cases passed. It is only needed to boot the guest again by hand, and takes
/// more space than everything else.
fn shrink(run_dir: &Path) {
    let passed = || merge::read(run_dir).is_ok_and(|result| result.exit_code() == 0);
    if !paths::is_kept(run_dir) && passed() {
        crate::run::remove_initramfs(run_dir);
    }
}

fn build(machine: &Machine) -> Result<u8> {
    interrupt::install()?;
    let tree = Tree::load()?;
    let (targets, flavour) = tree.select(machine)?;
    let kernels = tree.kernels(machine)?;
    ensure(&targets, machine, OracleRequest::OFF)?;
    let job = job(&tree, machine, flavour, Accel::Auto, 1.0, PathBuf::new())?;
    for target in &targets {
        for kernel in &kernels {
            let built = build_with_bar(&job, target, kernel)?;
            let name = kernel.name_on(target);
            outln!("{name}: Linux {} ({})", built.version, job.flavour.name);
            outln!("  image    {}", built.image.display());
            outln!("  vmlinux  {}", built.vmlinux.display());
            outln!("  config   {}", built.config.display());
            if !built.stacks.is_empty() {
                outln!("  stacks   {}", built.stacks.join(", "));
            }
            built.notes().for_each(|note| outln!("  note     {note}"));
        }
    }
    Ok(0)
}

/// Builds the kernel of `target` from `origin` and shows a progress bar.
///
/// # Errors
/// The build failed.
pub(crate) fn build_with_bar(job: &Job, target: &Target, origin: &KernelFrom) -> Result<Built> {
    let name = origin.name_on(target);
    let bar = term::build_bar(&name);
    job.kernel(target, origin, &mut |step| bar(step.done, step.of, step.what))
}

fn ci_matrix(format: ci::Format) -> Result<u8> {
    let tree = Tree::load()?;
    out!("{}", ci::render(format, &tree.targets, &tree.kernels, &tree.flavours)?);
    Ok(0)
}

/// Prints the schema of `kind`, or updates all files.
fn json_schema(kind: Option<schema::Kind>) -> Result<u8> {
    match kind {
        Some(kind) => out!("{}", schema::render(kind)),
        None => schema::write_all(&paths::checkout())?,
    }
    Ok(0)
}

fn clean(older_than: std::time::Duration) -> Result<u8> {
    let removed = kernel::clean(&paths::cache()?, older_than)?;
    for item in &removed {
        outln!("removed {} ({})", item.path.display(), HumanBytes(item.bytes));
    }
    let freed = removed.iter().map(|item| item.bytes).sum();
    outln!("{} removed, {} freed", removed.len(), HumanBytes(freed));
    Ok(0)
}

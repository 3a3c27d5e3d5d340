// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands: one function per command of the command line. Each returns an exit code.

mod interactive;
mod list;
mod oracle;
mod queue;
mod report;
mod run;
mod test;

use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::Result;
use indicatif::HumanBytes;

use crate::cli::{Cli, Command, Machine};
use crate::kernel::Built;
use crate::machine::accel::Accel;
use crate::oracle::OracleRequest;
use crate::report::term;
use crate::run::{Job, KernelFrom};
use crate::target::Target;
use crate::tree::{Tree, ensure, job};
use crate::{bench, check, ci, interrupt, kernel, paths, schema, setup};

/// Returns the exit code of the command with this name if the lab cannot do what was asked. `cargo xtask run` otherwise
/// ends with the exit code of a program, which may be 2.
pub fn failure_code(command: Option<&OsStr>) -> u8 {
    if command == Some("run".as_ref()) { run::CANNOT } else { 2 }
}

/// Runs the command and returns its exit code.
///
/// # Errors
/// The command failed. The exit code is then that of [`failure_code`].
pub fn run(cli: Cli) -> Result<u8> {
    match cli.command {
        Command::Test(args) => test::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Check => check::run(&paths::checkout()),
        Command::Build(machine) => build(&machine),
        Command::Boot(args) => interactive::run(&args, interactive::Kind::Shell),
        Command::Gdb(args) => interactive::run(&args, interactive::Kind::Gdb),
        Command::List(args) => list::run(&Tree::load()?, &args),
        Command::Doctor { json } => setup::doctor::run(&Tree::load()?.targets, json),
        Command::Bench(args) => bench::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Oracle(args) => oracle::run(&args),
        Command::CiMatrix { format } => ci_matrix(format),
        Command::Schema { kind, .. } => json_schema(kind),
        Command::Queue(args) => queue::run(&args),
        Command::Clean { older_than } => clean(older_than),
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
            println!("{name}: Linux {} ({})", built.version, job.flavour.name);
            println!("  image    {}", built.image.display());
            println!("  vmlinux  {}", built.vmlinux.display());
            println!("  config   {}", built.config.display());
            if !built.stacks.is_empty() {
                println!("  stacks   {}", built.stacks.join(", "));
            }
            built.notes().for_each(|note| println!("  note     {note}"));
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
    print!("{}", ci::render(format, &tree.targets, &tree.kernels, &tree.flavours));
    Ok(0)
}

/// Prints the schema of `kind`, or updates all files.
fn json_schema(kind: Option<schema::Kind>) -> Result<u8> {
    match kind {
        Some(kind) => print!("{}", schema::render(kind)),
        None => schema::write_all(&paths::checkout())?,
    }
    Ok(0)
}

fn clean(older_than: std::time::Duration) -> Result<u8> {
    let removed = kernel::clean(&paths::cache()?, older_than)?;
    for item in &removed {
        println!("removed {} ({})", item.path.display(), HumanBytes(item.bytes));
    }
    let freed = removed.iter().map(|item| item.bytes).sum();
    println!("{} removed, {} freed", removed.len(), HumanBytes(freed));
    Ok(0)
}

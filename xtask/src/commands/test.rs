// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask test`.

mod failed;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::ValueEnum;

use super::settle;
use crate::cli::{self, Emulation, MessageFormat, Test};
use crate::flavour::Flavour;
use crate::history;
use crate::interrupt;
use crate::machine::accel::Accel;
use crate::machine::args::{self, Boot, Console};
use crate::machine::qemu::Qemu;
use crate::oracle::{Depth, OracleMode, decision, plugin};
use crate::output::{errln, out, outln};
use crate::paths::Latest;
use crate::report::term::Verbosity;
use crate::report::{TermOptions, events, term};
use crate::results::RunResult;
use crate::run::{self, Job, Unit};
use crate::run_dir::{INITRAMFS, boot_dir};
use crate::target::Target;
use crate::text::words;
use crate::tree::{Tree, ensure, job, units};
use crate::{kernel, paths};
use failed::Failed;

/// Exit code that ends `git bisect run` (git-bisect(1): every code above 127 does).
pub(super) const END_BISECTION: u8 = 255;

/// Result of [`perform`].
pub(super) enum Done {
    /// The command printed something and ran nothing.
    Printed,
    /// The cases have run.
    Ran(Box<RunResult>),
}

/// Runs the command and returns its exit code.
pub(super) fn run(args: &Test) -> Result<u8> {
    interrupt::install()?;
    Ok(match perform(args, Verbosity::of_flags(args.verbose, args.quiet))? {
        Done::Printed => 0,
        Done::Ran(result) if args.bisect => bisect_code(&result),
        Done::Ran(result) => result.exit_code(),
    })
}

/// Compiles the plan, runs it and writes the reports.
///
/// # Errors
/// The lab cannot do what was asked.
pub(super) fn perform(args: &Test, verbosity: Verbosity) -> Result<Done> {
    let tree = Tree::load()?;
    let failed = args.failed.then(|| Failed::of_newest_run(&tree.checkout, args)).transpose()?;
    if let Some(failed) = failed.as_ref().filter(|failed| failed.is_empty()) {
        errln!("all cases of the newest run passed or were skipped: {}", failed.run());
        return Ok(Done::Printed);
    }
    let args = failed.as_ref().map_or(args, Failed::args);
    let (targets, flavour) = tree.select(&args.machine)?;
    let filter = args.cases.filter();
    let oracle = args.emulation.oracle_request();
    let kernels = tree.kernels(&args.machine)?;
    let scale = args.timeout_scale * flavour.time;
    let mut units = units(&tree, &args.machine, &targets, &kernels, &filter, scale, oracle)?;
    if let Some(failed) = &failed {
        failed.retain(&mut units);
    }
    if args.dry_run {
        out!("{}", dry_run(&tree, args, &units)?);
        return Ok(Done::Printed);
    }
    ensure(&targets, &args.machine, oracle)?;
    if args.print_key {
        let machine = &args.machine;
        let job = job(&tree, machine, flavour, args.emulation.accel, 1.0, PathBuf::new())?;
        outln!("{}", key(&job, &units)?);
        return Ok(Done::Printed);
    }
    decision::check(oracle, &targets, args.emulation.accel, |program| Qemu::ask(program))?;
    let run_dir = paths::new_run(&tree.checkout, args.records.keep)?;
    let mut job =
        job(&tree, &args.machine, flavour, args.emulation.accel, args.timeout_scale, run_dir)?;
    job.oracle = oracle;
    job.policy = args.repetition.policy();
    if failed.is_some() {
        job.command = command(args);
    }

    let again = rerun_command(args);
    let events = match args.records.message_format {
        MessageFormat::Json => events::to_output(),
        MessageFormat::Human => {
            let checkout = tree.checkout.clone();
            let previous = move |result: &RunResult| {
                let past = history::last_like(&checkout, &history::tested(result), None)?;
                Some((past.name, past.result))
            };
            term::to_terminal(TermOptions::new(verbosity, &again).compared_with(previous))
        }
    };
    let result = run::all(&job, &units, &events);
    settle(Latest::Test, &job.run_dir, &args.records, &result, &again)?;
    Ok(Done::Ran(Box::new(result)))
}

/// Returns one key for the kernels of all units.
fn key(job: &Job, units: &[Unit]) -> Result<String> {
    let keys = units
        .iter()
        .map(|unit| job.key(&unit.target, &unit.kernel, &mut |step| errln!("{}", step.what)));
    Ok(kernel::combined_key(&keys.collect::<Result<Vec<_>>>()?))
}

/// Returns the exit code for `git bisect run` (git-bisect(1)).
fn bisect_code(result: &RunResult) -> u8 {
    match result.exit_code() {
        _ if result.interrupted => END_BISECTION,
        _ if result.is_bad() => 1,
        0 => 0,
        // The kernel does not build or boot.
        _ => 125,
    }
}

/// Returns the command that repeats this run, without the options that select targets, kernel versions and cases.
pub(super) fn rerun_command(args: &Test) -> String {
    let words: Vec<String> = options(args).iter().map(|word| args::quote(word)).collect();
    words.join(" ")
}

/// Returns the words of the command that runs the selected cases of `args`.
fn command(args: &Test) -> Vec<String> {
    let mut words = options(args);
    let selected = [
        ("--arch", &args.machine.arch),
        ("--kernel", &args.machine.kernel),
        ("--case", &args.cases.case),
    ];
    for (option, values) in selected.into_iter().filter(|(_, values)| !values.is_empty()) {
        words.extend([option.into(), values.join(",")]);
    }
    words
}

/// Returns the words of the command, without the options that select targets, kernel versions and cases.
fn options(args: &Test) -> Vec<String> {
    // Lists every option, so that a new one cannot be forgotten here.
    let cli::Machine {
        arch: _,
        flavour,
        cpus,
        kernel: _,
        kernel_src,
        no_queue,
        stack,
        patch,
        kernel_image,
        dtb,
        board,
        console,
        config,
        append,
        memory,
        qemu_arg,
        jobs: _,
        no_setup: _,
    } = &args.machine;
    let mut words: Vec<String> = ["cargo", "xtask", "test"].map(String::from).into();
    let mut add = |option: &str, value: String| words.extend([option.to_owned(), value]);
    let path = |path: &PathBuf| path.display().to_string();
    if flavour != "default" {
        add("--flavour", flavour.clone());
    }
    cpus.iter().for_each(|cpus| add("--cpus", cpus.to_string()));
    kernel_src.iter().for_each(|source| add("--kernel-src", path(source)));
    kernel_image.iter().for_each(|image| add("--kernel-image", path(image)));
    dtb.iter().for_each(|dtb| add("--dtb", path(dtb)));
    board.iter().for_each(|board| add("--machine", board.clone()));
    console.iter().for_each(|console| add("--console", console.clone()));
    patch.iter().for_each(|patch| add("--patch", path(patch)));
    memory.iter().for_each(|mebibytes| add("--memory", format!("{mebibytes}M")));
    stack.iter().for_each(|name| add("--stack", name.clone()));
    if args.emulation.accel != Accel::Auto {
        add("--accel", option_value(&args.emulation.accel));
    }
    if args.emulation.oracle != OracleMode::Auto {
        add("--oracle", option_value(&args.emulation.oracle));
    }
    if args.emulation.depth() != Depth::Full {
        add("--oracle-depth", option_value(&args.emulation.depth()));
    }
    if args.timeout_scale != 1.0 {
        add("--timeout-scale", args.timeout_scale.to_string());
    }
    args.cases.with.iter().for_each(|setting| add("--with", setting.to_string()));
    // These values may begin with a dash.
    let given = |option: &'static str, values: &'_ Vec<String>| {
        values.iter().map(|value| format!("{option}={value}")).collect::<Vec<_>>()
    };
    words.extend(given("--config", config));
    words.extend(given("--append", append));
    words.extend(given("--qemu-arg", qemu_arg));
    words.extend(no_queue.then(|| "--no-queue".to_owned()));
    words
}

/// Returns the name of an option's value on the command line.
fn option_value(value: &impl ValueEnum) -> String {
    value.to_possible_value().expect("no value is hidden").get_name().to_owned()
}

/// Returns the plan and the QEMU command of each unit, for `--dry-run`.
fn dry_run(tree: &Tree, args: &Test, units: &[Unit]) -> Result<String> {
    let (_, flavour) = tree.select(&args.machine)?;
    let mut text = String::new();
    for unit in units {
        let Unit { target, cases, stacks, .. } = unit;
        let name = unit.name();
        let stacks = match stacks.as_slice() {
            [] => String::new(),
            stacks => format!("; stacks: {}", stacks.join(", ")),
        };
        text += &format!("{name} ({}{stacks}), {}:\n", flavour.name, words::cases(cases.len()));
        for case in cases {
            text += &match &case.skip {
                None => format!("  {}\n", case.id()),
                Some(reason) => format!("  {}  skipped: {reason}\n", case.id()),
            };
        }
        text += &qemu_command(
            tree,
            target,
            Latest::Test,
            &name,
            &flavour,
            &args.machine,
            &args.emulation,
        )?;
    }
    Ok(text)
}

/// Returns the QEMU command of the first boot of `target` in a run of this kind, for `--dry-run`. `name` is the name in
/// reports.
pub(super) fn qemu_command(
    tree: &Tree,
    target: &Target,
    kind: Latest,
    name: &str,
    flavour: &Flavour,
    machine: &cli::Machine,
    emulation: &Emulation,
) -> Result<String> {
    let (image, dtb) = match &machine.kernel_image {
        Some(image) => (image.clone(), machine.dtb.clone()),
        None => kernel::planned_paths(&paths::cache()?, &target.kernel),
    };
    let qemu = run::scaled(&target.qemu, flavour);
    let plugin = plugin::planned(&tree.checkout);
    let watched = emulation.oracle == OracleMode::On && target.cache.aliases();
    let boot = Boot {
        accel: emulation.accel.planned(),
        kernel: &image,
        dtb: dtb.as_deref(),
        initrd: Path::new(INITRAMFS),
        console: Console::Log,
        gdb: false,
        // With `--oracle auto`, the oracle may be on in the real run: that depends on QEMU, which does not run here.
        oracle: watched.then_some(plugin.as_path()),
    };
    let dir = boot_dir(&paths::latest(&tree.checkout, kind), name, 1);
    Ok(args::to_paste(&dir, &qemu.binary, &args::qemu(&qemu, &boot)))
}

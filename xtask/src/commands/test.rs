// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask test`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::ValueEnum;

use super::settle;
use crate::cli::{self, Emulation, Test};
use crate::flavour::Flavour;
use crate::interrupt;
use crate::machine::args::{self, Boot, Console};
use crate::machine::qemu::Qemu;
use crate::oracle::{Depth, OracleMode, decision, plugin};
use crate::output::{errln, out, outln};
use crate::paths::Latest;
use crate::plan::Setting;
use crate::report::{TermOptions, term};
use crate::results::RunResult;
use crate::run::{self, Job, Unit};
use crate::run_dir::{INITRAMFS, boot_dir};
use crate::target::Target;
use crate::text::words;
use crate::tree::{Tree, ensure, job, units};
use crate::{kernel, paths};

/// Exit code that ends `git bisect run` (git-bisect(1): every code above 127 does).
pub(super) const END_BISECTION: u8 = 255;

/// Compiles the plan, runs it and writes the reports.
pub(super) fn run(args: &Test) -> Result<u8> {
    interrupt::install()?;
    let tree = Tree::load()?;
    let (targets, flavour) = tree.select(&args.machine)?;
    let filter = args.cases.filter();
    let oracle = args.emulation.oracle_request();
    let kernels = tree.kernels(&args.machine)?;
    let scale = args.timeout_scale * flavour.time;
    let units = units(&tree, &args.machine, &targets, &kernels, &filter, scale, oracle)?;
    if args.dry_run {
        out!("{}", dry_run(&tree, args, &units)?);
        return Ok(0);
    }
    ensure(&targets, &args.machine, oracle)?;
    if args.print_key {
        let machine = &args.machine;
        let job = job(&tree, machine, flavour, args.emulation.accel, 1.0, PathBuf::new())?;
        outln!("{}", key(&job, &units)?);
        return Ok(0);
    }
    decision::check(oracle, &targets, args.emulation.accel, |program| Qemu::ask(program))?;
    let run_dir = paths::new_run(&tree.checkout, args.records.keep)?;
    let mut job =
        job(&tree, &args.machine, flavour, args.emulation.accel, args.timeout_scale, run_dir)?;
    job.oracle = oracle;
    job.policy = args.repetition.policy();

    let again = rerun_command(args);
    let events = term::to_terminal(TermOptions::new(args.verbose, args.quiet, &again));
    let result = run::all(&job, &units, &events);
    settle(Latest::Test, &job.run_dir, &args.records, &result, &again)?;
    Ok(if args.bisect { bisect_code(&result) } else { result.exit_code() })
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
fn rerun_command(args: &Test) -> String {
    let machine = &args.machine;
    let mut words = vec!["cargo xtask test".to_owned()];
    if machine.flavour != "default" {
        words.push(format!("--flavour {}", machine.flavour));
    }
    words.extend(machine.cpus.map(|cpus| format!("--cpus {cpus}")));
    let named = |option: &'static str, path: &PathBuf| {
        format!("{option} {}", args::quote(&path.display().to_string()))
    };
    let (source, image) = (machine.kernel_src.iter(), machine.kernel_image.iter());
    words.extend(source.map(|path| named("--kernel-src", path)));
    words.extend(image.map(|path| named("--kernel-image", path)));
    words.extend(machine.dtb.iter().map(|path| named("--dtb", path)));
    words.extend(machine.board.iter().map(|name| format!("--machine {}", args::quote(name))));
    words.extend(machine.console.iter().map(|name| format!("--console {}", args::quote(name))));
    words.extend(machine.patch.iter().map(|path| named("--patch", path)));
    let given = |option: &'static str, value: &String| format!("{option}={}", args::quote(value));
    words.extend(machine.config.iter().map(|text| given("--config", text)));
    words.extend(machine.append.iter().map(|text| given("--append", text)));
    words.extend(machine.memory.map(|mebibytes| format!("--memory {mebibytes}M")));
    words.extend(machine.qemu_arg.iter().map(|text| given("--qemu-arg", text)));
    if machine.no_queue {
        words.push("--no-queue".into());
    }
    words.extend(machine.stack.iter().map(|name| format!("--stack {name}")));
    if args.emulation.oracle != OracleMode::Auto {
        words.push(format!("--oracle {}", option_value(&args.emulation.oracle)));
    }
    if args.emulation.oracle_depth != Depth::Full {
        words.push(format!("--oracle-depth {}", option_value(&args.emulation.oracle_depth)));
    }
    if args.timeout_scale != 1.0 {
        words.push(format!("--timeout-scale {}", args.timeout_scale));
    }
    let setting = |setting: &Setting| format!("--with {}", args::quote(&setting.to_string()));
    words.extend(args.cases.with.iter().map(setting));
    words.join(" ")
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

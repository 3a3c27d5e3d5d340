// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask run`: runs a program of the user in a guest.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use protocol::plan::{GuestProgram, PROGRAM_DIRS, PlannedCase, Work};

use super::test::qemu_command;
use crate::cli::Run;
use crate::image::c::CProgram;
use crate::image::elf;
use crate::image::guest_files::GuestFile;
use crate::machine::args::quote;
use crate::machine::qemu::Qemu;
use crate::oracle::{OracleRequest, decision};
use crate::plan::Case;
use crate::report::{self, Origin, rows, term};
use crate::results::{RunResult, Verdict};
use crate::run::{self, Unit};
use crate::suite::Expect;
use crate::target::Target;
use crate::tree::{Tree, ensure, job};
use crate::{files, interrupt, paths};

/// Exit code if the lab cannot do what was asked, as for `docker run` and `git bisect run`.
pub(super) const CANNOT: u8 = 125;

/// Exit code if the program missed its deadline, as for timeout(1).
const TIMED_OUT: u8 = 124;

/// Suite of the case that runs the program.
const SUITE: &str = "run";

/// Deadline of a program without `--timeout`.
const NO_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Runs the program and returns its exit code.
pub(super) fn run(args: &Run) -> Result<u8> {
    interrupt::install()?;
    let tree = Tree::load()?;
    let (targets, flavour) = tree.select(&args.machine)?;
    let kernels = tree.kernels(&args.machine)?;
    let target = only(&targets, "--arch", "targets")?;
    let kernel = only(&kernels, "--kernel", "versions")?;
    if args.dry_run {
        let name = kernel.name_on(target);
        print!("{}", qemu_command(&tree, target, &name, &flavour, args.accel, args.oracle)?);
        return Ok(0);
    }
    check_sources(args)?;
    let oracle =
        OracleRequest { mode: args.oracle, depth: args.oracle_depth, ..OracleRequest::OFF };
    ensure(&targets, &args.machine, oracle)?;
    decision::check(oracle, &targets, args.accel, |program| Qemu::ask(program))?;
    let run_dir = paths::new_run(&tree.checkout, args.keep)?;
    let prepared = prepare(args, target, &run_dir)?;
    let mut job = job(&tree, &args.machine, flavour, args.accel, args.timeout_scale, run_dir)?;
    (job.keep, job.oracle) = (args.keep, oracle);
    let unit = Unit {
        target: target.clone(),
        kernel: kernel.clone(),
        stacks: Vec::new(),
        cases: vec![case(args, target, prepared.argv)],
        files: prepared.files,
    };
    let result = run::all(&job, &[unit], &term::program::to_terminal(args.quiet));
    let again = rerun_command();
    for dir in [Some(&job.run_dir), args.report_dir.as_ref()].into_iter().flatten() {
        report::write_all(dir, &result, Origin::Run { dir: &job.run_dir, rerun: &again })?;
    }
    let code = exit_code(&result);
    if code == 0 && !job.keep {
        run::remove_initramfs(&job.run_dir);
    }
    Ok(code)
}

/// Returns the single item of `selected`, which `option` selects.
fn only<'t, T>(selected: &'t [T], option: &str, noun: &str) -> Result<&'t T> {
    match selected {
        [one] => Ok(one),
        more => bail!(
            "{option} selects {} {noun}; select only one, because the program's output and its exit code are those of one \
             guest",
            more.len()
        ),
    }
}

/// Checks that the files of the command line exist, before anything is installed or built.
fn check_sources(args: &Run) -> Result<()> {
    let program = match args.c.is_empty() {
        true => args.program.first().map(Path::new),
        false => None,
    };
    for file in args.c.iter().map(|file| file.as_path()).chain(program) {
        if !file.is_file() {
            bail!("{}: there is no such file", file.display());
        }
    }
    Ok(())
}

/// A program for the guest.
struct Prepared {
    /// Path of the program in the guest, and its arguments.
    argv: Vec<String>,
    files: Vec<GuestFile>,
}

/// Builds the program, or checks that the user's program can run on `target`, and reads the files to add. Built programs stay
/// in the run's directory, for gdb and `addr2line`.
fn prepare(args: &Run, target: &Target, run_dir: &Path) -> Result<Prepared> {
    let cross = &target.rust.cross;
    let (path, arguments) = match (args.c.first(), args.program.split_first()) {
        (Some(first), _) => {
            let program = CProgram { sources: args.c.clone(), flags: args.cflag.clone() };
            let name = first.file_stem().context("a C file has a name")?;
            let to = run_dir.join("programs").join(name);
            program.build(cross, &to)?;
            (to, args.program.as_slice())
        }
        (None, Some((program, arguments))) => (program.into(), arguments),
        (None, None) => bail!("name a program after `--`, or C files with --c"),
    };
    let bytes = files::read_bytes(&path)?;
    if args.c.is_empty() {
        elf::check(&bytes, &path, &target.name, elf::Machine::of_compiler(cross)?, cross)?;
    }
    let name = path.file_name().context("a program has a file name")?.to_string_lossy();
    let in_guest = format!("{}/{name}", PROGRAM_DIRS[0]);
    let argv = [&in_guest].into_iter().chain(arguments).cloned().collect();
    let mut files = vec![GuestFile::program(in_guest, bytes)];
    for addition in &args.add {
        files.extend(addition.read()?);
    }
    Ok(Prepared { argv, files })
}

/// Returns the case that runs the program.
fn case(args: &Run, target: &Target, argv: Vec<String>) -> Case {
    let words: Vec<String> = argv.iter().map(|word| quote(word)).collect();
    Case {
        suite: SUITE.into(),
        about: format!("Runs {}", words.join(" ")),
        promises: Vec::new(),
        expect: Expect::Pass,
        program: None,
        expect_findings: Vec::new(),
        skip: None,
        planned: PlannedCase {
            id: format!("{SUITE}/{}", id_of(&argv[0])),
            work: Work::Command(GuestProgram { argv, stream: true, skip_code: None }),
            device: None,
            with: Default::default(),
            period: target.cache.period,
            aliases: target.cache.aliases(),
            deadline_ms: args.timeout.unwrap_or(NO_TIMEOUT).as_millis() as u64,
        },
    }
}

/// Returns the name of a program without characters that a case's ID must not have.
fn id_of(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    name.chars().map(|c| if allowed(c) { c } else { '-' }).collect()
}

/// Returns the command that repeats this run.
fn rerun_command() -> String {
    let words: Vec<String> = std::env::args().skip(2).map(|word| quote(&word)).collect();
    format!("{}{}", rows::RUN, words.join(" "))
}

/// Returns the exit code of a run with one program.
fn exit_code(result: &RunResult) -> u8 {
    let case = result.targets.first().and_then(|target| target.cases.first());
    let Some(case) = case.filter(|_| !result.interrupted) else {
        return CANNOT;
    };
    match (&case.verdict, case.program_exit_code()) {
        (Verdict::Timeout { .. }, None) => TIMED_OUT,
        (_, Some(code)) if code != 0 => code,
        (Verdict::Pass, Some(0)) => 0,
        (Verdict::Fail { .. } | Verdict::Crash { .. } | Verdict::Timeout { .. }, Some(_))
        | (Verdict::Crash { .. }, None) => 1,
        _ => CANNOT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;
    use crate::results::{CaseResult, Phase};
    use protocol::record::EXIT_CODE;

    #[test]
    fn the_exit_code_is_that_of_the_program_unless_the_kernel_or_the_lab_failed() {
        let code = |verdict: Verdict, code: Option<u8>| {
            let figures =
                code.map(|code| (EXIT_CODE.to_owned(), code.into())).into_iter().collect();
            let case = CaseResult { verdict, figures, ..samples::pass("run/prog") };
            let mut run = samples::watched();
            run.targets[0].cases = vec![case];
            exit_code(&run)
        };
        let timeout = || Verdict::Timeout { phase: Phase::Test };
        let crash = || Verdict::Crash { marker: "Kernel panic".into() };
        let boot_fail = || Verdict::BootFail { reason: "no first record".into() };
        assert_eq!(code(Verdict::Pass, Some(0)), 0);
        assert_eq!(code(Verdict::fail("the program exited with status 3"), Some(3)), 3);
        assert_eq!(code(Verdict::fail("may be stale"), Some(0)), 1);
        assert_eq!(code(Verdict::fail("the program was killed by SIGSEGV"), Some(139)), 139);
        assert_eq!(code(crash(), None), 1);
        assert_eq!(code(timeout(), None), TIMED_OUT);
        assert_eq!(code(boot_fail(), None), CANNOT);
        assert_eq!(code(Verdict::infra("QEMU is gone"), None), CANNOT);
        assert_eq!(code(Verdict::infra("the oracle cannot be trusted"), Some(0)), CANNOT);
        // The image has no such command.
        assert_eq!(code(Verdict::fail("x: the image has no such command"), None), CANNOT);
        assert_eq!(exit_code(&samples::empty()), CANNOT);
    }

    #[test]
    fn the_name_of_a_case_has_no_spaces() {
        assert_eq!(id_of("/usr/local/bin/my test(1)"), "my-test-1-");
        assert_eq!(id_of("prog.sh"), "prog.sh");
    }

    #[test]
    fn several_targets_are_too_many() {
        let error = only(&[1, 2], "--arch", "targets").unwrap_err();
        insta::assert_snapshot!(error, @"--arch selects 2 targets; select only one, because the program's output and its exit code are those of one guest");
        assert_eq!(only(&[1], "--arch", "targets").unwrap(), &1);
    }
}

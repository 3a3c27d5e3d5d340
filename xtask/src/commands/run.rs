// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask run`: runs a program of the user in a guest.

mod kselftest;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use protocol::plan::{GuestProgram, PROGRAM_DIRS, PlannedCase, Work};
use protocol::programs::SKIPPED;

use super::test::qemu_command;
use super::{only, settle};
use crate::cli::{Machine, MessageFormat, Run};
use crate::image::INIT_ON_BASE;
use crate::image::busybox;
use crate::image::c::CProgram;
use crate::image::elf;
use crate::image::guest_files::{Fetch, GuestFile, with_defaults};
use crate::machine::args::quote;
use crate::machine::qemu::Qemu;
use crate::oracle::decision;
use crate::output::{errln, out};
use crate::paths::Latest;
use crate::plan::Case;
use crate::report::term::Verbosity;
use crate::report::{TermOptions, events, rows, term};
use crate::results::{RunResult, Verdict};
use crate::run::{self, Job, Unit};
use crate::run_dir::{GUEST_FILES, boot_dir};
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

/// Reason for one target and one kernel.
const ONE_GUEST: &str = "the program's output and its exit code are those of one guest";

/// Deadline of a program without `--timeout`.
const NO_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Deadline of a line of `--commands` without `--timeout`, before it is multiplied for the oracle.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(300);

/// Runs the program, or each command of `--commands`, and returns the exit code.
pub(super) fn run(args: &Run) -> Result<u8> {
    interrupt::install()?;
    let tree = Tree::load()?;
    let (targets, flavour) = tree.select(&args.machine)?;
    let kernels = tree.kernels(&args.machine)?;
    let target = only(&targets, "--arch", "targets", ONE_GUEST)?;
    let kernel = only(&kernels, "--kernel", "versions", ONE_GUEST)?;
    let mut target = target.clone();
    let base =
        args.initramfs.as_ref().map(|archive| read_base(archive, &args.machine)).transpose()?;
    if base.is_some() {
        target.qemu.append.push(format!("rdinit={INIT_ON_BASE}"));
    }
    let (target, base) = (&target, base.unwrap_or_default());
    if args.dry_run {
        let name = kernel.name_on(target);
        out!(
            "{}",
            qemu_command(
                &tree,
                target,
                Latest::Run,
                &name,
                &flavour,
                &args.machine,
                &args.emulation
            )?
        );
        return Ok(0);
    }
    let commands = read_sources(args)?;
    args.rust.iter().try_for_each(|program| program.check(target))?;
    let oracle = args.emulation.oracle_request();
    ensure(&targets, &args.machine, oracle)?;
    decision::check(oracle, &targets, args.emulation.accel, |program| Qemu::ask(program))?;
    let run_dir = paths::new_run(&tree.checkout, args.records.keep)?;
    let mut job =
        job(&tree, &args.machine, flavour, args.emulation.accel, args.timeout_scale, run_dir)?;
    job.oracle = oracle;
    let Prepared { argv, mut files } = prepare(args, target, &job)?;
    let cases = match &commands {
        Some(commands) => commands.iter().map(|command| command.case(args, target, &job)).collect(),
        None if args.kselftest.is_empty() => vec![program_case(args, target, argv)],
        None => {
            let (cases, programs) = kselftest::prepare(args, target, kernel, &job)?;
            files.extend(programs);
            cases
        }
    };
    let kernel = kernel.clone();
    let unit = Unit { target: target.clone(), kernel, stacks: Vec::new(), cases, files, base };
    execute(args, &job, &unit)
}

/// Reads the archive of `--initramfs`.
///
/// # Errors
/// It cannot be read, or the kernel could not unpack it.
fn read_base(archive: &Path, machine: &Machine) -> Result<Vec<u8>> {
    let base = files::read_bytes(archive)?;
    let may_decompress = machine.kernel_image.is_some() || !machine.config.is_empty();
    if !(base.starts_with(b"07070") || (may_decompress && !base.is_empty())) {
        bail!(
            "--initramfs {}: not a cpio archive; the lab's kernels read no compressed ones, except with an option such as \
             --config RD_GZIP=y",
            archive.display()
        );
    }
    Ok(base)
}

/// Runs the cases of `unit`, writes the reports, and returns the exit code.
fn execute(args: &Run, job: &Job, unit: &Unit) -> Result<u8> {
    let again = rerun_command();
    let several = args.has_several_cases();
    let events = match args.records.message_format {
        MessageFormat::Json => events::to_output(),
        MessageFormat::Human if several => {
            term::to_terminal(TermOptions::new(Verbosity::of_flags(false, args.quiet), &again))
        }
        MessageFormat::Human => term::program::to_terminal(args.quiet),
    };
    let result = run::all(job, std::slice::from_ref(unit), &events);
    settle(Latest::Run, &job.run_dir, &args.records, &result, &again)?;
    let code = if several { code_of_commands(&result) } else { code_of_program(&result) };
    match fetch(args, &job.run_dir, &result) {
        // The exit code of the program says more.
        Err(error) if code != 0 => errln!("error: {error:#}"),
        fetched => fetched?,
    }
    Ok(code)
}

/// Checks that the files of the command line exist, before anything is installed or built, and returns the lines of
/// `--commands`.
fn read_sources(args: &Run) -> Result<Option<Vec<ShellCommand>>> {
    let program = args.program.first().map(Path::new);
    let program = program.filter(|path| args.names_host_program() && !is_command(path));
    let sources = args.c.iter().chain(&args.script).chain(&args.initramfs).map(PathBuf::as_path);
    for file in sources.chain(program) {
        if !file.is_file() {
            bail!("{}: there is no such file", file.display());
        }
    }
    let names: Vec<&str> = args.get.iter().map(|fetch| fetch.name()).collect();
    for (at, name) in names.iter().enumerate() {
        if names[..at].contains(name) {
            bail!(
                "--get: two files have the name {name}, but the guest sends files without their directories"
            );
        }
    }
    let read = |file: &PathBuf| -> Result<Vec<ShellCommand>> {
        let commands = ShellCommand::parse(&files::read(file)?);
        if commands.is_empty() {
            bail!("--commands {}: the file has no commands", file.display());
        }
        Ok(commands)
    };
    args.commands.as_ref().map(read).transpose()
}

/// A line of the file of `--commands`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ShellCommand {
    /// Number of the line in the file, from 1.
    number: usize,
    text: String,
}

impl ShellCommand {
    /// Returns the commands of a file: one in each line, except for comments and empty lines.
    fn parse(text: &str) -> Vec<Self> {
        let lines = text.lines().map(str::trim).zip(1..);
        let lines = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
        lines.map(|(line, number)| Self { number, text: line.to_owned() }).collect()
    }

    /// Returns the name of the case: the number of the line, and the name of its first word.
    fn name(&self) -> String {
        let word = self.text.split_whitespace().next().unwrap_or_default();
        format!("{}-{}", self.number, plain_name(word))
    }

    /// Returns the case that runs the command.
    fn case(&self, args: &Run, target: &Target, job: &Job) -> Case {
        let scale = job.scale * job.oracle.time_factor(&target.cache);
        let deadline = args.timeout.unwrap_or_else(|| COMMAND_TIMEOUT.mul_f64(scale));
        let argv = ["/bin/sh", "-c", &self.text].map(str::to_owned).into();
        let program =
            GuestProgram { argv, stream: false, skip_code: Some(SKIPPED), files: Vec::new() };
        let (name, about) = (self.name(), self.text.clone());
        case(target, CaseSpec { suite: SUITE, name: &name, about, program, deadline })
    }
}

/// Returns true if the program is a command of the guest: a name without `/` of which the host has no file.
fn is_command(program: &Path) -> bool {
    program.components().count() == 1
        && !program.to_string_lossy().contains('/')
        && !program.exists()
}

/// A program for the guest.
struct Prepared {
    /// Path of the program in the guest, and its arguments.
    argv: Vec<String>,
    files: Vec<GuestFile>,
}

/// Builds the program, or checks that the user's program can run on `target`, and reads the files to add. Built programs stay
/// in the run's directory, for gdb and `addr2line`.
fn prepare(args: &Run, target: &Target, job: &Job) -> Result<Prepared> {
    let cross = &target.rust.cross;
    let mut files = Vec::new();
    let mut words = args.program.clone();
    // An archive of the user has a shell of its own.
    let has_shell = args.initramfs.is_some();
    let mut needs_shell = args.has_several_cases();
    if let Some(script) = &args.script {
        let path = in_guest(script)?;
        files.push(GuestFile::program(path.clone(), files::read_bytes(script)?));
        words.splice(0..0, ["/bin/sh".into(), path]);
        needs_shell = true;
    } else if let Some(first) = args.c.first() {
        let program = CProgram { sources: args.c.clone(), flags: args.cflag.clone() };
        let built =
            job.run_dir.join("programs").join(first.file_stem().context("a C file has a name")?);
        program.build(cross, &built)?;
        let path = in_guest(&built)?;
        files.push(GuestFile::program(path.clone(), files::read_bytes(&built)?));
        words.insert(0, path);
    } else if let Some(program) = &args.rust {
        let work = job.run_dir.join("programs");
        let built = program.build(target, &job.checkout, &job.cache, &work.join("package"))?;
        let path = in_guest(&built)?;
        let bytes = files::read_bytes(&built)?;
        files::write(&work.join(built.file_name().context("a program has a name")?), &bytes)?;
        files.push(GuestFile::program(path.clone(), bytes));
        words.insert(0, path);
    } else if args.initramfs.is_some() {
        if words.is_empty() && !args.has_several_cases() {
            words.push("/init".into());
        }
    } else if let Some(program) = words.first().map(PathBuf::from) {
        if is_command(&program) {
            needs_shell = true;
        } else {
            let bytes = files::read_bytes(&program)?;
            let machine = elf::Machine::of_compiler(cross)?;
            elf::check(&bytes, &program, &target.name, machine, cross)?;
            needs_shell |= elf::is_script(&bytes);
            words[0] = in_guest(&program)?;
            files.push(GuestFile::program(words[0].clone(), bytes));
        }
    }
    for addition in &args.add {
        files.extend(addition.read()?);
    }
    if args.busybox || (needs_shell && !has_shell) {
        let mut say = |line: String| errln!("{line}");
        let tools = busybox::with_links(&job.cache, cross, job.jobs, &mut say)?;
        files = with_defaults(files, tools);
    }
    Ok(Prepared { argv: words, files })
}

/// Returns the path in the guest of the program `path` of the host.
fn in_guest(path: &Path) -> Result<String> {
    let name = path.file_name().context("a program has a file name")?.to_string_lossy();
    Ok(format!("{}/{name}", PROGRAM_DIRS[0]))
}

/// Copies the files that the guest has sent to the places that the user asked for.
fn fetch(args: &Run, run_dir: &Path, result: &RunResult) -> Result<()> {
    let Some(target) = result.targets.first() else {
        return Ok(());
    };
    let sent = boot_dir(run_dir, &target.name, target.boots).join(GUEST_FILES);
    for file in &args.get {
        let Fetch { from, to } = file;
        std::fs::copy(sent.join(file.name()), to).with_context(|| {
            format!("--get {from}: the guest did not send this file to {}", to.display())
        })?;
    }
    Ok(())
}

/// Returns the case that runs the program or the script.
fn program_case(args: &Run, target: &Target, argv: Vec<String>) -> Case {
    let words: Vec<String> = argv.iter().map(|word| quote(word)).collect();
    let name = plain_name(&argv[usize::from(args.script.is_some())]);
    let about = format!("Runs {}", words.join(" "));
    let files = args.get.iter().map(|fetch| fetch.from.clone()).collect();
    let program = GuestProgram { argv, stream: true, skip_code: None, files };
    let deadline = args.timeout.unwrap_or(NO_TIMEOUT);
    case(target, CaseSpec { suite: SUITE, name: &name, about, program, deadline })
}

/// Properties of a case that runs a program.
struct CaseSpec<'c> {
    suite: &'c str,
    name: &'c str,
    about: String,
    program: GuestProgram,
    deadline: Duration,
}

fn case(target: &Target, spec: CaseSpec) -> Case {
    let CaseSpec { suite, name, about, program, deadline } = spec;
    Case {
        suite: suite.into(),
        about,
        promises: Vec::new(),
        expect: Expect::Pass,
        program: None,
        expect_findings: Vec::new(),
        skip: None,
        planned: PlannedCase {
            id: format!("{suite}/{name}"),
            work: Work::Command(program),
            device: None,
            with: Default::default(),
            period: target.cache.period,
            aliases: target.cache.aliases(),
            deadline_ms: deadline.as_millis() as u64,
        },
    }
}

/// Returns the last part of `path`, with `-` for each character that a case's ID must not have.
fn plain_name(path: &str) -> String {
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
fn code_of_program(result: &RunResult) -> u8 {
    let Some(target) = result.targets.first() else {
        return CANNOT;
    };
    let Some(case) = target.cases.first().filter(|_| !result.interrupted) else {
        return CANNOT;
    };
    match (&case.verdict, case.program_exit_code()) {
        (Verdict::Timeout { .. }, None) => TIMED_OUT,
        (_, Some(code)) if code != 0 => code,
        (Verdict::Pass, Some(0)) if target.failure.is_none() => 0,
        (Verdict::Fail { .. } | Verdict::Crash { .. } | Verdict::Timeout { .. }, Some(_))
        | (Verdict::Crash { .. }, None) => 1,
        _ => CANNOT,
    }
}

/// Returns the exit code of a run of several commands: 0 if all of them passed or were skipped, 1 if one failed.
fn code_of_commands(result: &RunResult) -> u8 {
    match result.exit_code() {
        code @ (0 | 1) => code,
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
            code_of_program(&run)
        };
        let timeout = || Verdict::Timeout { phase: Phase::Test, place: None };
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
        assert_eq!(code_of_program(&samples::empty()), CANNOT);
        assert_eq!(code_of_commands(&samples::empty()), CANNOT);
    }

    #[test]
    fn the_name_of_a_case_has_no_spaces() {
        assert_eq!(plain_name("/usr/local/bin/my test(1)"), "my-test-1-");
        assert_eq!(plain_name("prog.sh"), "prog.sh");
    }

    #[test]
    fn each_line_of_a_file_is_a_command() {
        let commands = ShellCommand::parse("# setup\n\n  ./mm/map_fixed -v \nls /proc | wc -l\n");
        let names: Vec<String> = commands.iter().map(ShellCommand::name).collect();
        assert_eq!(names, ["3-map_fixed", "4-ls"]);
        assert_eq!(commands[1].text, "ls /proc | wc -l");
    }

    #[test]
    fn several_targets_are_too_many() {
        let error = only(&[1, 2], "--arch", "targets", ONE_GUEST).unwrap_err();
        insta::assert_snapshot!(error, @"--arch selects 2 targets; select only one, because the program's output and its exit code are those of one guest");
        assert_eq!(only(&[1], "--arch", "targets", ONE_GUEST).unwrap(), &1);
    }
}

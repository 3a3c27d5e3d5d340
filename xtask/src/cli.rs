// SPDX-License-Identifier: MIT OR Apache-2.0
//! Definition of the command line. [`commands`](crate::commands) runs the commands.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use protocol::plan::Device;
use regex::Regex;

use crate::ci;
use crate::image::guest_files::{Addition, Fetch};
use crate::image::kselftest::Wanted;
use crate::image::rust::RustProgram;
use crate::kernel::Identity;
use crate::machine::accel::Accel;
use crate::oracle::{Depth, OracleMode, OracleRequest};
use crate::plan::{Filter, Setting, Shard};
use crate::policy::{self, Policy};
use crate::report;
use crate::schema;

/// Words of the command line of this process, with the options of configuration files.
static WORDS: OnceLock<Vec<OsString>> = OnceLock::new();

/// Sets the command line that [`words`] returns. Only the first call has an effect.
pub(crate) fn set_words(words: Vec<OsString>) {
    let _ = WORDS.set(words);
}

/// Returns the words of the command line without the program. They contain the options of configuration files, and therefore
/// no `--profile`.
pub(crate) fn words() -> Vec<String> {
    let all = WORDS.get().cloned().unwrap_or_else(|| std::env::args_os().collect());
    without_profile(all.iter().skip(1).map(|word| word.to_string_lossy().into_owned()))
}

fn without_profile(words: impl Iterator<Item = String>) -> Vec<String> {
    let (mut kept, mut words) = (Vec::new(), words);
    while let Some(word) = words.next() {
        match word.as_str() {
            // What follows are words of a program.
            "--" => {
                kept.push(word);
                kept.extend(words);
                break;
            }
            "--profile" => drop(words.next()),
            word if word.starts_with("--profile=") => {}
            _ => kept.push(word),
        }
    }
    kept
}

/// Test whether FUSE/CUSE direct mmap keeps memory coherent and bounded, on a real kernel in QEMU.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, max_term_width = 100)]
#[command(
    after_help = "Start with `cargo xtask test`. Exit codes: 0 success; 1 a case or a check failed; 2 the command \
    could not do what was asked."
)]
pub struct Cli {
    /// Take options from this profile of the configuration files, which docs/guide.md describes.
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) profile: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build a patched kernel, boot it, run the test suites in it, and report the results.
    #[command(after_help = TEST_EXAMPLES)]
    Test(Test),
    /// Run the tests, and again whenever a patch, a suite or the kernel source changes. Each run prints one line.
    #[command(after_help = WATCH_EXAMPLES)]
    Watch(Test),
    /// Run a program in a guest, under the oracle where caches alias.
    #[command(after_help = RUN_HELP)]
    Run(Run),
    /// Run every check that needs no guest: format, lints, host tests, documents, licence headers.
    Check,
    /// Build the kernel only, and print the paths of its image, vmlinux and config.
    Build(Machine),
    /// Boot a target to an interactive shell. Ctrl-A x ends QEMU, Ctrl-A c opens its monitor.
    Boot(Interactive),
    /// Boot a target that waits for gdb, and print the command that attaches gdb to it.
    Gdb(Interactive),
    /// List targets, kernel versions, flavours, suites and cases, and the targets that each case runs on.
    List(List),
    /// Show what this machine has, what is missing, and whether a guest runs under KVM.
    Doctor {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Compare the results of two runs: what broke, what was fixed, what became slower, and findings of the oracle.
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(Compare),
    /// Measure the lab and direct mmap, and print the tables of docs/performance.md.
    Bench(Bench),
    /// Merge the reports of several runs, or print the README's table of targets.
    #[command(subcommand)]
    Report(Report),
    /// Show what the oracle, a model of the cache, found in a run, or test the oracle itself.
    #[command(subcommand)]
    Oracle(Oracle),
    /// Print a CI job definition generated from the targets and kernel versions, as in ci/.
    CiMatrix {
        /// CI system to generate for.
        #[arg(long, value_enum)]
        format: ci::Format,
    },
    /// Print a JSON schema generated from the types of the lab, as in schemas/.
    Schema {
        /// Kind of file that the schema describes.
        #[arg(value_enum, required_unless_present = "write")]
        kind: Option<schema::Kind>,
        /// Update all files in schemas/.
        #[arg(long, conflicts_with = "kind")]
        write: bool,
    },
    /// Edit the patch queue as commits in a git tree, as described in docs/kernel-queue.md.
    #[command(subcommand)]
    Queue(Queue),
    /// Remove kernels, build directories, sources and other files in the cache that no run has used for some time.
    Clean {
        /// Minimum time since the last use, such as 12h or 30days. 0s removes everything that no run is using.
        #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration, default_value = "30days")]
        older_than: Duration,
    },
    /// Show the configuration files, and the options of each command that they set.
    Config,
    /// Print a script with which a shell completes `cargo xtask`: commands, options and their values.
    #[command(after_help = COMPLETIONS_HELP)]
    Completions {
        /// Shell that reads the script.
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Write manual pages, one for each command.
    Man {
        /// Directory to write to, such as ~/.local/share/man/man1, where `man cargo-xtask` finds them.
        dir: PathBuf,
    },
}

/// Shell with completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

const COMPLETIONS_HELP: &str = "\
Examples:
  bash: in ~/.bashrc, after the completion of cargo
    source <(cargo xtask completions bash)
  zsh: in a directory of fpath, before compinit
    cargo xtask completions zsh > ~/.zfunc/_cargo-xtask
  fish:
    cargo xtask completions fish > ~/.config/fish/conf.d/xtask.fish";

const TEST_EXAMPLES: &str = "\
Examples:
  cargo xtask test                                   all default suites, on x86_64
  cargo xtask test --suite smoke                     one suite, in about ten seconds
  cargo xtask test --case drain/cycles.cuse          one case
  cargo xtask test --suite race --until-fail         one suite, until a case fails
  cargo xtask test --retries 2                       run failed cases again, and mark flaky ones
  cargo xtask test --failed                          what failed in the newest run
  cargo xtask test --arch aliasing                   every target whose data caches alias
  cargo xtask test --flavour debug                   a kernel with KASAN and lockdep
  cargo xtask test --kernel all                      every kernel version with a patch queue
  cargo xtask test --kernel-src ~/linux              your own tree, with the patch queue on top
  cargo xtask test --kernel-src ~/linux --no-queue   your own tree without the patch queue
  cargo xtask test --kernel-src ~/linux --bisect     one step of a bisection (docs/guide.md)

Exit codes: 0 all passed; 1 a case failed, crashed or timed out; 2 the lab could not do what was asked.";

const WATCH_EXAMPLES: &str = "\
Examples:
  cargo xtask watch --suite smoke                      run smoke after each change
  cargo xtask watch --kernel-src ~/linux --fail-fast   your own tree

The options are those of `test`, except for --bisect, --dry-run and --print-key. With --verbose, each
run prints what `test` prints. Ctrl-C ends the command, with exit code 0.";

const COMPARE_EXAMPLES: &str = "\
Examples:
  cargo xtask compare                              the newest run and the one before it
  cargo xtask compare 2026-11-30T021500            an older run and the newest one
  cargo xtask compare main/results.json reports    results from elsewhere, such as artifacts of CI

Exit codes: 0 nothing broke; 1 a case or a target fails that did not before, or the oracle has a
new finding; 2 the command could not do what was asked.";

const RUN_HELP: &str = "\
Examples:
  cargo xtask run --arch armv6 --c test.c                build test.c for armv6, and run it
  cargo xtask run --arch armv6 --c a.c b.c -- -n 3       two files, and arguments for the program
  cargo xtask run --arch arm64 -- ./prog args            a static program for arm64
  cargo xtask run --c test.c --add data:/opt/data        with a directory of files
  cargo xtask run --arch arm64 --rust ~/test             a Cargo package, or a single source file
  cargo xtask run --initramfs rootfs.cpio -- /bin/test   a program of a root filesystem of yours
  cargo xtask run --arch parisc --script test.sh         a shell script, with busybox
  cargo xtask run --arch sparc64 -- cat /proc/cpuinfo    a command of busybox
  cargo xtask run --arch armv6 --commands tests.txt      one test for each line
  cargo xtask run --arch armv6 --kselftest mm,ptrace     the kernel's own selftests

Exit codes: that of the program, or 128+N if signal N of the guest killed it. If the program exited
with 0: 1 if the oracle found something, or if the kernel warned or crashed. 124 the program took
longer than --timeout; 125 the lab could not do what was asked; 126 the program could not be
executed. With --commands and --kselftest: 0 all passed; 1 a command failed; 125 as above.";

/// Options that `test --failed` takes from the newest run.
const FIXED_BY_FAILED: [&str; 29] = [
    "arch",
    "flavour",
    "cpus",
    "kernel",
    "kernel_src",
    "no_queue",
    "stack",
    "patch",
    "kernel_image",
    "dtb",
    "board",
    "console",
    "config",
    "append",
    "memory",
    "qemu_arg",
    "suite",
    "case",
    "filter",
    "not",
    "promise",
    "device",
    "shard",
    "with",
    "accel",
    "oracle",
    "oracle_depth",
    "oracle_strict",
    "timeout_scale",
];

/// The option [`Test::bisect`].
pub(crate) const BISECT: &str = "--bisect";

/// The kernel and the machine that runs it.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Machine {
    /// Targets or groups of targets, separated by commas; `cargo xtask list` shows the targets. Groups: all, aliasing,
    /// arm.
    #[arg(long, value_name = "TARGET", value_delimiter = ',', default_value = "x86_64")]
    pub arch: Vec<String>,
    /// Configuration of the kernel: compat, debug, default, gcov, kcsan, mainline, modules, preempt.
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub flavour: String,
    /// Number of processors of the machine, 1 to 8 [default: that of the flavour, else that of the target].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8))]
    pub cpus: Option<u32>,
    /// Versions of Linux, separated by commas, or `all`; `cargo xtask list` shows the versions and marks the default.
    #[arg(long, value_name = "VERSION", value_delimiter = ',')]
    #[arg(conflicts_with_all = ["kernel_src", "kernel_image"])]
    pub kernel: Vec<String>,
    /// Kernel source to use instead of Debian's: a directory or a tarball. The lab never writes to it.
    #[arg(long, value_name = "DIR|TARBALL")]
    pub kernel_src: Option<PathBuf>,
    /// Build the kernel source without the patch queue.
    #[arg(long)]
    pub no_queue: bool,
    /// Apply only this stack of the patch queue, and the stacks that it needs. Cases that need other stacks are skipped.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["no_queue", "kernel_image"])]
    pub stack: Option<String>,
    /// Patch to apply after the queue. May be repeated.
    #[arg(long, value_name = "FILE")]
    pub patch: Vec<PathBuf>,
    /// Boot this kernel image instead of building a kernel.
    #[arg(long, value_name = "FILE")]
    #[arg(conflicts_with_all = ["kernel_src", "no_queue", "patch"])]
    pub kernel_image: Option<PathBuf>,
    /// Device tree for --kernel-image [default: the target's, from the directory of the image].
    #[arg(long, value_name = "FILE", requires = "kernel_image")]
    pub dtb: Option<PathBuf>,
    /// QEMU's machine for --kernel-image, such as raspi1ap, instead of that of the target. It has the default processor
    /// and devices of QEMU, and a serial port for the console and the records.
    #[arg(long = "machine", value_name = "NAME", requires = "kernel_image")]
    pub board: Option<String>,
    /// First serial port of --machine, as the kernel names it [default: that of the target].
    #[arg(long, value_name = "DEVICE", requires = "board")]
    pub console: Option<String>,
    /// Option of the kernel, such as PACKET=y, or a file of options in the format of a .config. They take precedence over
    /// those of the lab. May be repeated.
    #[arg(long, value_name = "OPTION=VALUE|FILE", conflicts_with = "kernel_image")]
    pub config: Vec<String>,
    /// Words to add to the kernel command line. May be repeated.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub append: Vec<String>,
    /// Memory of the machine, such as 512M or 2G [default: that of the target, multiplied by the flavour].
    #[arg(long, value_name = "SIZE", value_parser = mebibytes)]
    pub memory: Option<u32>,
    /// Further argument of QEMU, such as --qemu-arg=-device --qemu-arg=usb-ehci. May be repeated.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub qemu_arg: Vec<String>,
    /// Number of parallel jobs of `make` [default: the number of CPUs].
    #[arg(long, short, value_name = "N", value_parser = above_zero)]
    pub jobs: Option<usize>,
    /// Install nothing; report what is missing instead.
    #[arg(long)]
    pub no_setup: bool,
}

/// Accelerator and oracle of a guest.
#[derive(Clone, Debug, Args)]
pub(crate) struct Emulation {
    /// Accelerator of QEMU. auto uses KVM if a probe guest finishes under KVM, and TCG otherwise.
    #[arg(long, value_enum, default_value_t = Accel::Auto)]
    pub accel: Accel,
    /// Run under the oracle, a model of the cache that reports accesses to stale data. auto does so on targets whose
    /// caches alias, if QEMU supports it.
    #[arg(long, value_enum, value_name = "MODE", default_value_t = OracleMode::Auto)]
    pub oracle: OracleMode,
    /// Accesses that the oracle models. full: those of processes and of the kernel, and the kernel's flushes. user:
    /// only those through addresses of processes, which is faster. strict: see --oracle-strict.
    #[arg(long, value_enum, value_name = "DEPTH", default_value_t = Depth::Full)]
    pub oracle_depth: Depth,
    /// Count a flush of the whole cache on behalf of a process, as in fork, munmap and exit, only for what that process
    /// used. Shows flushes of single pages that are missing. A finding may be false, see docs/oracle.md. The same as
    /// --oracle-depth strict.
    #[arg(long, conflicts_with = "oracle_depth")]
    pub oracle_strict: bool,
}

impl Emulation {
    /// Returns what the user wants of the oracle.
    pub(crate) fn oracle_request(&self) -> OracleRequest {
        OracleRequest { mode: self.oracle, depth: self.depth(), ..OracleRequest::OFF }
    }

    /// Returns the depth of the oracle.
    pub(crate) fn depth(&self) -> Depth {
        if self.oracle_strict { Depth::Strict } else { self.oracle_depth }
    }
}

/// Files that a run leaves.
#[derive(Clone, Debug, Args)]
pub(crate) struct Records {
    #[arg(long, value_name = "DIR", help = format!("Also write {} to this directory", report::file_list()))]
    pub report_dir: Option<PathBuf>,
    /// Never delete this run's directory or anything in it.
    #[arg(long)]
    pub keep: bool,
    /// Format of standard output. json: each event of the run is a line, as docs/events.md describes.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub message_format: MessageFormat,
}

/// Format of what a run prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum MessageFormat {
    #[default]
    Human,
    Json,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Test {
    #[command(flatten)]
    pub machine: Machine,
    #[command(flatten)]
    pub cases: CaseSelection,
    /// Run the cases that failed in the newest run, or that it did not run, on the same targets and with the same options.
    #[arg(long, conflicts_with_all = FIXED_BY_FAILED)]
    pub failed: bool,
    #[command(flatten)]
    pub repetition: Repetition,
    #[command(flatten)]
    pub emulation: Emulation,
    /// Multiply every deadline by this factor, for a slow machine.
    #[arg(long, value_name = "FACTOR", value_parser = positive, default_value = "1")]
    pub timeout_scale: f64,
    #[command(flatten)]
    pub records: Records,
    /// Use the exit codes of `git bisect run`: 0 good; 1 bad; 125 if the kernel cannot be tested, because it does not
    /// build or boot; 255, which ends the bisection, if the lab was interrupted or could not do what was asked.
    #[arg(long, conflicts_with_all = ["dry_run", "failed"])]
    pub bisect: bool,
    /// Print the plan and the QEMU command without running anything.
    #[arg(long)]
    pub dry_run: bool,
    /// Print a hash of everything that the kernels are built from, without building or running anything: versions of
    /// source and compiler, patches and configuration. A CI job keeps `kernels` of the lab's cache under this key.
    #[arg(long, conflicts_with_all = ["dry_run", "bisect", "kernel_image"])]
    pub print_key: bool,
    /// Print a line for each case that passes.
    #[arg(long, short, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Print only failures and the summary.
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Compare {
    /// A results.json, a directory that has one, or the name of a run in target/lab/history [default: the last run before NEW
    /// with the same targets and flavour].
    pub old: Option<PathBuf>,
    /// The same for the new run [default: the newest run of `test`].
    pub new: Option<PathBuf>,
}

/// Selection of cases, and their parameters.
#[derive(Clone, Debug, Args)]
pub(crate) struct CaseSelection {
    /// Run the cases of these suites, separated by commas.
    #[arg(long, value_name = "SUITE", value_delimiter = ',')]
    pub suite: Vec<String>,
    /// Run these cases, in addition to those of --suite: `suite/name.device`, or `suite/name` for every device.
    #[arg(long, value_name = "CASE", value_delimiter = ',')]
    pub case: Vec<String>,
    /// Run only the selected cases whose name matches.
    #[arg(long, value_name = "REGEX")]
    pub filter: Option<Regex>,
    /// Leave out the selected cases whose name matches.
    #[arg(long, value_name = "REGEX")]
    pub not: Option<Regex>,
    /// Run only the selected cases that prove one of these promises of docs/interface.md, separated by commas.
    #[arg(long, value_name = "NUMBER", value_delimiter = ',')]
    pub promise: Vec<u8>,
    /// Run only the selected cases with this device.
    #[arg(long, value_name = "DEVICE", value_enum)]
    pub device: Option<DeviceName>,
    /// Split the selected cases of each target into N equal parts, and run part I: 1/3, 2/3 or 3/3.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Set a parameter that the suite lists under `with:` for the selected cases. May be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    pub with: Vec<Setting>,
}

/// Kind of file that a case uses.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum DeviceName {
    Fuse,
    Cuse,
}

impl CaseSelection {
    /// Returns the selection as a filter.
    pub(crate) fn filter(&self) -> Filter {
        Filter {
            suites: self.suite.clone(),
            cases: self.case.clone(),
            pattern: self.filter.clone(),
            except: self.not.clone(),
            promises: self.promise.clone(),
            device: self.device.map(|device| match device {
                DeviceName::Fuse => Device::Fuse,
                DeviceName::Cuse => Device::Cuse,
            }),
            shard: self.shard,
            with: self.with.clone(),
        }
    }
}

/// Repetition of cases, and limits that stop a run early.
#[derive(Clone, Debug, Args)]
#[command(group(clap::ArgGroup::new("repetitions").multiple(true)))]
pub(crate) struct Repetition {
    /// Run the selected cases N times. A case fails if one of its runs fails.
    #[arg(long, value_name = "N", value_parser = above_zero, group = "repetitions")]
    pub repeat: Option<usize>,
    /// Repeat the selected cases until one fails; with --repeat, at most N times.
    #[arg(long, group = "repetitions")]
    pub until_fail: bool,
    /// Boot the machine again for each repetition, instead of repeating the cases in one boot.
    #[arg(long, requires = "repetitions")]
    pub fresh_boot: bool,
    /// Run each failed case again, in a new boot, up to N times. A case that passes then is flaky.
    #[arg(long, value_name = "N", default_value = "0", conflicts_with = "repetitions")]
    pub retries: usize,
    /// Fail cases that are flaky.
    #[arg(long, requires = "retries")]
    pub strict: bool,
    /// Stop after the first failed case; the same as --max-fail 1.
    #[arg(long, conflicts_with_all = ["max_fail", "until_fail"])]
    pub fail_fast: bool,
    /// Stop after N failed cases, on all targets together. The other cases get the verdict not-run.
    #[arg(long, value_name = "N", value_parser = above_zero, conflicts_with = "until_fail")]
    pub max_fail: Option<usize>,
    /// Stop the tests of a target after N consecutive timeouts; 0 never does.
    #[arg(long, value_name = "N", default_value_t = policy::MAX_TIMEOUTS)]
    pub max_timeouts: usize,
}

impl Repetition {
    /// Returns the policy that the options describe.
    pub(crate) fn policy(&self) -> Policy {
        Policy {
            repeat: match (self.repeat, self.until_fail) {
                (None, true) => None,
                (repeat, _) => Some(repeat.unwrap_or(1)),
            },
            fresh_boot: self.fresh_boot,
            retries: self.retries,
            strict: self.strict,
            max_fail: if self.fail_fast || self.until_fail { Some(1) } else { self.max_fail },
            max_timeouts: (self.max_timeouts > 0).then_some(self.max_timeouts),
        }
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub machine: Machine,
    /// Program of this machine, and its arguments. It must be static and for the target. A name without `/` of which this
    /// machine has no file is a command of busybox. The program runs as root, in the directory /, without input. With --c or
    /// --script, only the arguments.
    #[arg(last = true, value_name = "PROGRAM", required_unless_present_any = ["c", "rust", "script", "commands", "kselftest", "initramfs"])]
    pub program: Vec<String>,
    /// Build these C files into one static program for the target, and run it.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub c: Vec<PathBuf>,
    /// Further argument of the C compiler, such as --cflag=-DROUNDS=3 or --cflag=-lm. May be repeated.
    #[arg(long, value_name = "FLAG", requires = "c", allow_hyphen_values = true)]
    pub cflag: Vec<String>,
    /// Build this Rust program into a static program for the target, and run it: the directory of a Cargo package, or a
    /// single source file. A package with several programs needs the name of one of them.
    #[arg(long, value_name = "DIR|FILE[:PROGRAM]", conflicts_with = "c")]
    pub rust: Option<RustProgram>,
    /// Run this shell script. The guest has busybox: a shell and the usual tools.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["c", "rust"])]
    pub script: Option<PathBuf>,
    /// Run each line of this file as a shell command, as a case of its own: with a window of the oracle, a verdict, and all
    /// reports. Lines that begin with # are comments. Exit code 4 means that the command does not apply to the machine.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["script", "program", "get"])]
    pub commands: Option<PathBuf>,
    /// Build these selftests of the kernel, directories of tools/testing/selftests separated by commas, and run each of their
    /// programs as a case of its own, like a line of --commands. Programs that do not compile for the target are skipped.
    #[arg(long, value_name = "COLLECTION[:PROGRAM]", value_delimiter = ',')]
    #[arg(conflicts_with_all = ["c", "rust", "script", "commands", "program", "get", "kernel_image"])]
    pub kselftest: Vec<Wanted>,
    /// Unpack this archive as the guest's root filesystem: a cpio archive. The first word after `--` is then
    /// a program of the archive [default: /init]. The archive must have a shell for --script and --commands.
    #[arg(long, value_name = "FILE", conflicts_with = "kselftest")]
    pub initramfs: Option<PathBuf>,
    /// Put busybox into the guest even if nothing of the above needs it, for programs that call a shell.
    #[arg(long)]
    pub busybox: bool,
    /// Bring this file of the guest back after the run [default HOSTPATH: its name in the current directory]. May be
    /// repeated.
    #[arg(long, value_name = "PATH[:HOSTPATH]")]
    pub get: Vec<Fetch>,
    /// Put a file or a directory of this machine into the guest [default DEST: its name in the guest's directory /]. May be
    /// repeated.
    #[arg(long, value_name = "FILE|DIR[:DEST]")]
    pub add: Vec<Addition>,
    /// Stop the program after this time, such as 90s or 10m [default: never; for a line of --commands, 5 minutes, longer under
    /// the oracle].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
    #[command(flatten)]
    pub emulation: Emulation,
    /// Multiply the deadlines of booting and of shutting down by this factor, for a slow machine.
    #[arg(long, value_name = "FACTOR", value_parser = positive, default_value = "1")]
    pub timeout_scale: f64,
    #[command(flatten)]
    pub records: Records,
    /// Print the QEMU command without building or running anything.
    #[arg(long)]
    pub dry_run: bool,
    /// Print nothing but the program's output and what went wrong.
    #[arg(long, short)]
    pub quiet: bool,
}

impl Run {
    /// Returns true if the first word after `--` is a program of this machine, or a command of busybox.
    pub(crate) fn names_host_program(&self) -> bool {
        let built = !self.c.is_empty() || self.rust.is_some() || self.script.is_some();
        !built && !self.has_several_cases() && self.initramfs.is_none()
    }

    /// Returns true if each command or selftest is a case of its own, with a verdict.
    pub(crate) fn has_several_cases(&self) -> bool {
        self.commands.is_some() || !self.kselftest.is_empty()
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct List {
    /// List the promises of docs/interface.md instead, each with the cases that prove it.
    #[arg(long)]
    pub by_promise: bool,
    /// Show which cases are skipped if a kernel has only this stack of the patch queue, and the stacks that it needs.
    #[arg(long, value_name = "NAME", conflicts_with = "by_promise")]
    pub stack: Option<String>,
    /// Version of Linux that has the stack [default: the one that the list marks].
    #[arg(long, value_name = "VERSION", requires = "stack")]
    pub kernel: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `cargo xtask boot` and `cargo xtask gdb`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Interactive {
    #[command(flatten)]
    pub machine: Machine,
    /// Accelerator of QEMU. auto uses KVM if a probe guest finishes under KVM, and TCG otherwise.
    #[arg(long, value_enum, default_value_t = Accel::Auto)]
    pub accel: Accel,
    /// Print the QEMU command without running it.
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Bench {
    #[command(flatten)]
    pub machine: Machine,
    /// Number of measurements of each figure. The table shows the median.
    #[arg(long, value_name = "N", value_parser = above_zero, default_value = "5")]
    pub repeat: usize,
    /// Also measure a cold kernel build, and plain make with the same config. Takes minutes.
    #[arg(long)]
    pub cold: bool,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Report {
    /// Merge the results of several runs, or of shards of one target. The exit code is that of the merged results.
    Merge {
        /// results.json files, or directories to search for them.
        #[arg(required = true, value_name = "DIR|FILE")]
        results: Vec<PathBuf>,
        #[arg(long, value_name = "DIR", help = format!("Directory to write {} to", report::file_list()))]
        report_dir: PathBuf,
    },
    /// Print a Markdown table of the targets and their results.
    Targets {
        /// The results.json of a run, or the run's directory [default: target/lab/latest].
        results: Option<PathBuf>,
        /// Write the table between `<!-- targets: begin -->` and `<!-- targets: end -->` in this file instead of
        /// printing it.
        #[arg(long, value_name = "FILE")]
        write: Option<PathBuf>,
    },
    /// Print the results as JSON for KCIDB, the database of kernel test results.
    Kcidb {
        /// The results.json of a run, or the run's directory [default: target/lab/latest].
        results: Option<PathBuf>,
        /// Name of your CI system in the database: lower-case letters, digits and underscores.
        #[arg(long, value_name = "NAME", value_parser = origin, default_value = "dmmap_lab")]
        origin: String,
    },
    /// Print an error annotation of GitHub Actions for each failed case.
    Annotations {
        /// The results.json of a run, or the run's directory [default: target/lab/latest].
        results: Option<PathBuf>,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Oracle {
    /// List the findings of a run.
    List {
        /// The results.json of a run, or the run's directory [default: the newest run of `test` or `run`].
        results: Option<PathBuf>,
    },
    /// Show how a finding came about: the accesses to its cache line, in order.
    Explain {
        /// Name of the finding in reports and in `oracle list`, such as armv6/coherency/ping-pong.fuse/1.
        finding: String,
        /// The run's directory, or the results.json in it [default: the newest run of `test` or `run`].
        results: Option<PathBuf>,
    },
    /// Write a mail to the kernel's maintainers about a finding: what happened, on which machine, and how to see it.
    ///
    /// Prints the mail. Names source files and lines if the kernel was built with debug information.
    Mail {
        /// Name of the finding in reports and in `oracle list`, such as armv6/coherency/ping-pong.fuse/1.
        finding: String,
        /// The run's directory, or the results.json in it [default: the newest run of `test` or `run`].
        results: Option<PathBuf>,
    },
    /// Test the oracle: break one thing at a time, and check that the oracle reports it. Takes minutes.
    ///
    /// Each trial in mutants/oracle.yaml either breaks the kernel in a way that QEMU alone does not notice, or makes
    /// the oracle ignore one of the ways in which the kernel flushes. Each patch that breaks the kernel needs a kernel
    /// build. Prints a Markdown table.
    Selftest(Selftest),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Selftest {
    /// Names of the trials to run [default: all].
    pub trials: Vec<String>,
    /// Targets or groups of targets whose data caches alias.
    #[arg(long, value_name = "TARGET", value_delimiter = ',', default_value = "aliasing")]
    pub arch: Vec<String>,
    /// Versions of Linux, separated by commas, or `all`; `cargo xtask list` shows the versions and marks the default.
    #[arg(long, value_name = "VERSION", value_delimiter = ',')]
    pub kernel: Vec<String>,
    /// Apply only this stack of the patch queue, and the stacks that it needs.
    #[arg(long, value_name = "NAME")]
    pub stack: Option<String>,
    /// Number of parallel jobs of `make` [default: the number of CPUs].
    #[arg(long, short, value_name = "N", value_parser = above_zero)]
    pub jobs: Option<usize>,
    /// Install nothing; report what is missing instead.
    #[arg(long)]
    pub no_setup: bool,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Queue {
    /// Create a git tree of the kernel source with one commit per patch of the queue.
    Checkout {
        /// Directory to create.
        dir: PathBuf,
        /// Version of Linux; `cargo xtask list` shows the versions and marks the default.
        #[arg(long, value_name = "VERSION", conflicts_with = "kernel_src")]
        kernel: Option<String>,
        /// Kernel source to use instead of Debian's: a directory or a tarball.
        #[arg(long, value_name = "DIR|TARBALL")]
        kernel_src: Option<PathBuf>,
        /// Apply only this stack of the patch queue, and the stacks that it needs.
        #[arg(long, value_name = "NAME")]
        stack: Option<String>,
    },
    /// Check each patch as the kernel's maintainers and robots do: checkpatch, kernel-doc, builds without new warnings.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(QueueCheck),
    /// Create a git tree of another version of Linux, with each patch of a queue merged into it. Conflicts are committed
    /// with their markers.
    Port {
        /// Directory to create.
        dir: PathBuf,
        /// Version of Linux that has the queue.
        #[arg(long, value_name = "VERSION")]
        from: String,
        /// Version of Linux to merge the queue into.
        #[arg(long, value_name = "VERSION")]
        to: String,
    },
    /// Show the differences between the queues of two versions of Linux, as git range-diff does.
    Diff {
        /// First version.
        from: String,
        /// Second version.
        to: String,
    },
    /// Write the commits of a tree from `queue checkout` or `queue port` back to the queue.
    Export {
        /// The git tree, as created by `queue checkout` or `queue port`.
        dir: PathBuf,
        /// Your name and address. The queue stores a placeholder in their place [default: user.name and user.email of
        /// git].
        #[arg(long, value_name = "NAME <ADDRESS>")]
        signoff: Option<Identity>,
        /// Write the patches to this new directory, with your name and address in place of the placeholder, and leave
        /// the queue as it is.
        #[arg(long, value_name = "DIR")]
        output_dir: Option<PathBuf>,
    },
    /// Write a stack as mails for `git send-email`: a cover letter and the patches, with recipients. Sends nothing.
    Mail {
        /// Directory to create.
        #[arg(long, value_name = "DIR")]
        output_dir: PathBuf,
        /// Stack to write; each stack is a series of its own [default: the only one].
        #[arg(long, value_name = "NAME")]
        stack: Option<String>,
        /// Version of Linux; `cargo xtask list` shows the versions and marks the default.
        #[arg(long, value_name = "VERSION", conflicts_with = "kernel_src")]
        kernel: Option<String>,
        /// Kernel source to use instead of Debian's: a directory or a tarball.
        #[arg(long, value_name = "DIR|TARBALL")]
        kernel_src: Option<PathBuf>,
        /// Write each patch as a mail of its own, with its own recipients and without a cover letter: for fixes that do
        /// not need each other.
        #[arg(long)]
        each: bool,
        /// Your name and address, for From and Signed-off-by [default: user.name and user.email of git].
        #[arg(long, value_name = "NAME <ADDRESS>")]
        signoff: Option<Identity>,
        /// Upstream commit for the `base-commit:` line [default: `base_commit` in kernel.yaml, else a commit that only
        /// the lab knows].
        #[arg(long, value_name = "HASH")]
        base_commit: Option<String>,
    },
}

#[derive(Clone, Debug, Args)]
pub(crate) struct QueueCheck {
    /// Versions of Linux, separated by commas, or `all`; `cargo xtask list` shows the versions and marks the default.
    #[arg(long, value_name = "VERSION", value_delimiter = ',')]
    pub kernel: Vec<String>,
    /// Check only the patches of this stack. The stacks that it needs are below it.
    #[arg(long, value_name = "NAME")]
    pub stack: Option<String>,
    /// Check only this patch, and leave out the checks after the last patch of its stack.
    #[arg(long, value_name = "NAME|NUMBER")]
    pub patch: Option<String>,
    /// Check only patches that changed since this revision of the checkout.
    #[arg(long, value_name = "REV")]
    pub since: Option<String>,
    /// Make only these checks, separated by commas; --dry-run lists them.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub check: Vec<String>,
    /// Write the results to the file queue-check.json in this directory.
    #[arg(long, value_name = "DIR")]
    pub report_dir: Option<PathBuf>,
    /// Number of parallel jobs of `make` [default: the number of CPUs].
    #[arg(long, short, value_name = "N", value_parser = above_zero)]
    pub jobs: Option<usize>,
    /// Install nothing; report what is missing instead.
    #[arg(long)]
    pub no_setup: bool,
    /// List the patches and the checks without running anything.
    #[arg(long)]
    pub dry_run: bool,
}

const CHECK_EXAMPLES: &str = "\
Examples:
  cargo xtask queue check                                  every check, on every patch
  cargo xtask queue check --patch 3 --check checkpatch     one check of one patch, in a second
  cargo xtask queue check --stack core --check build       one stack: does each patch compile?
  cargo xtask queue check --since origin/main              patches that differ from that branch
  cargo xtask queue check --dry-run                        list the checks

Exit codes: 0 no check failed; 1 a check failed; 2 the command could not do what was asked.";

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(factor),
        _ => Err("expected a number above 0, such as 2.5".into()),
    }
}

/// Parses an amount of memory, such as `512M` or `2G`. The result is in MiB.
fn mebibytes(text: &str) -> Result<u32, String> {
    let factor = match text.chars().last() {
        Some('M') => 1,
        Some('G') => 1024,
        _ => 0,
    };
    let number = text.get(..text.len().saturating_sub(1)).and_then(|digits| digits.parse().ok());
    let size = number.and_then(|number: u32| number.checked_mul(factor));
    size.filter(|size| *size > 0).ok_or_else(|| "expected a size such as 512M or 2G".into())
}

fn origin(text: &str) -> Result<String, String> {
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    match !text.is_empty() && text.chars().all(valid) {
        true => Ok(text.to_owned()),
        false => Err("expected lower-case letters, digits and underscores".into()),
    }
}

fn above_zero(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("expected a whole number above 0".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;
    use crate::{flavour, paths, target};

    fn help(command: &clap::Command) -> String {
        let mut command = command.clone().term_width(100);
        command.render_help().to_string()
    }

    fn test_command() -> clap::Command {
        let cli = Cli::command();
        cli.find_subcommand("test").expect("it exists").clone()
    }

    #[test]
    fn the_recorded_command_names_no_profile() {
        let kept = |line: &str| without_profile(line.split(' ').map(str::to_owned)).join(" ");
        assert_eq!(kept("test --profile full --arch arm"), "test --arch arm");
        assert_eq!(kept("--profile=full run --c a.c -- --profile x"), "run --c a.c -- --profile x");
    }

    #[test]
    fn clap_accepts_the_definitions() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_texts() {
        insta::assert_snapshot!("cargo_xtask", help(&Cli::command()));
        insta::assert_snapshot!("test", help(&test_command()));
        let mut others = String::new();
        for command in Cli::command().get_subcommands() {
            let mut with_subcommands = vec![command];
            with_subcommands.extend(command.get_subcommands());
            for command in with_subcommands {
                if command.get_name() != "test" {
                    others += &format!("== {}\n{}\n", command.get_name(), help(command));
                }
            }
        }
        insta::assert_snapshot!("other_commands", others);
    }

    #[test]
    fn failed_takes_every_other_option_from_the_newest_run() {
        let command = test_command();
        let failed = command.get_arguments().find(|arg| arg.get_id() == "failed").unwrap();
        let conflicts = command.get_arg_conflicts_with(failed);
        let fixed = |arg: &clap::Arg| conflicts.iter().any(|other| other.get_id() == arg.get_id());
        let free = command.get_arguments().filter(|arg| !fixed(arg) && arg.get_id() != "failed");
        let free: Vec<&str> = free.map(|arg| arg.get_id().as_str()).collect();
        insta::assert_snapshot!(free.join(" "), @"jobs no_setup repeat until_fail fresh_boot retries strict fail_fast max_fail max_timeouts report_dir keep message_format bisect dry_run print_key verbose quiet");
    }

    #[test]
    fn numbers_of_things_start_at_one() {
        let error = |args: &[&str]| {
            let words = ["cargo xtask"].iter().chain(args);
            let error = Cli::try_parse_from(words).expect_err("the value is wrong");
            error.to_string().lines().next().unwrap_or_default().to_owned()
        };
        insta::assert_snapshot!(error(&["test", "--jobs", "0"]), @"error: invalid value '0' for '--jobs <N>': expected a whole number above 0");
        insta::assert_snapshot!(error(&["bench", "--repeat", "0"]), @"error: invalid value '0' for '--repeat <N>': expected a whole number above 0");
    }

    #[test]
    fn help_names_every_flavour_and_group() {
        let configs = paths::checkout().join("kernel-configs");
        let text = |option: &str| {
            let command = test_command();
            let mut options = command.get_arguments();
            let option = options.find(|arg| arg.get_id() == option).unwrap();
            option.get_help().unwrap().to_string()
        };
        let flavours = flavour::load_all(&configs.join("flavours")).unwrap();
        let names: Vec<&str> = flavours.iter().map(|f| f.name.as_str()).collect();
        let names = names.join(", ");
        assert!(text("flavour").ends_with(&format!(": {names}")), "{names}");
        let targets = target::load_all(&configs).unwrap();
        let groups: BTreeSet<&str> =
            targets.iter().flat_map(|target| target.groups.iter().map(String::as_str)).collect();
        let groups = Vec::from_iter(groups).join(", ");
        assert!(text("arch").ends_with(&format!("Groups: all, {groups}")), "{groups}");
    }

    #[test]
    fn memory_is_a_number_of_mebibytes_or_gibibytes() {
        assert_eq!(mebibytes("512M"), Ok(512));
        assert_eq!(mebibytes("2G"), Ok(2048));
        for wrong in ["", "M", "512", "0M", "1.5G", "5000000G", "512m"] {
            assert_eq!(
                mebibytes(wrong),
                Err("expected a size such as 512M or 2G".into()),
                "{wrong}"
            );
        }
    }

    #[test]
    fn examples_parse() {
        let mut examples = 0;
        let examples_of =
            [TEST_EXAMPLES, WATCH_EXAMPLES, COMPARE_EXAMPLES, RUN_HELP, CHECK_EXAMPLES];
        for line in examples_of.iter().flat_map(|text| text.lines()) {
            let Some(line) = line.strip_prefix("  cargo ") else {
                continue;
            };
            let (command, about) = line.split_once("  ").expect("two spaces before the text");
            assert!(!about.is_empty());
            Cli::try_parse_from(command.split(' ')).unwrap();
            examples += 1;
        }
        assert_eq!(examples, 32);
    }
}

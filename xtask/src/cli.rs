// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line, and nothing else: what each command does is in [`commands`](crate::commands).

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use regex::Regex;

use crate::ci;
use crate::machine::accel::Accel;
use crate::oracle::{Depth, Wish};
use crate::plan::{Setting, Shard};

/// Says whether FUSE/CUSE direct mmap keeps memory coherent and bounded, on a real kernel in QEMU.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    version,
    max_term_width = 100
)]
#[command(
    after_help = "Start with `cargo xtask test`. Exit codes of every command: 0 all is well; 1 a case or a check \
    failed; 2 the command could not do what was asked."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build a patched kernel, boot it, run the suites in it, and report.
    #[command(after_help = TEST_EXAMPLES)]
    Test(Test),
    /// Run every check that needs no guest: format, lints, host tests, docs, licence headers.
    Check,
    /// Build the kernel only, and print where it is.
    Build(Machine),
    /// Boot a target to an interactive shell. Ctrl-A x ends it; Ctrl-A c is QEMU's monitor.
    Boot(Interactive),
    /// Boot a target stopped, with a gdb stub, and print the gdb command.
    Gdb(Interactive),
    /// List targets, flavours, suites and cases, and which case runs on which target.
    List {
        /// List the promises of docs/interface.md instead, each with the cases that prove it.
        #[arg(long)]
        by_promise: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say what this machine has, what is missing, and whether KVM really runs a guest.
    Doctor {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Measure the lab and direct mmap, and print the tables of docs/performance.md.
    Bench(Bench),
    /// Make one report of several, or a table of targets for the README.
    #[command(subcommand)]
    Report(Report),
    /// Say what the model of the cache found in a run, or try the model itself.
    #[command(subcommand)]
    Oracle(Oracle),
    /// Print the definition of CI jobs, made from the targets; committed as ci/github.yml and ci/gitlab.yml.
    CiMatrix {
        /// Whose language.
        #[arg(long, value_enum)]
        format: ci::Format,
    },
    /// Edit the patch queue as a git tree; docs/kernel-queue.md tells how.
    #[command(subcommand)]
    Queue(Queue),
    /// Remove kernels and build directories that were not used for a while.
    Clean {
        /// How long not used: 12h, 30days; 0s is everything.
        #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration, default_value = "30days")]
        older_than: Duration,
    },
}

const TEST_EXAMPLES: &str = "\
Examples:
  cargo xtask test                               everything, on x86_64
  cargo xtask test --suite smoke                 ten seconds' worth
  cargo xtask test --case drain/cycles.cuse      one case
  cargo xtask test --flavour debug               under KASAN and lockdep
  cargo xtask test --kernel-src ~/linux          your own tree, with the patch queue on top
  cargo xtask test --kernel-src ~/linux --no-queue   your own tree as it stands

Exit codes: 0 all passed; 1 a case failed, crashed or timed out; 2 the lab could not do what was asked.";

/// Which kernel in which machine.
#[derive(Clone, Debug, Args)]
pub struct Machine {
    /// Targets or groups of them; `cargo xtask list` shows all.
    #[arg(
        long,
        value_name = "TARGET",
        value_delimiter = ',',
        default_value = "x86_64"
    )]
    pub arch: Vec<String>,
    /// Config flavour: default, debug.
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub flavour: String,
    /// Kernel source to use in place of Debian's: a directory or a tarball. It is never modified.
    #[arg(long, value_name = "DIR|TARBALL")]
    pub kernel_src: Option<PathBuf>,
    /// Take the kernel source as it stands: apply no patch queue.
    #[arg(long)]
    pub no_queue: bool,
    /// A patch to apply after the queue; may be given again.
    #[arg(long, value_name = "FILE")]
    pub patch: Vec<PathBuf>,
    /// Boot this kernel image and build none.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kernel_src", "no_queue", "patch"])]
    pub kernel_image: Option<PathBuf>,
    /// Processes `make` may run at once; as many as there are cores.
    #[arg(long, short, value_name = "N")]
    pub jobs: Option<usize>,
    /// Install nothing; say what is missing instead.
    #[arg(long)]
    pub no_setup: bool,
}

/// `cargo xtask test`.
#[derive(Clone, Debug, Args)]
pub struct Test {
    /// Which kernel in which machine.
    #[command(flatten)]
    pub machine: Machine,
    /// Suites to run.
    #[arg(long, value_name = "SUITE", value_delimiter = ',')]
    pub suite: Vec<String>,
    /// Cases to run: `suite/name.device`, or `suite/name` for all its devices.
    #[arg(long, value_name = "CASE", value_delimiter = ',')]
    pub case: Vec<String>,
    /// Run only cases whose name matches.
    #[arg(long, value_name = "REGEX")]
    pub filter: Option<Regex>,
    /// Run only the I-th of N equal parts of what the other filters leave, on each target: 1/3, 2/3, 3/3.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// A parameter of the cases, in place of what their suite has in `with:`; may be given again.
    #[arg(long, value_name = "NAME=VALUE")]
    pub with: Vec<Setting>,
    /// How QEMU runs the guest; auto takes KVM where it really works.
    #[arg(long, value_enum, default_value_t = Accel::Auto)]
    pub accel: Accel,
    /// Whether a model of the cache watches the guest and reports accesses that may get stale data; auto does where
    /// caches alias and QEMU is new enough.
    #[arg(long, value_enum, value_name = "WHETHER", default_value_t = Wish::Auto)]
    pub oracle: Wish,
    /// Whose accesses the oracle models: those of processes, or the kernel's as well.
    #[arg(long, value_enum, value_name = "DEPTH", default_value_t = Depth::User)]
    pub oracle_depth: Depth,
    /// Multiply every deadline and clock, on a slow machine.
    #[arg(long, value_name = "FACTOR", value_parser = positive, default_value = "1")]
    pub timeout_scale: f64,
    /// Where results.json, report.html, junit.xml and ktap.txt go, besides the run directory.
    #[arg(long, value_name = "DIR")]
    pub report_dir: Option<PathBuf>,
    /// Never remove this run's directory, initramfs included.
    #[arg(long)]
    pub keep: bool,
    /// Print the plan and the QEMU command, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// A line for each case that passed.
    #[arg(long, short, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Only what failed, and the summary.
    #[arg(long, short)]
    pub quiet: bool,
}

/// `cargo xtask boot` and `cargo xtask gdb`.
#[derive(Clone, Debug, Args)]
pub struct Interactive {
    /// Which kernel in which machine.
    #[command(flatten)]
    pub machine: Machine,
    /// How QEMU runs the guest; auto takes KVM where it really works.
    #[arg(long, value_enum, default_value_t = Accel::Auto)]
    pub accel: Accel,
    /// Print the QEMU command, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// `cargo xtask bench`.
#[derive(Clone, Debug, Args)]
pub struct Bench {
    /// Which kernel in which machine.
    #[command(flatten)]
    pub machine: Machine,
    /// Times each figure is taken; the median is printed.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub repeat: usize,
    /// Also time a cold kernel build, against plain make with the same config. Takes minutes.
    #[arg(long)]
    pub cold: bool,
}

/// `cargo xtask report`.
#[derive(Clone, Debug, Subcommand)]
pub enum Report {
    /// Merge the results of several runs, shards of a target among them, and exit as one run of all would.
    Merge {
        /// results.json files, or directories that have some in them.
        #[arg(required = true, value_name = "DIR|FILE")]
        results: Vec<PathBuf>,
        /// Where results.json, report.html, junit.xml and ktap.txt go.
        #[arg(long, value_name = "DIR")]
        report_dir: PathBuf,
    },
    /// Print a Markdown table of the targets: what they are, and how they did.
    Targets {
        /// The results.json of a run, or its directory; target/lab/latest where left out.
        results: Option<PathBuf>,
        /// Put the table between `<!-- targets: begin -->` and `<!-- targets: end -->` in this file.
        #[arg(long, value_name = "FILE")]
        write: Option<PathBuf>,
    },
}

/// `cargo xtask oracle`.
#[derive(Clone, Debug, Subcommand)]
pub enum Oracle {
    /// List the findings of a run.
    List {
        /// The results.json of a run, or its directory; target/lab/latest where left out.
        results: Option<PathBuf>,
    },
    /// Tell how it came to a finding: the accesses to its line, in order.
    Explain {
        /// Name of the finding, as reports and `oracle list` have it: armv6/coherency/ping-pong.fuse/1.
        finding: String,
        /// The results.json of a run, in its directory, or the directory; target/lab/latest where left out.
        results: Option<PathBuf>,
    },
    /// Break what the oracle watches, one thing at a time, and see that it notices. Builds kernels for minutes.
    ///
    /// Each trial of mutants/oracle.yaml breaks the kernel, which QEMU alone does not notice, or makes the oracle deaf to
    /// one of the ways in which the kernel flushes. Prints a Markdown table.
    Selftest(Selftest),
}

/// `cargo xtask oracle selftest`.
#[derive(Clone, Debug, Args)]
pub struct Selftest {
    /// Trials to make; all where left out.
    pub trials: Vec<String>,
    /// Targets or groups of them whose caches alias.
    #[arg(
        long,
        value_name = "TARGET",
        value_delimiter = ',',
        default_value = "aliasing"
    )]
    pub arch: Vec<String>,
    /// Processes `make` may run at once; as many as there are cores.
    #[arg(long, short, value_name = "N")]
    pub jobs: Option<usize>,
    /// Install nothing; say what is missing instead.
    #[arg(long)]
    pub no_setup: bool,
}

/// `cargo xtask queue`.
#[derive(Clone, Debug, Subcommand)]
pub enum Queue {
    /// Make a git tree of the kernel source, with one commit a patch.
    Checkout {
        /// The directory to make.
        dir: PathBuf,
        /// Kernel source to use in place of Debian's: a directory or a tarball.
        #[arg(long, value_name = "DIR|TARBALL")]
        kernel_src: Option<PathBuf>,
    },
    /// Write the commits of such a tree back into the queue.
    Export {
        /// The git tree.
        dir: PathBuf,
    },
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(factor),
        _ => Err("a factor is a number above 0, such as 2.5".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_teaches() {
        let help = |name: &str| {
            let mut cli = Cli::command().term_width(100);
            match name {
                "" => cli.render_long_help().to_string(),
                name => {
                    let command = cli.find_subcommand_mut(name).expect("it exists");
                    command.render_help().to_string()
                }
            }
        };
        insta::assert_snapshot!(help(""));
        insta::assert_snapshot!(help("test"));
    }
}

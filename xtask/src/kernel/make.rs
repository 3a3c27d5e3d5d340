// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs of the kernel's own make: logged, counted, and stopped when the lab is.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use duct::{Expression, Handle};
use nix::sys::signal::Signal;

use super::{Interrupted, log};
use crate::target::KernelSpec;
use crate::wait::{self, Waited};
use crate::{guard, interrupt};

/// How long make may tidy up after SIGINT.
const GRACE: Duration = Duration::from_secs(5);

/// Signals at which make removes what it had begun before it dies of them (GNU make manual, 5.6).
const HONOURED: [i32; 3] = [
    Signal::SIGINT as i32,
    Signal::SIGTERM as i32,
    Signal::SIGHUP as i32,
];

/// What makes two builds of the same input give the same image. The date is arbitrary.
const FIXED: [(&str, &str); 5] = [
    ("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970"),
    ("KBUILD_BUILD_USER", "dmmap"),
    ("KBUILD_BUILD_HOST", "lab"),
    ("KBUILD_BUILD_VERSION", "1"),
    // Set but empty: no `+` after the version of a tree that is a git checkout.
    ("LOCALVERSION", ""),
];

/// Variables of the user's that kbuild would listen to.
const FOREIGN: [&str; 22] = [
    "MAKEFLAGS",
    "MFLAGS",
    "MAKEFILES",
    "MAKELEVEL",
    "GNUMAKEFLAGS",
    "O",
    "V",
    "W",
    "C",
    "M",
    "CC",
    "LD",
    "LLVM",
    "KBUILD_OUTPUT",
    "KBUILD_EXTMOD",
    "KCONFIG_CONFIG",
    "KCFLAGS",
    "KCPPFLAGS",
    "KAFLAGS",
    "HOSTCFLAGS",
    "CFLAGS",
    "LDFLAGS",
];

/// A tree, where it is built, and how.
#[derive(Debug)]
pub(super) struct Make<'a> {
    /// The source.
    pub tree: PathBuf,
    /// What make writes to.
    pub obj: PathBuf,
    /// What make prints.
    pub log: PathBuf,
    /// Architecture and tools.
    pub spec: &'a KernelSpec,
    /// The directory of the tree whose objects are compiled so that they count which of their lines run.
    pub count: Option<&'a str>,
    /// `-j`.
    pub jobs: usize,
}

impl Make<'_> {
    /// Runs make for `targets` with more `variables`; returns how many steps it printed.
    /// `progress` gets each step, with the number so far.
    ///
    /// # Errors
    /// Make fails: shows the part of the log that says why. [`Interrupted`] when the lab is asked to stop; make
    /// has then ended too.
    pub(super) fn run(
        &self,
        targets: &[&str],
        variables: &[(&str, &Path)],
        progress: &mut dyn FnMut(u64, &str),
    ) -> Result<u64> {
        let marker = self.obj.join(MARKER);
        fs::write(&marker, "").with_context(|| format!("write {}", marker.display()))?;
        let child = self.start(targets, variables)?;
        let mut lines = Lines::of(&self.log)?;
        let waited = wait::until(wait::FOREVER, || {
            let ended = child.try_wait().context("wait for make")?;
            lines.more(progress)?;
            anyhow::Ok(ended)
        });
        let ended = match waited? {
            Waited::Done(output) => output.status,
            _ => {
                let stopped = guard::stop_with(&child, Signal::SIGINT, GRACE);
                stopped.context("stop make")?.status
            }
        };
        // Make has ended by itself, or after it removed what it had begun: all that is there is whole.
        if ended
            .signal()
            .is_none_or(|signal| HONOURED.contains(&signal))
        {
            fs::remove_file(&marker).with_context(|| format!("remove {}", marker.display()))?;
        }
        if interrupt::requested() {
            bail!(Interrupted);
        }
        self.judge(targets, ended)?;
        Ok(lines.steps)
    }

    fn start(&self, targets: &[&str], variables: &[(&str, &Path)]) -> Result<Handle> {
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("write {}", self.log.display()))?;
        let command = self.command(targets, variables).stdin_null();
        let command = command.stderr_to_stdout().stdout_file(log);
        command.start().context("run make")
    }

    fn command(&self, targets: &[&str], variables: &[(&str, &Path)]) -> Expression {
        let mut words = vec!["-C".into(), self.tree.clone().into_os_string()];
        let settings = [
            format!("O={}", self.obj.display()),
            format!("ARCH={}", self.spec.arch),
            format!("CROSS_COMPILE={}", self.spec.cross),
            format!("-j{}", self.jobs),
        ];
        words.extend(
            settings
                .into_iter()
                .chain(self.count.map(counting))
                .map(Into::into),
        );
        words.extend(targets.iter().map(Into::into));
        let mut command = guard::command("make", words).env("LC_ALL", "C");
        // To duct the first of two settings of a variable is the one that counts.
        for (name, value) in variables {
            command = command.env(name, value);
        }
        for (name, value) in FIXED {
            command = command.env(name, value);
        }
        for name in FOREIGN {
            command = command.env_remove(name);
        }
        command
    }

    fn judge(&self, targets: &[&str], ended: ExitStatus) -> Result<()> {
        if ended.success() {
            return Ok(());
        }
        if ended.code() == Some(guard::CANNOT_RUN) {
            bail!("there is no make here: `cargo xtask doctor` says what else is missing");
        }
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let excerpt = log::excerpt(&text).into_iter();
        let excerpt: String = excerpt.map(|line| format!("\n    {line}")).collect();
        bail!(
            "make {} failed ({ended}):{excerpt}\n  the whole log: {}",
            targets.join(" "),
            self.log.display()
        );
    }
}

/// What has kbuild compile the objects of a directory so that they count (Documentation/dev-tools/gcov.rst). `obj` is
/// the directory kbuild is in, and each asks anew, so that no makefile of the tree needs a line for it.
fn counting(dir: &str) -> String {
    format!("GCOV_PROFILE=$(if $(filter {dir},$(obj)),y)")
}

/// In a build directory while make runs in it. Found there before, it says that make was killed in the middle of
/// something, and that nobody knows what.
const MARKER: &str = ".building";

/// Whether a make was killed in this build directory.
pub(super) fn was_killed(obj: &Path) -> bool {
    obj.join(MARKER).exists()
}

/// Follows a log as it grows.
struct Lines {
    file: File,
    path: PathBuf,
    rest: Vec<u8>,
    steps: u64,
}

impl Lines {
    /// From the log's present end on.
    fn of(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("read {}", path.display()))?;
        let (path, rest) = (path.to_owned(), Vec::new());
        Ok(Self {
            file,
            path,
            rest,
            steps: 0,
        })
    }

    fn more(&mut self, progress: &mut dyn FnMut(u64, &str)) -> Result<()> {
        let read = self.file.read_to_end(&mut self.rest);
        read.with_context(|| format!("read {}", self.path.display()))?;
        let end = self
            .rest
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.rest.drain(..end).collect();
        for line in String::from_utf8_lossy(&lines).lines() {
            if let Some(step) = log::step(line) {
                self.steps += 1;
                progress(self.steps, &step);
            }
        }
        Ok(())
    }
}

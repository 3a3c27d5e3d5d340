// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs the kernel's make: writes its output to a log, counts its steps, and stops it if the user interrupts the lab.

use std::ffi::OsString;
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
use crate::{files, guard, interrupt};

/// Time that make has to clean up after SIGINT.
const GRACE: Duration = Duration::from_secs(5);

/// Signals on which make removes unfinished targets before it exits (GNU make manual, 5.6).
const CLEAN_EXIT: [i32; 3] = [Signal::SIGINT as i32, Signal::SIGTERM as i32, Signal::SIGHUP as i32];

/// Variables for reproducible builds, in which the same inputs give the same image. The date is arbitrary.
const REPRODUCIBLE: [(&str, &str); 5] = [
    ("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970"),
    ("KBUILD_BUILD_USER", "dmmap"),
    ("KBUILD_BUILD_HOST", "lab"),
    ("KBUILD_BUILD_VERSION", "1"),
    // Set but empty, so that kbuild does not append `+` to the version of a git checkout.
    ("LOCALVERSION", ""),
];

/// Variables of make itself that are removed from the user's environment. They describe the make that started the lab, if
/// any.
const OF_MAKE: [&str; 5] = ["MAKEFLAGS", "MFLAGS", "MAKEFILES", "MAKELEVEL", "GNUMAKEFLAGS"];

/// Variables that are removed from the user's environment, because they would affect the build: those of
/// Documentation/kbuild/kbuild.rst, and those that the top Makefile and scripts/Makefile.* read.
const REMOVED: [&str; 41] = [
    "ARCH",
    "CROSS_COMPILE",
    "LLVM",
    "LLVM_IAS",
    "CC",
    "LD",
    "AR",
    "NM",
    "OBJCOPY",
    "OBJDUMP",
    "READELF",
    "STRIP",
    "RUSTC",
    "PAHOLE",
    "HOSTCC",
    "HOSTCXX",
    "HOSTAR",
    "HOSTLD",
    "HOSTCFLAGS",
    "HOSTCXXFLAGS",
    "HOSTLDFLAGS",
    "HOSTLDLIBS",
    "CFLAGS",
    "LDFLAGS",
    "KCFLAGS",
    "KCPPFLAGS",
    "KAFLAGS",
    "KRUSTFLAGS",
    "CFLAGS_KERNEL",
    "AFLAGS_KERNEL",
    "KBUILD_OUTPUT",
    "KBUILD_EXTMOD",
    "KBUILD_VERBOSE",
    "KBUILD_SYMTYPES",
    "KCONFIG_CONFIG",
    "KCONFIG_ALLCONFIG",
    "O",
    "V",
    "W",
    "C",
    "M",
];

/// Returns the names of all variables of the environment that would change a build.
pub(crate) fn unset() -> impl Iterator<Item = &'static str> {
    OF_MAKE.into_iter().chain(REMOVED)
}

/// Returns the variables of the environment that would change a build, and that the lab therefore ignores. `variable`
/// reads the environment.
pub(crate) fn ignored(variable: impl Fn(&str) -> Option<OsString>) -> Vec<&'static str> {
    let is_set = |name: &&str| variable(name).is_some_and(|value| !value.is_empty());
    REMOVED.into_iter().filter(is_set).collect()
}

/// Parameters of make for one build directory.
#[derive(Debug)]
pub(super) struct Make<'a> {
    /// Root of the source.
    pub tree: PathBuf,
    /// Output directory.
    pub obj: PathBuf,
    /// File for the output of make.
    pub log: PathBuf,
    /// Architecture and tools.
    pub spec: &'a KernelSpec,
    /// Further settings on the command line, such as `W=1`.
    pub settings: Vec<String>,
    /// Value of `-j`.
    pub jobs: usize,
}

/// Result of a run of make.
#[derive(Debug)]
pub(super) struct Made {
    /// Exit status of make.
    pub status: ExitStatus,
    /// Number of steps that make printed.
    pub steps: u64,
    /// Output of make.
    pub output: String,
}

impl Make<'_> {
    /// Runs make for `targets` with additional environment `variables`, and returns the number of steps that it
    /// printed. Calls `progress` with the number and the text of each step.
    ///
    /// # Errors
    /// make fails; the error contains the part of the log that shows the cause. [`Interrupted`] if the user stops the
    /// lab; make has exited by then.
    pub(super) fn run(
        &self,
        targets: &[&str],
        variables: &[(&str, &Path)],
        progress: &mut dyn FnMut(u64, &str),
    ) -> Result<u64> {
        let made = self.attempt(targets, variables, progress)?;
        if !made.status.success() {
            let excerpt = log::excerpt(&made.output).into_iter();
            let excerpt: String = excerpt.map(|line| format!("\n    {line}")).collect();
            bail!(
                "make {} failed ({}):{excerpt}\n  full log: {}",
                targets.join(" "),
                made.status,
                self.log.display()
            );
        }
        Ok(made.steps)
    }

    /// Runs make as [`Make::run`] does, but also returns if make fails.
    ///
    /// # Errors
    /// make cannot be run. [`Interrupted`] if the user stops the lab; make has exited by then.
    pub(super) fn attempt(
        &self,
        targets: &[&str],
        variables: &[(&str, &Path)],
        progress: &mut dyn FnMut(u64, &str),
    ) -> Result<Made> {
        let marker = self.obj.join(MARKER);
        files::write(&marker, "")?;
        let child = self.start(targets, variables)?;
        let mut lines = Lines::open(&self.log)?;
        let waited = wait::until(wait::FOREVER, || {
            let output = child.try_wait().context("wait for make")?;
            lines.read(progress)?;
            anyhow::Ok(output)
        });
        let status = match waited? {
            Waited::Done(output) => output.status,
            _ => guard::stop_with(&child, Signal::SIGINT, GRACE).context("stop make")?.status,
        };
        // In these cases make has exited by itself, or has removed unfinished targets first. All files in the output
        // directory are complete.
        if status.signal().is_none_or(|signal| CLEAN_EXIT.contains(&signal)) {
            files::remove(&marker)?;
        }
        if interrupt::requested() {
            bail!(Interrupted);
        }
        if status.code() == Some(guard::CANNOT_RUN) {
            bail!(
                "cannot run make: `cargo xtask doctor` shows what is missing and which package provides it"
            );
        }
        let text = fs::read(&self.log).unwrap_or_default();
        let output = String::from_utf8_lossy(&text).into_owned();
        Ok(Made { status, steps: lines.steps, output })
    }

    fn start(&self, targets: &[&str], variables: &[(&str, &Path)]) -> Result<Handle> {
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("write {}", self.log.display()))?;
        let command = self.command(targets, variables).stdin_null();
        command.stderr_to_stdout().stdout_file(log).start().context("run make")
    }

    fn command(&self, targets: &[&str], variables: &[(&str, &Path)]) -> Expression {
        let mut words = vec!["-C".into(), self.tree.clone().into_os_string()];
        let settings = [
            format!("O={}", self.obj.display()),
            format!("ARCH={}", self.spec.arch),
            format!("CROSS_COMPILE={}", self.spec.cross),
            format!("-j{}", self.jobs),
        ];
        words.extend(settings.iter().chain(&self.settings).map(Into::into));
        words.extend(targets.iter().map(Into::into));
        let mut command = guard::command("make", words).env("LC_ALL", "C");
        // These variables come first: if a variable is set twice, duct uses the first value.
        for (name, value) in variables {
            command = command.env(name, value);
        }
        for (name, value) in REPRODUCIBLE {
            command = command.env(name, value);
        }
        for name in unset() {
            command = command.env_remove(name);
        }
        command
    }
}

/// Returns the setting that makes kbuild compile the objects of one directory for coverage
/// (Documentation/dev-tools/gcov.rst). kbuild evaluates it in each directory, with the directory's path in `$(obj)`, so
/// that no makefile of the tree has to change.
pub(super) fn coverage_setting(dir: &str) -> String {
    format!("GCOV_PROFILE=$(if $(filter {dir},$(obj)),y)")
}

/// Returns the setting that makes kbuild compile the objects of one directory for KCSAN, and no others
/// (scripts/Makefile.lib; it overrides the assignments in the makefiles of the tree).
///
/// KCSAN then reports races between two accesses in `dir`, and races in which an access in `dir` sees a value change
/// that it did not expect. It does not report races of the kernel with itself elsewhere, of which 6.12 has some. It also
/// watches one of `CONFIG_KCSAN_SKIP_WATCH` accesses in `dir`, not one of that many in the whole kernel.
pub(super) fn kcsan_setting(dir: &str) -> String {
    format!("KCSAN_SANITIZE=$(if $(filter {dir},$(obj)),y,n)")
}

/// Name of a file that exists in the output directory while make runs. If it exists before make starts, an earlier make
/// was killed and may have left incomplete files.
const MARKER: &str = ".building";

/// Returns true if make was killed while it wrote to the output directory `obj`.
pub(super) fn was_killed(obj: &Path) -> bool {
    obj.join(MARKER).exists()
}

/// Reads a log while it grows, and counts the steps in it.
struct Lines {
    file: File,
    path: PathBuf,
    /// Beginning of a line that is not complete yet.
    rest: Vec<u8>,
    steps: u64,
}

impl Lines {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("read {}", path.display()))?;
        let (path, rest) = (path.to_owned(), Vec::new());
        Ok(Self { file, path, rest, steps: 0 })
    }

    /// Reads the lines that were added since the last call.
    fn read(&mut self, progress: &mut dyn FnMut(u64, &str)) -> Result<()> {
        let read = self.file.read_to_end(&mut self.rest);
        read.with_context(|| format!("read {}", self.path.display()))?;
        let end = self.rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_would_change_a_build_are_named() {
        let set = [("LLVM", "1"), ("KCFLAGS", "-O3"), ("ARCH", ""), ("HOME", "/root")];
        let found = ignored(|name| {
            let found = set.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.into())
        });
        assert_eq!(found, ["LLVM", "KCFLAGS"]);
    }
}

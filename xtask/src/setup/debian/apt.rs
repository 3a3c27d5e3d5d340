// SPDX-License-Identifier: MIT OR Apache-2.0
//! Installs Debian packages.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use duct::Expression;

use crate::wait::{self, Waited};
use crate::{guard, interrupt};

/// Maximum wait for another program that holds a lock of apt or dpkg. Unattended upgrades take minutes.
const LOCK_TIMEOUT: Duration = Duration::from_secs(600);

/// Time between two attempts to get a lock.
const RETRY_DELAY: Duration = Duration::from_secs(2);

/// Number of lines of the log that an error shows.
const SHOWN: usize = 12;

/// Runs apt-get so that it asks no questions, and writes its output to a log.
///
/// apt-get is the only program that is not stopped when the lab ends: a dpkg that is killed midway leaves the package
/// system in need of repair.
pub(in crate::setup) struct Apt {
    program: PathBuf,
    sudo: Option<PathBuf>,
    log: PathBuf,
    /// Additional options of apt.conf(5), as `NAME=VALUE`.
    options: Vec<String>,
}

/// Result of a call of apt-get.
enum CallResult {
    Success,
    Failure,
    /// Another program held one of the locks that apt-get itself does not wait for.
    Locked,
}

impl Apt {
    /// Uses `program` as apt-get, through `sudo` if given. Empties the log.
    ///
    /// # Errors
    /// The log cannot be written.
    pub(in crate::setup) fn new(
        program: PathBuf,
        sudo: Option<PathBuf>,
        log: PathBuf,
    ) -> Result<Self> {
        File::create(&log).with_context(|| format!("write {}", log.display()))?;
        Ok(Self { program, sudo, log, options: Vec::new() })
    }

    /// Makes apt-get read these files instead of /etc/apt/sources.list and /etc/apt/preferences.
    pub(in crate::setup) fn reading(mut self, sources: &Path, preferences: &Path) -> Self {
        self.options = vec![
            format!("Dir::Etc::SourceList={}", sources.display()),
            format!("Dir::Etc::Preferences={}", preferences.display()),
        ];
        self
    }

    /// Fetches the package lists.
    ///
    /// # Errors
    /// As [`Apt::install`].
    pub(in crate::setup) fn update(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        match self.run(&["update"], say)? {
            true => Ok(()),
            false => bail!(self.failed_to("fetch the package lists")),
        }
    }

    /// Installs `packages`. If that fails, fetches new package lists and tries again.
    ///
    /// # Errors
    /// apt-get also failed with new lists. The error names the log and shows its end.
    pub(in crate::setup) fn install(
        &self,
        packages: &[&str],
        say: &mut dyn FnMut(&str),
    ) -> Result<()> {
        let mut install = vec!["install", "--no-install-recommends"];
        install.extend(packages);
        if self.run(&install, say)? {
            return Ok(());
        }
        // A new container has no lists, and old lists may name versions that the mirror no longer has.
        say("apt-get update: the package lists are missing or old");
        if self.run(&["update"], say)? && self.run(&install, say)? {
            return Ok(());
        }
        bail!(self.failed_to(&format!("install {}", packages.join(" "))));
    }

    /// Fetches new package lists, and installs or upgrades `packages` without removing any other package.
    ///
    /// # Errors
    /// As [`Apt::install`].
    pub(in crate::setup) fn upgrade(
        &self,
        packages: &[String],
        say: &mut dyn FnMut(&str),
    ) -> Result<()> {
        let mut install = vec!["install", "--no-install-recommends", "--no-remove"];
        install.extend(packages.iter().map(String::as_str));
        self.update(say)?;
        match self.run(&install, say)? {
            true => Ok(()),
            false => bail!(self.failed_to(&format!("install {}", packages.join(" ")))),
        }
    }

    fn failed_to(&self, what: &str) -> String {
        let log = self.log.display();
        format!("apt-get failed to {what}. The end of {log}:\n{}", self.end_of_log())
    }

    /// Runs apt-get again as long as another program holds a lock. Returns true if it succeeded.
    fn run(&self, args: &[&str], say: &mut dyn FnMut(&str)) -> Result<bool> {
        let start = Instant::now();
        let mut wait_reported = false;
        loop {
            match self.call(args, &mut wait_reported, say)? {
                CallResult::Success => return Ok(true),
                CallResult::Locked if start.elapsed() < LOCK_TIMEOUT => {
                    report_wait(&mut wait_reported, say);
                    std::thread::sleep(RETRY_DELAY);
                }
                CallResult::Failure | CallResult::Locked => return Ok(false),
            }
            if interrupt::requested() {
                bail!("interrupted while another program held the package manager's lock");
            }
        }
    }

    fn call(
        &self,
        args: &[&str],
        wait_reported: &mut bool,
        say: &mut dyn FnMut(&str),
    ) -> Result<CallResult> {
        let log = File::options().append(true).open(&self.log);
        let log = log.with_context(|| format!("write {}", self.log.display()))?;
        let before = fs::metadata(&self.log)?.len() as usize;
        let command = self.command(args).stdin_null();
        let command = command.stderr_to_stdout().stdout_file(log);
        let child = command.start().with_context(|| format!("run {}", self.program.display()))?;
        let waited = wait::until(wait::FOREVER, || {
            if self.log_from(before).contains("Waiting for cache lock") {
                report_wait(wait_reported, say);
            }
            child.try_wait()
        });
        let Waited::Done(output) = waited.context("wait for apt-get")? else {
            say("apt-get is running and must not be stopped midway; waiting for it to finish");
            let status = child.wait().context("wait for apt-get")?.status;
            bail!("interrupted; apt-get ended with {status}");
        };
        let status = output.status;
        Ok(match status.success() {
            true => CallResult::Success,
            false if self.log_from(before).contains("Could not get lock") => CallResult::Locked,
            false => CallResult::Failure,
        })
    }

    /// Returns the command in a process group of its own, so that Ctrl-C at the terminal reaches the lab alone.
    fn command(&self, args: &[&str]) -> Expression {
        let mut words: Vec<OsString> = Vec::new();
        if let Some(sudo) = &self.sudo {
            words.extend([sudo.into(), "-n".into()]);
        }
        // sudo does not pass on the environment, so env(1) sets it. The locale is C because `call` searches the log for
        // messages.
        words.extend(["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"].map(Into::into));
        words.extend([self.program.clone().into(), "--yes".into()]);
        // apt-get itself can wait only for dpkg's lock.
        let timeout = format!("-oDPkg::Lock::Timeout={}", LOCK_TIMEOUT.as_secs());
        words.extend([timeout.into(), "-oAcquire::Retries=3".into()]);
        words.extend(self.options.iter().map(|option| format!("-o{option}").into()));
        words.extend(args.iter().map(Into::into));
        guard::own_group(duct::cmd(words.remove(0), words).unchecked())
    }

    /// Returns the content of the log after the first `start` bytes.
    fn log_from(&self, start: usize) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(bytes.get(start..).unwrap_or(&[])).into_owned()
    }

    fn end_of_log(&self) -> String {
        let text = self.log_from(0);
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        let end = &lines[lines.len().saturating_sub(SHOWN)..];
        end.iter().map(|line| format!("    {line}\n")).collect()
    }
}

fn report_wait(wait_reported: &mut bool, say: &mut dyn FnMut(&str)) {
    if !*wait_reported {
        say("another program holds the package manager's lock; waiting for it");
        *wait_reported = true;
    }
}

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

/// How long somebody else may hold a lock of apt or dpkg. Unattended upgrades take minutes.
const PATIENCE: Duration = Duration::from_secs(600);

/// Time between two tries to get a lock.
const AGAIN: Duration = Duration::from_secs(2);

/// Lines of the log that an error shows.
const SHOWN: usize = 12;

/// apt-get, told to ask nothing, writing to a log.
///
/// It is the one program that is not stopped when the lab ends: dpkg, killed midway, leaves the package system
/// in need of repair.
pub(in crate::setup) struct Apt {
    program: PathBuf,
    sudo: Option<PathBuf>,
    log: PathBuf,
    /// More options of apt.conf(5), as `NAME=VALUE`.
    options: Vec<String>,
}

/// How a call of apt-get ended.
enum Ended {
    Well,
    Badly,
    /// Somebody else held one of the locks that apt-get itself does not wait for.
    Locked,
}

impl Apt {
    /// `program` is apt-get, run through `sudo` where given; the log begins anew.
    ///
    /// # Errors
    /// The log cannot be written.
    pub(in crate::setup) fn new(
        program: PathBuf,
        sudo: Option<PathBuf>,
        log: PathBuf,
    ) -> Result<Self> {
        File::create(&log).with_context(|| format!("write {}", log.display()))?;
        Ok(Self {
            program,
            sudo,
            log,
            options: Vec::new(),
        })
    }

    /// Reads these files in place of /etc/apt/sources.list and /etc/apt/preferences.
    pub(in crate::setup) fn reading(mut self, sources: &Path, preferences: &Path) -> Self {
        self.options = vec![
            format!("Dir::Etc::SourceList={}", sources.display()),
            format!("Dir::Etc::Preferences={}", preferences.display()),
        ];
        self
    }

    /// Fetches package lists.
    ///
    /// # Errors
    /// apt-get failed: as [`Apt::install`].
    pub(in crate::setup) fn update(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        match self.run(&["update"], say)? {
            true => Ok(()),
            false => bail!(self.could_not("fetch lists of packages")),
        }
    }

    /// Installs `packages`, with newer package lists if the ones here will not do.
    ///
    /// # Errors
    /// apt-get failed, and still did with new lists: shows the end of the log and names it.
    pub(in crate::setup) fn install(
        &self,
        packages: &[&str],
        say: &mut dyn FnMut(&str),
    ) -> Result<()> {
        let mut install = vec!["install", "--no-install-recommends"];
        install.extend(packages);
        // No lists at all, as in a fresh container, or lists that name versions the mirror no longer has.
        if self.run(&install, say)? {
            return Ok(());
        }
        say("apt-get update: the package lists are missing or old");
        if self.run(&["update"], say)? && self.run(&install, say)? {
            return Ok(());
        }
        bail!(self.could_not(&format!("install {}", packages.join(" "))));
    }

    /// Installs `packages`, newer ones in place of those that are there, with new package lists. Removes nothing for it.
    ///
    /// # Errors
    /// As [`Apt::install`].
    pub(in crate::setup) fn renew(
        &self,
        packages: &[String],
        say: &mut dyn FnMut(&str),
    ) -> Result<()> {
        let mut install = vec!["install", "--no-install-recommends", "--no-remove"];
        install.extend(packages.iter().map(String::as_str));
        self.update(say)?;
        match self.run(&install, say)? {
            true => Ok(()),
            false => bail!(self.could_not(&format!("install {}", packages.join(" ")))),
        }
    }

    fn could_not(&self, what: &str) -> String {
        let log = self.log.display();
        format!(
            "apt-get could not {what}. The end of {log}:\n{}",
            self.end_of_log()
        )
    }

    /// Runs apt-get until no lock is in its way; whether it succeeded.
    fn run(&self, args: &[&str], say: &mut dyn FnMut(&str)) -> Result<bool> {
        let start = Instant::now();
        let mut said = false;
        loop {
            match self.call(args, &mut said, say)? {
                Ended::Well => return Ok(true),
                Ended::Locked if start.elapsed() < PATIENCE => {
                    say_waiting(&mut said, say);
                    std::thread::sleep(AGAIN);
                }
                Ended::Badly | Ended::Locked => return Ok(false),
            }
            if interrupt::requested() {
                bail!("interrupted while another program installs packages");
            }
        }
    }

    fn call(&self, args: &[&str], said: &mut bool, say: &mut dyn FnMut(&str)) -> Result<Ended> {
        let log = File::options().append(true).open(&self.log);
        let log = log.with_context(|| format!("write {}", self.log.display()))?;
        let before = fs::metadata(&self.log)?.len() as usize;
        let command = self.command(args).stdin_null();
        let command = command.stderr_to_stdout().stdout_file(log);
        let child = command
            .start()
            .with_context(|| format!("run {}", self.program.display()))?;
        let waited = wait::until(wait::FOREVER, || {
            if self.log_from(before).contains("Waiting for cache lock") {
                say_waiting(said, say);
            }
            child.try_wait()
        });
        let Waited::Done(output) = waited.context("wait for apt-get")? else {
            say("apt-get is at work and is not stopped midway; waiting for it to end");
            let status = child.wait().context("wait for apt-get")?.status;
            bail!("interrupted; apt-get ended with {status}");
        };
        let status = output.status;
        Ok(match status.success() {
            true => Ended::Well,
            false if self.log_from(before).contains("Could not get lock") => Ended::Locked,
            false => Ended::Badly,
        })
    }

    /// Returns the command in a process group of its own, so that Ctrl-C at the terminal reaches the lab alone.
    fn command(&self, args: &[&str]) -> Expression {
        let mut words: Vec<OsString> = Vec::new();
        if let Some(sudo) = &self.sudo {
            words.extend([sudo.into(), "-n".into()]);
        }
        // sudo does not pass the environment on, therefore env(1) sets it. The locale is C because `call` searches the
        // log for messages.
        let environment = ["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"];
        words.extend(environment.map(Into::into));
        words.extend([self.program.clone().into(), "--yes".into()]);
        // The dpkg lock is the one that apt-get can wait for.
        let timeout = format!("-oDPkg::Lock::Timeout={}", PATIENCE.as_secs());
        words.extend([timeout.into(), "-oAcquire::Retries=3".into()]);
        let options = self.options.iter();
        words.extend(options.map(|option| format!("-o{option}").into()));
        words.extend(args.iter().map(Into::into));
        let command = duct::cmd(words.remove(0), words);
        guard::own_group(command.unchecked())
    }

    /// What was logged after the first `start` bytes.
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

fn say_waiting(said: &mut bool, say: &mut dyn FnMut(&str)) {
    if !*said {
        say("another program holds the lock of the package system; waiting for it");
        *said = true;
    }
}

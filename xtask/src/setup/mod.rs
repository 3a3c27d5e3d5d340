// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host's side of things: programs that must be there, KVM, and a report on both.

pub mod debian;
pub(crate) mod doctor;
mod os_release;
pub(crate) mod others;
pub mod packages;

use std::ffi::OsString;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use self::debian::apt::Apt;
use self::debian::{newer_qemu, std_source};
use self::packages::{Distribution, explain, needed};
use crate::lock::{self, Hold, Lock};
use crate::oracle::Wanted;
use crate::paths;
use crate::program::{Program, find_program};
use crate::target::Target;

/// Whether the lab may install packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupMode {
    /// It may; where there is a terminal, it asks.
    Allowed,
    /// It may not: `--no-setup`.
    Forbidden,
}

/// What setting up depends on.
#[derive(Clone, Debug)]
pub struct Host {
    /// Content of `PATH`.
    pub path: OsString,
    /// Content of /etc/os-release; empty where there is none.
    pub os_release: String,
    /// Whether this is root.
    pub root: bool,
    /// Whether somebody sits at a terminal and can be asked.
    pub terminal: bool,
    /// The lab's cache directory.
    pub cache: PathBuf,
}

impl Host {
    /// This machine, as this process finds it.
    ///
    /// # Errors
    /// The user has no cache directory.
    pub fn here() -> Result<Self> {
        Ok(Self {
            path: std::env::var_os("PATH").unwrap_or_default(),
            os_release: fs::read_to_string("/etc/os-release").unwrap_or_default(),
            root: nix::unistd::geteuid().is_root(),
            terminal: io::stdin().is_terminal() && io::stderr().is_terminal(),
            cache: paths::cache()?,
        })
    }

    /// Those of `needed` that are not here.
    fn missing(&self, needed: &[Program]) -> Vec<Program> {
        let absent = needed.iter().filter(|p| p.find(&self.path).is_none());
        absent.cloned().collect()
    }
}

/// Makes sure that everything `targets` need is on this machine, to build their kernels too if `kernel`, to run them
/// under the oracle where it is `wanted`: installs what is missing where that is possible and allowed. `say` gets lines
/// for a person.
///
/// # Errors
/// Something is missing and was not installed: names each program, its packages, and the command to paste. Or the
/// installation failed: names its log.
pub(crate) fn ensure(
    targets: &[&Target],
    kernel: bool,
    wanted: Wanted,
    mode: SetupMode,
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    let host = Host::here()?;
    newer_qemu::ensure(&host, targets, wanted, mode, say)?;
    ensure_on(&host, &needed(targets, kernel)?, mode, say)?;
    std_source::ensure(&host, targets, mode, say)
}

/// As [`ensure`], with everything it depends on given.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_on(
    host: &Host,
    needed: &[Program],
    mode: SetupMode,
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    let missing = host.missing(needed);
    if missing.is_empty() {
        return Ok(());
    }
    let family = os_release::family(&host.os_release);
    let refuse = |why: &str| bail!(explain(&missing, why, family));
    if mode == SetupMode::Forbidden {
        return refuse("--no-setup forbids to install anything");
    }
    if family != Some(Distribution::Debian) {
        return refuse("the lab installs packages on Debian and its derivatives only");
    }
    let Some(apt_get) = find_program("apt-get", &host.path) else {
        return refuse("there is no apt-get");
    };
    let names: Vec<_> = missing.iter().map(|p| p.program.as_str()).collect();
    let packages = Distribution::Debian.packages(&missing);
    say(&format!("missing: {}", names.join(", ")));
    say(&format!("apt-get will install: {}", packages.join(" ")));
    if host.terminal && !agreed(say)? {
        return refuse("the answer was no");
    }
    let Some(sudo) = rights(host)? else {
        return refuse("installing needs root, or sudo that asks no password");
    };
    // Whoever held the lock before may have installed everything.
    let _lock = lock(host, say)?;
    let missing = host.missing(needed);
    if missing.is_empty() {
        return Ok(());
    }
    let packages = Distribution::Debian.packages(&missing);
    let log = host.cache.join("setup.log");
    Apt::new(apt_get, sudo, log.clone())?.install(&packages, say)?;
    let still = host.missing(&missing);
    if !still.is_empty() {
        let why = format!(
            "apt-get succeeded without bringing what was asked for ({})",
            log.display()
        );
        bail!(explain(&still, &why, family));
    }
    say("installed");
    Ok(())
}

/// Asks at the terminal.
fn agreed(say: &mut dyn FnMut(&str)) -> Result<bool> {
    say("install now? [Y/n]");
    let mut answer = String::new();
    let read = io::stdin()
        .read_line(&mut answer)
        .context("read the answer")?;
    // The end of input is no answer.
    Ok(read > 0 && means_yes(&answer))
}

fn means_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes")
}

/// What has to stand before `apt-get` so that it may install: nothing for root, else sudo. `None`: it may not.
fn rights(host: &Host) -> Result<Option<Option<PathBuf>>> {
    if host.root {
        return Ok(Some(None));
    }
    let Some(sudo) = find_program("sudo", &host.path) else {
        return Ok(None);
    };
    // With a terminal sudo asks for the password here and now, in the foreground, and remembers it.
    let check = if host.terminal { "-v" } else { "-nv" };
    let mut command = duct::cmd!(&sudo, check).unchecked();
    if !host.terminal {
        command = command.stdin_null().stderr_null();
    }
    let status = command.run().context("run sudo")?.status;
    Ok(status.success().then_some(Some(sudo)))
}

/// Lets one run at a time install.
fn lock(host: &Host, say: &mut dyn FnMut(&str)) -> Result<Lock> {
    let path = host.cache.join("setup.lock");
    lock::lock(&path, Hold::Alone, "installs packages", |text| say(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_answer_is_yes_and_anything_odd_is_no() {
        let yes = ["\n", "y\n", " Yes \n"].map(means_yes);
        let no = ["n\n", "no\n", "what?\n"].map(means_yes);
        assert_eq!((yes, no), ([true; 3], [false; 3]));
    }
}

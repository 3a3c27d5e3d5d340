// SPDX-License-Identifier: MIT OR Apache-2.0
//! Set-up of the host: installs the programs that the lab needs, and reports on them.

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
use crate::oracle::OracleRequest;
use crate::paths;
use crate::program::{Program, find_program};
use crate::target::Target;

/// Permission to install packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupMode {
    /// The lab installs packages. At a terminal, it asks first.
    Allowed,
    /// The lab installs nothing, because of `--no-setup`.
    Forbidden,
}

/// Properties of the host that set-up depends on.
#[derive(Clone, Debug)]
pub struct Host {
    /// Content of `PATH`.
    pub path: OsString,
    /// Content of /etc/os-release; empty if the file does not exist.
    pub os_release: String,
    /// True if the user is root.
    pub root: bool,
    /// True if the lab runs at a terminal, where it can ask the user.
    pub terminal: bool,
    /// The lab's cache directory.
    pub cache: PathBuf,
}

impl Host {
    /// Returns the properties of this machine and this process.
    ///
    /// # Errors
    /// The location of the cache directory is unknown.
    pub fn here() -> Result<Self> {
        Ok(Self {
            path: std::env::var_os("PATH").unwrap_or_default(),
            os_release: fs::read_to_string("/etc/os-release").unwrap_or_default(),
            root: nix::unistd::geteuid().is_root(),
            terminal: io::stdin().is_terminal() && io::stderr().is_terminal(),
            cache: paths::cache()?,
        })
    }

    /// Returns those of `needed` that this machine lacks.
    fn missing(&self, needed: &[Program]) -> Vec<Program> {
        needed.iter().filter(|p| p.find(&self.path).is_none()).cloned().collect()
    }
}

/// Installs what `targets` need and this machine lacks, if `mode` allows it. This includes programs for kernel builds if
/// `kernel` is true, and a QEMU that can load the oracle where the oracle is `wanted`. Passes progress messages to `say`.
///
/// # Errors
/// A missing program was not installed: the error names each program, its packages, and the command that installs them.
/// If the installation itself failed, the error names its log.
pub(crate) fn ensure(
    targets: &[&Target],
    kernel: bool,
    wanted: OracleRequest,
    mode: SetupMode,
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    let host = Host::here()?;
    newer_qemu::ensure(&host, targets, wanted, mode, say)?;
    ensure_on(&host, &needed(targets, kernel)?, mode, say)?;
    std_source::ensure(&host, targets, mode, say)
}

/// Installs the programs in `needed` that `host` lacks, if `mode` allows it.
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
        return refuse("--no-setup forbids installing anything");
    }
    if family != Some(Distribution::Debian) {
        return refuse("the lab installs packages on Debian and its derivatives only");
    }
    let Some(apt_get) = find_program("apt-get", &host.path) else {
        return refuse("apt-get is missing too");
    };
    let names: Vec<_> = missing.iter().map(|p| p.program.as_str()).collect();
    let packages = Distribution::Debian.packages(&missing);
    say(&format!("missing: {}", names.join(", ")));
    say(&format!("apt-get will install: {}", packages.join(" ")));
    if host.terminal && !ask_user(say)? {
        return refuse("you declined the installation");
    }
    let Some(sudo) = rights(host)? else {
        return refuse("installing packages needs root, or sudo without a password");
    };
    // The previous holder of the lock may have installed everything.
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
        let what = if still.len() == 1 { "it" } else { "them" };
        let log = log.display();
        let why = format!("apt-get reported success without installing {what} (log: {log})");
        bail!(explain(&still, &why, family));
    }
    say("installed");
    Ok(())
}

/// Asks the user at the terminal for permission to install.
fn ask_user(say: &mut dyn FnMut(&str)) -> Result<bool> {
    say("install now? [Y/n]");
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer).context("read the answer")?;
    // End of input is not an answer.
    Ok(read > 0 && is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes")
}

/// Returns the path of the sudo that lets `apt-get` install packages, or `Some(None)` for root, which needs no sudo.
/// Returns `None` if the user may not install packages.
fn rights(host: &Host) -> Result<Option<Option<PathBuf>>> {
    if host.root {
        return Ok(Some(None));
    }
    let Some(sudo) = find_program("sudo", &host.path) else {
        return Ok(None);
    };
    // At a terminal, sudo asks for the password now, in the foreground, and remembers it for the call of apt-get.
    let check = if host.terminal { "-v" } else { "-nv" };
    let mut command = duct::cmd!(&sudo, check).unchecked();
    if !host.terminal {
        command = command.stdin_null().stderr_null();
    }
    Ok(command.run().context("run sudo")?.status.success().then_some(Some(sudo)))
}

/// Takes the lock that lets one run at a time install packages.
fn lock(host: &Host, say: &mut dyn FnMut(&str)) -> Result<Lock> {
    let path = host.cache.join("setup.lock");
    lock::lock(&path, Hold::Exclusive, "is installing packages", |text| say(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_answer_is_yes_and_an_unknown_answer_is_no() {
        let yes = ["\n", "y\n", " Yes \n"].map(is_yes);
        let no = ["n\n", "no\n", "what?\n"].map(is_yes);
        assert_eq!((yes, no), ([true; 3], [false; 3]));
    }
}

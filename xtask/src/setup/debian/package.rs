// SPDX-License-Identifier: MIT OR Apache-2.0
//! Debian packages: downloaded and verified by apt, unpacked, not installed. Nobody has to be root for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context, Result, bail};
use duct::Expression;
use xshell::cmd;

use crate::{guard, shell};

/// Bytes of complaints that an error shows.
const KEPT: usize = 1000;

/// The keys that Debian's archives are signed with.
pub(crate) const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where this machine, whose apt-get this is, gets Debian's packages from.
///
/// # Errors
/// It gets none from Debian, or has no lists of packages yet.
pub(crate) fn mirror(apt_get: &Path) -> Result<String> {
    let sh = shell::here()?;
    let format = "$(CREATED_BY) $(LABEL) $(REPO_URI)";
    let text = shell::read(cmd!(sh, "{apt_get} indextargets --format {format}"))?;
    let found = text
        .lines()
        .find_map(|line| line.strip_prefix("Packages Debian "));
    found.map(str::to_owned).context(
        "this machine's apt knows no archive of Debian (or has no lists yet: apt-get update)",
    )
}

/// Lets apt download `package` (`NAME` or `NAME=VERSION`) into the empty directory `dir`: from the machine's lists, or,
/// should those be missing or too old, from lists of our own.
///
/// # Errors
/// No apt here, no package, no network, a signature that does not hold, a full disk.
pub(crate) fn download(package: &str, dir: &Path) -> Result<PathBuf> {
    let first = apt_get(dir, &["download", package])?;
    if first.status.success() {
        return downloaded(package, dir);
    }
    Lists::new(dir, None)?.download(package, dir)
}

/// apt's lists of packages, apart from the machine's.
pub(crate) struct Lists {
    options: Vec<String>,
    complaint: Option<String>,
}

impl Lists {
    /// Fetches the lists into `dir`: of the archives that the machine knows, or, where `sources` (in the words of
    /// sources.list(5)) are given, of those instead.
    ///
    /// # Errors
    /// No apt here; a directory that cannot be written to.
    pub(crate) fn new(dir: &Path, sources: Option<&str>) -> Result<Self> {
        let (lists, cache) = (dir.join("lists"), dir.join("cache"));
        for dir in [&lists, &cache] {
            fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
        }
        let mut options = vec![
            format!("-oDir::State::Lists={}", lists.display()),
            format!("-oDir::Cache={}", cache.display()),
        ];
        if let Some(sources) = sources {
            let list = dir.join("sources.list");
            fs::write(&list, sources).with_context(|| format!("write {}", list.display()))?;
            options.push(format!("-oDir::Etc::SourceList={}", list.display()));
            options.push("-oDir::Etc::SourceParts=-".into());
        }
        let mut lists = Self {
            options,
            complaint: None,
        };
        let update = lists.apt_get(dir, &["update"])?;
        lists.complaint = (!update.status.success()).then(|| said(&update));
        Ok(lists)
    }

    /// Downloads `package` into `dir`.
    ///
    /// # Errors
    /// As [`download`].
    pub(crate) fn download(&self, package: &str, dir: &Path) -> Result<PathBuf> {
        let output = self.apt_get(dir, &["download", package])?;
        if output.status.success() {
            return downloaded(package, dir);
        }
        let complaint = self.complaint.clone().unwrap_or_else(|| said(&output));
        bail!("apt-get cannot download {package}:\n{complaint}")
    }

    fn apt_get(&self, dir: &Path, words: &[&str]) -> Result<Output> {
        let options = self.options.iter().map(String::as_str);
        apt_get(
            dir,
            &options.chain(words.iter().copied()).collect::<Vec<_>>(),
        )
    }
}

fn apt_get(dir: &Path, arguments: &[&str]) -> Result<Output> {
    // apt would drop to a user who cannot write here, and warn that it does not.
    let words = ["-qq", "-oAPT::Sandbox::User=root"];
    let words = words.iter().chain(arguments);
    let output = run(&guard::command("apt-get", words).dir(dir))?;
    if output.status.code() == Some(guard::CANNOT_RUN) {
        bail!("there is no apt-get here");
    }
    Ok(output)
}

fn downloaded(package: &str, dir: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "deb") {
            return Ok(path);
        }
    }
    bail!(
        "apt-get download {package} left no package in {}",
        dir.display()
    )
}

/// `NAME VERSION` from the name of a package's file, `NAME_VERSION_ARCH.deb`, in which a colon is `%3a`.
pub(crate) fn name_in(package: &Path) -> Option<String> {
    let mut parts = package.file_stem()?.to_str()?.split('_');
    let (name, version) = (parts.next()?, parts.next()?);
    Some(format!("{name} {}", version.replace("%3a", ":")))
}

/// The command that writes what is in `package` to its standard output, as a tar archive.
pub(crate) fn members(package: &Path) -> Expression {
    guard::command("dpkg-deb", ["--fsys-tarfile".as_ref(), package])
}

/// Runs a command or a pipeline whose output is of no interest.
///
/// # Errors
/// A part of it fails: shows the complaints. [`Interrupted`](crate::interrupt::Interrupted).
pub(crate) fn pipe(command: &Expression) -> Result<()> {
    let output = run(command)?;
    if !output.status.success() {
        bail!("{}", said(&output));
    }
    Ok(())
}

fn run(command: &Expression) -> Result<Output> {
    let command = command.env("LC_ALL", "C").stdout_null().stderr_capture();
    guard::run(&command)
}

/// What a command complained of, in short: on a full disk tar complains of each file by itself.
fn said(output: &Output) -> String {
    let first = &output.stderr[..output.stderr.len().min(KEPT)];
    match String::from_utf8_lossy(first).trim() {
        "" => output.status.to_string(),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_in_the_name_of_the_file() {
        let path = Path::new("/x/linux-source-6.12_1%3a6.12.117-1~deb12u1_all.deb");
        assert_eq!(
            name_in(path).unwrap(),
            "linux-source-6.12 1:6.12.117-1~deb12u1"
        );
        assert_eq!(name_in(Path::new("lists.deb")), None);
    }
}

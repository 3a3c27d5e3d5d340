// SPDX-License-Identifier: MIT OR Apache-2.0
//! Debian packages that are downloaded and verified by apt, and unpacked without being installed. This needs no root.

use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context, Result, bail};
use duct::Expression;
use xshell::cmd;

use crate::{files, guard, shell};

/// Maximum number of bytes that an error shows of a program's messages.
const SHOWN: usize = 1000;

/// Keyring of Debian's archives.
pub(crate) const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Returns the URI of the Debian mirror in the apt configuration of this machine.
///
/// # Errors
/// The configuration has no Debian mirror, or there are no package lists yet.
pub(crate) fn mirror(apt_get: &Path) -> Result<String> {
    mirror_in(apt_get, &[])
}

/// Returns the URI of the Debian mirror that apt-get finds with the given options.
fn mirror_in(apt_get: &Path, options: &[String]) -> Result<String> {
    let sh = shell::here()?;
    let format = "$(CREATED_BY) $(LABEL) $(REPO_URI)";
    let text = shell::read(cmd!(sh, "{apt_get} {options...} indextargets --format {format}"))?;
    let found = text.lines().find_map(|line| line.strip_prefix("Packages Debian "));
    found.map(str::to_owned).context(
        "apt has no Debian mirror in its sources, or no package lists yet; run `apt-get update`",
    )
}

/// Downloads `package` through apt into the empty directory `dir`. If the machine's package lists are missing or too old,
/// fetches separate lists for this download. If the machine's package sources do not have the package, downloads it from
/// the first of the archive's `suites` that has it. The machine's package sources and lists do not change.
///
/// # Errors
/// There is no apt, no such package or no network, a signature is invalid, or the disk is full.
pub(crate) fn download(package: &str, suites: &[String], dir: &Path) -> Result<PathBuf> {
    search(package, suites, dir, Lists::download)
}

/// Returns `NAME VERSION` of the package that [`download`] would download. Writes only package lists to `dir`.
///
/// # Errors
/// There is no apt, or no package list has the package.
pub(crate) fn identify(package: &str, suites: &[String], dir: &Path) -> Result<String> {
    search(package, suites, dir, Lists::identify)
}

/// Operation on the package with this name, through the given lists. It writes files to the given directory.
type Operation<T> = fn(&Lists, &str, &Path) -> Result<T>;

/// Performs `operation` through the first lists with which it succeeds: those of the machine, newer lists of the same
/// archives, and lists of each of the `suites`.
fn search<T>(package: &str, suites: &[String], dir: &Path, operation: Operation<T>) -> Result<T> {
    if let Ok(found) = operation(&Lists::default(), package, dir) {
        return Ok(found);
    }
    let own = Lists::new(dir, None)?;
    let error = match operation(&own, package, dir) {
        Ok(found) => return Ok(found),
        Err(error) if suites.is_empty() => return Err(error),
        Err(error) => error,
    };
    let mut errors = vec![format!("this machine's package sources: {error:#}")];
    // The lists that were just fetched name the mirror even on a machine without lists.
    match mirror_in(Path::new("apt-get"), &own.options) {
        Err(error) => errors.push(format!("{error:#}")),
        Ok(mirror) => {
            for suite in suites {
                match search_in(package, suite, &mirror, dir, operation) {
                    Ok(found) => return Ok(found),
                    Err(error) => errors.push(format!("{suite}: {error:#}")),
                }
            }
        }
    }
    bail!("{}", errors.join("\n"))
}

/// Downloads `package` (`NAME` or `NAME=VERSION`) from `suite` of Debian's archive, which need not be in the machine's apt
/// configuration. apt verifies it with the keys in Debian's keyring. The files are in a new directory in `scratch`.
///
/// # Errors
/// As [`download`].
pub(crate) fn download_from(
    package: &str,
    suite: &str,
    mirror: &str,
    scratch: &Path,
) -> Result<PathBuf> {
    search_in(package, suite, mirror, scratch, Lists::download)
}

/// Performs `operation` through lists of `suite`.
fn search_in<T>(
    package: &str,
    suite: &str,
    mirror: &str,
    scratch: &Path,
    operation: Operation<T>,
) -> Result<T> {
    let dir = scratch.join(suite);
    files::create_dir(&dir)?;
    let sources = format!("deb [signed-by={KEYS}] {mirror} {suite} main\n");
    operation(&Lists::new(&dir, Some(&sources))?, package, &dir)
}

/// Package lists of apt: the machine's by default, else separate ones.
#[derive(Default)]
pub(super) struct Lists {
    /// Options that make apt-get use these lists.
    options: Vec<String>,
    /// Messages of apt-get, if it failed to fetch the lists.
    failure: Option<String>,
}

impl Lists {
    /// Fetches the lists into `dir`. They come from the archives in `sources`, which has the format of sources.list(5),
    /// or from the archives in the machine's configuration if `sources` is `None`.
    ///
    /// # Errors
    /// There is no apt, or `dir` cannot be written to.
    fn new(dir: &Path, sources: Option<&str>) -> Result<Self> {
        let (lists, cache) = (dir.join("lists"), dir.join("cache"));
        for dir in [&lists, &cache] {
            files::create_dir(dir)?;
        }
        let mut options = vec![
            format!("-oDir::State::Lists={}", lists.display()),
            format!("-oDir::Cache={}", cache.display()),
        ];
        if let Some(sources) = sources {
            let list = dir.join("sources.list");
            files::write(&list, sources)?;
            options.push(format!("-oDir::Etc::SourceList={}", list.display()));
            options.push("-oDir::Etc::SourceParts=-".into());
        }
        let mut lists = Self { options, failure: None };
        let update = lists.apt_get(dir, &["update"])?;
        lists.failure = (!update.status.success()).then(|| messages(&update));
        Ok(lists)
    }

    /// Fetches the lists of source packages of `suite` into `dir`, from the mirror of this machine.
    ///
    /// # Errors
    /// There is no apt, apt knows no mirror, or `dir` cannot be written to.
    pub(super) fn of_sources(suite: &str, dir: &Path) -> Result<Self> {
        let mirror = mirror(Path::new("apt-get"))?;
        Self::new(dir, Some(&format!("deb-src [signed-by={KEYS}] {mirror} {suite} main\n")))
    }

    /// Downloads the source of `package` into `dir`, and returns the tarball of its authors.
    ///
    /// # Errors
    /// As [`download`].
    pub(super) fn download_source(&self, package: &str, dir: &Path) -> Result<PathBuf> {
        // Only the tarball of the authors: an archive may have lost Debian's changes.
        let words = ["source", "--download-only", "--tar-only", package];
        self.fetch(dir, &words, &format!("the source of {package}"))?;
        let is_tarball = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.contains(".orig.tar.") && !name.ends_with(".asc")
        };
        files::in_dir(dir)?.into_iter().find(is_tarball).with_context(|| {
            format!("apt-get source {package} left no tarball in {}", dir.display())
        })
    }

    /// Downloads `package` into `dir`.
    ///
    /// # Errors
    /// As [`download`].
    fn download(&self, package: &str, dir: &Path) -> Result<PathBuf> {
        self.fetch(dir, &["download", package], package)?;
        let packages = files::with_extension(dir, "deb")?.into_iter();
        packages.last().with_context(|| {
            format!("apt-get download {package} left no package in {}", dir.display())
        })
    }

    /// Returns `NAME VERSION` of `package`.
    ///
    /// # Errors
    /// As [`download`].
    fn identify(&self, package: &str, dir: &Path) -> Result<String> {
        let words = ["download", "--print-uris", package];
        let output = self.fetch(dir, &words, package)?;
        let line = String::from_utf8_lossy(&output.stdout);
        // 'URI' FILE SIZE HASH
        let name = line.split_whitespace().nth(1).and_then(|file| name_in(Path::new(file)));
        name.with_context(|| format!("apt-get {} prints no file name", words.join(" ")))
    }

    /// Runs apt-get to download `what` into `dir`, and returns its output.
    fn fetch(&self, dir: &Path, words: &[&str], what: &str) -> Result<Output> {
        let output = self.apt_get(dir, words)?;
        if output.status.success() {
            return Ok(output);
        }
        let messages = self.failure.clone().unwrap_or_else(|| messages(&output));
        bail!("apt-get cannot download {what}:\n{messages}")
    }

    fn apt_get(&self, dir: &Path, words: &[&str]) -> Result<Output> {
        let options = self.options.iter().map(String::as_str);
        apt_get(dir, &options.chain(words.iter().copied()).collect::<Vec<_>>())
    }
}

fn apt_get(dir: &Path, arguments: &[&str]) -> Result<Output> {
    // Without this option, apt would try to download as a user who cannot write here, and print a warning.
    let words = ["-qq", "-oAPT::Sandbox::User=root"];
    let words = words.iter().chain(arguments);
    let output = run(&guard::command("apt-get", words).dir(dir))?;
    if output.status.code() == Some(guard::CANNOT_RUN) {
        bail!("apt-get is missing");
    }
    Ok(output)
}

/// Returns `NAME VERSION` for a package file `NAME_VERSION_ARCH.deb`. The file's name encodes a colon as `%3a`.
pub(crate) fn name_in(package: &Path) -> Option<String> {
    let mut parts = package.file_stem()?.to_str()?.split('_');
    let (name, version) = (parts.next()?, parts.next()?);
    Some(format!("{name} {}", version.replace("%3a", ":")))
}

/// Returns the command that writes the content of `package` to standard output, as a tar archive.
pub(crate) fn members(package: &Path) -> Expression {
    guard::command("dpkg-deb", ["--fsys-tarfile".as_ref(), package])
}

/// Runs a command or a pipeline and discards its output.
///
/// # Errors
/// A program fails: the error shows its messages. [`Interrupted`](crate::interrupt::Interrupted) if the user stops the
/// lab.
pub(crate) fn pipe(command: &Expression) -> Result<()> {
    let output = run(command)?;
    if !output.status.success() {
        bail!("{}", messages(&output));
    }
    Ok(())
}

fn run(command: &Expression) -> Result<Output> {
    guard::run(&command.env("LC_ALL", "C").stdout_capture().stderr_capture())
}

/// Returns the beginning of the messages on standard error, or the exit status if there are none. The messages may be
/// long: on a full disk, tar prints one for each file.
fn messages(output: &Output) -> String {
    let first = &output.stderr[..output.stderr.len().min(SHOWN)];
    match String::from_utf8_lossy(first).trim() {
        "" => output.status.to_string(),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_taken_from_the_file_name() {
        let path = Path::new("/x/linux-source-6.12_1%3a6.12.117-1~deb12u1_all.deb");
        assert_eq!(name_in(path).unwrap(), "linux-source-6.12 1:6.12.117-1~deb12u1");
        assert_eq!(name_in(Path::new("lists.deb")), None);
    }
}

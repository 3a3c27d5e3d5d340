// SPDX-License-Identifier: MIT OR Apache-2.0
//! Debian's kernel source: downloaded and verified by apt, unpacked, not installed.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Interrupted, Progress};
use crate::{guard, interrupt};

/// Bytes of complaints that an error shows.
const KEPT: u64 = 1000;

/// How often a wait looks whether it is over.
const POLL: Duration = Duration::from_millis(20);

/// The package. Its version is whichever the machine's Debian has.
pub const PACKAGE: &str = "linux-source-6.12";

/// Downloads the package and unpacks the source it holds into the empty directory `into`.
/// Returns the package's name and version.
///
/// # Errors
/// No apt here, no package, no network, a signature that does not hold, a full disk.
pub fn fetch(into: &Path, progress: &mut dyn FnMut(Progress)) -> Result<String> {
    let scratch = into.with_file_name("download");
    fs::create_dir(&scratch).with_context(|| format!("make {}", scratch.display()))?;
    progress(Progress::step(format!("download Debian's {PACKAGE}")));
    let package = download(&scratch)?;
    let name = name_in(&package).context("apt-get download left a file of an unknown name")?;
    progress(Progress::step(format!("unpack {name}")));
    unpack_package(&package, into)?;
    fs::remove_dir_all(&scratch).with_context(|| format!("remove {}", scratch.display()))?;
    Ok(name)
}

/// Lets apt download the package into `dir`: from the machine's lists, or, should those be missing or too old,
/// from lists of our own, for which nobody has to be root.
fn download(dir: &Path) -> Result<PathBuf> {
    let first = apt_get(dir, &["download", PACKAGE])?;
    if first.status.success() {
        return downloaded(dir);
    }
    let lists = dir.join("lists");
    let cache = dir.join("cache");
    for dir in [&lists, &cache] {
        fs::create_dir(dir).with_context(|| format!("make {}", dir.display()))?;
    }
    let options = [
        format!("-oDir::State::Lists={}", lists.display()),
        format!("-oDir::Cache={}", cache.display()),
    ];
    let with = |words: &[&'static str]| -> Result<Output> {
        let options = options.iter().map(String::as_str);
        apt_get(
            dir,
            &options.chain(words.iter().copied()).collect::<Vec<_>>(),
        )
    };
    let update = with(&["update"])?;
    let second = with(&["download", PACKAGE])?;
    if second.status.success() {
        return downloaded(dir);
    }
    let complaint = if update.status.success() {
        said(&second)
    } else {
        said(&update)
    };
    bail!(
        "apt-get cannot download {PACKAGE}:\n{complaint}\n\
         Is there a network, and does this Debian have the package (bookworm-security, trixie)? \
         A source of your own does as well: --kernel-src DIR|TARBALL"
    )
}

fn apt_get(dir: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = guard::command("apt-get");
    // apt would drop to a user who cannot write here, and warn that it does not.
    command.args(["-qq", "-oAPT::Sandbox::User=root"]);
    command.args(arguments).current_dir(dir);
    let output = run(vec![command])?.remove(0);
    if output.status.code() == Some(i32::from(guard::CANNOT_RUN)) {
        bail!(
            "the kernel source is a Debian package and there is no apt-get here: \
             give a source of your own with --kernel-src DIR|TARBALL"
        );
    }
    Ok(output)
}

fn downloaded(dir: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "deb") {
            return Ok(path);
        }
    }
    bail!(
        "apt-get download {PACKAGE} left no package in {}",
        dir.display()
    )
}

/// `NAME VERSION` from the name of a package's file, `NAME_VERSION_ARCH.deb`, in which a colon is `%3a`.
fn name_in(package: &Path) -> Option<String> {
    let mut parts = package.file_stem()?.to_str()?.split('_');
    let (name, version) = (parts.next()?, parts.next()?);
    Some(format!("{name} {}", version.replace("%3a", ":")))
}

fn unpack_package(package: &Path, into: &Path) -> Result<()> {
    let mut members = guard::command("dpkg-deb");
    members.arg("--fsys-tarfile").arg(package);
    let mut tarball = guard::command("tar");
    tarball.args([
        "-x",
        "--to-stdout",
        "--wildcards",
        "*/linux-source-*.tar.xz",
    ]);
    pipe(vec![members, tarball, untar("-xJ", into)])
        .with_context(|| format!("unpack {}", package.display()))
}

/// Unpacks a tarball of a kernel source, compressed in any way tar knows, into the directory `into`.
///
/// # Errors
/// Not a tarball; a full disk.
pub fn unpack_tarball(tarball: &Path, into: &Path) -> Result<()> {
    let mut command = untar("-x", into);
    command.arg("-f").arg(tarball);
    pipe(vec![command]).with_context(|| format!("unpack {}", tarball.display()))
}

fn untar(mode: &str, into: &Path) -> Command {
    let mut command = guard::command("tar");
    command
        .args([mode, "--strip-components=1", "--no-same-owner", "-C"])
        .arg(into);
    command
}

/// Runs the commands, each reading what the one before it writes.
fn pipe(commands: Vec<Command>) -> Result<()> {
    let failed = run(commands)?
        .into_iter()
        .filter(|output| !output.status.success());
    let complaints: Vec<_> = failed.map(|output| said(&output)).collect();
    if !complaints.is_empty() {
        bail!("{}", complaints.join("\n"));
    }
    Ok(())
}

/// As [`pipe`], and says how each ended. Only their first complaints are kept.
fn run(commands: Vec<Command>) -> Result<Vec<Output>> {
    let mut children = Vec::new();
    let mut input = Stdio::null();
    let last = commands.len() - 1;
    for (at, mut command) in commands.into_iter().enumerate() {
        command
            .stdin(input)
            .stderr(Stdio::piped())
            .env("LC_ALL", "C");
        command.stdout(if at == last {
            Stdio::null()
        } else {
            Stdio::piped()
        });
        let mut child = command
            .spawn()
            .with_context(|| format!("run {command:?}"))?;
        input = child.stdout.take().map_or(Stdio::null(), Stdio::from);
        let complaints = child.stderr.take().expect("it is a pipe");
        // A pipe holds 64 KiB, and on a full disk tar complains of each file by itself.
        children.push((child, thread::spawn(|| first_of(complaints))));
    }
    wait(&mut children)?;
    let ended = children.into_iter().map(|(mut child, complaints)| {
        let (status, stdout) = (child.wait()?, Vec::new());
        let stderr = complaints.join().expect("the reader does not panic")?;
        Ok(Output {
            status,
            stdout,
            stderr,
        })
    });
    ended.collect()
}

/// Waits until all have ended, or stops them when the lab is to stop.
fn wait<T>(children: &mut [(Child, T)]) -> Result<()> {
    for at in 0..children.len() {
        while children[at].0.try_wait()?.is_none() {
            if interrupt::requested() {
                for (child, _) in children {
                    guard::stop(child, Duration::from_secs(1))?;
                }
                bail!(Interrupted);
            }
            thread::sleep(POLL);
        }
    }
    Ok(())
}

/// Reads to the end and keeps the beginning.
fn first_of(mut reader: impl Read) -> io::Result<Vec<u8>> {
    let mut first = Vec::new();
    reader.by_ref().take(KEPT).read_to_end(&mut first)?;
    io::copy(&mut reader, &mut io::sink())?;
    Ok(first)
}

fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    match text.trim() {
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

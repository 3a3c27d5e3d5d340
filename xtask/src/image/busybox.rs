// SPDX-License-Identifier: MIT OR Apache-2.0
//! Busybox for the guest: a shell and the usual tools.
//!
//! It is built from Debian's source with the C compiler of the target, because Debian has no packages for some of the
//! machines. The result stays in the cache.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::guest_files::{Content, GuestFile};
use crate::lock::{self, Hold};
use crate::setup::debian::source;
use crate::{files, guard};

/// Path of the program in the guest.
const PROGRAM: &str = "/bin/busybox";

/// Options of the configuration that differ from busybox's own default: a static program; no traffic control, which does
/// not compile with the headers of Linux 6.8 and newer; no instructions of x86 for SHA, which busybox 1.37 needs to
/// compile for other machines.
const OPTIONS: [(&str, &str); 5] = [
    ("CONFIG_STATIC", "y"),
    ("CONFIG_TC", "n"),
    ("CONFIG_FEATURE_TC_INGRESS", "n"),
    ("CONFIG_SHA1_HWACCEL", "n"),
    ("CONFIG_SHA256_HWACCEL", "n"),
];

/// Returns busybox and a link for each of its commands, built by the C compiler with the prefix `cross`. Downloads and
/// builds it first if the cache does not have it; `say` gets a line about that.
///
/// # Errors
/// The source cannot be downloaded, or the compiler fails. The error contains the messages.
pub(crate) fn with_links(
    cache: &Path,
    cross: &str,
    jobs: usize,
    say: &mut dyn FnMut(String),
) -> Result<Vec<GuestFile>> {
    let dir = cache.join("busybox");
    let built = dir.join(if cross.is_empty() { "host" } else { cross.trim_end_matches('-') });
    let waiting = "is building busybox";
    let _lock = lock::lock(&dir.join("lock"), Hold::Exclusive, waiting, &mut *say)?;
    if !built.join("busybox").is_file() {
        build(&dir, &built, cross, jobs, say).context("build busybox for the guest")?;
    }
    let program = GuestFile::program(PROGRAM.into(), files::read_bytes(&built.join("busybox"))?);
    let links = files::read(&built.join("busybox.links"))?;
    let links = links.lines().filter(|path| *path != PROGRAM);
    let link = |path: &str| GuestFile { path: path.into(), content: Content::Link(PROGRAM.into()) };
    Ok([program].into_iter().chain(links.map(link)).collect())
}

/// Builds busybox in `dir`, and moves the program and the list of its commands to the new directory `built`.
fn build(
    dir: &Path,
    built: &Path,
    cross: &str,
    jobs: usize,
    say: &mut dyn FnMut(String),
) -> Result<()> {
    let tree = unpacked_source(dir, say)?;
    say(format!("build busybox with {cross}gcc; the result stays in {}", dir.display()));
    let work = tempfile::tempdir_in(dir).with_context(|| format!("create {}", dir.display()))?;
    let make = |goals: &[&str]| -> Result<()> {
        let mut args = vec![
            "-s".to_owned(),
            format!("-j{jobs}"),
            "-C".into(),
            tree.display().to_string(),
            format!("O={}", work.path().display()),
            format!("CROSS_COMPILE={cross}"),
        ];
        args.extend(goals.iter().map(|goal| goal.to_string()));
        let command = guard::command("make", args).stdout_null().stderr_capture();
        let output = guard::run(&command)?;
        if !output.status.success() {
            let messages = String::from_utf8_lossy(&output.stderr);
            bail!("make {}: {}\n{}", goals.join(" "), output.status, messages.trim_end());
        }
        Ok(())
    };
    make(&["defconfig"])?;
    let config = work.path().join(".config");
    files::write(&config, configured(&files::read(&config)?))?;
    make(&["oldconfig"])?;
    make(&["busybox", "busybox.links"])?;
    let finished = work.path().join("finished");
    files::create_dir(&finished)?;
    for name in ["busybox", "busybox.links"] {
        let to = finished.join(name);
        fs::rename(work.path().join(name), &to)
            .with_context(|| format!("move {}", to.display()))?;
    }
    fs::rename(&finished, built).with_context(|| format!("move {}", built.display()))
}

/// Returns the directory of busybox's source in `dir`, and downloads it if necessary.
fn unpacked_source(dir: &Path, say: &mut dyn FnMut(String)) -> Result<PathBuf> {
    let tree = dir.join("source");
    if !tree.join("Makefile").is_file() {
        say("download Debian's source of busybox".into());
        source::fetch("busybox", &tree)?;
    }
    Ok(tree)
}

/// Returns the configuration with [`OPTIONS`].
fn configured(config: &str) -> String {
    let differs = |line: &&str| {
        let line = line.strip_prefix("# ").unwrap_or(line);
        let name = line.split([' ', '=']).next().unwrap_or(line);
        !OPTIONS.iter().any(|(option, _)| *option == name)
    };
    let kept = config.lines().filter(differs).map(|line| format!("{line}\n"));
    let set = OPTIONS.iter().map(|(name, value)| match *value {
        "n" => format!("# {name} is not set\n"),
        value => format!("{name}={value}\n"),
    });
    kept.chain(set).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_differs_only_in_our_options() {
        let config = "CONFIG_ASH=y\n# CONFIG_STATIC is not set\nCONFIG_STATIC_LIBGCC=y\nCONFIG_TC=y\n\
                      CONFIG_FEATURE_TC_INGRESS=y\n# CONFIG_PIE is not set\n";
        insta::assert_snapshot!(configured(config), @r"
        CONFIG_ASH=y
        CONFIG_STATIC_LIBGCC=y
        # CONFIG_PIE is not set
        CONFIG_STATIC=y
        # CONFIG_TC is not set
        # CONFIG_FEATURE_TC_INGRESS is not set
        # CONFIG_SHA1_HWACCEL is not set
        # CONFIG_SHA256_HWACCEL is not set
        ");
    }

    #[test]
    fn a_built_busybox_is_taken_from_the_cache_with_a_link_for_each_command() {
        let cache = tempfile::tempdir().unwrap();
        let built = cache.path().join("busybox/hppa-linux-gnu");
        fs::create_dir_all(&built).unwrap();
        fs::write(built.join("busybox"), "elf").unwrap();
        fs::write(built.join("busybox.links"), "/bin/busybox\n/bin/sh\n/usr/bin/awk\n").unwrap();
        let mut say = |line: String| panic!("{line}");
        let found = with_links(cache.path(), "hppa-linux-gnu-", 1, &mut say).unwrap();
        let link =
            |path: &str| GuestFile { path: path.into(), content: Content::Link(PROGRAM.into()) };
        let program = GuestFile::program(PROGRAM.into(), b"elf".to_vec());
        assert_eq!(found, [program, link("/bin/sh"), link("/usr/bin/awk")]);
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! A QEMU that can load the oracle. Where the one of the distribution is too old, the backports of the same release
//! have a newer one: it is installed like any other package, so that there is one QEMU for everything. Only apt's sources
//! are left alone: the archive is named to apt for these calls.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xshell::cmd;

use super::apt::Apt;
use super::package;
use crate::interrupt;
use crate::machine::qemu::Qemu;
use crate::oracle::Wanted;
use crate::program::Program;
use crate::program::find_program;
use crate::setup::packages::Distribution;
use crate::setup::{Host, SetupMode, agreed, lock, os_release, rights};
use crate::shell;
use crate::target::Target;

/// The release of Debian (VERSION_CODENAME of os-release(5)) whose QEMU is too old, and its archive with a newer one:
/// Debian 12 has 7.2, its backports have 10.0, and so has Debian 13.
const OLD: (&str, &str) = ("bookworm", "bookworm-backports");

/// What is taken from there, in the words of apt_preferences(5): QEMU, and the firmware that goes with it.
const FROM_THERE: &str = "src:qemu src:seabios src:opensbi";

/// Makes sure that the QEMU of each of `targets` can load the oracle, as far as this machine has one to offer: where
/// QEMU is missing, or is too old for a target on which the oracle is `wanted`. All else is not an error: the lab goes
/// on with the QEMU there is, or with the one that the release has.
///
/// # Errors
/// The lab was interrupted; a QEMU that is there cannot be run.
pub fn ensure(
    host: &Host,
    targets: &[&Target],
    wanted: Wanted,
    mode: SetupMode,
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    let lacking = Lacking::on(host, targets, wanted)?;
    let (codename, archive) = OLD;
    let here = os_release::debian_codename(&host.os_release) == Some(codename);
    if lacking.programs.is_empty() || !here {
        return Ok(());
    }
    if let Some(why) = &lacking.unwatched {
        say(why);
    }
    let packages = Distribution::Debian.packages(&lacking.programs);
    let command = format!("apt-get install -t {archive} {}", packages.join(" "));
    let ended = match mode {
        SetupMode::Forbidden if lacking.unwatched.is_none() => return Ok(()),
        SetupMode::Forbidden => Ok(Some("--no-setup forbids to install anything".to_owned())),
        SetupMode::Allowed => install(host, targets, wanted, &packages, say),
    };
    let why = match ended {
        Ok(None) => return Ok(()),
        Ok(Some(why)) => why,
        Err(error) if interrupt::requested() => return Err(error),
        Err(error) => format!("{error:#}"),
    };
    say(&format!("no newer QEMU: {}", why.trim_end()));
    say(&format!(
        "going on without it; `{command}`, with {archive} in apt's sources, brings one"
    ));
    Ok(())
}

/// Installs from the archive, or says why not.
fn install(
    host: &Host,
    targets: &[&Target],
    wanted: Wanted,
    packages: &[&str],
    say: &mut dyn FnMut(&str),
) -> Result<Option<String>> {
    let (_, archive) = OLD;
    let Some(apt_get) = find_program("apt-get", &host.path) else {
        return Ok(Some("there is no apt-get".into()));
    };
    // Those that are here already come along: QEMU's programs share their data.
    let mut packages: Vec<String> = packages.iter().map(|name| name.to_string()).collect();
    packages.extend(installed(host));
    packages.sort_unstable();
    packages.dedup();
    say(&format!(
        "apt-get will install from {archive}: {}",
        packages.join(" ")
    ));
    if host.terminal && !agreed(say)? {
        return Ok(Some("the answer was no".into()));
    }
    let Some(sudo) = rights(host)? else {
        let why = "installing needs root, or sudo that asks no password";
        return Ok(Some(why.into()));
    };
    let _lock = lock(host, say)?;
    // Whoever held the lock before may have installed it.
    if Lacking::on(host, targets, wanted)?.programs.is_empty() {
        return Ok(None);
    }
    let apt = Apt::new(apt_get.clone(), sudo, host.cache.join("setup.log"))?;
    let mirror = || package::mirror(&apt_get);
    let mirror = match mirror() {
        Ok(mirror) => mirror,
        // A new machine has no lists, and apt tells of no archive without.
        Err(_) => {
            apt.update(say)?;
            mirror()?
        }
    };
    let [sources, preferences] = settings(host, &mirror, archive)?;
    apt.reading(&sources, &preferences).renew(&packages, say)?;
    let still = Lacking::on(host, targets, wanted)?;
    if !still.programs.is_empty() {
        let why = still.unwatched.unwrap_or("QEMU is still missing".into());
        return Ok(Some(format!("apt-get succeeded, and yet {why}")));
    }
    say("installed");
    Ok(None)
}

/// What QEMUs there have to be.
struct Lacking {
    /// Those that are missing, or too old.
    programs: Vec<Program>,
    /// Why the oracle cannot watch, of the first target on which it is to.
    unwatched: Option<String>,
}

impl Lacking {
    fn on(host: &Host, targets: &[&Target], wanted: Wanted) -> Result<Self> {
        let mut lacking = Self {
            programs: Vec::new(),
            unwatched: None,
        };
        for target in targets {
            let own = |program: &&Program| program.program == target.qemu.binary;
            let Some(program) = target.programs.iter().find(own) else {
                continue;
            };
            let unfit = match program.find(&host.path) {
                None => None,
                Some(path) if wanted.wants(&target.cache) => match Qemu::ask(path)?.unfit() {
                    None => continue,
                    unfit => unfit,
                },
                Some(_) => continue,
            };
            if let (Some(why), None) = (unfit, &lacking.unwatched) {
                lacking.unwatched = Some(format!("the oracle cannot watch {}: {why}", target.name));
            }
            if !lacking.programs.contains(program) {
                lacking.programs.push(program.clone());
            }
        }
        Ok(lacking)
    }
}

/// The packages of QEMU's machines that are installed here.
fn installed(host: &Host) -> Vec<String> {
    let Some(query) = find_program("dpkg-query", &host.path) else {
        return Vec::new();
    };
    let format = "${db:Status-Abbrev} ${Package}\\n";
    // It complains where none is known, which is none.
    let text = shell::here()
        .and_then(|sh| shell::read(cmd!(sh, "{query} -W -f {format} qemu-system-*")))
        .unwrap_or_default();
    let names = text.lines().filter_map(|line| line.strip_prefix("ii "));
    names.map(|name| name.trim().to_owned()).collect()
}

/// Writes what apt is to read in place of /etc/apt/sources.list and /etc/apt/preferences: the same, and the archive.
fn settings(host: &Host, mirror: &str, archive: &str) -> Result<[PathBuf; 2]> {
    let keys = package::KEYS;
    let sources = format!("deb [signed-by={keys}] {mirror} {archive} main\n");
    // Not as apt-get's -t has it: that would take libraries from there as well, and what is to be compiled against the
    // release's own could not be installed any more.
    let preferences =
        format!("Package: {FROM_THERE}\nPin: release n={archive}\nPin-Priority: 990\n");
    // apt goes by the ending of the first.
    let files = [
        ("sources.list", "setup.list", sources),
        ("preferences", "setup.preferences", preferences),
    ];
    let [sources, preferences] = files.map(|(of_apt, ours, more)| {
        let own = fs::read_to_string(Path::new("/etc/apt").join(of_apt)).unwrap_or_default();
        let path = host.cache.join(ours);
        fs::write(&path, format!("{own}\n{more}"))
            .with_context(|| format!("write {}", path.display()))?;
        Ok::<_, anyhow::Error>(path)
    });
    Ok([sources?, preferences?])
}

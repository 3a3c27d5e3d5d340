// SPDX-License-Identifier: MIT OR Apache-2.0
//! Installs a QEMU that can load the oracle, from the backports of Debian 12, whose own QEMU is too old.
//!
//! This QEMU is installed like any other package, so that the machine has one QEMU for all purposes. The user's
//! sources.list does not change: apt gets the archive for these calls only.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use xshell::cmd;

use super::apt::Apt;
use super::package;
use crate::files;
use crate::interrupt;
use crate::machine::qemu::Qemu;
use crate::oracle::OracleRequest;
use crate::program::{Program, find_program};
use crate::setup::packages::Distribution;
use crate::setup::{Host, SetupMode, ask_user, lock, os_release, rights};
use crate::shell;
use crate::target::Target;

/// Release of Debian (VERSION_CODENAME in os-release(5)) with a QEMU that is too old, and the archive with a newer one.
/// Debian 12 has QEMU 7.2; its backports and Debian 13 have 10.0.
const OLD: (&str, &str) = ("bookworm", "bookworm-backports");

/// Packages to take from that archive, in the syntax of apt_preferences(5): QEMU and its firmware.
const BACKPORTED: &str = "src:qemu src:seabios src:opensbi";

/// Installs a newer QEMU for each target whose QEMU is missing, or too old for the requested use of the oracle
/// (`wanted`). Does so only on the release in [`OLD`].
///
/// A failed installation is not an error: the lab continues with the installed QEMU, or installs the release's own.
///
/// # Errors
/// The lab was interrupted, or an installed QEMU cannot be run.
pub fn ensure(
    host: &Host,
    targets: &[&Target],
    wanted: OracleRequest,
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
    let result = match mode {
        SetupMode::Forbidden if lacking.unwatched.is_none() => return Ok(()),
        SetupMode::Forbidden => Ok(Some("--no-setup forbids installing anything".to_owned())),
        SetupMode::Allowed => install(host, targets, wanted, &packages, say),
    };
    let why = match result {
        Ok(None) => return Ok(()),
        Ok(Some(why)) => why,
        Err(error) if interrupt::requested() => return Err(error),
        Err(error) => format!("{error:#}"),
    };
    say(&format!("no newer QEMU installed: {}", why.trim_end()));
    say(&format!(
        "continuing without a newer QEMU; to install one, add {archive} to apt's sources and run `{command}`"
    ));
    Ok(())
}

/// Installs `packages` from the archive. Returns the reason if it could not install a QEMU that is new enough.
fn install(
    host: &Host,
    targets: &[&Target],
    wanted: OracleRequest,
    packages: &[&str],
    say: &mut dyn FnMut(&str),
) -> Result<Option<String>> {
    let (_, archive) = OLD;
    let Some(apt_get) = find_program("apt-get", &host.path) else {
        return Ok(Some("apt-get is missing".into()));
    };
    // Other installed packages of QEMU must be upgraded as well, because all of them share the same data files.
    let mut packages: Vec<String> = packages.iter().map(|name| name.to_string()).collect();
    packages.extend(installed(host));
    packages.sort_unstable();
    packages.dedup();
    say(&format!("apt-get will install from {archive}: {}", packages.join(" ")));
    if host.terminal && !ask_user(say)? {
        return Ok(Some("you declined the installation".into()));
    }
    let Some(sudo) = rights(host)? else {
        return Ok(Some("installing packages needs root, or sudo without a password".into()));
    };
    let _lock = lock(host, say)?;
    // The previous holder of the lock may have installed it.
    if Lacking::on(host, targets, wanted)?.programs.is_empty() {
        return Ok(None);
    }
    let apt = Apt::new(apt_get.clone(), sudo, host.cache.join("setup.log"))?;
    let mirror = || package::mirror(&apt_get);
    let mirror = match mirror() {
        Ok(mirror) => mirror,
        // A new machine has no package lists, and without them apt reports no mirror.
        Err(_) => {
            apt.update(say)?;
            mirror()?
        }
    };
    let [sources, preferences] = settings(host, &mirror, archive)?;
    apt.reading(&sources, &preferences).upgrade(&packages, say)?;
    let still = Lacking::on(host, targets, wanted)?;
    if !still.programs.is_empty() {
        let why = still.unwatched.unwrap_or("QEMU is still missing".into());
        return Ok(Some(format!("apt-get succeeded, but {why}")));
    }
    say("installed");
    Ok(None)
}

/// QEMU programs to install.
struct Lacking {
    /// Programs that are missing or too old.
    programs: Vec<Program>,
    /// Reason why a target cannot run under the oracle, for the first such target.
    unwatched: Option<String>,
}

impl Lacking {
    fn on(host: &Host, targets: &[&Target], wanted: OracleRequest) -> Result<Self> {
        let mut lacking = Self { programs: Vec::new(), unwatched: None };
        for target in targets {
            let own = |program: &&Program| program.program == target.qemu.binary;
            let Some(program) = target.programs.iter().find(own) else {
                continue;
            };
            let unfit = match program.find(&host.path) {
                None => None,
                Some(path) if wanted.includes(&target.cache) => match Qemu::ask(path)?.unfit() {
                    None => continue,
                    unfit => unfit,
                },
                Some(_) => continue,
            };
            if let (Some(why), None) = (unfit, &lacking.unwatched) {
                lacking.unwatched =
                    Some(format!("{} cannot run under the oracle: {why}", target.name));
            }
            if !lacking.programs.contains(program) {
                lacking.programs.push(program.clone());
            }
        }
        Ok(lacking)
    }
}

/// Returns the installed packages that contain a QEMU program.
fn installed(host: &Host) -> Vec<String> {
    let Some(query) = find_program("dpkg-query", &host.path) else {
        return Vec::new();
    };
    let format = "${db:Status-Abbrev} ${Package}\\n";
    // dpkg-query fails if it knows no such package; then none is installed.
    let text = shell::here()
        .and_then(|sh| shell::read(cmd!(sh, "{query} -W -f {format} qemu-system-*")))
        .unwrap_or_default();
    let names = text.lines().filter_map(|line| line.strip_prefix("ii "));
    names.map(|name| name.trim().to_owned()).collect()
}

/// Writes the files that apt reads instead of /etc/apt/sources.list and /etc/apt/preferences. Each has the lines of the
/// original file, followed by those for the archive.
fn settings(host: &Host, mirror: &str, archive: &str) -> Result<[PathBuf; 2]> {
    let keys = package::KEYS;
    let sources = format!("deb [signed-by={keys}] {mirror} {archive} main\n");
    // apt-get's option -t would also take libraries from the archive. Then the release's development packages, which
    // need the release's own libraries, could no longer be installed.
    let preferences =
        format!("Package: {BACKPORTED}\nPin: release n={archive}\nPin-Priority: 990\n");
    // apt determines the format of the first file from its extension.
    let files = [
        ("sources.list", "setup.list", sources),
        ("preferences", "setup.preferences", preferences),
    ];
    let [sources, preferences] = files.map(|(of_apt, ours, added)| {
        let existing = fs::read_to_string(Path::new("/etc/apt").join(of_apt)).unwrap_or_default();
        let path = host.cache.join(ours);
        files::write(&path, format!("{existing}\n{added}"))?;
        Ok::<_, anyhow::Error>(path)
    });
    Ok([sources?, preferences?])
}

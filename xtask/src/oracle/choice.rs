// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether a target runs under the oracle, and if not, why not.

use anyhow::{Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::machine::accel::Accel;
use crate::machine::qemu::Qemu;
use crate::target::{CacheSpec, Target};

/// Why it does not watch where nobody wants it.
pub(crate) const NOT_WANTED: &str = "not wanted";

/// Why it does not watch where there is nothing to see.
pub(crate) const NO_ALIASES: &str = "data caches do not alias";

/// Whether to run under the oracle, as asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OracleMode {
    /// Under it, or not at all, where caches alias.
    On,
    /// Without it.
    Off,
    /// Under it where caches alias and QEMU has the interface for it.
    Auto,
}

impl OracleMode {
    /// As on the command line.
    pub fn word(self) -> &'static str {
        match self {
            OracleMode::On => "on",
            OracleMode::Off => "off",
            OracleMode::Auto => "auto",
        }
    }
}

/// Whose accesses the oracle models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Depth {
    /// Those of processes.
    User,
    /// The kernel's as well, and what it does to the cache.
    Full,
}

impl Depth {
    /// As on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Depth::User => "user",
            Depth::Full => "full",
        }
    }
}

/// What a person asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OracleRequest {
    /// Whether.
    pub wish: OracleMode,
    /// How deep.
    pub depth: Depth,
    /// Whether it is to be deaf to one of the ways in which the kernel flushes: a trial of [`crate::trials`].
    pub deaf: bool,
}

impl OracleRequest {
    /// Without it.
    pub const OFF: Self = Self {
        wish: OracleMode::Off,
        depth: Depth::User,
        deaf: false,
    };

    /// Whether it is wanted for a machine with this cache.
    pub fn wants(self, cache: &CacheSpec) -> bool {
        self.wish != OracleMode::Off && cache.aliases()
    }

    /// What deadlines are multiplied by on a machine with this cache, if the oracle comes to watch it: a whole guest
    /// took up to twice as long with the accesses of processes modelled, and up to four times with all.
    pub fn time(self, cache: &CacheSpec) -> f64 {
        match (self.wants(cache), self.depth) {
            (false, _) => 1.0,
            (true, Depth::User) => 2.0,
            (true, Depth::Full) => 4.0,
        }
    }
}

/// How a target runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OracleDecision {
    /// Under the oracle.
    On(Depth),
    /// Without it, for this reason.
    Off(String),
}

/// Chooses for `target`, whose QEMU is `qemu`.
///
/// # Errors
/// It was asked for by name, the target's cache aliases, and yet it cannot be: says what to do.
pub(crate) fn choose(
    wanted: OracleRequest,
    target: &Target,
    accel: Accel,
    qemu: &Qemu,
) -> Result<OracleDecision> {
    let cache = &target.cache;
    if wanted.wish == OracleMode::Off {
        return Ok(OracleDecision::Off(NOT_WANTED.into()));
    }
    if !cache.aliases() {
        return Ok(OracleDecision::Off(NO_ALIASES.into()));
    }
    match obstacle(target, accel, qemu) {
        None => Ok(OracleDecision::On(wanted.depth)),
        Some((why, _)) if wanted.wish == OracleMode::Auto => Ok(OracleDecision::Off(why)),
        Some((why, advice)) => bail!(
            "--oracle on: {} cannot run under the oracle: {why}; {advice}",
            target.name
        ),
    }
}

/// What keeps the oracle from watching a target whose cache aliases, and what to do about it.
fn obstacle(target: &Target, accel: Accel, qemu: &Qemu) -> Option<(String, String)> {
    if target.cache.model.is_none() {
        let why = "it has no model of this machine".into();
        let file = format!("kernel-configs/{}.yaml", target.name);
        return Some((
            why,
            format!("`model` is missing in `cache` of {file}, see docs/adding-a-target.md"),
        ));
    }
    if accel == Accel::Kvm {
        let why = "under KVM nobody sees what the guest does".into();
        return Some((why, "leave out --accel kvm".into()));
    }
    let why = qemu.unfit()?;
    Some((
        why,
        "on Debian 12 set-up offers a newer QEMU (leave out --no-setup); elsewhere put one first in PATH".into(),
    ))
}

/// Sees, before anything is started, that `--oracle on` is not in vain for `targets`; `ask` asks the QEMU of a name.
///
/// # Errors
/// As [`choose`]; or no cache of `targets` aliases, so that there is nothing to see.
pub(crate) fn check(
    wanted: OracleRequest,
    targets: &[Target],
    accel: Accel,
    ask: impl Fn(&str) -> Result<Qemu>,
) -> Result<()> {
    if wanted.wish != OracleMode::On {
        return Ok(());
    }
    if !targets.iter().any(|target| target.cache.aliases()) {
        bail!(
            "--oracle on: on none of these targets do data caches alias, so there is nothing for it to see; \
             choose one that does (--arch aliasing) or leave --oracle out"
        );
    }
    for target in targets.iter().filter(|target| target.cache.aliases()) {
        choose(wanted, target, accel, &ask(&target.qemu.binary)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{Arch, CacheKind, ModelSpec, WritePolicy};

    fn aliasing() -> Target {
        let mut target = crate::target::tests::x86_64();
        target.name = "armv6".into();
        target.cache.kind = CacheKind::Vipt;
        target.cache.period = 16384;
        target.cache.model = Some(ModelSpec {
            arch: Arch::Arm,
            page: 4096,
            write: WritePolicy::Back,
        });
        target
    }

    fn qemu(version: &str, plugins: bool) -> Qemu {
        Qemu {
            version: version.into(),
            plugins,
        }
    }

    fn wanted(wish: OracleMode) -> OracleRequest {
        let depth = Depth::User;
        OracleRequest {
            wish,
            depth,
            deaf: false,
        }
    }

    fn off(wish: OracleMode, target: &Target, accel: Accel, qemu: &Qemu) -> String {
        match choose(wanted(wish), target, accel, qemu) {
            Ok(OracleDecision::On(_)) => "on".into(),
            Ok(OracleDecision::Off(why)) => why,
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn it_watches_where_caches_alias_and_qemu_is_new_enough() {
        let new = qemu("10.0.2", true);
        let full = OracleRequest {
            wish: OracleMode::Auto,
            depth: Depth::Full,
            deaf: false,
        };
        let choice = choose(full, &aliasing(), Accel::Auto, &new).unwrap();
        assert_eq!(choice, OracleDecision::On(Depth::Full));
        let x86_64 = crate::target::tests::x86_64();
        let off = |wish, target: &Target| off(wish, target, Accel::Auto, &new);
        assert_eq!(off(OracleMode::Auto, &x86_64), "data caches do not alias");
        assert_eq!(off(OracleMode::On, &x86_64), "data caches do not alias");
        assert_eq!(off(OracleMode::Off, &aliasing()), "not wanted");
        assert_eq!(off(OracleMode::On, &aliasing()), "on");
    }

    #[test]
    fn what_cannot_be_is_said_and_an_error_only_for_who_insists() {
        let (new, old) = (qemu("10.0.2", true), qemu("7.2.22", true));
        let mut unknown = aliasing();
        unknown.cache.model = None;
        let all = |wish| {
            [
                off(wish, &aliasing(), Accel::Auto, &old),
                off(wish, &aliasing(), Accel::Auto, &qemu("10.0.2", false)),
                off(wish, &aliasing(), Accel::Kvm, &new),
                off(wish, &unknown, Accel::Auto, &new),
            ]
            .join("\n")
        };
        insta::assert_snapshot!(all(OracleMode::Auto), @"
        QEMU 7.2.22 is too old; the oracle needs 9.2 or newer
        QEMU 10.0.2 was built without plugin support
        under KVM nobody sees what the guest does
        it has no model of this machine
        ");
        insta::assert_snapshot!(all(OracleMode::On), @"
        --oracle on: armv6 cannot run under the oracle: QEMU 7.2.22 is too old; the oracle needs 9.2 or newer; on Debian 12 set-up offers a newer QEMU (leave out --no-setup); elsewhere put one first in PATH
        --oracle on: armv6 cannot run under the oracle: QEMU 10.0.2 was built without plugin support; on Debian 12 set-up offers a newer QEMU (leave out --no-setup); elsewhere put one first in PATH
        --oracle on: armv6 cannot run under the oracle: under KVM nobody sees what the guest does; leave out --accel kvm
        --oracle on: armv6 cannot run under the oracle: it has no model of this machine; `model` is missing in `cache` of kernel-configs/armv6.yaml, see docs/adding-a-target.md
        ");
    }

    #[test]
    fn insisting_is_in_vain_where_nothing_aliases() {
        let x86_64 = crate::target::tests::x86_64();
        let check = |wish, targets: &[Target]| {
            let ask = |_: &str| Ok(qemu("7.2.22", true));
            check(wanted(wish), targets, Accel::Auto, ask).map_err(|error| error.to_string())
        };
        insta::assert_snapshot!(check(OracleMode::On, std::slice::from_ref(&x86_64)).unwrap_err(), @"--oracle on: on none of these targets do data caches alias, so there is nothing for it to see; choose one that does (--arch aliasing) or leave --oracle out");
        // One that aliases suffices, and is then looked at.
        let error = check(OracleMode::On, &[x86_64.clone(), aliasing()]).unwrap_err();
        assert!(
            error.contains("armv6 cannot run under the oracle"),
            "{error}"
        );
        assert_eq!(check(OracleMode::Auto, &[x86_64, aliasing()]), Ok(()));
    }

    #[test]
    fn deadlines_grow_only_where_it_may_watch() {
        let x86_64 = crate::target::tests::x86_64();
        let full = OracleRequest {
            wish: OracleMode::Auto,
            depth: Depth::Full,
            deaf: false,
        };
        assert_eq!(full.time(&x86_64.cache), 1.0);
        assert_eq!(full.time(&aliasing().cache), 4.0);
        assert_eq!(wanted(OracleMode::Auto).time(&aliasing().cache), 2.0);
        assert_eq!(OracleRequest::OFF.time(&aliasing().cache), 1.0);
    }
}

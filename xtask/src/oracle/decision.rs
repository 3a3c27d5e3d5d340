// SPDX-License-Identifier: MIT OR Apache-2.0
//! Decides if a target runs under the oracle.

use anyhow::{Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::machine::accel::Accel;
use crate::machine::qemu::Qemu;
use crate::target::{CacheSpec, Target};

/// Reason shown if the run does not use the oracle, as with `--oracle off`.
pub(crate) const NOT_REQUESTED: &str = "not requested";

/// Reason shown for a target on which the oracle could find nothing.
pub(crate) const NO_ALIASES: &str = "data caches do not alias";

/// Use of the oracle, as selected with `--oracle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OracleMode {
    /// Use the oracle on targets whose caches alias. If it cannot run there, stop with an error.
    On,
    /// Do not use the oracle.
    Off,
    /// Use the oracle on targets whose caches alias, if it can run there.
    Auto,
}

/// Accesses that the oracle models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Depth {
    /// Accesses of processes.
    User,
    /// Accesses of processes and of the kernel, and the kernel's cache maintenance.
    Full,
    /// As full, but a flush of the whole cache on behalf of a process counts only for what that process used.
    Strict,
}

/// Use of the oracle that was requested for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OracleRequest {
    /// Value of `--oracle`.
    pub mode: OracleMode,
    /// Value of `--oracle-depth`: the accesses to model.
    pub depth: Depth,
    /// True if the oracle must ignore the kernel's flushes of single lines and pages, for a trial of [`crate::trials`].
    pub ignore_flushes: bool,
}

impl OracleRequest {
    /// A run without the oracle.
    pub const OFF: Self = Self { mode: OracleMode::Off, depth: Depth::User, ignore_flushes: false };

    /// Returns true if the request includes machines with this cache.
    pub(crate) fn includes(self, cache: &CacheSpec) -> bool {
        self.mode != OracleMode::Off && cache.aliases()
    }

    /// Returns the factor for deadlines on a machine with this cache. A whole guest took up to twice as long at depth
    /// `user`, and up to four times as long at depth `full`.
    pub(crate) fn time_factor(self, cache: &CacheSpec) -> f64 {
        match (self.includes(cache), self.depth) {
            (false, _) => 1.0,
            (true, Depth::User) => 2.0,
            (true, Depth::Full | Depth::Strict) => 4.0,
        }
    }
}

/// Decision for one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OracleDecision {
    /// The target runs under the oracle.
    On(Depth),
    /// The target runs without the oracle. Holds the reason.
    Off(String),
}

/// Decides if `target`, whose QEMU is `qemu`, runs under the oracle.
///
/// # Errors
/// The request is `--oracle on` and the target's cache aliases, but the oracle cannot run. The error contains the
/// remedy.
pub(crate) fn decide(
    request: OracleRequest,
    target: &Target,
    accel: Accel,
    qemu: &Qemu,
) -> Result<OracleDecision> {
    let cache = &target.cache;
    if request.mode == OracleMode::Off {
        return Ok(OracleDecision::Off(NOT_REQUESTED.into()));
    }
    if !cache.aliases() {
        return Ok(OracleDecision::Off(NO_ALIASES.into()));
    }
    match obstacle(target, accel, qemu) {
        None => Ok(OracleDecision::On(request.depth)),
        Some((reason, _)) if request.mode == OracleMode::Auto => Ok(OracleDecision::Off(reason)),
        Some((reason, remedy)) => {
            bail!("--oracle on: {} cannot run under the oracle: {reason}; {remedy}", target.name)
        }
    }
}

/// Returns the reason why the oracle cannot run on a target whose cache aliases, and the remedy.
fn obstacle(target: &Target, accel: Accel, qemu: &Qemu) -> Option<(String, String)> {
    if target.cache.model.is_none() {
        let file = format!("kernel-configs/{}.yaml", target.name);
        return Some((
            "the target defines no cache model".into(),
            format!("add `model` to `cache` in {file}, see docs/adding-a-target.md"),
        ));
    }
    if accel == Accel::Kvm {
        let reason = "QEMU plugins do not work under KVM".into();
        return Some((reason, "leave out --accel kvm".into()));
    }
    Some((qemu.unfit()?, qemu.remedy().into()))
}

/// Checks, before the run starts, that the oracle can run on `targets` if `--oracle on` requires it. `ask` returns the
/// properties of the QEMU with a given name.
///
/// # Errors
/// As [`decide`], or no target has a data cache that aliases.
pub(crate) fn check(
    request: OracleRequest,
    targets: &[Target],
    accel: Accel,
    ask: impl Fn(&str) -> Result<Qemu>,
) -> Result<()> {
    if request.mode != OracleMode::On {
        return Ok(());
    }
    if !targets.iter().any(|target| target.cache.aliases()) {
        bail!(
            "--oracle on: none of the selected targets has data caches that alias; \
             select one that does (--arch aliasing), or leave out --oracle on"
        );
    }
    for target in targets.iter().filter(|target| target.cache.aliases()) {
        decide(request, target, accel, &ask(&target.qemu.binary)?)?;
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
        target.cache.model =
            Some(ModelSpec { arch: Arch::Arm, page: 4096, write: WritePolicy::Back });
        target
    }

    fn qemu(version: &str, plugins: bool) -> Qemu {
        Qemu { version: version.into(), plugins, loads: None }
    }

    fn request(mode: OracleMode) -> OracleRequest {
        let depth = Depth::User;
        OracleRequest { mode, depth, ignore_flushes: false }
    }

    fn off(mode: OracleMode, target: &Target, accel: Accel, qemu: &Qemu) -> String {
        match decide(request(mode), target, accel, qemu) {
            Ok(OracleDecision::On(_)) => "on".into(),
            Ok(OracleDecision::Off(why)) => why,
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_oracle_runs_where_caches_alias_and_qemu_is_new_enough() {
        let new = qemu("10.0.2", true);
        let full =
            OracleRequest { mode: OracleMode::Auto, depth: Depth::Full, ignore_flushes: false };
        let decision = decide(full, &aliasing(), Accel::Auto, &new).unwrap();
        assert_eq!(decision, OracleDecision::On(Depth::Full));
        let x86_64 = crate::target::tests::x86_64();
        let off = |mode, target: &Target| off(mode, target, Accel::Auto, &new);
        assert_eq!(off(OracleMode::Auto, &x86_64), "data caches do not alias");
        assert_eq!(off(OracleMode::On, &x86_64), "data caches do not alias");
        assert_eq!(off(OracleMode::Off, &aliasing()), "not requested");
        assert_eq!(off(OracleMode::On, &aliasing()), "on");
    }

    #[test]
    fn an_obstacle_is_a_reason_with_auto_and_an_error_with_on() {
        let (new, old) = (qemu("10.0.2", true), qemu("7.2.22", true));
        let mut unknown = aliasing();
        unknown.cache.model = None;
        let all = |mode| {
            [
                off(mode, &aliasing(), Accel::Auto, &old),
                off(mode, &aliasing(), Accel::Auto, &qemu("10.0.2", false)),
                off(mode, &aliasing(), Accel::Kvm, &new),
                off(mode, &unknown, Accel::Auto, &new),
            ]
            .join("\n")
        };
        insta::assert_snapshot!(all(OracleMode::Auto), @"
        QEMU 7.2.22 is too old; the oracle needs 9.2 or newer
        QEMU 10.0.2 was built without plugin support
        QEMU plugins do not work under KVM
        the target defines no cache model
        ");
        insta::assert_snapshot!(all(OracleMode::On), @"
        --oracle on: armv6 cannot run under the oracle: QEMU 7.2.22 is too old; the oracle needs 9.2 or newer; on Debian 12, leave out --no-setup and accept the newer QEMU; elsewhere, put a newer QEMU first in PATH
        --oracle on: armv6 cannot run under the oracle: QEMU 10.0.2 was built without plugin support; on Debian 12, leave out --no-setup and accept the newer QEMU; elsewhere, put a newer QEMU first in PATH
        --oracle on: armv6 cannot run under the oracle: QEMU plugins do not work under KVM; leave out --accel kvm
        --oracle on: armv6 cannot run under the oracle: the target defines no cache model; add `model` to `cache` in kernel-configs/armv6.yaml, see docs/adding-a-target.md
        ");
    }

    #[test]
    fn a_qemu_with_an_unknown_plugin_interface_is_rejected_before_anything_is_built() {
        let newer = Qemu { loads: Some(8..=8), ..qemu("12.0.0", true) };
        let targets = [aliasing()];
        let check = |mode| check(request(mode), &targets, Accel::Auto, |_| Ok(newer.clone()));
        assert!(check(OracleMode::Auto).is_ok());
        insta::assert_snapshot!(check(OracleMode::On).unwrap_err(), @"--oracle on: armv6 cannot run under the oracle: QEMU 12.0.0 loads plugins of interface versions 8 to 8, but the oracle is written for 4 and 7; put another QEMU first in PATH, from 9.2 on, such as that of Debian 13; or add the new interface to oracle/src/sys/api.rs and xtask/src/machine/plugin_api.rs");
    }

    #[test]
    fn oracle_on_needs_a_target_whose_caches_alias() {
        let x86_64 = crate::target::tests::x86_64();
        let check = |mode, targets: &[Target]| {
            let ask = |_: &str| Ok(qemu("7.2.22", true));
            check(request(mode), targets, Accel::Auto, ask).map_err(|error| error.to_string())
        };
        insta::assert_snapshot!(check(OracleMode::On, std::slice::from_ref(&x86_64)).unwrap_err(), @"--oracle on: none of the selected targets has data caches that alias; select one that does (--arch aliasing), or leave out --oracle on");
        // One target that aliases suffices, and its QEMU is checked.
        let error = check(OracleMode::On, &[x86_64.clone(), aliasing()]).unwrap_err();
        assert!(error.contains("armv6 cannot run under the oracle"), "{error}");
        assert_eq!(check(OracleMode::Auto, &[x86_64, aliasing()]), Ok(()));
    }

    #[test]
    fn deadlines_grow_only_where_the_oracle_may_run() {
        let x86_64 = crate::target::tests::x86_64();
        let full =
            OracleRequest { mode: OracleMode::Auto, depth: Depth::Full, ignore_flushes: false };
        assert_eq!(full.time_factor(&x86_64.cache), 1.0);
        assert_eq!(full.time_factor(&aliasing().cache), 4.0);
        assert_eq!(request(OracleMode::Auto).time_factor(&aliasing().cache), 2.0);
        assert_eq!(OracleRequest::OFF.time_factor(&aliasing().cache), 1.0);
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reports what this machine lacks for targets other than the default one.

use anyhow::Result;
use serde::Serialize;

use super::Host;
use super::debian::std_source::{self, Toolchain};
use super::packages::needed;
use crate::machine::qemu::Qemu;
use crate::program::find_program;
use crate::target::Target;
use crate::text::columns::columns;

/// A target, and what this machine lacks for it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct OtherTarget {
    /// Name of the target.
    pub name: String,
    /// Names of the missing programs.
    pub missing: Vec<String>,
    /// Reason why the target cannot run under the oracle; `None` if it can, or if its caches do not alias.
    pub unwatched: Option<String>,
}

/// Returns what this machine lacks for each of `targets`.
///
/// # Errors
/// The list of programs does not parse, or rustc is missing.
pub(crate) fn examine(host: &Host, targets: &[&Target]) -> Result<Vec<OtherTarget>> {
    let toolchain = Toolchain::find()?;
    let source = toolchain.std_source(&host.cache).is_some();
    let other = |target: &&Target| -> Result<OtherTarget> {
        let absent = host.missing(&needed(&[target], true)?);
        let mut missing: Vec<_> = absent.into_iter().map(|program| program.program).collect();
        if !source && std_source::is_needed(&toolchain, &target.rust) {
            missing.push("rust-src".into());
        }
        Ok(OtherTarget { name: target.name.clone(), missing, unwatched: unwatched(host, target)? })
    };
    targets.iter().map(other).collect()
}

/// Returns the reason why `target` cannot run under the oracle. Returns `None` if it can, if its caches do not alias, or
/// if its QEMU is missing.
fn unwatched(host: &Host, target: &Target) -> Result<Option<String>> {
    match find_program(&target.qemu.binary, &host.path) {
        Some(path) if target.cache.aliases() => Ok(Qemu::ask(path)?.unfit()),
        _ => Ok(None),
    }
}

/// Formats a table with one line per target.
pub(crate) fn text(others: &[OtherTarget]) -> String {
    let rows: Vec<[String; 2]> = others
        .iter()
        .map(|other| {
            let state = match (other.missing.as_slice(), &other.unwatched) {
                ([], None) => "ready".into(),
                ([], Some(why)) => format!("ready, but without the oracle: {why}"),
                (missing, _) => format!("missing: {}", missing.join(", ")),
            };
            [other.name.clone(), state]
        })
        .collect();
    columns(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_what_is_missing() {
        let other = |name: &str, missing: &[&str]| OtherTarget {
            name: name.into(),
            missing: missing.iter().map(|name| name.to_string()).collect(),
            unwatched: None,
        };
        let old =
            OtherTarget { unwatched: Some("QEMU 7.2.22 is too old".into()), ..other("armv6", &[]) };
        let others =
            [other("arm64", &[]), old, other("parisc", &["hppa-linux-gnu-gcc", "rust-src"])];
        insta::assert_snapshot!(text(&others), @"
        arm64   ready
        armv6   ready, but without the oracle: QEMU 7.2.22 is too old
        parisc  missing: hppa-linux-gnu-gcc, rust-src
        ");
    }
}

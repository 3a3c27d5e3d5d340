// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the machine lacks for the targets beside the one that runs when none is named.

use anyhow::Result;
use serde::Serialize;

use super::packages::needed;
use super::std_source::{self, Toolchain};
use super::{Host, table::columns};
use crate::target::Target;

/// A target and what it lacks here.
#[derive(Clone, Debug, Serialize)]
pub struct Other {
    /// Its name.
    pub name: String,
    /// What is missing, by name.
    pub missing: Vec<String>,
}

/// Looks what `targets` lack, each by itself.
///
/// # Errors
/// The list of programs does not parse; there is no rustc.
pub fn look(host: &Host, targets: &[&Target]) -> Result<Vec<Other>> {
    let toolchain = Toolchain::find()?;
    let source = toolchain.std_source(&host.cache).is_some();
    let lacks = |target: &&Target| -> Result<Other> {
        let absent = host.missing(&needed(&[target], true)?);
        let mut missing: Vec<_> = absent.into_iter().map(|program| program.program).collect();
        if !source && std_source::is_needed(&toolchain, &target.rust) {
            missing.push("rust-src".into());
        }
        let name = target.name.clone();
        Ok(Other { name, missing })
    };
    targets.iter().map(lacks).collect()
}

/// A line for each.
pub fn text(others: &[Other]) -> String {
    let rows: Vec<[String; 2]> = others
        .iter()
        .map(|other| {
            let state = match other.missing.as_slice() {
                [] => "ready".into(),
                missing => format!("lacks {}", missing.join(", ")),
            };
            [other.name.clone(), state]
        })
        .collect();
    let rows: Vec<[&str; 2]> = rows
        .iter()
        .map(|row| row.each_ref().map(String::as_str))
        .collect();
    columns(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_missing() {
        let other = |name: &str, missing: &[&str]| Other {
            name: name.into(),
            missing: missing.iter().map(|name| name.to_string()).collect(),
        };
        let others = [
            other("arm64", &[]),
            other("parisc", &["hppa-linux-gnu-gcc", "rust-src"]),
        ];
        insta::assert_snapshot!(text(&others), @"
        arm64   ready
        parisc  lacks hppa-linux-gnu-gcc, rust-src
        ");
    }
}

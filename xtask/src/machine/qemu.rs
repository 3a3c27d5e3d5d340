// SPDX-License-Identifier: MIT OR Apache-2.0
//! Capabilities of a QEMU program, as it reports them.

use std::ops::RangeInclusive;
use std::path::Path;

use anyhow::Result;
use xshell::cmd;

use super::plugin_api::{self, PluginApi};
use crate::shell;
use crate::version::number_in;

/// First version of QEMU with version 4 of the plugin interface (QEMU_PLUGIN_VERSION in include/qemu/qemu-plugin.h),
/// which the oracle uses.
pub(crate) const FIRST: (u32, u32) = (9, 2);

/// First version of QEMU that must be asked which plugins it loads. Older versions, from [`FIRST`] on, load plugins of
/// version 4.
const ASKED: (u32, u32) = (11, 0);

/// Version and capabilities of a QEMU program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Qemu {
    /// Version, such as `10.0.2`; empty if unknown.
    pub version: String,
    /// True if it can load plugins.
    pub plugins: bool,
    /// Versions of the plugin interface that it reports. `None` if it reports none, or was not asked.
    pub loads: Option<RangeInclusive<u32>>,
}

impl Qemu {
    /// Runs `program`, a name in `PATH` or a path, to get its version and options.
    ///
    /// # Errors
    /// The program cannot be run.
    pub(crate) fn ask(program: impl AsRef<Path>) -> Result<Self> {
        let program = program.as_ref();
        let sh = shell::here()?;
        let version = shell::read(cmd!(sh, "{program} --version"))?;
        let help = shell::read(cmd!(sh, "{program} --help"))?;
        let qemu = Self::parse(&version, &help);
        let loads = match qemu.plugins && qemu.number() >= ASKED {
            // Without a C compiler, cargo could not build the oracle either, and reports that better.
            true => plugin_api::ask(program).unwrap_or(None),
            false => None,
        };
        Ok(Self { loads, ..qemu })
    }

    /// Parses the output of `--version` and `--help`.
    fn parse(version: &str, help: &str) -> Self {
        Self {
            version: number_in(version).unwrap_or_default(),
            // qemu-options.hx lists the option only if CONFIG_PLUGIN is set.
            plugins: help.lines().any(|line| line.starts_with("-plugin ")),
            loads: None,
        }
    }

    /// Returns the reason why this QEMU cannot load the oracle, or `None` if it can.
    pub(crate) fn unfit(&self) -> Option<String> {
        self.plugin_api().err()
    }

    /// Returns the version of the plugin interface for which the oracle must be built.
    ///
    /// # Errors
    /// This QEMU cannot load the oracle. The error is the reason.
    pub(crate) fn plugin_api(&self) -> Result<PluginApi, String> {
        let (major, minor) = FIRST;
        let version = match self.version.as_str() {
            "" => "of unknown version",
            version => version,
        };
        if self.number() < FIRST {
            return Err(format!(
                "QEMU {version} is too old; the oracle needs {major}.{minor} or newer"
            ));
        }
        if !self.plugins {
            return Err(format!("QEMU {version} was built without plugin support"));
        }
        if self.number() < ASKED {
            return Ok(PluginApi::V4);
        }
        let Some(loads) = &self.loads else {
            return Err(format!("QEMU {version} does not report which plugins it loads"));
        };
        PluginApi::among(loads).ok_or_else(|| {
            let (first, last) = (loads.start(), loads.end());
            let [old, new] = [PluginApi::V4, PluginApi::V7].map(PluginApi::number);
            format!(
                "QEMU {version} loads plugins of interface versions {first} to {last}, but the oracle is written for \
                 {old} and {new}"
            )
        })
    }

    /// Returns what to do if this QEMU cannot load the oracle.
    pub(crate) fn remedy(&self) -> &'static str {
        match self.number() >= ASKED {
            true => {
                "put another QEMU first in PATH, from 9.2 on, such as that of Debian 13; or add the new interface to \
                 oracle/src/sys/api.rs and xtask/src/machine/plugin_api.rs"
            }
            false => {
                "on Debian 12, leave out --no-setup and accept the newer QEMU; elsewhere, put a newer QEMU first in PATH"
            }
        }
    }

    fn number(&self) -> (u32, u32) {
        let mut parts = self.version.split('.').map_while(|part| part.parse().ok());
        let mut next = || parts.next().unwrap_or(0);
        (next(), next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELP: &str = "-trace [[enable=]<pattern>]\n-plugin [file=]<file>[,<argname>=<argvalue>]\n                load a plugin\n";

    fn unfit(version: &str, help: &str) -> String {
        let version = format!("QEMU emulator version {version}");
        Qemu::parse(&version, help).unfit().unwrap_or_default()
    }

    #[test]
    fn a_qemu_is_fit_if_it_is_new_enough_and_has_plugins() {
        for version in ["9.2.0", "9.10.1", "10.0.2 (Debian 1:10.0.2+ds-2~bpo12+1)"] {
            assert_eq!(unfit(version, HELP), "", "{version}");
        }
        insta::assert_snapshot!(unfit("7.2.22 (Debian 1:7.2+dfsg-7)", HELP), @"QEMU 7.2.22 is too old; the oracle needs 9.2 or newer");
        insta::assert_snapshot!(unfit("9.1.3", HELP), @"QEMU 9.1.3 is too old; the oracle needs 9.2 or newer");
        insta::assert_snapshot!(unfit("10.0.2", "-trace\n"), @"QEMU 10.0.2 was built without plugin support");
        insta::assert_snapshot!(unfit("11.1.3", HELP), @"QEMU 11.1.3 does not report which plugins it loads");
        insta::assert_snapshot!(unfit("of its own", HELP), @"QEMU of unknown version is too old; the oracle needs 9.2 or newer");
    }

    #[test]
    fn a_newer_qemu_needs_a_known_plugin_interface() {
        let api = |version, loads| {
            let text = format!("QEMU emulator version {version}");
            Qemu { loads: Some(loads), ..Qemu::parse(&text, HELP) }.plugin_api()
        };
        assert_eq!(api("11.0.2", 2..=6), Ok(PluginApi::V4));
        assert_eq!(api("11.1.3", 7..=7), Ok(PluginApi::V7));
        insta::assert_snapshot!(api("12.0.0", 8..=9).unwrap_err(), @"QEMU 12.0.0 loads plugins of interface versions 8 to 9, but the oracle is written for 4 and 7");
    }
}

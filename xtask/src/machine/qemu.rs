// SPDX-License-Identifier: MIT OR Apache-2.0
//! Capabilities of a QEMU program, as it reports them.

use std::path::Path;

use anyhow::Result;
use xshell::cmd;

use crate::shell;
use crate::version::number_in;

/// First version of QEMU with version 4 of the plugin interface (QEMU_PLUGIN_VERSION in include/qemu/qemu-plugin.h),
/// which the oracle uses.
pub(crate) const FIRST: (u32, u32) = (9, 2);

/// Version and capabilities of a QEMU program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Qemu {
    /// Version, such as `10.0.2`; empty if unknown.
    pub version: String,
    /// True if it can load plugins.
    pub plugins: bool,
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
        Ok(Self::parse(&version, &help))
    }

    /// Parses the output of `--version` and `--help`.
    fn parse(version: &str, help: &str) -> Self {
        Self {
            version: number_in(version).unwrap_or_default(),
            // qemu-options.hx lists the option only if CONFIG_PLUGIN is set.
            plugins: help.lines().any(|line| line.starts_with("-plugin ")),
        }
    }

    /// Returns the reason why this QEMU cannot load the oracle, or `None` if it can.
    pub(crate) fn unfit(&self) -> Option<String> {
        let (major, minor) = FIRST;
        let version = match self.version.as_str() {
            "" => "of unknown version",
            version => version,
        };
        if self.number() < FIRST {
            return Some(format!(
                "QEMU {version} is too old; the oracle needs {major}.{minor} or newer"
            ));
        }
        (!self.plugins).then(|| format!("QEMU {version} was built without plugin support"))
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
        insta::assert_snapshot!(unfit("of its own", HELP), @"QEMU of unknown version is too old; the oracle needs 9.2 or newer");
    }
}

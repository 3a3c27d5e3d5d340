// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether a QEMU can load the oracle: asked of the program itself.

use std::path::Path;

use anyhow::Result;
use xshell::cmd;

use crate::shell;
use crate::version::number_in;

/// The first QEMU whose plugin interface is of version 4, which the oracle is built against (QEMU_PLUGIN_VERSION
/// in include/qemu/qemu-plugin.h).
pub(crate) const FIRST: (u32, u32) = (9, 2);

/// What a QEMU says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Qemu {
    /// `10.0.2`; empty where it does not say.
    pub version: String,
    /// Whether it was built to load plugins.
    pub plugins: bool,
}

impl Qemu {
    /// Asks `program`, a name in `PATH` or a path.
    ///
    /// # Errors
    /// It cannot be run.
    pub(crate) fn ask(program: impl AsRef<Path>) -> Result<Self> {
        let program = program.as_ref();
        let sh = shell::here()?;
        let version = shell::read(cmd!(sh, "{program} --version"))?;
        let help = shell::read(cmd!(sh, "{program} --help"))?;
        Ok(Self::says(&version, &help))
    }

    /// Reads what it prints for `--version` and `--help`.
    fn says(version: &str, help: &str) -> Self {
        Self {
            version: number_in(version).unwrap_or_default(),
            // qemu-options.hx has the option only if CONFIG_PLUGIN is set.
            plugins: help.lines().any(|line| line.starts_with("-plugin ")),
        }
    }

    /// Why it cannot load the oracle, if so.
    pub(crate) fn unfit(&self) -> Option<String> {
        let (major, minor) = FIRST;
        let version = match self.version.as_str() {
            "" => "of unknown version",
            version => version,
        };
        if self.number() < FIRST {
            return Some(format!(
                "QEMU {version} is too old for it, {major}.{minor} is the first that is not"
            ));
        }
        (!self.plugins).then(|| format!("QEMU {version} was built without plugins"))
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
        Qemu::says(&version, help).unfit().unwrap_or_default()
    }

    #[test]
    fn a_qemu_is_fit_from_a_version_on_if_it_has_plugins() {
        for version in ["9.2.0", "9.10.1", "10.0.2 (Debian 1:10.0.2+ds-2~bpo12+1)"] {
            assert_eq!(unfit(version, HELP), "", "{version}");
        }
        insta::assert_snapshot!(unfit("7.2.22 (Debian 1:7.2+dfsg-7)", HELP), @"QEMU 7.2.22 is too old for it, 9.2 is the first that is not");
        insta::assert_snapshot!(unfit("9.1.3", HELP), @"QEMU 9.1.3 is too old for it, 9.2 is the first that is not");
        insta::assert_snapshot!(unfit("10.0.2", "-trace\n"), @"QEMU 10.0.2 was built without plugins");
        insta::assert_snapshot!(unfit("of its own", HELP), @"QEMU of unknown version is too old for it, 9.2 is the first that is not");
    }
}

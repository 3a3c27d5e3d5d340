// SPDX-License-Identifier: MIT OR Apache-2.0
//! Version of the plugin interface of a QEMU program.
//!
//! A plugin names the version that it was built for, QEMU_PLUGIN_VERSION in include/plugins/qemu-plugin.h, and QEMU
//! loads plugins of a range of versions. QEMU has no option that prints this range. It appears in the errors for
//! plugins outside of it, so the lab compiles two such plugins.

use std::ops::RangeInclusive;
use std::path::Path;

use anyhow::Result;
use regex::Regex;
use xshell::cmd;

use crate::shell;

/// A version of the interface for which the oracle can be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PluginApi {
    /// QEMU 9.2 to 10.2. Added the values of memory accesses.
    V4,
    /// QEMU 11.1. All callbacks got an argument with the plugin's own data, so older plugins no longer load.
    V7,
}

impl PluginApi {
    /// Returns the newest version among `loads`, the versions that a QEMU loads.
    pub(crate) fn among(loads: &RangeInclusive<u32>) -> Option<Self> {
        [Self::V7, Self::V4].into_iter().find(|api| loads.contains(&api.number()))
    }

    /// Returns the number of the version.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::V4 => 4,
            Self::V7 => 7,
        }
    }
}

/// Asks `qemu` for the versions of plugins that it loads. Returns `None` if it does not report them.
///
/// # Errors
/// A file cannot be written, or there is no C compiler.
pub(crate) fn ask(qemu: &Path) -> Result<Option<RangeInclusive<u32>>> {
    let dir = tempfile::tempdir()?;
    let refusal = |version: u32| -> Result<String> {
        let sh = shell::in_dir(dir.path())?;
        let code = format!(
            "int qemu_plugin_version = {version}; int qemu_plugin_install(void) {{ return 1; }}\n"
        );
        shell::read(cmd!(sh, "cc -shared -fPIC -x c -o plugin.so -").stdin(code))?;
        let output = shell::output(cmd!(sh, "{qemu} -M none -display none -plugin ./plugin.so"))?;
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let newest = i32::MAX as u32;
    Ok(range(&refusal(0)?, &refusal(newest)?))
}

/// Parses the errors of QEMU for a plugin that is too old and for one that is too new.
fn range(too_old: &str, too_new: &str) -> Option<RangeInclusive<u32>> {
    let number = |pattern: &str, text: &str| -> Option<u32> {
        let pattern = Regex::new(pattern).expect("the pattern is valid");
        pattern.captures(text)?[1].parse().ok()
    };
    let first = number(r"only a minimum version of (\d+)", too_old)?;
    Some(first..=number(r"only up to version (\d+)", too_new)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_are_in_the_errors_for_plugins() {
        let too_old = "qemu-system-sparc64: Could not load plugin ./plugin.so: plugin requires API version 0, but this QEMU supports only a minimum version of 7\n";
        let too_new = "qemu-system-sparc64: Could not load plugin ./plugin.so: plugin requires API version 2147483647, but this QEMU supports only up to version 8\n";
        assert_eq!(range(too_old, too_new), Some(7..=8));
        assert_eq!(range("", too_new), None);
        assert_eq!(range(too_old, "Could not load plugin: no such file"), None);
    }

    #[test]
    fn the_newest_version_that_qemu_loads_is_chosen() {
        assert_eq!(PluginApi::among(&(2..=4)), Some(PluginApi::V4));
        assert_eq!(PluginApi::among(&(2..=5)), Some(PluginApi::V4));
        assert_eq!(PluginApi::among(&(4..=7)), Some(PluginApi::V7));
        assert_eq!(PluginApi::among(&(8..=9)), None);
        assert_eq!(PluginApi::among(&(5..=6)), None);
    }
}

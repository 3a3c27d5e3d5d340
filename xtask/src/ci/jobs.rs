// SPDX-License-Identifier: MIT OR Apache-2.0
//! Choice of what CI tests: some pairs of target and kernel version on each push, all others and some flavours at night.

use crate::flavour::Flavour;
use crate::kernel_version::KernelVersion;
use crate::target::Target;

/// Time of the nightly jobs, in the format of cron.
pub(super) const NIGHT: &str = "17 1 * * *";

/// Returns true if each push tests `target` with the version `kernel`.
pub(super) fn is_pushed(kernel: &KernelVersion, target: &str) -> bool {
    kernel.push.as_ref().is_none_or(|push| push.iter().any(|name| name == target))
}

/// Targets, the versions to test on them, and flavours.
pub(super) struct Jobs<'a> {
    pub targets: &'a [Target],
    pub kernels: Vec<&'a KernelVersion>,
    pub flavours: &'a [Flavour],
}

impl Jobs<'_> {
    /// Returns the names of the targets that are tested with `kernel`, as far as `selected` is true.
    pub(super) fn names(&self, selected: impl Fn(&str) -> bool) -> Vec<&str> {
        let names = self.targets.iter().map(|target| target.name.as_str());
        names.filter(|name| selected(name)).collect()
    }

    /// Returns the names of the targets whose data caches alias, for which the oracle must run.
    pub(super) fn aliasing(&self) -> Vec<&str> {
        let aliasing = self.targets.iter().filter(|target| target.cache.aliases());
        aliasing.map(|target| target.name.as_str()).collect()
    }

    /// Returns the versions that each push tests on all targets.
    pub(super) fn everywhere(&self) -> String {
        let kernels = self.kernels.iter().filter(|kernel| kernel.push.is_none());
        kernels.map(|kernel| quoted(kernel)).collect::<Vec<_>>().join(", ")
    }

    /// Returns true if there are pairs of target and version that a push does not test.
    pub(super) fn has_nightly(&self) -> bool {
        self.kernels.iter().any(|kernel| !self.names(|name| !is_pushed(kernel, name)).is_empty())
    }

    /// Returns the flavours that nightly jobs test, each with the options of a job.
    pub(super) fn nightly_flavours(&self) -> impl Iterator<Item = (&str, &str)> {
        self.flavours.iter().flat_map(|flavour| {
            let options = flavour.nightly.iter();
            options.map(|options| (flavour.name.as_str(), options.as_str()))
        })
    }

    /// Returns the commands that test what each push tests. The oracle watches the targets whose data caches alias.
    pub(super) fn commands(&self) -> String {
        let command = |kernel: &&KernelVersion| {
            let pushed: Vec<&Target> =
                self.targets.iter().filter(|target| is_pushed(kernel, &target.name)).collect();
            let names: Vec<&str> = pushed.iter().map(|target| target.name.as_str()).collect();
            let arch = match names.len() == self.targets.len() {
                true => "all".into(),
                false => names.join(","),
            };
            let aliases = pushed.iter().any(|target| target.cache.aliases());
            let oracle = if aliases { " --oracle on" } else { "" };
            let version = match kernel.default {
                true => String::new(),
                false => format!(" --kernel {}", kernel.version),
            };
            let command = format!("cargo xtask test --arch {arch}{version}{oracle}");
            (!names.is_empty()).then_some(command)
        };
        self.kernels.iter().filter_map(command).collect::<Vec<_>>().join("\n")
    }
}

/// Returns the version in quotes. Without quotes, YAML would read it as a number.
pub(super) fn quoted(kernel: &KernelVersion) -> String {
    format!("\"{}\"", kernel.version)
}

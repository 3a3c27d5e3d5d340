// SPDX-License-Identifier: MIT OR Apache-2.0
//! Targets: machines that the lab can boot, read from `kernel-configs/*.yaml`.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, bail};
pub(crate) use oracle_wire::config::{Arch, CacheKind, WritePolicy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::program::Program;
use crate::{files, yaml};

/// One machine that the lab can boot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Name for `--arch`; also the name of the YAML file and of the config fragment.
    pub name: String,
    /// Description in one line, for `cargo xtask list`.
    pub about: String,
    /// Groups that the target belongs to, besides `all`.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Parameters of the kernel build.
    pub kernel: KernelSpec,
    /// Parameters of the guest program's build.
    pub rust: RustSpec,
    /// Parameters of the emulated machine.
    pub qemu: QemuSpec,
    /// Properties of the data cache.
    pub cache: CacheSpec,
    /// Programs that this target needs on the host, besides those that every target needs.
    #[serde(default)]
    pub programs: Vec<Program>,
}

/// Parameters of a target's kernel build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KernelSpec {
    /// Value of kbuild's `ARCH`.
    pub arch: String,
    /// Value of kbuild's `CROSS_COMPILE`; empty for the host's compiler.
    pub cross: String,
    /// Make targets that build `image` and `dtb`, separated by spaces.
    pub make: String,
    /// Path of the image that QEMU boots, relative to the build directory.
    pub image: String,
    /// Path of the device tree that QEMU passes to the kernel, relative to the build directory. Absent if QEMU
    /// generates one or the machine needs none.
    #[serde(default)]
    pub dtb: Option<String>,
    /// Patches that this machine needs and that do not belong to the feature: names in `kernel-patches/fixes`, or in
    /// `kernel-patches/VERSION/fixes` for one version. They are applied before the queue, and also with `--no-queue`.
    #[serde(default)]
    pub fixes: Vec<String>,
}

/// Parameters of the guest program's build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RustSpec {
    /// Target triple for rustc.
    pub target: String,
    /// Compiler that produces the machine code.
    #[serde(default)]
    pub backend: Backend,
    /// Prefix of the cross C compiler, such as `arm-linux-gnueabi-`; empty for the host's compiler.
    #[serde(default)]
    pub cross: String,
}

/// Compiler that produces the machine code of the guest program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// rustc compiles for the machine directly.
    #[default]
    Native,
    /// rustc compiles to WebAssembly, `wasm2c` translates that to C, and the C compiler builds the program.
    WasmC,
}

/// Parameters of the machine that QEMU emulates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QemuSpec {
    /// Name of the QEMU program.
    pub binary: String,
    /// Value of `-machine`.
    pub machine: String,
    /// Value of `-cpu`. Absent if the machine's default is right and the names of CPUs differ between versions of QEMU.
    #[serde(default)]
    pub cpu: Option<String>,
    /// Number of CPUs, for `-smp`. A flavour and `--cpus` can change it, unless `one_cpu` is set.
    pub cpus: u32,
    /// Reason why the machine always has one CPU. Mandatory if `cpus` is 1, and forbidden otherwise.
    #[serde(default)]
    pub one_cpu: Option<String>,
    /// Memory in MiB, for `-m`.
    pub memory_mib: u32,
    /// Additional QEMU arguments. They precede those that the lab adds.
    #[serde(default)]
    pub args: Vec<String>,
    /// Value of `console=` on the kernel command line.
    pub console: String,
    /// Device file that the guest writes records to.
    pub records: String,
    /// QEMU arguments that connect that device to the chardev `records`; empty if the records share the console.
    #[serde(default)]
    pub records_args: Vec<String>,
    /// Additional words for the kernel command line.
    #[serde(default)]
    pub append: Vec<String>,
}

impl QemuSpec {
    /// Returns the machine name in the value of `-machine`, or `None` if the value holds only options for QEMU's
    /// default machine.
    pub fn machine_type(&self) -> Option<&str> {
        let mut parts = self.machine.split(',');
        parts.next().filter(|first| !first.contains('='))
    }
}

/// Properties of a target's data cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheSpec {
    /// Kind of index and tag: physical or virtual.
    pub kind: CacheKind,
    /// Distance in bytes after which colours repeat; the page size if the cache does not alias.
    pub period: u64,
    /// Size of a line in bytes.
    pub line: u64,
    /// Text in the kernel's log or in `/proc/cpuinfo` that shows that the kernel has detected this cache. A boot
    /// without this text ends with an error. Absent if the kernel never prints the kind of its cache.
    #[serde(default)]
    pub proof: Option<String>,
    /// Further properties for the oracle. Absent if the cache does not alias, or if the oracle has no model of the
    /// machine.
    #[serde(default)]
    pub model: Option<ModelSpec>,
}

impl CacheSpec {
    /// Returns true if two virtual addresses of one page can show different data.
    pub fn aliases(&self) -> bool {
        self.kind != CacheKind::Physical
    }
}

/// Properties of a machine that the oracle needs to model its data cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// Instruction set.
    pub arch: Arch,
    /// Page size of the MMU in bytes.
    pub page: u64,
    /// Write policy.
    pub write: WritePolicy,
}

/// Reads all targets in `dir`, sorted by name.
///
/// # Errors
/// A file cannot be read or does not parse. The error names the file, the line and what was expected.
pub fn load_all(dir: &Path) -> Result<Vec<Target>> {
    let files = files::with_extension(dir, "yaml")?;
    let mut targets: Vec<Target> = files.iter().map(|file| load(file)).collect::<Result<_>>()?;
    targets.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(targets)
}

/// Reads the target in the file `path`.
///
/// # Errors
/// The file cannot be read or does not parse. The error names the file, the line and what was expected.
pub(crate) fn load(path: &Path) -> Result<Target> {
    let target: Target = yaml::read(path)?;
    if path.file_stem().is_none_or(|stem| *stem != *target.name) {
        bail!(
            "{}: this file defines the target {:?}: rename it to {}.yaml",
            path.display(),
            target.name,
            target.name
        );
    }
    if target.cache.model.is_some_and(|model| model.arch == Arch::None) {
        bail!(
            "{}: there is no cache model for the instruction set `none`: remove `model` from `cache`",
            path.display()
        );
    }
    if (target.qemu.cpus == 1) != target.qemu.one_cpu.is_some() {
        bail!(
            "{}: `qemu` must have `one_cpu`, the reason for a single CPU, if and only if `cpus` is 1",
            path.display()
        );
    }
    Ok(target)
}

impl Target {
    /// Returns true if `name` is that of the target or of one of its groups.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.groups.iter().any(|group| group == name)
    }
}

/// Returns the targets that `names` select: names of targets or groups, or `all`. Each target appears once, in the
/// order of its first selection.
///
/// # Errors
/// A name matches no target. The error lists the existing targets.
pub(crate) fn select<'t>(targets: &'t [Target], names: &[String]) -> Result<Vec<&'t Target>> {
    let mut selected: Vec<&Target> = Vec::new();
    for name in names {
        let matching = targets.iter().filter(|target| name == "all" || target.is_called(name));
        let before = selected.len();
        let mut any = false;
        for target in matching {
            any = true;
            if !selected[..before].contains(&target) {
                selected.push(target);
            }
        }
        if !any {
            bail!(
                "--arch {name}: no such target or group; choose one of: {}, all",
                choices(targets)
            );
        }
    }
    Ok(selected)
}

/// Returns the names of `targets` and of their groups, for an error: `armv5, x86_64, arm`.
pub(crate) fn choices(targets: &[Target]) -> String {
    let names = targets.iter().map(|target| target.name.as_str());
    let groups: BTreeSet<&str> =
        targets.iter().flat_map(|target| &target.groups).map(String::as_str).collect();
    names.chain(groups).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernel-configs");

    /// Returns a target for the tests of other modules.
    pub(crate) fn x86_64() -> Target {
        load(&Path::new(DIR).join("x86_64.yaml")).unwrap()
    }

    #[test]
    fn every_target_in_the_tree_parses() {
        let targets = load_all(Path::new(DIR)).unwrap();
        assert!(targets.iter().any(|target| target.name == "x86_64"));
    }

    #[test]
    fn names_select_targets_once_and_in_order() {
        let (mut arm, x86) = (x86_64(), x86_64());
        arm.name = "armv5".into();
        arm.groups = vec!["arm".into()];
        let all = [arm, x86];
        let names = |words: &[&str]| -> Vec<String> {
            let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
            let selected = select(&all, &words).unwrap();
            selected.iter().map(|target| target.name.clone()).collect()
        };
        assert_eq!(names(&["x86_64", "all"]), ["x86_64", "armv5"]);
        assert_eq!(names(&["arm", "arm"]), ["armv5"]);
        let error = select(&all, &["vax".into()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "--arch vax: no such target or group; choose one of: armv5, x86_64, arm, all"
        );
    }
}

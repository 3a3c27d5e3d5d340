// SPDX-License-Identifier: MIT OR Apache-2.0
//! Targets: the machines the lab can boot, read from `kernel-configs/*.yaml`.

use std::path::Path;

use anyhow::{Context, Result, bail};
pub(crate) use oracle_wire::config::{Arch, CacheKind, WritePolicy};
use serde::{Deserialize, Serialize};

use crate::setup::packages::Program;

/// One machine the lab can boot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Name, as in `--arch`; also the name of the YAML file and of the config fragment.
    pub name: String,
    /// One line for `cargo xtask list`.
    pub about: String,
    /// Names of groups it belongs to, besides `all`.
    #[serde(default)]
    pub groups: Vec<String>,
    /// How its kernel is built.
    pub kernel: KernelSpec,
    /// How its guest programs are built.
    pub rust: RustSpec,
    /// How it is booted.
    pub qemu: QemuSpec,
    /// What its data cache looks like.
    pub cache: CacheSpec,
    /// Programs it needs beyond those that every target needs.
    #[serde(default)]
    pub programs: Vec<Program>,
}

/// How a target's kernel is built.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelSpec {
    /// `ARCH=` of kbuild.
    pub arch: String,
    /// `CROSS_COMPILE=` of kbuild; empty for the host's compiler.
    pub cross: String,
    /// The make targets that give [`KernelSpec::image`] and [`KernelSpec::dtb`], with spaces between them.
    pub make: String,
    /// What QEMU boots, relative to the build directory.
    pub image: String,
    /// The device tree that QEMU hands to the kernel, relative to the build directory; none where the machine has its
    /// own or needs none.
    #[serde(default)]
    pub dtb: Option<String>,
    /// Patches this machine needs that have nothing to do with the feature: names in
    /// `kernel-patches/<VERSION>/fixes`. They apply before the queue, and with `--no-queue` as well.
    #[serde(default)]
    pub fixes: Vec<String>,
}

/// How a target's guest programs are built.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RustSpec {
    /// Target triple of rustc.
    pub target: String,
    /// How rustc's output becomes a program of the machine.
    #[serde(default)]
    pub backend: Backend,
    /// Beginning of the names of the C compiler and linker for its programs; empty for the host's.
    #[serde(default)]
    pub cross: String,
}

/// How rustc's output becomes a program of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// rustc makes it.
    #[default]
    Native,
    /// rustc makes WebAssembly, `wasm2c` makes C of that, and the C compiler the program.
    WasmC,
}

/// How a target is booted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QemuSpec {
    /// Name of the QEMU program.
    pub binary: String,
    /// `-machine`.
    pub machine: String,
    /// `-cpu`.
    pub cpu: String,
    /// `-smp`.
    pub cpus: u32,
    /// `-m`, MiB.
    pub memory_mib: u32,
    /// More arguments, before everything the lab adds.
    #[serde(default)]
    pub args: Vec<String>,
    /// `console=` on the kernel command line.
    pub console: String,
    /// Device the guest writes records to.
    pub records: String,
    /// What connects that device with the chardev `records`, in QEMU's words; empty where records share the console.
    #[serde(default)]
    pub records_args: Vec<String>,
    /// More words for the kernel command line.
    #[serde(default)]
    pub append: Vec<String>,
    /// How the machine ends.
    pub ends: Ends,
}

impl QemuSpec {
    /// The name of the machine in `-machine`; none where there are only options for QEMU's default machine.
    pub fn machine_type(&self) -> Option<&str> {
        let mut words = self.machine.split(',');
        words.next().filter(|first| !first.contains('='))
    }
}

/// How a machine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ends {
    /// The guest restarts the machine and QEMU, told `-no-reboot`, exits.
    Reset,
}

/// What a target's data cache looks like to the kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheSpec {
    /// How it is indexed and tagged.
    pub kind: CacheKind,
    /// Distance in bytes after which colours repeat; a page where nothing aliases.
    pub period: u64,
    /// Bytes in a line.
    pub line: u64,
    /// What is in a line of the kernel's log or of `/proc/cpuinfo` where the kernel believes to have this cache; a
    /// machine that comes up otherwise is not tested. None where the kernel never says.
    #[serde(default)]
    pub proof: Option<String>,
    /// What the oracle has to know beyond that; none where nothing aliases, or where the oracle has no model of the
    /// machine.
    #[serde(default)]
    pub model: Option<ModelSpec>,
}

impl CacheSpec {
    /// Whether two virtual addresses of a page may disagree.
    pub fn aliases(&self) -> bool {
        self.kind != CacheKind::Physical
    }
}

/// What the oracle has to know of a machine to model its data cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// Which of the oracle's tables of instructions the machine speaks.
    pub arch: Arch,
    /// Bytes in a page of the machine's memory management.
    pub page: u64,
    /// Where a store goes.
    pub write: WritePolicy,
}

/// All targets in `dir`, by name.
///
/// # Errors
/// A file that cannot be read or does not parse: names file, line and what was expected.
pub fn load_all(dir: &Path) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|ext| ext == "yaml") {
            targets.push(load(&path)?);
        }
    }
    targets.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(targets)
}

fn load(path: &Path) -> Result<Target> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let target: Target = crate::yaml::parse(&text, path)?;
    if path.file_stem().is_none_or(|stem| *stem != *target.name) {
        bail!(
            "{}: the target is named {:?}; the file must be {}.yaml",
            path.display(),
            target.name,
            target.name
        );
    }
    if target
        .cache
        .model
        .is_some_and(|model| model.arch == Arch::None)
    {
        bail!(
            "{}: `none` is no instruction set that can be modelled; leave out `model` in `cache`",
            path.display()
        );
    }
    Ok(target)
}

/// The targets that `words` name: target names, group names, `all`; each once, in the order first named.
///
/// # Errors
/// A word that names nothing: lists what there is.
pub(crate) fn select<'t>(targets: &'t [Target], words: &[String]) -> Result<Vec<&'t Target>> {
    let mut chosen: Vec<&Target> = Vec::new();
    for word in words {
        let named = targets
            .iter()
            .filter(|t| word == "all" || t.name == *word || t.groups.contains(word));
        let before = chosen.len();
        let mut any = false;
        for target in named {
            any = true;
            if !chosen[..before].contains(&target) {
                chosen.push(target);
            }
        }
        if !any {
            let names: Vec<_> = targets.iter().map(|t| t.name.as_str()).collect();
            bail!(
                "--arch {word}: no such target; there are: {}, all",
                names.join(", ")
            );
        }
    }
    Ok(chosen)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernel-configs");

    /// The target that tests of other modules use.
    pub(crate) fn x86_64() -> Target {
        load(&Path::new(DIR).join("x86_64.yaml")).unwrap()
    }

    #[test]
    fn every_target_in_the_tree_parses() {
        let targets = load_all(Path::new(DIR)).unwrap();
        assert!(targets.iter().any(|target| target.name == "x86_64"));
    }

    #[test]
    fn words_select_targets_once_and_in_order() {
        let (mut arm, x86) = (x86_64(), x86_64());
        arm.name = "armv5".into();
        arm.groups = vec!["arm".into()];
        let all = [arm, x86];
        let names = |words: &[&str]| -> Vec<String> {
            let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
            let chosen = select(&all, &words).unwrap();
            chosen.iter().map(|target| target.name.clone()).collect()
        };
        assert_eq!(names(&["x86_64", "all"]), ["x86_64", "armv5"]);
        assert_eq!(names(&["arm", "arm"]), ["armv5"]);
        let error = select(&all, &["vax".into()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "--arch vax: no such target; there are: armv5, x86_64, all"
        );
    }
}

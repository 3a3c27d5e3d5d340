// SPDX-License-Identifier: MIT OR Apache-2.0
//! Flavours: overlays on a kernel's configuration, read from `kernel-configs/flavours/*.yaml`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::program::Program;
use crate::target::{RustSpec, Target};
use crate::{files, yaml};

/// A configuration overlay and its cost in time and memory. Its options are in the `.config` file of the same name.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Flavour {
    /// Name for `--flavour`.
    pub name: String,
    /// Description in one line, for `cargo xtask list`.
    pub about: String,
    /// Factor by which all deadlines are multiplied.
    pub time: f64,
    /// Factor by which the machine's memory is multiplied.
    pub memory: u32,
    /// Number of processors, for targets that can have more than one. Without it, each target has its own number.
    #[serde(default)]
    #[schemars(range(min = 1, max = 8))]
    pub cpus: Option<u32>,
    /// Additional words for the kernel command line.
    #[serde(default)]
    pub append: Vec<String>,
    /// Directory of the kernel source, relative to its root, that is compiled for coverage. The run ends with a report
    /// of the lines that the patch queue changed there. Needs `CONFIG_GCOV_KERNEL`.
    #[serde(default)]
    pub coverage: Option<String>,
    /// Directory of the kernel source, relative to its root, in which KCSAN looks for data races. Needs `CONFIG_KCSAN`.
    #[serde(default)]
    pub kcsan: Option<String>,
    /// Names of the targets that have the flavour, each with its changes to the target. Empty if all targets have it.
    #[serde(default)]
    pub targets: BTreeMap<String, TargetChanges>,
    /// Options of `cargo xtask test`, besides `--flavour`, with which CI tests the flavour at night: a job for each item.
    /// `RUN_NUMBER` stands for the number of the CI run.
    #[serde(default)]
    pub nightly: Vec<String>,
}

/// Changes that a flavour makes to a target.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetChanges {
    /// Parameters of the guest program's build, in place of the target's.
    #[serde(default)]
    pub rust: Option<RustSpec>,
    /// Programs that the flavour needs on the host, besides those of the target.
    #[serde(default)]
    pub programs: Vec<Program>,
}

impl Flavour {
    /// Returns the target as this flavour needs it.
    ///
    /// # Errors
    /// The target does not have the flavour. The error lists the targets that have it.
    pub(crate) fn apply_to(&self, target: &Target) -> Result<Target> {
        let mut target = target.clone();
        match self.targets.get(&target.name) {
            Some(changes) => {
                target.rust = changes.rust.clone().unwrap_or(target.rust);
                target.programs.extend(changes.programs.iter().cloned());
            }
            None if self.targets.is_empty() => {}
            None => {
                let names: Vec<&str> = self.targets.keys().map(String::as_str).collect();
                bail!(
                    "--flavour {}: {} does not have this flavour; targets that have it: {}",
                    self.name,
                    target.name,
                    names.join(", ")
                )
            }
        }
        Ok(target)
    }
}

/// Reads all flavours in `dir`, sorted by name.
///
/// # Errors
/// A file cannot be read or does not parse. The error names the file, the line and what was expected.
pub(crate) fn load_all(dir: &Path) -> Result<Vec<Flavour>> {
    let files = files::with_extension(dir, "yaml")?;
    let mut flavours: Vec<Flavour> =
        files.iter().map(|file| yaml::read(file)).collect::<Result<_>>()?;
    flavours.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(flavours)
}

/// Checks that all targets that the flavours name exist. `dir` is the directory of the flavours, for errors.
///
/// # Errors
/// Names the flavour's file and the existing targets.
pub(crate) fn check_targets(dir: &Path, flavours: &[Flavour], targets: &[Target]) -> Result<()> {
    for flavour in flavours {
        let exists = |name: &str| targets.iter().any(|target| target.name == name);
        if let Some(unknown) = flavour.targets.keys().find(|name| !exists(name)) {
            let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
            bail!(
                "{}: `targets` has {unknown:?}: no such target; choose from: {}",
                dir.join(format!("{}.yaml", flavour.name)).display(),
                names.join(", ")
            );
        }
    }
    Ok(())
}

/// Returns the flavour called `name`.
///
/// # Errors
/// No such flavour exists. The error lists the existing ones.
pub(crate) fn find<'f>(flavours: &'f [Flavour], name: &str) -> Result<&'f Flavour> {
    match flavours.iter().find(|flavour| flavour.name == name) {
        Some(flavour) => Ok(flavour),
        None => {
            let names: Vec<_> = flavours.iter().map(|f| f.name.as_str()).collect();
            bail!("--flavour {name}: no such flavour; choose one of: {}", names.join(", "))
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Returns a flavour without additions, for the tests of other modules.
    pub(crate) fn plain() -> Flavour {
        Flavour {
            name: "plain".into(),
            about: "Nothing".into(),
            time: 1.0,
            memory: 1,
            cpus: None,
            append: Vec::new(),
            coverage: None,
            kcsan: None,
            targets: BTreeMap::new(),
            nightly: Vec::new(),
        }
    }

    fn dir() -> std::path::PathBuf {
        crate::paths::checkout().join("kernel-configs/flavours")
    }

    #[test]
    fn flavours_that_look_for_races_have_four_processors() {
        let flavours = load_all(&dir()).unwrap();
        let cpus: Vec<_> = flavours.iter().map(|f| (f.name.as_str(), f.cpus)).collect();
        let four = Some(4);
        let expected = [
            ("compat", None),
            ("debug", four),
            ("default", None),
            ("gcov", None),
            ("kcsan", four),
            ("mainline", None),
            ("modules", None),
            ("preempt", four),
        ];
        assert_eq!(cpus, expected);
    }

    #[test]
    fn a_kernel_with_kcsan_has_a_directory_to_look_for_races_in() {
        for flavour in load_all(&dir()).unwrap() {
            let options = dir().join(format!("{}.config", flavour.name));
            let options = std::fs::read_to_string(options).unwrap_or_default();
            let enabled = options.lines().any(|line| line == "CONFIG_KCSAN=y");
            assert_eq!(flavour.kcsan.is_some(), enabled, "{}", flavour.name);
        }
    }

    #[test]
    fn a_flavour_changes_the_guest_program_of_its_targets() {
        let text = "
            name: narrow
            about: b
            time: 1
            memory: 1
            targets:
              x86_64:
                rust: { target: i686-unknown-linux-gnu, cross: i686-linux-gnu- }
                programs: [{ program: i686-linux-gnu-gcc, debian: a, fedora: b, arch: c }]
              arm64: {}
        ";
        let flavour: Flavour = yaml::parse(text, Path::new("narrow.yaml")).unwrap();
        let x86_64 = crate::target::tests::x86_64();
        let changed = flavour.apply_to(&x86_64).unwrap();
        assert_eq!(changed.rust.target, "i686-unknown-linux-gnu");
        assert_eq!(changed.kernel, x86_64.kernel);
        let programs: Vec<&str> = changed.programs.iter().map(|p| p.program.as_str()).collect();
        assert_eq!(programs, ["qemu-system-x86_64", "libelf headers", "i686-linux-gnu-gcc"]);
        let arm64 = Target { name: "arm64".into(), ..x86_64.clone() };
        assert_eq!(flavour.apply_to(&arm64).unwrap(), arm64);
        let mips = Target { name: "mips".into(), ..x86_64.clone() };
        insta::assert_snapshot!(flavour.apply_to(&mips).unwrap_err(), @"--flavour narrow: mips does not have this flavour; targets that have it: arm64, x86_64");
        assert_eq!(plain().apply_to(&mips).unwrap(), mips);

        let check = |targets: &[Target]| {
            check_targets(Path::new("flavours"), std::slice::from_ref(&flavour), targets)
        };
        assert!(check(&[x86_64.clone(), arm64]).is_ok());
        insta::assert_snapshot!(check(&[mips, x86_64]).unwrap_err(), @r#"flavours/narrow.yaml: `targets` has "arm64": no such target; choose from: mips, x86_64"#);
    }

    #[test]
    fn a_number_of_processors_is_a_number() {
        let parse = |cpus: &str| -> Result<Flavour> {
            let text = format!("{{ name: a, about: b, time: 1, memory: 1, cpus: {cpus} }}");
            yaml::parse(&text, Path::new("a.yaml"))
        };
        assert_eq!(parse("4").unwrap().cpus, Some(4));
        assert!(parse("many").is_err());
    }
}

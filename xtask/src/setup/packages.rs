// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs that the lab needs, and the package that has each on every known distribution.

use std::path::Path;

use anyhow::Result;

use crate::program::Program;
use crate::target::Target;
use crate::text::columns::columns;

/// What every target needs: `programs.yaml`, which is part of this program.
///
/// # Errors
/// The file does not parse: names file, line and what was expected.
pub fn common() -> Result<Vec<Program>> {
    let file = Path::new("xtask/src/setup/programs.yaml");
    crate::yaml::parse(include_str!("programs.yaml"), file)
}

/// What these targets need, each once; where their kernels are given and not built, `kernel` is false.
///
/// # Errors
/// As [`common`].
pub(crate) fn needed(targets: &[&Target], kernel: bool) -> Result<Vec<Program>> {
    let mut needed = common()?;
    for program in targets.iter().flat_map(|target| &target.programs) {
        if !needed.contains(program) {
            needed.push(program.clone());
        }
    }
    needed.retain(|program| kernel || program.purpose.is_any());
    Ok(needed)
}

/// Stands for the package of a distribution that has none.
const NONE: &str = "(none)";

/// Families of Linux distributions whose packages the lab knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distribution {
    /// Debian, Ubuntu and other derivatives.
    Debian,
    /// Fedora and its relatives.
    Fedora,
    /// Arch Linux and its derivatives.
    Arch,
}

impl Distribution {
    const ALL: [Distribution; 3] = [Self::Debian, Self::Fedora, Self::Arch];

    /// The package of this family that has `program`.
    pub(crate) fn package(self, program: &Program) -> &str {
        match self {
            Self::Debian => &program.debian,
            Self::Fedora => &program.fedora,
            Self::Arch => &program.arch,
        }
    }

    /// The packages that have `programs`, sorted, each once.
    pub(crate) fn packages(self, programs: &[Program]) -> Vec<&str> {
        let packages = programs.iter().map(|p| self.package(p));
        let mut packages: Vec<_> = packages.filter(|package| *package != NONE).collect();
        packages.sort_unstable();
        packages.dedup();
        packages
    }

    /// The command line that installs what has `programs`.
    pub(crate) fn command(self, programs: &[Program]) -> String {
        let install = match self {
            Self::Debian => "sudo apt-get install --no-install-recommends",
            Self::Fedora => "sudo dnf install",
            Self::Arch => "sudo pacman -S --needed",
        };
        format!("{install} {}", self.packages(programs).join(" "))
    }
}

/// What to tell a person for whom `missing` was not installed, and why it was not.
pub(crate) fn explain(missing: &[Program], why: &str, here: Option<Distribution>) -> String {
    let mut rows = vec![["program", "Debian", "Fedora", "Arch"]];
    rows.extend(missing.iter().map(|p| {
        let [debian, fedora, arch] = Distribution::ALL.map(|family| family.package(p));
        [p.program.as_str(), debian, fedora, arch]
    }));
    let commands: String = Distribution::ALL
        .iter()
        .filter(|family| here.is_none_or(|here| here == **family))
        .map(|family| format!("  {}\n", family.command(missing)))
        .collect();
    let mut text = format!(
        "{} missing, and {why}. The packages that have them:\n\n{}\nInstall them with:\n{commands}",
        match missing {
            [one] => format!("{} is", one.program),
            several => format!("{} programs are", several.len()),
        },
        columns(&rows),
    );
    if here != Some(Distribution::Debian) {
        text.push_str("Debian's kernel source cannot be had here: give one with --kernel-src.\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::tests::program;

    #[test]
    fn the_common_programs_parse() {
        let common = common().unwrap();
        assert!(common.iter().any(|p| p.program == "flex"));
    }

    #[test]
    fn a_target_adds_its_own_programs_once() {
        let mut target = crate::target::tests::x86_64();
        target.programs = vec![program("qemu"), common().unwrap().remove(0)];
        let needed = needed(&[&target, &target], true).unwrap();
        assert_eq!(needed.len(), common().unwrap().len() + 1);
        assert_eq!(needed.last(), Some(&program("qemu")));
    }

    #[test]
    fn a_kernel_that_is_given_needs_nothing_to_be_built() {
        let target = crate::target::tests::x86_64();
        let needs = |kernel, name: &str| {
            let needed = needed(&[&target], kernel).unwrap();
            needed.iter().any(|p| p.program == name)
        };
        for only_for_kernels in ["flex", "libelf headers"] {
            assert!(needs(true, only_for_kernels));
            assert!(!needs(false, only_for_kernels));
        }
        assert!(needs(false, "gcc") && needs(false, "qemu-system-x86_64"));
    }

    #[test]
    fn a_known_distribution_gets_its_own_command() {
        let missing = [program("flex"), program("bison")];
        let text = explain(
            &missing,
            "--no-setup forbids to install them",
            Some(Distribution::Debian),
        );
        insta::assert_snapshot!(text, @"
        2 programs are missing, and --no-setup forbids to install them. The packages that have them:

          program  Debian     Fedora     Arch
          flex     flex-deb   flex-fed   one-for-all
          bison    bison-deb  bison-fed  one-for-all

        Install them with:
          sudo apt-get install --no-install-recommends bison-deb flex-deb
        ");
    }

    #[test]
    fn an_unknown_distribution_gets_all_commands() {
        let rare = Program {
            fedora: NONE.into(),
            ..program("wasm2c")
        };
        let text = explain(&[program("flex"), rare], "this is not Debian", None);
        insta::assert_snapshot!(text, @"
        2 programs are missing, and this is not Debian. The packages that have them:

          program  Debian      Fedora    Arch
          flex     flex-deb    flex-fed  one-for-all
          wasm2c   wasm2c-deb  (none)    one-for-all

        Install them with:
          sudo apt-get install --no-install-recommends flex-deb wasm2c-deb
          sudo dnf install flex-fed
          sudo pacman -S --needed one-for-all
        Debian's kernel source cannot be had here: give one with --kernel-src.
        ");
    }
}

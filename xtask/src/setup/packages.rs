// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs that the lab needs, and the packages that provide them on each known distribution.

use std::path::Path;

use anyhow::Result;

use crate::program::Program;
use crate::target::Target;
use crate::text::columns::columns;

/// Returns the programs that every target needs, from `programs.yaml`, which is compiled in.
///
/// # Errors
/// The file does not parse. The error names the file, the line and what was expected.
pub fn common() -> Result<Vec<Program>> {
    let file = Path::new("xtask/src/setup/programs.yaml");
    crate::yaml::parse(include_str!("programs.yaml"), file)
}

/// Returns the programs that `targets` need, each once. Includes those for kernel builds only if `kernel` is true.
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

/// Placeholder for a package that a distribution does not have.
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

    /// Returns the package that provides `program` on this family.
    pub(crate) fn package(self, program: &Program) -> &str {
        match self {
            Self::Debian => &program.debian,
            Self::Fedora => &program.fedora,
            Self::Arch => &program.arch,
        }
    }

    /// Returns the packages that provide `programs`, sorted, each once.
    pub(crate) fn packages(self, programs: &[Program]) -> Vec<&str> {
        let packages = programs.iter().map(|p| self.package(p));
        let mut packages: Vec<_> = packages.filter(|package| *package != NONE).collect();
        packages.sort_unstable();
        packages.dedup();
        packages
    }

    /// Returns the command line that installs `programs`.
    pub(crate) fn command(self, programs: &[Program]) -> String {
        let install = match self {
            Self::Debian => "sudo apt-get install --no-install-recommends",
            Self::Fedora => "sudo dnf install",
            Self::Arch => "sudo pacman -S --needed",
        };
        format!("{install} {}", self.packages(programs).join(" "))
    }
}

/// Returns the error text for programs that are `missing` and were not installed, for the reason `why`.
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
        "{} missing, and {why}. Packages:\n\n{}\nInstall with:\n{commands}",
        match missing {
            [one] => format!("{} is", one.program),
            several => format!("{} programs are", several.len()),
        },
        columns(&rows),
    );
    if here != Some(Distribution::Debian) {
        text.push_str(
            "Debian's kernel source is not available here; pass your own with --kernel-src.\n",
        );
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
    fn a_kernel_image_needs_no_build_programs() {
        let target = crate::target::tests::x86_64();
        let needs = |kernel, name: &str| {
            let needed = needed(&[&target], kernel).unwrap();
            needed.iter().any(|p| p.program == name)
        };
        for build_only in ["flex", "libelf headers"] {
            assert!(needs(true, build_only));
            assert!(!needs(false, build_only));
        }
        assert!(needs(false, "gcc") && needs(false, "qemu-system-x86_64"));
    }

    #[test]
    fn a_known_distribution_gets_its_own_command() {
        let missing = [program("flex"), program("bison")];
        let text =
            explain(&missing, "--no-setup forbids installing anything", Some(Distribution::Debian));
        insta::assert_snapshot!(text, @"
        2 programs are missing, and --no-setup forbids installing anything. Packages:

          program  Debian     Fedora     Arch
          flex     flex-deb   flex-fed   one-for-all
          bison    bison-deb  bison-fed  one-for-all

        Install with:
          sudo apt-get install --no-install-recommends bison-deb flex-deb
        ");
    }

    #[test]
    fn an_unknown_distribution_gets_all_commands() {
        let rare = Program { fedora: NONE.into(), ..program("wasm2c") };
        let text = explain(&[program("flex"), rare], "this is not Debian", None);
        insta::assert_snapshot!(text, @"
        2 programs are missing, and this is not Debian. Packages:

          program  Debian      Fedora    Arch
          flex     flex-deb    flex-fed  one-for-all
          wasm2c   wasm2c-deb  (none)    one-for-all

        Install with:
          sudo apt-get install --no-install-recommends flex-deb wasm2c-deb
          sudo dnf install flex-fed
          sudo pacman -S --needed one-for-all
        Debian's kernel source is not available here; pass your own with --kernel-src.
        ");
    }
}

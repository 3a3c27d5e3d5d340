// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs the lab needs, whether they are here, and which package has them.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::table::columns;
use crate::target::Target;

/// Something the lab needs on the host, and the package that has it on each distribution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Name of the program, as typed; where `files` is given, what a person would call it.
    pub program: String,
    /// Package on Debian and its derivatives.
    pub debian: String,
    /// Package on Fedora.
    pub fedora: String,
    /// Package on Arch Linux.
    pub arch: String,
    /// For a library or a header: the places where distributions put it; one of them suffices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PathBuf>,
    /// What it is needed for.
    #[serde(default, rename = "for", skip_serializing_if = "Purpose::is_any")]
    pub purpose: Purpose,
}

/// What something is needed for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Whatever the lab does.
    #[default]
    Any,
    /// To build a kernel: not where one is given.
    Kernel,
}

impl Purpose {
    fn is_any(&self) -> bool {
        *self == Self::Any
    }
}

impl Program {
    /// Where it is, if it is there; `path` is the content of `PATH`.
    pub fn find(&self, path: &OsStr) -> Option<PathBuf> {
        if self.files.is_empty() {
            return find_program(&self.program, path);
        }
        self.files.iter().find(|file| file.exists()).cloned()
    }
}

/// The program called `name` in the first directory of `path` (content of `PATH`) that has it.
pub(crate) fn find_program(name: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .map(|dir| dir.join(name))
        .find(|file| {
            file.metadata()
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
}

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

    /// The family that the content of /etc/os-release (os-release(5)) names; `None`: another one.
    pub(crate) fn detect(os_release: &str) -> Option<Self> {
        let value = |key: &str| {
            let mut lines = os_release.lines();
            let found = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            found.unwrap_or("").trim_matches(['"', '\''])
        };
        let names = [value("ID"), value("ID_LIKE")].join(" ");
        names.split_whitespace().find_map(|name| match name {
            "debian" | "ubuntu" => Some(Self::Debian),
            "fedora" | "rhel" | "centos" => Some(Self::Fedora),
            "arch" => Some(Self::Arch),
            _ => None,
        })
    }

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
pub(super) mod tests {
    use super::*;

    pub(crate) fn program(name: &str) -> Program {
        Program {
            program: name.into(),
            debian: format!("{name}-deb"),
            fedora: format!("{name}-fed"),
            arch: "one-for-all".into(),
            files: Vec::new(),
            purpose: Purpose::Any,
        }
    }

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
    fn derivatives_belong_to_their_family() {
        let family = |text: &str| Distribution::detect(text);
        assert_eq!(family("NAME=x\nID=debian\n"), Some(Distribution::Debian));
        assert_eq!(
            family("ID=linuxmint\nID_LIKE=\"ubuntu debian\""),
            Some(Distribution::Debian)
        );
        assert_eq!(
            family("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\""),
            Some(Distribution::Fedora)
        );
        assert_eq!(family("ID=manjaro\nID_LIKE=arch"), Some(Distribution::Arch));
        assert_eq!(family("ID=alpine\nVARIANT_ID=debian"), None);
        assert_eq!(family(""), None);
    }

    #[test]
    fn a_library_is_where_one_of_its_files_is() {
        let mut library = program("libx.a");
        library.files = vec!["/nowhere/libx.a".into(), "/etc/passwd".into()];
        assert_eq!(library.find(OsStr::new("")), Some("/etc/passwd".into()));
        library.files.pop();
        assert_eq!(library.find(OsStr::new("/bin")), None);
    }

    #[test]
    fn only_what_can_be_run_is_a_program() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("flex"), "").unwrap();
        std::fs::create_dir(dir.path().join("bison")).unwrap();
        let path = std::env::join_paths([dir.path(), Path::new("/bin")]).unwrap();
        assert_eq!(find_program("flex", dir.path().as_os_str()), None);
        assert_eq!(find_program("bison", dir.path().as_os_str()), None);
        assert_eq!(find_program("sh", &path), Some("/bin/sh".into()));
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

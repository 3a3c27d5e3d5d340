// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs on the host: what the lab needs, and where a program is.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
    pub(crate) fn is_any(&self) -> bool {
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

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

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
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs on the host: descriptions of the programs that the lab needs, and the search for a program in `PATH`.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Program, library or header that the lab needs on the host, and the package that contains it on each distribution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Name of the program in `PATH`; if `files` is given, a name for messages.
    pub program: String,
    /// Package on Debian and its derivatives; `(none)` if there is none.
    pub debian: String,
    /// Package on Fedora; `(none)` if there is none.
    pub fedora: String,
    /// Package on Arch Linux; `(none)` if there is none.
    pub arch: String,
    /// Paths of a library or a header on the various distributions. One existing path suffices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PathBuf>,
    /// Work that needs the program.
    #[serde(default, rename = "for", skip_serializing_if = "Purpose::is_any")]
    pub purpose: Purpose,
}

/// Work that needs a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Everything that the lab does.
    #[default]
    Any,
    /// Kernel builds only; not needed if the user passes a kernel image.
    Kernel,
}

impl Purpose {
    pub(crate) fn is_any(&self) -> bool {
        *self == Self::Any
    }
}

impl Program {
    /// Returns the path of the program, or `None` if it is missing. `path` is the content of `PATH`.
    pub fn find(&self, path: &OsStr) -> Option<PathBuf> {
        if self.files.is_empty() {
            return find_program(&self.program, path);
        }
        self.files.iter().find(|file| file.exists()).cloned()
    }
}

/// Returns the path of the executable `name` in the first directory of `path` (the content of `PATH`) that contains it.
pub(crate) fn find_program(name: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path).map(|dir| dir.join(name)).find(|file| {
        file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
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
    fn a_library_is_found_at_any_of_its_paths() {
        let mut library = program("libx.a");
        library.files = vec!["/nowhere/libx.a".into(), "/etc/passwd".into()];
        assert_eq!(library.find(OsStr::new("")), Some("/etc/passwd".into()));
        library.files.pop();
        assert_eq!(library.find(OsStr::new("/bin")), None);
    }

    #[test]
    fn only_executable_files_are_programs() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("flex"), "").unwrap();
        std::fs::create_dir(dir.path().join("bison")).unwrap();
        let path = std::env::join_paths([dir.path(), Path::new("/bin")]).unwrap();
        assert_eq!(find_program("flex", dir.path().as_os_str()), None);
        assert_eq!(find_program("bison", dir.path().as_os_str()), None);
        assert_eq!(find_program("sh", &path), Some("/bin/sh".into()));
    }
}

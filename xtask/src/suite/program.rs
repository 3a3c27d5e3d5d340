// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs of cases: C files under `suites/`, and directories under `clients/`.

use std::path::{Path, PathBuf};

use protocol::plan::Work;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected};

/// Directory of programs that use libfuse.
const CLIENTS: &str = "clients";

/// A C program, and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SuiteProgram {
    source: ProgramSource,
    args: Vec<String>,
}

/// Source of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ProgramSource {
    /// A C file, by its path relative to `suites/`.
    File(PathBuf),
    /// A directory, by its path relative to the checkout. Its C files make one program, which uses libfuse.
    Client(PathBuf),
}

impl SuiteProgram {
    /// Returns the path of the C file or of the directory in the checkout.
    pub(crate) fn source(&self, checkout: &Path) -> PathBuf {
        match &self.source {
            ProgramSource::File(path) => checkout.join("suites").join(path),
            ProgramSource::Client(path) => checkout.join(path),
        }
    }

    /// Returns true if the source is a directory, and the program is linked with libfuse.
    pub(crate) fn uses_libfuse(&self) -> bool {
        matches!(self.source, ProgramSource::Client(_))
    }

    /// Returns the name of the program in the image: the path without the extension.
    pub(crate) fn name(&self) -> String {
        let (ProgramSource::File(path) | ProgramSource::Client(path)) = &self.source;
        path.with_extension("").display().to_string()
    }

    /// Returns the program as the code of a case.
    pub(crate) fn work(&self) -> Work {
        Work::Program { name: self.name(), args: self.args.clone() }
    }
}

impl<'de> Deserialize<'de> for SuiteProgram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut words = text.split_whitespace();
        let path = PathBuf::from(words.next().unwrap_or_default());
        let source = match path.extension() {
            Some(extension) if extension == "c" => ProgramSource::File(path),
            None if path.starts_with(CLIENTS) => ProgramSource::Client(path),
            _ => {
                let expected = "a C file relative to suites/, such as mainline/loop-direct.c, or a directory such as \
                                clients/ring, and arguments";
                return Err(D::Error::invalid_value(Unexpected::Str(&text), &expected));
            }
        };
        Ok(Self { source, args: words.map(str::to_owned).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_arguments() {
        let program: SuiteProgram = yaml_serde::from_str("mainline/fixed.c write 3").unwrap();
        let args = vec!["write".into(), "3".into()];
        assert_eq!(program.work(), Work::Program { name: "mainline/fixed".into(), args });
        let source = program.source(Path::new("/checkout"));
        assert_eq!(source, Path::new("/checkout/suites/mainline/fixed.c"));
        assert!(!program.uses_libfuse());
    }

    #[test]
    fn a_directory_of_clients_is_a_program_that_uses_libfuse() {
        let program: SuiteProgram = yaml_serde::from_str("clients/ring test").unwrap();
        let args = vec!["test".into()];
        assert_eq!(program.work(), Work::Program { name: "clients/ring".into(), args });
        assert_eq!(program.source(Path::new("/checkout")), Path::new("/checkout/clients/ring"));
        assert!(program.uses_libfuse());
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs of cases: C files under `suites/`.

use std::path::{Path, PathBuf};

use protocol::plan::Work;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected};

/// A C file under `suites/`, and the arguments of the program that it becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SuiteProgram {
    /// Path relative to `suites/`.
    source: PathBuf,
    args: Vec<String>,
}

impl SuiteProgram {
    /// Returns the path of the C file in the checkout.
    pub(crate) fn source(&self, checkout: &Path) -> PathBuf {
        checkout.join("suites").join(&self.source)
    }

    /// Returns the name of the program in the image: the path without the extension.
    pub(crate) fn name(&self) -> String {
        self.source.with_extension("").display().to_string()
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
        let source = PathBuf::from(words.next().unwrap_or_default());
        if source.extension().is_none_or(|extension| extension != "c") {
            let expected =
                "a C file relative to suites/, such as mainline/loop-direct.c, and arguments";
            return Err(D::Error::invalid_value(Unexpected::Str(&text), &expected));
        }
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
    }
}

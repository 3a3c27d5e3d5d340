// SPDX-License-Identifier: MIT OR Apache-2.0
//! Flavours: overlays on a kernel's configuration, read from `kernel-configs/flavours/*.yaml`.

use std::path::Path;

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

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
            ("debug", four),
            ("default", None),
            ("gcov", None),
            ("kcsan", four),
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
    fn a_number_of_processors_is_a_number() {
        let parse = |cpus: &str| -> Result<Flavour> {
            let text = format!("{{ name: a, about: b, time: 1, memory: 1, cpus: {cpus} }}");
            yaml::parse(&text, Path::new("a.yaml"))
        };
        assert_eq!(parse("4").unwrap().cpus, Some(4));
        assert!(parse("many").is_err());
    }
}

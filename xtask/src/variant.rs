// SPDX-License-Identifier: MIT OR Apache-2.0
//! Build variants: configurations in which `cargo xtask queue check` compiles the patch queue, read from
//! `kernel-configs/variants/*.yaml`.

use std::path::Path;

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{files, yaml};

/// A configuration of the kernel that is built but not booted.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BuildVariant {
    /// Name for `--check`; also the name of the file.
    pub name: String,
    /// Description in one line.
    pub about: String,
    /// Target whose architecture and compiler are used.
    pub target: String,
    /// Configuration that `options` are added to.
    #[serde(default)]
    pub start: Start,
    /// Options in the format of a `.config`. They win over those of the target. An option that the kernel's
    /// configuration tool drops is an error.
    #[serde(default)]
    pub options: String,
    /// Option without which the variant makes no sense, such as `CONFIG_PREEMPT_RT`. The variant is skipped if the kernel
    /// source does not define it.
    #[serde(default)]
    pub needs: Option<String>,
    /// Make targets, separated by spaces. Absent if only the files that the queue changes are compiled.
    #[serde(default)]
    pub make: Option<String>,
    /// True for the variant that every patch is compiled in; false for those that are built after the last patch of a
    /// stack. Exactly one variant must have it, and that one has no `make`.
    #[serde(default)]
    pub each_patch: bool,
}

/// Configuration that the options of a variant are added to.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, strum::IntoStaticStr,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Start {
    /// The configuration with which the lab tests the target.
    #[default]
    Target,
    /// Every option off that can be off.
    AllNoConfig,
    /// Every option a module, or on if it cannot be a module.
    AllModConfig,
}

/// Reads all variants in `dir`, sorted by name.
///
/// # Errors
/// A file does not parse or does not have the name of its variant, or there is not exactly one variant for each patch.
pub(crate) fn load_all(dir: &Path) -> Result<Vec<BuildVariant>> {
    let mut variants = Vec::new();
    for path in files::with_extension(dir, "yaml")? {
        let variant: BuildVariant = yaml::read(&path)?;
        if path.file_stem().is_none_or(|stem| *stem != *variant.name) {
            bail!(
                "{}: this file defines the variant {:?}: rename it to {}.yaml",
                path.display(),
                variant.name,
                variant.name
            );
        }
        if variant.each_patch == variant.make.is_some() {
            bail!(
                "{}: expected either `each_patch: true` or `make`, the make targets to build after the last patch",
                path.display()
            );
        }
        variants.push(variant);
    }
    match variants.iter().filter(|variant| variant.each_patch).count() {
        1 => Ok(variants),
        count => {
            bail!("{}: `each_patch: true` is in {count} files; expected one", dir.display())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{paths, target};

    #[test]
    fn every_variant_in_the_tree_has_a_target() {
        let configs = paths::checkout().join("kernel-configs");
        let targets = target::load_all(&configs).unwrap();
        let targets: BTreeSet<&str> = targets.iter().map(|target| target.name.as_str()).collect();
        for variant in load_all(&configs.join("variants")).unwrap() {
            assert!(targets.contains(variant.target.as_str()), "{}", variant.name);
        }
    }

    #[test]
    fn wrong_variants_are_rejected() {
        let error = |file: &str, text: &str| {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join(file), text).unwrap();
            let error = format!("{:#}", load_all(dir.path()).unwrap_err());
            error.replace(&*dir.path().to_string_lossy(), "DIR")
        };
        let each = "{ name: a, about: x, target: x, each_patch: true }";
        insta::assert_snapshot!(error("b.yaml", each), @r#"DIR/b.yaml: this file defines the variant "a": rename it to a.yaml"#);
        let end = "{ name: a, about: x, target: x, make: vmlinux }";
        insta::assert_snapshot!(error("a.yaml", end), @"DIR: `each_patch: true` is in 0 files; expected one");
        let neither = "{ name: a, about: x, target: x }";
        insta::assert_snapshot!(error("a.yaml", neither), @"DIR/a.yaml: expected either `each_patch: true` or `make`, the make targets to build after the last patch");
    }
}

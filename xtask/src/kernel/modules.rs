// SPDX-License-Identifier: MIT OR Apache-2.0
//! Loadable modules of a kernel. The kernel's make builds them if the configuration has [`OPTION`], and lists them in
//! `modules.order`.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::cache;
use crate::files;

/// Option of kernels that can load modules.
pub(super) const OPTION: &str = "CONFIG_MODULES";

/// Make target that builds all modules.
pub(super) const TARGET: &str = "modules";

/// Directory of the modules in the kernel's directory.
const DIR: &str = "modules";

/// A module, and the names of the modules that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Module {
    /// Path in the output directory, without the extension.
    stem: String,
    depends: Vec<String>,
}

impl Module {
    /// Returns the name in the lists of dependencies. The kernel writes `_` for `-`.
    fn name(&self) -> String {
        files::last_component(&self.stem).replace('-', "_")
    }
}

/// Copies the modules from the output directory `obj` to the kernel's directory `kernel`. Returns their paths relative
/// to `kernel`, sorted such that each module comes after those that it needs.
///
/// # Errors
/// A file is missing, or the dependencies are circular.
pub(super) fn publish(obj: &Path, kernel: &Path) -> Result<Vec<String>> {
    let list = files::read(&obj.join("modules.order"))?;
    let read = |line: &str| {
        // The list names the objects, such as fs/fuse/fuse.o.
        let stem = line.rsplit_once('.').map_or(line, |(stem, _)| stem).to_owned();
        let source = files::read(&obj.join(format!("{stem}.mod.c")))?;
        let depends = depends(&source).with_context(|| format!("{stem}.mod.c"))?;
        anyhow::Ok(Module { stem, depends })
    };
    let modules = sorted(list.lines().map(read).collect::<Result<_>>()?)?;
    if !modules.is_empty() {
        files::create_dir(&kernel.join(DIR))?;
    }
    let publish = |module: &Module| {
        let to = format!("{DIR}/{}.ko", files::last_component(&module.stem));
        cache::copy_synced(&obj.join(format!("{}.ko", module.stem)), &kernel.join(&to))?;
        Ok(to)
    };
    modules.iter().map(publish).collect()
}

/// Returns the names of the modules that a module needs. `source` is the C file that modpost generates for the module
/// (scripts/mod/modpost.c, add_depends()).
fn depends(source: &str) -> Result<Vec<String>> {
    let line = source.lines().find_map(|line| line.strip_prefix("MODULE_INFO(depends, \""));
    let names = line.and_then(|line| line.strip_suffix("\");"));
    let names = names.context("expected a line `MODULE_INFO(depends, \"NAMES\");`")?;
    Ok(names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

/// Sorts modules such that each comes after those that it needs. Apart from that, they keep their order.
fn sorted(mut waiting: Vec<Module>) -> Result<Vec<Module>> {
    let mut sorted: Vec<Module> = Vec::new();
    while !waiting.is_empty() {
        let ready = waiting.iter().position(|module| {
            module.depends.iter().all(|need| sorted.iter().any(|module| module.name() == *need))
        });
        match ready {
            Some(at) => sorted.push(waiting.remove(at)),
            None => {
                let stems: Vec<&str> = waiting.iter().map(|module| module.stem.as_str()).collect();
                bail!(
                    "modules need each other, or a module that was not built: {}",
                    stems.join(", ")
                )
            }
        }
    }
    Ok(sorted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(stem: &str, depends: &[&str]) -> Module {
        let depends = depends.iter().map(|name| name.to_string()).collect();
        Module { stem: stem.into(), depends }
    }

    #[test]
    fn a_module_comes_after_those_that_it_needs() {
        let modules = vec![
            module("fs/fuse/cuse", &["fuse"]),
            module("drivers/alone", &[]),
            module("fs/fuse/virtio-fs", &["fuse", "cuse"]),
            module("fs/last", &["virtio_fs"]),
            module("fs/fuse/fuse", &[]),
        ];
        let sorted = sorted(modules).unwrap();
        let names: Vec<String> = sorted.iter().map(Module::name).collect();
        assert_eq!(names, ["alone", "fuse", "cuse", "virtio_fs", "last"]);
    }

    #[test]
    fn a_missing_module_is_an_error() {
        let modules = vec![module("fs/fuse/fuse", &[]), module("fs/fuse/cuse", &["gone"])];
        insta::assert_snapshot!(sorted(modules).unwrap_err(), @"modules need each other, or a module that was not built: fs/fuse/cuse");
    }

    #[test]
    fn dependencies_are_read_from_the_generated_source() {
        let source = |names: &str| {
            format!("#include <linux/module.h>\n\nMODULE_INFO(depends, \"{names}\");\n\n")
        };
        assert_eq!(depends(&source("fuse,other")).unwrap(), ["fuse", "other"]);
        assert!(depends(&source("")).unwrap().is_empty());
        insta::assert_snapshot!(depends("").unwrap_err(), @r#"expected a line `MODULE_INFO(depends, "NAMES");`"#);
    }
}

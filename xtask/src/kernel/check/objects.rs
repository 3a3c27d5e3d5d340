// SPDX-License-Identifier: MIT OR Apache-2.0
//! Make targets that compile the files of a patch.

use std::collections::BTreeSet;
use std::path::Path;

/// Code that the change of a file affects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Affected {
    /// The objects of a make target: `mm/util.o`, or the directory `fs/fuse/`.
    Target(String),
    /// Whichever objects include the file.
    Unknown,
    /// Nothing that this architecture compiles.
    Nothing,
}

/// Directories at the top of the source that kbuild does not compile into the kernel.
const NOT_COMPILED: [&str; 6] = ["Documentation", "LICENSES", "samples", "scripts", "tools", "usr"];

/// Returns the code that a change of the file `path` affects. `arch` is the directory of the architecture below `arch`.
///
/// A subdirectory such as `fs/fuse` is compiled as a whole. The files directly in `mm`, `fs` or `kernel` are compiled one
/// by one, because these directories are large.
pub(super) fn affected(path: &str, arch: &str) -> Affected {
    let Some((dir, name)) = path.rsplit_once('/') else {
        return Affected::Nothing;
    };
    let parts: Vec<&str> = dir.split('/').collect();
    if NOT_COMPILED.contains(&parts[0]) || (parts[0] == "arch" && parts.get(1) != Some(&arch)) {
        return Affected::Nothing;
    }
    let is_header = name.ends_with(".h");
    if is_header && parts.contains(&"include") {
        return Affected::Unknown;
    }
    let top = if parts[0] == "arch" { 2 } else { 1 };
    let object = name.strip_suffix(".c").or(name.strip_suffix(".S"));
    let is_large = parts.len() <= top;
    match object {
        _ if !is_large && (object.is_some() || is_header || is_makefile(name)) => {
            Affected::Target(format!("{dir}/"))
        }
        Some(object) => Affected::Target(format!("{dir}/{object}.o")),
        None if is_header => Affected::Unknown,
        None => Affected::Nothing,
    }
}

fn is_makefile(name: &str) -> bool {
    ["Makefile", "Kbuild", "Kconfig"].contains(&name)
}

/// Returns the targets that compile a patch that changes the files `paths`. If the patch changes a header that any
/// object may include, adds the targets of all files `around` it: those that its stack changes.
pub(super) fn targets<'p>(
    paths: impl Iterator<Item = &'p String>,
    around: &BTreeSet<String>,
    arch: &str,
) -> BTreeSet<String> {
    let mut targets = BTreeSet::new();
    let mut is_unknown = false;
    for path in paths {
        match affected(path, arch) {
            Affected::Target(target) => _ = targets.insert(target),
            Affected::Unknown => is_unknown = true,
            Affected::Nothing => {}
        }
    }
    if is_unknown {
        targets.extend(around.iter().filter_map(|path| match affected(path, arch) {
            Affected::Target(target) => Some(target),
            _ => None,
        }));
    }
    targets
}

/// Returns the targets that compile each C file among `paths` by itself.
pub(super) fn single<'p>(paths: impl Iterator<Item = &'p String>, arch: &str) -> BTreeSet<String> {
    let compiled = paths.filter(|path| affected(path, arch) != Affected::Nothing);
    compiled.filter_map(|path| Some(format!("{}.o", path.strip_suffix(".c")?))).collect()
}

/// Returns true if `tree` has the source of a target.
pub(super) fn exists(tree: &Path, target: &str) -> bool {
    match target.strip_suffix(".o") {
        Some(object) => [".c", ".S"].iter().any(|end| tree.join(format!("{object}{end}")).exists()),
        None => tree.join(target).is_dir(),
    }
}

/// Returns the directory of an architecture below `arch`, such as `x86` for kbuild's `ARCH=x86_64`.
pub(super) fn arch_dir<'a>(root: &Path, arch: &'a str) -> &'a str {
    let exists = |name: &str| root.join("arch").join(name).is_dir();
    let mut shorter = (1..=arch.len()).rev().map(|len| &arch[..len]);
    shorter.find(|name| exists(name)).unwrap_or(arch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subdirectory_is_compiled_as_a_whole() {
        let of = |path: &str| match affected(path, "x86") {
            Affected::Target(target) => target,
            other => format!("{other:?}"),
        };
        let paths = [
            "fs/fuse/dev.c",
            "fs/fuse/fuse_i.h",
            "fs/fuse/Makefile",
            "mm/util.c",
            "mm/internal.h",
            "mm/Makefile",
            "arch/x86/mm/fault.c",
            "arch/x86/entry.S",
            "arch/arm/mm/mmap.c",
            "include/linux/mm.h",
            "arch/x86/include/asm/page.h",
            "tools/testing/selftests/fuse/dmmap.c",
            "Documentation/filesystems/fuse.rst",
            "MAINTAINERS",
        ];
        let rows: Vec<String> = paths.iter().map(|path| format!("{path}: {}", of(path))).collect();
        insta::assert_snapshot!(rows.join("\n"), @r"
        fs/fuse/dev.c: fs/fuse/
        fs/fuse/fuse_i.h: fs/fuse/
        fs/fuse/Makefile: fs/fuse/
        mm/util.c: mm/util.o
        mm/internal.h: Unknown
        mm/Makefile: Nothing
        arch/x86/mm/fault.c: arch/x86/mm/
        arch/x86/entry.S: arch/x86/entry.o
        arch/arm/mm/mmap.c: Nothing
        include/linux/mm.h: Unknown
        arch/x86/include/asm/page.h: Unknown
        tools/testing/selftests/fuse/dmmap.c: Nothing
        Documentation/filesystems/fuse.rst: Nothing
        MAINTAINERS: Nothing
        ");
    }

    #[test]
    fn a_shared_header_adds_the_targets_of_the_stack() {
        let paths = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        let around: BTreeSet<String> = paths(&["fs/fuse/dev.c", "mm/util.c", "include/linux/mm.h"]);
        let of = |names: &[&str]| {
            let own: BTreeSet<String> = paths(names);
            Vec::from_iter(targets(own.iter(), &around, "x86")).join(" ")
        };
        assert_eq!(of(&["mm/gup.c"]), "mm/gup.o");
        assert_eq!(of(&["mm/gup.c", "include/linux/mm.h"]), "fs/fuse/ mm/gup.o mm/util.o");
        assert_eq!(of(&["Documentation/mm/x.rst"]), "");
        let own: BTreeSet<String> = paths(&["fs/fuse/dev.c", "fs/fuse/fuse_i.h", "tools/a.c"]);
        assert_eq!(Vec::from_iter(single(own.iter(), "x86")), ["fs/fuse/dev.o"]);
    }

    #[test]
    fn an_architecture_may_have_a_longer_name_than_its_directory() {
        let root = tempfile::tempdir().unwrap();
        for name in ["x86", "arm", "arm64"] {
            std::fs::create_dir_all(root.path().join("arch").join(name)).unwrap();
        }
        let dirs = ["x86_64", "arm64", "arm", "vax"].map(|arch| arch_dir(root.path(), arch));
        assert_eq!(dirs, ["x86", "arm64", "arm", "vax"]);
    }
}

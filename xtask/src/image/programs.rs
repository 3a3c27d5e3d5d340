// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compiles the C programs of cases.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Result;

use super::c::CProgram;
use crate::files;
use crate::lock::{self, Hold};
use crate::output::errln;
use crate::suite::SuiteProgram;

/// Compiles `programs` with the compiler that has the prefix `cross`, and returns the name and the content of each. A
/// program that is newer than all files in the directory of its source is not compiled again.
///
/// # Errors
/// A program does not compile. The error contains the compiler's messages.
pub(crate) fn build<'p>(
    checkout: &Path,
    cross: &str,
    programs: impl IntoIterator<Item = &'p SuiteProgram>,
) -> Result<Vec<(String, Vec<u8>)>> {
    let out = checkout.join("target/guest/programs").join(match cross {
        "" => "native",
        cross => cross.trim_end_matches('-'),
    });
    let mut built = BTreeSet::new();
    let mut contents = Vec::new();
    // Another run must not read a program that is being written.
    let lock = out.with_extension("lock");
    let _lock = lock::lock(&lock, Hold::Exclusive, "is compiling the programs of cases", |line| {
        errln!("{line}");
    })?;
    for program in programs {
        let name = program.name();
        if !built.insert(name.clone()) {
            continue;
        }
        let (source, to) = (program.source(checkout), out.join(&name));
        if !is_current(&to, &source) {
            let flags = ["-std=gnu11", "-Wall", "-Wextra"].map(str::to_owned).into();
            CProgram { sources: vec![source], flags }.build(cross, &to)?;
        }
        contents.push((name, files::read_bytes(&to)?));
    }
    Ok(contents)
}

/// Returns true if `program` is newer than every file in the directory of `source`.
fn is_current(program: &Path, source: &Path) -> bool {
    let modified = |path: &Path| -> Option<SystemTime> { path.metadata().ok()?.modified().ok() };
    let newest = || {
        let entries = source.parent()?.read_dir().ok()?;
        entries.map(|entry| modified(&entry.ok()?.path())).max().flatten()
    };
    matches!((modified(program), newest()), (Some(program), Some(newest)) if program > newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_compiled_again_only_after_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let suites = dir.path().join("suites/demo");
        std::fs::create_dir_all(&suites).unwrap();
        let write = |name: &str, text: &str| std::fs::write(suites.join(name), text).unwrap();
        write("answer.h", "#define ANSWER 0\n");
        write("a.c", "#include \"answer.h\"\nint main(void) { return ANSWER; }\n");
        let program: SuiteProgram = yaml_serde::from_str("demo/a.c first").unwrap();
        let again: SuiteProgram = yaml_serde::from_str("demo/a.c second").unwrap();
        let build = || build(dir.path(), "", [&program, &again]).unwrap();
        let first = build();
        assert_eq!(first.len(), 1);
        assert_eq!(first[0].0, "demo/a");
        let file = dir.path().join("target/guest/programs/native/demo/a");
        let time = || file.metadata().unwrap().modified().unwrap();
        let before = time();
        assert_eq!((build() == first, time()), (true, before));
        write("answer.h", "#define ANSWER 1\n");
        assert!(build() != first);
        assert!(time() > before);
    }
}

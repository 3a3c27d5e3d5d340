// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compiles the C programs of cases.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Result;

use super::c::CProgram;
use super::debian_program::Package;
use super::libfuse::Libfuse;
use crate::files;
use crate::lock::{self, Hold};
use crate::suite::SuiteProgram;

/// File in the directory of a program that uses libfuse. Each line is a [`Package`] of Debian whose programs the case
/// executes; lines that begin with `#` are comments.
const DEBIAN: &str = "debian.txt";

/// Directory of Debian's programs, beside those of cases.
const DEBIAN_DIR: &str = "debian";

/// Builds the C programs of cases for a target.
pub(crate) struct Builder<'b> {
    /// The lab's checkout.
    pub checkout: &'b Path,
    /// The user's cache.
    pub cache: &'b Path,
    /// Prefix of the C compiler.
    pub cross: &'b str,
    /// Receives a line about each step that takes long.
    pub say: &'b mut dyn FnMut(String),
}

impl Builder<'_> {
    /// Compiles `programs`, and returns the name and the content of each, and of the programs that they execute. A program
    /// that is newer than all files in the directory of its source is not compiled again.
    ///
    /// # Errors
    /// A program does not compile, or Debian's source of something that it needs cannot be downloaded. The error contains
    /// the compiler's messages.
    pub(crate) fn build<'p>(
        &mut self,
        programs: impl IntoIterator<Item = &'p SuiteProgram>,
    ) -> Result<Vec<(String, Vec<u8>)>> {
        let mut libfuse = None;
        let mut built = BTreeSet::new();
        let mut contents = Vec::new();
        // Another run must not read a program that is being written.
        let lock = self.out().with_extension("lock");
        let waiting = "is compiling the programs of cases";
        let _lock = lock::lock(&lock, Hold::Exclusive, waiting, &mut *self.say)?;
        for program in programs {
            let name = program.name();
            if !built.insert(name.clone()) {
                continue;
            }
            let source = program.source(self.checkout);
            let to = if program.uses_libfuse() {
                let libfuse = match &libfuse {
                    Some(libfuse) => libfuse,
                    None => libfuse.insert(self.libfuse()?),
                };
                for package in packages(&source)? {
                    for (program, content) in self.package(&package, libfuse)? {
                        let name = format!("{DEBIAN_DIR}/{program}");
                        if built.insert(name.clone()) {
                            contents.push((name, content));
                        }
                    }
                }
                self.client(&source, &name, libfuse)?
            } else {
                self.file(source, &name)?
            };
            contents.push((name, files::read_bytes(&to)?));
        }
        Ok(contents)
    }

    fn libfuse(&mut self) -> Result<Libfuse> {
        Libfuse::build(self.checkout, self.cache, self.cross, self.say)
    }

    fn package(&mut self, package: &Package, libfuse: &Libfuse) -> Result<Vec<(String, Vec<u8>)>> {
        package.build(self.checkout, self.cache, self.cross, libfuse, self.say)
    }

    /// Returns the directory of programs for this compiler.
    fn out(&self) -> PathBuf {
        self.checkout.join("target/guest/programs").join(match self.cross {
            "" => "native",
            cross => cross.trim_end_matches('-'),
        })
    }

    /// Compiles the C file `source`. Returns the program.
    fn file(&self, source: PathBuf, name: &str) -> Result<PathBuf> {
        let to = self.out().join(name);
        if !source.parent().is_some_and(|dir| is_current(&to, dir)) {
            self.compile(vec![source], Vec::new(), &to)?;
        }
        Ok(to)
    }

    /// Compiles the C files in the directory `dir` into one program with libfuse. Returns the program.
    fn client(&self, dir: &Path, name: &str, libfuse: &Libfuse) -> Result<PathBuf> {
        let to = self.out().join(libfuse.name()).join(name);
        if !is_current(&to, dir) {
            let mut sources = files::with_extension(dir, "c")?;
            sources.push(libfuse.object());
            self.compile(sources, libfuse.flags(), &to)?;
        }
        Ok(to)
    }

    fn compile(&self, sources: Vec<PathBuf>, more: Vec<String>, to: &Path) -> Result<()> {
        let flags = ["-std=gnu11", "-Wall", "-Wextra"].map(str::to_owned).into_iter();
        CProgram { sources, flags: flags.chain(more).collect() }.build(self.cross, to)
    }
}

/// Returns the packages in the file [`DEBIAN`] of the directory `dir`, if there is one.
fn packages(dir: &Path) -> Result<Vec<Package>> {
    let text = files::read_if_exists(&dir.join(DEBIAN))?.unwrap_or_default();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.filter(|line| !line.starts_with('#')).map(Package::parse).collect()
}

/// Returns true if `program` is newer than every file in the directory `dir`.
fn is_current(program: &Path, dir: &Path) -> bool {
    let modified = |path: &Path| -> Option<SystemTime> { path.metadata().ok()?.modified().ok() };
    let newest = || {
        let entries = dir.read_dir().ok()?;
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
        let build = || {
            let mut say = |line: String| panic!("{line}");
            let (checkout, cache) = (dir.path(), Path::new("/none"));
            let mut builder = Builder { checkout, cache, cross: "", say: &mut say };
            builder.build([&program, &again]).unwrap()
        };
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

    #[test]
    fn programs_of_debian_are_lines_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(packages(dir.path()).unwrap(), []);
        std::fs::write(dir.path().join(DEBIAN), "# a comment\n\nfbcat\nfbset \n").unwrap();
        let expected = ["fbcat", "fbset"].map(|name| Package::parse(name).unwrap());
        assert_eq!(packages(dir.path()).unwrap(), expected);
    }
}

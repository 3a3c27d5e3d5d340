// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs of Debian that cases execute, such as `fbcat`.
//!
//! They are built from Debian's source with the C compiler of the target, as busybox is. `clients/PACKAGE` can contain
//! patches for the source, and a makefile in place of its own. The result stays in the cache, under a hash of the patches, the
//! makefile and the compiler; the source is downloaded once.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::libfuse::Libfuse;
use super::upstream;
use crate::files;
use crate::lock::{self, Hold};

/// A source package of Debian, and the programs that are built from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Package {
    name: String,
    programs: Vec<String>,
}

impl Package {
    /// Parses the name of a package and those of its programs, separated by spaces. Without programs, the program has the
    /// name of the package.
    ///
    /// # Errors
    /// A name contains a slash.
    pub(super) fn parse(line: &str) -> Result<Self> {
        let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        if let Some(wrong) = words.iter().find(|word| !files::is_plain_name(word)) {
            bail!("{wrong:?} is not the name of a package or a program");
        }
        let name = words.first().context("a package has a name")?.clone();
        words.drain(..usize::from(words.len() > 1));
        Ok(Package { name, programs: words })
    }

    /// Returns the name and content of each program, built by the C compiler with the prefix `cross`. Downloads and builds
    /// them first if the cache does not have them; `say` gets a line about that.
    ///
    /// make gets the variable `CC`, which builds static programs, and `LIBFUSE`, the arguments of the compiler for a program
    /// that uses libfuse.
    ///
    /// # Errors
    /// The source cannot be downloaded, a patch does not apply, or make fails. The error contains the messages.
    pub(super) fn build(
        &self,
        checkout: &Path,
        cache: &Path,
        cross: &str,
        libfuse: &Libfuse,
        say: &mut dyn FnMut(String),
    ) -> Result<Vec<(String, Vec<u8>)>> {
        let name = &self.name;
        let dir = cache.join("debian-programs").join(name);
        let waiting = format!("is building {name}");
        let _lock = lock::lock(&dir.join("lock"), Hold::Exclusive, &waiting, &mut *say)?;
        let ours = checkout.join("clients").join(name);
        let patches = match ours.is_dir() {
            true => files::with_extension(&ours, "patch")?,
            false => Vec::new(),
        };
        let makefile = Some(ours.join("Makefile")).filter(|makefile| makefile.is_file());
        // 64-bit offsets and times: as in `super::c`.
        let compiler = format!("CC={cross}gcc -static -D_FILE_OFFSET_BITS=64 -D_TIME_BITS=64");
        let object = libfuse.object().display().to_string();
        let mut args = vec!["-s".to_owned(), compiler];
        args.push(format!("LIBFUSE={} {object}", libfuse.flags().join(" ")));
        args.extend(self.programs.iter().cloned());
        let inputs: Vec<_> = patches.iter().cloned().chain(makefile.clone()).collect();
        let hash = upstream::hash(cross, args.iter().map(String::as_str), &inputs)?;
        let built = dir.join(hash);
        if !built.is_dir() {
            let source = upstream::source(name, &dir, say)?;
            say(format!("build {name} with {cross}gcc; the result stays in {}", dir.display()));
            upstream::create(&built, |tree| {
                upstream::patched(&source, tree, &patches)?;
                if let Some(makefile) = makefile {
                    files::write(&tree.join("Makefile"), files::read_bytes(&makefile)?)?;
                }
                upstream::run("make", &args, tree)
            })
            .with_context(|| format!("build {name} for the guest"))?;
        }
        let read =
            |program: &String| Ok((program.clone(), files::read_bytes(&built.join(program))?));
        self.programs.iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_line_has_a_package_and_programs() {
        let parse = |line: &str| Package::parse(line).unwrap();
        let words = |package: Package| format!("{}: {}", package.name, package.programs.join(" "));
        assert_eq!(words(parse("fbcat")), "fbcat: fbcat");
        assert_eq!(words(parse("osspd osspd osstest")), "osspd: osspd osstest");
        let error = Package::parse("osspd ../osstest").unwrap_err();
        insta::assert_snapshot!(error, @r#""../osstest" is not the name of a package or a program"#);
    }

    #[test]
    fn programs_are_built_once_with_patches_and_a_makefile() {
        let dir = tempfile::tempdir().unwrap();
        let (checkout, cache) = (dir.path().join("checkout"), dir.path().join("cache"));
        let source = cache.join("debian-programs/answer/source");
        let ours = checkout.join("clients/answer");
        for dir in [&source, &ours] {
            fs::create_dir_all(dir).unwrap();
        }
        fs::write(source.join("answer.c"), "int main(void) { return 41; }\n").unwrap();
        let patch = "--- a/answer.c\n+++ b/answer.c\n@@ -1 +1 @@\n-int main(void) { return 41; }\n\
                     +int main(void) { return 42; }\n";
        fs::write(ours.join("0001-answer.patch"), patch).unwrap();
        fs::write(ours.join("Makefile"), "answer: answer.c\n\t$(CC) $^ -o $@\n").unwrap();
        let libfuse = Libfuse::in_dir(dir.path().join("libfuse"));
        let package = Package::parse("answer").unwrap();
        let mut lines = Vec::new();
        let mut build = || {
            let mut say = |line: String| lines.push(line);
            package.build(&checkout, &cache, "", &libfuse, &mut say)
        };
        let first = build().unwrap();
        assert_eq!(first.len(), 1);
        assert_eq!(first[0].0, "answer");
        assert!(first[0].1.starts_with(b"\x7fELF"));
        assert_eq!(build().unwrap(), first);
        fs::write(ours.join("Makefile"), "MAKEFLAGS += -r\nother:\n").unwrap();
        let error = format!("{:#}", build().map(|programs| programs.len()).unwrap_err());
        assert!(error.starts_with("build answer for the guest: make: exit status: 2"), "{error}");
        assert!(error.contains("No rule to make target 'answer'"), "{error}");
        let said = lines.join("\n").replace(&*dir.path().to_string_lossy(), "DIR");
        insta::assert_snapshot!(said, @"
        build answer with gcc; the result stays in DIR/cache/debian-programs/answer
        build answer with gcc; the result stays in DIR/cache/debian-programs/answer
        ");
        let run = dir.path().join("answer");
        fs::write(&run, &first[0].1).unwrap();
        let sh = crate::shell::here().unwrap();
        xshell::cmd!(sh, "chmod +x {run}").run().unwrap();
        let output = crate::shell::output(xshell::cmd!(sh, "{run}")).unwrap();
        assert_eq!(output.status.code(), Some(42));
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds the kernel's own selftests for the guest, as static programs, with the C compiler of the target
//! (Documentation/dev-tools/kselftest.rst).

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use super::c;
use super::elf::is_script;
use super::guest_files::GuestFile;
use crate::{files, guard};

/// Directory of the collections in the guest.
const IN_GUEST: &str = "/kselftest";

/// Variables of the environment that the makefiles would add to ours, besides those that would change a kernel build.
const IGNORED: [&str; 4] = ["CFLAGS", "LDFLAGS", "LDLIBS", "OUTPUT"];

/// Goal that prints the names of the programs. A collection whose programs are run by a script, such as mm, has them
/// among its files.
const LIST: &str = "lab-list: ; @echo $(or $(TEST_GEN_PROGS),$(TEST_GEN_FILES)); \
                    echo $(TEST_GEN_PROGS_EXTENDED) $(if $(TEST_GEN_PROGS),$(TEST_GEN_FILES)); \
                    echo $(TEST_PROGS); echo $(TEST_FILES)";

/// Selftests to run: the value of `--kselftest COLLECTION[:PROGRAM]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Directory below `tools/testing/selftests`.
    collection: String,
    /// Name of one program; `None` for all.
    program: Option<String>,
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.collection)?;
        self.program.iter().try_for_each(|program| write!(f, ":{program}"))
    }
}

impl FromStr for Wanted {
    type Err = anyhow::Error;

    /// # Errors
    /// The collection is not a directory below another one.
    fn from_str(text: &str) -> Result<Self> {
        let (collection, program) = match text.split_once(':') {
            Some((collection, program)) => (collection, Some(program.to_owned())),
            None => (text, None),
        };
        let is_plain = |part: &str| !part.is_empty() && !part.starts_with('.');
        if !collection.split('/').all(is_plain) {
            bail!(
                "expected a directory below tools/testing/selftests, such as mm or filesystems/epoll"
            );
        }
        Ok(Self { collection: collection.trim_end_matches('/').to_owned(), program })
    }
}

/// A program of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selftest {
    /// Collection and name, as in `mm-map_populate`.
    pub name: String,
    /// Shell command that runs it in its directory.
    pub command: String,
    /// Reason why it cannot run; `None` if it can.
    pub skip: Option<String>,
}

/// Selftests and their files in the guest.
#[derive(Debug, Default)]
pub(crate) struct Selftests {
    pub tests: Vec<Selftest>,
    pub files: Vec<GuestFile>,
}

/// Compiler and headers of a target, for the kernel's selftests.
#[derive(Debug)]
pub(crate) struct Builder<'b> {
    /// `tools/testing/selftests` in a source that may be written to.
    pub dir: &'b Path,
    /// Headers of the kernel for programs.
    pub headers: &'b Path,
    /// Value of kbuild's `ARCH`.
    pub arch: &'b str,
    /// Prefix of the C compiler.
    pub cross: &'b str,
    /// Variables of the environment that would change a build.
    pub unset: &'b [&'b str],
    pub jobs: usize,
}

/// Returns the options of the C compiler for all programs.
pub(crate) fn flags() -> String {
    c::FLAGS.join(" ")
}

impl Builder<'_> {
    /// Builds what can be built of a collection, and adds it to `built`.
    ///
    /// # Errors
    /// There is no such collection or program, or make cannot be run.
    pub(crate) fn build(&self, wanted: &Wanted, built: &mut Selftests) -> Result<()> {
        let Wanted { collection, program } = wanted;
        let dir = self.dir.join(collection);
        if !dir.join("Makefile").is_file() {
            bail!(
                "--kselftest {collection}: the kernel source has no tools/testing/selftests/{collection}"
            );
        }
        // Programs that do not compile are found below.
        self.make(&dir, &["-k", "all"])?;
        let (listed, messages) = self.make(&dir, &["--eval", LIST, "lab-list"])?;
        let mut lists =
            listed.lines().rev().take(4).map(words).collect::<Vec<_>>().into_iter().rev();
        let mut next = || lists.next().unwrap_or_default();
        let (programs, helpers, scripts, data) = (next(), next(), next(), next());
        let is_wanted = |path: &&String| {
            program.as_ref().is_none_or(|name| *name == files::last_component(path))
        };
        let found: Vec<&String> = programs.iter().chain(&scripts).filter(is_wanted).collect();
        if found.is_empty() {
            match (program, programs.is_empty() && scripts.is_empty()) {
                (Some(name), false) => {
                    let names =
                        programs.iter().chain(&scripts).map(|path| files::last_component(path));
                    let names = names.collect::<Vec<_>>().join(", ");
                    bail!(
                        "--kselftest {wanted}: {collection} has no program {name}; it has: {names}"
                    );
                }
                _ => bail!(
                    "--kselftest {wanted}: make lists no programs of {collection}: {}",
                    first_error(&messages)
                ),
            }
        }
        for path in found {
            let test = self.test(collection, &dir, path)?;
            // A program may be selected twice: by itself, and with its collection.
            if built.tests.iter().all(|other| other.name != test.name) {
                built.tests.push(test);
            }
        }
        for path in programs.iter().chain(&scripts).chain(&helpers).chain(&data) {
            built.files.extend(self.guest_file(collection, &dir.join(path))?);
        }
        Ok(())
    }

    fn test(&self, collection: &str, dir: &Path, path: &str) -> Result<Selftest> {
        let name = files::last_component(path);
        let file = dir.join(path);
        let skip = match files::read_bytes(&file) {
            Ok(bytes) if is_script(&bytes) => needs_other_shell(&bytes),
            Ok(_) => None,
            Err(_) => {
                let (_, messages) = self.make(dir, &[&file.display().to_string()])?;
                Some(format!("it does not compile: {}", first_error(&messages)))
            }
        };
        Ok(Selftest {
            name: format!("{}-{name}", collection.replace('/', "-")),
            command: format!("cd {IN_GUEST}/{collection} && exec ./{name}"),
            skip,
        })
    }

    /// Returns the file for the guest, without debug information, or `None` if it was not built.
    fn guest_file(&self, collection: &str, file: &Path) -> Result<Option<GuestFile>> {
        if !file.is_file() {
            return Ok(None);
        }
        let mut bytes = files::read_bytes(file)?;
        if bytes.starts_with(b"\x7fELF") {
            let stripped = PathBuf::from(format!("{}.stripped", file.display()));
            let strip = format!("{}strip", self.cross);
            let args = [file.as_os_str(), "-o".as_ref(), stripped.as_os_str()];
            let output = guard::run(&guard::command(&strip, args).stderr_capture())?;
            if output.status.success() {
                bytes = files::read_bytes(&stripped)?;
            }
        }
        let name = files::last_component(&file.to_string_lossy()).to_owned();
        Ok(Some(GuestFile::program(format!("{IN_GUEST}/{collection}/{name}"), bytes)))
    }

    /// Runs make in `dir`, and returns its output and its messages. make may fail.
    fn make(&self, dir: &Path, goals: &[&str]) -> Result<(String, String)> {
        let mut args = vec![
            "--silent".to_owned(),
            "--no-print-directory".into(),
            format!("-j{}", self.jobs),
            "-C".into(),
            dir.display().to_string(),
            format!("ARCH={}", self.arch),
            format!("CROSS_COMPILE={}", self.cross),
            format!("KHDR_INCLUDES=-isystem {}", self.headers.display()),
            format!("USERCFLAGS={}", flags()),
            "USERLDFLAGS=-static".into(),
        ];
        args.extend(goals.iter().map(|goal| goal.to_string()));
        // The reason of a skip is in the compiler's messages.
        let make = guard::command("make", args).env("LC_ALL", "C");
        let unset = IGNORED.iter().chain(self.unset);
        let command = unset.fold(make, |command, name| command.env_remove(name));
        let command = command.unchecked().stdout_capture().stderr_capture();
        let output = guard::run(&command).with_context(|| format!("build {}", dir.display()))?;
        if output.status.code() == Some(guard::CANNOT_RUN) {
            bail!("cannot run make: `cargo xtask doctor` shows what is missing");
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((text(&output.stdout), text(&output.stderr)))
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// Returns the reason why the guest cannot run a script: busybox is a POSIX shell and nothing else.
fn needs_other_shell(script: &[u8]) -> Option<String> {
    let first = script.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let first = String::from_utf8_lossy(first);
    let interpreter =
        first.trim_start_matches("#!").split_whitespace().next().map(files::last_component);
    (interpreter != Some("sh"))
        .then(|| format!("it is a script for {}", first.trim_start_matches("#!").trim()))
}

/// Returns the first error in the messages of a compiler and a linker, or their last line.
fn first_error(messages: &str) -> &str {
    let is_error = |line: &&str| {
        let marks = ["error: ", "undefined reference", "cannot find -l"];
        // The linker has named the error before its driver says that there was one.
        marks.iter().any(|mark| line.contains(mark)) && !line.starts_with("collect2: ")
    };
    let error = messages.lines().find(is_error).or_else(|| messages.lines().last());
    error.unwrap_or("make printed nothing").trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::guest_files::Content;

    #[test]
    fn the_reason_of_a_failed_link_is_the_missing_library() {
        let messages = "/usr/bin/ld: cannot find -lcap: No such file or directory\n\
                        collect2: error: ld returned 1 exit status\nmake: *** [x] Error 1\n";
        assert_eq!(
            first_error(messages),
            "/usr/bin/ld: cannot find -lcap: No such file or directory"
        );
        assert_eq!(first_error("make: *** [x] Error 1\n"), "make: *** [x] Error 1");
        assert_eq!(first_error(""), "make printed nothing");
    }

    const MAKEFILE: &str = "\
all: ; @for p in good helper; do echo program > $$p; done; printf '\\x7fELF' > elf
TEST_GEN_PROGS = $(CURDIR)/good $(CURDIR)/bad $(CURDIR)/elf
TEST_GEN_PROGS_EXTENDED = $(CURDIR)/helper
TEST_PROGS = posix.sh other.sh
$(CURDIR)/bad: ; @echo 'bad.c:3:1: error: unknown type $(ARCH)' >&2; false
";

    #[test]
    fn programs_that_do_not_compile_are_skipped_with_the_reason() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("mm");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("Makefile"), MAKEFILE).unwrap();
        std::fs::write(dir.join("posix.sh"), "#!/bin/sh\n").unwrap();
        std::fs::write(dir.join("other.sh"), "#! /usr/bin/env bash\n").unwrap();
        let headers = Path::new("/headers");
        let unset = &["MAKELEVEL"];
        let builder = Builder { dir: root.path(), headers, arch: "arm", cross: "", unset, jobs: 1 };
        let build = |wanted: &str| -> Result<Selftests> {
            let mut built = Selftests::default();
            for wanted in wanted.split(',') {
                builder.build(&wanted.parse().unwrap(), &mut built)?;
            }
            Ok(built)
        };
        let built = build("mm").unwrap();
        let rows = built.tests.iter().map(|test| {
            format!("{}: {}", test.name, test.skip.as_deref().unwrap_or(&test.command))
        });
        insta::assert_snapshot!(rows.collect::<Vec<_>>().join("\n"), @r"
        mm-good: cd /kselftest/mm && exec ./good
        mm-bad: it does not compile: bad.c:3:1: error: unknown type arm
        mm-elf: cd /kselftest/mm && exec ./elf
        mm-posix.sh: cd /kselftest/mm && exec ./posix.sh
        mm-other.sh: it is a script for /usr/bin/env bash
        ");
        let paths = built.files.iter().map(|file| {
            assert!(matches!(file.content, Content::File { mode: 0o755, .. }));
            file.path.trim_start_matches("/kselftest/mm/")
        });
        let paths: Vec<&str> = paths.collect();
        assert_eq!(paths, ["good", "elf", "posix.sh", "other.sh", "helper"]);
        let names = |built: Selftests| built.tests.into_iter().map(|test| test.name);
        assert_eq!(names(build("mm:good").unwrap()).collect::<Vec<_>>(), ["mm-good"]);
        assert_eq!(names(build("mm:elf,mm,mm:good").unwrap()).count(), 5);
        let error = |wanted: &str| format!("{:#}", build(wanted).unwrap_err());
        insta::assert_snapshot!(error("mm:none"), @"--kselftest mm:none: mm has no program none; it has: good, bad, elf, posix.sh, other.sh");
        insta::assert_snapshot!(error("nothing"), @"--kselftest nothing: the kernel source has no tools/testing/selftests/nothing");
        insta::assert_snapshot!("../mm".parse::<Wanted>().unwrap_err(), @"expected a directory below tools/testing/selftests, such as mm or filesystems/epoll");
    }
}

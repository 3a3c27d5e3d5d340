// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds a Rust program of the user as a static executable for the target.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use super::guest;
use crate::cargo::Build;
use crate::files;
use crate::target::{Backend, Target};

/// A program to build: the value of `--rust CRATE[:PROGRAM]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RustProgram {
    /// Directory of a package, or a source file.
    pub source: PathBuf,
    /// Name of the program, if the package has several.
    program: Option<String>,
}

impl FromStr for RustProgram {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.rsplit_once(':') {
            Some((source, program)) if files::is_plain_name(program) => {
                Self { source: source.into(), program: Some(program.to_owned()) }
            }
            _ => Self { source: text.into(), program: None },
        })
    }
}

impl RustProgram {
    /// Checks that the source exists, and that rustc can compile for `target`.
    ///
    /// # Errors
    /// The error says what is wrong.
    pub(crate) fn check(&self, target: &Target) -> Result<()> {
        let source = self.source.display();
        if target.rust.backend != Backend::Native {
            bail!("--rust {source}: rustc cannot compile for {}; use --c FILE...", target.name);
        }
        if !self.source.is_file() && !self.source.join("Cargo.toml").is_file() {
            bail!("--rust {source}: neither a source file nor the directory of a Cargo package");
        }
        Ok(())
    }

    /// Builds the program, and returns the path of the executable. `cache` is the lab's cache, which may contain the
    /// source of the standard library. `work` is a directory for the package of a single source file.
    ///
    /// # Errors
    /// The build fails; the error contains the compiler's messages. Or the package does not have this one program.
    pub(crate) fn build(
        &self,
        target: &Target,
        checkout: &Path,
        cache: &Path,
        work: &Path,
    ) -> Result<PathBuf> {
        let source = self.source.canonicalize().context("find the source")?;
        let package = if source.is_file() { package_of(&source, work)? } else { source };
        let std = guest::std_source(cache, &target.rust)?;
        let mut build = Build::of_manifest(
            &package.join("Cargo.toml"),
            &["--release", "--target", &target.rust.target],
            &checkout.join("target/guest-rust"),
        );
        if let Some(program) = &self.program {
            build.args.extend(["--bin".into(), program.into()]);
        }
        guest::set_environment(&mut build, &target.rust, std.as_deref());
        // `addr2line` and gdb can find the line of an instruction that the oracle reports.
        for (name, value) in [("DEBUG", "line-tables-only"), ("STRIP", "none"), ("PANIC", "abort")]
        {
            build.env.insert(format!("CARGO_PROFILE_RELEASE_{name}"), Some(value.into()));
        }
        let what = format!("{} for {}", self.source.display(), target.rust.target);
        let artifacts = build.run(&package, &what)?;
        let executables = artifacts.into_iter().filter_map(|artifact| artifact.executable);
        self.only(executables.map(PathBuf::from).collect())
    }

    fn only(&self, executables: Vec<PathBuf>) -> Result<PathBuf> {
        let source = self.source.display();
        match executables.as_slice() {
            [one] => Ok(one.clone()),
            [] => bail!("--rust {source}: the package has no program"),
            several => {
                let names = several.iter().filter_map(|path| path.file_name());
                let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
                let list = names.join(", ");
                bail!(
                    "--rust {source}: the package has several programs: {list}; choose one: --rust {source}:{}",
                    names[0]
                )
            }
        }
    }
}

/// Writes a package for the single source file `source` to `work`, and returns its directory.
fn package_of(source: &Path, work: &Path) -> Result<PathBuf> {
    let name = source.file_stem().context("a source file has a name")?.to_string_lossy();
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let name: String = name.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
    let path = serde_json::to_string(&source.to_string_lossy()).expect("a path is text");
    let manifest = format!(
        "[package]\nname = \"{name}\"\nedition = \"2024\"\n\n[[bin]]\nname = \"{name}\"\npath = {path}\n\n[workspace]\n"
    );
    files::create_dir(work)?;
    files::write(&work.join("Cargo.toml"), manifest)?;
    Ok(work.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_a_package_or_a_file() {
        let parse = |text: &str| {
            let RustProgram { source, program } = text.parse().unwrap();
            (source.display().to_string(), program)
        };
        assert_eq!(parse("tests/a.rs"), ("tests/a.rs".into(), None));
        assert_eq!(parse("tools:check"), ("tools".into(), Some("check".into())));
        let dir = tempfile::tempdir().unwrap();
        let target = crate::target::tests::x86_64();
        let check = |target: &Target| {
            let program = RustProgram { source: dir.path().join("x"), program: None };
            let error = program.check(target).unwrap_err().to_string();
            error.replace(&*dir.path().to_string_lossy(), "DIR")
        };
        insta::assert_snapshot!(check(&target), @"--rust DIR/x: neither a source file nor the directory of a Cargo package");
        let mut parisc = target;
        parisc.name = "parisc".into();
        parisc.rust.backend = Backend::WasmC;
        insta::assert_snapshot!(check(&parisc), @"--rust DIR/x: rustc cannot compile for parisc; use --c FILE...");
    }

    #[test]
    fn a_package_has_one_program_or_a_name_is_needed() {
        let program = RustProgram { source: "tools".into(), program: None };
        assert_eq!(program.only(vec!["/t/a".into()]).unwrap(), Path::new("/t/a"));
        let error = |paths: Vec<PathBuf>| program.only(paths).unwrap_err().to_string();
        insta::assert_snapshot!(error(Vec::new()), @"--rust tools: the package has no program");
        insta::assert_snapshot!(error(vec!["/t/a".into(), "/t/b".into()]), @"--rust tools: the package has several programs: a, b; choose one: --rust tools:a");
    }

    #[test]
    fn a_source_file_gets_a_package() {
        let work = tempfile::tempdir().unwrap();
        let dir = package_of(Path::new("/src/my test.rs"), work.path()).unwrap();
        insta::assert_snapshot!(files::read(&dir.join("Cargo.toml")).unwrap(), @r#"
        [package]
        name = "my_test"
        edition = "2024"

        [[bin]]
        name = "my_test"
        path = "/src/my test.rs"

        [workspace]
        "#);
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0

use std::fs;

use super::*;
use crate::cli;

/// The two configuration files.
struct Files {
    dir: tempfile::TempDir,
    paths: [PathBuf; 2],
}

impl Files {
    fn new(checkout: &str, user: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["lab.toml", "config.toml"].map(|name| dir.path().join(name));
        fs::write(&paths[0], checkout).unwrap();
        fs::write(&paths[1], user).unwrap();
        Self { dir, paths }
    }

    fn words(line: &str) -> Vec<OsString> {
        std::iter::once("xtask").chain(line.split_whitespace()).map(OsString::from).collect()
    }

    fn test(&self, line: &str) -> cli::Test {
        match with_files(&Self::words(line), &self.paths).unwrap().unwrap().0.command {
            cli::Command::Test(test) => test,
            other => panic!("{other:?}"),
        }
    }

    fn error(&self, line: &str) -> String {
        let error = with_files(&Self::words(line), &self.paths).unwrap_err();
        self.redact(&format!("{error:#}"))
    }

    fn redact(&self, text: &str) -> String {
        text.replace(&*self.dir.path().to_string_lossy(), "DIR")
    }
}

const CHECKOUT: &str = "\
[default]
arch = ['armv6', 'parisc']
[profile.night]
oracle = 'on'
timeout-scale = 2.5
";

const USER: &str = "\
[default]
arch = 'sparc64'
jobs = 3
no-setup = true
[default.test]
quiet = true
[profile.night]
jobs = 1
arch = 'all'
";

#[test]
fn the_command_line_precedes_the_checkout_and_the_checkout_precedes_the_user() {
    let files = Files::new(CHECKOUT, USER);
    let test = files.test("test");
    assert_eq!(test.machine.arch, ["armv6", "parisc"]);
    assert_eq!((test.machine.jobs, test.machine.no_setup, test.quiet), (Some(3), true, true));
    let test = files.test("test --arch x86_64 -j 5");
    assert_eq!(test.machine.arch, ["x86_64"]);
    assert_eq!(test.machine.jobs, Some(5));
}

#[test]
fn a_profile_precedes_the_defaults() {
    let files = Files::new(CHECKOUT, USER);
    for line in ["test --profile night", "--profile=night test", "--profile night test"] {
        let test = files.test(line);
        assert_eq!(test.machine.arch, ["all"]);
        assert_eq!((test.machine.jobs, test.timeout_scale), (Some(1), 2.5));
    }
    insta::assert_snapshot!(files.error("test --profile day"), @"--profile day: no such profile; the configuration files have: night");
}

#[test]
fn an_option_that_excludes_a_default_precedes_it() {
    let files = Files::new("[default]\nkernel = '7.3'\nquiet = true\n", "");
    assert_eq!(files.test("test").machine.kernel, ["7.3"]);
    let test = files.test("test --kernel-src /linux --verbose");
    assert!(test.machine.kernel.is_empty() && !test.quiet);
}

#[test]
fn commands_without_the_option_ignore_it() {
    let files = Files::new(CHECKOUT, USER);
    let words = Files::words("clean --older-than 0s");
    assert!(with_files(&words, &files.paths).unwrap().is_ok());
    // The words after `--` belong to the program.
    let words = Files::words("run --quiet -- test --arch x");
    let (cli, _) = with_files(&words, &files.paths).unwrap().unwrap();
    let cli::Command::Run(run) = cli.command else { panic!() };
    assert_eq!(run.program, ["test", "--arch", "x"]);
    assert_eq!(run.machine.arch, ["armv6", "parisc"]);
}

#[test]
fn mistakes_are_explained() {
    let error = |checkout: &str| Files::new(checkout, "").error("test");
    insta::assert_snapshot!(error("[default]\narhc = 'x86_64'\n"), @"DIR/lab.toml [default]: `arhc`: no command has this option; did you mean `arch`?");
    insta::assert_snapshot!(error("[default.clean]\narch = 'x86_64'\n"), @"DIR/lab.toml [default]: `arch`: `clean` does not have this option");
    insta::assert_snapshot!(error("[defaults]\n"), @"DIR/lab.toml: unknown table `defaults`; expected [default] or [profile.NAME]");
    insta::assert_snapshot!(error("[default]\nquiet = 'yes'\n"), @"DIR/lab.toml [default]: quiet: expected true or false");
    insta::assert_snapshot!(error("[default]\narch = true\n"), @"DIR/lab.toml [default]: arch: expected a text or a number");
    insta::assert_snapshot!(error("[default]\njobs = 0\n"), @"invalid value '0' for '--jobs <N>': expected a whole number above 0, with the options of DIR/lab.toml [default]");
    insta::assert_snapshot!(error("[default]\nprofile = 'night'\n"), @"DIR/lab.toml [default]: `profile`: no command has this option; did you mean `promise`?");
    insta::assert_snapshot!(error("[default\n"), @"
    parse DIR/lab.toml: TOML parse error at line 1, column 9
      |
    1 | [default
      |         ^
    unclosed table, expected `]`
    ");
}

#[test]
fn what_applies_is_shown_with_its_origin() {
    let files = Files::new(CHECKOUT, "");
    fs::remove_file(&files.paths[1]).unwrap();
    let words = Files::words("config --profile night");
    let text = describe_files(&words, &files.paths).unwrap();
    let of_test = |line: &&str| line.trim_start().starts_with("DIR") || line.starts_with("  test ");
    let text = files.redact(&text);
    let lines: Vec<&str> = text.lines().filter(of_test).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    DIR/lab.toml
    DIR/config.toml  (does not exist)
    test     oracle         "on"                 DIR/lab.toml [profile.night]
    test     timeout-scale  2.5                  DIR/lab.toml [profile.night]
    test     arch           ["armv6", "parisc"]  DIR/lab.toml [default]
    "#);
}

#[test]
fn a_profile_may_have_the_name_of_a_command() {
    let words: Vec<OsString> =
        ["xtask", "--profile", "test", "test", "--quiet"].map(Into::into).into();
    let path = ["test".to_owned()];
    assert_eq!(position(&words, &path), 4);
}

#[test]
fn a_profile_replaces_a_default_that_it_excludes() {
    let checkout = "[default]\nkernel = '7.3'\n[profile.mine]\nkernel-src = '/linux'\n";
    let files = Files::new(checkout, "");
    let words = Files::words("test --profile mine");
    let (cli, _) = with_files(&words, &files.paths).unwrap().unwrap();
    let cli::Command::Test(test) = cli.command else { panic!() };
    assert_eq!(test.machine.kernel_src.as_deref(), Some(std::path::Path::new("/linux")));
    assert!(test.machine.kernel.is_empty());
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask check`: all checks that need no guest. A failed check does not stop the others.

mod documents;
mod licences;
mod links;
mod linters;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use duct::Expression;
use linters::Linter;
use regex::Regex;
use xshell::cmd;

use crate::ci::Format;
use crate::output::{out, outln};
use crate::{
    cargo, ci as jobs, files, flavour, guard, interrupt, kernel_version, paths, schema, shell,
    target,
};

/// Name and function of a check.
type Check = (&'static str, fn(&Path) -> Result<Outcome>);

const CHECKS: [Check; 10] = [
    ("format", |checkout| cargo(checkout, &["fmt", "--all", "--check"])),
    ("clippy", |checkout| {
        let args = "clippy --quiet --workspace --all-targets --locked -- -D warnings";
        cargo(checkout, &words(args))
    }),
    ("tests", tests),
    ("rustdoc", rustdoc),
    ("licences", licences),
    ("documents", documents),
    ("ci", ci),
    ("ci lint", ci_lint),
    ("schemas", schemas),
    ("scripts", scripts),
];

/// Document that contains the table of targets.
const README: &str = "README.md";

/// Result of a check.
struct Outcome {
    passed: bool,
    /// Details for the line of the check.
    note: String,
    /// Text to print if the check failed.
    output: String,
}

impl Outcome {
    /// Returns the result of a check of `count` items that found `problems`. `what` names the items.
    fn of_problems(count: usize, what: &str, problems: &[String]) -> Self {
        Self {
            passed: problems.is_empty(),
            note: format!("{count} {what}"),
            output: problems.iter().map(|line| format!("{line}\n")).collect(),
        }
    }
}

/// Runs all checks in the checkout. Returns the exit code: 0 if all passed, 1 if one failed.
///
/// # Errors
/// A check could not run, or the lab was interrupted.
pub(crate) fn run(checkout: &Path) -> Result<u8> {
    interrupt::install()?;
    let mut failed = Vec::new();
    let mut test_counts = String::new();
    for (name, check) in CHECKS {
        out!("{name:10}");
        let start = Instant::now();
        let outcome = check(checkout).with_context(|| format!("check {name}"))?;
        outln!("{}", verdict(&outcome, start.elapsed()));
        if !outcome.passed {
            outln!("{}", outcome.output);
            failed.push(name);
        }
        if name == "tests" {
            test_counts = outcome.note;
        }
    }
    outln!("\n{}", summary(&test_counts, &failed));
    Ok(u8::from(!failed.is_empty()))
}

/// Returns the part of a check's line that follows its name.
fn verdict(outcome: &Outcome, took: Duration) -> String {
    let word = if outcome.passed { "ok" } else { "FAILED" };
    let line = format!("{word:8}{:6.1} s  {}", took.as_secs_f64(), outcome.note);
    line.trim_end().to_owned()
}

/// Returns the last lines of the output: the counts of tests, in a format that other programs parse, and the failed checks.
fn summary(test_counts: &str, failed: &[&str]) -> String {
    let all = CHECKS.len();
    let checks = match failed {
        [] => format!("all {all} checks passed"),
        failed => format!("{} of {all} checks failed: {}", failed.len(), failed.join(", ")),
    };
    format!("tests: {test_counts}\n{checks}")
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

fn cargo(checkout: &Path, args: &[&str]) -> Result<Outcome> {
    command(checkout, &cargo_command(args))
}

/// Returns a command for the cargo that runs this tool. It is killed when this tool ends.
fn cargo_command(args: &[&str]) -> Expression {
    guard::command(cargo::program(), args)
}

fn rustdoc(checkout: &Path) -> Result<Outcome> {
    let args = "doc --quiet --workspace --no-deps --document-private-items --locked";
    let doc = cargo_command(&words(args));
    command(checkout, &doc.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links"))
}

fn tests(checkout: &Path) -> Result<Outcome> {
    let mut outcome = cargo(checkout, &words("test --workspace --locked --no-fail-fast"))?;
    outcome.note = counts(&outcome.output);
    // Lines about successes would bury the failures.
    let relevant =
        |line: &&str| !line.ends_with("... ok") && !line.trim_start().starts_with("Compiling ");
    let lines = outcome.output.lines().filter(relevant);
    outcome.output = lines.map(|line| format!("{line}\n")).collect();
    Ok(outcome)
}

/// Adds up the `test result:` lines.
fn counts(output: &str) -> String {
    let pattern = r"(?m)^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored";
    let pattern = Regex::new(pattern).expect("the pattern is valid");
    let mut sums = [0u64; 3];
    for (_, counted) in pattern.captures_iter(output).map(|found| found.extract()) {
        let counted: [&str; 3] = counted;
        for (sum, count) in sums.iter_mut().zip(counted) {
            *sum += count.parse::<u64>().unwrap_or(0);
        }
    }
    let [passed, failed, ignored] = sums;
    format!("{passed} passed, {failed} failed, {ignored} skipped")
}

/// Runs `command` in the checkout and collects its output. Stops it if the lab is interrupted.
fn command(checkout: &Path, command: &Expression) -> Result<Outcome> {
    let output = guard::run(&command.dir(checkout).stderr_to_stdout().stdout_capture())?;
    Ok(Outcome {
        passed: output.status.success(),
        note: String::new(),
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
    })
}

/// Returns the files in the checkout that git tracks, as paths relative to its root, without files that were deleted.
fn tracked(checkout: &Path) -> Result<Vec<String>> {
    let sh = shell::in_dir(checkout)?;
    let names = shell::read(cmd!(sh, "git ls-files -z"))?;
    let names = names.split_terminator('\0').map(str::to_owned);
    Ok(names.filter(|name| checkout.join(name).is_file()).collect())
}

/// Reads a file, and replaces bytes that are not UTF-8.
fn read(path: &Path) -> Result<String> {
    Ok(String::from_utf8_lossy(&files::read_bytes(path)?).into_owned())
}

fn licences(checkout: &Path) -> Result<Outcome> {
    let files = tracked(checkout)?;
    let mut problems = Vec::new();
    for name in &files {
        let sidecar = format!("{name}{}", licences::SIDECAR);
        let holder = if files.contains(&sidecar) { &sidecar } else { name };
        problems.extend(licences::problems(name, &read(&checkout.join(holder))?));
    }
    Ok(Outcome::of_problems(files.len(), "files", &problems))
}

fn documents(checkout: &Path) -> Result<Outcome> {
    let is_document =
        |name: &String| name == README || name.starts_with("docs/") && name.ends_with(".md");
    // The first script runs the second.
    let by_ci = [".ci/run", Format::Shell.file()].map(|script| read(&checkout.join(script)));
    let by_ci = by_ci.into_iter().collect::<Result<Vec<_>>>()?.join("\n");
    let mut problems = Vec::new();
    let mut count = 0;
    let names = tracked(checkout)?.into_iter().filter(is_document);
    let texts = names.map(|name| Ok((name.clone(), read(&checkout.join(name))?)));
    let texts: BTreeMap<String, String> = texts.collect::<Result<_>>()?;
    for (name, text) in &texts {
        let found = documents::examine(name, text, &by_ci);
        count += found.commands;
        problems.extend(found.problems);
        for run in &found.to_run {
            problems.extend(failure(checkout, run)?);
        }
    }
    let targets = target::load_all(&checkout.join("kernel-configs"))?;
    let readme = texts.get(README).map_or("", String::as_str);
    problems.extend(documents::target_rows(README, readme, &targets));
    let (links, dead) = links::dead(&texts, |path| checkout.join(path).exists());
    problems.extend(dead);
    Ok(Outcome::of_problems(count, &format!("commands, {links} links"), &problems))
}

/// Runs a command of a document, and returns a problem if the command fails.
///
/// The command runs through cargo, as it would for a reader. This process may be an outdated build of the tool, because
/// the check `tests` may have rebuilt it.
fn failure(checkout: &Path, run: &documents::ToRun) -> Result<Option<String>> {
    let words = ["xtask"].into_iter().chain(run.words.iter().map(String::as_str));
    let outcome = command(checkout, &cargo_command(&words.collect::<Vec<_>>()))?;
    let problem = || {
        let output = outcome.output.trim();
        format!("{}: `{}` fails:\n{output}", run.place, run.command)
    };
    Ok((!outcome.passed).then(problem))
}

/// Checks that the committed CI jobs are up to date with the targets, the kernel versions and the flavours.
fn ci(checkout: &Path) -> Result<Outcome> {
    let targets = target::load_all(&checkout.join("kernel-configs"))?;
    let kernels = kernel_version::load_all(&checkout.join("kernel-patches"))?;
    let flavours = flavour::load_all(&checkout.join("kernel-configs/flavours"))?;
    let files = Format::ALL.into_iter().map(|format| {
        let command = format!("{} > {}", format.command(), format.file());
        Ok((format.file(), jobs::render(format, &targets, &kernels, &flavours)?, command))
    });
    Ok(generated(checkout, &files.collect::<Result<Vec<_>>>()?))
}

/// Checks the CI jobs with the linters that can be had here.
fn ci_lint(checkout: &Path) -> Result<Outcome> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    lint(checkout, &linters::LINTERS, &|linter| linter.find(&path, &paths::cache()?))
}

/// Runs each of `linters` that `find` finds. The others are named in the line of the check.
fn lint(
    checkout: &Path,
    linters: &[Linter],
    find: &dyn Fn(&Linter) -> Result<Result<PathBuf, String>>,
) -> Result<Outcome> {
    let (mut notes, mut problems) = (Vec::new(), Vec::new());
    for linter in linters {
        match find(linter)? {
            Err(why) => notes.push(format!("{} did not run: {why}", linter.program)),
            Ok(program) => {
                let files = Format::ALL.into_iter().filter(|format| (linter.is_for)(*format));
                let words = linter.arguments.iter().copied().chain(files.map(Format::file));
                let outcome = command(checkout, &guard::command(program, words))?;
                notes.push(linter.program.to_owned());
                let output = outcome.output.trim().to_owned();
                problems
                    .extend((!outcome.passed).then(|| format!("{}:\n{output}", linter.program)));
            }
        }
    }
    Ok(Outcome { note: notes.join("; "), ..Outcome::of_problems(0, "", &problems) })
}

/// Checks that the committed JSON schemas are up to date with the Rust types.
fn schemas(checkout: &Path) -> Result<Outcome> {
    let command = || schema::COMMAND.to_owned();
    let files = schema::Kind::ALL.map(|kind| (kind.file(), schema::render(kind), command()));
    Ok(generated(checkout, &files))
}

/// Compares committed files with their generated content. Each file comes with the command that generates it.
fn generated(checkout: &Path, files: &[(&str, String, String)]) -> Outcome {
    let is_old = |(file, text, _): &&(&str, String, String)| {
        !fs::read_to_string(checkout.join(file)).is_ok_and(|committed| committed == *text)
    };
    let problems = files
        .iter()
        .filter(is_old)
        .map(|(file, _, command)| format!("{file}: out of date; run: {command}"));
    Outcome::of_problems(files.len(), "files", &problems.collect::<Vec<_>>())
}

/// Checks the syntax of every shell script with bash.
fn scripts(checkout: &Path) -> Result<Outcome> {
    let sh = shell::here()?;
    let mut problems = Vec::new();
    let mut count = 0;
    for name in tracked(checkout)? {
        let path: PathBuf = checkout.join(&name);
        if !is_script(&read(&path)?) {
            continue;
        }
        count += 1;
        let output = shell::output(cmd!(sh, "bash -n {path}"))?;
        if !output.status.success() {
            problems.push(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
    }
    Ok(Outcome::of_problems(count, "scripts", &problems))
}

/// Returns true if the first line of `text` names a shell.
fn is_script(text: &str) -> bool {
    let first = text.lines().next().unwrap_or("");
    first.starts_with("#!") && words(&first[2..]).iter().any(|word| word.ends_with("sh"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn outcome(passed: bool, note: &str) -> Outcome {
        Outcome { passed, note: note.into(), output: String::new() }
    }

    #[test]
    fn a_line_has_verdict_time_and_counts() {
        let took = Duration::from_millis(12_345);
        insta::assert_snapshot!(verdict(&outcome(true, "3 files"), took), @"ok        12.3 s  3 files");
        insta::assert_snapshot!(verdict(&outcome(false, ""), took), @"FAILED    12.3 s");
    }

    #[test]
    fn the_summary_counts_tests_and_names_failed_checks() {
        insta::assert_snapshot!(summary("9 passed, 0 failed, 1 skipped", &[]), @"
        tests: 9 passed, 0 failed, 1 skipped
        all 10 checks passed
        ");
        insta::assert_snapshot!(summary("8 passed, 1 failed, 0 skipped", &["clippy", "tests"]), @"
        tests: 8 passed, 1 failed, 0 skipped
        2 of 10 checks failed: clippy, tests
        ");
    }

    #[test]
    fn outdated_ci_jobs_name_the_command() {
        let checkout = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = checkout.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let target = include_str!("../../../kernel-configs/x86_64.yaml");
        write("kernel-configs/x86_64.yaml", target);
        let targets = target::load_all(&checkout.path().join("kernel-configs")).unwrap();
        let kernel = include_str!("../../../kernel-patches/6.12/kernel.yaml");
        write("kernel-patches/6.12/kernel.yaml", kernel);
        let kernels = kernel_version::load_all(&checkout.path().join("kernel-patches")).unwrap();
        let flavour = include_str!("../../../kernel-configs/flavours/default.yaml");
        write("kernel-configs/flavours/default.yaml", flavour);
        let flavours = flavour::load_all(&checkout.path().join("kernel-configs/flavours")).unwrap();
        for format in Format::ALL {
            write(format.file(), &jobs::render(format, &targets, &kernels, &flavours).unwrap());
        }
        assert!(ci(checkout.path()).unwrap().passed);
        let another = target.replace("name: x86_64", "name: vax");
        write("kernel-configs/vax.yaml", &another);
        insta::assert_snapshot!(ci(checkout.path()).unwrap().output, @"
        ci/github.yml: out of date; run: cargo xtask ci-matrix --format github > ci/github.yml
        ci/github-kernel.yml: out of date; run: cargo xtask ci-matrix --format github-kernel > ci/github-kernel.yml
        ci/gitlab.yml: out of date; run: cargo xtask ci-matrix --format gitlab > ci/gitlab.yml
        ci/slurm.sh: out of date; run: cargo xtask ci-matrix --format slurm > ci/slurm.sh
        ci/kubernetes.yaml: out of date; run: cargo xtask ci-matrix --format kubernetes > ci/kubernetes.yaml
        ");
    }

    #[test]
    fn findings_fail_the_check_and_missing_linters_are_named() {
        let checkout = tempfile::tempdir().unwrap();
        let fake = |exit: u8| {
            let path = checkout.path().join(format!("fake-{exit}"));
            let text = format!("#!/bin/sh\necho \"$0: $#\" | sed 's,.*/,,'\nexit {exit}\n");
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let [good, bad] = [fake(0), fake(13)];
        let lint = |first: &PathBuf, second: Result<PathBuf, String>| {
            let find = |linter: &Linter| {
                Ok(if linter.program == "actionlint" { Ok(first.clone()) } else { second.clone() })
            };
            lint(checkout.path(), &linters::LINTERS, &find).unwrap()
        };
        let passed = lint(&good, Err("no network".into()));
        assert!(passed.passed);
        insta::assert_snapshot!(passed.note, @"actionlint; zizmor did not run: no network; kubernetes-validate did not run: no network");
        let failed = lint(&good, Ok(bad));
        assert!(!failed.passed);
        insta::assert_snapshot!(failed.output, @"
        zizmor:
        fake-13: 6
        kubernetes-validate:
        fake-13: 3
        ");
    }

    #[test]
    fn an_outdated_schema_names_the_command() {
        let checkout = tempfile::tempdir().unwrap();
        fs::create_dir(checkout.path().join("schemas")).unwrap();
        schema::write_all(checkout.path()).unwrap();
        assert!(schemas(checkout.path()).unwrap().passed);
        let file = checkout.path().join(schema::Kind::Suite.file());
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("deadline", "limit")).unwrap();
        insta::assert_snapshot!(schemas(checkout.path()).unwrap().output, @"schemas/suite.schema.json: out of date; run: cargo xtask schema --write");
    }

    #[test]
    fn test_results_are_added_up() {
        let output = "\
            running 2 tests\n\
            test result: ok. 40 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s\n\
            test x ... ok\n\
            test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(counts(output), "42 passed, 3 failed, 1 skipped");
    }

    #[test]
    fn a_shell_script_is_recognised_by_its_first_line() {
        let yes = ["#!/bin/sh", "#!/usr/bin/env bash\n", "#!/bin/bash -e"].map(is_script);
        let no = ["", "#!/usr/bin/env python3\nsh", "// #!/bin/sh"].map(is_script);
        assert_eq!((yes, no), ([true; 3], [false; 3]));
    }
}

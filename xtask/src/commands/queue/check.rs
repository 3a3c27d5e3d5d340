// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask queue check`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use serde_json::json;

use crate::cli::QueueCheck;
use crate::kernel::Source;
use crate::kernel::check::plan::{self, Wanted};
use crate::kernel::check::{
    self, Check, Event, Outcome, Request, Series, Verdict, missing_program,
};
use crate::kernel_version::{self, KernelVersion, Version};
use crate::output::{errln, out, outln};
use crate::program::Program;
use crate::setup::{self, Host, SetupMode, packages};
use crate::target::{self, Target};
use crate::text::columns::columns;
use crate::text::words::took_seconds;
use crate::variant::{self, BuildVariant};
use crate::{files, interrupt, paths};

/// Name of the file with the results, in the directory of `--report-dir`.
const REPORT: &str = "queue-check.json";

/// Largest number of lines that are printed about one failed check. The report has all of them.
const SHOWN: usize = 60;

/// Width of the first column of the tables.
const NAME_WIDTH: usize = 48;

/// Runs the command and returns its exit code.
///
/// # Errors
/// A kernel version, stack, patch, revision or check does not exist, a source is not available, a program is missing, or
/// the lab was interrupted.
pub(super) fn run(args: &QueueCheck) -> Result<u8> {
    interrupt::install()?;
    let checkout = paths::checkout();
    let configs = checkout.join("kernel-configs");
    let targets = target::load_all(&configs)?;
    let variants = variant::load_all(&configs.join("variants"))?;
    let checks = plan::select(plan::checks(&variants), &args.check)?;
    let kernels = kernel_version::load_all(&checkout.join("kernel-patches"))?;
    let selected = kernel_version::select(&kernels, &args.kernel)?;
    let wanted = Wanted {
        stack: args.stack.as_deref(),
        patch: args.patch.as_deref(),
        since: args.since.as_deref(),
    };
    let mut plans: Vec<(&KernelVersion, Vec<Series>)> = Vec::new();
    for kernel in selected {
        plans.push((kernel, plan::series(&checkout, kernel.version, &wanted)?));
    }
    let (cache, path) = (paths::cache()?, std::env::var_os("PATH").unwrap_or_default());
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let sources: Vec<Source> = plans.iter().map(|(kernel, _)| source(kernel)).collect();
    let request = |source| Request {
        checkout: &checkout,
        cache: &cache,
        source,
        targets: &targets,
        path: &path,
        jobs: args.jobs.unwrap_or(cores),
    };
    if args.dry_run {
        for ((kernel, series), source) in plans.iter().zip(&sources) {
            out!("{}", dry_run(&request(source), kernel.version, series, &checks)?);
        }
        return Ok(0);
    }
    if plans.iter().all(|(_, series)| series.is_empty()) {
        outln!("No patch to check.");
        return Ok(0);
    }
    ensure(&targets, &variants, args.no_setup)?;
    let mut all = Vec::new();
    for ((kernel, series), source) in plans.iter().zip(&sources) {
        let outcomes = check_version(&request(source), kernel.version, series, &checks)?;
        all.push((kernel.version, outcomes));
    }
    outln!();
    out!("{}", tables(&all, &checks));
    if let Some(dir) = &args.report_dir {
        write_report(dir, &all)?;
    }
    let failed = |outcome: &Outcome| matches!(outcome.verdict, Verdict::Failed(_));
    Ok(u8::from(all.iter().any(|(_, outcomes)| outcomes.iter().any(failed))))
}

/// Returns Debian's source of a version.
fn source(kernel: &KernelVersion) -> Source {
    Source::Debian { package: kernel.package.clone(), suites: kernel.suites.clone() }
}

/// Installs what every kernel build needs. Programs of single checks are optional: without them, the checks are skipped.
fn ensure(targets: &[Target], variants: &[BuildVariant], no_setup: bool) -> Result<()> {
    let each = variants.iter().filter(|variant| variant.each_patch);
    let mut needed = packages::common()?;
    for target in targets.iter().filter(|t| each.clone().any(|v| v.target == t.name)) {
        let for_kernel = |program: &&Program| !program.purpose.is_any();
        needed.extend(target.programs.iter().filter(for_kernel).cloned());
    }
    let mode = if no_setup { SetupMode::Forbidden } else { SetupMode::Allowed };
    setup::ensure_on(&Host::here()?, &needed, mode, &mut |line| errln!("{line}"))
}

/// Checks the patches for one version, and prints each outcome.
fn check_version(
    request: &Request,
    version: Version,
    series: &[Series],
    checks: &[Check],
) -> Result<Vec<Outcome>> {
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(250));
    let mut outcomes = Vec::new();
    let ended = check::run(request, series, checks, &mut |event| match event {
        Event::Subject(title) => bar.suspend(|| outln!("{version} {title}")),
        Event::Progress(step) => bar.set_message(step.what),
        Event::Outcome(outcome) => {
            bar.suspend(|| out!("{}", lines(&outcome)));
            outcomes.push(outcome);
        }
    });
    bar.finish_and_clear();
    ended?;
    Ok(outcomes)
}

/// Returns the word for a verdict.
fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Failed(_) => "FAILED",
        Verdict::Skipped(_) => "skipped",
    }
}

/// Returns the lines about a check that has ended.
fn lines(outcome: &Outcome) -> String {
    let reason = match &outcome.verdict {
        Verdict::Skipped(reason) => reason.as_str(),
        _ => "",
    };
    let word = word(&outcome.verdict);
    let time = took_seconds(outcome.seconds);
    let line = format!("  {:12}  {word:7}  {time:>11}  {reason}", outcome.check);
    let mut text = format!("{}\n", line.trim_end());
    if let Verdict::Failed(details) = &outcome.verdict {
        details.iter().take(SHOWN).for_each(|line| text += &format!("      {line}\n"));
        if details.len() > SHOWN {
            text += &format!("      ({} more lines; --report-dir)\n", details.len() - SHOWN);
        }
    }
    text
}

/// Returns a table of the patches and one of the stacks, with a column for each check, and the reasons of skipped checks.
fn tables(all: &[(Version, Vec<Outcome>)], checks: &[Check]) -> String {
    let mut text = String::new();
    for of_patch in [true, false] {
        let checks: Vec<&Check> = checks.iter().filter(|c| c.is_of_patch() == of_patch).collect();
        let mut header = vec![if of_patch { "patch" } else { "stack" }.to_owned()];
        header.extend(checks.iter().map(|check| check.name.clone()));
        header.push("time".into());
        let mut rows = vec![header];
        for (version, outcomes) in all {
            let of_kind = |o: &&Outcome| o.patch.is_some() == of_patch;
            let outcomes: Vec<&Outcome> = outcomes.iter().filter(of_kind).collect();
            let same = |a: &&Outcome, b: &&Outcome| (&a.stack, &a.patch) == (&b.stack, &b.patch);
            rows.extend(outcomes.chunk_by(same).map(|row| table_row(*version, row, &checks)));
        }
        if rows.len() > 1 {
            text += &columns(&rows);
            text.push('\n');
        }
    }
    let outcomes = || all.iter().flat_map(|(_, outcomes)| outcomes);
    let mut reasons: Vec<String> = outcomes()
        .filter_map(|outcome| match &outcome.verdict {
            Verdict::Skipped(reason) => Some(format!("{} skipped: {reason}\n", outcome.check)),
            _ => None,
        })
        .collect();
    reasons.sort();
    reasons.dedup();
    text += &reasons.concat();
    let count = |wanted: &str| outcomes().filter(|o| word(&o.verdict) == wanted).count();
    let [ok, failed, skipped] = ["ok", "FAILED", "skipped"].map(count);
    text += &format!("checks: {ok} ok, {failed} failed, {skipped} skipped\n");
    text
}

/// Returns the row of a patch, or of a stack.
fn table_row(version: Version, outcomes: &[&Outcome], checks: &[&Check]) -> Vec<String> {
    let first = outcomes[0];
    let name = match (&first.patch, &first.stack) {
        (Some(patch), _) => patch.trim_end_matches(".patch"),
        (None, Some(stack)) => stack,
        (None, None) => "the whole queue",
    };
    let name: String = format!("{version} {name}").chars().take(NAME_WIDTH).collect();
    let mut row = vec![name];
    for check in checks {
        let outcome = outcomes.iter().find(|outcome| outcome.check == check.name);
        row.push(outcome.map_or("-", |outcome| word(&outcome.verdict)).to_owned());
    }
    row.push(took_seconds(outcomes.iter().map(|outcome| outcome.seconds).sum()));
    row
}

fn write_report(dir: &Path, all: &[(Version, Vec<Outcome>)]) -> Result<()> {
    let kernels: Vec<_> = all
        .iter()
        .map(|(version, outcomes)| json!({ "kernel": version, "outcomes": outcomes }))
        .collect();
    let text = serde_json::to_string_pretty(&kernels).context("serialize the results")?;
    files::create_dir(dir)?;
    files::write_atomically(&dir.join(REPORT), text + "\n")
}

/// Returns the plan, for `--dry-run`.
fn dry_run(
    request: &Request,
    version: Version,
    series: &[Series],
    checks: &[Check],
) -> Result<String> {
    let mut text = String::new();
    let list = |of_patch: bool| -> Result<String> {
        let checks = checks.iter().filter(|check| check.is_of_patch() == of_patch);
        let rows: Vec<[String; 2]> = checks
            .map(|check| {
                let note = match missing_program(request, check)? {
                    Some(Verdict::Skipped(reason)) => format!("skipped: {reason}"),
                    _ => check.about.clone(),
                };
                Ok([format!("  {}", check.name), note])
            })
            .collect::<Result<_>>()?;
        Ok(columns(&rows))
    };
    for series in series {
        let stack = series.stack.as_ref().map_or(String::new(), |stack| format!(", stack {stack}"));
        text += &format!("Linux {version}{stack}\n");
        series.patches().for_each(|patch| text += &format!("  {patch}\n"));
        text += &format!("  each patch:\n{}", list(true)?);
        if series.is_checked_at_end() {
            text += &format!("  after the last patch:\n{}", list(false)?);
        }
    }
    if series.is_empty() {
        text += &format!("Linux {version}: no patch to check\n");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn outcome(patch: Option<&str>, check: &str, verdict: Verdict) -> Outcome {
        Outcome {
            stack: Some("core".into()),
            patch: patch.map(str::to_owned),
            check: check.into(),
            verdict,
            seconds: 1.5,
        }
    }

    fn checks() -> Vec<Check> {
        let configs = paths::checkout().join("kernel-configs");
        let all = plan::checks(&variant::load_all(&configs.join("variants")).unwrap());
        let names = ["checkpatch", "build", "sparse", "nommu"].map(str::to_owned);
        plan::select(all, &names).unwrap()
    }

    fn outcomes() -> Vec<Outcome> {
        let one = Some("0001-fuse-define-the-protocol-of-direct-mmap-for-files-of.patch");
        let skipped =
            Verdict::Skipped("sparse is not installed; install Debian's package sparse".into());
        let failed = Verdict::Failed(vec!["mm/util.c:3:9: error: expected ';'".into()]);
        vec![
            outcome(one, "checkpatch", Verdict::Ok),
            outcome(one, "build", failed),
            outcome(one, "sparse", skipped.clone()),
            outcome(Some("0002-b.patch"), "checkpatch", Verdict::Ok),
            outcome(Some("0002-b.patch"), "build", Verdict::Ok),
            outcome(Some("0002-b.patch"), "sparse", skipped),
            outcome(None, "nommu", Verdict::Ok),
        ]
    }

    #[test]
    fn the_table_has_a_row_for_each_patch_and_stack() {
        let all = [("6.12".parse().unwrap(), outcomes())];
        insta::assert_snapshot!(tables(&all, &checks()), @r"
          patch                                             checkpatch  build   sparse   time
          6.12 0001-fuse-define-the-protocol-of-direct-mma  ok          FAILED  skipped  4.50 s
          6.12 0002-b                                       ok          ok      skipped  4.50 s

          stack      nommu  time
          6.12 core  ok     1.50 s

        sparse skipped: sparse is not installed; install Debian's package sparse
        checks: 4 ok, 1 failed, 2 skipped
        ");
    }

    #[test]
    fn a_failed_check_shows_the_lines_of_its_program() {
        let text: String = outcomes()[..3].iter().map(lines).collect();
        insta::assert_snapshot!(text, @r"
        checkpatch    ok            1.50 s
        build         FAILED        1.50 s
            mm/util.c:3:9: error: expected ';'
        sparse        skipped       1.50 s  sparse is not installed; install Debian's package sparse
        ");
        let many = Verdict::Failed(vec!["x".into(); SHOWN + 5]);
        let text = lines(&outcome(None, "nommu", many));
        assert!(text.ends_with("      x\n      (5 more lines; --report-dir)\n"), "{text}");
    }

    #[test]
    fn a_report_has_every_line() {
        let dir = tempfile::tempdir().unwrap();
        write_report(dir.path(), &[("6.12".parse().unwrap(), outcomes()[1..3].to_vec())]).unwrap();
        let text = files::read(&dir.path().join(REPORT)).unwrap();
        insta::assert_snapshot!(text, @r#"
        [
          {
            "kernel": "6.12",
            "outcomes": [
              {
                "check": "build",
                "details": [
                  "mm/util.c:3:9: error: expected ';'"
                ],
                "patch": "0001-fuse-define-the-protocol-of-direct-mmap-for-files-of.patch",
                "result": "failed",
                "seconds": 1.5,
                "stack": "core"
              },
              {
                "check": "sparse",
                "details": "sparse is not installed; install Debian's package sparse",
                "patch": "0001-fuse-define-the-protocol-of-direct-mmap-for-files-of.patch",
                "result": "skipped",
                "seconds": 1.5,
                "stack": "core"
              }
            ]
          }
        ]
        "#);
    }

    #[test]
    fn the_plan_names_patches_and_missing_programs() {
        let checkout = tempfile::tempdir().unwrap();
        let dir = checkout.path().join("kernel-patches/6.12");
        files::create_dir(&dir).unwrap();
        let series = "[fixes]\n0001-a.patch\n[core] on nothing\n0002-b.patch\n0003-c.patch\n";
        files::write(&dir.join("series"), series).unwrap();
        for name in ["0001-a.patch", "0002-b.patch", "0003-c.patch"] {
            files::write(&dir.join(name), "").unwrap();
        }
        for name in ["fixes", "core"] {
            files::write(&dir.join(format!("{name}.cover.txt")), "subject\n\ntext\n").unwrap();
        }
        let targets = target::load_all(&paths::checkout().join("kernel-configs")).unwrap();
        let source = Source::Path("src".into());
        let request = Request {
            checkout: checkout.path(),
            cache: Path::new("cache"),
            source: &source,
            targets: &targets,
            path: OsStr::new(""),
            jobs: 1,
        };
        let version: Version = "6.12".parse().unwrap();
        let plan = |wanted: &Wanted| -> Result<String> {
            let series = plan::series(checkout.path(), version, wanted)?;
            dry_run(&request, version, &series, &checks())
        };
        insta::assert_snapshot!(plan(&Wanted::default()).unwrap(), @r"
        Linux 6.12, stack fixes
          0001-a.patch
          each patch:
            checkpatch  skipped: perl is not installed; install Debian's package perl
            build       skipped: gcc is not installed; install Debian's package gcc
            sparse      skipped: sparse is not installed; install Debian's package sparse
          after the last patch:
            nommu  skipped: riscv64-linux-gnu-gcc is not installed; install Debian's package gcc-riscv64-linux-gnu
        Linux 6.12, stack core
          0002-b.patch
          0003-c.patch
          each patch:
            checkpatch  skipped: perl is not installed; install Debian's package perl
            build       skipped: gcc is not installed; install Debian's package gcc
            sparse      skipped: sparse is not installed; install Debian's package sparse
          after the last patch:
            nommu  skipped: riscv64-linux-gnu-gcc is not installed; install Debian's package gcc-riscv64-linux-gnu
        ");
        let one = Wanted { patch: Some("3"), ..Wanted::default() };
        insta::assert_snapshot!(plan(&one).unwrap(), @r"
        Linux 6.12, stack core
          0003-c.patch
          each patch:
            checkpatch  skipped: perl is not installed; install Debian's package perl
            build       skipped: gcc is not installed; install Debian's package gcc
            sparse      skipped: sparse is not installed; install Debian's package sparse
        ");
        let none = Wanted { patch: Some("4"), ..Wanted::default() };
        insta::assert_snapshot!(plan(&none).unwrap_err(), @"--patch 4: the selected stacks of Linux 6.12 have no such patch; kernel-patches/6.12/series lists the patches");
        let error = plan::select(plan::checks(&[]), &["build".into()]).unwrap_err();
        insta::assert_snapshot!(error, @"--check build: no such check; choose from: checkpatch, kernel-doc");
    }
}

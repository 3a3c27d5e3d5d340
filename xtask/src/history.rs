// SPDX-License-Identifier: MIT OR Apache-2.0
//! History: the results of the last runs of `cargo xtask test`, without logs. They stay when the directories of the
//! runs are removed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::files;
use crate::paths;
use crate::report::merge;
use crate::results::{CaseResult, RunResult, Verdict};
use crate::run_dir::RESULTS;

/// Number of runs whose results are kept.
const KEPT: usize = 200;

/// Part of the cases of a run that an earlier run must have tested to be compared with it. Not all, because cases are
/// added and renamed.
const COMPARABLE: f64 = 0.9;

/// Cases that a run tests, by the name and the flavour of their target.
pub(crate) type Tested = BTreeMap<(String, String), BTreeSet<String>>;

/// Results of an earlier run.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    /// Name of the run's directory: the time of its start.
    pub name: String,
    pub result: RunResult,
}

/// Adds the results of the run in `run_dir`, and removes the oldest ones.
///
/// # Errors
/// The history cannot be written.
pub(crate) fn add(checkout: &Path, run_dir: &Path, result: &RunResult) -> Result<()> {
    let dir = paths::history(checkout);
    files::create_dir(&dir)?;
    let name = name(run_dir);
    let text = serde_json::to_string(&without_logs(result.clone()))
        .expect("a result holds only strings, numbers and containers of them");
    files::write_atomically(&dir.join(format!("{name}.json")), text)?;
    let files = entries(checkout);
    let beyond = files.len().saturating_sub(KEPT);
    for file in &files[..beyond] {
        // A file that cannot be removed only costs disk space.
        let _ = fs::remove_file(file);
    }
    Ok(())
}

/// Returns the newest run before `before` that can be compared with a run of the cases `like`: it has the same targets
/// and flavours, and has tested nearly all of these cases. `None` for `before` includes all runs.
pub(crate) fn last_like(checkout: &Path, like: &Tested, before: Option<&str>) -> Option<Past> {
    let files = entries(checkout).into_iter().rev();
    let files = files.filter(|file| before.is_none_or(|before| name(file).as_str() < before));
    // Results of another layout cannot be read.
    let mut runs = files.filter_map(|file| past(&file).ok());
    runs.find(|past| is_comparable(&tested(&past.result), like))
}

fn is_comparable(past: &Tested, like: &Tested) -> bool {
    let mut cases = past.values().zip(like.values());
    past.keys().eq(like.keys())
        && cases.all(|(past, like)| {
            past.intersection(like).count() as f64 >= COMPARABLE * like.len() as f64
        })
}

/// Returns the newest run.
///
/// # Errors
/// There is none.
pub(crate) fn newest(checkout: &Path) -> Result<Past> {
    match entries(checkout).last() {
        Some(file) => past(file),
        None => bail!("no results yet; `cargo xtask test` keeps the results of each run"),
    }
}

/// Returns the run that a user names: a results.json, a directory that has one, or the name of a run.
///
/// # Errors
/// There is no such run, or its results cannot be read.
pub(crate) fn find(checkout: &Path, named: &Path) -> Result<Past> {
    let kept = paths::history(checkout).join(format!("{}.json", named.display()));
    let path = match (named.exists(), kept.exists()) {
        (false, true) => kept,
        (true, _) => named.to_owned(),
        (false, false) => bail!(
            "{}: no such file, directory or run; the names of runs are those of the files in {}",
            named.display(),
            paths::history(checkout).display()
        ),
    };
    past(&path)
}

/// Returns the cases that a run has tested. A case that never ran says nothing about the kernel.
pub(crate) fn tested(result: &RunResult) -> Tested {
    let never_ran = |case: &&CaseResult| {
        let verdict = &case.verdict;
        matches!(verdict, Verdict::NotRun { .. } | Verdict::Infra { .. } | Verdict::BootFail { .. })
    };
    let targets = result.targets.iter().map(|target| {
        let cases = target.cases.iter().filter(|case| !never_ran(case));
        let cases = cases.map(|case| case.id.clone()).collect();
        ((target.name.clone(), target.flavour.clone()), cases)
    });
    targets.collect()
}

fn past(path: &Path) -> Result<Past> {
    // The name of a run is that of its directory.
    let full = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let run = if full.ends_with(RESULTS) { full.parent().unwrap_or(&full) } else { &full };
    Ok(Past { name: name(run), result: merge::read(path)? })
}

fn name(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.strip_suffix(".json").unwrap_or(&name).to_owned()
}

/// Returns the files of the history, oldest first. Their names are the times at which the runs started.
fn entries(checkout: &Path) -> Vec<PathBuf> {
    let mut files = files::in_dir(&paths::history(checkout)).unwrap_or_default();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    // Runs that started in the same second have a number after the time: `T100000` and `T100000.1`.
    files.sort_by_key(|file| name(file));
    files
}

/// Removes what a comparison does not need and what takes most space.
fn without_logs(mut result: RunResult) -> RunResult {
    for case in result.targets.iter_mut().flat_map(|target| &mut target.cases) {
        let CaseResult { log, console, curves, failed_attempts, .. } = case;
        (*log, *console, *curves) = Default::default();
        for attempt in failed_attempts {
            (attempt.log, attempt.console) = Default::default();
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    fn record(checkout: &Path, name: &str, result: &RunResult) {
        add(checkout, &checkout.join("target/lab").join(name), result).unwrap();
    }

    #[test]
    fn the_last_run_with_the_same_targets_is_found() {
        let checkout = tempfile::tempdir().unwrap();
        let last = |like: &RunResult, before: Option<&str>| {
            last_like(checkout.path(), &tested(like), before).map(|past| past.name)
        };
        assert_eq!(last(&samples::mixed(), None), None);
        let error = newest(checkout.path()).unwrap_err();
        insta::assert_snapshot!(error, @"no results yet; `cargo xtask test` keeps the results of each run");
        for (name, run) in [
            ("2026-11-28T100000", samples::mixed()),
            ("2026-11-29T100000", samples::mixed()),
            ("2026-11-30T100000", samples::mixed()),
            ("2026-11-30T100000.1", samples::two_kernels()),
        ] {
            record(checkout.path(), name, &run);
        }
        assert_eq!(newest(checkout.path()).unwrap().name, "2026-11-30T100000.1");
        assert_eq!(last(&samples::mixed(), None).as_deref(), Some("2026-11-30T100000"));
        let before = Some("2026-11-29T100000");
        assert_eq!(last(&samples::mixed(), before).as_deref(), Some("2026-11-28T100000"));
        assert_eq!(last(&samples::watched(), None), None);
        let named = find(checkout.path(), Path::new("2026-11-28T100000")).unwrap();
        assert_eq!(named.result.targets.len(), 2);
    }

    #[test]
    fn a_run_that_tested_too_little_is_no_baseline() {
        let of = |cases: usize| -> Tested {
            let cases = (0..cases).map(|n| format!("smoke/{n}")).collect();
            [(("x86_64".to_owned(), "default".to_owned()), cases)].into()
        };
        assert!(is_comparable(&of(10), &of(10)));
        assert!(is_comparable(&of(9), &of(10)));
        assert!(!is_comparable(&of(8), &of(10)));
        // A run of one case can be compared with one of many.
        assert!(is_comparable(&of(10), &of(1)));
        assert!(!is_comparable(&Tested::new(), &of(10)));
        let mut lost = samples::mixed();
        for case in lost.targets.iter_mut().flat_map(|target| &mut target.cases) {
            case.verdict = Verdict::infra("QEMU is gone");
        }
        assert!(tested(&lost).values().all(BTreeSet::is_empty));
    }

    #[test]
    fn logs_and_old_runs_are_dropped() {
        let checkout = tempfile::tempdir().unwrap();
        for n in 0..=KEPT {
            record(checkout.path(), &format!("2026-11-30T{n:06}"), &samples::one_stack());
        }
        let files = entries(checkout.path());
        assert_eq!((files.len(), name(&files[0])), (KEPT, "2026-11-30T000001".into()));
        record(checkout.path(), "2026-12-01T000000", &samples::retried());
        let kept = newest(checkout.path()).unwrap().result;
        let cases = || kept.targets.iter().flat_map(|target| &target.cases);
        assert!(cases().all(|case| case.log.is_empty() && case.console.is_empty()));
        assert_eq!(cases().count(), 3);
    }

    #[test]
    fn a_run_that_does_not_exist_is_an_error() {
        let checkout = tempfile::tempdir().unwrap();
        let error = find(checkout.path(), Path::new("2026-01-01T000000")).unwrap_err().to_string();
        let error = error.replace(&*checkout.path().to_string_lossy(), "CHECKOUT");
        insta::assert_snapshot!(error, @"2026-01-01T000000: no such file, directory or run; the names of runs are those of the files in CHECKOUT/target/lab/history");
    }
}

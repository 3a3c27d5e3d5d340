// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs the checks of a plan.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::compile::{Compilation, Compiler, Unprepared};
use super::messages::Style;
use super::plan::{Check, Series, Work};
use super::steps::{self, Analyser};
use super::{Event, Outcome, Request, Verdict, objects, programs, scripts};
use crate::kernel::cache::Cache;
use crate::kernel::source::{self, Base};
use crate::kernel::{Interrupted, Progress, config, queue};
use crate::variant::BuildVariant;

/// Runs `checks` on the patches of `series`, and reports each outcome to `event`.
///
/// # Errors
/// The source is not available, or a program or a file of the lab is not as expected. [`Interrupted`] if the user stops
/// the lab.
pub fn run(
    request: &Request,
    series: &[Series],
    checks: &[Check],
    event: &mut dyn FnMut(Event),
) -> Result<()> {
    let mut progress = |step| event(Event::Progress(step));
    let base = source::open(request.source, Cache(request.cache), &mut progress)?;
    let mut runner = Runner {
        request,
        base: &base,
        compilations: BTreeMap::new(),
        scratch: tempfile::tempdir().context("create a temporary directory")?,
    };
    let (of_patch, at_end): (Vec<&Check>, Vec<&Check>) =
        checks.iter().partition(|check| check.is_of_patch());
    for series in series {
        for &at in series.selected.iter().filter(|_| !of_patch.is_empty()) {
            event(Event::Subject(series.title(at)));
            for check in &of_patch {
                let outcome = runner.outcome(series, Some(at), check, event)?;
                event(Event::Outcome(outcome));
            }
        }
        if !series.at_end || at_end.is_empty() {
            continue;
        }
        let stack = series.stack.as_deref();
        let subject = stack.map_or("the whole queue".into(), |name| format!("all of {name}"));
        event(Event::Subject(subject));
        for check in &at_end {
            let outcome = runner.outcome(series, None, check, event)?;
            event(Event::Outcome(outcome));
        }
    }
    Ok(())
}

struct Runner<'a> {
    request: &'a Request<'a>,
    base: &'a Base,
    /// Build directories in use, by variant and compiler.
    compilations: BTreeMap<(String, &'static str), Compilation<'a>>,
    scratch: TempDir,
}

impl<'a> Runner<'a> {
    /// Makes a check on the patch at the position `at`, or on the whole stack.
    fn outcome(
        &mut self,
        series: &Series,
        at: Option<usize>,
        check: &Check,
        event: &mut dyn FnMut(Event),
    ) -> Result<Outcome> {
        let start = Instant::now();
        let mut progress = |step: Progress| {
            let what = format!("{}: {}", check.name, step.what);
            event(Event::Progress(Progress { what, ..step }));
        };
        let present = at.map(|at| self.is_present(series, at)).transpose()?.unwrap_or(false);
        let verdict = match programs::missing_program(self.request, check)? {
            _ if present => Verdict::Skipped("the source already contains this fix".into()),
            Some(skipped) => skipped,
            None => match self.verdict(series, at, check, &mut progress) {
                Err(error) if error.is::<Interrupted>() => return Err(error),
                Err(error) if error.is::<Unprepared>() => {
                    let causes: Vec<String> =
                        error.chain().skip(1).map(ToString::to_string).collect();
                    Verdict::Failed(causes.join(": ").lines().map(str::to_owned).collect())
                }
                verdict => verdict?,
            },
        };
        Ok(Outcome {
            stack: series.stack.clone(),
            patch: at.map(|at| series.name(at).to_owned()),
            check: check.name.clone(),
            verdict,
            seconds: start.elapsed().as_secs_f64(),
        })
    }

    /// Returns true if the patch at the position `at` is a fix that the source already contains.
    fn is_present(&self, series: &Series, at: usize) -> Result<bool> {
        let patch = &series.queue.patches[at];
        if patch.fix.is_none() {
            return Ok(false);
        }
        let scratch = self.scratch.path().join("present");
        // A patch that does not apply is reported by the check.
        let applied = series.queue.first(at + 1).apply(&self.base.root, &scratch);
        Ok(applied.is_ok_and(|applied| applied.present.contains(&patch.name)))
    }

    fn verdict(
        &mut self,
        series: &Series,
        at: Option<usize>,
        check: &Check,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Verdict> {
        let base = self.base;
        match (&check.work, at) {
            (Work::Checkpatch, Some(at)) => {
                scripts::checkpatch(base, &series.queue.patches[at].path)
            }
            (Work::KernelDoc, Some(at)) => {
                scripts::kernel_doc(base, series, at, self.scratch.path(), self.request.path)
            }
            (Work::Build(variant), Some(at)) => steps::build_patch(
                self.compilation(variant, Compiler::Gcc, progress)?,
                series,
                at,
                progress,
            ),
            (Work::Clang(variant), Some(at)) => {
                if let Some(skipped) = programs::outdated_clang(&base.root)? {
                    return Ok(skipped);
                }
                let compilation = self.compilation(variant, Compiler::Clang, progress)?;
                steps::build_patch(compilation, series, at, progress)
            }
            (Work::Sparse(variant), Some(at)) => {
                let compilation = self.compilation(variant, Compiler::Gcc, progress)?;
                let targets = steps::patch_targets(compilation, series, at);
                let settings = ["C=2", "CHECK=sparse"].map(str::to_owned).into();
                let analyser = Analyser { settings, targets, style: Style::Levels };
                steps::analyse(compilation, series, at, analyser, progress)
            }
            (Work::Coccicheck(variant), Some(at)) => {
                let compilation = self.compilation(variant, Compiler::Gcc, progress)?;
                let touched = queue::touched(&series.queue.patches[at].text);
                let targets = objects::single(touched.iter(), compilation.arch());
                // Outside of the source, `scripts/coccicheck` needs its whole path.
                let script = base.root.join("scripts/coccicheck");
                let check = format!("CHECK={}", script.display());
                let settings = vec!["C=2".to_owned(), check, "MODE=report".to_owned()];
                let analyser = Analyser { settings, targets, style: Style::Places };
                steps::analyse(compilation, series, at, analyser, progress)
            }
            (Work::Htmldocs(variant), _) => {
                let compilation = self.compilation(variant, Compiler::Gcc, progress)?;
                steps::htmldocs(compilation, series, progress)
            }
            (Work::Kselftest(variant), _) => {
                let compilation = self.compilation(variant, Compiler::Gcc, progress)?;
                steps::kselftest(compilation, series, progress)
            }
            (Work::Variant(variant), _) => self.variant(variant, series, progress),
            (_, None) => unreachable!("checks of a patch have a patch"),
        }
    }

    /// Builds a variant with all patches of `series`.
    fn variant(
        &mut self,
        variant: &BuildVariant,
        series: &Series,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Verdict> {
        if let Some(option) = &variant.needs {
            let listing = self.base.listing()?;
            let kconfigs = listing.keys().filter(|path| path.contains("Kconfig"));
            if !config::defines(&self.base.root, kconfigs, option) {
                let version = self.base.version;
                return Ok(Verdict::Skipped(format!("Linux {version} has no option {option}")));
            }
        }
        let compilation = self.compilation(variant, Compiler::Gcc, progress)?;
        steps::build_variant(compilation, series, progress)
    }

    fn compilation(
        &mut self,
        variant: &BuildVariant,
        compiler: Compiler,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<&mut Compilation<'a>> {
        let suffix = if compiler == Compiler::Clang { "clang" } else { "gcc" };
        let key = (variant.name.clone(), suffix);
        if !self.compilations.contains_key(&key) {
            let opened = Compilation::open(self.request, self.base, variant, compiler, progress)?;
            self.compilations.insert(key.clone(), opened);
        }
        Ok(self.compilations.get_mut(&key).expect("it was just inserted"))
    }
}

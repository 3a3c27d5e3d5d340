// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs the checks of a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use regex::Regex;
use tempfile::TempDir;

use super::compile::{self, Compilation, Compiled, Compiler};
use super::messages::{self, Message, Style};
use super::plan::{Check, Series, Work};
use super::{Event, Outcome, Request, Verdict, objects, scripts};
use crate::kernel::cache::Cache;
use crate::kernel::source::{self, Base};
use crate::kernel::{Interrupted, Progress, config, queue};
use crate::program;
use crate::variant::BuildVariant;

/// Reason for a patch without code for a compiler.
const NOTHING_TO_COMPILE: &str = "the patch changes no file that this configuration compiles";

/// Reason for a patch whose files do not compile before it. Either the configuration leaves them out, or the check of an
/// earlier patch reports that.
const BROKEN_BEFORE: &str = "the files of the patch do not compile in this configuration before it";

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

/// Returns the verdict of a check whose program is missing.
pub(super) fn missing(program: &str, package: &str) -> Verdict {
    Verdict::Skipped(format!("{program} is not installed; install Debian's package {package}"))
}

/// Returns the verdict on a check that cannot be made until the program of `check` is installed, if one is missing.
/// `path` is the content of `PATH`.
///
/// # Errors
/// The check is about a variant without a target.
pub fn missing_program(request: &Request, check: &Check) -> Result<Option<Verdict>> {
    let mut needed: Vec<(String, String)> = Vec::new();
    let mut need = |program: &str, package: &str| needed.push((program.into(), package.into()));
    match &check.work {
        Work::Checkpatch => need("perl", "perl"),
        Work::KernelDoc => {}
        Work::Clang(_) => {
            need("clang", "clang");
            need("ld.lld", "lld");
            need("llvm-ar", "llvm");
        }
        Work::Sparse(_) => need("sparse", "sparse"),
        Work::Coccicheck(_) => {
            need("spatch", "coccinelle");
            // Some of the kernel's semantic patches contain OCaml.
            need("ocamlopt", "ocaml");
        }
        Work::Htmldocs(_) => need("sphinx-build", "python3-sphinx"),
        Work::Build(_) | Work::Variant(_) => {}
    }
    if let Work::Build(variant) | Work::Variant(variant) = &check.work {
        let target = compile::target(request.targets, variant)?;
        let gcc = format!("{}gcc", target.kernel.cross);
        let known = target.programs.iter().find(|program| program.program == gcc);
        need(&gcc, known.map_or("gcc", |program| &program.debian));
    }
    let absent =
        needed.iter().find(|(program, _)| program::find_program(program, request.path).is_none());
    Ok(absent.map(|(program, package)| missing(program, package)))
}

/// A program that reads sources and prints messages.
struct Analyser {
    /// Settings of make that run the program.
    settings: Vec<String>,
    /// Make targets of the sources.
    targets: BTreeSet<String>,
    style: Style,
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
        let verdict = match missing_program(self.request, check)? {
            _ if present => Verdict::Skipped("the source already contains this fix".into()),
            Some(skipped) => skipped,
            None => match self.verdict(series, at, check, &mut progress) {
                Err(error) if error.is::<Interrupted>() => return Err(error),
                // A patch that does not apply, or an option that the configuration tool has dropped.
                Err(error) => {
                    Verdict::Failed(format!("{error:#}").lines().map(str::to_owned).collect())
                }
                Ok(verdict) => verdict,
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
            (Work::Build(variant), Some(at)) => build_patch(
                self.compilation(variant, Compiler::Gcc, progress)?,
                series,
                at,
                progress,
            ),
            (Work::Clang(variant), Some(at)) => {
                if let Some(skipped) = outdated_clang(&base.root)? {
                    return Ok(skipped);
                }
                let compilation = self.compilation(variant, Compiler::Clang, progress)?;
                build_patch(compilation, series, at, progress)
            }
            (Work::Sparse(variant), Some(at)) => {
                let compilation = self.compilation(variant, Compiler::Gcc, progress)?;
                let targets = patch_targets(compilation, series, at);
                let settings = ["C=2", "CHECK=sparse"].map(str::to_owned).into();
                let analyser = Analyser { settings, targets, style: Style::Levels };
                analyse(compilation, series, at, analyser, progress)
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
                analyse(compilation, series, at, analyser, progress)
            }
            (Work::Htmldocs(variant), _) => {
                let compilation = self.compilation(variant, Compiler::Gcc, progress)?;
                htmldocs(compilation, series, progress)
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
        compilation.set_state(&series.queue, progress)?;
        let touched = series.queue.touched();
        let targets = objects::targets(touched.iter(), &BTreeSet::new(), compilation.arch());
        let targets = existing(&targets, &compilation.tree());
        let built = match compilation.build(&targets, progress)? {
            Compiled::Failed(lines) => return Ok(Verdict::Failed(lines)),
            Compiled::New(built) => built,
        };
        let after: Vec<Message> = of_files(built.iter(), &touched).into_iter().cloned().collect();
        if after.is_empty() {
            return Ok(Verdict::Ok);
        }
        // The source may have had these warnings before.
        compilation.set_state(&series.queue.first(series.own.start), progress)?;
        let targets = existing(&targets, &compilation.tree());
        compilation.compile_possible(&targets, progress)?;
        Ok(scripts::verdict(&messages::new(&compilation.known_messages(), &after)))
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

/// Returns the targets that compile the patch at the position `at`.
fn patch_targets(compilation: &Compilation, series: &Series, at: usize) -> BTreeSet<String> {
    let patches = &series.queue.patches;
    let around = series.own.clone().flat_map(|at| queue::touched(&patches[at].text)).collect();
    let own = queue::touched(&patches[at].text);
    objects::targets(own.iter(), &around, compilation.arch())
}

/// Returns those of `targets` whose source is in `tree`.
fn existing(targets: &BTreeSet<String>, tree: &Path) -> BTreeSet<String> {
    targets.iter().filter(|target| objects::exists(tree, target)).cloned().collect()
}

/// Returns the messages about `files`.
fn of_files<'m>(
    messages: impl Iterator<Item = &'m Message>,
    files: &BTreeSet<String>,
) -> Vec<&'m Message> {
    // objtool names the object.
    let is_about = |file: &str| files.contains(file) || files.contains(&format!("{file}.c"));
    messages.filter(|message| is_about(&message.file)).collect()
}

/// Make targets of a patch.
struct Targets {
    /// Those that compile before the patch, or do not exist there.
    sound: BTreeSet<String>,
    /// Those that do not compile before the patch.
    broken: BTreeSet<String>,
}

/// Moves to the state before the patch at the position `at`, and compiles `targets` there.
fn compile_before(
    compilation: &mut Compilation,
    series: &Series,
    at: usize,
    targets: BTreeSet<String>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Targets> {
    compilation.set_state(&series.queue.first(at), progress)?;
    let before = existing(&targets, &compilation.tree());
    let (_, broken) = compilation.compile_possible(&before, progress)?;
    Ok(Targets { sound: targets.difference(&broken).cloned().collect(), broken })
}

/// Compiles the sources before and after the patch at the position `at`.
fn build_patch(
    compilation: &mut Compilation,
    series: &Series,
    at: usize,
    progress: &mut dyn FnMut(Progress),
) -> Result<Verdict> {
    let targets = patch_targets(compilation, series, at);
    if targets.is_empty() {
        return Ok(Verdict::Skipped(NOTHING_TO_COMPILE.into()));
    }
    let Targets { sound, broken } = compile_before(compilation, series, at, targets, progress)?;
    compilation.set_state(&series.queue.first(at + 1), progress)?;
    let tree = compilation.tree();
    let mut new = match compilation.compile(&existing(&sound, &tree), progress)? {
        Compiled::Failed(lines) => return Ok(Verdict::Failed(lines)),
        Compiled::New(new) => new,
    };
    let (more, still_broken) = compilation.compile_possible(&existing(&broken, &tree), progress)?;
    if sound.is_empty() && still_broken == broken {
        return Ok(Verdict::Skipped(BROKEN_BEFORE.into()));
    }
    new.extend(more);
    Ok(scripts::verdict(&of_files(new.iter(), &series.queue.touched())))
}

/// Runs an analyser on the sources before and after the patch at the position `at`.
fn analyse(
    compilation: &mut Compilation,
    series: &Series,
    at: usize,
    analyser: Analyser,
    progress: &mut dyn FnMut(Progress),
) -> Result<Verdict> {
    let Analyser { settings, targets, style } = analyser;
    if targets.is_empty() {
        return Ok(Verdict::Skipped(NOTHING_TO_COMPILE.into()));
    }
    let targets = compile_before(compilation, series, at, targets, progress)?.sound;
    if targets.is_empty() {
        return Ok(Verdict::Skipped(BROKEN_BEFORE.into()));
    }
    let mut states = Vec::new();
    for patches in [at, at + 1] {
        compilation.set_state(&series.queue.first(patches), progress)?;
        let targets = existing(&targets, &compilation.tree());
        states.push(compilation.analyse(&settings, &targets, style, progress)?);
    }
    let before = states.remove(0).unwrap_or_default();
    Ok(match states.remove(0) {
        Err(lines) => Verdict::Failed(lines),
        Ok(after) => {
            let new = messages::new(&before, &after).into_iter();
            scripts::verdict(&of_files(new, &series.queue.touched()))
        }
    })
}

/// Builds the documents that the patches of `series` change.
fn htmldocs(
    compilation: &mut Compilation,
    series: &Series,
    progress: &mut dyn FnMut(Progress),
) -> Result<Verdict> {
    compilation.set_state(&series.queue, progress)?;
    let own = series.own.clone();
    let touched: BTreeSet<String> =
        own.flat_map(|at| queue::touched(&series.queue.patches[at].text)).collect();
    let dirs = document_dirs(&touched, &compilation.tree());
    if dirs.is_empty() {
        return Ok(Verdict::Skipped("no patch changes a document".into()));
    }
    let dirs: Vec<&str> = dirs.iter().map(String::as_str).collect();
    Ok(match compilation.htmldocs(&dirs.join(" "), progress)? {
        Err(lines) => Verdict::Failed(lines),
        Ok(messages) => scripts::verdict(&of_files(messages.iter(), &touched)),
    })
}

/// Returns the directories below `Documentation` that have an index and contain the documents among `files`.
fn document_dirs(files: &BTreeSet<String>, tree: &Path) -> BTreeSet<String> {
    let documents = files.iter().filter(|file| file.ends_with(".rst"));
    let documents = documents.filter_map(|file| file.strip_prefix("Documentation/"));
    let has_index = |dir: &&Path| tree.join("Documentation").join(dir).join("index.rst").exists();
    let dir = |file: &str| {
        let mut above = Path::new(file).ancestors().skip(1).filter(|dir| *dir != Path::new(""));
        above.find(has_index).map(|dir| dir.display().to_string())
    };
    documents.filter_map(dir).collect()
}

/// Returns the reason to skip a check with clang if the source in `root` needs a newer version.
fn outdated_clang(root: &Path) -> Result<Option<Verdict>> {
    let text = crate::kernel::toolchain::version("clang")?;
    let oldest = compile::oldest_llvm(root)?;
    let (Some(here), Some(needed)) = (number(&text), number(&oldest)) else {
        return Ok(None);
    };
    Ok((here < needed).then(|| {
        Verdict::Skipped(format!("{text} is too old: this kernel needs clang {oldest} or newer"))
    }))
}

/// Returns the first version number in a text.
fn number(text: &str) -> Option<(u32, u32, u32)> {
    let pattern = Regex::new(r"(\d+)\.(\d+)\.(\d+)").expect("it is valid");
    let found = pattern.captures(text)?;
    let part = |at: usize| found[at].parse().ok();
    Some((part(1)?, part(2)?, part(3)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_built_with_the_nearest_index() {
        let tree = tempfile::tempdir().unwrap();
        for dir in ["filesystems", "filesystems/fuse"] {
            let dir = tree.path().join("Documentation").join(dir);
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("index.rst"), "").unwrap();
        }
        let dirs = |files: &[&str]| {
            let files = files.iter().map(|file| format!("Documentation/{file}")).collect();
            Vec::from_iter(document_dirs(&files, tree.path())).join(" ")
        };
        assert_eq!(dirs(&["filesystems/fuse/dmmap.rst"]), "filesystems/fuse");
        assert_eq!(dirs(&["filesystems/vfs.rst", "filesystems/api.txt"]), "filesystems");
        assert_eq!(dirs(&["mm/page.rst", "index.rst"]), "");
    }

    #[test]
    fn versions_are_compared_by_number() {
        assert!(number("Debian clang version 14.0.6") < number("15.0.1"));
        assert!(number("Debian clang version 14.0.6") > number("13.0.1"));
        assert_eq!(number("clang"), None);
    }
}

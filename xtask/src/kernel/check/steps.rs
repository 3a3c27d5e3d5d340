// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks that need a build directory: what each does in the state before a patch and in the state after it.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use super::compile::{Compilation, Compiled};
use super::messages::{self, Message, Style};
use super::plan::Series;
use super::{Verdict, objects, scripts};
use crate::kernel::{Progress, queue};

/// Reason for a patch without code for a compiler.
const NOTHING_TO_COMPILE: &str = "the patch changes no file that this configuration compiles";

/// Reason for a patch whose files do not compile before it. Either the configuration leaves them out, or the check of an
/// earlier patch reports that.
const BROKEN_BEFORE: &str = "the files of the patch do not compile in this configuration before it";

/// A program that reads sources and prints messages.
pub(super) struct Analyser {
    /// Settings of make that run the program.
    pub settings: Vec<String>,
    /// Make targets of the sources.
    pub targets: BTreeSet<String>,
    /// Style of its messages.
    pub style: Style,
}

/// Returns the targets that compile the patch at the position `at`.
pub(super) fn patch_targets(
    compilation: &Compilation,
    series: &Series,
    at: usize,
) -> BTreeSet<String> {
    let own = queue::touched(&series.queue.patches[at].text);
    objects::targets(own.iter(), &touched_by_stack(series), compilation.arch())
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
pub(super) fn build_patch(
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
pub(super) fn analyse(
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
    let present = existing(&targets, &compilation.tree());
    let before = compilation.analyse(&settings, &present, style, progress)?.unwrap_or_default();
    compilation.set_state(&series.queue.first(at + 1), progress)?;
    let present = existing(&targets, &compilation.tree());
    Ok(match compilation.analyse(&settings, &present, style, progress)? {
        Err(lines) => Verdict::Failed(lines),
        Ok(after) => {
            let new = messages::new(&before, &after).into_iter();
            scripts::verdict(&of_files(new, &series.queue.touched()))
        }
    })
}

/// Builds a variant with all patches of `series`.
pub(super) fn build_variant(
    compilation: &mut Compilation,
    series: &Series,
    progress: &mut dyn FnMut(Progress),
) -> Result<Verdict> {
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

/// Builds the documents that the patches of `series` change.
pub(super) fn htmldocs(
    compilation: &mut Compilation,
    series: &Series,
    progress: &mut dyn FnMut(Progress),
) -> Result<Verdict> {
    compilation.set_state(&series.queue, progress)?;
    let touched = touched_by_stack(series);
    let dirs = document_dirs(&touched, &compilation.tree());
    if dirs.is_empty() {
        return Ok(Verdict::Skipped("no patch changes a document".into()));
    }
    let settings = [format!("SPHINXDIRS={}", Vec::from_iter(dirs).join(" "))];
    Ok(match compilation.make_anew("htmldocs", "Documentation", &settings, progress)? {
        Err(lines) => Verdict::Failed(lines),
        Ok(messages) => scripts::verdict(&of_files(messages.iter(), &touched)),
    })
}

/// Builds the selftests that the patches of `series` change.
pub(super) fn kselftest(
    compilation: &mut Compilation,
    series: &Series,
    progress: &mut dyn FnMut(Progress),
) -> Result<Verdict> {
    compilation.set_state(&series.queue, progress)?;
    let touched = touched_by_stack(series);
    let dirs = selftest_dirs(&touched, &compilation.tree());
    if dirs.is_empty() {
        return Ok(Verdict::Skipped("no patch changes a selftest".into()));
    }
    let targets = format!("TARGETS={}", Vec::from_iter(dirs).join(" "));
    // Otherwise make succeeds if one of the targets can be built.
    let settings = [targets, "FORCE_TARGETS=1".to_owned()];
    Ok(match compilation.make_anew("kselftest-all", "kselftest", &settings, progress)? {
        Err(lines) => Verdict::Failed(lines),
        Ok(messages) => {
            // make runs in the directory of the selftest, so the compiler prints names without that directory.
            let is_about = |message: &&Message| {
                touched.iter().any(|path| Path::new(path).ends_with(&message.file))
            };
            scripts::verdict(&Vec::from_iter(messages.iter().filter(is_about)))
        }
    })
}

/// Returns the files that the patches of the stack itself change.
fn touched_by_stack(series: &Series) -> BTreeSet<String> {
    let own = series.own.clone();
    own.flat_map(|at| queue::touched(&series.queue.patches[at].text)).collect()
}

/// Returns the directories of the selftests among `files`, for the variable `TARGETS`.
fn selftest_dirs(files: &BTreeSet<String>, tree: &Path) -> BTreeSet<String> {
    nearest_dirs(files.iter(), tree, "tools/testing/selftests", "Makefile")
}

/// Returns the directories below `Documentation` that have an index and contain the documents among `files`.
fn document_dirs(files: &BTreeSet<String>, tree: &Path) -> BTreeSet<String> {
    let documents = files.iter().filter(|file| file.ends_with(".rst"));
    nearest_dirs(documents, tree, "Documentation", "index.rst")
}

/// Returns, for each of `files` below the directory `root` of `tree`, the nearest directory around it that contains the
/// file `marker`, relative to `root`. `root` itself does not count.
fn nearest_dirs<'f>(
    files: impl Iterator<Item = &'f String>,
    tree: &Path,
    root: &str,
    marker: &str,
) -> BTreeSet<String> {
    let dir = |file: &String| {
        let below = Path::new(file).strip_prefix(root).ok()?;
        let mut above = below.ancestors().skip(1).filter(|dir| *dir != Path::new(""));
        let nearest = above.find(|dir| tree.join(root).join(dir).join(marker).exists())?;
        Some(nearest.display().to_string())
    };
    files.filter_map(dir).collect()
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
}

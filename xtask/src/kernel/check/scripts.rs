// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scripts of the kernel source that need no build: checkpatch.pl and kernel-doc.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::compile::Unprepared;
use super::messages::{self, Message, Style};
use super::plan::Series;
use super::{Verdict, programs};
use crate::files;
use crate::kernel::queue::{self, Queue};
use crate::kernel::source::Base;
use crate::{guard, program};

/// Messages of checkpatch.pl that are no fault of a patch.
///
/// It asks for an entry in MAINTAINERS whenever a patch adds a file, even if an entry covers the directory of the file,
/// as it does for `fs/fuse`. It also looks up the commits of `Fixes:` in git, but Debian's source has no history.
const IGNORED: &str = "FILE_PATH_CHANGES,UNKNOWN_COMMIT_ID";

/// Runs checkpatch.pl of the source `base` on a patch.
///
/// # Errors
/// checkpatch.pl cannot be run.
pub(super) fn checkpatch(base: &Base, patch: &Path) -> Result<Verdict> {
    let ignored = format!("--ignore={IGNORED}");
    let options =
        ["--strict", "--show-types", "--showfile", "--terse", "--no-summary", "--color=never"];
    let mut words = vec!["scripts/checkpatch.pl".to_owned()];
    words.extend(options.map(str::to_owned));
    words.extend([ignored, patch.display().to_string()]);
    let output = run("perl", words, &base.root)?;
    let problems = complaints(&output.text);
    Ok(match (output.success, problems.is_empty()) {
        (true, true) => Verdict::Ok,
        (false, true) => Verdict::Failed(output.text.lines().map(str::to_owned).collect()),
        (_, false) => Verdict::Failed(problems),
    })
}

/// Returns the lines of the output of `checkpatch.pl --terse` that are a complaint: `FILE:LINE: LEVEL:TYPE: text`.
/// checkpatch.pl leaves out the file if the complaint is about the description of the patch.
fn complaints(output: &str) -> Vec<String> {
    let levels = [": ERROR:", ": WARNING:", ": CHECK:"];
    let lines = output.lines().filter(|line| levels.iter().any(|level| line.contains(level)));
    let name = |line: &str| match line.strip_prefix(':') {
        Some(rest) => format!("line {rest}"),
        None => line.to_owned(),
    };
    lines.map(name).collect()
}

/// Runs kernel-doc on the C files that the patch at the position `at` changes. `scratch` is a directory for copies.
///
/// # Errors
/// kernel-doc cannot be run, or the patches do not apply.
pub(super) fn kernel_doc(
    base: &Base,
    series: &Series,
    at: usize,
    scratch: &Path,
    path: &OsStr,
) -> Result<Verdict> {
    let touched = queue::touched(&series.queue.patches[at].text);
    let is_c = |file: &&String| file.ends_with(".c") || file.ends_with(".h");
    let files: Vec<&String> = touched.iter().filter(is_c).collect();
    if files.is_empty() {
        return Ok(Verdict::Skipped("the patch changes no C file".into()));
    }
    let script = base.root.join("scripts/kernel-doc");
    let text = fs::read(&script).with_context(|| format!("read {}", script.display()))?;
    let first_line = String::from_utf8_lossy(text.split(|b| *b == b'\n').next().unwrap_or(&[]));
    let interpreter = if first_line.contains("python3") { "python3" } else { "perl" };
    if program::find_program(interpreter, path).is_none() {
        return Ok(programs::missing(interpreter, interpreter));
    }
    let mut states = Vec::new();
    for (name, patches) in [("before", at), ("after", at + 1)] {
        let dir = scratch.join(name);
        let present = copy_state(base, &series.queue.first(patches), &files, &dir)?;
        if present.is_empty() {
            states.push(Vec::new());
            continue;
        }
        let mut words = vec![script.display().to_string(), "-none".into(), "-Wall".into()];
        words.extend(present);
        // The exit code is the number of warnings, or an error that is in the output.
        let output = run(interpreter, words, &dir)?;
        // A file without kernel-doc comments is no fault.
        let lines = output.text.lines();
        let lines = lines.filter(|line| !line.to_lowercase().contains("no structured comments"));
        states.push(messages::parse(lines, &dir, Style::Levels));
    }
    Ok(verdict(&messages::new(&states[0], &states[1])))
}

/// Copies `files` of the source with `queue` applied to the directory `dir`. Returns the names of those that exist.
fn copy_state(base: &Base, queue: &Queue, files: &[&String], dir: &Path) -> Result<Vec<String>> {
    let applied = queue.apply(&base.root, dir).context(Unprepared)?;
    let mut present = Vec::new();
    for file in files {
        let (from, to) = (base.root.join(file), dir.join(file));
        if !applied.overlay.contains_key(*file) && from.is_file() {
            files::create_dir(to.parent().unwrap_or(dir))?;
            fs::copy(&from, &to).with_context(|| format!("copy {}", from.display()))?;
        }
        if to.is_file() {
            present.push((*file).clone());
        }
    }
    Ok(present)
}

/// Returns the verdict on a patch that adds `messages`.
pub(super) fn verdict(messages: &[&Message]) -> Verdict {
    if messages.is_empty() {
        return Verdict::Ok;
    }
    let mut lines: Vec<String> = Vec::new();
    let mut shown: Vec<&Message> = Vec::new();
    for message in messages {
        // Several objects may include the same header.
        if !shown.contains(message) {
            shown.push(message);
            lines.extend(message.lines.iter().cloned());
        }
    }
    Verdict::Failed(lines)
}

/// Output of a script.
struct Output {
    success: bool,
    text: String,
}

/// Runs a script in the directory `dir`.
fn run(program: &str, words: Vec<String>, dir: &Path) -> Result<Output> {
    // Python must not write to the source, which is shared.
    let environment = [("LC_ALL", "C"), ("PYTHONDONTWRITEBYTECODE", "1")];
    let mut command = guard::command(program, words).dir(dir);
    for (name, value) in environment {
        command = command.env(name, value);
    }
    let output = guard::run(&command.stderr_to_stdout().stdout_capture())?;
    if output.status.code() == Some(guard::CANNOT_RUN) {
        bail!("cannot run {program}: {}", String::from_utf8_lossy(&output.stdout).trim());
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(Output { success: output.status.success(), text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_of_checkpatch_are_found() {
        let output = "mm/util.c:576: CHECK:PARENTHESIS_ALIGNMENT: Alignment should match open parenthesis\n\
            :468: WARNING:COMMIT_LOG_LONG_LINE: Prefer a maximum 75 chars per line\n\
            No typos will be found\n";
        insta::assert_snapshot!(complaints(output).join("\n"), @r"
        mm/util.c:576: CHECK:PARENTHESIS_ALIGNMENT: Alignment should match open parenthesis
        line 468: WARNING:COMMIT_LOG_LONG_LINE: Prefer a maximum 75 chars per line
        ");
    }
}

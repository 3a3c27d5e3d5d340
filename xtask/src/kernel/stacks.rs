// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stacks: the parts of a patch queue that are sent as a series of their own. A heading in the file `series` starts a
//! stack: `[NAME]`, or `[NAME] on OTHER ...`. The cover letter of a stack is the file `NAME.cover.txt`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use anyhow::{Result, bail};
use regex::Regex;

use super::queue::DIR;
use crate::files;
use crate::kernel_version::{self, KernelVersion};

/// Word in a heading for a stack that needs no other stack.
const NOTHING: &str = "nothing";

/// Part of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stack {
    pub name: String,
    /// Names of the stacks that this stack needs directly. `None` if the heading names none: then the stack needs the one
    /// above it.
    pub on: Option<Vec<String>>,
    /// Cover letter: a subject, an empty line, and the text. Empty until the file is read.
    pub letter: String,
    /// Number of patches of the queue up to the end of this stack.
    pub end: usize,
}

/// Content of a `series` file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Series {
    /// Line numbers and file names of the patches.
    pub patches: Vec<(usize, String)>,
    /// Stacks in the order of their patches. Empty if the series has no headings.
    pub stacks: Vec<Stack>,
}

/// Returns the file name of the cover letter of the stack `name`.
pub(crate) fn cover_file(name: &str) -> String {
    format!("{name}.cover.txt")
}

/// Returns the lines of a series file with their numbers, without comments and empty lines, like quilt.
fn lines(series: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = series.lines().map(|line| line.split('#').next().unwrap_or(line).trim());
    lines.enumerate().filter(|(_, line)| !line.is_empty()).map(|(at, line)| (at + 1, line))
}

/// Parses the text of a `series` file. `path` is its name for messages.
///
/// # Errors
/// A heading is malformed, a stack or patch is listed twice, a stack has no patches or stands on a stack that is not
/// above it, or a patch is above the first heading.
pub(crate) fn parse(series: &str, path: &str) -> Result<Series> {
    let mut parsed = Series::default();
    let mut seen = BTreeMap::new();
    for (line, text) in lines(series) {
        if text.starts_with('[') {
            check_not_empty(&parsed, path)?;
            if parsed.stacks.is_empty() && !parsed.patches.is_empty() {
                bail!("{path}:{line}: move the patches above this first heading into a stack");
            }
            let mut stack = heading(text, &parsed.stacks)
                .map_err(|problem| anyhow::anyhow!("{path}:{line}: {problem}"))?;
            stack.end = parsed.patches.len();
            parsed.stacks.push(stack);
            continue;
        }
        if let Some(first) = seen.insert(text, line) {
            bail!("{path}:{line}: {text} is already in line {first}: remove one of the two lines");
        }
        parsed.patches.push((line, text.to_owned()));
        if let Some(stack) = parsed.stacks.last_mut() {
            stack.end = parsed.patches.len();
        }
    }
    check_not_empty(&parsed, path)?;
    Ok(parsed)
}

/// Checks that the stacks in the `kernel.yaml` of each version are the headings of its `series`.
///
/// # Errors
/// A series has a mistake, a heading has no entry, or an entry has no heading. The error states what to do.
pub(crate) fn check_described(checkout: &Path, kernels: &[KernelVersion]) -> Result<()> {
    for kernel in kernels {
        let dir = Path::new(DIR).join(kernel.version.to_string());
        let path = dir.join("series");
        let text = files::read_if_exists(&checkout.join(&path))?.unwrap_or_default();
        let (series, described) =
            (path.display().to_string(), dir.join(kernel_version::FILE).display().to_string());
        let headings = parse(&text, &series)?.stacks;
        if let Some(Stack { name, .. }) =
            headings.iter().find(|stack| !kernel.stacks.contains_key(&stack.name))
        {
            bail!(
                "{described}: the stack {name} of {series} has no entry: add `{name}: {{ promises: [...] }}` under \
                 `stacks`, with the numbers of the promises that the stack keeps"
            );
        }
        let has_heading = |name: &String| headings.iter().any(|stack| stack.name == *name);
        if let Some(name) = kernel.stacks.keys().find(|name| !has_heading(name)) {
            bail!(
                "{described}: the stack {name} has no heading in {series}: add the heading `[{name}]`, or remove \
                 {name} from `stacks`"
            );
        }
    }
    Ok(())
}

/// Checks that the last stack has a patch.
fn check_not_empty(parsed: &Series, path: &str) -> Result<()> {
    let start = parsed.stacks.iter().rev().nth(1).map_or(0, |stack| stack.end);
    if let Some(stack) = parsed.stacks.last().filter(|stack| stack.end == start) {
        bail!("{path}: the stack {} has no patches: add one, or remove its heading", stack.name);
    }
    Ok(())
}

/// Parses a heading. `above` are the stacks above it.
fn heading(text: &str, above: &[Stack]) -> Result<Stack, String> {
    static HEADING: LazyLock<Regex> = LazyLock::new(|| {
        let name = "[a-z0-9][a-z0-9-]*";
        Regex::new(&format!(r"^\[({name})\](?:\s+on((?:\s+{name})+))?$")).expect("it is valid")
    });
    let Some(found) = HEADING.captures(text) else {
        return Err(format!(
            "{text:?} is not a heading: expected `[NAME]` or `[NAME] on OTHER`, with names of lower-case letters, \
             digits and hyphens"
        ));
    };
    let name = found[1].to_owned();
    let exists = |name: &str| above.iter().any(|stack| stack.name == name);
    if exists(&name) || name == NOTHING {
        return Err(format!("the name {name} is already in use: choose another one"));
    }
    let on = found.get(2).map(|others| others.as_str().split_whitespace().map(str::to_owned));
    let on: Option<Vec<String>> = on.map(|others| others.filter(|o| o != NOTHING).collect());
    if let Some(missing) = on.iter().flatten().find(|other| !exists(other)) {
        return Err(format!(
            "{name} stands on {missing}, but there is no stack of that name above it: correct the name, or move \
             {missing} up"
        ));
    }
    Ok(Stack { name, on, letter: String::new(), end: 0 })
}

/// Returns the lines of a `series` file: for each stack its heading and its patches, or only the patches if there are
/// no stacks.
pub(crate) fn render(stacks: &[Stack], patches: &[String]) -> String {
    let mut text = String::new();
    let mut start = 0;
    for stack in stacks {
        let on = match &stack.on {
            None => String::new(),
            Some(others) if others.is_empty() => format!(" on {NOTHING}"),
            Some(others) => format!(" on {}", others.join(" ")),
        };
        text += &format!("\n[{}]{on}\n", stack.name);
        patches[start..stack.end].iter().for_each(|patch| text += &format!("{patch}\n"));
        start = stack.end;
    }
    patches[start..].iter().for_each(|patch| text += &format!("{patch}\n"));
    text
}

/// Returns the positions of the stack `name` and of all stacks that it needs, in ascending order. `None` if there is no
/// such stack.
pub(crate) fn needed(stacks: &[Stack], name: &str) -> Option<Vec<usize>> {
    let position = |name: &str| stacks.iter().position(|stack| stack.name == name);
    let last = position(name)?;
    let mut needed = vec![false; stacks.len()];
    needed[last] = true;
    // A stack needs only stacks above it, so one pass from the last one finds all.
    for at in (0..=last).rev().filter(|at| *at > 0 || stacks[*at].on.is_some()) {
        if !needed[at] {
            continue;
        }
        match &stacks[at].on {
            None => needed[at - 1] = true,
            Some(others) => {
                others.iter().filter_map(|o| position(o)).for_each(|o| needed[o] = true);
            }
        }
    }
    Some((0..stacks.len()).filter(|at| needed[*at]).collect())
}

/// Splits the text of a cover letter's file into the comment at its top, whose lines begin with `#`, and the letter.
pub(crate) fn split_letter(text: &str) -> (&str, &str) {
    let is_comment = |line: &&str| line.starts_with('#') || line.trim().is_empty();
    let comment = text.split_inclusive('\n').take_while(is_comment).map(str::len).sum();
    let (comment, letter) = text.split_at(comment);
    (comment, letter.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACKS: &str = "# Why.\n\n[fixes]\na.patch\n\n[core] on nothing\nb.patch # why\nc.patch\n\n[lazy]\nd.patch\n\n\
                          [accounting] on core fixes\ne.patch\n";

    fn error(series: &str) -> String {
        parse(series, "series").unwrap_err().to_string()
    }

    #[test]
    fn a_series_without_headings_has_no_stacks() {
        let series = parse("# Why.\na.patch\n\nb.patch # why\n", "series").unwrap();
        assert_eq!(series.patches, [(2, "a.patch".to_owned()), (4, "b.patch".to_owned())]);
        assert_eq!(series.stacks, []);
    }

    #[test]
    fn a_stack_needs_the_one_above_it_or_those_in_its_heading() {
        let stacks = parse(STACKS, "series").unwrap().stacks;
        let ends: Vec<usize> = stacks.iter().map(|stack| stack.end).collect();
        assert_eq!(ends, [1, 3, 4, 5]);
        let names = |name: &str| {
            let needed = needed(&stacks, name).unwrap().into_iter();
            needed.map(|at| stacks[at].name.as_str()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names("fixes"), "fixes");
        assert_eq!(names("core"), "core");
        assert_eq!(names("lazy"), "core lazy");
        assert_eq!(names("accounting"), "fixes core accounting");
        assert_eq!(needed(&stacks, "load"), None);
    }

    #[test]
    fn rendering_reverses_parsing() {
        let series = parse(STACKS, "series").unwrap();
        let patches: Vec<String> = series.patches.into_iter().map(|(_, name)| name).collect();
        let text = render(&series.stacks, &patches);
        assert_eq!(format!("# Why.\n{text}"), STACKS.replace(" # why", ""));
    }

    #[test]
    fn mistakes_in_a_series_are_explained() {
        insta::assert_snapshot!(error("a.patch\nb.patch\na.patch\n"), @"series:3: a.patch is already in line 1: remove one of the two lines");
        insta::assert_snapshot!(error("[a]\na.patch\n[b]\na.patch\n"), @"series:4: a.patch is already in line 2: remove one of the two lines");
        insta::assert_snapshot!(error("[a]\na.patch\n[a]\nb.patch\n"), @"series:3: the name a is already in use: choose another one");
        insta::assert_snapshot!(error("[a] on b\na.patch\n[b]\nb.patch\n"), @"series:1: a stands on b, but there is no stack of that name above it: correct the name, or move b up");
        insta::assert_snapshot!(error("[a]\n[b]\nb.patch\n"), @"series: the stack a has no patches: add one, or remove its heading");
        insta::assert_snapshot!(error("[a]\na.patch\n[b]\n"), @"series: the stack b has no patches: add one, or remove its heading");
        insta::assert_snapshot!(error("a.patch\n[b]\nb.patch\n"), @"series:2: move the patches above this first heading into a stack");
        insta::assert_snapshot!(error("[A b]\na.patch\n"), @r#"series:1: "[A b]" is not a heading: expected `[NAME]` or `[NAME] on OTHER`, with names of lower-case letters, digits and hyphens"#);
    }

    #[test]
    fn a_cover_letter_begins_after_the_comment() {
        let text = "# SPDX\n# Why.\n\nSubject\n\n# Not a comment\nText\n";
        assert_eq!(split_letter(text), ("# SPDX\n# Why.\n\n", "Subject\n\n# Not a comment\nText"));
        assert_eq!(split_letter("Subject\n"), ("", "Subject"));
        assert_eq!(split_letter("# SPDX\n"), ("# SPDX\n", ""));
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lines that belong to the feature: all lines of source files that the patch queue adds, and the changed lines of
//! other files.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::LazyLock;

use anyhow::{Context, Result};
use regex::Regex;

use crate::files;
use crate::kernel::coverage_files;

/// Source files with lines of the feature, by name.
#[derive(Debug)]
pub(super) struct Feature {
    dir: String,
    texts: BTreeMap<String, SourceText>,
}

/// Text of a source file.
#[derive(Debug, Default)]
pub(super) struct SourceText {
    lines: Vec<String>,
    /// For each line, the function that contains it, or else the last function above it.
    functions: Vec<String>,
    /// Numbers of the lines that belong to the feature; `None` if all lines do.
    changed_lines: Option<Vec<Range<usize>>>,
}

impl Feature {
    /// Reads the source files that are stored with the kernel in the directory `kernel`. `dir` is their directory in
    /// the kernel source.
    ///
    /// # Errors
    /// No files are stored: the lab did not build the kernel, or built it without coverage.
    pub(super) fn read(dir: &str, kernel: &Path) -> Result<Self> {
        let stored = kernel.join(coverage_files::DIR);
        let read = || -> Result<BTreeMap<String, SourceText>> {
            let mut texts = BTreeMap::new();
            for path in files::in_dir(&stored)? {
                let name = path.file_name().unwrap_or_default();
                let name = name.to_string_lossy().into_owned();
                if !name.ends_with(".c") && !name.ends_with(".h") {
                    continue;
                }
                let text = files::read(&path)?;
                let diff = stored.join(format!("{name}{}", coverage_files::DIFF_SUFFIX));
                let diff = files::read_if_exists(&diff)?;
                texts.insert(name, SourceText::new(&text, diff.as_deref()));
            }
            Ok(texts)
        };
        let texts = read().context("coverage needs a kernel that the lab has built")?;
        Ok(Feature { dir: dir.to_owned(), texts })
    }

    /// Returns the name and the text of a source file, or `None` if it has no lines of the feature. `path` is the path
    /// that was passed to the compiler.
    pub(super) fn find(&self, path: &str) -> Option<(&str, &SourceText)> {
        let (parent, name) = path.rsplit_once('/')?;
        let found = self.texts.get_key_value(name)?;
        Path::new(parent).ends_with(&self.dir).then_some((found.0.as_str(), found.1))
    }

    #[cfg(test)]
    pub fn from_texts(dir: &str, texts: Vec<(&str, SourceText)>) -> Self {
        let texts = texts.into_iter().map(|(name, text)| (name.to_owned(), text));
        Feature { dir: dir.to_owned(), texts: texts.collect() }
    }
}

impl SourceText {
    /// Creates the text of a source file. `diff` is the difference to the unpatched file, or `None` for a new file.
    pub(super) fn new(text: &str, diff: Option<&str>) -> Self {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let mut function = String::new();
        let functions = lines.iter().map(|line| {
            if let Some(found) = function_of(line) {
                function = found.to_owned();
            }
            function.clone()
        });
        SourceText { functions: functions.collect(), changed_lines: diff.map(added), lines }
    }

    /// Returns the function and the trimmed text of line `number`, from 1, or `None` if the line does not belong to the
    /// feature.
    pub(super) fn line(&self, number: usize) -> Option<(&str, &str)> {
        let changed_lines = self.changed_lines.as_ref();
        if !changed_lines
            .is_none_or(|changed_lines| changed_lines.iter().any(|range| range.contains(&number)))
        {
            return None;
        }
        let at = number.checked_sub(1)?;
        Some((self.functions.get(at)?, self.lines.get(at)?.trim()))
    }
}

/// Returns the name of the function that begins in a line. In kernel code, no other line has text in the first column
/// and a name before a parenthesis (Documentation/process/coding-style.rst).
fn function_of(line: &str) -> Option<&str> {
    static NAME: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^[A-Za-z_][^=;(]*?(\w+)\(").expect("the pattern is valid"));
    Some(NAME.captures(line)?.get(1)?.as_str())
}

/// Returns the numbers of the lines that a diff without context adds: `@@ -12,3 +14,5 @@` adds lines 14 to 18.
fn added(diff: &str) -> Vec<Range<usize>> {
    let hunk = |line: &str| -> Option<Range<usize>> {
        let place = line.strip_prefix("@@ -")?.split_once(" +")?.1.split_once(" @@")?.0;
        let (start, length) = place.split_once(',').unwrap_or((place, "1"));
        let start: usize = start.parse().ok()?;
        Some(start..start + length.parse::<usize>().ok()?)
    };
    diff.lines().filter_map(hunk).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_lines_are_read_from_a_diff() {
        let diff = "--- a/dev.c\n+++ b/dev.c\n@@ -10,0 +11,2 @@ int f(void)\n+x\n+y\n@@ -20 +23 @@\n-old\n+new\n\
                    @@ -30,2 +32,0 @@\n-gone\n-gone\n";
        assert_eq!(added(diff), [11..13, 23..24, 32..32]);
    }

    #[test]
    fn a_line_belongs_to_the_last_function_above_it() {
        let text = "static const struct x y = {\n};\nint one(void)\n{\nout:\n\treturn two();\n}\n\
                    static struct page *two(struct x *x,\n\t\t\tint z)\n{\n}\n";
        let text = SourceText::new(text, Some("@@ -0,0 +3,7 @@\n"));
        assert_eq!(text.line(1), None);
        assert_eq!(text.line(3), Some(("one", "int one(void)")));
        assert_eq!(text.line(6), Some(("one", "return two();")));
        assert_eq!(text.line(9), Some(("two", "int z)")));
        assert_eq!(text.line(10), None);
    }
}

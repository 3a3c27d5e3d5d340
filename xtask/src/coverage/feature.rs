// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which lines are the feature's: all of a source that the patch queue adds, and what it changes of others.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::LazyLock;

use anyhow::{Context, Result};
use regex::Regex;

use crate::kernel::coverage_files;

/// The sources with lines of the feature, by name.
#[derive(Debug)]
pub(super) struct Feature {
    dir: String,
    texts: BTreeMap<String, Text>,
}

/// A source.
#[derive(Debug, Default)]
pub(super) struct Text {
    lines: Vec<String>,
    /// For each line the function it is in, or is nearest below.
    functions: Vec<String>,
    /// Numbers of the feature's lines; `None` for all.
    own: Option<Vec<Range<usize>>>,
}

impl Feature {
    /// What is kept of the directory `dir` of the source with the kernel in `kernel`.
    ///
    /// # Errors
    /// Nothing is kept: the kernel was not built here, or it does not count.
    pub(super) fn read(dir: &str, kernel: &Path) -> Result<Self> {
        let kept = kernel.join(coverage_files::DIR);
        let read = || -> std::io::Result<BTreeMap<String, Text>> {
            let mut texts = BTreeMap::new();
            for entry in fs::read_dir(&kept)? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                if !name.ends_with(".c") && !name.ends_with(".h") {
                    continue;
                }
                let text = fs::read_to_string(kept.join(&name))?;
                let diff = kept.join(format!("{name}{}", coverage_files::DIFF_SUFFIX));
                let diff = diff
                    .exists()
                    .then(|| fs::read_to_string(diff))
                    .transpose()?;
                texts.insert(name, Text::new(&text, diff.as_deref()));
            }
            Ok(texts)
        };
        let texts = read().with_context(|| {
            format!(
                "read {}; coverage is for kernels that the lab has built",
                kept.display()
            )
        })?;
        Ok(Feature {
            dir: dir.to_owned(),
            texts,
        })
    }

    /// Name and text of the source at `path`, as the compiler was given it, if there are lines of the feature in it.
    pub(super) fn of(&self, path: &str) -> Option<(&str, &Text)> {
        let (above, name) = path.rsplit_once('/')?;
        let found = self.texts.get_key_value(name)?;
        Path::new(above)
            .ends_with(&self.dir)
            .then_some((found.0.as_str(), found.1))
    }

    #[cfg(test)]
    pub fn of_texts(dir: &str, texts: Vec<(&str, Text)>) -> Self {
        let texts = texts
            .into_iter()
            .map(|(name, text)| (name.to_owned(), text));
        Feature {
            dir: dir.to_owned(),
            texts: texts.collect(),
        }
    }
}

impl Text {
    /// A source, and where it differs from what it was without the feature.
    pub(super) fn new(text: &str, diff: Option<&str>) -> Self {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let mut function = String::new();
        let functions = lines.iter().map(|line| {
            if let Some(found) = function_of(line) {
                function = found.to_owned();
            }
            function.clone()
        });
        Text {
            functions: functions.collect(),
            own: diff.map(added),
            lines,
        }
    }

    /// Function and words of line `number`, from 1, if it is the feature's.
    pub(super) fn line(&self, number: usize) -> Option<(&str, &str)> {
        let own = self.own.as_ref();
        if !own.is_none_or(|own| own.iter().any(|range| range.contains(&number))) {
            return None;
        }
        let at = number.checked_sub(1)?;
        Some((self.functions.get(at)?, self.lines.get(at)?.trim()))
    }
}

/// The function that begins in a line: in the kernel nothing else in the first column has a name before a parenthesis
/// (Documentation/process/coding-style.rst).
fn function_of(line: &str) -> Option<&str> {
    static NAME: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^[A-Za-z_][^=;(]*?(\w+)\(").expect("it is a regular expression")
    });
    Some(NAME.captures(line)?.get(1)?.as_str())
}

/// Numbers of the lines that a diff without context adds: `@@ -12,3 +14,5 @@` adds lines 14 to 18.
fn added(diff: &str) -> Vec<Range<usize>> {
    let hunk = |line: &str| -> Option<Range<usize>> {
        let place = line
            .strip_prefix("@@ -")?
            .split_once(" +")?
            .1
            .split_once(" @@")?
            .0;
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
    fn a_diff_says_which_lines_are_new() {
        let diff = "--- a/dev.c\n+++ b/dev.c\n@@ -10,0 +11,2 @@ int f(void)\n+x\n+y\n@@ -20 +23 @@\n-old\n+new\n\
                    @@ -30,2 +32,0 @@\n-gone\n-gone\n";
        assert_eq!(added(diff), [11..13, 23..24, 32..32]);
    }

    #[test]
    fn a_line_knows_its_function() {
        let text = "static const struct x y = {\n};\nint one(void)\n{\nout:\n\treturn two();\n}\n\
                    static struct page *two(struct x *x,\n\t\t\tint z)\n{\n}\n";
        let text = Text::new(text, Some("@@ -0,0 +3,7 @@\n"));
        assert_eq!(text.line(1), None);
        assert_eq!(text.line(3), Some(("one", "int one(void)")));
        assert_eq!(text.line(6), Some(("one", "return two();")));
        assert_eq!(text.line(9), Some(("two", "int z)")));
        assert_eq!(text.line(10), None);
    }
}

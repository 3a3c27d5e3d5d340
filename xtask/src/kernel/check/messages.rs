// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages of compilers and analysers, parsed and compared.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

use crate::kernel::log;

/// A warning or an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Path of the file, relative to the source.
    pub file: String,
    /// Text after the place.
    pub text: String,
    /// All lines: those before the message that belong to it, the message, and those that explain it.
    pub lines: Vec<String>,
}

/// Programs print messages in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Compilers, sparse, kernel-doc and Sphinx: a message says that it is a warning or an error. Other lines with a
    /// place explain it.
    Levels,
    /// Coccinelle: every line with a place is a message.
    Places,
}

impl Message {
    /// Returns the parts that stay the same if the code moves.
    fn key(&self) -> (String, String) {
        // `line 12` in the text of Coccinelle, and `f+0x12` in the text of objtool.
        static MOVING: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"line \d+|\+0x[0-9a-f]+(/0x[0-9a-f]+)?").expect("valid"));
        (self.file.clone(), MOVING.replace_all(&self.text, "").into_owned())
    }
}

/// Splits the output of make into steps, and returns the messages of each step by its last word: the object, or the
/// source of an analyser. `tree` is the root of the source.
pub(super) fn by_step(output: &str, tree: &Path, style: Style) -> BTreeMap<String, Vec<Message>> {
    let mut steps: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut current = String::new();
    for line in output.lines().filter(|line| !is_of_make(line)) {
        match log::step(line) {
            Some(step) => {
                let last = step.rsplit(' ').next().unwrap_or_default();
                current = relative(last, tree).to_owned();
                steps.entry(current.clone()).or_default();
            }
            None => steps.entry(current.clone()).or_default().push(line),
        }
    }
    let parsed = steps.into_iter();
    parsed.map(|(step, lines)| (step, parse(lines.into_iter(), tree, style))).collect()
}

/// Returns the messages in the output of a program. `tree` is the root of the source.
pub(super) fn parse<'l>(
    lines: impl Iterator<Item = &'l str>,
    tree: &Path,
    style: Style,
) -> Vec<Message> {
    // The level stands after the place, or, in kernel-doc of Linux 7.x, before it. The column of Coccinelle is a range.
    // A message of objtool names an object, without a line.
    static HEAD: LazyLock<Regex> = LazyLock::new(|| {
        let level = "(?i:warning|error|fatal error)";
        let place = r"(?P<file>[^\s:]+)(?::\d+(?::\d+(?:-\d+)?)?:?|\.o:) ";
        Regex::new(&format!("^(?:(?P<before>{level}): )?{place}(?P<text>(?P<after>{level}:)?.*)$"))
            .expect("valid")
    });
    let mut messages: Vec<Message> = Vec::new();
    let mut context: Vec<String> = Vec::new();
    for line in lines.filter(|line| !is_of_make(line)) {
        let shown = line.replace(&format!("{}/", tree.display()), "");
        let head = HEAD.captures(line).filter(|head| {
            let has_level = head.name("before").is_some() || head.name("after").is_some();
            has_level || style == Style::Places
        });
        match head {
            Some(head) => {
                let mut lines = std::mem::take(&mut context);
                lines.push(shown);
                let file = relative(&head["file"], tree).to_owned();
                messages.push(Message { file, text: head["text"].to_owned(), lines });
            }
            None if is_context(line) => context.push(shown),
            None => {
                if let Some(last) = messages.last_mut() {
                    last.lines.push(shown);
                }
            }
        }
    }
    messages
}

/// Returns true for a line of make itself, which may follow a message.
fn is_of_make(line: &str) -> bool {
    line.starts_with("make[") || line.starts_with("make: ")
}

/// Returns true for a line that belongs to the message after it: `In file included from a.h:1:`, its continuation,
/// `a.c: In function 'f':`, and sparse's `a.c: note: in included file:`.
fn is_context(line: &str) -> bool {
    line.starts_with("In file included from ")
        || line.contains(": note: in included file")
        || line.trim_start().starts_with("from ")
        || (line.ends_with(':') && (line.contains(": In function ") || line.contains(": At top ")))
}

/// Returns a path without the root of the source.
fn relative<'a>(path: &'a str, tree: &Path) -> &'a str {
    let below = Path::new(path).strip_prefix(tree).ok().and_then(Path::to_str);
    below.unwrap_or_else(|| path.trim_start_matches("../").trim_start_matches("./"))
}

/// Returns the messages in `after` that are not in `before`. A message that only moved is not new. If a message is
/// printed more often than before, it is new that many times.
pub(super) fn new<'m>(before: &[Message], after: &'m [Message]) -> Vec<&'m Message> {
    let mut known: BTreeMap<(String, String), usize> = BTreeMap::new();
    for message in before {
        *known.entry(message.key()).or_default() += 1;
    }
    let is_new = |message: &&Message| match known.get_mut(&message.key()) {
        Some(left) if *left > 0 => {
            *left -= 1;
            false
        }
        _ => true,
    };
    after.iter().filter(is_new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "/cache/tree";

    fn parsed(output: &str, style: Style) -> String {
        let messages = parse(output.lines(), Path::new(TREE), style);
        let line = |m: &Message| format!("{} | {} | {} lines", m.file, m.text, m.lines.len());
        messages.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn messages_of_every_program_are_found() {
        let gcc = "In file included from /cache/tree/fs/fuse/dmmap.c:9:\n\
            /cache/tree/fs/fuse/dmmap.h: In function 'dmmap_colour':\n\
            /cache/tree/fs/fuse/dmmap.h:254:9: warning: unused variable 'colour' [-Wunused-variable]\n\
            \x20 254 |  int colour;\n\
            /cache/tree/fs/fuse/dmmap.h:12:5: note: declared here\n\
            /cache/tree/fs/fuse/dmmap.c:7:1: error: expected ';'\nmake[1]: Leaving directory '/cache/obj'\n";
        insta::assert_snapshot!(parsed(gcc, Style::Levels), @r"
        fs/fuse/dmmap.h | warning: unused variable 'colour' [-Wunused-variable] | 5 lines
        fs/fuse/dmmap.c | error: expected ';' | 1 lines
        ");
        let sparse = "../mm/util.c:5:9: warning: incorrect type in argument 1 (different address spaces)\n\
            ../mm/util.c:5:9:    expected void *\n../mm/util.c:5:9:    got void __user *\n";
        insta::assert_snapshot!(parsed(sparse, Style::Levels), @"mm/util.c | warning: incorrect type in argument 1 (different address spaces) | 3 lines");
        let kernel_doc = "mm/util.c:657: warning: No description found for return value of 'f'\n\
            Warning: mm/util.c:656 No description found for return value of 'f'\n";
        insta::assert_snapshot!(parsed(kernel_doc, Style::Levels), @r"
        mm/util.c | warning: No description found for return value of 'f' | 1 lines
        mm/util.c | No description found for return value of 'f' | 1 lines
        ");
        let objtool = "fs/fuse/dev.o: warning: objtool: f+0x12: unreachable instruction\n";
        insta::assert_snapshot!(parsed(objtool, Style::Levels), @"fs/fuse/dev | warning: objtool: f+0x12: unreachable instruction | 1 lines");
        let sphinx = "/cache/tree/Documentation/fuse.rst:3: WARNING: Title underline too short.\n";
        insta::assert_snapshot!(parsed(sphinx, Style::Levels), @"Documentation/fuse.rst | WARNING: Title underline too short. | 1 lines");
        let coccinelle = "/cache/tree/fs/fuse/dev.c:12:4-10: preceding lock on line 9\n";
        insta::assert_snapshot!(parsed(coccinelle, Style::Places), @"fs/fuse/dev.c | preceding lock on line 9 | 1 lines");
        assert_eq!(parsed(coccinelle, Style::Levels), "");
    }

    #[test]
    fn messages_belong_to_the_step_before_them() {
        let output = "make[1]: Entering directory '/cache/obj'\n\
            \x20 CC [M]  fs/fuse/dev.o\n/cache/tree/fs/fuse/dev.c:1:1: warning: a\n\
            \x20 CC      mm/util.o\n\
            \x20 CHECK   /cache/tree/mm/util.c\n/cache/tree/mm/util.c: note: in included file:\n\
            /cache/tree/include/linux/mm.h:2:2: warning: b\n";
        let steps = by_step(output, Path::new(TREE), Style::Levels);
        let counts: Vec<String> =
            steps.iter().map(|(step, all)| format!("{step} {}", all.len())).collect();
        assert_eq!(counts, ["fs/fuse/dev.o 1", "mm/util.c 1", "mm/util.o 0"]);
    }

    #[test]
    fn a_message_that_moved_is_not_new() {
        let messages = |output: &str| parse(output.lines(), Path::new(TREE), Style::Levels);
        let before =
            messages("a.c:1:1: warning: x\na.c:2:1: warning: y\nb.o: warning: objtool: f+0x1: z\n");
        let after = messages(
            "a.c:7:1: warning: x\na.c:8:1: warning: x\nb.c:2:1: warning: y\nb.o: warning: objtool: f+0x2: z\n",
        );
        let new: Vec<&str> = new(&before, &after).iter().map(|m| m.lines[0].as_str()).collect();
        assert_eq!(new, ["a.c:8:1: warning: x", "b.c:2:1: warning: y"]);
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every file says its licence in its first line, in the form of the SPDX specification (annex "using SPDX short
//! identifiers in source files").
//!
//! A file that cannot hold a comment has another beside it, `FILE.license`, as in the REUSE specification. A patch
//! is a change to somebody else's files and carries no line of its own, but the files it adds do.

/// What is added to a file's name to name the file that holds its licence line.
pub(super) const SIDECAR: &str = ".license";

const TAG: &str = "SPDX-License-Identifier:";

/// The licence of what the lab is made of, unless `expected` says otherwise.
const OURS: &str = "MIT OR Apache-2.0";

/// What is wrong with the licence of the file `name` (a path in the checkout), whose text, or whose sidecar's, is
/// `text`.
pub(super) fn problems(name: &str, text: &str) -> Vec<String> {
    if is_exempt(name) {
        Vec::new()
    } else if name.ends_with(".patch") {
        patch_problems(name, text)
    } else {
        header_problem(name, text).into_iter().collect()
    }
}

/// What a program writes, and the licences themselves.
fn is_exempt(name: &str) -> bool {
    let written_by_a_program = name.ends_with("Cargo.lock") || name.ends_with(".snap");
    written_by_a_program || name.starts_with("LICENSES/")
}

/// The licence a file has to have.
fn expected(name: &str) -> &'static str {
    match name.strip_prefix("oracle/") {
        // The lab uses this crate as well.
        Some(file) if file.starts_with("wire/") => OURS,
        // The plugin becomes one program with QEMU.
        Some(_) => "GPL-2.0-or-later",
        None => OURS,
    }
}

fn header_problem(name: &str, text: &str) -> Option<String> {
    let expected = expected(name);
    let mut lines = text.lines();
    // Two things only have a meaning in the first line.
    let first = lines.find(|line| !line.starts_with("#!") && !line.starts_with("<?xml"));
    match first.and_then(identifier) {
        None => Some(format!("{name}: the first line is not `{TAG} {expected}`")),
        Some(found) if found != expected => Some(format!(
            "{name}: the licence is {found}; here it must be {expected}"
        )),
        Some(_) => None,
    }
}

/// The licence in an SPDX line, whatever the comment around it.
fn identifier(line: &str) -> Option<&str> {
    let (_, licence) = line.split_once(TAG)?;
    let licence = licence.trim_end();
    let ends = ["-->", "*/"];
    let end = ends.iter().find_map(|end| licence.strip_suffix(end));
    Some(end.unwrap_or(licence).trim())
}

/// Files that a patch adds to the kernel say so in their first or second line, and have a licence that the kernel
/// takes (Documentation/process/license-rules.rst).
fn patch_problems(name: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut lines = text.lines().peekable();
    let mut added = false;
    while let Some(line) = lines.next() {
        if line.starts_with("--- ") {
            added = line.starts_with("--- /dev/null");
            continue;
        }
        let (true, Some(file)) = (added, line.strip_prefix("+++ b/")) else {
            continue;
        };
        added = false;
        let start: Vec<&str> = lines
            .by_ref()
            .skip_while(|line| line.starts_with("@@"))
            .take(2)
            .collect();
        let licence = start.iter().find_map(|line| identifier(line));
        match licence {
            None => problems.push(format!("{name}: adds {file} without a line `{TAG}`")),
            Some(licence) if !licence.contains("GPL-2.0") => {
                problems.push(format!("{name}: adds {file} under {licence}, not GPL-2.0"));
            }
            Some(_) => {}
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_in_any_comment_is_found() {
        let good = [
            "// SPDX-License-Identifier: MIT OR Apache-2.0\nfn main() {}",
            "#!/bin/sh\n# SPDX-License-Identifier: MIT OR Apache-2.0\n",
            "<!-- SPDX-License-Identifier: MIT OR Apache-2.0 -->\n# Title",
            "/* SPDX-License-Identifier: MIT OR Apache-2.0 */",
        ];
        for text in good {
            assert_eq!(problems("a/file", text), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_line_that_is_missing_late_or_wrong_is_reported() {
        let problem = |name: &str, text: &str| problems(name, text).join("\n");
        insta::assert_snapshot!(problem("a.rs", ""), @"a.rs: the first line is not `SPDX-License-Identifier: MIT OR Apache-2.0`");
        insta::assert_snapshot!(problem("a.rs", "//! Words.\n// SPDX-License-Identifier: MIT OR Apache-2.0"), @"a.rs: the first line is not `SPDX-License-Identifier: MIT OR Apache-2.0`");
        insta::assert_snapshot!(problem("docs/a.md", "<!-- SPDX-License-Identifier: MIT -->"), @"docs/a.md: the licence is MIT; here it must be MIT OR Apache-2.0");
        insta::assert_snapshot!(problem("oracle/src/lib.rs", "// SPDX-License-Identifier: MIT OR Apache-2.0"), @"oracle/src/lib.rs: the licence is MIT OR Apache-2.0; here it must be GPL-2.0-or-later");
        assert_eq!(
            problem(
                "oracle/a.rs",
                "// SPDX-License-Identifier: GPL-2.0-or-later"
            ),
            ""
        );
        assert_eq!(
            problem(
                "oracle/wire/src/lib.rs",
                "// SPDX-License-Identifier: MIT OR Apache-2.0"
            ),
            ""
        );
        insta::assert_snapshot!(problem("oracle/wire/src/lib.rs", "// SPDX-License-Identifier: GPL-2.0-or-later"), @"oracle/wire/src/lib.rs: the licence is GPL-2.0-or-later; here it must be MIT OR Apache-2.0");
    }

    #[test]
    fn generated_files_are_left_alone() {
        for name in [
            "Cargo.lock",
            "oracle/Cargo.lock",
            "xtask/src/snapshots/a.snap",
            "LICENSES/MIT.txt",
        ] {
            assert_eq!(problems(name, "text"), [""; 0], "{name}");
        }
        assert_ne!(problems("data.json", "{}"), [""; 0]);
    }

    #[test]
    fn a_patch_is_judged_by_the_files_it_adds() {
        let patch = |licence: &str| {
            format!(
                "Subject: x\n\
                 ---\n\
                 diff --git a/fs/old.c b/fs/old.c\n--- a/fs/old.c\n+++ b/fs/old.c\n@@ -1 +1 @@\n-a\n+b\n\
                 diff --git a/fs/new.c b/fs/new.c\nnew file mode 100644\n--- /dev/null\n+++ b/fs/new.c\n\
                 @@ -0,0 +1,2 @@\n+{licence}\n+int x;\n"
            )
        };
        let problem =
            |licence: &str| problems("kernel-patches/6.12/1.patch", &patch(licence)).join("\n");
        assert_eq!(problem("// SPDX-License-Identifier: GPL-2.0-only"), "");
        assert_eq!(
            problem("/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */"),
            ""
        );
        insta::assert_snapshot!(problem("/* nothing */"), @"kernel-patches/6.12/1.patch: adds fs/new.c without a line `SPDX-License-Identifier:`");
        insta::assert_snapshot!(problem("// SPDX-License-Identifier: MIT"), @"kernel-patches/6.12/1.patch: adds fs/new.c under MIT, not GPL-2.0");
    }
}

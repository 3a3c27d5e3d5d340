// SPDX-License-Identifier: MIT OR Apache-2.0
//! Check that every file states its licence in its first line, as in the SPDX specification (annex "using SPDX short
//! identifiers in source files").
//!
//! If a file cannot contain a comment, the line is in a file `FILE.license` next to it, as in the REUSE specification. A
//! patch changes files of another project and has no line of its own; the files that it adds must have one.

/// Suffix of the file that contains the licence line of another file.
pub(super) const SIDECAR: &str = ".license";

const TAG: &str = "SPDX-License-Identifier:";

/// Licence of all files except those for which [`expected`] returns another one.
const OURS: &str = "MIT OR Apache-2.0";

/// Returns the problems with the licence of the file `name`, a path in the checkout. `text` is the content of the file,
/// or of its sidecar if it has one.
pub(super) fn problems(name: &str, text: &str) -> Vec<String> {
    if is_exempt(name) {
        Vec::new()
    } else if name.ends_with(".patch") {
        patch_problems(name, text)
    } else {
        header_problem(name, text).into_iter().collect()
    }
}

/// Returns true for generated files and for the licence texts.
fn is_exempt(name: &str) -> bool {
    let written_by_a_program = name.ends_with("Cargo.lock") || name.ends_with(".snap");
    written_by_a_program || name.starts_with("LICENSES/")
}

/// Returns the licence that the file `name` must have.
fn expected(name: &str) -> &'static str {
    match name.strip_prefix("oracle/") {
        // xtask uses this crate too.
        Some(file) if file.starts_with("wire/") => OURS,
        // QEMU loads the plugin into its own process.
        Some(_) => "GPL-2.0-or-later",
        None => OURS,
    }
}

fn header_problem(name: &str, text: &str) -> Option<String> {
    let expected = expected(name);
    let mut lines = text.lines();
    // These lines must come first in their file, so the licence follows them.
    let first =
        lines.find(|line| !line.starts_with("#!") && !line.starts_with("<?xml") && *line != "{");
    match first.and_then(identifier) {
        None => Some(format!("{name}: the first line is not `{TAG} {expected}`")),
        Some(found) if found != expected => {
            Some(format!("{name}: the licence is {found}; here it must be {expected}"))
        }
        Some(_) => None,
    }
}

/// Returns the licence in an SPDX line, without the comment marks around it.
fn identifier(line: &str) -> Option<&str> {
    let (_, licence) = line.split_once(TAG)?;
    let licence = licence.trim_end();
    let ends = ["-->", "*/", "\","];
    let end = ends.iter().find_map(|end| licence.strip_suffix(end));
    Some(end.unwrap_or(licence).trim())
}

/// Checks the files that a patch adds to the kernel: the first or second line must state a licence that the kernel
/// accepts (Documentation/process/license-rules.rst).
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
        let start: Vec<&str> =
            lines.by_ref().skip_while(|line| line.starts_with("@@")).take(2).collect();
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
    fn the_licence_is_found_in_any_kind_of_comment() {
        let good = [
            "// SPDX-License-Identifier: MIT OR Apache-2.0\nfn main() {}",
            "#!/bin/sh\n# SPDX-License-Identifier: MIT OR Apache-2.0\n",
            "<!-- SPDX-License-Identifier: MIT OR Apache-2.0 -->\n# Title",
            "/* SPDX-License-Identifier: MIT OR Apache-2.0 */",
            "{\n  \"$comment\": \"SPDX-License-Identifier: MIT OR Apache-2.0\",\n  \"type\": \"object\"\n}\n",
        ];
        for text in good {
            assert_eq!(problems("a/file", text), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_missing_late_or_wrong_licence_is_reported() {
        let problem = |name: &str, text: &str| problems(name, text).join("\n");
        insta::assert_snapshot!(problem("a.rs", ""), @"a.rs: the first line is not `SPDX-License-Identifier: MIT OR Apache-2.0`");
        insta::assert_snapshot!(problem("a.rs", "//! Words.\n// SPDX-License-Identifier: MIT OR Apache-2.0"), @"a.rs: the first line is not `SPDX-License-Identifier: MIT OR Apache-2.0`");
        insta::assert_snapshot!(problem("docs/a.md", "<!-- SPDX-License-Identifier: MIT -->"), @"docs/a.md: the licence is MIT; here it must be MIT OR Apache-2.0");
        insta::assert_snapshot!(problem("oracle/src/lib.rs", "// SPDX-License-Identifier: MIT OR Apache-2.0"), @"oracle/src/lib.rs: the licence is MIT OR Apache-2.0; here it must be GPL-2.0-or-later");
        assert_eq!(problem("oracle/a.rs", "// SPDX-License-Identifier: GPL-2.0-or-later"), "");
        assert_eq!(
            problem("oracle/wire/src/lib.rs", "// SPDX-License-Identifier: MIT OR Apache-2.0"),
            ""
        );
        insta::assert_snapshot!(problem("oracle/wire/src/lib.rs", "// SPDX-License-Identifier: GPL-2.0-or-later"), @"oracle/wire/src/lib.rs: the licence is GPL-2.0-or-later; here it must be MIT OR Apache-2.0");
    }

    #[test]
    fn generated_files_are_exempt() {
        for name in
            ["Cargo.lock", "oracle/Cargo.lock", "xtask/src/snapshots/a.snap", "LICENSES/MIT.txt"]
        {
            assert_eq!(problems(name, "text"), [""; 0], "{name}");
        }
        assert_ne!(problems("data.json", "{}"), [""; 0]);
    }

    #[test]
    fn a_patch_is_checked_by_the_files_it_adds() {
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

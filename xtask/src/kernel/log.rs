// SPDX-License-Identifier: MIT OR Apache-2.0
//! Parses the output of make during a kernel build: the steps, and the cause of a failure.

use std::collections::BTreeSet;

/// Maximum number of log lines in an error.
const SHOWN: usize = 24;

/// Maximum number of these lines that precede the error itself.
const BEFORE: usize = 8;

/// Returns the step that kbuild announces in a line such as `  CC      fs/fuse/dev.o`.
pub(super) fn step(line: &str) -> Option<String> {
    let line = line.strip_prefix("  ")?;
    let (tag, object) = line.split_once(' ')?;
    // A word that starts with a digit is a line number of gcc, which quotes source lines.
    let is_tag = tag.starts_with(|c: char| c.is_ascii_uppercase())
        && tag.chars().all(|c| c.is_ascii_uppercase() || "0123456789+-_".contains(c));
    is_tag.then(|| format!("{tag} {}", object.trim()))
}

/// Returns the lines of a failed make's log that show the cause: the first error, the messages just before it, and
/// those after it. Leaves out the steps of other jobs and make's own bookkeeping.
///
/// If no line is an error, the excerpt ends with make's message about the step that failed. If that is missing too,
/// because make was killed, returns the last lines of the log.
pub(super) fn excerpt(log: &str) -> Vec<&str> {
    let lines: Vec<&str> = log.lines().collect();
    let error = lines.iter().position(|line| is_error(line));
    let Some(at) = error.or_else(|| lines.iter().position(|line| is_failure(line))) else {
        return lines[lines.len().saturating_sub(SHOWN)..].to_vec();
    };
    // The messages of one command are consecutive: `In file included from …`, `flex: not found`, modpost's warnings.
    let before = lines[..at].iter().rev();
    let before = before.take(BEFORE).take_while(|line| is_message(line)).count();
    let after = lines[at + 1..].iter().filter(|line| is_message(line));
    lines[at - before..=at].iter().chain(after).take(SHOWN).copied().collect()
}

/// Returns the targets that make failed to build: `fs/fuse/dev.o` in `make[4]: *** [Makefile:9: fs/fuse/dev.o] Error 1`.
pub(super) fn failed_targets(log: &str) -> BTreeSet<&str> {
    let target = |line| {
        let (place, _) = make_message(line)?.strip_prefix("*** [")?.split_once(']')?;
        place.rsplit(' ').next()
    };
    log.lines().filter_map(target).collect()
}

/// Returns true for an error of a program that make ran, and for an error that make itself detects, such as `*** No
/// rule to make target`.
fn is_error(line: &str) -> bool {
    let markers = ["error:", "undefined reference", "*** "];
    let lower_case = line.to_ascii_lowercase();
    is_message(line) && markers.iter().any(|marker| lower_case.contains(marker))
}

/// Returns true if the line is neither a step nor make's bookkeeping.
fn is_message(line: &str) -> bool {
    let bookkeeping =
        ["*** Waiting for unfinished jobs", "Entering directory", "Leaving directory"];
    let is_bookkeeping =
        |text: &str| bookkeeping.iter().any(|words| text.starts_with(words)) || is_failure(line);
    step(line).is_none() && !make_message(line).is_some_and(is_bookkeeping)
}

/// Returns true if make reports a failed step. make also reports each step that depends on a failed one.
fn is_failure(line: &str) -> bool {
    make_message(line).is_some_and(|text| text.starts_with("*** ["))
}

/// Returns the text of a message of make itself: `make[2]: …`.
fn make_message(line: &str) -> Option<&str> {
    let (level, text) = line.strip_prefix("make")?.split_once(": ")?;
    (level.is_empty() || level.starts_with('[')).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(log: &str) -> String {
        excerpt(log).join("\n")
    }

    #[test]
    fn a_section_mismatch_is_shown_with_its_warnings() {
        let log = "\
make: Entering directory '/cache/tree'
make[1]: Entering directory '/cache/obj'
  CC      fs/fuse/dmmap.o
  AR      built-in.a
  MODPOST vmlinux.symvers
WARNING: modpost: vmlinux: section mismatch in reference: dmmap_open+0x8 (section: .text) -> limit (section: .init.data)
WARNING: modpost: vmlinux: section mismatch in reference: dmmap_stop+0x4 (section: .text) -> limit (section: .init.data)
ERROR: modpost: Section mismatches detected.
Set CONFIG_SECTION_MISMATCH_WARN_ONLY=y to allow them.
make[3]: *** [/cache/tree/scripts/Makefile.modpost:145: vmlinux.symvers] Error 1
make[2]: *** [/cache/tree/Makefile:1871: modpost] Error 2
make[1]: *** [/cache/tree/Makefile:224: __sub-make] Error 2
make[1]: Leaving directory '/cache/obj'
make: *** [Makefile:224: __sub-make] Error 2
make: Leaving directory '/cache/tree'
";
        insta::assert_snapshot!(shown(log), @"
        WARNING: modpost: vmlinux: section mismatch in reference: dmmap_open+0x8 (section: .text) -> limit (section: .init.data)
        WARNING: modpost: vmlinux: section mismatch in reference: dmmap_stop+0x4 (section: .text) -> limit (section: .init.data)
        ERROR: modpost: Section mismatches detected.
        Set CONFIG_SECTION_MISMATCH_WARN_ONLY=y to allow them.
        ");
    }

    #[test]
    fn lines_of_other_jobs_and_of_make_are_left_out() {
        let log = "\
  CC      kernel/fork.o
kernel/fork.c:3134:2: warning: #warning clone3() entry point is missing, please fix [-Wcpp]
 3134 | #warning clone3() entry point is missing, please fix
      |  ^~~~~~~
  CC      mm/shmem.o
  CC      fs/fuse/dmmap.o
In file included from fs/fuse/dmmap.c:9:
fs/fuse/dmmap.h: In function 'dmmap_colour':
fs/fuse/dmmap.h:254:9: error: 'colour' undeclared (first use in this function)
  254 |  return colour;
      |         ^~~~~~
make[4]: *** [scripts/Makefile.build:229: fs/fuse/dmmap.o] Error 1
make[4]: *** Waiting for unfinished jobs....
  CC      mm/util.o
make[3]: *** [scripts/Makefile.build:478: fs/fuse] Error 2
ld: fs/open.o: in function `do_open':
open.c:(.text+0x1c): undefined reference to `dmmap_open'
make[3]: *** [scripts/Makefile.build:478: fs] Error 2
make: *** [Makefile:224: __sub-make] Error 2
";
        insta::assert_snapshot!(shown(log), @"
        In file included from fs/fuse/dmmap.c:9:
        fs/fuse/dmmap.h: In function 'dmmap_colour':
        fs/fuse/dmmap.h:254:9: error: 'colour' undeclared (first use in this function)
          254 |  return colour;
              |         ^~~~~~
        ld: fs/open.o: in function `do_open':
        open.c:(.text+0x1c): undefined reference to `dmmap_open'
        ");
    }

    #[test]
    fn a_missing_rule_and_a_missing_symbol_are_errors() {
        let rule = "  CC      a.o\nmake[3]: *** No rule to make target 'fs/fuse/dmmap.o', needed by 'fs/fuse/built-in.a'.  Stop.\n\
            make[2]: *** [scripts/Makefile.build:478: fs/fuse] Error 2\n";
        insta::assert_snapshot!(shown(rule), @"make[3]: *** No rule to make target 'fs/fuse/dmmap.o', needed by 'fs/fuse/built-in.a'.  Stop.");
        let symbol = "  LD      .tmp_vmlinux1\nld: a.o: in function `f':\na.c:(.text+0x1c): undefined reference to `g'\n\
            make[2]: *** [scripts/Makefile.vmlinux:34: vmlinux] Error 1\n";
        insta::assert_snapshot!(shown(symbol), @"
        ld: a.o: in function `f':
        a.c:(.text+0x1c): undefined reference to `g'
        ");
    }

    #[test]
    fn without_an_error_the_failed_step_ends_the_excerpt() {
        let log = "  LEX     scripts/kconfig/lexer.lex.c\n/bin/sh: 1: flex: not found\n\
            make[3]: *** [scripts/Makefile.host:9: scripts/kconfig/lexer.lex.c] Error 127\n\
            make[2]: *** [Makefile:622: allnoconfig] Error 2\n";
        insta::assert_snapshot!(shown(log), @"
        /bin/sh: 1: flex: not found
        make[3]: *** [scripts/Makefile.host:9: scripts/kconfig/lexer.lex.c] Error 127
        ");
        let silent = "  CC      a.o\n  GEN     b.h\nmake[3]: *** [Makefile:9: b.h] Error 1\nmake: *** [Makefile:22: all] Error 2\n";
        insta::assert_snapshot!(shown(silent), @"make[3]: *** [Makefile:9: b.h] Error 1");
    }

    #[test]
    fn long_output_is_cut_on_both_sides_of_the_error() {
        let warnings = "WARNING: modpost: a\n".repeat(40);
        let errors = "ERROR: modpost: b\n".repeat(40);
        let shown = shown(&format!("{warnings}{errors}"));
        assert_eq!(shown.matches("WARNING").count(), BEFORE);
        assert_eq!(shown.matches("ERROR").count(), SHOWN - BEFORE);
    }

    #[test]
    fn without_an_error_or_a_failed_step_the_end_is_shown() {
        let log: String = (1..=30).map(|n| format!("  CC      {n}.o\n")).collect();
        let shown = excerpt(&log);
        assert_eq!((shown.len(), shown[SHOWN - 1]), (SHOWN, "  CC      30.o"));
        assert_eq!(excerpt(""), [""; 0]);
    }

    #[test]
    fn failed_targets_are_found() {
        let log = "  CC      a.o\nmake[4]: *** [/tree/scripts/Makefile.build:229: fs/fuse/dev.o] Error 1\n\
            make[3]: *** [/tree/scripts/Makefile.build:478: fs/fuse] Error 2\nmake: *** [Makefile:22: b.h] Error 1\n";
        assert_eq!(Vec::from_iter(failed_targets(log)), ["b.h", "fs/fuse", "fs/fuse/dev.o"]);
    }

    #[test]
    fn a_step_is_what_kbuild_announces() {
        let object = |line| step(line).unwrap_or_default();
        assert_eq!(object("  CC      fs/fuse/dev.o"), "CC fs/fuse/dev.o");
        assert_eq!(object("  CC [M]  fs/fuse/dev.o"), "CC [M]  fs/fuse/dev.o");
        for line in ["  254 |  return colour;", "  Kernel: arch/arm/boot/zImage is ready", "CC a.o"]
        {
            assert_eq!(step(line), None);
        }
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests with a small source file, the output of gcov 12 for it, and the report.

use super::feature::SourceText;
use super::*;

/// A header whose line 3 was added by the feature's patches.
const HEADER: &str = "static inline int half(int x)\n{\n\treturn x & 1 ? -1 : x / 2;\n}\n";

const SOURCE: &str = r#"#include "one.h"

static int positive(int x)
{
	if (x < 0)
		return 0;
	return half(x);
}

int main(int argc, char **argv)
{
	if (positive(argc) > 1)
		return 1;
	return 0;
}
"#;

/// Output of `gcc -O2 --coverage -c fs/fuse/one.c -o one.o; ...; gcov --json-format --stdout --branch-probabilities
/// one.gcda`, without the functions and the other fields of the branches.
const PRINTED: &str = r#"
{"gcc_version": "12.2.0", "files": [
  {"lines": [
    {"branches": [], "count": 1, "line_number": 5, "unexecuted_block": false},
    {"branches": [{"count": 1}, {"count": 0}], "count": 1, "line_number": 10, "function_name": "main"},
    {"branches": [{"count": 0}, {"count": 0}], "count": 0, "line_number": 12, "function_name": "main"},
    {"branches": [], "count": 0, "line_number": 13, "unexecuted_block": true, "function_name": "main"}
  ], "functions": [], "file": "/slot/tree/fs/fuse/one.c"},
  {"lines": [
    {"branches": [{"count": 0}, {"count": 1}, {"count": 0}, {"count": 0}], "count": 1, "line_number": 3}
  ], "functions": [], "file": "/slot/tree/fs/fuse/one.h"},
  {"lines": [{"count": 0, "line_number": 3}], "file": "/slot/tree/include/linux/one.h"}
], "format_version": "1", "current_working_directory": "/slot/obj", "data_file": "one.gcda"}
"#;

fn feature() -> Feature {
    let texts = vec![
        ("one.c", SourceText::new(SOURCE, None)),
        ("one.h", SourceText::new(HEADER, Some("@@ -2,0 +3 @@\n+\treturn\n"))),
    ];
    Feature::from_texts("fs/fuse", texts)
}

/// Returns the sum over `boots` boots, each with the counts above.
fn coverage(boots: usize) -> Coverage {
    let mut coverage = Coverage { boots, ..Coverage::default() };
    for file in gcov::parse(PRINTED.repeat(boots).as_bytes()).unwrap() {
        coverage.add(&file, &feature());
    }
    coverage
}

fn reasons(yaml: &str) -> Vec<reasons::Reason> {
    crate::yaml::parse(yaml, Path::new("unreached.yaml")).unwrap()
}

#[test]
fn counts_of_boots_add_up() {
    let one = coverage(1);
    let two = coverage(2);
    let line = |coverage: &Coverage| coverage.sources["one.c"][&10].clone();
    assert_eq!(line(&one).count, 1);
    assert_eq!(line(&two).count, 2);
    assert_eq!(line(&two).branches["main"], [2, 0]);
    assert_eq!(one.unreached().count(), two.unreached().count());
}

#[test]
fn only_lines_of_the_feature_count() {
    let mut coverage = Coverage::default();
    let texts = vec![("one.h", SourceText::new(HEADER, Some("@@ -1 +1 @@\n")))];
    let feature = Feature::from_texts("fs/fuse", texts);
    for file in gcov::parse(PRINTED.as_bytes()).unwrap() {
        coverage.add(&file, &feature);
    }
    assert_eq!(coverage, Coverage::default());
}

#[test]
fn a_line_without_a_reason_comes_first() {
    let coverage = coverage(1);
    let reasons = reasons(
        "- why: no suite passes more arguments\n  lines:\n    main: [\"return 1\"]\n\
         - why: only on another machine\n  lines:\n    gone: [all]\n    positive: [\"x < 0\"]\n",
    );
    let explanation = reasons::explain(&coverage, &reasons);
    insta::assert_snapshot!(report::summary(&coverage, &explanation), @"coverage: 60.0 % of 5 lines, 25.0 % of 8 branches; unreached lines without a reason: 1");
    insta::assert_snapshot!(report::render(&coverage, &explanation), @"
    # Coverage

    Boots with counts: 1. Boots cut short before they sent counts: 0.

    | source | lines | reached | % | branches | reached | % |
    |---|--:|--:|--:|--:|--:|--:|
    | one.c | 4 | 2 | 50.0 | 4 | 1 | 25.0 |
    | one.h | 1 | 1 | 100.0 | 4 | 1 | 25.0 |
    | all | 5 | 3 | 60.0 | 8 | 2 | 25.0 |

    ## Not reached, without a reason

    one.c, main:

    ```c
       12  if (positive(argc) > 1)
    ```

    ## Not reached: no suite passes more arguments

    one.c, main:

    ```c
       13  return 1;
    ```

    ## Reasons that match no unreached line

    - `gone`: `all`
    - `positive`: `x < 0`
    ");
}

#[test]
fn a_boot_that_was_cut_short_is_reported() {
    let coverage = Coverage { boots_without_counts: 1, ..coverage(1) };
    let reasons = reasons("- why: main is not called\n  lines: { main: [all] }\n");
    let explanation = reasons::explain(&coverage, &reasons);
    assert!(explanation.unexplained.is_empty() && explanation.stale.is_empty());
    insta::assert_snapshot!(report::summary(&coverage, &explanation), @"coverage: 60.0 % of 5 lines, 25.0 % of 8 branches; unreached lines without a reason: 0; boots cut short before they sent counts: 1");
    let text = report::render(&coverage, &explanation);
    insta::assert_snapshot!(text.lines().nth(2).unwrap(), @"Boots with counts: 1. Boots cut short before they sent counts: 1.");
}

#[test]
fn a_run_without_counts_is_an_error() {
    let run = tempfile::tempdir().unwrap();
    std::fs::create_dir(run.path().join("boot-1")).unwrap();
    std::fs::write(run.path().join("boot-1").join(INITRAMFS), "").unwrap();
    let coverage = collect(run.path(), "", Path::new("/nowhere"), &feature());
    let error = format!("{:#}", coverage.unwrap_err());
    let error = error.replace(&*run.path().to_string_lossy(), "RUN");
    insta::assert_snapshot!(error, @"no boot in RUN sent coverage counts: each was cut short, or the kernel was built without CONFIG_GCOV_KERNEL");
}

#[test]
fn a_missing_gcov_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let counted = dir.path().join(crate::kernel::coverage_files::DIR);
    std::fs::create_dir(&counted).unwrap();
    let error = gcov::run("no-such-machine-", dir.path(), &counted).unwrap_err();
    insta::assert_snapshot!(format!("{error:#}"), @"run no-such-machine-gcov, which comes with no-such-machine-gcc: command not found: `no-such-machine-gcov`; `cargo xtask doctor` shows missing programs and their packages");
}

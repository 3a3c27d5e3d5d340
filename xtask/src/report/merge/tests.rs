// SPDX-License-Identifier: MIT OR Apache-2.0

use super::*;
use crate::report::{Origin, samples, write_all};
use crate::results::{Accelerator, Verdict};

const PLAN: [&str; 5] = [
    "smoke/boot",
    "smoke/redirect.fuse",
    "smoke/redirect.cuse",
    "coherency/seqlock.fuse",
    "drain/limit.fuse",
];

fn part(file: &str, result: RunResult) -> Part {
    Part { file: file.into(), result }
}

/// Returns a run with these cases on x86_64.
fn shard(cases: Vec<CaseResult>) -> RunResult {
    let mut result = samples::mixed();
    result.targets.truncate(1);
    result.targets[0].cases = cases;
    result
}

fn merged(parts: Vec<Part>) -> Result<RunResult> {
    merge(parts, &PLAN.map(String::from))
}

fn error(parts: Vec<Part>) -> String {
    format!("{:#}", merged(parts).unwrap_err())
}

#[test]
fn targets_of_several_runs_are_kept_apart() {
    let mut all = samples::mixed();
    let (mut one, mut two) = (all.clone(), all.clone());
    one.targets.truncate(1);
    two.targets.remove(0);
    // The second run starts a minute later and takes equally long.
    two.started = "2025-11-22T19:34:00Z".into();
    all.seconds += 60.0;
    let plan: Vec<String> = all.targets[0].cases.iter().map(|case| case.id.clone()).collect();
    let parts = vec![part("a", one), part("b", two)];
    assert_eq!(merge(parts, &plan).unwrap(), all);
}

#[test]
fn results_of_several_kernels_are_kept_apart() {
    let both = samples::two_kernels();
    let (mut one, mut two) = (both.clone(), both.clone());
    one.targets.truncate(1);
    two.targets.remove(0);
    assert_eq!(merged(vec![part("a", one), part("b", two)]).unwrap(), both);
}

#[test]
fn shards_of_a_target_are_merged_in_the_order_of_the_plan() {
    let unplanned = samples::pass("trouble/fine");
    let one = shard(vec![unplanned, samples::pass("smoke/redirect.cuse"), samples::timed_out()]);
    let two = shard(vec![samples::pass("smoke/boot"), samples::failed()]);
    let result = merged(vec![part("a", one), part("b", two)]).unwrap();
    let [target] = result.targets.as_slice() else {
        panic!("{result:#?}");
    };
    let cases = target.cases.iter();
    let cases: Vec<_> = cases.map(|case| (case.id.as_str(), case.boot)).collect();
    // The first part has three boots.
    let expected = [
        ("smoke/boot", Some(4)),
        ("smoke/redirect.fuse", Some(4)),
        ("smoke/redirect.cuse", Some(1)),
        ("coherency/seqlock.fuse", Some(2)),
        ("trouble/fine", Some(1)),
    ];
    assert_eq!(cases, expected);
    assert_eq!(target.boots, 6);
    assert_eq!(target.seconds["test"], 2.0 * 11.75);
    assert_eq!(result.exit_code(), 1);
}

#[test]
fn texts_that_may_differ_are_all_kept() {
    let one = shard(vec![samples::pass("smoke/boot")]);
    let mut two = shard(vec![samples::failed()]);
    two.tool = "0.1.0 (850347e-dirty)".into();
    two.interrupted = true;
    let ran = &mut two.targets[0].provenance;
    ran.accel = Accelerator::Kvm.into();
    ran.accel_reason = None;
    // Of the three parts, the last two agree.
    let three = RunResult {
        targets: vec![TargetResult {
            cases: vec![samples::pass("drain/limit.fuse")],
            ..two.targets[0].clone()
        }],
        ..two.clone()
    };
    let result = merged(vec![part("a", one), part("b", two), part("c", three)]).unwrap();
    assert_eq!(result.tool, "0.1.0 (850347e) and 0.1.0 (850347e-dirty)");
    assert!(result.interrupted);
    let ran = &result.targets[0].provenance;
    assert_eq!(ran.accel.to_string(), "tcg and kvm");
    assert!(ran.accel_reason.is_some());
    assert_eq!(ran.qemu, samples::mixed().targets[0].provenance.qemu);
}

#[test]
fn a_failed_shard_does_not_affect_the_others() {
    let mut lost = samples::untested();
    lost.targets[0].cases.remove(0);
    let good = shard(vec![samples::pass("smoke/boot")]);
    let kernel = good.targets[0].provenance.kernel_hash.clone();
    for parts in [
        vec![part("a", lost.clone()), part("b", good.clone())],
        vec![part("b", good), part("a", lost)],
    ] {
        let result = merged(parts).unwrap();
        let target = &result.targets[0];
        assert_eq!(target.provenance.kernel_hash, kernel);
        assert!(target.failure.is_some());
        assert_eq!(target.cases.len(), 2);
        assert_eq!(result.exit_code(), 2);
    }
}

#[test]
fn results_of_different_stacks_are_not_merged() {
    let one = samples::one_stack();
    let mut two = shard(vec![samples::failed()]);
    two.targets[0].stacks = vec!["lazy".into()];
    let error = merged(vec![part("a", one.clone()), part("b", two.clone())]).unwrap_err();
    insta::assert_snapshot!(error, @"x86_64: a and b differ in stacks (fixes core and lazy); only results of the same kernel can be merged");
    two.targets[0].stacks.clone_from(&one.targets[0].stacks);
    let result = merged(vec![part("a", one), part("b", two)]).unwrap();
    assert_eq!(result.targets[0].stacks, ["fixes", "core"]);
}

#[test]
fn two_failures_are_both_kept() {
    let failed = |id: &str, why: &str| {
        let reason = why.to_owned();
        let mut result = shard(vec![samples::never_ran(id, Verdict::Infra { reason })]);
        result.targets[0].failure = Some(why.into());
        result
    };
    let parts = vec![
        part("a", failed("smoke/boot", "no space left")),
        part("b", failed("drain/limit.fuse", "no network")),
    ];
    let failure = merged(parts).unwrap().targets[0].failure.clone();
    assert_eq!(failure.as_deref(), Some("no space left\nno network"));
}

#[test]
fn results_of_different_kernels_are_not_merged() {
    let one = shard(vec![samples::pass("smoke/boot")]);
    let mut two = shard(vec![samples::failed()]);
    two.targets[0].provenance.kernel_hash = "5e20".into();
    let parts = |two: &RunResult| {
        vec![part("a/results.json", one.clone()), part("b/results.json", two.clone())]
    };
    insta::assert_snapshot!(error(parts(&two)), @"x86_64: a/results.json and b/results.json differ in kernel_hash (4f1c and 5e20); only results of the same kernel can be merged");
    two.targets[0].flavour = "debug".into();
    two.targets[0].provenance.config_hash = "beef".into();
    insta::assert_snapshot!(error(parts(&two)), @"x86_64: a/results.json and b/results.json differ in flavour (default and debug), kernel_hash (4f1c and 5e20), config_hash (a0b1 and beef); only results of the same kernel can be merged");
}

#[test]
fn a_case_in_two_results_is_an_error_with_both_files() {
    let one = shard(vec![samples::pass("smoke/boot")]);
    let two = shard(vec![samples::failed()]);
    let parts =
        [("a", &one), ("b", &two), ("c", &two)].map(|(file, result)| part(file, result.clone()));
    insta::assert_snapshot!(error(parts.into()), @"x86_64 smoke/redirect.fuse is in both b and c; merge only one of them");
}

#[test]
fn merging_no_results_is_an_error() {
    insta::assert_snapshot!(error(Vec::new()), @"there are no results to merge");
}

#[test]
fn a_file_that_is_not_a_result_is_rejected() {
    let error = |text: &str| format!("{:#}", parse(text).unwrap_err());
    insta::assert_snapshot!(error("<testsuites/>"), @"not the result of a run; expected a results.json written by `cargo xtask test` (docs/results.md): expected value at line 1 column 1");
    insta::assert_snapshot!(error("[]"), @"not the result of a run; expected a results.json written by `cargo xtask test` (docs/results.md): the number `schema` is missing");
    insta::assert_snapshot!(error(r#"{ "schema": 2 }"#), @"the result has layout 2; this lab reads layout 8");
    insta::assert_snapshot!(error(&format!(r#"{{ "schema": {SCHEMA}, "tool": "" }}"#)), @"not the result of a run; expected a results.json written by `cargo xtask test` (docs/results.md): missing field `commands`");
}

#[test]
fn a_directory_is_searched_for_results() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let names = |path: &str| -> String {
        let text = match results_in(&at(path)) {
            Ok(files) => files.iter().map(|file| format!("{}\n", file.display())).collect(),
            Err(error) => format!("{error:#}"),
        };
        text.replace(&*dir.path().to_string_lossy(), "DIR")
    };
    std::fs::create_dir_all(at("empty")).unwrap();
    for target in ["reports/x86_64", "reports/arm64/again", "reports/arm64"] {
        write_all(&at(target), &samples::mixed(), Origin::Elsewhere).unwrap();
    }
    insta::assert_snapshot!(names("reports"), @"
    DIR/reports/arm64/again/results.json
    DIR/reports/arm64/results.json
    DIR/reports/x86_64/results.json
    ");
    insta::assert_snapshot!(names("reports/arm64"), @"DIR/reports/arm64/results.json");
    insta::assert_snapshot!(names("reports/arm64/results.json"), @"DIR/reports/arm64/results.json");
    insta::assert_snapshot!(names("empty"), @"DIR/empty: no results.json in this directory or below; `cargo xtask test --report-dir DIR` writes one into DIR");
    let none = read_all(&[at("none.json")]).unwrap_err();
    let none = format!("{none:#}").replace(&*dir.path().to_string_lossy(), "DIR");
    insta::assert_snapshot!(none, @"read DIR/none.json; `cargo xtask test` writes this file: No such file or directory (os error 2)");
}

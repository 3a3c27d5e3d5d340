// SPDX-License-Identifier: MIT OR Apache-2.0
//! Findings that a case expects, because the kernel has a known bug.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, bail};
use oracle_wire::message::FindingKind;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CaseSpec, Suite, line_of_case};
use crate::files;
use crate::target::Target;

/// Findings that the oracle reports because of one known bug of the kernel. Which of them appear depends on the addresses
/// that the kernel happens to choose, but one always does.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedFinding {
    /// Targets and groups of targets on which the oracle reports the bug.
    pub on: Vec<String>,
    /// Kinds of the findings.
    #[schemars(with = "Vec<String>")]
    pub kinds: Vec<FindingKind>,
    /// Functions of the kernel. One of them is responsible for one of the two accesses, as the oracle reports it.
    pub functions: Vec<String>,
    /// The bug, in a sentence.
    pub reason: String,
    /// File names of the patches in `kernel-patches/fixes` that fix the bug together. A kernel that has all of them is not
    /// expected to have the bug.
    #[serde(default)]
    pub fixed_by: Vec<String>,
}

impl CaseSpec {
    /// Returns the findings that the case expects on `target`, whose kernel has the patches `fixes`.
    pub(crate) fn findings_on(
        &self,
        target: &Target,
        fixes: &BTreeSet<String>,
    ) -> Vec<ExpectedFinding> {
        let on_target = |name: &String| target.is_called(name);
        let is_fixed = |finding: &ExpectedFinding| {
            !finding.fixed_by.is_empty() && finding.fixed_by.iter().all(|file| fixes.contains(file))
        };
        let all = self.expect_findings.iter().filter(|finding| finding.on.iter().any(on_target));
        all.filter(|finding| !is_fixed(finding)).cloned().collect()
    }
}

/// Checks that each expected finding of a suite has a reason. `text` is the content of the suite's file `path`.
pub(super) fn check_reasons(suite: &Suite, text: &str, path: &Path) -> Result<()> {
    for case in &suite.cases {
        if case.expect_findings.iter().any(|finding| finding.reason.trim().is_empty()) {
            bail!(
                "{}:{}: case {:?}: an expected finding has no reason; describe the bug",
                path.display(),
                line_of_case(text, &case.name),
                case.name
            );
        }
    }
    Ok(())
}

/// Checks that the expected findings of `suites`, which were read from `dir`, name existing targets and groups, and
/// existing patches in the directory `fixes`.
///
/// # Errors
/// A name does not exist. The error contains file and line.
pub(crate) fn check_findings(
    dir: &Path,
    suites: &[Suite],
    targets: &[Target],
    fixes: &Path,
) -> Result<()> {
    let exists = |name: &str| targets.iter().any(|target| target.is_called(name));
    for suite in suites {
        for case in &suite.cases {
            let mut findings = case.expect_findings.iter();
            let Some(problem) = findings.find_map(|finding| {
                let unknown = finding.on.iter().find(|name| !exists(name));
                let unknown = unknown.map(|name| format!("{name}: no such target or group"));
                let missing = finding.fixed_by.iter().find(|file| !fixes.join(file).is_file());
                let missing =
                    missing.map(|file| format!("{file}: no such file in {}", fixes.display()));
                unknown.or(missing)
            }) else {
                continue;
            };
            let path = dir.join(format!("{}.yaml", suite.suite));
            let line = line_of_case(&files::read(&path)?, &case.name);
            bail!("{}:{line}: expect_findings: {problem}", path.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUITE: &str = "\
suite: demo
about: Shows findings.
deadline: 10s
cases:
  - name: loop
    about: Reads.
    program: demo/loop.c
    expect_findings:
      - on: [x86_64, vivt]
        kinds: [stale-copy]
        functions: [lo_read]
        reason: It does not flush.
        fixed_by: [0001-loop.patch, 0002-more.patch]
      - { on: [mips], kinds: [lost-write], functions: [lo_write], reason: It does not flush. }
";

    fn suite(text: &str) -> Result<Suite> {
        super::super::parse(text, Path::new("demo.yaml"))
    }

    #[test]
    fn a_finding_is_expected_on_its_targets_until_it_is_fixed() {
        let suite = suite(SUITE).unwrap();
        let target = |name: &str, groups: &[&str]| Target {
            name: name.into(),
            groups: groups.iter().map(|group| group.to_string()).collect(),
            ..crate::target::tests::x86_64()
        };
        let functions = |target: &Target, fixes: &[&str]| {
            let fixes = fixes.iter().map(|file| file.to_string()).collect();
            let findings = suite.cases[0].findings_on(target, &fixes).into_iter();
            findings.flat_map(|finding| finding.functions).collect::<Vec<_>>()
        };
        assert_eq!(functions(&target("x86_64", &[]), &[]), ["lo_read"]);
        assert_eq!(functions(&target("armv5", &["vivt"]), &["0002-more.patch"]), ["lo_read"]);
        let both = ["0001-loop.patch", "0002-more.patch"];
        assert_eq!(functions(&target("mips", &[]), &both), ["lo_write"]);
        assert!(functions(&target("x86_64", &[]), &both).is_empty());
        assert!(functions(&target("arm64", &["arm"]), &[]).is_empty());
    }

    #[test]
    fn names_and_reasons_are_checked() {
        let error =
            suite(&SUITE.replace("reason: It does not flush.\n", "reason: \" \"\n")).unwrap_err();
        insta::assert_snapshot!(error, @r#"demo.yaml:5: case "loop": an expected finding has no reason; describe the bug"#);

        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("demo.yaml"), SUITE).unwrap();
        let check = |names: &[&str]| {
            let target =
                |name: &&str| Target { name: name.to_string(), ..crate::target::tests::x86_64() };
            let targets: Vec<Target> = names.iter().map(target).collect();
            let error = check_findings(dir.path(), &[suite(SUITE).unwrap()], &targets, dir.path());
            let text = error.map_or_else(|error| error.to_string(), |()| "none".into());
            text.replace(&*dir.path().to_string_lossy(), "DIR")
        };
        insta::assert_snapshot!(check(&["x86_64", "vivt"]), @"DIR/demo.yaml:5: expect_findings: 0001-loop.patch: no such file in DIR");
        for patch in ["0001-loop.patch", "0002-more.patch"] {
            std::fs::write(dir.path().join(patch), "").unwrap();
        }
        insta::assert_snapshot!(check(&["x86_64", "vivt"]), @"DIR/demo.yaml:5: expect_findings: mips: no such target or group");
        assert_eq!(check(&["x86_64", "vivt", "mips"]), "none");
    }
}

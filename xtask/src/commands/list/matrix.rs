// SPDX-License-Identifier: MIT OR Apache-2.0
//! Matrix that shows on which targets each case runs, and why it is skipped on the others.

use std::collections::BTreeMap;

use crate::kernel_version::AppliedStacks;
use crate::plan::skip_reason;
use crate::suite::{CaseSpec, Suite};
use crate::target::Target;

/// Targets, and the stacks of the patch queue that their kernels have; all stacks if that is `None`.
pub(super) struct Matrix<'a> {
    pub targets: &'a [Target],
    pub stacks: Option<&'a AppliedStacks>,
}

impl Matrix<'_> {
    /// Returns the names of the targets that `case` runs on.
    pub(super) fn runs(&self, suite: &Suite, case: &CaseSpec) -> Vec<&str> {
        let runs = |target: &&Target| skip_reason(suite, case, target, self.stacks).is_none();
        self.targets.iter().filter(runs).map(|target| target.name.as_str()).collect()
    }

    /// Returns the reasons why `case` is skipped, by the names of the targets.
    pub(super) fn skips(&self, suite: &Suite, case: &CaseSpec) -> BTreeMap<&str, String> {
        let skip = |target| skip_reason(suite, case, target, self.stacks);
        let skips = self.targets.iter().map(|target| (target.name.as_str(), skip(target)));
        skips.filter_map(|(name, reason)| Some((name, reason?))).collect()
    }

    /// Formats the matrix: a row per case, a column per target, and a numbered list of the reasons below.
    ///
    /// The names of the targets form a staircase above the columns, which keeps the columns narrow.
    pub(super) fn as_text(&self, suites: &[Suite]) -> String {
        let reasons = self.reasons(suites);
        let width = reasons.len().max(1).to_string().len();
        let mut text = String::from(
            "Cases and targets (+: the case runs; number: it is skipped, for the reason below):\n\n",
        );
        for (column, target) in self.targets.iter().enumerate() {
            let bars = format!("{:>width$} ", "|").repeat(column);
            text += &format!("  {bars}{:>width$}{}\n", &target.name[..1], &target.name[1..]);
        }
        for suite in suites {
            let bars = format!("{:>width$} ", "|").repeat(self.targets.len());
            text += format!("  {bars}").trim_end();
            text.push('\n');
            for case in &suite.cases {
                let skips = self.skips(suite, case);
                let marks = self.targets.iter().map(|target| {
                    let reason = skips.get(target.name.as_str());
                    let place = |reason| reasons.iter().position(|(known, _)| known == reason);
                    match reason.and_then(place) {
                        None => format!("{:>width$} ", "+"),
                        Some(place) => format!("{:>width$} ", place + 1),
                    }
                });
                let marks: String = marks.collect();
                text += &format!("  {marks} {}/{}\n", suite.suite, case.name);
            }
        }
        for (number, (reason, targets)) in (1..).zip(&reasons) {
            let before = if number == 1 { "\n" } else { "" };
            text += &format!("{before}  {number:>width$} {}: {reason}\n", targets.join(", "));
        }
        text
    }

    /// Returns all reasons, in the order of the rows, each with its targets.
    fn reasons(&self, suites: &[Suite]) -> Vec<(String, Vec<&str>)> {
        let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
        let cases =
            suites.iter().flat_map(|suite| suite.cases.iter().map(move |case| (suite, case)));
        for (target, reason) in cases.flat_map(|(suite, case)| self.skips(suite, case)) {
            match reasons.iter_mut().find(|(known, _)| *known == reason) {
                None => reasons.push((reason, vec![target])),
                Some((_, on)) if !on.contains(&target) => on.push(target),
                Some(_) => {}
            }
        }
        reasons
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const SMOKE: &str = "\
suite: smoke
about: Quick.
deadline: 10s
cases:
  - { name: boot, about: Boots., run: boot }
  - { name: redirect, about: Redirects., run: redirect, devices: [fuse, cuse], skip: { vivt: one address a page } }
  - { name: colours, about: Places., run: colours, skip: { vivt: one address a page, arm64: one colour, x86_64: one colour } }
";
    const TROUBLE: &str = "\
suite: trouble
about: For the lab itself.
deadline: 10s
skip: { parisc: no rustc back end }
cases:
  - { name: a-case-with-a-name-of-some-length, about: Panics., run: panic }
";

    fn targets(names: &[&str]) -> Vec<Target> {
        let target = |name: &&str| Target {
            name: name.to_string(),
            groups: if *name == "armv5" { vec!["vivt".into()] } else { Vec::new() },
            ..crate::target::tests::x86_64()
        };
        names.iter().map(target).collect()
    }

    fn suites() -> [Suite; 2] {
        [("smoke.yaml", SMOKE), ("trouble.yaml", TROUBLE)]
            .map(|(file, text)| crate::suite::parse(text, Path::new(file)).unwrap())
    }

    #[test]
    fn nine_targets_fit_on_a_page() {
        let names =
            ["arm64", "armv5", "armv6", "armv7", "mips", "parisc", "sh4", "sparc64", "x86_64"];
        let targets = targets(&names);
        let text = Matrix { targets: &targets, stacks: None }.as_text(&suites());
        assert!(text.lines().all(|line| line.len() <= 100));
        insta::assert_snapshot!(text, @"
        Cases and targets (+: the case runs; number: it is skipped, for the reason below):

          arm64
          | armv5
          | | armv6
          | | | armv7
          | | | | mips
          | | | | | parisc
          | | | | | | sh4
          | | | | | | | sparc64
          | | | | | | | | x86_64
          | | | | | | | | |
          + + + + + + + + +  smoke/boot
          + 1 + + + + + + +  smoke/redirect
          2 1 + + + + + + 2  smoke/colours
          | | | | | | | | |
          + + + + + 3 + + +  trouble/a-case-with-a-name-of-some-length

          1 armv5: one address a page
          2 arm64, x86_64: one colour
          3 parisc: no rustc back end
        ");
    }

    #[test]
    fn a_matrix_without_skips_has_no_reasons() {
        let text = |names: &[&str], suites: &[Suite]| {
            let targets = targets(names);
            Matrix { targets: &targets, stacks: None }.as_text(suites)
        };
        insta::assert_snapshot!(text(&["arm64", "x86_64"], &suites()[..1]), @"
        Cases and targets (+: the case runs; number: it is skipped, for the reason below):

          arm64
          | x86_64
          | |
          + +  smoke/boot
          + +  smoke/redirect
          1 1  smoke/colours

          1 arm64, x86_64: one colour
        ");
        insta::assert_snapshot!(text(&["arm64"], &suites()[1..]), @"
        Cases and targets (+: the case runs; number: it is skipped, for the reason below):

          arm64
          |
          +  trouble/a-case-with-a-name-of-some-length
        ");
    }

    #[test]
    fn cases_that_need_other_stacks_are_skipped_everywhere() {
        let text = "\
suite: smoke
about: Quick.
deadline: 10s
cases:
  - { name: boot, about: Boots., run: boot }
  - { name: load, about: Loads., run: load, promises: [9], skip: { arm64: too small } }
";
        let suite = crate::suite::parse(text, Path::new("smoke.yaml")).unwrap();
        let stacks = crate::kernel_version::tests::applied_stacks(&["core"]);
        let targets = targets(&["arm64", "mips", "x86_64"]);
        let text = Matrix { targets: &targets, stacks: Some(&stacks) }.as_text(&[suite]);
        insta::assert_snapshot!(text, @"
        Cases and targets (+: the case runs; number: it is skipped, for the reason below):

          arm64
          | mips
          | | x86_64
          | | |
          + + +  smoke/boot
          1 2 2  smoke/load

          1 arm64: too small
          2 mips, x86_64: promise 9 needs the stack lazy or load-save
        ");
    }

    #[test]
    fn the_json_output_has_the_same_content() {
        let (targets, [smoke, _]) = (targets(&["arm64", "armv5", "mips"]), suites());
        let value = smoke.cases.iter().map(|case| {
            let matrix = Matrix { targets: &targets, stacks: None };
            let (runs, skips) = (matrix.runs(&smoke, case), matrix.skips(&smoke, case));
            serde_json::json!({ "runs": runs, "skip": skips }).to_string()
        });
        let lines: Vec<String> = value.collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        {"runs":["arm64","armv5","mips"],"skip":{}}
        {"runs":["arm64","mips"],"skip":{"armv5":"one address a page"}}
        {"runs":["mips"],"skip":{"arm64":"one colour","armv5":"one address a page"}}
        "#);
    }
}

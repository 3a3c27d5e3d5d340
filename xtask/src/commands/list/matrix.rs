// SPDX-License-Identifier: MIT OR Apache-2.0
//! Matrix that shows on which targets each case runs, and why it is skipped on the others.

use std::collections::BTreeMap;

use crate::suite::{CaseSpec, Suite};
use crate::target::Target;

/// Returns the names of the targets that `case` runs on.
pub(super) fn runs<'t>(targets: &'t [Target], suite: &Suite, case: &CaseSpec) -> Vec<&'t str> {
    let runs = |target: &&Target| suite.skip_on(case, target).is_none();
    targets.iter().filter(runs).map(|target| target.name.as_str()).collect()
}

/// Returns the reasons why `case` is skipped, by the names of the targets.
pub(super) fn skips<'s>(
    targets: &'s [Target],
    suite: &'s Suite,
    case: &'s CaseSpec,
) -> BTreeMap<&'s str, &'s str> {
    let skip = |target: &'s Target| Some((target.name.as_str(), suite.skip_on(case, target)?));
    targets.iter().filter_map(skip).collect()
}

/// Formats the matrix: a row per case, a column per target, and a numbered list of the reasons below.
///
/// The names of the targets form a staircase above the columns, which keeps the columns narrow.
pub(super) fn as_text(targets: &[Target], suites: &[Suite]) -> String {
    let reasons = reasons(targets, suites);
    let width = reasons.len().max(1).to_string().len();
    let mut text = String::from(
        "Cases and targets (+: the case runs; number: it is skipped, for the reason below):\n\n",
    );
    for (column, target) in targets.iter().enumerate() {
        let bars = format!("{:>width$} ", "|").repeat(column);
        text += &format!("  {bars}{:>width$}{}\n", &target.name[..1], &target.name[1..]);
    }
    for suite in suites {
        text += format!("  {}", format!("{:>width$} ", "|").repeat(targets.len())).trim_end();
        text.push('\n');
        for case in &suite.cases {
            let marks = targets.iter().map(|target| {
                let reason = suite.skip_on(case, target);
                let place = |reason| reasons.iter().position(|(known, _)| *known == reason);
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
fn reasons<'s>(targets: &'s [Target], suites: &'s [Suite]) -> Vec<(&'s str, Vec<&'s str>)> {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for suite in suites {
        for (target, reason) in suite.cases.iter().flat_map(|c| skips(targets, suite, c)) {
            match reasons.iter_mut().find(|(known, _)| *known == reason) {
                None => reasons.push((reason, vec![target])),
                Some((_, on)) if !on.contains(&target) => on.push(target),
                Some(_) => {}
            }
        }
    }
    reasons
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
        let text = as_text(&targets(&names), &suites());
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
        insta::assert_snapshot!(as_text(&targets(&["arm64", "x86_64"]), &suites()[..1]), @"
        Cases and targets (+: the case runs; number: it is skipped, for the reason below):

          arm64
          | x86_64
          | |
          + +  smoke/boot
          + +  smoke/redirect
          1 1  smoke/colours

          1 arm64, x86_64: one colour
        ");
        insta::assert_snapshot!(as_text(&targets(&["arm64"]), &suites()[1..]), @"
        Cases and targets (+: the case runs; number: it is skipped, for the reason below):

          arm64
          |
          +  trouble/a-case-with-a-name-of-some-length
        ");
    }

    #[test]
    fn the_json_output_has_the_same_content() {
        let (targets, [smoke, _]) = (targets(&["arm64", "armv5", "mips"]), suites());
        let value = smoke.cases.iter().map(|case| {
            let (runs, skips) = (runs(&targets, &smoke, case), skips(&targets, &smoke, case));
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

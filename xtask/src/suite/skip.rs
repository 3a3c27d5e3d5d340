// SPDX-License-Identifier: MIT OR Apache-2.0
//! Skips: the targets on which a case, or a whole suite, cannot hold, each with the reason.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use schemars::{Schema, SchemaGenerator, json_schema};

use super::{CaseSpec, Suite};
use crate::files;
use crate::target::{self, Target};

/// Reasons, by the name of a target or of a group of targets.
pub(crate) type Skips = BTreeMap<String, String>;

/// Returns the JSON schema of [`Skips`]. Like [`check_reasons`], it rejects an empty reason.
pub(super) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": { "type": "string", "pattern": r"\S" },
    })
}

impl Suite {
    /// Returns the reason why `case` of this suite cannot hold on `target`, if there is one. Entries of the case take
    /// precedence over those of the suite, and the target's own entry over those of its groups.
    pub(crate) fn skip_on<'s>(&'s self, case: &'s CaseSpec, target: &Target) -> Option<&'s str> {
        reason_on(&case.skip, target).or_else(|| reason_on(&self.skip, target))
    }
}

fn reason_on<'s>(skips: &'s Skips, target: &Target) -> Option<&'s str> {
    let mut names = std::iter::once(&target.name).chain(&target.groups);
    names.find_map(|name| skips.get(name)).map(String::as_str)
}

/// Checks that every skip of `suites`, which were read from `dir`, names an existing target or group.
///
/// # Errors
/// A skip names neither. The error contains file, line and the valid names.
pub(crate) fn check_skips(dir: &Path, suites: &[Suite], targets: &[Target]) -> Result<()> {
    let exists = |name: &str| targets.iter().any(|target| target.is_called(name));
    for suite in suites {
        let unknown = skips(suite).find(|(_, name, _)| !exists(name));
        let Some((case, name, _)) = unknown else {
            continue;
        };
        let path = dir.join(format!("{}.yaml", suite.suite));
        let text = files::read(&path)?;
        let (file, line) = (path.display(), line_of(&text, case, name));
        bail!(
            "{file}:{line}: skip: {name}: no such target or group; choose one of: {}",
            target::choices(targets)
        );
    }
    Ok(())
}

/// Checks that every skip of a suite has a reason. `text` is the content of the suite's file `path`.
pub(super) fn check_reasons(suite: &Suite, text: &str, path: &Path) -> Result<()> {
    match skips(suite).find(|(.., reason)| reason.trim().is_empty()) {
        None => Ok(()),
        Some((case, name, _)) => bail!(
            "{}:{}: skip: {name}: the reason is empty; state why the case cannot pass there, and how you know",
            path.display(),
            line_of(text, case, name)
        ),
    }
}

/// Returns all skips of a suite: the case, or `None` for the suite itself; the target or group; the reason.
fn skips(suite: &Suite) -> impl Iterator<Item = (Option<&str>, &str, &str)> {
    let of_cases = suite.cases.iter().map(|case| (Some(case.name.as_str()), &case.skip));
    std::iter::once((None, &suite.skip)).chain(of_cases).flat_map(|(case, skips)| {
        skips.iter().map(move |(name, reason)| (case, name.as_str(), reason.as_str()))
    })
}

/// Returns the number of the line that skips `name` in `case`, or in the suite itself: the first line after `skip:` in
/// which the name is a key.
fn line_of(text: &str, case: Option<&str>, name: &str) -> usize {
    let start = match case {
        // The suite's own skips come before or after its cases and are not indented.
        None => text.lines().position(|line| line.starts_with("skip:")),
        Some(case) => Some(super::line_of_case(text, case) - 1),
    };
    let is_key = |line: &str| {
        line.match_indices(name).any(|(at, _)| {
            let before = line[..at].trim_end_matches(['"', '\'']).chars().next_back();
            let after = line[at + name.len()..].trim_start_matches(['"', '\'']);
            before.is_none_or(|c| matches!(c, ' ' | '{' | ',')) && after.starts_with(':')
        })
    };
    let lines = text.lines().enumerate().skip(start.unwrap_or(0));
    let mut lines = lines.skip_while(|(_, line)| !line.contains("skip:"));
    lines.find(|(_, line)| is_key(line)).map_or(1, |(index, _)| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUITE: &str = "\
suite: demo
about: Shows skips.
deadline: 10s
skip:
  vivt: no page has two addresses there (arch/arm/mm/fault-armv.c)
cases:
  - name: boot
    about: The kernel boots.
    run: boot
  - name: redirect
    about: mmap redirects.
    run: redirect
    skip:
      # Its own reason.
      armv5: one address at a time
      arm: no channel
  - { name: open, about: Opens., run: open, skip: { aliasing: not yet, armv7: too slow } }
";

    fn target(name: &str, groups: &[&str]) -> Target {
        Target {
            name: name.into(),
            groups: groups.iter().map(|group| group.to_string()).collect(),
            ..crate::target::tests::x86_64()
        }
    }

    fn targets() -> [Target; 4] {
        [
            target("armv5", &["arm", "aliasing", "vivt"]),
            target("armv7", &["arm"]),
            target("parisc", &["aliasing"]),
            target("x86_64", &[]),
        ]
    }

    fn parse(text: &str) -> Result<Suite> {
        super::super::parse(text, Path::new("demo.yaml"))
    }

    #[test]
    fn the_most_specific_reason_applies() {
        let suite = parse(SUITE).unwrap();
        let mut text = String::new();
        for case in &suite.cases {
            for target in targets() {
                let reason = suite.skip_on(case, &target).unwrap_or("-");
                text += &format!("{} {}: {reason}\n", case.name, target.name);
            }
        }
        insta::assert_snapshot!(text, @"
        boot armv5: no page has two addresses there (arch/arm/mm/fault-armv.c)
        boot armv7: -
        boot parisc: -
        boot x86_64: -
        redirect armv5: one address at a time
        redirect armv7: no channel
        redirect parisc: -
        redirect x86_64: -
        open armv5: not yet
        open armv7: too slow
        open parisc: not yet
        open x86_64: -
        ");
    }

    fn unknown(text: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("demo.yaml"), text).unwrap();
        let error = check_skips(dir.path(), &[parse(text).unwrap()], &targets()).unwrap_err();
        format!("{error:#}").replace(&*dir.path().to_string_lossy(), "suites")
    }

    #[test]
    fn the_error_for_an_unknown_name_contains_file_and_line() {
        check_skips(Path::new("suites"), &[parse(SUITE).unwrap()], &targets()).unwrap();
        insta::assert_snapshot!(unknown(&SUITE.replace("vivt:", "vax:")), @"suites/demo.yaml:5: skip: vax: no such target or group; choose one of: armv5, armv7, parisc, x86_64, aliasing, arm, vivt");
        insta::assert_snapshot!(unknown(&SUITE.replace("armv5: one", "armv4: one")), @"suites/demo.yaml:15: skip: armv4: no such target or group; choose one of: armv5, armv7, parisc, x86_64, aliasing, arm, vivt");
        insta::assert_snapshot!(unknown(&SUITE.replace("armv7: too", "\"armv8\": too")), @"suites/demo.yaml:17: skip: armv8: no such target or group; choose one of: armv5, armv7, parisc, x86_64, aliasing, arm, vivt");
    }

    #[test]
    fn the_error_for_an_empty_reason_contains_file_and_line() {
        let error =
            |from: &str, to: &str| format!("{:#}", parse(&SUITE.replace(from, to)).unwrap_err());
        insta::assert_snapshot!(error("no channel", "\" \""), @"demo.yaml:16: skip: arm: the reason is empty; state why the case cannot pass there, and how you know");
        insta::assert_snapshot!(error("no page has two addresses there (arch/arm/mm/fault-armv.c)", "''"), @"demo.yaml:5: skip: vivt: the reason is empty; state why the case cannot pass there, and how you know");
        insta::assert_snapshot!(error("too slow", "[]"), @"
        demo.yaml:17:79: cases[2].skip.armv7: invalid type: sequence, expected a string
            - { name: open, about: Opens., run: open, skip: { aliasing: not yet, armv7: [] } }
        ");
    }
}

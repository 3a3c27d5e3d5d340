// SPDX-License-Identifier: MIT OR Apache-2.0
//! Suites: the named checks under `suites/*.yaml`.

mod findings;
mod program;
mod skip;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use protocol::plan::{Device, Work};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use findings::{ExpectedFinding, check_findings};
pub(crate) use program::SuiteProgram;
pub(crate) use skip::{Skips, check_skips};

use crate::{files, promise, yaml};

/// Pattern of the durations that humantime parses: numbers, each followed by a unit.
pub(crate) const DURATION: &str = concat!(
    r"^(\d+(\.\d+)?\s*(nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds?|secs?|s|minutes?|mins?|m|",
    r"hours?|hrs?|h|days?|d|weeks?|wks?|w|months?|M|years?|yrs?|y)\s*)+$"
);

/// Suite of cases: one file under `suites/`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Suite {
    /// Name for `--suite`; also the name of the file.
    pub suite: String,
    /// Description in one line, for `cargo xtask list`.
    pub about: String,
    /// True if the suite runs when the command line names no suite. The default is true.
    #[serde(default = "yes")]
    pub default: bool,
    /// Deadline of each case that has no deadline of its own, such as `20s` or `1m 30s`. It holds for TCG and the default
    /// flavour. The time that a case runs by its parameter `seconds` is added to it.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String", regex(pattern = DURATION))]
    pub deadline: Duration,
    /// Targets and groups on which no case of the suite can pass, each with the reason.
    #[serde(default)]
    #[schemars(schema_with = "skip::schema")]
    pub skip: Skips,
    /// The cases, in the order in which they run.
    pub cases: Vec<CaseSpec>,
}

/// Entry of a suite. With `devices` it defines one case for each device, else one case.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CaseSpec {
    /// Name, unique within the suite.
    pub name: String,
    /// Sentence that states what the case checks.
    pub about: String,
    /// Numbers of the promises in `docs/interface.md` that the case checks.
    #[serde(default)]
    #[schemars(inner(range(min = 1, max = promise::TITLES.len())))]
    pub promises: Vec<u8>,
    /// Name of the function in the `workloads` crate. A case has either this or `program`.
    #[serde(default)]
    pub run: Option<String>,
    /// Program of the case, and its arguments, separated by spaces: a C file, relative to `suites/`, or a directory below
    /// `clients/`, whose C files make one program that uses libfuse.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub program: Option<SuiteProgram>,
    /// Kinds of file that the server offers, with one case for each. Empty if the case needs no server.
    #[serde(default)]
    pub devices: Vec<Device>,
    /// Deadline of the case, such as `20s` or `1m 30s`. It holds for TCG and the default flavour. Without it, the suite's
    /// deadline applies.
    #[serde(default, with = "humantime_serde")]
    #[schemars(with = "Option<String>", regex(pattern = DURATION))]
    pub deadline: Option<Duration>,
    /// Parameters of the function, by name.
    #[serde(default)]
    pub with: BTreeMap<String, serde_json::Value>,
    /// Verdict that the case must get; any other is a failure. Values other than `pass` are for suites that test the lab.
    #[serde(default)]
    pub expect: Expect,
    /// Findings that the oracle must report at depth `full`. The case fails if one is missing, and if there is any other.
    #[serde(default)]
    pub expect_findings: Vec<ExpectedFinding>,
    /// Targets and groups on which the case cannot pass, each with the reason.
    #[serde(default)]
    #[schemars(schema_with = "skip::schema")]
    pub skip: Skips,
}

/// Verdict that a case must get.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::AsRefStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum Expect {
    /// Every check held.
    #[default]
    Pass,
    /// A check failed, or the kernel printed a warning.
    Fail,
    /// The case cannot hold on the target.
    Skip,
    /// The kernel crashed during the case.
    Crash,
    /// The deadline passed, or the guest was silent for too long.
    Timeout,
}

impl CaseSpec {
    /// Returns the code of the case.
    pub(crate) fn work(&self) -> Work {
        match &self.program {
            Some(program) => program.work(),
            None => Work::Function(self.run.clone().unwrap_or_default()),
        }
    }

    /// Returns the devices to run the case on: a single `None` for a case without a server.
    pub(crate) fn variants(&self) -> Vec<Option<Device>> {
        match self.devices.is_empty() {
            true => vec![None],
            false => self.devices.iter().copied().map(Some).collect(),
        }
    }

    /// Returns the IDs of the case in `suite`, one for each variant.
    pub(crate) fn ids(&self, suite: &str) -> impl Iterator<Item = String> {
        self.variants().into_iter().map(move |device| self.id(suite, device))
    }

    /// Returns the name of the case in the plan: `suite/name` or `suite/name.device`.
    pub(crate) fn id(&self, suite: &str, device: Option<Device>) -> String {
        match device {
            None => format!("{suite}/{}", self.name),
            Some(device) => format!("{suite}/{}.{device}", self.name),
        }
    }
}

impl Suite {
    /// Returns the IDs of all cases, in the order in which they run.
    pub(crate) fn ids(&self) -> impl Iterator<Item = String> {
        self.cases.iter().flat_map(|case| case.ids(&self.suite))
    }
}

fn yes() -> bool {
    true
}

/// Loads all suites in `dir`. Suites that run by default come first. `smoke` precedes the others, which are sorted by
/// name.
///
/// # Errors
/// A file cannot be read, does not parse, or has two cases with one name. The error contains file, line and the expected
/// content.
pub(crate) fn load_all(dir: &Path) -> Result<Vec<Suite>> {
    let mut suites = Vec::new();
    for path in files::with_extension(dir, "yaml")? {
        suites.push(parse(&files::read(&path)?, &path)?);
    }
    suites.sort_by_key(|s| (!s.default, s.suite != "smoke", s.suite.clone()));
    Ok(suites)
}

/// Parses one suite, which was read from `path`.
///
/// # Errors
/// As [`load_all`].
pub(crate) fn parse(text: &str, path: &Path) -> Result<Suite> {
    let suite: Suite = yaml::parse(text, path)?;
    if path.file_stem().is_none_or(|stem| *stem != *suite.suite) {
        let (file, name) = (path.display(), &suite.suite);
        bail!("{file}: the suite is named {name:?}; the file must be {name}.yaml");
    }
    for (at, case) in suite.cases.iter().enumerate() {
        if suite.cases[..at].iter().any(|c| c.name == case.name) {
            let line = line_of_case(text, &case.name);
            bail!(
                "{}:{line}: another case is named {:?} too; use a name that is unique within the suite",
                path.display(),
                case.name
            );
        }
        if case.run.is_some() == case.program.is_some() {
            let line = line_of_case(text, &case.name);
            bail!(
                "{}:{line}: case {:?} must have either `run` or `program`",
                path.display(),
                case.name
            );
        }
        if let Some(promise) = case.promises.iter().find(|p| promise::title(**p).is_none()) {
            let line = line_of_case(text, &case.name);
            bail!(
                "{}:{line}: case {:?}: promise {promise}: no such promise; choose one of: 1 to {}",
                path.display(),
                case.name,
                promise::TITLES.len()
            );
        }
    }
    skip::check_reasons(&suite, text, path)?;
    findings::check_reasons(&suite, text, path)?;
    Ok(suite)
}

/// Returns the number of the last line that names the case: the second of two cases with one name.
fn line_of_case(text: &str, name: &str) -> usize {
    let names_it = |line: &str| {
        let value = line.trim_start_matches([' ', '-', '{']).strip_prefix("name:");
        let value = value.and_then(|value| value.split(',').next());
        value.is_some_and(|v| v.trim().trim_matches(['"', '\'']) == name)
    };
    let found = text.lines().enumerate().filter(|(_, l)| names_it(l)).last();
    found.map_or(1, |(index, _)| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
suite: demo
about: Shows the layout.
deadline: 10s
cases:
  - name: boot
    about: The kernel boots.
    run: boot
  - name: redirect
    about: mmap redirects.
    promises: [1, 2]
    run: redirect
    devices: [fuse, cuse]
    deadline: 1m
    with: { pages: 4 }
    skip: { parisc: no channel there yet }
";

    fn error(text: &str) -> String {
        format!("{:#}", parse(text, Path::new("demo.yaml")).unwrap_err())
    }

    #[test]
    fn a_case_has_an_id_for_each_device() {
        let suite = parse(GOOD, Path::new("demo.yaml")).unwrap();
        let ids: Vec<String> = suite.ids().collect();
        assert_eq!(ids, ["demo/boot", "demo/redirect.fuse", "demo/redirect.cuse"]);
        assert_eq!(suite.cases[1].deadline, Some(Duration::from_secs(60)));
    }

    #[test]
    fn the_error_for_a_typo_contains_file_line_and_valid_names() {
        insta::assert_snapshot!(error(&GOOD.replace("promises:", "promisses:")), @"
        demo.yaml:10:5: cases[1]: unknown field `promisses`, expected one of `name`, `about`, `promises`, `run`, `program`, `devices`, `deadline`, `with`, `expect`, `expect_findings`, `skip`
            promisses: [1, 2]
        ");
        insta::assert_snapshot!(error(&GOOD.replace("[fuse, cuse]", "[fuse, cure]")), @"
        demo.yaml:12:21: cases[1].devices[1]: unknown variant `cure`, expected `fuse` or `cuse`
            devices: [fuse, cure]
        ");
        insta::assert_snapshot!(error(&GOOD.replace("deadline: 1m", "deadline: soon")), @r#"
        demo.yaml:13:15: cases[1].deadline: invalid value: string "soon", expected a duration
            deadline: soon
        "#);
        insta::assert_snapshot!(error(&GOOD.replace("    run: boot\n", "")), @r#"demo.yaml:5: case "boot" must have either `run` or `program`"#);
        insta::assert_snapshot!(error(&GOOD.replace("run: boot", "run: boot\n    program: demo/boot.c")), @r#"demo.yaml:5: case "boot" must have either `run` or `program`"#);
        insta::assert_snapshot!(error(&GOOD.replace("run: boot", "program: boot.rs")), @r#"
        demo.yaml:5:5: cases[0]: invalid value: string "boot.rs", expected a C file relative to suites/, such as mainline/loop-direct.c, or a directory such as clients/ring, and arguments
            - name: boot
        "#);
    }

    #[test]
    fn names_and_promises_are_checked() {
        insta::assert_snapshot!(error(&GOOD.replace("name: redirect", "name: boot")), @r#"demo.yaml:8: another case is named "boot" too; use a name that is unique within the suite"#);
        insta::assert_snapshot!(error(&GOOD.replace("[1, 2]", "[1, 14]")), @r#"demo.yaml:8: case "redirect": promise 14: no such promise; choose one of: 1 to 13"#);
        insta::assert_snapshot!(error(&GOOD.replace("suite: demo", "suite: dmeo")), @r#"demo.yaml: the suite is named "dmeo"; the file must be dmeo.yaml"#);
    }
}

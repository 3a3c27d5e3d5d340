// SPDX-License-Identifier: MIT OR Apache-2.0
//! Suites: the named checks under `suites/*.yaml`.

mod skip;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use protocol::plan::Device;
use serde::Deserialize;

pub(crate) use skip::{Skips, check_skips};

use crate::promise;

/// One file under `suites/`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Suite {
    /// Name of the suite and of its file.
    pub suite: String,
    /// One line for `cargo xtask list`.
    pub about: String,
    /// Whether it runs when no suite is asked for by name.
    #[serde(default = "yes")]
    pub default: bool,
    /// Deadline of each case that has none of its own, under TCG with the default flavour; beside the `seconds` that its
    /// `with` may tell it to run.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// Targets and groups on which none of its cases can hold, and why.
    #[serde(default)]
    pub skip: Skips,
    /// Its cases, in the order they run.
    pub cases: Vec<CaseSpec>,
}

/// One entry of a suite; with `devices`, one case for each.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CaseSpec {
    /// Name within the suite.
    pub name: String,
    /// What it checks, in a sentence.
    pub about: String,
    /// The promises of the interface it proves.
    #[serde(default)]
    pub promises: Vec<u8>,
    /// The function in the `workloads` crate.
    pub run: String,
    /// What the server serves; empty for a case that needs no server.
    #[serde(default)]
    pub devices: Vec<Device>,
    /// Deadline under TCG with the default flavour.
    #[serde(default, with = "humantime_serde")]
    pub deadline: Option<Duration>,
    /// Parameters of the function.
    #[serde(default)]
    pub with: BTreeMap<String, serde_json::Value>,
    /// The verdict it is to get; another one is a failure. All but `pass` is for suites that try the lab itself.
    #[serde(default)]
    pub expect: Expect,
    /// Targets and groups on which it cannot hold, and why.
    #[serde(default)]
    pub skip: Skips,
}

/// A verdict, by its word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expect {
    /// [`Verdict::Pass`](crate::results::Verdict::Pass).
    #[default]
    Pass,
    /// [`Verdict::Fail`](crate::results::Verdict::Fail).
    Fail,
    /// [`Verdict::Skip`](crate::results::Verdict::Skip).
    Skip,
    /// [`Verdict::Crash`](crate::results::Verdict::Crash).
    Crash,
    /// [`Verdict::Timeout`](crate::results::Verdict::Timeout).
    Timeout,
}

impl Expect {
    /// The word, as [`Verdict::word`](crate::results::Verdict::word) has it.
    pub fn word(self) -> &'static str {
        match self {
            Expect::Pass => "pass",
            Expect::Fail => "fail",
            Expect::Skip => "skip",
            Expect::Crash => "crash",
            Expect::Timeout => "timeout",
        }
    }
}

impl CaseSpec {
    /// The devices to run it on; one `None` for a case without a server.
    pub(crate) fn variants(&self) -> Vec<Option<Device>> {
        match self.devices.is_empty() {
            true => vec![None],
            false => self.devices.iter().copied().map(Some).collect(),
        }
    }

    /// Name of the case in the plan: `suite/name` or `suite/name.device`.
    pub(crate) fn id(&self, suite: &str, device: Option<Device>) -> String {
        match device {
            None => format!("{suite}/{}", self.name),
            Some(device) => format!("{suite}/{}.{}", self.name, device.word()),
        }
    }
}

fn yes() -> bool {
    true
}

/// All suites in `dir`: those that run by default first, `smoke` before all, then by name.
///
/// # Errors
/// A file that cannot be read, does not parse or names a case twice: names file, line and what was expected.
pub(crate) fn load_all(dir: &Path) -> Result<Vec<Suite>> {
    let mut suites = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|ext| ext == "yaml") {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("read {}", path.display()))?;
            suites.push(parse(&text, &path)?);
        }
    }
    suites.sort_by_key(|s| (!s.default, s.suite != "smoke", s.suite.clone()));
    Ok(suites)
}

/// Parses one suite, which was read from `path`.
///
/// # Errors
/// As [`load_all`].
pub(crate) fn parse(text: &str, path: &Path) -> Result<Suite> {
    let suite: Suite = crate::yaml::parse(text, path)?;
    if path.file_stem().is_none_or(|stem| *stem != *suite.suite) {
        let (file, name) = (path.display(), &suite.suite);
        bail!("{file}: the suite is named {name:?}; the file must be {name}.yaml");
    }
    for (at, case) in suite.cases.iter().enumerate() {
        if suite.cases[..at].iter().any(|c| c.name == case.name) {
            let line = line_of_case(text, &case.name);
            bail!(
                "{}:{line}: a second case named {:?}; names are unique within a suite",
                path.display(),
                case.name
            );
        }
        if let Some(promise) = case.promises.iter().find(|p| promise::title(**p).is_none()) {
            let line = line_of_case(text, &case.name);
            bail!(
                "{}:{line}: case {:?} proves promise {promise}; there are promises 1 to {}",
                path.display(),
                case.name,
                promise::TITLES.len()
            );
        }
    }
    skip::check_reasons(&suite, text, path)?;
    Ok(suite)
}

/// The last line that names the case: where a reader finds the second of two.
fn line_of_case(text: &str, name: &str) -> usize {
    let names_it = |line: &str| {
        let value = line
            .trim_start_matches([' ', '-', '{'])
            .strip_prefix("name:");
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
    fn a_case_has_one_id_a_device() {
        let suite = parse(GOOD, Path::new("demo.yaml")).unwrap();
        let ids: Vec<String> = suite
            .cases
            .iter()
            .flat_map(|case| {
                case.variants()
                    .into_iter()
                    .map(|d| case.id(&suite.suite, d))
            })
            .collect();
        assert_eq!(
            ids,
            ["demo/boot", "demo/redirect.fuse", "demo/redirect.cuse"]
        );
        assert_eq!(suite.cases[1].deadline, Some(Duration::from_secs(60)));
    }

    #[test]
    fn a_typo_names_file_line_and_what_was_expected() {
        insta::assert_snapshot!(error(&GOOD.replace("promises:", "promisses:")), @"
        demo.yaml:10:5: cases[1]: unknown field `promisses`, expected one of `name`, `about`, `promises`, `run`, `devices`, `deadline`, `with`, `expect`, `skip`
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
        insta::assert_snapshot!(error(&GOOD.replace("    run: boot\n", "")), @"
        demo.yaml:5:5: cases[0]: missing field `run`
            - name: boot
        ");
    }

    #[test]
    fn names_and_promises_are_checked() {
        insta::assert_snapshot!(error(&GOOD.replace("name: redirect", "name: boot")), @r#"demo.yaml:8: a second case named "boot"; names are unique within a suite"#);
        insta::assert_snapshot!(error(&GOOD.replace("[1, 2]", "[1, 12]")), @r#"demo.yaml:8: case "redirect" proves promise 12; there are promises 1 to 11"#);
        insta::assert_snapshot!(error(&GOOD.replace("suite: demo", "suite: dmeo")), @r#"demo.yaml: the suite is named "dmeo"; the file must be dmeo.yaml"#);
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Plan: suites, a target and a person's filters become the list of cases to run.

mod setting;
mod shard;

use std::time::Duration;

use anyhow::{Result, bail};
use protocol::plan::PlannedCase;
use regex::Regex;

pub(crate) use setting::Setting;
pub(crate) use shard::Shard;

use crate::suite::{Expect, Suite};
use crate::target::Target;
use crate::text::words;

/// What a person asked for; everything left out means everything that runs by default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Names of suites.
    pub suites: Vec<String>,
    /// Names of cases: `suite/name.device`, or `suite/name` for all its devices.
    pub cases: Vec<String>,
    /// Only cases whose name this finds a match in.
    pub pattern: Option<Regex>,
    /// Only this part of what the others leave.
    pub shard: Option<Shard>,
    /// Parameters of the chosen cases that are not what their suites say.
    pub with: Vec<Setting>,
}

/// One case of a target's plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// What the guest gets.
    pub planned: PlannedCase,
    /// The suite it is from.
    pub suite: String,
    /// What it checks, in a sentence.
    pub about: String,
    /// The promises of the interface it proves.
    pub promises: Vec<u8>,
    /// The verdict it is to get.
    pub expect: Expect,
    /// Why it does not run on this target, if so.
    pub skip: Option<String>,
}

impl Case {
    /// Unique name.
    pub fn id(&self) -> &str {
        &self.planned.id
    }
}

/// The cases of `target`, in the order they run, with deadlines multiplied by `scale`. A case that runs as long as it is
/// told, by its parameter `seconds`, has its deadline beside these.
///
/// # Errors
/// A suite, case or parameter that does not exist, filters that leave nothing, more shards than cases: says what there is.
pub(crate) fn compile(
    suites: &[Suite],
    target: &Target,
    filter: &Filter,
    scale: f64,
) -> Result<Vec<Case>> {
    check_names(suites, filter)?;
    let mut cases = Vec::new();
    for suite in suites.iter().filter(|suite| filter.takes_suite(suite)) {
        for spec in &suite.cases {
            for device in spec.variants() {
                let id = spec.id(&suite.suite, device);
                if !filter.takes_case(&id) {
                    continue;
                }
                let deadline = spec.deadline.unwrap_or(suite.deadline).mul_f64(scale);
                cases.push(Case {
                    suite: suite.suite.clone(),
                    about: spec.about.clone(),
                    promises: spec.promises.clone(),
                    expect: spec.expect,
                    skip: suite.skip_on(spec, target).map(str::to_owned),
                    planned: PlannedCase {
                        id,
                        run: spec.run.clone(),
                        device,
                        with: spec.with.clone(),
                        period: target.cache.period,
                        deadline_ms: deadline.as_millis() as u64,
                    },
                });
            }
        }
    }
    if cases.is_empty() {
        bail!("the filters leave no case to run; `cargo xtask list` shows what there is");
    }
    for setting in &filter.with {
        setting.apply(&mut cases)?;
    }
    for case in &mut cases {
        case.planned.deadline_ms += told_to_run(&case.planned).as_millis() as u64;
    }
    match filter.shard {
        None => Ok(cases),
        Some(shard) if shard.has_any_of(cases.len()) => Ok(shard.part(cases)),
        Some(shard) => bail!(
            "--shard {shard} has no case: the filters leave {} on {}, which is as many shards as there can be",
            words::cases(cases.len()),
            target.name
        ),
    }
}

/// How long a case is told to run.
fn told_to_run(case: &PlannedCase) -> Duration {
    let seconds = case.with.get("seconds").and_then(|value| value.as_u64());
    Duration::from_secs(seconds.unwrap_or_default())
}

impl Filter {
    /// A suite is taken when it is named, when one of its cases is, or by default.
    fn takes_suite(&self, suite: &Suite) -> bool {
        let case_of = |case: &String| case.split('/').next() == Some(suite.suite.as_str());
        match (self.suites.is_empty(), self.cases.is_empty()) {
            (true, true) => suite.default,
            _ => self.suites.contains(&suite.suite) || self.cases.iter().any(case_of),
        }
    }

    fn takes_case(&self, id: &str) -> bool {
        let suite = id.split('/').next().unwrap_or(id);
        let named = |case: &String| {
            id == case
                || id
                    .strip_prefix(case.as_str())
                    .is_some_and(|rest| rest.starts_with('.'))
        };
        let chosen = self.cases.is_empty()
            || self.cases.iter().any(named)
            || self.suites.iter().any(|name| name == suite);
        chosen
            && self
                .pattern
                .as_ref()
                .is_none_or(|pattern| pattern.is_match(id))
    }
}

/// A name that exists nowhere is a typo, not an empty selection.
fn check_names(suites: &[Suite], filter: &Filter) -> Result<()> {
    for name in &filter.suites {
        if !suites.iter().any(|suite| suite.suite == *name) {
            let names: Vec<_> = suites.iter().map(|suite| suite.suite.as_str()).collect();
            bail!(
                "--suite {name}: no such suite; there are: {}",
                names.join(", ")
            );
        }
    }
    for name in &filter.cases {
        let only = Filter {
            cases: vec![name.clone()],
            ..Filter::default()
        };
        let exists = suites.iter().any(|suite| {
            let ids = suite.cases.iter().flat_map(|case| {
                let ids = case.variants().into_iter();
                ids.map(|device| case.id(&suite.suite, device))
            });
            ids.into_iter().any(|id| only.takes_case(&id))
        });
        if !exists {
            bail!("--case {name}: no such case; `cargo xtask list` shows their names");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn suites() -> Vec<Suite> {
        let smoke = "\
suite: smoke
about: Quick.
deadline: 10s
cases:
  - { name: boot, about: Boots., run: boot }
  - { name: redirect, about: Redirects., run: redirect, devices: [fuse, cuse], skip: { x86_64: not here } }
";
        let trouble = "\
suite: trouble
about: For the lab itself.
default: false
deadline: 2s
cases:
  - { name: panic, about: Panics., run: panic, deadline: 4s }
";
        vec![
            crate::suite::parse(smoke, Path::new("smoke.yaml")).unwrap(),
            crate::suite::parse(trouble, Path::new("trouble.yaml")).unwrap(),
        ]
    }

    fn ids(filter: Filter) -> Result<Vec<String>> {
        let cases = compile(&suites(), &crate::target::tests::x86_64(), &filter, 1.0)?;
        Ok(cases.into_iter().map(|case| case.planned.id).collect())
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| word.to_string()).collect()
    }

    #[test]
    fn what_runs_by_default() {
        assert_eq!(
            ids(Filter::default()).unwrap(),
            ["smoke/boot", "smoke/redirect.fuse", "smoke/redirect.cuse"]
        );
    }

    #[test]
    fn filters_choose() {
        let suite = Filter {
            suites: words(&["trouble"]),
            ..Filter::default()
        };
        assert_eq!(ids(suite).unwrap(), ["trouble/panic"]);
        let case = Filter {
            cases: words(&["smoke/redirect"]),
            ..Filter::default()
        };
        assert_eq!(
            ids(case).unwrap(),
            ["smoke/redirect.fuse", "smoke/redirect.cuse"]
        );
        let both = Filter {
            cases: words(&["trouble/panic"]),
            suites: words(&["smoke"]),
            ..Filter::default()
        };
        assert_eq!(ids(both).unwrap().len(), 4);
        let pattern = Filter {
            pattern: Some(Regex::new("cuse$").unwrap()),
            ..Filter::default()
        };
        assert_eq!(ids(pattern).unwrap(), ["smoke/redirect.cuse"]);
    }

    #[test]
    fn a_name_that_is_not_there_is_an_error() {
        let error = |filter| format!("{:#}", ids(filter).unwrap_err());
        insta::assert_snapshot!(error(Filter { suites: words(&["smok"]), ..Filter::default() }), @"--suite smok: no such suite; there are: smoke, trouble");
        insta::assert_snapshot!(error(Filter { cases: words(&["smoke/bot"]), ..Filter::default() }), @"--case smoke/bot: no such case; `cargo xtask list` shows their names");
        insta::assert_snapshot!(error(Filter { pattern: Some(Regex::new("nothing").unwrap()), ..Filter::default() }), @"the filters leave no case to run; `cargo xtask list` shows what there is");
    }

    #[test]
    fn deadlines_scale_and_skips_are_kept() {
        let all = Filter {
            suites: words(&["smoke", "trouble"]),
            ..Filter::default()
        };
        let cases = compile(&suites(), &crate::target::tests::x86_64(), &all, 3.0).unwrap();
        let deadlines: Vec<u64> = cases.iter().map(|case| case.planned.deadline_ms).collect();
        assert_eq!(deadlines, [30_000, 30_000, 30_000, 12_000]);
        assert_eq!(cases[1].skip.as_deref(), Some("not here"));
        assert_eq!(cases[0].skip, None);
    }

    fn with(settings: &[&str]) -> Result<Vec<Case>> {
        let fuzz = "\
suite: fuzz
about: At random.
deadline: 10s
cases:
  - { name: random, about: Runs., run: fuzz, with: { seed: 1, seconds: 4, script: '' } }
  - { name: other, about: Runs., run: other, with: { rounds: 3 } }
";
        let suites = [crate::suite::parse(fuzz, Path::new("fuzz.yaml")).unwrap()];
        let filter = Filter {
            with: settings.iter().map(|text| text.parse().unwrap()).collect(),
            ..Filter::default()
        };
        compile(&suites, &crate::target::tests::x86_64(), &filter, 2.0)
    }

    #[test]
    fn parameters_are_set_where_they_are() {
        let cases = with(&["seed=7", "script=start c0; map c0.1 2+3"]).unwrap();
        let of_first = serde_json::to_string(&cases[0].planned.with).unwrap();
        insta::assert_snapshot!(of_first, @r#"{"script":"start c0; map c0.1 2+3","seconds":4,"seed":7}"#);
        let of_second = serde_json::to_string(&cases[1].planned.with).unwrap();
        insta::assert_snapshot!(of_second, @r#"{"rounds":3}"#);
        let text = with(&["script=12"]).unwrap();
        assert_eq!(text[0].planned.with["script"], "12");
    }

    #[test]
    fn the_deadline_is_beside_the_seconds_a_case_is_told_to_run() {
        let deadlines = |settings: &[&str]| -> Vec<u64> {
            let cases = with(settings).unwrap();
            cases.iter().map(|case| case.planned.deadline_ms).collect()
        };
        assert_eq!(deadlines(&[]), [24_000, 20_000]);
        assert_eq!(deadlines(&["seconds=3600"]), [3_620_000, 20_000]);
    }

    #[test]
    fn a_parameter_that_is_not_there_is_an_error() {
        let error = |setting: &str| format!("{:#}", with(&[setting]).unwrap_err());
        insta::assert_snapshot!(error("sed=7"), @r#"--with sed=7: the chosen cases have no parameter "sed"; there are: rounds, script, seconds, seed"#);
        insta::assert_snapshot!(error("seed=seven"), @"--with seed=seven: in the suite it is 1; give it a value of that kind");
        insta::assert_snapshot!(error("seed=[7]"), @"--with seed=[7]: in the suite it is 1; give it a value of that kind");
        insta::assert_snapshot!("seed".parse::<Setting>().unwrap_err(), @"a parameter is NAME=VALUE, such as seed=7");
    }

    #[test]
    fn a_shard_is_of_what_the_filters_leave() {
        let part = |text: &str| Filter {
            cases: words(&["smoke/redirect"]),
            shard: Some(text.parse().unwrap()),
            ..Filter::default()
        };
        assert_eq!(ids(part("1/2")).unwrap(), ["smoke/redirect.fuse"]);
        assert_eq!(ids(part("2/2")).unwrap(), ["smoke/redirect.cuse"]);
        let error = format!("{:#}", ids(part("3/3")).unwrap_err());
        insta::assert_snapshot!(error, @"--shard 3/3 has no case: the filters leave 2 cases on x86_64, which is as many shards as there can be");
    }
}

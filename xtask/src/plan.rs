// SPDX-License-Identifier: MIT OR Apache-2.0
//! Plan: compiles the suites, a target and the user's filters into the list of cases to run.

mod setting;
mod shard;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, bail};
use protocol::plan::{Device, PlannedCase};
use regex::Regex;

pub(crate) use setting::Setting;
pub(crate) use shard::Shard;

use crate::kernel_version::AppliedStacks;
use crate::promise;
use crate::suite::{CaseSpec, Expect, ExpectedFinding, Suite, SuiteProgram};
use crate::target::Target;
use crate::text::nearest::nearest;
use crate::text::words;

/// The user's selection of cases. The default selects every suite that runs by default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Names of suites.
    pub suites: Vec<String>,
    /// Names of cases: `suite/name.device`, or `suite/name` for every device.
    pub cases: Vec<String>,
    /// Pattern that the name of a case must match.
    pub pattern: Option<Regex>,
    /// Pattern that the name of a case must not match.
    pub except: Option<Regex>,
    /// Promises of which a case must prove one; empty for all cases.
    pub promises: Vec<u8>,
    /// Device that a case must have.
    pub device: Option<Device>,
    /// Shard of the cases selected above; `None` for all of them.
    pub shard: Option<Shard>,
    /// New values for parameters of the selected cases.
    pub with: Vec<Setting>,
}

/// One case of a target's plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The case as the guest receives it.
    pub planned: PlannedCase,
    pub suite: String,
    /// Property that the case checks, in one sentence.
    pub about: String,
    /// Promises of the interface that the case proves.
    pub promises: Vec<u8>,
    pub expect: Expect,
    /// C program that the case runs, if it runs one.
    pub program: Option<SuiteProgram>,
    /// Findings that the oracle must report at depth `full`.
    pub expect_findings: Vec<ExpectedFinding>,
    /// Reason why the case is skipped on this target; `None` if it runs.
    pub skip: Option<String>,
}

impl Case {
    pub fn id(&self) -> &str {
        &self.planned.id
    }
}

/// Returns the cases of `target` in the order in which they run, with all deadlines multiplied by `scale`. The
/// parameter `seconds` of a case, its running time, is added to its deadline. With `stacks`, cases whose promises those
/// stacks do not keep are skipped. Findings that a patch of `fixes` fixes are not expected.
///
/// # Errors
/// A suite, case or parameter does not exist, the filters select no case, or there are more shards than cases. The error
/// lists the valid choices.
pub(crate) fn compile(
    suites: &[Suite],
    target: &Target,
    stacks: Option<&AppliedStacks>,
    fixes: &BTreeSet<String>,
    filter: &Filter,
    scale: f64,
) -> Result<Vec<Case>> {
    check_names(suites, filter)?;
    let mut cases = Vec::new();
    for suite in suites.iter().filter(|suite| filter.selects_suite(suite)) {
        for spec in &suite.cases {
            for device in spec.variants() {
                let id = spec.id(&suite.suite, device);
                if !filter.selects_case(&id) || !filter.selects_kind(spec, device) {
                    continue;
                }
                let deadline = spec.deadline.unwrap_or(suite.deadline).mul_f64(scale);
                cases.push(Case {
                    suite: suite.suite.clone(),
                    about: spec.about.clone(),
                    promises: spec.promises.clone(),
                    expect: spec.expect,
                    program: spec.program.clone(),
                    expect_findings: spec.findings_on(target, fixes),
                    skip: skip_reason(suite, spec, target, stacks),
                    planned: PlannedCase {
                        id,
                        work: spec.work(),
                        device,
                        with: spec.with.clone(),
                        period: target.cache.period,
                        aliases: target.cache.aliases(),
                        deadline_ms: deadline.as_millis() as u64,
                    },
                });
            }
        }
    }
    if cases.is_empty() {
        bail!("no case matches the filters; `cargo xtask list` shows all cases");
    }
    for setting in &filter.with {
        setting.apply(&mut cases)?;
    }
    for case in &mut cases {
        case.planned.deadline_ms += running_time(&case.planned).as_millis() as u64;
    }
    match filter.shard {
        None => Ok(cases),
        Some(shard) if shard.has_cases(cases.len()) => Ok(shard.part(cases)),
        Some(shard) => bail!(
            "--shard {shard} is empty: the filters select {} on {}; use at most that many shards",
            words::cases(cases.len()),
            target.name
        ),
    }
}

/// Returns the reason why `case` of `suite` is skipped on `target` if the kernel has only `stacks`, or all stacks if that
/// is `None`. A reason of the target takes precedence.
pub(crate) fn skip_reason(
    suite: &Suite,
    case: &CaseSpec,
    target: &Target,
    stacks: Option<&AppliedStacks>,
) -> Option<String> {
    let of_target = suite.skip_on(case, target).map(str::to_owned);
    of_target.or_else(|| stacks?.unkept(&case.promises))
}

/// Returns the running time that the parameter `seconds` of a case requests; zero without that parameter.
fn running_time(case: &PlannedCase) -> Duration {
    let seconds = case.with.get("seconds").and_then(|value| value.as_u64());
    Duration::from_secs(seconds.unwrap_or_default())
}

impl Filter {
    /// Returns true if the filter names the suite or one of its cases, or if it names nothing and the suite runs by
    /// default.
    fn selects_suite(&self, suite: &Suite) -> bool {
        let case_of = |case: &String| case.split('/').next() == Some(suite.suite.as_str());
        match (self.suites.is_empty(), self.cases.is_empty()) {
            (true, true) => suite.default,
            _ => self.suites.contains(&suite.suite) || self.cases.iter().any(case_of),
        }
    }

    fn selects_case(&self, id: &str) -> bool {
        let suite = id.split('/').next().unwrap_or(id);
        let named = |case: &String| {
            id == case || id.strip_prefix(case.as_str()).is_some_and(|rest| rest.starts_with('.'))
        };
        let chosen = self.cases.is_empty()
            || self.cases.iter().any(named)
            || self.suites.iter().any(|name| name == suite);
        chosen
            && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(id))
            && !self.except.as_ref().is_some_and(|pattern| pattern.is_match(id))
    }

    /// Returns true if the filter selects cases with the promises of `spec` and with `device`.
    fn selects_kind(&self, spec: &CaseSpec, device: Option<Device>) -> bool {
        let proves = |promise: &u8| spec.promises.contains(promise);
        (self.promises.is_empty() || self.promises.iter().any(proves))
            && self.device.is_none_or(|wanted| device == Some(wanted))
    }
}

/// Rejects names that do not exist: such a name is a typo, not an empty selection.
fn check_names(suites: &[Suite], filter: &Filter) -> Result<()> {
    for name in &filter.suites {
        if !suites.iter().any(|suite| suite.suite == *name) {
            let names: Vec<_> = suites.iter().map(|suite| suite.suite.as_str()).collect();
            bail!("--suite {name}: no such suite; choose one of: {}", names.join(", "));
        }
    }
    for number in &filter.promises {
        if promise::title(*number).is_none() {
            let last = promise::TITLES.len();
            bail!("--promise {number}: no such promise; choose a number from 1 to {last}");
        }
    }
    for name in &filter.cases {
        let only = Filter { cases: vec![name.clone()], ..Filter::default() };
        let mut ids = suites.iter().flat_map(Suite::ids);
        if !ids.any(|id| only.selects_case(&id)) {
            bail!("--case {name}: no such case; {}", suggestion(suites, name));
        }
    }
    Ok(())
}

/// Returns what the user can do about `wanted`, which is no case.
fn suggestion(suites: &[Suite], wanted: &str) -> String {
    // A name without a device stands for all devices, and so do the suggestions for it.
    let with_device = wanted.contains('.');
    let ids = suites.iter().flat_map(Suite::ids).map(|id| match id.split_once('.') {
        Some((name, _)) if !with_device => name.to_owned(),
        _ => id,
    });
    let list = "`cargo xtask list` shows all cases";
    match nearest(wanted, ids).as_slice() {
        [] => list.to_owned(),
        names => format!("did you mean {}? {list}", names.join(" or ")),
    }
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
  - { name: redirect, about: Redirects., run: redirect, promises: [1], devices: [fuse, cuse], skip: { x86_64: not here } }
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
        let cases = compile(
            &suites(),
            &crate::target::tests::x86_64(),
            None,
            &BTreeSet::new(),
            &filter,
            1.0,
        )?;
        Ok(cases.into_iter().map(|case| case.planned.id).collect())
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| word.to_string()).collect()
    }

    #[test]
    fn the_default_selection() {
        assert_eq!(
            ids(Filter::default()).unwrap(),
            ["smoke/boot", "smoke/redirect.fuse", "smoke/redirect.cuse"]
        );
    }

    #[test]
    fn filters_select_cases() {
        let suite = Filter { suites: words(&["trouble"]), ..Filter::default() };
        assert_eq!(ids(suite).unwrap(), ["trouble/panic"]);
        let case = Filter { cases: words(&["smoke/redirect"]), ..Filter::default() };
        assert_eq!(ids(case).unwrap(), ["smoke/redirect.fuse", "smoke/redirect.cuse"]);
        let both = Filter {
            cases: words(&["trouble/panic"]),
            suites: words(&["smoke"]),
            ..Filter::default()
        };
        assert_eq!(ids(both).unwrap().len(), 4);
        let pattern = Filter { pattern: Some(Regex::new("cuse$").unwrap()), ..Filter::default() };
        assert_eq!(ids(pattern).unwrap(), ["smoke/redirect.cuse"]);
        let except = Filter { except: Some(Regex::new("cuse$").unwrap()), ..Filter::default() };
        assert_eq!(ids(except).unwrap(), ["smoke/boot", "smoke/redirect.fuse"]);
        let device = Filter { device: Some(Device::Cuse), ..Filter::default() };
        assert_eq!(ids(device).unwrap(), ["smoke/redirect.cuse"]);
        let promise = Filter { promises: vec![9, 1], ..Filter::default() };
        assert_eq!(ids(promise).unwrap(), ["smoke/redirect.fuse", "smoke/redirect.cuse"]);
    }

    #[test]
    fn an_unknown_name_is_an_error() {
        let error = |filter| format!("{:#}", ids(filter).unwrap_err());
        insta::assert_snapshot!(error(Filter { suites: words(&["smok"]), ..Filter::default() }), @"--suite smok: no such suite; choose one of: smoke, trouble");
        insta::assert_snapshot!(error(Filter { cases: words(&["smoke/bot"]), ..Filter::default() }), @"--case smoke/bot: no such case; did you mean smoke/boot? `cargo xtask list` shows all cases");
        insta::assert_snapshot!(error(Filter { cases: words(&["smoke/redirct.cuse"]), ..Filter::default() }), @"--case smoke/redirct.cuse: no such case; did you mean smoke/redirect.cuse or smoke/redirect.fuse? `cargo xtask list` shows all cases");
        insta::assert_snapshot!(error(Filter { promises: vec![99], ..Filter::default() }), @"--promise 99: no such promise; choose a number from 1 to 13");
        insta::assert_snapshot!(error(Filter { cases: words(&["zzz"]), ..Filter::default() }), @"--case zzz: no such case; `cargo xtask list` shows all cases");
        insta::assert_snapshot!(error(Filter { pattern: Some(Regex::new("nothing").unwrap()), ..Filter::default() }), @"no case matches the filters; `cargo xtask list` shows all cases");
    }

    #[test]
    fn deadlines_scale_and_skips_are_kept() {
        let all = Filter { suites: words(&["smoke", "trouble"]), ..Filter::default() };
        let cases =
            compile(&suites(), &crate::target::tests::x86_64(), None, &BTreeSet::new(), &all, 3.0)
                .unwrap();
        let deadlines: Vec<u64> = cases.iter().map(|case| case.planned.deadline_ms).collect();
        assert_eq!(deadlines, [30_000, 30_000, 30_000, 12_000]);
        assert_eq!(cases[1].skip.as_deref(), Some("not here"));
        assert_eq!(cases[0].skip, None);
    }

    #[test]
    fn cases_whose_promises_are_not_kept_are_skipped() {
        let suite = "\
suite: smoke
about: Quick.
deadline: 10s
cases:
  - { name: boot, about: Boots., run: boot }
  - { name: redirect, about: Redirects., run: redirect, promises: [1, 2] }
  - { name: load, about: Loads., run: load, promises: [1, 9] }
  - { name: fill, about: Fills., run: fill, promises: [8], skip: { x86_64: not here } }
";
        let suites = [crate::suite::parse(suite, Path::new("smoke.yaml")).unwrap()];
        let target = crate::target::tests::x86_64();
        let skips = |stacks: &[&str]| {
            let stacks = crate::kernel_version::tests::applied_stacks(stacks);
            let cases =
                compile(&suites, &target, Some(&stacks), &BTreeSet::new(), &Filter::default(), 1.0)
                    .unwrap();
            let line =
                |case: &Case| format!("{}: {}", case.id(), case.skip.as_deref().unwrap_or("-"));
            cases.iter().map(line).collect::<Vec<_>>().join("\n")
        };
        insta::assert_snapshot!(skips(&["core"]), @r"
        smoke/boot: -
        smoke/redirect: -
        smoke/load: promise 9 needs the stack lazy or load-save
        smoke/fill: not here
        ");
        insta::assert_snapshot!(skips(&["core", "lazy"]), @r"
        smoke/boot: -
        smoke/redirect: -
        smoke/load: -
        smoke/fill: not here
        ");
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
        compile(&suites, &crate::target::tests::x86_64(), None, &BTreeSet::new(), &filter, 2.0)
    }

    #[test]
    fn parameters_are_set_in_the_cases_that_have_them() {
        let cases = with(&["seed=7", "script=start c0; map c0.1 2+3"]).unwrap();
        let of_first = serde_json::to_string(&cases[0].planned.with).unwrap();
        insta::assert_snapshot!(of_first, @r#"{"script":"start c0; map c0.1 2+3","seconds":4,"seed":7}"#);
        let of_second = serde_json::to_string(&cases[1].planned.with).unwrap();
        insta::assert_snapshot!(of_second, @r#"{"rounds":3}"#);
        let text = with(&["script=12"]).unwrap();
        assert_eq!(text[0].planned.with["script"], "12");
    }

    #[test]
    fn the_running_time_is_added_to_the_deadline() {
        let deadlines = |settings: &[&str]| -> Vec<u64> {
            let cases = with(settings).unwrap();
            cases.iter().map(|case| case.planned.deadline_ms).collect()
        };
        assert_eq!(deadlines(&[]), [24_000, 20_000]);
        assert_eq!(deadlines(&["seconds=3600"]), [3_620_000, 20_000]);
    }

    #[test]
    fn an_unknown_parameter_is_an_error() {
        let error = |setting: &str| format!("{:#}", with(&[setting]).unwrap_err());
        insta::assert_snapshot!(error("sed=7"), @r#"--with sed=7: the selected cases have no parameter "sed"; choose one of: rounds, script, seconds, seed"#);
        insta::assert_snapshot!(error("seed=seven"), @"--with seed=seven: the value in the suite is 1; pass a value of the same type");
        insta::assert_snapshot!(error("seed=[7]"), @"--with seed=[7]: the value in the suite is 1; pass a value of the same type");
        insta::assert_snapshot!("seed".parse::<Setting>().unwrap_err(), @"expected NAME=VALUE, such as seed=7");
    }

    #[test]
    fn a_shard_is_a_part_of_the_selected_cases() {
        let part = |text: &str| Filter {
            cases: words(&["smoke/redirect"]),
            shard: Some(text.parse().unwrap()),
            ..Filter::default()
        };
        assert_eq!(ids(part("1/2")).unwrap(), ["smoke/redirect.fuse"]);
        assert_eq!(ids(part("2/2")).unwrap(), ["smoke/redirect.cuse"]);
        let error = format!("{:#}", ids(part("3/3")).unwrap_err());
        insta::assert_snapshot!(error, @"--shard 3/3 is empty: the filters select 2 cases on x86_64; use at most that many shards");
    }
}

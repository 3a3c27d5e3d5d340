// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shards: equal parts of a plan, for several machines that share a run.

use std::fmt;
use std::str::FromStr;

use super::Case;

/// One of several parts of a plan. Every case is in exactly one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Number of this part, from 0.
    index: usize,
    /// Number of parts; at least 1.
    of: usize,
}

impl Shard {
    /// Returns true if this part of a plan with `total` cases is not empty.
    pub fn has_cases(self, total: usize) -> bool {
        self.index < total
    }

    /// Returns the cases of this part, in the order of the plan.
    ///
    /// Cases are dealt out in turn, so that a slow suite is spread over all parts. The cases that run are dealt out before
    /// those that are skipped, so that both the number of cases that run and the number of all cases differ by at most one
    /// between parts.
    pub fn part(self, cases: Vec<Case>) -> Vec<Case> {
        let mut run = 0;
        let mut skipped = cases.iter().filter(|case| case.skip.is_none()).count();
        let mut mine = |case: &Case| {
            let next = match case.skip {
                None => &mut run,
                Some(_) => &mut skipped,
            };
            *next += 1;
            (*next - 1) % self.of == self.index
        };
        cases.into_iter().filter(|case| mine(case)).collect()
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(part, of)| {
            let number = |text: &str| text.parse::<usize>().ok();
            Some((number(part)?, number(of)?))
        });
        match numbers {
            None => Err("expected I/N, such as 1/3 for the first of three shards".into()),
            Some((_, 0)) => Err("the number of shards must be at least 1".into()),
            Some((part, of)) if !(1..=of).contains(&part) => {
                Err(format!("the shard must be a number from 1 to {of}"))
            }
            Some((part, of)) => Ok(Self { index: part - 1, of }),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index + 1, self.of)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::plan;

    fn shard(text: &str) -> Shard {
        text.parse().unwrap()
    }

    /// Returns a plan in which groups of consecutive cases are skipped, as in a suite with skips.
    fn plan(size: usize) -> Vec<Case> {
        let cases = (0..size).map(|n| match n % 7 {
            0..4 => format!("  - {{ name: c{n}, about: Runs., run: boot }}\n"),
            _ => format!(
                "  - {{ name: c{n}, about: Does not., run: boot, skip: {{ x86_64: no }} }}\n"
            ),
        });
        let cases: String = cases.collect();
        let text = format!("suite: smoke\nabout: Many.\ndeadline: 10s\ncases:\n{cases}");
        let suite = crate::suite::parse(&text, Path::new("smoke.yaml")).unwrap();
        let target = crate::target::tests::x86_64();
        plan::compile(&[suite], &target, None, &Default::default(), &plan::Filter::default(), 1.0)
            .unwrap()
    }

    #[test]
    fn every_case_is_in_exactly_one_shard() {
        for (cases, of) in [(1, 1), (3, 3), (10, 3), (23, 4), (24, 4), (63, 9)] {
            let plan = plan(cases);
            let parts: Vec<Vec<Case>> =
                (1..=of).map(|part| shard(&format!("{part}/{of}")).part(plan.clone())).collect();
            let place = |case: &Case| plan.iter().position(|other| other == case).unwrap();
            let mut places: Vec<usize> = parts.iter().flatten().map(place).collect();
            places.sort();
            assert!(places.into_iter().eq(0..cases), "{cases} in {of}");
            let spread =
                |sizes: Vec<usize>| sizes.iter().max().unwrap() - sizes.iter().min().unwrap();
            let runs = |part: &Vec<Case>| part.iter().filter(|c| c.skip.is_none()).count();
            assert!(spread(parts.iter().map(Vec::len).collect()) <= 1);
            assert!(spread(parts.iter().map(runs).collect()) <= 1);
            for part in &parts {
                assert!(part.iter().map(place).is_sorted(), "a shard keeps the order of the plan");
            }
        }
    }

    #[test]
    fn errors_explain_the_syntax() {
        let errors = ["0/3", "4/3", "1/0", "x", "1/x", "-1/3", ""]
            .map(|text| format!("{text}: {}", text.parse::<Shard>().unwrap_err()));
        insta::assert_snapshot!(errors.join("\n"), @"
        0/3: the shard must be a number from 1 to 3
        4/3: the shard must be a number from 1 to 3
        1/0: the number of shards must be at least 1
        x: expected I/N, such as 1/3 for the first of three shards
        1/x: expected I/N, such as 1/3 for the first of three shards
        -1/3: expected I/N, such as 1/3 for the first of three shards
        : expected I/N, such as 1/3 for the first of three shards
        ");
        assert_eq!(shard("2/3").to_string(), "2/3");
    }
}

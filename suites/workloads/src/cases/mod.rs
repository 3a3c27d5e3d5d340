// SPDX-License-Identifier: MIT OR Apache-2.0
//! Functions of the cases: one module for each suite, with the name of the suite.

mod abi;
mod bench;
mod by_id;
mod coherency;
mod drain;
mod fault_injection;
mod fuzz;
mod hostile;
mod lazy;
mod modules;
mod race;
mod scale;
mod shared_memory;
mod smoke;
mod soak;
mod trouble;

use crate::stage::Workload;

/// Functions of cases, by the name that follows `run:`.
type Workloads = &'static [(&'static str, Workload)];

/// Names of the suites, each with the functions of its cases.
const SUITES: &[(&str, &[Workloads])] = &[
    ("abi", &[abi::WORKLOADS]),
    ("bench", &[bench::WORKLOADS]),
    ("by-id", &[by_id::WORKLOADS]),
    ("coherency", &[coherency::WORKLOADS, coherency::colour::WORKLOADS]),
    ("drain", &[drain::WORKLOADS, drain::escapes::WORKLOADS]),
    ("fault-injection", &[fault_injection::WORKLOADS, fault_injection::connect::WORKLOADS]),
    ("fuzz", &[fuzz::WORKLOADS]),
    (
        "hostile",
        &[
            hostile::WORKLOADS,
            hostile::answers::WORKLOADS,
            hostile::silent::WORKLOADS,
            hostile::ends::WORKLOADS,
            hostile::init::WORKLOADS,
            hostile::locked::WORKLOADS,
            hostile::meanwhile::WORKLOADS,
            hostile::munmaps::WORKLOADS,
            hostile::notifications::WORKLOADS,
            hostile::repeated::WORKLOADS,
            hostile::stopped::WORKLOADS,
        ],
    ),
    ("lazy", &[lazy::WORKLOADS]),
    ("modules", &[modules::WORKLOADS]),
    ("race", &[race::WORKLOADS]),
    ("scale", &[scale::WORKLOADS, scale::bystander::WORKLOADS]),
    (
        "shared-memory",
        &[
            shared_memory::advice::WORKLOADS,
            shared_memory::buffers::WORKLOADS,
            shared_memory::fixed::WORKLOADS,
            shared_memory::moves::WORKLOADS,
            shared_memory::processes::WORKLOADS,
        ],
    ),
    ("smoke", &[smoke::WORKLOADS]),
    ("soak", &[soak::WORKLOADS]),
    ("trouble", &[trouble::WORKLOADS]),
];

/// Returns the function that a case of `suite` names after `run:`. `other-suite/function` names a function of another
/// suite.
pub fn find(suite: &str, run: &str) -> Option<Workload> {
    let (suite, name) = run.split_once('/').unwrap_or((suite, run));
    let (_, tables) = SUITES.iter().find(|(known, _)| *known == suite)?;
    let mut functions = tables.iter().copied().flatten();
    functions.find(|(known, _)| *known == name).map(|(_, workload)| *workload)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// Part of a suite's YAML that names its functions.
    #[derive(serde::Deserialize)]
    struct Suite {
        suite: String,
        cases: Vec<CaseSpec>,
    }

    #[derive(serde::Deserialize)]
    struct CaseSpec {
        name: String,
        /// `None` if the case is a C program.
        run: Option<String>,
    }

    fn suites() -> Vec<Suite> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let paths = paths.filter(|path| path.extension().is_some_and(|ext| ext == "yaml"));
        let suites = paths.map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            yaml_serde::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"))
        });
        suites.collect()
    }

    #[test]
    fn every_run_has_a_function() {
        for Suite { suite, cases } in suites() {
            for CaseSpec { name, run } in cases {
                let Some(run) = run else { continue };
                // `init` hangs the whole guest itself: see `supervise` in suites/init.
                let by_init = run == "hang";
                let found = by_init || find(&suite, &run).is_some();
                assert!(found, "{suite}/{name}: no function for `run: {run}`");
            }
        }
    }

    #[test]
    fn every_function_is_run_by_its_suite() {
        let suites = suites();
        for (name, tables) in SUITES {
            let suite = suites.iter().find(|suite| suite.suite == *name);
            let suite = suite.unwrap_or_else(|| panic!("there is no suite {name}"));
            let runs: BTreeSet<&str> =
                suite.cases.iter().filter_map(|case| case.run.as_deref()).collect();
            for (function, _) in tables.iter().copied().flatten() {
                let run = runs.contains(function);
                assert!(run, "no case of {name} has `run: {function}`");
            }
        }
    }

    #[test]
    fn the_walk_through_quotes_the_case_unchanged() {
        let page = include_str!("../../../../docs/adding-a-case.md");
        let blocks = page.split("```").skip(1).step_by(2);
        let code_in = |language: &str| {
            let code = blocks.clone().find_map(|block| block.strip_prefix(language));
            code.expect("the page shows the case")
        };
        assert!(include_str!("smoke.rs").contains(code_in("rust\n")));
        assert!(include_str!("../../../smoke.yaml").contains(code_in("yaml\n")));
    }

    #[test]
    fn no_case_has_the_name_of_a_suite() {
        for Suite { suite, cases } in suites() {
            for case in cases {
                let clash = SUITES.iter().any(|(suite, _)| *suite == case.name);
                assert!(!clash, "{suite}/{} has the name of a suite", case.name);
            }
        }
    }
}

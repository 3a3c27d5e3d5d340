// SPDX-License-Identifier: MIT OR Apache-2.0
//! List of the promises, each with the cases that prove it.

use serde_json::{Value, json};

use super::devices;
use crate::promise::TITLES;
use crate::suite::{CaseSpec, Suite};

/// Formats the list for people.
pub(super) fn as_text(suites: &[Suite]) -> String {
    let mut text = String::from(
        "Promises of direct mmap (docs/interface.md), and the cases that prove them:\n",
    );
    for (number, title) in (1..).zip(TITLES) {
        text += &format!("\n{number:2} {title}\n");
        let proofs = proofs(suites, number);
        if proofs.is_empty() {
            text += "     no case yet\n";
        }
        for (suite, case) in proofs {
            let name = format!("{}/{}", suite.suite, case.name);
            text += format!("     {name:<33} {}", devices(case)).trim_end();
            text.push('\n');
        }
    }
    text
}

/// Returns the list as JSON.
pub(super) fn as_value(suites: &[Suite]) -> Value {
    let promise = |(number, title): (u8, &str)| {
        let proofs = proofs(suites, number).into_iter();
        let ids = proofs.flat_map(|(suite, case)| case.ids(&suite.suite));
        json!({ "promise": number, "title": title, "cases": ids.collect::<Vec<_>>() })
    };
    (1..).zip(TITLES).map(promise).collect()
}

/// Returns the cases that prove the promise.
fn proofs(suites: &[Suite], promise: u8) -> Vec<(&Suite, &CaseSpec)> {
    let all = suites.iter();
    let all = all.flat_map(|suite| suite.cases.iter().map(move |case| (suite, case)));
    all.filter(|(_, case)| case.promises.contains(&promise)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn suites() -> [Suite; 1] {
        let text = "\
suite: smoke
about: Quick.
deadline: 10s
cases:
  - { name: boot, about: Boots., run: boot, promises: [10] }
  - { name: redirect, about: Redirects., run: redirect, promises: [1, 10], devices: [fuse, cuse] }
";
        [crate::suite::parse(text, Path::new("smoke.yaml")).unwrap()]
    }

    #[test]
    fn every_promise_is_listed_with_or_without_cases() {
        insta::assert_snapshot!(as_text(&suites()), @"
        Promises of direct mmap (docs/interface.md), and the cases that prove them:

         1 Redirect
             smoke/redirect                    fuse, cuse

         2 Server side
             no case yet

         3 IDs
             no case yet

         4 First fault
             no case yet

         5 Coherency is the kernel's work
             no case yet

         6 The period
             no case yet

         7 Shared memory that works
             no case yet

         8 Fault and reclaim
             no case yet

         9 Load and save
             no case yet

        10 Bounded
             smoke/boot
             smoke/redirect                    fuse, cuse

        11 Hostile or dead server
             no case yet

        12 It scales
             no case yet

        13 Accounted
             no case yet
        ");
    }

    #[test]
    fn the_json_output_has_the_ids_of_cases() {
        let value = as_value(&suites());
        assert_eq!(value.as_array().map(Vec::len), Some(TITLES.len()));
        insta::assert_snapshot!(value[0], @r#"{"cases":["smoke/redirect.fuse","smoke/redirect.cuse"],"promise":1,"title":"Redirect"}"#);
        insta::assert_snapshot!(value[1], @r#"{"cases":[],"promise":2,"title":"Server side"}"#);
    }
}

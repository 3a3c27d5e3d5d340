// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask list`.

use anyhow::Result;
use serde_json::{Value, json};

use super::Tree;
use crate::suite::CaseSpec;

/// Prints what there is.
pub fn run(tree: &Tree, as_json: bool) -> Result<u8> {
    match as_json {
        true => println!("{:#}", as_value(tree)),
        false => print!("{}", as_text(tree)),
    }
    Ok(0)
}

fn as_text(tree: &Tree) -> String {
    let mut text = String::from("Targets (--arch):\n");
    for target in &tree.targets {
        text += &format!("  {:<12} {}\n", target.name, target.about);
    }
    text += "\nFlavours (--flavour):\n";
    for flavour in &tree.flavours {
        text += &format!("  {:<12} {}\n", flavour.name, flavour.about);
    }
    for suite in &tree.suites {
        let asked = if suite.default {
            ""
        } else {
            "  (only when asked for)"
        };
        text += &format!("\nSuite {}{asked}: {}\n", suite.suite, suite.about);
        for case in &suite.cases {
            let name = format!("{}/{}", suite.suite, case.name);
            text += &format!("  {name:<36} {:<12} {}\n", devices(case), case.about);
        }
    }
    text
}

fn devices(case: &CaseSpec) -> String {
    let words: Vec<_> = case.devices.iter().map(|device| device.word()).collect();
    words.join(", ")
}

fn as_value(tree: &Tree) -> Value {
    let cases = |suite: &crate::suite::Suite| -> Vec<Value> {
        let variants = suite.cases.iter().flat_map(|case| {
            let devices = case.variants().into_iter();
            devices.map(move |device| (case, device))
        });
        let value = |(case, device): (&CaseSpec, Option<protocol::plan::Device>)| {
            json!({
                "id": case.id(&suite.suite, device),
                "about": case.about,
                "promises": case.promises,
                "device": device,
                "skip": case.skip,
            })
        };
        variants.map(value).collect()
    };
    json!({
        "targets": tree.targets,
        "flavours": tree.flavours.iter()
            .map(|f| json!({ "name": f.name, "about": f.about }))
            .collect::<Vec<_>>(),
        "suites": tree.suites.iter()
            .map(|s| json!({ "suite": s.suite, "about": s.about, "default": s.default, "cases": cases(s) }))
            .collect::<Vec<_>>(),
    })
}

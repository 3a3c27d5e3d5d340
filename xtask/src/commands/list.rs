// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask list`.

mod matrix;
mod promises;

use anyhow::Result;
use protocol::plan::Device;
use serde_json::{Value, json};

use crate::kernel_version::KernelVersion;
use crate::suite::{CaseSpec, Suite};
use crate::tree::Tree;

/// Prints the targets, flavours and suites, or the cases that prove each promise.
pub(super) fn run(tree: &Tree, by_promise: bool, as_json: bool) -> Result<u8> {
    match (by_promise, as_json) {
        (false, true) => println!("{:#}", as_value(tree)),
        (false, false) => print!("{}", as_text(tree)),
        (true, true) => println!("{:#}", promises::as_value(&tree.suites)),
        (true, false) => print!("{}", promises::as_text(&tree.suites)),
    }
    Ok(0)
}

fn as_text(tree: &Tree) -> String {
    let mut text = String::from("Targets (--arch):\n");
    for target in &tree.targets {
        text += &format!("  {:<12} {}\n", target.name, target.about);
    }
    text += "\nKernels (--kernel):\n";
    for kernel in &tree.kernels {
        text += &kernel_line(kernel);
    }
    text += "\nFlavours (--flavour):\n";
    for flavour in &tree.flavours {
        text += &format!("  {:<12} {}\n", flavour.name, flavour.about);
    }
    for suite in &tree.suites {
        let note = if suite.default { "" } else { " (not run by default)" };
        text += &format!("\nSuite {}{note}: {}\n", suite.suite, suite.about);
        for case in &suite.cases {
            let name = format!("{}/{}", suite.suite, case.name);
            text += &format!("  {name:<36} {:<12} {}\n", devices(case), case.about);
        }
    }
    text += &format!("\n{}", matrix::as_text(&tree.targets, &tree.suites));
    text
}

fn kernel_line(kernel: &KernelVersion) -> String {
    let note = match &kernel.incomplete {
        _ if kernel.default => " (default)".to_owned(),
        Some(reason) => format!(" (not in `all`: {reason})"),
        None => String::new(),
    };
    // `Version` ignores the width of a placeholder.
    format!("  {:<12} {}{note}\n", kernel.version.to_string(), kernel.about)
}

fn devices(case: &CaseSpec) -> String {
    let words: Vec<_> = case.devices.iter().map(Device::to_string).collect();
    words.join(", ")
}

fn as_value(tree: &Tree) -> Value {
    let cases = |suite: &Suite| -> Vec<Value> {
        let variants = suite.cases.iter().flat_map(|case| {
            let devices = case.variants().into_iter();
            devices.map(move |device| (case, device))
        });
        let value = |(case, device): (&CaseSpec, Option<Device>)| {
            json!({
                "id": case.id(&suite.suite, device),
                "about": case.about,
                "promises": case.promises,
                "device": device,
                "runs": matrix::runs(&tree.targets, suite, case),
                "skip": matrix::skips(&tree.targets, suite, case),
            })
        };
        variants.map(value).collect()
    };
    json!({
        "targets": tree.targets,
        "kernels": tree.kernels,
        "flavours": tree.flavours.iter()
            .map(|f| json!({ "name": f.name, "about": f.about }))
            .collect::<Vec<_>>(),
        "suites": tree.suites.iter()
            .map(|s| json!({ "suite": s.suite, "about": s.about, "default": s.default, "cases": cases(s) }))
            .collect::<Vec<_>>(),
    })
}

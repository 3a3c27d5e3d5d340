// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask list`.

mod matrix;
mod promises;

use anyhow::{Result, bail};
use protocol::plan::Device;
use serde_json::{Value, json};

use crate::cli::List;
use crate::kernel_version::{self, AppliedStacks, KernelVersion};
use crate::output::{out, outln};
use crate::suite::{CaseSpec, Suite};
use crate::tree::Tree;
use matrix::Matrix;

/// Prints the targets, flavours and suites, or the cases that prove each promise.
///
/// # Errors
/// The version does not exist, or its queue does not have the selected stack.
pub(super) fn run(tree: &Tree, args: &List) -> Result<u8> {
    let stacks = args.stack.as_deref().map(|name| stacks(tree, name, args.kernel.as_deref()));
    let stacks = stacks.transpose()?;
    let matrix = Matrix { targets: &tree.targets, stacks: stacks.as_ref() };
    match (args.by_promise, args.json) {
        (false, true) => outln!("{:#}", as_value(tree, &matrix)),
        (false, false) => out!("{}", as_text(tree, &matrix)),
        (true, true) => outln!("{:#}", promises::as_value(&tree.suites)),
        (true, false) => out!("{}", promises::as_text(&tree.suites)),
    }
    Ok(0)
}

/// Returns the stacks that the stack `name` selects in the version `kernel`, or in the default version.
fn stacks(tree: &Tree, name: &str, kernel: Option<&str>) -> Result<AppliedStacks> {
    let versions: Vec<String> = kernel.into_iter().map(str::to_owned).collect();
    match kernel_version::select(&tree.kernels, &versions)?.as_slice() {
        [kernel] => tree.stacks(name, kernel.version),
        kernels => {
            bail!("--kernel selects {} versions; the list is for one version", kernels.len())
        }
    }
}

fn as_text(tree: &Tree, matrix: &Matrix) -> String {
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
        let names: Vec<&str> = flavour.targets.keys().map(String::as_str).collect();
        let only = match names.is_empty() {
            true => String::new(),
            false => format!(" (only {})", names.join(", ")),
        };
        text += &format!("  {:<12} {}{only}\n", flavour.name, flavour.about);
    }
    for suite in &tree.suites {
        let note = if suite.default { "" } else { " (not run by default)" };
        text += &format!("\nSuite {}{note}: {}\n", suite.suite, suite.about);
        for case in &suite.cases {
            let name = format!("{}/{}", suite.suite, case.name);
            text += &format!("  {name:<36} {:<12} {}\n", devices(case), case.about);
        }
    }
    text += &format!("\n{}", matrix.as_text(&tree.suites));
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

fn as_value(tree: &Tree, matrix: &Matrix) -> Value {
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
                "runs": matrix.runs(suite, case),
                "skip": matrix.skips(suite, case),
            })
        };
        variants.map(value).collect()
    };
    json!({
        "targets": tree.targets,
        "kernels": tree.kernels,
        "flavours": tree.flavours.iter()
            .map(|f| json!({ "name": f.name, "about": f.about, "targets": f.targets.keys().collect::<Vec<_>>() }))
            .collect::<Vec<_>>(),
        "suites": tree.suites.iter()
            .map(|s| json!({ "suite": s.suite, "about": s.about, "default": s.default, "cases": cases(s) }))
            .collect::<Vec<_>>(),
    })
}

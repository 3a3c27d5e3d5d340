// SPDX-License-Identifier: MIT OR Apache-2.0
//! JSON schemas of the lab's files, generated from the Rust types. The generated files are committed under `schemas/`,
//! and `cargo xtask check` fails if they are out of date.

use std::path::Path;

use anyhow::Result;
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use crate::files;
use crate::flavour::Flavour;
use crate::kernel_version::{KernelVersion, PatchRanges};
use crate::report::events::Line;
use crate::results::RunResult;
use crate::suite::Suite;
use crate::target::Target;
use crate::variant::BuildVariant;

/// Kind of file that has a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A target, `kernel-configs/NAME.yaml`.
    Target,
    /// A suite, `suites/NAME.yaml`.
    Suite,
    /// A flavour, `kernel-configs/flavours/NAME.yaml`.
    Flavour,
    /// A build variant, `kernel-configs/variants/NAME.yaml`.
    Variant,
    /// A kernel version, `kernel-patches/VERSION/kernel.yaml`.
    Kernel,
    /// Kernel versions that patches are for, `versions.yaml` in a directory of patches.
    Versions,
    /// The results of a run, `results.json`.
    Results,
    /// A line of `--message-format json`.
    Events,
}

impl Kind {
    pub(crate) const ALL: [Kind; 8] = [
        Kind::Target,
        Kind::Suite,
        Kind::Flavour,
        Kind::Variant,
        Kind::Kernel,
        Kind::Versions,
        Kind::Results,
        Kind::Events,
    ];

    /// Path of the schema, relative to the root of the checkout.
    pub(crate) fn file(self) -> &'static str {
        match self {
            Kind::Target => "schemas/target.schema.json",
            Kind::Suite => "schemas/suite.schema.json",
            Kind::Flavour => "schemas/flavour.schema.json",
            Kind::Variant => "schemas/variant.schema.json",
            Kind::Kernel => "schemas/kernel.schema.json",
            Kind::Versions => "schemas/versions.schema.json",
            Kind::Results => "schemas/results.schema.json",
            Kind::Events => "schemas/events.schema.json",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Kind::Target => "Target of dmmap-lab",
            Kind::Suite => "Suite of dmmap-lab",
            Kind::Flavour => "Flavour of dmmap-lab",
            Kind::Variant => "Build variant of dmmap-lab",
            Kind::Kernel => "Kernel version of dmmap-lab",
            Kind::Versions => "Kernel versions of patches of dmmap-lab",
            Kind::Results => "Results of dmmap-lab",
            Kind::Events => "Event of dmmap-lab",
        }
    }
}

/// Command that updates the files.
pub(crate) const COMMAND: &str = "cargo xtask schema --write";

/// Returns the schema of `kind`, as text with the licence in its second line.
pub(crate) fn render(kind: Kind) -> String {
    // Language servers for YAML support this draft best.
    let settings = SchemaSettings::draft07();
    let mut schema = match kind {
        Kind::Target => of::<Target>(settings),
        Kind::Suite => of::<Suite>(settings),
        Kind::Flavour => of::<Flavour>(settings),
        Kind::Variant => of::<BuildVariant>(settings),
        Kind::Kernel => of::<KernelVersion>(settings),
        Kind::Versions => of::<PatchRanges>(settings),
        // The lab writes every field, so a file that lacks a field is not valid.
        Kind::Results => of::<RunResult>(settings.for_serialize()),
        Kind::Events => of::<Line>(settings.for_serialize()),
    };
    schema.insert("title".into(), kind.title().into());
    let text = serde_json::to_string_pretty(&schema).expect("a schema is plain data");
    let licence = r#""$comment": "SPDX-License-Identifier: MIT OR Apache-2.0""#;
    text.replacen('{', &format!("{{\n  {licence},"), 1) + "\n"
}

fn of<T: JsonSchema>(settings: SchemaSettings) -> Schema {
    settings.with_transform(Plain).into_generator().into_root_schema_for::<T>()
}

/// Removes details of Rust: number formats such as `uint32`, which strict validators reject, and the line breaks of doc
/// comments.
#[derive(Clone)]
struct Plain;

impl Transform for Plain {
    fn transform(&mut self, schema: &mut Schema) {
        schema.remove("format");
        if let Some(data) = schema.pointer_mut("/properties/data").and_then(Value::as_object_mut) {
            data.entry("description").or_insert("Content of the event.".into());
        }
        if let Some(Value::String(text)) = schema.get_mut("description") {
            *text = text.replace('\n', " ");
        }
        transform_subschemas(self, schema);
    }
}

/// Writes all schemas to the checkout.
///
/// # Errors
/// The directory `schemas` cannot be written to.
pub(crate) fn write_all(checkout: &Path) -> Result<()> {
    for kind in Kind::ALL {
        files::write_atomically(&checkout.join(kind.file()), render(kind))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;

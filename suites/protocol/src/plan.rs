// SPDX-License-Identifier: MIT OR Apache-2.0
//! The plan: the cases of one boot, compiled by the host and read by `init` from [`PATH`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where the plan lies in the guest's initramfs.
pub const PATH: &str = "/plan.json";

/// Layout version of [`Plan`]; a guest refuses any other.
pub const VERSION: u32 = 1;

/// Everything one boot has to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Always [`VERSION`].
    pub version: u32,
    /// What the guest does once it is up.
    pub mode: Mode,
    /// The cases, in the order they run.
    pub cases: Vec<PlannedCase>,
}

/// What the guest does once it is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Run the cases, send records, end the machine.
    Run,
    /// Give a person a shell on the console.
    Shell,
    /// End the machine at once: the raw boot that runs are measured against.
    Halt,
}

/// One case with everything a guest needs to run it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedCase {
    /// Unique name of the case: `suite/name` or `suite/name.device`.
    pub id: String,
    /// Name of the function in the `workloads` crate.
    pub run: String,
    /// What the server serves; `None` for a case that needs no server.
    pub device: Option<Device>,
    /// Parameters of the function, as the suite's YAML gives them.
    #[serde(default)]
    pub with: BTreeMap<String, serde_json::Value>,
    /// Bytes after which the colours of the machine's data cache repeat; a page where nothing aliases.
    pub period: u64,
    /// Milliseconds after which the guest kills the case; already scaled for accelerator and flavour.
    pub deadline_ms: u64,
}

/// How a server offers its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// A file in a mounted FUSE filesystem.
    Fuse,
    /// A CUSE character device.
    Cuse,
}

impl Device {
    /// The word used in YAML and in case names.
    pub fn word(self) -> &'static str {
        match self {
            Device::Fuse => "fuse",
            Device::Cuse => "cuse",
        }
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The configuration of the plugin: one JSON object in a file.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};

/// The guest's machine, and where to write findings. Every field except `ignore_flushes` is required; unknown fields are an
/// error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The instruction set, which determines the markers and the cache instructions.
    pub arch: Arch,
    /// The data cache to model.
    pub cache: Cache,
    /// Bytes in a page of the MMU. A colour is one page wide. A physical address is valid up to the end of its page.
    pub page: u64,
    /// Accesses to check.
    pub depth: Depth,
    /// Ignores the kernel's flushes of single lines and pages, so that there is something to find. For tests of the
    /// oracle itself.
    #[serde(default)]
    pub ignore_flushes: bool,
    /// The kernel's `System.map`, for function names and the addresses of flush functions. With `null`, places in the
    /// kernel are reported as numbers.
    #[serde(deserialize_with = "required")]
    pub symbols: Option<PathBuf>,
    /// The file that receives the findings. Existing content is discarded.
    pub findings: PathBuf,
}

impl Config {
    /// Returns the content of the configuration file.
    pub fn render(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("the configuration is plain data");
        text + "\n"
    }

    /// Returns true if the cache can hold more than one copy of a line.
    pub fn aliases(&self) -> bool {
        match self.cache.kind {
            CacheKind::Vipt => self.cache.period > self.page,
            CacheKind::Vivt => true,
            CacheKind::Physical => false,
        }
    }
}

/// Accepts `null`, but not a missing field.
fn required<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    Option::deserialize(deserializer)
}

/// An instruction set that the plugin can decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// ARMv5 and ARMv6, 32 bit.
    Arm,
    /// PA-RISC 1.1.
    Hppa,
    /// SPARC V9.
    Sparc64,
    /// Any machine without cache aliasing. The plugin does nothing there.
    // A target of this kind has no `model`.
    #[cfg_attr(feature = "schema", schemars(skip))]
    None,
}

/// A first-level data cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// Kind of index and tag: physical or virtual.
    pub kind: CacheKind,
    /// Distance in bytes after which colours repeat. Unused with virtual tags.
    pub period: u64,
    /// Bytes in a line, a power of two up to 64.
    pub line: u64,
    /// Write policy.
    pub write: WritePolicy,
}

/// Indexing and tagging of a data cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum CacheKind {
    /// Physically indexed, or virtually indexed without aliases: at most one copy of each line.
    Physical,
    /// Virtually indexed and physically tagged, with more than a page in a way: one copy for each colour. Two virtual
    /// addresses of a page share a copy if they are a multiple of the period apart.
    Vipt,
    /// Virtually indexed and virtually tagged: one copy for each virtual address.
    Vivt,
}

/// The time at which memory receives a store to a cached line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum WritePolicy {
    /// When the line is written back, which may be at any time.
    Back,
    /// Immediately. A store to a line that is not cached does not allocate it.
    Through,
}

/// The accesses that the plugin checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// Accesses to user addresses, by processes and by the kernel. The kernel is trusted to flush: its store through a
    /// kernel address resets the line in the model.
    User,
    /// Every access, and the kernel's cache maintenance.
    Full,
    /// As `Full`, but a flush of the whole cache on behalf of a process counts only for what that process used.
    Strict,
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The output of the plugin: one JSON object per line.
//!
//! Addresses are hexadecimal strings ([`Hex`]), because many JSON readers round large numbers. Readers ignore unknown
//! fields.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::config::{Arch, Cache, Depth};

/// One line of the plugin's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Message {
    /// The first line of the file.
    Hello(Hello),
    /// The plugin cannot trust its observations and has stopped modelling.
    Refused {
        /// The reason, and advice.
        why: String,
    },
    /// A window opened. The findings that follow belong to it.
    Window {
        /// Number of the window.
        id: u32,
    },
    /// The guest named an address whose physical address it knows.
    Known(Known),
    /// An access that hardware may answer with stale data.
    Finding(Box<Finding>),
    /// A window closed.
    End(End),
}

impl Message {
    /// Returns the line to write, newline included.
    pub fn render(&self) -> String {
        serde_json::to_string(self).expect("a message is plain data") + "\n"
    }
}

/// The plugin and what it models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Version of the plugin.
    pub version: String,
    /// Version of QEMU's plugin interface that the plugin was built for.
    pub api: i32,
    /// Instruction set, as configured.
    pub arch: Arch,
    /// Cache, as configured.
    pub cache: Cache,
    /// Depth, as configured.
    pub depth: Depth,
}

/// A virtual address with its physical address from two sources, which must agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Virtual address.
    #[serde(rename = "virtual")]
    pub address: Hex,
    /// Physical address according to QEMU. `None` if QEMU has none.
    pub physical: Option<Hex>,
    /// Physical address according to the guest's kernel.
    pub expected: Hex,
}

/// Two accesses to a line. The later one may read or leave stale data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Window of the finding.
    pub window: u32,
    /// Number within the window, from 1.
    pub number: u32,
    /// Kind of error.
    pub kind: FindingKind,
    /// Physical address of the line.
    pub line: Hex,
    /// The store that `later` may miss or destroy.
    pub earlier: Access,
    /// The access that is at risk.
    pub later: Access,
    /// The last operations that changed what the cache may hold of the line, oldest first.
    pub story: Vec<Access>,
}

impl Finding {
    /// Returns the story with the earlier access inserted where it belongs. The story itself can lack that access: it
    /// may be older than everything kept, or a repeated store to a line that was already dirty.
    pub fn accesses(&self) -> Vec<&Access> {
        let mut accesses: Vec<&Access> = self.story.iter().collect();
        let place = accesses.partition_point(|access| access.at < self.earlier.at);
        let present = accesses.get(place).is_some_and(|access| access.at == self.earlier.at);
        if !present {
            accesses.insert(place, &self.earlier);
        }
        accesses
    }
}

/// The kind of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// A load of a line that is dirty in another place of the cache: memory may not have the data yet.
    DirtyElsewhere,
    /// A store to a line that is dirty in another place, or whose copy here is stale: the write-back of one copy may
    /// overwrite newer data from elsewhere. Also a load of a line whose dirty copy was dropped.
    LostWrite,
    /// A load from a copy that is older than a store elsewhere.
    StaleCopy,
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FindingKind::DirtyElsewhere => "dirty-elsewhere",
            FindingKind::LostWrite => "lost-write",
            FindingKind::StaleCopy => "stale-copy",
        })
    }
}

/// An access to a line, or a cache maintenance operation on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Sequence number among the accesses of the window.
    pub at: u64,
    /// The operation.
    pub op: Op,
    /// The code that made the access.
    pub by: By,
    /// Address space, if known.
    pub space: Option<Hex>,
    /// Virtual address of the first byte.
    #[serde(rename = "virtual")]
    pub address: Hex,
    /// Physical address of the first byte.
    pub physical: Hex,
    /// Size in bytes.
    pub size: u64,
    /// Colour of the virtual address, from 0. `None` if the cache has no colours or the access bypasses the cache.
    pub colour: Option<u64>,
    /// Address of the instruction.
    pub pc: Hex,
    /// The instruction as `function+offset`, if known.
    pub symbol: Option<String>,
    /// The calls that led to an access of the kernel, innermost first. Empty if they are unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub callers: Vec<Frame>,
    /// The function that is responsible for an access of the kernel, see [`Access::find_culprit`]. `None` for other
    /// accesses, and if no function is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub culprit: Option<String>,
    /// The process that ran, also for an access of the kernel. `None` if it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// The mapping that contains the virtual address. `None` for cache maintenance, and for code that runs with address
    /// translation off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<Mapping>,
}

/// A mapping of a page at a virtual address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mapping {
    /// Of a process.
    Process,
    /// The kernel's linear mapping of all memory.
    Linear,
    /// Another one of the kernel: vmalloc, kmap, the fixed mappings, or a module.
    Kernel,
}

/// A process of the guest, or one of the kernel's threads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process ID of the thread, if known.
    pub id: Option<u32>,
    /// Name of the thread, as in `/proc/PID/comm`.
    pub name: String,
}

impl fmt::Display for Process {
    /// Writes name and ID as the kernel's log does: `cat[42]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => write!(f, "{}[{id}]", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A call in a backtrace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Address of the call instruction.
    pub pc: Hex,
    /// The instruction as `function+offset`, if known.
    pub symbol: Option<String>,
}

/// An operation on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// Reads.
    Load,
    /// Writes.
    Store,
    /// Writes a dirty copy back and keeps it.
    Clean,
    /// Drops a copy, dirty or not.
    Invalidate,
    /// Writes a dirty copy back and drops it.
    Flush,
}

impl Op {
    /// Returns the word that JSON and tables use, such as `load`.
    pub fn word(self) -> &'static str {
        match self {
            Op::Load => "load",
            Op::Store => "store",
            Op::Clean => "clean",
            Op::Invalidate => "invalidate",
            Op::Flush => "flush",
        }
    }
}

/// The code that made an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// A user program.
    Process,
    /// The kernel, possibly on behalf of a process.
    Kernel,
}

impl By {
    /// Returns the word that JSON and tables use, such as `process`.
    pub fn word(self) -> &'static str {
        match self {
            By::Process => "process",
            By::Kernel => "kernel",
        }
    }
}

/// The totals of a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Number of the window.
    pub window: u32,
    /// Findings, repeats included.
    pub findings: u64,
    /// Distinct findings. Only the first of them are written.
    pub distinct: u64,
    /// Number of times that each written finding was made, in order of their numbers.
    pub repeats: Vec<u64>,
    /// Accesses that were modelled.
    pub accesses: u64,
}

/// A number that JSON holds as a string such as `"0x1f"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hex(pub u64);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.strip_prefix("0x");
        let number = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        number.map(Self).ok_or_else(|| {
            de::Error::custom(format!("{text:?} is not a hexadecimal number such as \"0x1f\""))
        })
    }
}

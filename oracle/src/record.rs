// SPDX-License-Identifier: GPL-2.0-or-later
//! What the plugin writes: one JSON object a line. `docs/oracle.md` shows the lines; here is what is in them.
//!
//! Addresses are texts in hexadecimal: as numbers, JSON readers would round them.

use serde::{Serialize, Serializer};

use crate::arch::By;
use crate::config::{self, Arch, Cache, Depth};
use crate::model::{self, Finding, Kind, Op};

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Record {
    /// The first: who writes, and what it models.
    Hello {
        /// Of this program.
        version: &'static str,
        /// Of QEMU's interface for plugins.
        api: i32,
        /// As configured.
        arch: Arch,
        /// As configured.
        cache: Cache,
        /// As configured.
        depth: Depth,
    },
    /// The plugin cannot trust what it sees; nothing is modelled any more.
    Refused {
        /// What is not as it should be, and what to do.
        why: String,
    },
    /// A window opened.
    Window {
        /// Its number.
        id: u32,
    },
    /// The guest named an address pair, and QEMU agrees.
    Known {
        /// The virtual address.
        #[serde(rename = "virtual", serialize_with = "hex")]
        address: u64,
        /// Its physical address, says QEMU.
        #[serde(serialize_with = "hex")]
        physical: u64,
        /// Its physical address, says the guest.
        #[serde(serialize_with = "hex")]
        said: u64,
    },
    /// An access that hardware may answer with stale data. One like it is counted and not written again.
    Finding {
        /// The window it is in.
        window: u32,
        /// From 1 on in each window.
        number: usize,
        /// What is wrong.
        #[serde(serialize_with = "word")]
        kind: Kind,
        /// The physical address of the line.
        #[serde(serialize_with = "hex")]
        line: u64,
        /// The store that `later` may miss, or destroy.
        earlier: Box<Access>,
        /// The access.
        later: Box<Access>,
        /// What was done to the line, in order, the last ones.
        story: Vec<Access>,
    },
    /// A window is over.
    End {
        /// Its number.
        window: u32,
        /// All findings.
        findings: u64,
        /// Those that are not like another.
        distinct: u64,
        /// How often there was one like each that was written, in order of their numbers, itself included.
        repeats: Vec<u64>,
        /// Accesses that the model was told of.
        accesses: u64,
    },
}

/// An access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Access {
    at: u64,
    op: &'static str,
    by: &'static str,
    #[serde(serialize_with = "maybe_hex")]
    space: Option<u64>,
    #[serde(rename = "virtual", serialize_with = "hex")]
    address: u64,
    #[serde(serialize_with = "hex")]
    physical: u64,
    size: u64,
    /// `null`: it went round the cache, or there are no colours.
    colour: Option<u64>,
    #[serde(serialize_with = "hex")]
    pc: u64,
    symbol: Option<String>,
}

impl Access {
    /// As it is written: `plain` makes a program's address of one of QEMU's, `name` a text of a place in the kernel.
    pub fn new(
        access: &model::Access,
        cache: &Cache,
        plain: impl Fn(u64) -> u64,
        name: impl Fn(u64) -> Option<String>,
    ) -> Access {
        let of_kernel = access.by == By::Kernel;
        Access {
            at: access.at,
            op: match access.op {
                Op::Load => "load",
                Op::Store => "store",
                Op::Clean => "clean",
                Op::Invalidate => "invalidate",
                Op::Flush => "flush",
            },
            by: if of_kernel { "kernel" } else { "process" },
            space: access.space,
            address: plain(access.address),
            physical: access.physical,
            size: access.size,
            colour: access.place.filter(|_| cache.kind == config::Kind::Vipt),
            pc: plain(access.pc),
            symbol: if of_kernel { name(access.pc) } else { None },
        }
    }
}

impl Record {
    /// A finding as it is written; `access` makes its accesses.
    pub fn finding(
        window: u32,
        number: usize,
        finding: &Finding,
        access: impl Fn(&model::Access) -> Access,
    ) -> Record {
        Record::Finding {
            window,
            number,
            kind: finding.kind,
            line: finding.line,
            earlier: access(&finding.earlier).into(),
            later: access(&finding.later).into(),
            story: finding.story.iter().map(access).collect(),
        }
    }

    /// The line, with its end.
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("a record is plain data") + "\n"
    }
}

fn hex<S: Serializer>(number: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{number:#x}"))
}

fn maybe_hex<S: Serializer>(number: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
    match number {
        Some(number) => hex(number, to),
        None => to.serialize_none(),
    }
}

fn word<S: Serializer>(kind: &Kind, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(match kind {
        Kind::DirtyElsewhere => "dirty-elsewhere",
        Kind::LostWrite => "lost-write",
        Kind::StaleCopy => "stale-copy",
    })
}

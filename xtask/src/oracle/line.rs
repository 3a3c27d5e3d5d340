// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the plugin writes, a line of JSON each. Fields that are not named here are none of the lab's.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Depth;
use super::config::Cache;
use crate::target::ModelArch;

/// A line of [`FINDINGS`](super::FINDINGS).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Line {
    /// The plugin is there.
    Hello(Hello),
    /// The plugin does not trust itself and has stopped.
    Refused {
        /// Why.
        why: String,
    },
    /// A window opened: what is found from here on belongs to it.
    Window {
        /// Its number.
        id: u32,
    },
    /// An address whose page is known.
    Known(Known),
    /// An access that may get stale data.
    Finding(Box<Finding>),
    /// A window closed.
    End(End),
}

/// What the plugin says it models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// Version of the plugin.
    pub version: String,
    /// The table of instructions.
    pub arch: ModelArch,
    /// The cache.
    pub cache: Cache,
    /// Whose accesses.
    pub depth: Depth,
}

/// An address whose page is known, to see whether the plugin gets the right one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// Virtual address.
    #[serde(rename = "virtual")]
    pub address: Hex,
    /// Its physical address, as QEMU has it; none where QEMU has none.
    pub physical: Option<Hex>,
    /// Its physical address, as the guest has it.
    pub said: Hex,
}

/// Two accesses to a line, of which the later may get, or leave, stale data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// The window it is from.
    pub window: u32,
    /// Its number among those of the window.
    pub number: u32,
    /// What may go wrong.
    pub kind: Kind,
    /// Physical address of the line.
    pub line: Hex,
    /// The access that left the line in a state.
    pub earlier: Access,
    /// The access that this state is bad for.
    pub later: Access,
    /// The last accesses to the line, in order.
    pub story: Vec<Access>,
}

impl Finding {
    /// The story, with the earlier access in its place where the story leaves it out: it may be older than all that is
    /// kept, or one more store to a dirty line.
    pub(crate) fn accesses(&self) -> Vec<&Access> {
        let mut accesses: Vec<&Access> = self.story.iter().collect();
        let place = accesses.partition_point(|access| access.at < self.earlier.at);
        let told = accesses
            .get(place)
            .is_some_and(|access| access.at == self.earlier.at);
        if !told {
            accesses.insert(place, &self.earlier);
        }
        accesses
    }
}

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// The line is dirty under another colour: what is there is not seen.
    DirtyElsewhere,
    /// The line is dirty under two colours: one is written back over the other.
    LostWrite,
    /// A copy of the line is older than what memory holds.
    StaleCopy,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::DirtyElsewhere => "dirty-elsewhere",
            Kind::LostWrite => "lost-write",
            Kind::StaleCopy => "stale-copy",
        })
    }
}

/// An access to a line, or something done to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Access {
    /// Its place in the order of all accesses of the boot.
    pub at: u64,
    /// What it was.
    pub op: Op,
    /// Who it was.
    pub by: By,
    /// Which address space, where that is known.
    pub space: Option<Hex>,
    /// Virtual address.
    #[serde(rename = "virtual")]
    pub address: Hex,
    /// Physical address.
    pub physical: Hex,
    /// Bytes.
    pub size: u64,
    /// Which colour the virtual address has, from 0; none where there are none, or the access goes past the cache.
    pub colour: Option<u64>,
    /// Address of the instruction.
    pub pc: Hex,
    /// `function+offset` of the instruction, where that is known.
    pub symbol: Option<String>,
}

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Op {
    /// Reads.
    Load,
    /// Writes.
    Store,
    /// Writes the line back and leaves it in the cache.
    Clean,
    /// Drops the line.
    Invalidate,
    /// Writes the line back and drops it.
    Flush,
}

impl Op {
    /// `load`, as in a table.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Op::Load => "load",
            Op::Store => "store",
            Op::Clean => "clean",
            Op::Invalidate => "invalidate",
            Op::Flush => "flush",
        }
    }
}

/// Whose access it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    /// A process's.
    Process,
    /// The kernel's.
    Kernel,
}

impl By {
    /// `process`, as in a table.
    pub(crate) fn word(self) -> &'static str {
        match self {
            By::Process => "process",
            By::Kernel => "kernel",
        }
    }
}

/// The end of a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    /// Its number.
    pub window: u32,
    /// Findings, each as often as it was found.
    pub findings: u64,
    /// Findings that differ; the first of them were written.
    pub distinct: u64,
    /// How often each that was written was found, by its number.
    pub repeats: Vec<u64>,
    /// Accesses that were modelled.
    pub accesses: u64,
}

/// A number that is written as `0x1f`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hex(pub u64);

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
        number
            .map(Self)
            .ok_or_else(|| de::Error::custom(format!("{text:?} is no number such as \"0x1f\"")))
    }
}

/// Lines as the plugin writes them, for tests.
#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const HELLO: &str = r#"{"hello":{"version":"0.1.0","api":4,"arch":"arm","cache":{"kind":"vipt","period":16384,"line":32,"write":"back"},"depth":"user"}}"#;
    pub(crate) const KNOWN: &str =
        r#"{"known":{"virtual":"0xb6ff1000","physical":"0x4c3f000","said":"0x4c3f000"}}"#;

    /// A window with nothing in it.
    pub(crate) fn quiet(id: u32) -> String {
        format!("{}\n{}", opened(id), ended(id, 0))
    }

    pub(crate) fn opened(id: u32) -> String {
        format!(r#"{{"window":{{"id":{id}}}}}"#)
    }

    pub(crate) fn ended(id: u32, findings: u64) -> String {
        let repeats = match findings {
            0 => "[]".into(),
            findings => format!("[{findings}]"),
        };
        format!(
            r#"{{"end":{{"window":{id},"findings":{findings},"distinct":{},"repeats":{repeats},"accesses":12345}}}}"#,
            findings.min(1)
        )
    }

    /// A client reads through another colour what the server has just stored.
    pub(crate) fn found(window: u32, number: u32) -> String {
        let access = |at: u64, op: &str, by: &str, address: &str, colour: u64, symbol: &str| {
            format!(
                r#"{{"at":{at},"op":"{op}","by":"{by}","space":"0x5a4c000","virtual":"{address}","physical":"0x4c3f020","size":4,"colour":{colour},"pc":"0x10a34","symbol":{symbol}}}"#
            )
        };
        let zeroed = access(
            1201,
            "store",
            "kernel",
            "0xc4c3f020",
            3,
            r#""clear_page+0x10""#,
        );
        let flushed = access(
            1207,
            "flush",
            "kernel",
            "0xc4c3f020",
            3,
            r#""v6_flush_kern_dcache_area+0x8""#,
        );
        let earlier = access(1300, "store", "process", "0x40013020", 3, "null");
        let later = access(1302, "load", "process", "0x40012020", 2, "null");
        format!(
            r#"{{"finding":{{"window":{window},"number":{number},"kind":"dirty-elsewhere","line":"0x4c3f020","earlier":{earlier},"later":{later},"story":[{zeroed},{flushed},{earlier},{later}]}}}}"#
        )
    }

    /// The finding of [`found`].
    pub(crate) fn finding(window: u32, number: u32) -> Finding {
        match serde_json::from_str(&found(window, number)) {
            Ok(Line::Finding(finding)) => *finding,
            other => panic!("{other:?} is no finding"),
        }
    }

    /// All that is written before the first case of a boot that can be trusted.
    pub(crate) fn trusted() -> String {
        let planted = [opened(2), found(2, 1), ended(2, 17)].join("\n");
        let lines = [
            HELLO.into(),
            opened(0),
            KNOWN.into(),
            ended(0, 0),
            quiet(1),
            planted,
        ];
        lines.join("\n") + "\n"
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let text = format!(
            "{}{}\n{{\"refused\":{{\"why\":\"no TTBR0\"}}}}",
            trusted(),
            found(16, 1)
        );
        for line in text.lines() {
            let read: Line = serde_json::from_str(line).unwrap();
            let again: Line = serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
            assert_eq!(read, again);
        }
        let finding = finding(18, 2);
        assert_eq!((finding.window, finding.number), (18, 2));
        assert_eq!(finding.line, Hex(0x4c3f020));
        assert_eq!(finding.later, finding.story[3]);
    }

    #[test]
    fn the_earlier_access_stands_where_it_was() {
        let mut finding = finding(18, 2);
        let at = |finding: &Finding| -> Vec<u64> {
            let accesses = finding.accesses();
            accesses.iter().map(|access| access.at).collect()
        };
        let told = at(&finding);
        assert!(told.is_sorted(), "{told:?}");
        let left_out = finding.story.remove(2);
        assert_eq!(left_out, finding.earlier);
        assert_eq!(at(&finding), told);
        finding.earlier.at = 1;
        assert_eq!(at(&finding)[0], 1);
    }

    #[test]
    fn what_is_no_such_line_is_no_line() {
        let wrong = [
            r#"{"hallo":{"version":"0.1.0"}}"#,
            r#"{"window":{"id":-1}}"#,
            r#"{"known":{"virtual":"b6ff1000","physical":null,"said":"0x0"}}"#,
            r#"{"end":{"window":1,"findings":0}}"#,
        ];
        for line in wrong {
            serde_json::from_str::<Line>(line).unwrap_err();
        }
    }
}

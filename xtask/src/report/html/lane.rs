// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lanes: the copies of a line that the cache keeps apart, and how each is painted.

use std::fmt;

use crate::oracle::Config;
use crate::oracle::files::Story;
use crate::oracle::line::{Access, By, Hex, Op};
use crate::target::CacheKind;
use crate::text::words::bytes;

/// Colours that people with any kind of sight tell apart, by their number in `style.css`: those of Okabe and Ito
/// ("Color Universal Design", 2008) without black. More lanes than that share some; each has its name beside it.
const HUES: usize = 7;

/// Where in the cache an access goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// Copies of this colour.
    Colour(u64),
    /// Copies of this virtual page: where tags are virtual, no two addresses agree.
    Page(Hex),
    /// Round the cache.
    Around,
}

impl Lane {
    /// The lane of an access, given what was modelled.
    pub(super) fn of(access: &Access, config: &Config) -> Self {
        match (access.colour, config.cache.kind) {
            (Some(colour), _) => Self::Colour(colour),
            (None, CacheKind::Vivt) => {
                Self::Page(Hex(access.address.0 / config.page * config.page))
            }
            (None, _) => Self::Around,
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Colour(colour) => write!(f, "colour {colour}"),
            Self::Page(page) => write!(f, "page {page}"),
            Self::Around => f.write_str("round the cache"),
        }
    }
}

/// The lanes of some stories, each with the class that paints it.
pub(super) struct Palette(Vec<Lane>);

impl Palette {
    /// For everything in `stories`, so that a colour looks the same in all their drawings.
    pub(super) fn of<'a>(stories: impl IntoIterator<Item = &'a Story>) -> Self {
        let lanes = stories.into_iter().flat_map(|story| {
            let accesses = story.finding.accesses();
            accesses
                .into_iter()
                .map(|access| Lane::of(access, &story.config))
        });
        let mut lanes: Vec<Lane> = lanes.collect();
        lanes.sort();
        lanes.dedup();
        Self(lanes)
    }

    /// The lanes, in order.
    pub(super) fn lanes(&self) -> &[Lane] {
        &self.0
    }

    /// The class that paints `lane`.
    pub(super) fn class(&self, lane: Lane) -> String {
        match (lane, self.0.iter().position(|known| *known == lane)) {
            (Lane::Around, _) | (_, None) => "lane around".into(),
            (_, Some(at)) => format!("lane hue{}", at % HUES),
        }
    }
}

/// All there is to an access, for whoever points at its mark: `1302: load by process, 4 bytes at 0x40012020 ...`.
pub(super) fn tooltip(access: &Access, lane: Lane) -> String {
    let Access {
        at,
        size,
        address,
        physical,
        pc,
        ..
    } = access;
    let (op, by) = (access.op.word(), access.by.word());
    let place = match &access.symbol {
        Some(symbol) => format!("pc {pc}, {symbol}"),
        None => format!("pc {pc}"),
    };
    let size = bytes(*size);
    format!("{at}: {op} by {by}, {size} at {address} (physical {physical}), {lane}, {place}")
}

/// The letter inside a mark.
pub(super) fn letter(op: Op) -> char {
    match op {
        Op::Load => 'L',
        Op::Store => 'S',
        Op::Clean => 'C',
        Op::Invalidate => 'I',
        Op::Flush => 'F',
    }
}

/// The class of a mark by what it does: a store is filled.
pub(super) fn class_of_op(op: Op) -> &'static str {
    match op {
        Op::Store => "mark filled",
        _ => "mark",
    }
}

/// Whether a mark is a circle, which is a process; the kernel's is a square.
pub(super) fn is_round(by: By) -> bool {
    by == By::Process
}

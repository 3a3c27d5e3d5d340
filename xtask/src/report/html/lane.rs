// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lanes of a drawing, and their colours on the page. The cache can hold several copies of a line; each has a lane.

use std::fmt;

use crate::oracle::Config;
use crate::oracle::files::Story;
use crate::oracle::line::{Access, By, Hex, Op};
use crate::target::CacheKind;
use crate::text::words::bytes;

/// Number of colours in `style.css`. They are the colours of Okabe and Ito ("Color Universal Design", 2008) except
/// black. People with any kind of colour vision can distinguish them. If there are more lanes, some share a colour; the
/// name of the lane is always beside it.
const HUES: usize = 7;

/// Place in the cache that an access uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// Copies in this cache colour.
    Colour(u64),
    /// Copies of this virtual page. With virtual tags, each virtual address has a copy of its own.
    Page(Hex),
    /// Accesses that bypass the cache.
    Uncached,
}

impl Lane {
    /// Returns the lane of an access to the modelled cache.
    pub(super) fn of(access: &Access, config: &Config) -> Self {
        match (access.colour, config.cache.kind) {
            (Some(colour), _) => Self::Colour(colour),
            (None, CacheKind::Vivt) => {
                Self::Page(Hex(access.address.0 / config.page * config.page))
            }
            (None, _) => Self::Uncached,
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Colour(colour) => write!(f, "colour {colour}"),
            Self::Page(page) => write!(f, "page {page}"),
            Self::Uncached => f.write_str("uncached"),
        }
    }
}

/// Lanes of a set of stories in order, each with the CSS class that paints it.
pub(super) struct Palette(Vec<Lane>);

impl Palette {
    /// Collects the lanes of all `stories`, so that a lane has the same colour in all their drawings.
    pub(super) fn of<'a>(stories: impl IntoIterator<Item = &'a Story>) -> Self {
        let lanes = stories.into_iter().flat_map(|story| {
            story.finding.accesses().into_iter().map(|access| Lane::of(access, &story.config))
        });
        let mut lanes: Vec<Lane> = lanes.collect();
        lanes.sort();
        lanes.dedup();
        Self(lanes)
    }

    pub(super) fn lanes(&self) -> &[Lane] {
        &self.0
    }

    /// Returns the CSS class that paints `lane`.
    pub(super) fn class(&self, lane: Lane) -> String {
        match (lane, self.0.iter().position(|known| *known == lane)) {
            (Lane::Uncached, _) | (_, None) => "lane uncached".into(),
            (_, Some(at)) => format!("lane hue{}", at % HUES),
        }
    }
}

/// Returns the tooltip of an access: `1302: load by process, 4 bytes at 0x40012020 ...`.
pub(super) fn tooltip(access: &Access, lane: Lane) -> String {
    let Access { at, size, address, physical, pc, .. } = access;
    let (op, by) = (access.op.word(), access.by.word());
    let place = match &access.symbol {
        Some(symbol) => format!("pc {pc}, {symbol}"),
        None => format!("pc {pc}"),
    };
    let size = bytes(*size);
    format!("{at}: {op} by {by}, {size} at {address} (physical {physical}), {lane}, {place}")
}

/// Returns the letter that stands for an operation in a mark.
pub(super) fn letter(op: Op) -> char {
    match op {
        Op::Load => 'L',
        Op::Store => 'S',
        Op::Clean => 'C',
        Op::Invalidate => 'I',
        Op::Flush => 'F',
    }
}

/// Returns the CSS class of an operation's mark. Stores are filled.
pub(super) fn class_of_op(op: Op) -> &'static str {
    match op {
        Op::Store => "mark filled",
        _ => "mark",
    }
}

/// Returns true if the mark is a circle: a process. The kernel's marks are squares.
pub(super) fn is_round(by: By) -> bool {
    by == By::Process
}

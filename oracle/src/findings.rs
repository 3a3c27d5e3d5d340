// SPDX-License-Identifier: GPL-2.0-or-later
//! Converts findings of the model to the form in which the plugin writes them.

use oracle_wire::config::{Arch, Cache, CacheKind};
use oracle_wire::message::{self, Hex, Mapping, Message};

use crate::model::{Access, By, Finding};
use crate::trace::Process;

/// Returns the message for `finding`; `access` converts its accesses.
pub fn message(
    window: u32,
    number: u32,
    finding: &Finding,
    access: impl Fn(&Access) -> message::Access,
) -> Message {
    Message::Finding(Box::new(message::Finding {
        window,
        number,
        kind: finding.kind,
        line: Hex(finding.line),
        earlier: access(&finding.earlier),
        later: access(&finding.later),
        story: finding.story.iter().map(access).collect(),
    }))
}

/// Converts an access to the address space `space`. `plain` converts an address from QEMU to the form that programs of
/// the guest use, and `name` returns the name of a place in the kernel. `callers` are the calls that led to the access,
/// innermost first, `process` is the process that ran, and `mapping` contains the address.
pub fn access(
    access: &Access,
    (arch, cache): (Arch, &Cache),
    space: Option<u64>,
    plain: impl Fn(u64) -> u64,
    name: impl Fn(u64) -> Option<String>,
    (callers, process): (&[u64], Option<&Process>),
    mapping: Option<Mapping>,
) -> message::Access {
    let mut access = message::Access {
        at: access.at,
        op: access.op,
        by: access.by,
        space: space.map(Hex),
        address: Hex(plain(access.address)),
        physical: Hex(access.physical),
        size: access.size,
        colour: access.place.filter(|_| cache.kind == CacheKind::Vipt),
        pc: Hex(plain(access.pc)),
        symbol: match access.by {
            By::Kernel => name(access.pc),
            By::Process => None,
        },
        callers: callers
            .iter()
            .map(|site| message::Frame { pc: Hex(plain(*site)), symbol: name(plain(*site)) })
            .collect(),
        culprit: None,
        process: process
            .map(|process| message::Process { id: process.id, name: process.name.clone() }),
        mapping,
    };
    access.culprit = access.find_culprit(arch).map(str::to_owned);
    access
}

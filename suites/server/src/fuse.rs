// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is special to a mounted filesystem: the mount and its first request.

use sys::MountFlags;

use crate::abi::{BIG_WRITES, DMMAP, INIT_EXT, InitIn, InitOut, MAJOR, MAX_PAGES, MINOR};
use crate::channel::{Channel, IO_MAX, Request};
use crate::session::{ServerError, Session, get};

/// Mounts the filesystem behind `channel` at directory `at`.
pub(crate) fn mount(channel: &Channel, at: &str) -> sys::Result<()> {
    // Octal: the root is a directory.
    let options = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,allow_other",
        channel.fd().number()
    );
    let flags = MountFlags::NO_SUID | MountFlags::NO_DEV;
    sys::mount("dmmap", at, "fuse", flags, &options)
}

/// FUSE_INIT: takes what is needed of the kernel's offer.
pub(crate) fn init(session: &mut Session, request: &Request) -> Result<(), ServerError> {
    let offer: InitIn = get(request)?;
    let offered = u64::from(offer.flags) | u64::from(offer.flags2) << 32;
    session.seen.offered = offered & DMMAP != 0;
    session.seen.period = offer.dmmap_period;
    session.dmmap = session.seen.offered && session.behaviour.dmmap;

    let wanted = BIG_WRITES | MAX_PAGES | INIT_EXT | if session.dmmap { DMMAP } else { 0 };
    let taken = wanted & offered;
    let mut writer = session.channel.writer();
    writer.put(&InitOut {
        major: MAJOR,
        minor: MINOR.min(offer.minor),
        max_readahead: offer.max_readahead,
        flags: taken as u32,
        max_background: 12,
        congestion_threshold: 9,
        max_write: IO_MAX as u32,
        time_gran: 1,
        max_pages: (IO_MAX / sys::page_size()) as u16,
        flags2: (taken >> 32) as u32,
        ..InitOut::default()
    });
    Ok(session.channel.reply(request, &writer.into_bytes())?)
}

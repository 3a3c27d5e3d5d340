// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mount and initialisation of a FUSE filesystem.

use sys::MountFlags;

use crate::abi::{
    ASYNC_READ, BIG_WRITES, DMMAP, DMMAP_LAZY, DMMAP_LOAD_SAVE, INIT_EXT, InitIn, InitOut, MAJOR,
    MAX_PAGES, MINOR,
};
use crate::channel::{Channel, IO_MAX, Request};
use crate::session::{ServerError, Session, decode};

/// Mounts the filesystem behind `channel` at directory `at`.
pub(crate) fn mount(channel: &Channel, at: &str) -> sys::Result<()> {
    // rootmode is octal: 40000 is S_IFDIR.
    let options =
        format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", channel.fd().number());
    sys::mount("dmmap", at, "fuse", MountFlags::NO_SUID | MountFlags::NO_DEV, &options)
}

/// Answers FUSE_INIT, accepting those of the offered flags that the server needs.
pub(crate) fn init(session: &mut Session, request: &Request) -> Result<(), ServerError> {
    let offer: InitIn = decode(request)?;
    let offered = u64::from(offer.flags) | u64::from(offer.flags2) << 32;
    session.log.offered = offered & DMMAP != 0;
    session.log.load_save = offered & DMMAP_LOAD_SAVE != 0;
    session.log.period = offer.dmmap_period;
    session.dmmap = session.log.offered && session.behaviour.dmmap;

    let dmmap = if session.dmmap { DMMAP | DMMAP_LOAD_SAVE | DMMAP_LAZY } else { 0 };
    let wanted = ASYNC_READ | BIG_WRITES | MAX_PAGES | INIT_EXT | dmmap;
    let accepted = wanted & offered;
    let mut writer = session.channel.writer();
    writer.put(&InitOut {
        major: MAJOR,
        minor: MINOR.min(offer.minor),
        max_readahead: offer.max_readahead,
        flags: accepted as u32,
        max_background: 12,
        congestion_threshold: 9,
        max_write: IO_MAX as u32,
        time_gran: 1,
        max_pages: (IO_MAX / sys::page_size()) as u16,
        flags2: (accepted >> 32) as u32,
        ..InitOut::default()
    });
    Ok(session.channel.reply(request, &writer.into_bytes())?)
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Initialisation of a CUSE character device.

use crate::abi::{
    CUSE_DMMAP, CUSE_DMMAP_LAZY, CUSE_DMMAP_LOAD_SAVE, CuseInitIn, CuseInitOut, MAJOR, MINOR,
};
use crate::channel::{IO_MAX, Request};
use crate::session::{ServerError, Session, decode};

/// Answers CUSE_INIT with the name of the device. The kernel creates the device when it receives the reply.
pub(crate) fn init(
    session: &mut Session,
    request: &Request,
    name: &str,
) -> Result<(), ServerError> {
    let offer: CuseInitIn = decode(request)?;
    session.log.offered = offer.flags & CUSE_DMMAP != 0;
    session.log.load_save = offer.flags & CUSE_DMMAP_LOAD_SAVE != 0;
    session.log.period = offer.dmmap_period;
    session.dmmap = session.log.offered && session.behaviour.dmmap;

    let dmmap = CUSE_DMMAP | CUSE_DMMAP_LOAD_SAVE | CUSE_DMMAP_LAZY;
    let mut writer = session.channel.writer();
    writer.put(&CuseInitOut {
        major: MAJOR,
        minor: MINOR.min(offer.minor),
        flags: if session.dmmap { dmmap & offer.flags } else { 0 },
        max_read: IO_MAX as u32,
        max_write: IO_MAX as u32,
        ..CuseInitOut::default()
    });
    writer.put_bytes(format!("DEVNAME={name}\0").as_bytes());
    Ok(session.channel.reply(request, &writer.into_bytes())?)
}

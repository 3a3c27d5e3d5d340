// SPDX-License-Identifier: MIT OR Apache-2.0
//! Operations on the server's file, except those of direct mmap. A CUSE device is the same file without a directory.

use sys::Errno;

use crate::abi::{
    Attr, AttrOut, EntryOut, FOPEN_DIRECT_IO, FOPEN_DMMAP, IoIn, OpenOut, ROOT_ID, WriteOut, op,
};
use crate::channel::{IO_MAX, Request};
use crate::session::{Endpoint, ServerError, Session, decode};
use crate::wire;

/// Size of the file in bytes: two transfers of the maximum length.
pub(crate) const SIZE: usize = 2 * IO_MAX;

/// Node ID of the file.
const FILE_ID: u64 = 2;

/// Seconds for which the kernel can cache names and attributes. They never change, so this is practically for ever.
const CACHE_SECONDS: u64 = 1 << 30;

const DIRECTORY: u32 = 0o040_755;
const REGULAR: u32 = 0o100_666;

pub(crate) fn answer(session: &mut Session, request: &Request) -> Result<(), ServerError> {
    let body = match request.header.opcode {
        op::LOOKUP => lookup(session, request),
        op::GETATTR | op::SETATTR => Ok(attr_out(session, request.header.nodeid)),
        op::OPEN => Ok(open(session)),
        op::OPENDIR => Ok(wire::bytes(&OpenOut::default())),
        op::READ => Ok(read(session, &decode(request)?)),
        op::WRITE => write(session, request)?,
        op::READDIR => Ok(Vec::new()),
        op::RELEASE => {
            session.log.releases += 1;
            Ok(Vec::new())
        }
        op::FLUSH | op::FSYNC | op::RELEASEDIR | op::DESTROY => Ok(Vec::new()),
        // These have no reply.
        op::FORGET | op::BATCH_FORGET | op::INTERRUPT => return Ok(()),
        _ => Err(Errno::ENOSYS),
    };
    match body {
        Ok(body) => session.channel.reply(request, &body)?,
        Err(errno) => session.channel.refuse(request, errno)?,
    }
    Ok(())
}

fn attr(session: &Session, node: u64) -> Attr {
    let (mode, size, nlink) = match node {
        ROOT_ID => (DIRECTORY, 0, 2),
        _ => (REGULAR, session.content.len() as u64, 1),
    };
    Attr { ino: node, size, mode, nlink, blksize: sys::page_size() as u32, ..Attr::default() }
}

fn attr_out(session: &Session, node: u64) -> Vec<u8> {
    let reply =
        AttrOut { attr_valid: CACHE_SECONDS, attr: attr(session, node), ..AttrOut::default() };
    wire::bytes(&reply)
}

fn lookup(session: &Session, request: &Request) -> Result<Vec<u8>, Errno> {
    let name = request.body.strip_suffix(&[0]).unwrap_or(&request.body);
    if name != Session::FILE.as_bytes() {
        return Err(Errno::ENOENT);
    }
    let reply = EntryOut {
        nodeid: FILE_ID,
        entry_valid: CACHE_SECONDS,
        attr_valid: CACHE_SECONDS,
        attr: attr(session, FILE_ID),
        ..EntryOut::default()
    };
    Ok(wire::bytes(&reply))
}

fn open(session: &mut Session) -> Vec<u8> {
    session.log.opens += 1;
    // A device does not need the flag, because CUSE_INIT has negotiated direct mmap for the whole device. A FUSE server
    // that did not accept direct mmap sets the flag nevertheless: the kernel must ignore it.
    let dmmap = match session.endpoint {
        Endpoint::Fuse if !session.behaviour.ordinary => FOPEN_DMMAP,
        _ => 0,
    };
    let direct_io = if session.behaviour.cached { 0 } else { FOPEN_DIRECT_IO };
    let reply = OpenOut { fh: session.log.opens, open_flags: direct_io | dmmap, backing_id: 0 };
    wire::bytes(&reply)
}

/// Returns the part of `offset..offset + size` that lies within the file.
fn span(session: &Session, io: &IoIn) -> std::ops::Range<usize> {
    let len = session.content.len() as u64;
    let start = io.offset.min(len);
    let end = io.offset.saturating_add(u64::from(io.size)).min(len);
    start as usize..end as usize
}

fn read(session: &Session, io: &IoIn) -> Vec<u8> {
    session.content[span(session, io)].to_vec()
}

fn write(session: &mut Session, request: &Request) -> Result<Result<Vec<u8>, Errno>, ServerError> {
    let mut reader = request.reader();
    let io: IoIn = reader
        .get()
        .map_err(|short| ServerError::TooShort { opcode: request.header.opcode, short })?;
    let data = reader.rest();
    let span = span(session, &io);
    if span.is_empty() || data.len() < span.len() {
        return Ok(Err(Errno::ENOSPC));
    }
    let size = span.len();
    session.content[span].copy_from_slice(&data[..size]);
    let reply = WriteOut { size: size as u32, padding: 0 };
    Ok(Ok(wire::bytes(&reply)))
}

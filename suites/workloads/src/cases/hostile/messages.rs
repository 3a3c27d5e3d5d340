// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages that a server writes, right or wrong, and what the kernel says to them.

use server::abi::{LoadOut, MmapOut, notify, op};
use server::{Message, wire};
use sys::{Errno, page_size};

use crate::stage::command::Map;
use crate::stage::waiting::await_request;
use crate::stage::{Case, Client, Failure, Process, Server, expect};

/// The bit of `unique` that makes an answer one to the FUSE_INTERRUPT of the request (FUSE_INT_REQ_BIT).
pub(super) const INTERRUPT: u64 = 1;

/// The bit of `unique` that a request has when it comes again (FUSE_UNIQUE_RESEND).
pub(super) const AGAIN: u64 = 1 << 63;

/// What write(2) says to an answer that belongs to no request.
pub(super) const UNKNOWN: Result<(), Errno> = Err(Errno::ENOENT);

pub(super) fn mmap_out(page_id: u64, flags: u32, padding: u32) -> Vec<u8> {
    wire::bytes(&MmapOut {
        page_id,
        flags,
        padding,
    })
}

/// A client that has asked for two pages, and the request.
pub(super) struct Asked<'p> {
    pub(super) server: &'p mut Server,
    pub(super) client: &'p mut Client,
    pub(super) unique: u64,
}

impl<'p> Asked<'p> {
    pub(super) fn new(
        server: &'p mut Server,
        client: &'p mut Client,
    ) -> Result<Asked<'p>, Failure> {
        let before = server.seen()?.unique(op::MMAP);
        client.start_map(0, 2 * page_size())?;
        let unique = await_request(server, op::MMAP, before)?;
        Ok(Asked {
            server,
            client,
            unique,
        })
    }

    /// Answers, which has to be taken, and the client has to get this.
    pub(super) fn answer(
        self,
        what: &str,
        body: &[u8],
        errno: Option<Errno>,
    ) -> Result<Option<Map>, Failure> {
        let message = Message::answer(self.unique, body);
        expect_said(self.server, what, message, Ok(()))?;
        let map = self.client.finish_try_map()?;
        expect(&format!("mmap after {what}"), map.err(), errno)?;
        Ok(map.ok())
    }
}

/// Has the kernel touch the second page for the client; the request that waits for an answer.
pub(super) fn touch_second(
    server: &mut Server,
    client: &mut Client,
    map: Map,
) -> Result<u64, Failure> {
    let before = server.seen()?.unique(op::DMMAP_FAULT);
    client.start_probe(map, page_size())?;
    await_request(server, op::DMMAP_FAULT, before)
}

/// A process with the mappings of `client` whose touch is to fail: the kernel touches byte `at` for it. On sparc64 it gets
/// SIGBUS as well as EFAULT (arch/sparc/mm/fault_64.c, do_sparc64_fault), of which the Rust runtime survives one.
pub(super) fn start_to_fail(client: &mut Client, map: Map, at: usize) -> Result<Client, Failure> {
    let mut toucher = client.fork("toucher")?;
    toucher.start_probe(map, at)?;
    Ok(toucher)
}

/// A load that says it has `size` bytes, and has `comes`, all 0.
pub(super) fn load(page_id: u64, offset: u32, size: u32, comes: usize) -> Message {
    let head = LoadOut {
        page_id,
        offset,
        size,
    };
    let body = [wire::bytes(&head), vec![0; comes]].concat();
    Message::notification(notify::DMMAP_LOAD, &body)
}

/// A client can map the file, and the server loads what it sees.
pub(super) fn expect_serves(case: &Case, server: &mut Server) -> Result<(), Failure> {
    let page = page_size();
    let mut client = case.client("client", server)?;
    let map = client.map(0, page)?;
    let id = server.page_id(0)?;
    expect("a load", server.load_pages(id, 0, page, 6)?, Ok(()))?;
    client.verify(map, 0, page, 6)?;
    client.quit()
}

/// The kernel says `expected` to a message.
pub(super) fn expect_said(
    server: &mut Server,
    what: &str,
    message: Message,
    expected: Result<(), Errno>,
) -> Result<(), Failure> {
    let what = format!("write of {what}");
    expect(&what, server.write(message)?, expected)
}

/// The first page ID that is none: page cache indices end there (MAX_LFS_FILESIZE, and on 32-bit machines ULONG_MAX).
pub(super) fn id_end() -> u64 {
    let bytes = match usize::BITS {
        64 => i64::MAX as u64,
        _ => u64::from(u32::MAX),
    };
    bytes / page_size() as u64
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Valid and invalid messages of a server, and checks of the result of each write.

use server::abi::{LoadOut, MmapOut, notify, op};
use server::{Message, wire};
use sys::{Errno, page_size};

use crate::stage::command::Map;
use crate::stage::counters;
use crate::stage::failure::{Tried, expect_ok};
use crate::stage::waiting::await_request;
use crate::stage::{Case, Client, Failure, Process, Server, expect};

/// Bit of `unique` in an answer to the FUSE_INTERRUPT of a request: FUSE_INT_REQ_BIT.
pub(super) const INTERRUPT: u64 = 1;

/// Bit of `unique` that is set in a request that is sent again: FUSE_UNIQUE_RESEND.
pub(super) const RESENT: u64 = 1 << 63;

/// Result of write(2) for an answer that belongs to no request.
pub(super) const UNKNOWN: Result<(), Errno> = Err(Errno::ENOENT);

/// Returns the body of an answer to FUSE_MMAP.
pub(super) fn mmap_out(page_id: u64, flags: u32, padding: u32) -> Vec<u8> {
    wire::bytes(&MmapOut { page_id, flags, padding })
}

/// A FUSE_MMAP of two pages that the server holds, and the client that waits for the answer.
pub(super) struct PendingMmap<'p> {
    pub(super) server: &'p mut Server,
    pub(super) client: &'p mut Client,
    pub(super) unique: u64,
}

impl<'p> PendingMmap<'p> {
    pub(super) fn new(
        server: &'p mut Server,
        client: &'p mut Client,
    ) -> Result<PendingMmap<'p>, Failure> {
        let before = server.log()?.unique(op::MMAP);
        client.start_map(0, 2 * page_size())?;
        let unique = await_request(server, op::MMAP, before)?;
        Ok(PendingMmap { server, client, unique })
    }

    /// Answers the request. write(2) must accept the answer. Returns the result of mmap.
    pub(super) fn answer(self, what: &str, body: &[u8]) -> Tried<Map> {
        expect_write(self.server, what, Message::answer(self.unique, body), Ok(()))?;
        self.client.finish_try_map()
    }

    /// Does [`PendingMmap::answer`]. mmap must succeed.
    pub(super) fn accept(self, what: &str, body: &[u8]) -> Result<Map, Failure> {
        let map = self.answer(what, body)?;
        expect_ok(&format!("mmap after {what}"), map)
    }
}

/// Has the kernel touch the second page on behalf of the client. Returns the `unique` of the FUSE_DMMAP_FAULT that
/// waits for an answer.
pub(super) fn touch_second(
    server: &mut Server,
    client: &mut Client,
    map: Map,
) -> Result<u64, Failure> {
    let before = server.log()?.unique(op::DMMAP_FAULT);
    client.start_probe(map, page_size())?;
    await_request(server, op::DMMAP_FAULT, before)
}

/// Forks a process that has the mappings of `client`, and has the kernel touch byte `at` on its behalf. The touch is
/// expected to fail. On sparc64 the process gets SIGBUS as well as EFAULT (arch/sparc/mm/fault_64.c, do_sparc64_fault),
/// and the Rust runtime survives only one.
pub(super) fn start_failing_touch(
    client: &mut Client,
    map: Map,
    at: usize,
) -> Result<Client, Failure> {
    let mut toucher = client.fork("toucher")?;
    toucher.start_probe(map, at)?;
    Ok(toucher)
}

/// Returns a load whose header says `size` bytes, followed by `len` zero bytes.
pub(super) fn load(page_id: u64, offset: u32, size: u32, len: usize) -> Message {
    let body = [wire::bytes(&LoadOut { page_id, offset, size }), vec![0; len]].concat();
    Message::notification(notify::DMMAP_LOAD, &body)
}

/// Fails unless a client can map the file and sees what the server stores.
pub(super) fn expect_serves(case: &Case, server: &mut Server) -> Result<(), Failure> {
    let page = page_size();
    let mut client = case.client("client", server)?;
    let map = client.map(0, page)?;
    let view = server.map_pages(server.page_id(0)?, 1)?;
    server.fill(view, 0, page, 6)?;
    client.verify(map, 0, page, 6)?;
    server.unmap(view)?;
    client.quit()
}

/// Fails unless write(2) of a message returns `expected`.
pub(super) fn expect_write(
    server: &mut Server,
    what: &str,
    message: Message,
    expected: Result<(), Errno>,
) -> Result<(), Failure> {
    expect(&format!("write of {what}"), server.write(message)?, expected)
}

/// Returns true if the kernel has 64 bits. This program can have 32 nevertheless.
pub(super) fn kernel_has_64_bits() -> Result<bool, Failure> {
    Ok(counters::read("/sys/kernel/address_bits")? == 64)
}

/// Returns the first invalid page ID. Page IDs are page cache indices, which end at MAX_LFS_FILESIZE, or with a 32-bit
/// kernel at ULONG_MAX.
pub(super) fn first_invalid_id() -> Result<u64, Failure> {
    let bytes = match kernel_has_64_bits()? {
        true => i64::MAX as u64,
        false => u64::from(u32::MAX),
    };
    Ok(bytes / page_size() as u64)
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lazy pages: the server fills each page from its file on the first touch, and saves the page to the file when the
//! kernel reclaims or frees it. A mapping therefore shows the same content as read(2).

use sys::{Errno, poll};

use crate::abi::{LoadOut, NotifyReplyIn, PageRange, SaveOut, notify, op};
use crate::behaviour::{OnFault, OnReclaim};
use crate::channel::Request;
use crate::session::{ServerError, Session, decode};
use crate::wire::{self, Field};

impl Session {
    /// Writes `bytes` to the pages of the connection, starting at byte `offset` of page `page_id`.
    ///
    /// # Errors
    /// Fails with the kernel's error number: `ENXIO` if a page is not mapped anywhere, `ENOSPC` if a limit is reached.
    pub fn load(&self, page_id: u64, offset: u32, bytes: &[u8]) -> sys::Result<()> {
        let mut writer = self.channel.writer();
        writer.put(&LoadOut { page_id, offset, size: bytes.len() as u32 });
        writer.put_bytes(bytes);
        self.channel.notify(notify::DMMAP_LOAD, &writer.into_bytes())
    }

    /// Reads up to `size` bytes from the pages of the connection, starting at byte `offset` of page `page_id`. Returns
    /// fewer bytes if a page does not exist. Answers other requests while it waits for the data.
    ///
    /// # Errors
    /// Fails with the kernel's error number.
    pub fn save(&mut self, page_id: u64, offset: u32, size: u32) -> Result<Vec<u8>, ServerError> {
        self.saves += 1;
        let notify_unique = self.saves;
        let body = wire::bytes(&SaveOut { notify_unique, page_id, offset, size });
        self.channel.notify(notify::DMMAP_SAVE, &body)?;
        // Answering another request can call `save` recursively, and the inner call can receive this reply.
        loop {
            if let Some(bytes) = self.saved.remove(&notify_unique) {
                return Ok(bytes);
            }
            poll(&[self.channel.fd()], None)?;
            if let Some(request) = self.channel.receive()? {
                self.handle(&request)?;
            }
        }
    }

    pub(crate) fn on_notify_reply(&mut self, request: &Request) -> Result<(), ServerError> {
        let head: NotifyReplyIn = decode(request)?;
        let bytes = request.body.get(NotifyReplyIn::SIZE..).unwrap_or_default();
        let bytes = &bytes[..bytes.len().min(head.size as usize)];
        self.saved.insert(request.header.unique, bytes.to_vec());
        Ok(())
    }

    /// Frees pages, even if clients map them.
    ///
    /// # Errors
    /// Fails with the kernel's error number: `EBUSY` while the kernel waits for a reply about one of the pages.
    pub fn free(&self, page_id: u64, count: u64) -> sys::Result<()> {
        self.channel.notify(notify::DMMAP_FREE, &wire::bytes(&PageRange { page_id, count }))
    }

    /// Saves each existing page of `pages` to the file.
    pub(crate) fn save_to_file(&mut self, pages: &PageRange) -> Result<(), ServerError> {
        let page_size = sys::page_size();
        for page_id in pages.page_id..pages.page_id + pages.count {
            let Some(offset) = self.behaviour.mmap.offset(page_id, page_size as u64) else {
                continue;
            };
            if self.is_being_filled(page_id) {
                continue;
            }
            let bytes = self.save(page_id, 0, page_size as u32)?;
            let start = offset as usize;
            if let Some(there) = self.content.get_mut(start..start + bytes.len()) {
                there.copy_from_slice(&bytes);
            }
        }
        Ok(())
    }

    /// Returns true if a client waits for the content of the page, so that the page has no content to save yet.
    fn is_being_filled(&self, page_id: u64) -> bool {
        let faults = self.held.iter().filter(|held| held.header.opcode == op::DMMAP_FAULT);
        faults.filter_map(|held| held.get::<PageRange>().ok()).any(|pages| pages.page_id == page_id)
    }

    pub(crate) fn on_fault(&mut self, request: &Request) -> Result<(), ServerError> {
        let pages: PageRange = decode(request)?;
        self.log.fault(&pages);
        self.answer_fault(request, &pages)
    }

    pub(crate) fn answer_fault(
        &mut self,
        request: &Request,
        pages: &PageRange,
    ) -> Result<(), ServerError> {
        match self.behaviour.lazy.map(|lazy| lazy.fault) {
            Some(OnFault::Hold { below }) if pages.page_id < below => self.hold(request),
            Some(OnFault::Refuse { errno }) => self.refuse_with(request, errno)?,
            Some(OnFault::LeaveZeros) | None => self.channel.reply(request, &[])?,
            Some(OnFault::Fill | OnFault::Hold { .. }) => {
                self.load_from_file(pages.page_id)?;
                self.channel.reply(request, &[])?;
            }
        }
        Ok(())
    }

    fn load_from_file(&self, page_id: u64) -> Result<(), ServerError> {
        let page_size = sys::page_size();
        let offset = self.behaviour.mmap.offset(page_id, page_size as u64);
        let Some(bytes) = offset.and_then(|start| {
            let start = start as usize;
            self.content.get(start..start + page_size)
        }) else {
            return Ok(());
        };
        match self.load(page_id, 0, bytes) {
            // ENXIO: the client that touched the page has unmapped it or has died.
            Err(error) if error.errno == Errno::ENXIO => Ok(()),
            other => Ok(other?),
        }
    }

    pub(crate) fn on_reclaim(&mut self, request: &Request) -> Result<(), ServerError> {
        let pages: PageRange = decode(request)?;
        self.log.reclaim(&pages);
        self.answer_reclaim(request, &pages)
    }

    pub(crate) fn answer_reclaim(
        &mut self,
        request: &Request,
        pages: &PageRange,
    ) -> Result<(), ServerError> {
        match self.behaviour.lazy.map(|lazy| lazy.reclaim) {
            Some(OnReclaim::Hold) => self.hold(request),
            Some(OnReclaim::Refuse { errno }) => self.refuse_with(request, errno)?,
            Some(OnReclaim::Discard) | None => self.channel.reply(request, &[])?,
            Some(OnReclaim::Save) => {
                self.save_to_file(pages)?;
                self.channel.reply(request, &[])?;
            }
        }
        Ok(())
    }
}

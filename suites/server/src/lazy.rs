// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pages that the server fills when they are touched and saves before they go: mapped, its file is the same file as read.

use sys::{Errno, poll};

use crate::abi::{LoadOut, NotifyReplyIn, Pages, SaveOut, notify, op};
use crate::behaviour::{OnFault, OnReclaim};
use crate::channel::Request;
use crate::session::{ServerError, Session, get};
use crate::wire::{self, Field};

impl Session {
    /// Writes `bytes` from byte `offset` of page `page_id` on.
    ///
    /// # Errors
    /// What the kernel says: `ENXIO` for a page that nobody maps, `ENOSPC` at a limit.
    pub fn load(&self, page_id: u64, offset: u32, bytes: &[u8]) -> sys::Result<()> {
        let mut writer = self.channel.writer();
        writer.put(&LoadOut {
            page_id,
            offset,
            size: bytes.len() as u32,
        });
        writer.put_bytes(bytes);
        self.channel
            .notify(notify::DMMAP_LOAD, &writer.into_bytes())
    }

    /// Reads up to `size` bytes from byte `offset` of page `page_id` on; fewer where a page does not exist. Answers
    /// other requests meanwhile.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn save(&mut self, page_id: u64, offset: u32, size: u32) -> Result<Vec<u8>, ServerError> {
        self.saves += 1;
        let notify_unique = self.saves;
        let body = wire::bytes(&SaveOut {
            notify_unique,
            page_id,
            offset,
            size,
        });
        self.channel.notify(notify::DMMAP_SAVE, &body)?;
        // What is answered meanwhile may save pages as well, and take this reply off the channel.
        loop {
            if let Some(bytes) = self.saved.remove(&notify_unique) {
                return Ok(bytes);
            }
            poll(&[self.channel.fd()], None)?;
            if let Some(request) = self.channel.receive()? {
                self.answer_or_note(&request)?;
            }
        }
    }

    pub(crate) fn on_notify_reply(&mut self, request: &Request) -> Result<(), ServerError> {
        let head: NotifyReplyIn = get(request)?;
        let bytes = request.body.get(NotifyReplyIn::SIZE..).unwrap_or_default();
        let bytes = &bytes[..bytes.len().min(head.size as usize)];
        self.saved.insert(request.header.unique, bytes.to_vec());
        Ok(())
    }

    /// Lets go of pages, whoever maps them.
    ///
    /// # Errors
    /// What the kernel says: `EBUSY` while it waits for an answer about one of them.
    pub fn free(&self, page_id: u64, count: u64) -> sys::Result<()> {
        let body = wire::bytes(&Pages { page_id, count });
        self.channel.notify(notify::DMMAP_FREE, &body)
    }

    /// Saves what there is of `pages` to the file.
    pub(crate) fn save_to_file(&mut self, pages: &Pages) -> Result<(), ServerError> {
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

    /// A client waits for what is in this page: what is there now is nothing yet.
    fn is_being_filled(&self, page_id: u64) -> bool {
        let faults = self
            .held
            .iter()
            .filter(|held| held.header.opcode == op::DMMAP_FAULT);
        faults
            .filter_map(|held| held.get::<Pages>().ok())
            .any(|pages| pages.page_id == page_id)
    }

    pub(crate) fn on_fault(&mut self, request: &Request) -> Result<(), ServerError> {
        let pages: Pages = get(request)?;
        self.seen.fault(&pages);
        self.answer_fault(request, &pages)
    }

    pub(crate) fn answer_fault(
        &mut self,
        request: &Request,
        pages: &Pages,
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
            // Who touched it has unmapped it meanwhile, or has died.
            Err(error) if error.errno == Errno::ENXIO => Ok(()),
            other => Ok(other?),
        }
    }

    pub(crate) fn on_reclaim(&mut self, request: &Request) -> Result<(), ServerError> {
        let pages: Pages = get(request)?;
        self.seen.reclaim(&pages);
        self.answer_reclaim(request, &pages)
    }

    pub(crate) fn answer_reclaim(
        &mut self,
        request: &Request,
        pages: &Pages,
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

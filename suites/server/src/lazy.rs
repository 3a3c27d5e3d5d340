// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lazy pages: the server fills each page from its file on the first touch, and saves the page to the file when the
//! kernel reclaims or frees it. A mapping therefore shows the same content as read(2).

use sys::{Errno, poll};

use crate::abi::{LoadOut, NotifyReplyIn, PageRange, SaveOut, notify};
use crate::behaviour::{OnFault, OnReclaim};
use crate::channel::Request;
use crate::session::{ServerError, Session, decode};
use crate::wire::{self, Field, TooShort};

impl Session {
    /// Writes `bytes` to the pages of the connection, starting at byte `offset` of page `page_id`.
    ///
    /// # Errors
    /// Fails with the kernel's error number: `ENXIO` if a page is not mapped anywhere, `ENOSPC` if a limit is reached.
    pub fn load(&mut self, page_id: u64, offset: u32, bytes: &[u8]) -> sys::Result<()> {
        let mut writer = self.channel.writer();
        writer.put(&LoadOut { page_id, offset, size: bytes.len() as u32 });
        writer.put_bytes(bytes);
        let loaded = self.channel.notify(notify::DMMAP_LOAD, &writer.into_bytes());
        let end = u64::from(offset) + bytes.len() as u64;
        let pages = page_id..page_id + end.div_ceil(sys::page_size() as u64);
        match loaded {
            Ok(()) => self.filled.extend(pages),
            // The kernel has written the pages before the first that it refused.
            Err(_) => self.filled.extend(pages.take_while(|page| self.maps.contains_key(page))),
        }
        loaded
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
        self.saving = true;
        let saved = self.receive_saved();
        self.saving = false;
        saved
    }

    fn receive_saved(&mut self) -> Result<Vec<u8>, ServerError> {
        loop {
            poll(&[self.channel.fd()], None)?;
            if let Some(request) = self.channel.receive()? {
                self.handle(&request)?;
            }
            if let Some(bytes) = self.saved.take() {
                return Ok(bytes);
            }
        }
    }

    pub(crate) fn on_notify_reply(&mut self, request: &Request) -> Result<(), ServerError> {
        let head: NotifyReplyIn = decode(request)?;
        let bytes = request.body.get(NotifyReplyIn::SIZE..).unwrap_or_default();
        let (need, have) = (head.size as usize, bytes.len());
        if have < need {
            let short = TooShort { need, have };
            return Err(ServerError::TooShort { opcode: request.header.opcode, short });
        }
        // Others reply to notifications that a case has written itself.
        if self.saving && request.header.unique == self.saves {
            self.saved = Some(bytes[..need].to_vec());
        }
        Ok(())
    }

    /// Frees pages, even if clients map them.
    ///
    /// # Errors
    /// Fails with the kernel's error number: `EBUSY` while the kernel waits for a reply about one of the pages.
    pub fn free(&mut self, page_id: u64, count: u64) -> sys::Result<()> {
        let body = wire::bytes(&PageRange { page_id, count });
        self.channel.notify(notify::DMMAP_FREE, &body)?;
        let end = page_id.saturating_add(count);
        self.filled.retain(|page| !(page_id..end).contains(page));
        Ok(())
    }

    /// Handles the end of a mapping of lazy pages: saves those that have content. The kernel keeps them until the server
    /// replies.
    pub(crate) fn save_unmapped(&mut self, pages: &PageRange) -> Result<(), ServerError> {
        self.save_to_file(pages, |session, page| session.filled.contains(&page))?;
        // Only now, because the mapping keeps its pages until the reply.
        self.end_mapping(pages);
        Ok(())
    }

    fn end_mapping(&mut self, pages: &PageRange) {
        self.count_maps(pages, |maps| maps.saturating_sub(1));
        for page in pages.page_id..pages.page_id.saturating_add(pages.count) {
            if !self.maps.contains_key(&page) {
                self.filled.remove(&page);
            }
        }
    }

    /// Returns true if the server has filled the page and has not given it back. A touch through the channel then finds
    /// this page. While no client maps the page, a touch of a missing page would create a page of zeros, and the next
    /// client would find that page instead of one that the server fills.
    pub fn is_filled(&self, page_id: u64) -> bool {
        self.filled.contains(&page_id)
    }

    /// Notes that the server maps pages of its channel from now on, so that they outlive the mappings of clients. A
    /// server of lazy pages that maps some of them without this call does not know which pages have content.
    pub fn note_own_mapping(&mut self, page_id: u64, count: u64) {
        self.count_maps(&PageRange { page_id, count }, |maps| maps + 1);
    }

    /// Notes that the server has ended the mapping of [`Session::note_own_mapping`].
    pub fn note_own_unmapping(&mut self, page_id: u64, count: u64) {
        self.end_mapping(&PageRange { page_id, count });
    }

    /// Changes the number of mappings of each page.
    pub(crate) fn count_maps(&mut self, pages: &PageRange, change: impl Fn(u64) -> u64) {
        for page in pages.page_id..pages.page_id.saturating_add(pages.count) {
            match change(self.maps.get(&page).copied().unwrap_or_default()) {
                0 => self.maps.remove(&page),
                maps => self.maps.insert(page, maps),
            };
        }
    }

    /// Saves those of `pages` to the file that exist, and for which `has_content` returns true. A page that a client has
    /// touched and that the server has not filled exists too, but has no content yet.
    fn save_to_file(
        &mut self,
        pages: &PageRange,
        has_content: impl Fn(&Session, u64) -> bool,
    ) -> Result<(), ServerError> {
        let page_size = sys::page_size();
        for page_id in pages.page_id..pages.page_id + pages.count {
            let Some(offset) = self.behaviour.mmap.offset(page_id, page_size as u64) else {
                continue;
            };
            if !has_content(self, page_id) {
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
            Some(OnFault::LeaveZeros) | None => {
                self.filled.insert(pages.page_id);
                self.channel.reply(request, &[])?;
            }
            Some(OnFault::Fill | OnFault::Hold { .. }) => {
                self.load_from_file(pages.page_id)?;
                self.channel.reply(request, &[])?;
            }
        }
        Ok(())
    }

    fn load_from_file(&mut self, page_id: u64) -> Result<(), ServerError> {
        let page_size = sys::page_size();
        let offset = self.behaviour.mmap.offset(page_id, page_size as u64);
        let Some(bytes) = offset.and_then(|start| {
            let start = start as usize;
            self.content.get(start..start + page_size).map(<[u8]>::to_vec)
        }) else {
            return Ok(());
        };
        match self.load(page_id, 0, &bytes) {
            // ENXIO: the client that touched the page has unmapped it or has died.
            Err(error) if error.errno == Errno::ENXIO => Ok(()),
            other => Ok(other?),
        }
    }

    /// Notes that the pages have no content any more.
    fn forget(&mut self, pages: &PageRange) {
        for page in pages.page_id..pages.page_id + pages.count {
            self.filled.remove(&page);
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
            Some(OnReclaim::Discard) | None => {
                self.forget(pages);
                self.channel.reply(request, &[])?;
            }
            Some(OnReclaim::Save) => {
                self.save_to_file(pages, |_, _| true)?;
                self.forget(pages);
                self.channel.reply(request, &[])?;
            }
        }
        Ok(())
    }
}

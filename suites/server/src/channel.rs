// SPDX-License-Identifier: MIT OR Apache-2.0
//! Channel of a connection: the descriptor of `/dev/fuse` or `/dev/cuse`, which carries requests and replies.

use sys::{Errno, Fd, Mapping, OpenFlags, Prot, Sharing};

use crate::abi::{InHeader, OutHeader};
use crate::message::Message;
use crate::wire::{ByteOrder, Field, Reader, TooShort, Writer};

/// Maximum length of the data of one read or write request, in bytes. The largest transfer of the suites needs it.
pub(crate) const IO_MAX: usize = 1 << 20;

/// Space in the buffer for the header and the struct before the data of a write. The kernel requires a buffer of at
/// least 8192 bytes (`FUSE_MIN_READ_BUFFER`).
const HEAD_ROOM: usize = 8192;

/// Request with a decoded header and a raw body.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) header: InHeader,
    pub(crate) body: Vec<u8>,
    order: ByteOrder,
}

impl Request {
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader::new(self.order, &self.body)
    }

    /// Decodes the struct at the start of the body.
    pub(crate) fn get<F: Field>(&self) -> Result<F, TooShort> {
        self.reader().get()
    }
}

/// Open descriptor of `/dev/fuse` or `/dev/cuse`. It is non-blocking: poll it before reading.
#[derive(Debug)]
pub struct Channel {
    /// `None` after [`Channel::close`].
    fd: Option<Fd>,
    order: ByteOrder,
    buffer: Vec<u8>,
}

impl Channel {
    /// Opens the device node at `path`.
    ///
    /// # Errors
    /// Fails as open(2).
    pub fn open(path: &str) -> sys::Result<Channel> {
        let flags = OpenFlags::READ | OpenFlags::WRITE | OpenFlags::NONBLOCK;
        Ok(Channel {
            fd: Some(Fd::open(path, flags)?),
            order: ByteOrder::of_kernel(),
            buffer: vec![0; IO_MAX + HEAD_ROOM],
        })
    }

    /// Returns the descriptor, to poll or to map.
    ///
    /// # Panics
    /// Panics if the channel is closed.
    pub fn fd(&self) -> &Fd {
        self.fd.as_ref().expect("the channel is open")
    }

    pub(crate) fn is_open(&self) -> bool {
        self.fd.is_some()
    }

    /// Closes the descriptor. Mappings of the channel remain.
    pub(crate) fn close(&mut self) {
        self.fd = None;
    }

    /// Returns a writer for the body of a message.
    pub(crate) fn writer(&self) -> Writer {
        Writer::new(self.order)
    }

    /// Reads the next request. Returns `None` if no request is pending.
    ///
    /// # Errors
    /// Fails as read(2): with `ENODEV` after the end of the connection. Fails with `EPROTO` if the message is shorter
    /// than a header.
    pub(crate) fn receive(&mut self) -> sys::Result<Option<Request>> {
        let fd = self.fd.as_ref().expect("the channel is open");
        let len = match fd.read(&mut self.buffer) {
            Ok(len) => len,
            // ENOENT: the request was cancelled while it was being read.
            Err(error) if matches!(error.errno, Errno::EAGAIN | Errno::ENOENT) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut reader = Reader::new(self.order, &self.buffer[..len]);
        let header: InHeader = reader.get().map_err(|short| sys::Error {
            what: format!("decode a request of {len} bytes ({short})"),
            errno: Errno::EPROTO,
        })?;
        Ok(Some(Request { header, body: reader.rest().to_vec(), order: self.order }))
    }

    /// Replies to a request.
    ///
    /// # Errors
    /// Fails as write(2): with `ENOENT` if nothing waits for the reply any more, and with `EINVAL` if the body has the
    /// wrong size.
    pub(crate) fn reply(&self, request: &Request, body: &[u8]) -> sys::Result<()> {
        self.send(request, 0, body)
    }

    /// Replies to a request with an error. Fails as [`Channel::reply`].
    pub(crate) fn refuse(&self, request: &Request, errno: Errno) -> sys::Result<()> {
        self.send(request, -errno.raw(), &[])
    }

    /// Sends a notification; `code` is one of [`crate::abi::notify`].
    ///
    /// # Errors
    /// Fails with the kernel's error number if the kernel rejects the notification.
    pub(crate) fn notify(&self, code: i32, body: &[u8]) -> sys::Result<()> {
        self.put(&header(0, code, body), body)
    }

    fn send(&self, request: &Request, error: i32, body: &[u8]) -> sys::Result<()> {
        self.put(&header(request.header.unique, error, body), body)
    }

    /// Writes a message, well-formed or not.
    ///
    /// # Errors
    /// Fails with the kernel's error number if the kernel rejects the message.
    pub fn write(&self, message: &Message) -> sys::Result<()> {
        let body = &message.body;
        let mut header = header(message.unique, message.error, body);
        header.len = header.len.wrapping_add_signed(message.len_excess);
        match message.unreadable_tail {
            0 => self.put(&header, body),
            tail => self.put_unreadable_tail(&self.bytes(&header, body), tail),
        }
    }

    fn put(&self, header: &OutHeader, body: &[u8]) -> sys::Result<()> {
        self.fd().write(&self.bytes(header, body)).map(drop)
    }

    fn bytes(&self, header: &OutHeader, body: &[u8]) -> Vec<u8> {
        let mut writer = self.writer();
        writer.put(header);
        writer.put_bytes(body);
        writer.into_bytes()
    }

    /// Writes `bytes`, at most a page, from a buffer whose last `tail` bytes the kernel cannot read: they lie in a
    /// page of a mapping beyond the end of its file.
    fn put_unreadable_tail(&self, bytes: &[u8], tail: usize) -> sys::Result<()> {
        let page = sys::page_size();
        let (readable, _) = bytes.split_at(bytes.len() - tail);
        let file = sys::memfd("message", page as u64)?;
        let memory = Mapping::of(&file, 0, 2 * page, Prot::ReadWrite, Sharing::Shared)?;
        memory.copy_in(page - readable.len(), readable);
        memory.write_to(page - readable.len(), bytes.len(), self.fd(), None)
    }
}

fn header(unique: u64, error: i32, body: &[u8]) -> OutHeader {
    OutHeader { len: (OutHeader::SIZE + body.len()) as u32, error, unique }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The descriptor of `/dev/fuse` or `/dev/cuse`: requests in, replies out.

use sys::{Errno, Fd, Mapping, OpenFlags, Prot, Sharing};

use crate::abi::{InHeader, OutHeader};
use crate::message::Message;
use crate::wire::{ByteOrder, Field, Reader, Short, Writer};

/// Longest write or read in one request, in bytes; what the largest exchange of the suites needs.
pub const IO_MAX: usize = 1 << 20;

/// Room for the header and the struct before the data of a write; the kernel insists on at least a page
/// (`FUSE_MIN_READ_BUFFER`).
const HEAD_ROOM: usize = 8192;

/// A request, still in bytes behind its header.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its header.
    pub header: InHeader,
    /// What follows the header.
    pub body: Vec<u8>,
    order: ByteOrder,
}

impl Request {
    /// Reads the body.
    pub fn reader(&self) -> Reader<'_> {
        Reader::new(self.order, &self.body)
    }

    /// The struct at the start of the body.
    ///
    /// # Errors
    /// [`Short`] where the body is shorter.
    pub fn get<F: Field>(&self) -> Result<F, Short> {
        self.reader().get()
    }
}

/// An open channel. It never waits: poll it first.
#[derive(Debug)]
pub struct Channel {
    /// `None` once it is closed.
    fd: Option<Fd>,
    order: ByteOrder,
    buffer: Vec<u8>,
}

impl Channel {
    /// Opens the node at `path`.
    ///
    /// # Errors
    /// What open(2) says.
    pub fn open(path: &str) -> sys::Result<Channel> {
        let flags = OpenFlags::READ | OpenFlags::WRITE | OpenFlags::NONBLOCK;
        Ok(Channel {
            fd: Some(Fd::open(path, flags)?),
            order: ByteOrder::of_kernel(),
            buffer: vec![0; IO_MAX + HEAD_ROOM],
        })
    }

    /// The descriptor, to poll or to map.
    ///
    /// # Panics
    /// It is closed.
    pub fn fd(&self) -> &Fd {
        self.fd.as_ref().expect("an open channel")
    }

    /// Not closed yet.
    pub fn is_open(&self) -> bool {
        self.fd.is_some()
    }

    /// Closes the descriptor; what is mapped stays.
    pub fn close(&mut self) {
        self.fd = None;
    }

    /// Starts a reply's body.
    pub fn writer(&self) -> Writer {
        Writer::new(self.order)
    }

    /// The next request; `None` where there is none just now.
    ///
    /// # Errors
    /// What read(2) says; `ENODEV` where the connection has ended. `EPROTO` for a message shorter than its header.
    pub fn receive(&mut self) -> sys::Result<Option<Request>> {
        let fd = self.fd.as_ref().expect("an open channel");
        let len = match fd.read(&mut self.buffer) {
            Ok(len) => len,
            // ENOENT: the request was taken back while it was being read.
            Err(error) if matches!(error.errno, Errno::EAGAIN | Errno::ENOENT) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut reader = Reader::new(self.order, &self.buffer[..len]);
        let header: InHeader = reader.get().map_err(|short| sys::Error {
            what: format!("take apart a request of {len} bytes ({short})"),
            errno: Errno::EPROTO,
        })?;
        Ok(Some(Request {
            header,
            body: reader.rest().to_vec(),
            order: self.order,
        }))
    }

    /// Answers a request.
    ///
    /// # Errors
    /// What write(2) says: `ENOENT` where nobody waits any more, `EINVAL` for a body of the wrong size.
    pub fn reply(&self, request: &Request, body: &[u8]) -> sys::Result<()> {
        self.send(request, 0, body)
    }

    /// Refuses a request.
    ///
    /// # Errors
    /// As [`Channel::reply`].
    pub fn refuse(&self, request: &Request, errno: Errno) -> sys::Result<()> {
        self.send(request, -errno.raw(), &[])
    }

    /// Tells the kernel something that it has not asked for: `code` is one of [`crate::abi::notify`].
    ///
    /// # Errors
    /// What write(2) says: what is wrong with the notification.
    pub fn notify(&self, code: i32, body: &[u8]) -> sys::Result<()> {
        self.put(&header(0, code, body), body)
    }

    fn send(&self, request: &Request, error: i32, body: &[u8]) -> sys::Result<()> {
        self.put(&header(request.header.unique, error, body), body)
    }

    /// Writes a message as it is.
    ///
    /// # Errors
    /// What write(2) says.
    pub fn write(&self, message: &Message) -> sys::Result<()> {
        let body = &message.body;
        let mut header = header(message.unique, message.error, body);
        header.len = header.len.wrapping_add_signed(message.len_off);
        match message.missing {
            0 => self.put(&header, body),
            missing => self.put_without_end(&self.bytes(&header, body), missing),
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

    /// Writes `bytes`, less than a page of them, of which the last `missing` are where a file has ended.
    fn put_without_end(&self, bytes: &[u8], missing: usize) -> sys::Result<()> {
        let page = sys::page_size();
        let (there, _) = bytes.split_at(bytes.len() - missing);
        let file = sys::memfd("message", page as u64)?;
        let memory = Mapping::of(&file, 0, 2 * page, Prot::ReadWrite, Sharing::Shared)?;
        memory.copy_in(page - there.len(), there);
        memory.write_to(page - there.len(), bytes.len(), self.fd(), None)
    }
}

fn header(unique: u64, error: i32, body: &[u8]) -> OutHeader {
    OutHeader {
        len: (OutHeader::SIZE + body.len()) as u32,
        error,
        unique,
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Running server: a mounted filesystem or a device, and the loop that answers its requests.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use sys::{Errno, Fd, poll};

use crate::abi::{MMAP_LAZY, MMAP_RDONLY, MmapIn, MmapOut, MunmapIn, PageRange, op};
use crate::behaviour::{Behaviour, OnMmap, OnReclaim};
use crate::channel::{Channel, Request};
use crate::message::Message;
use crate::request_log::RequestLog;
use crate::wire::{self, Field, TooShort};
use crate::{cuse, files, fuse};

/// Error that ends a server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A system call failed.
    #[error(transparent)]
    Sys(#[from] sys::Error),
    /// A request is shorter than its struct.
    #[error("request with opcode {opcode}: {short}")]
    TooShort {
        /// Opcode of the request.
        opcode: u32,
        /// Expected and actual length.
        short: TooShort,
    },
}

/// Decision of a control handler about the loop of [`Session::serve`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// The loop continues.
    Continue,
    /// The loop ends.
    Stop,
}

/// Kind of file that the server offers to its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A file in a mounted FUSE filesystem.
    Fuse,
    /// A CUSE character device.
    Cuse,
}

/// Running server: a mounted filesystem or a device.
#[derive(Debug)]
pub struct Session {
    pub(crate) channel: Channel,
    pub(crate) endpoint: Endpoint,
    /// Current behaviour. [`Session::set_behaviour`] changes it and answers held requests.
    pub behaviour: Behaviour,
    /// Log of the requests received.
    pub log: RequestLog,
    /// Content of the file.
    pub content: Vec<u8>,
    /// True if the kernel offered direct mmap and the server accepted it.
    pub(crate) dmmap: bool,
    /// Requests left unanswered until the behaviour changes.
    pub(crate) held: Vec<Request>,
    /// Number of FUSE_NOTIFY_DMMAP_SAVE notifications sent. The n-th has `notify_unique` n.
    pub(crate) saves: u64,
    /// True while the server waits for the data of the last of them.
    pub(crate) saving: bool,
    /// That data, once it has been received.
    pub(crate) saved: Option<Vec<u8>>,
    /// Requests received meanwhile whose answer needs data too.
    pub(crate) backlog: VecDeque<Request>,
    /// Lazy pages that have content, as far as the server knows: those that it has filled and not given back.
    pub(crate) filled: BTreeSet<u64>,
    /// Number of mappings that clients have of each page, by page ID.
    pub(crate) maps: BTreeMap<u64, u64>,
    name: String,
    /// True once FUSE_INIT or CUSE_INIT has been answered or held.
    ready: bool,
}

impl Session {
    /// Mounts a filesystem with one file, [`Session::FILE`], at the directory `at`, and answers FUSE_INIT.
    ///
    /// # Errors
    /// Fails as open(2) or mount(2), or if FUSE_INIT is malformed.
    pub fn mount(at: &str, behaviour: Behaviour) -> Result<Session, ServerError> {
        let channel = Channel::open("/dev/fuse")?;
        fuse::mount(&channel, at)?;
        Session::start(channel, Endpoint::Fuse, behaviour, at)
    }

    /// Creates the character device `/dev/NAME`, and answers CUSE_INIT.
    ///
    /// # Errors
    /// Fails as open(2), or if CUSE_INIT is malformed.
    pub fn create(name: &str, behaviour: Behaviour) -> Result<Session, ServerError> {
        Session::start(Channel::open("/dev/cuse")?, Endpoint::Cuse, behaviour, name)
    }

    /// Name of the file in a mounted filesystem.
    pub const FILE: &str = "file";

    fn start(
        channel: Channel,
        endpoint: Endpoint,
        behaviour: Behaviour,
        name: &str,
    ) -> Result<Session, ServerError> {
        let mut session = Session {
            channel,
            endpoint,
            behaviour,
            log: RequestLog::default(),
            content: vec![0; files::SIZE],
            dmmap: false,
            held: Vec::new(),
            saves: 0,
            saving: false,
            saved: None,
            backlog: VecDeque::new(),
            filled: BTreeSet::new(),
            maps: BTreeMap::new(),
            name: name.to_owned(),
            ready: false,
        };
        while !session.ready {
            poll(&[session.channel.fd()], None)?;
            session.serve_one()?;
        }
        Ok(session)
    }

    /// Changes the behaviour, and answers or holds each held request accordingly. After an error, the requests that
    /// have not been answered remain held.
    ///
    /// # Errors
    /// Fails if the server cannot reply.
    pub fn set_behaviour(&mut self, behaviour: Behaviour) -> Result<(), ServerError> {
        self.behaviour = behaviour;
        let mut held = std::mem::take(&mut self.held).into_iter();
        while let Some(request) = held.next() {
            let answered = match request.header.opcode {
                op::MMAP => self.answer_mmap(&request, &decode(&request)?),
                op::DMMAP_FAULT => self.answer_fault(&request, &decode(&request)?),
                op::DMMAP_RECLAIM => self.answer_reclaim(&request, &decode(&request)?),
                _ => self.answer(&request),
            };
            if let Err(error) = self.tolerate(answered) {
                self.held.push(request);
                self.held.extend(held);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Returns the descriptor of the channel, to poll or to map.
    ///
    /// # Panics
    /// Panics if the channel is closed.
    pub fn channel(&self) -> &Fd {
        self.channel.fd()
    }

    /// Closes the channel. Mappings of the channel remain.
    pub fn close(&mut self) {
        self.channel.close();
    }

    /// Writes a message, well-formed or not. If the message replies to a held request, that request is no longer held.
    ///
    /// # Errors
    /// Fails with the kernel's error number if the kernel rejects the message.
    pub fn write(&mut self, message: &Message) -> sys::Result<()> {
        self.held.retain(|held| held.header.unique != message.unique);
        self.channel.write(message)
    }

    fn listens(&self) -> bool {
        self.channel.is_open() && !self.behaviour.reads_nothing
    }

    /// Answers requests until `on_control` returns [`Flow::Stop`]. `on_control` is called whenever `control` is
    /// readable or hung up.
    ///
    /// Requests take precedence over control. When `on_control` handles a command, all requests that clients caused
    /// before the command was sent have been answered.
    ///
    /// # Errors
    /// Fails as [`Session::serve_one`] or `on_control`. The end of the connection is not an error: the server then
    /// waits for control only.
    pub fn serve<E: From<ServerError>>(
        &mut self,
        control: &Fd,
        on_control: &mut dyn FnMut(&mut Session) -> Result<Flow, E>,
    ) -> Result<(), E> {
        let mut connected = true;
        loop {
            let listens = connected && self.listens();
            let waiting = listens && !self.backlog.is_empty();
            let ready = match listens {
                true => poll(&[control, self.channel.fd()], waiting.then_some(Duration::ZERO)),
                false => poll(&[control], None),
            }
            .map_err(ServerError::from)?;
            if waiting || ready.get(1).is_some_and(|channel| channel.any()) {
                connected = self.serve_one()?;
            } else if ready[0].any() && on_control(self)? == Flow::Stop {
                return Ok(());
            }
        }
    }

    /// Waits for a request or the end of the connection. Returns false after `timeout`.
    ///
    /// # Errors
    /// Fails as poll(2).
    pub fn wait(&self, timeout: Duration) -> sys::Result<bool> {
        Ok(!self.backlog.is_empty() || poll(&[self.channel()], Some(timeout))?[0].any())
    }

    /// Answers one request if one is pending. Returns false if the connection has ended.
    ///
    /// # Errors
    /// Fails if reading or replying fails, or if the request is malformed.
    pub fn serve_one(&mut self) -> Result<bool, ServerError> {
        if let Some(request) = self.backlog.pop_front() {
            return self.answer_tolerantly(&request).map(|()| true);
        }
        let request = match self.channel.receive() {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(true),
            Err(error) if has_ended(error.errno) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        self.handle(&request).map(|()| true)
    }

    /// Logs and answers a request. If its answer needs data of pages while the server waits for other data, it is
    /// answered later: the answers to such requests would wait for each other without end if clients are fast.
    pub(crate) fn handle(&mut self, request: &Request) -> Result<(), ServerError> {
        self.log.request(&request.header);
        if self.saving && self.saves_pages() && needs_data(request) {
            match request.header.opcode {
                // Clients wait for it, and nothing waits for a FUSE_MUNMAP.
                op::DMMAP_RECLAIM => self.backlog.push_front(request.clone()),
                _ => self.backlog.push_back(request.clone()),
            }
            return Ok(());
        }
        self.answer_tolerantly(request)
    }

    fn answer_tolerantly(&mut self, request: &Request) -> Result<(), ServerError> {
        let answered = self.answer(request);
        self.tolerate(answered)
    }

    /// Ignores errors of a reply that need not end the server, and counts replies that the kernel rejected.
    fn tolerate(&mut self, answered: Result<(), ServerError>) -> Result<(), ServerError> {
        match answered {
            // Nothing waits for the reply any more: the client was interrupted or has died.
            Err(ServerError::Sys(error)) if error.errno == Errno::ENOENT => Ok(()),
            // The next read reports the end of the connection.
            Err(ServerError::Sys(error)) if has_ended(error.errno) => Ok(()),
            Err(ServerError::Sys(error)) if error.errno == Errno::EINVAL => {
                self.log.refused_replies += 1;
                Ok(())
            }
            other => other,
        }
    }

    pub(crate) fn hold(&mut self, request: &Request) {
        self.log.held += 1;
        self.held.push(request.clone());
    }

    pub(crate) fn refuse_with(&self, request: &Request, errno: i32) -> Result<(), ServerError> {
        Ok(self.channel.refuse(request, Errno::from_raw(errno))?)
    }

    fn answer(&mut self, request: &Request) -> Result<(), ServerError> {
        let opcode = request.header.opcode;
        if self.behaviour.unanswered.is_some_and(|requests| requests.covers(opcode)) {
            self.hold(request);
            self.ready = true;
            return Ok(());
        }
        match opcode {
            op::INIT => fuse::init(self, request)?,
            op::CUSE_INIT => cuse::init(self, request, &self.name.clone())?,
            op::MMAP => return self.on_mmap(request),
            op::MUNMAP => return self.on_munmap(request),
            op::DMMAP_FAULT => return self.on_fault(request),
            op::DMMAP_RECLAIM => return self.on_reclaim(request),
            op::NOTIFY_REPLY => return self.on_notify_reply(request),
            _ => return files::answer(self, request),
        }
        self.ready = true;
        Ok(())
    }

    /// Returns true if pages are lazy and their content is saved to the file.
    fn saves_pages(&self) -> bool {
        self.behaviour.lazy.is_some_and(|lazy| lazy.reclaim != OnReclaim::Discard)
    }

    fn on_munmap(&mut self, request: &Request) -> Result<(), ServerError> {
        let munmap: MunmapIn = decode(request)?;
        if self.saves_pages() {
            let count = munmap.length / sys::page_size() as u64;
            self.save_unmapped(&PageRange { page_id: munmap.page_id, count })?;
        }
        self.log.munmap(&munmap);
        Ok(self.channel.reply(request, &[])?)
    }

    fn on_mmap(&mut self, request: &Request) -> Result<(), ServerError> {
        let mmap: MmapIn = decode(request)?;
        self.log.mmap(request.header.pid, &mmap);
        self.answer_mmap(request, &mmap)
    }

    fn answer_mmap(&mut self, request: &Request, mmap: &MmapIn) -> Result<(), ServerError> {
        let script = self.behaviour.mmap;
        if script == OnMmap::Hold {
            self.hold(request);
            return Ok(());
        }
        let Some(page_id) = script.page_id(mmap.offset, sys::page_size() as u64) else {
            let errno = match script {
                OnMmap::Refuse { errno } => Errno::from_raw(errno),
                _ => Errno::EIO,
            };
            return Ok(self.channel.refuse(request, errno)?);
        };
        if self.saves_pages() {
            let count = mmap.length / sys::page_size() as u64;
            self.count_maps(&PageRange { page_id, count }, |maps| maps + 1);
        }
        let lazy = if self.behaviour.lazy.is_some() { MMAP_LAZY } else { 0 };
        let readonly = if self.behaviour.readonly { MMAP_RDONLY } else { 0 };
        let body = wire::bytes(&MmapOut { page_id, flags: lazy | readonly, padding: 0 });
        Ok(self.channel.reply(request, &body)?)
    }
}

/// Returns true if the server saves pages before it answers.
fn needs_data(request: &Request) -> bool {
    matches!(request.header.opcode, op::MUNMAP | op::DMMAP_RECLAIM)
}

/// Returns true if the error number means that the connection has ended. A read returns ENODEV, or ECONNABORTED if the
/// connection ends during the read; a write returns ENOTCONN (fs/fuse/dev.c, fuse_dev_do_read and fuse_get_req).
fn has_ended(errno: Errno) -> bool {
    matches!(errno, Errno::ENODEV | Errno::ECONNABORTED | Errno::ENOTCONN)
}

/// Decodes the struct at the start of a request's body.
pub(crate) fn decode<F: Field>(request: &Request) -> Result<F, ServerError> {
    request.get().map_err(|short| ServerError::TooShort { opcode: request.header.opcode, short })
}

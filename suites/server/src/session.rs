// SPDX-License-Identifier: MIT OR Apache-2.0
//! A running server: a mounted filesystem or a device, and the loop that answers for it.

use std::collections::BTreeMap;

use sys::{Errno, Fd, poll};

use crate::abi::{MMAP_LAZY, MmapIn, MmapOut, MunmapIn, Pages, op};
use crate::behaviour::{Behaviour, OnMmap};
use crate::channel::{Channel, Request};
use crate::message::Message;
use crate::seen::Seen;
use crate::wire::{self, Field, Short};
use crate::{cuse, files, fuse};

/// Why a server cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The operating system refused something.
    #[error(transparent)]
    Sys(#[from] sys::Error),
    /// A request was shorter than its struct.
    #[error("request with opcode {opcode}: {short}")]
    Short {
        /// Its opcode.
        opcode: u32,
        /// What was missing.
        short: Short,
    },
}

/// Whether the loop goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    On,
    /// It ends.
    Stop,
}

/// Filesystem or device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Fuse,
    Cuse,
}

/// A running server.
#[derive(Debug)]
pub struct Session {
    pub(crate) channel: Channel,
    pub(crate) kind: Kind,
    /// How it answers; see [`Session::behave`].
    pub behaviour: Behaviour,
    /// What it was asked.
    pub seen: Seen,
    /// What is in its file.
    pub content: Vec<u8>,
    /// Direct mmap was offered and taken.
    pub(crate) dmmap: bool,
    /// Requests that wait for another behaviour.
    pub(crate) held: Vec<Request>,
    /// FUSE_NOTIFY_DMMAP_SAVEs sent: each has its number as its `unique`.
    pub(crate) saves: u64,
    /// The bytes that came for them, until they are taken.
    pub(crate) saved: BTreeMap<u64, Vec<u8>>,
    name: String,
    ready: bool,
}

impl Session {
    /// Mounts a filesystem with one file, [`Session::FILE`], at directory `at`.
    ///
    /// # Errors
    /// What open(2) or mount(2) says, or a first request that makes no sense.
    pub fn mount(at: &str, behaviour: Behaviour) -> Result<Session, ServerError> {
        let channel = Channel::open("/dev/fuse")?;
        fuse::mount(&channel, at)?;
        Session::start(channel, Kind::Fuse, behaviour, at)
    }

    /// Makes the character device `/dev/NAME`.
    ///
    /// # Errors
    /// What open(2) says, or a first request that makes no sense.
    pub fn create(name: &str, behaviour: Behaviour) -> Result<Session, ServerError> {
        let channel = Channel::open("/dev/cuse")?;
        Session::start(channel, Kind::Cuse, behaviour, name)
    }

    /// Name of the file in a mounted filesystem.
    pub const FILE: &str = "file";

    fn start(
        channel: Channel,
        kind: Kind,
        behaviour: Behaviour,
        name: &str,
    ) -> Result<Session, ServerError> {
        let mut session = Session {
            channel,
            kind,
            behaviour,
            seen: Seen::default(),
            content: vec![0; files::SIZE],
            dmmap: false,
            held: Vec::new(),
            saves: 0,
            saved: BTreeMap::new(),
            name: name.to_owned(),
            ready: false,
        };
        while !session.ready {
            poll(&[session.channel.fd()], None)?;
            session.step()?;
        }
        Ok(session)
    }

    /// Changes how it answers; requests it held are answered, or held, by the new way. After an error those that are not
    /// answered yet are held.
    ///
    /// # Errors
    /// What the channel says.
    pub fn behave(&mut self, behaviour: Behaviour) -> Result<(), ServerError> {
        self.behaviour = behaviour;
        let mut held = std::mem::take(&mut self.held).into_iter();
        while let Some(request) = held.next() {
            let answered = match request.header.opcode {
                op::MMAP => self.answer_mmap(&request, &get(&request)?),
                op::DMMAP_FAULT => self.answer_fault(&request, &get(&request)?),
                op::DMMAP_RECLAIM => self.answer_reclaim(&request, &get(&request)?),
                _ => self.answer(&request),
            };
            if let Err(error) = self.note(answered) {
                self.held.push(request);
                self.held.extend(held);
                return Err(error);
            }
        }
        Ok(())
    }

    /// The channel's descriptor, to map.
    pub fn channel(&self) -> &Fd {
        self.channel.fd()
    }

    /// Closes the channel; what is mapped stays.
    pub fn close(&mut self) {
        self.channel.close();
    }

    /// Writes a message, right or wrong. If it is about a request that was held, that is not held any more.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn write(&mut self, message: &Message) -> sys::Result<()> {
        self.held
            .retain(|held| held.header.unique != message.unique);
        self.channel.write(message)
    }

    fn listens(&self) -> bool {
        self.channel.is_open() && !self.behaviour.deaf
    }

    /// Answers requests until `on_control`, called whenever `control` is readable or hung up, says to stop.
    /// Requests come first: whatever clients did before they spoke to whoever speaks through `control` is seen by then.
    ///
    /// # Errors
    /// What [`Session::step`] or `on_control` says. The end of the connection is not one: a server without clients waits for control.
    pub fn serve<E: From<ServerError>>(
        &mut self,
        control: &Fd,
        on_control: &mut dyn FnMut(&mut Session) -> Result<Flow, E>,
    ) -> Result<(), E> {
        let mut connected = true;
        loop {
            let ready = match connected && self.listens() {
                true => poll(&[control, self.channel.fd()], None),
                false => poll(&[control], None),
            }
            .map_err(ServerError::from)?;
            if ready.get(1).is_some_and(|channel| channel.any()) {
                connected = self.step()?;
            } else if ready[0].any() && on_control(self)? == Flow::Stop {
                return Ok(());
            }
        }
    }

    /// Answers one request if there is one. False where the connection has ended.
    ///
    /// # Errors
    /// What the channel says, or a request that makes no sense.
    pub fn step(&mut self) -> Result<bool, ServerError> {
        let request = match self.channel.receive() {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(true),
            Err(error) if has_ended(error.errno) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        self.answer_or_note(&request).map(|()| true)
    }

    /// Answers; an answer that the kernel would not take is noted and no error.
    pub(crate) fn answer_or_note(&mut self, request: &Request) -> Result<(), ServerError> {
        self.seen.request(&request.header);
        let answered = self.answer(request);
        self.note(answered)
    }

    fn note(&mut self, answered: Result<(), ServerError>) -> Result<(), ServerError> {
        match answered {
            // Nobody waits for the reply any more: the client was interrupted or is gone.
            Err(ServerError::Sys(error)) if error.errno == Errno::ENOENT => Ok(()),
            // Whoever reads next will notice.
            Err(ServerError::Sys(error)) if has_ended(error.errno) => Ok(()),
            Err(ServerError::Sys(error)) if error.errno == Errno::EINVAL => {
                self.seen.refused_replies += 1;
                Ok(())
            }
            other => other,
        }
    }

    pub(crate) fn hold(&mut self, request: &Request) {
        self.held.push(request.clone());
    }

    pub(crate) fn refuse_with(&self, request: &Request, errno: i32) -> Result<(), ServerError> {
        Ok(self.channel.refuse(request, Errno::from_raw(errno))?)
    }

    fn answer(&mut self, request: &Request) -> Result<(), ServerError> {
        let opcode = request.header.opcode;
        let unanswered = self.behaviour.unanswered;
        if unanswered.is_some_and(|requests| requests.covers(opcode)) {
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

    fn on_munmap(&mut self, request: &Request) -> Result<(), ServerError> {
        let munmap: MunmapIn = get(request)?;
        if self.behaviour.lazy.is_some() {
            // The kernel keeps the pages until this is answered.
            self.save_to_file(&Pages {
                page_id: munmap.page_id,
                count: munmap.length / sys::page_size() as u64,
            })?;
        }
        self.seen.munmap(&munmap);
        Ok(self.channel.reply(request, &[])?)
    }

    fn on_mmap(&mut self, request: &Request) -> Result<(), ServerError> {
        let mmap: MmapIn = get(request)?;
        self.seen.mmap(request.header.pid, &mmap);
        self.answer_mmap(request, &mmap)
    }

    fn answer_mmap(&mut self, request: &Request, mmap: &MmapIn) -> Result<(), ServerError> {
        let script = self.behaviour.mmap;
        if script == OnMmap::Hold {
            self.hold(request);
            return Ok(());
        }
        let page_size = sys::page_size() as u64;
        let Some(page_id) = script.page_id(mmap.offset, page_size) else {
            let errno = match script {
                OnMmap::Refuse { errno } => Errno::from_raw(errno),
                _ => Errno::EIO,
            };
            return Ok(self.channel.refuse(request, errno)?);
        };
        let body = wire::bytes(&MmapOut {
            page_id,
            flags: if self.behaviour.lazy.is_some() {
                MMAP_LAZY
            } else {
                0
            },
            padding: 0,
        });
        Ok(self.channel.reply(request, &body)?)
    }
}

/// What the kernel says about a connection that is no more: to who reads, to who reads just then, to who writes
/// (fs/fuse/dev.c, fuse_dev_do_read and fuse_get_req).
fn has_ended(errno: Errno) -> bool {
    matches!(errno, Errno::ENODEV | Errno::ECONNABORTED | Errno::ENOTCONN)
}

/// The struct at the start of a request's body.
pub(crate) fn get<F: Field>(request: &Request) -> Result<F, ServerError> {
    request.get().map_err(|short| ServerError::Short {
        opcode: request.header.opcode,
        short,
    })
}

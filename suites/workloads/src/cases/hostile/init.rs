// SPDX-License-Identifier: MIT OR Apache-2.0
//! INIT answered wrong in each field: direct mmap is there or not, and clients hear of it.

use protocol::plan::Device;
use server::abi::{
    BIG_WRITES, CUSE_DMMAP, CuseInitOut, DMMAP, INIT_EXT, InitOut, MAJOR, MINOR, op,
};
use server::wire::{self, Field};
use server::{Behaviour, Message, Unanswered};
use sys::Errno;

use super::messages::{expect_serves, expect_write};
use crate::stage::waiting::await_request;
use crate::stage::{Case, Failure, Process, Server, Workload, expect};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[("init", init), ("init-nobody", init_nobody)];

use InitResult::{Accepted, Dead, Declined};

/// Bytes in a write, as the server's good answer says.
const MAX_WRITE: u32 = 1 << 20;

/// Result of an answer to INIT.
#[derive(Clone, Copy)]
enum InitResult {
    /// Direct mmap works.
    Accepted,
    /// The file is like any other, and mmap is ENODEV.
    Declined,
    /// The file cannot be opened.
    Dead(Errno),
}

const REFUSED: InitResult = Dead(Errno::ECONNREFUSED);
const NO_DEVICE: InitResult = Dead(Errno::ENOENT);

const TAKEN: Result<(), Errno> = Ok(());
const INVALID: Result<(), Errno> = Err(Errno::EINVAL);

/// An answer to INIT, what write(2) returns for it, and its result.
struct Answer {
    what: &'static str,
    body: Vec<u8>,
    /// Error in its header.
    error: Option<Errno>,
    said: Result<(), Errno>,
    result: InitResult,
}

fn waiting_for_init() -> Behaviour {
    Behaviour {
        unanswered: Some(Unanswered::Init),
        ..Behaviour::default()
    }
}

/// Changes to the answer of a server that takes the offer.
type Changes<Out> = &'static [(&'static str, fn(&mut Out), InitResult)];

/// The answers with these changes, `info` behind each. write(2) takes them all.
fn changed<Out: Field + Clone>(changes: Changes<Out>, good: &Out, info: &[u8]) -> Vec<Answer> {
    let answer = |&(what, change, result): &(&'static str, fn(&mut Out), InitResult)| {
        let mut out = good.clone();
        change(&mut out);
        Answer {
            what,
            body: [wire::bytes(&out), info.to_vec()].concat(),
            error: None,
            said: TAKEN,
            result,
        }
    };
    changes.iter().map(answer).collect()
}

const FUSE_CHANGES: Changes<InitOut> = &[
    ("all that is needed", |_| (), Accepted),
    (
        "FUSE_DMMAP without FUSE_INIT_EXT",
        |out| out.flags = BIG_WRITES as u32,
        Declined,
    ),
    (
        "FUSE_INIT_EXT without FUSE_DMMAP",
        |out| out.flags2 = 0,
        Declined,
    ),
    (
        "an older minor version",
        |out| out.minor = MINOR - 1,
        Accepted,
    ),
    ("minor version 12", |out| out.minor = 12, Accepted),
    (
        "a minor version yet to come",
        |out| out.minor = 10_000,
        Accepted,
    ),
    // Before version 7.6 there are no flags, and before 7.9 the structs of names and attributes are shorter.
    ("minor version 5", |out| out.minor = 5, Dead(Errno::EIO)),
    ("a major version yet to come", |out| out.major = 8, REFUSED),
    ("major version 0", |out| out.major = 0, REFUSED),
    // The kernel's minimum is 4096 bytes.
    ("writes of no bytes", |out| out.max_write = 0, Accepted),
];

/// Part of the good answer that is written.
#[derive(Clone, Copy)]
enum Part {
    /// The first bytes.
    First(usize),
    All,
    /// All of it, and a byte more.
    More,
}

/// Answers whose bytes are `Bytes`: the error in the header, what write(2) returns, and the result.
type Rows<Bytes> = &'static [(
    &'static str,
    Bytes,
    Option<Errno>,
    Result<(), Errno>,
    InitResult,
)];

#[rustfmt::skip]
const FUSE_PARTS: Rows<Part> = &[
    ("an answer that ends behind flags2", Part::First(36), None, TAKEN, Accepted),
    ("an answer that ends before flags2", Part::First(32), None, TAKEN, Declined),
    ("the answer of version 7.22", Part::First(24), None, TAKEN, Declined),
    ("the answer of version 7.4", Part::First(8), None, TAKEN, Declined),
    ("an empty answer", Part::First(0), None, TAKEN, REFUSED),
    ("an answer that is too long", Part::More, None, INVALID, REFUSED),
    ("an error", Part::First(0), Some(Errno::EACCES), TAKEN, REFUSED),
    ("an error and an answer", Part::All, Some(Errno::EACCES), INVALID, REFUSED),
];

fn fuse_answers() -> Vec<Answer> {
    let good = InitOut {
        major: MAJOR,
        minor: MINOR,
        flags: (BIG_WRITES | INIT_EXT) as u32,
        max_write: MAX_WRITE,
        time_gran: 1,
        flags2: (DMMAP >> 32) as u32,
        ..InitOut::default()
    };
    let mut answers = changed(FUSE_CHANGES, &good, &[]);
    let good = wire::bytes(&good);
    answers.extend(FUSE_PARTS.iter().map(|&(what, part, error, said, result)| {
        let body = match part {
            Part::First(len) => good[..len].to_vec(),
            Part::All => good.clone(),
            Part::More => [&good[..], &[0]].concat(),
        };
        Answer {
            what,
            body,
            error,
            said,
            result,
        }
    }));
    answers
}

const CUSE_CHANGES: Changes<CuseInitOut> = &[
    ("all that is needed", |_| (), Accepted),
    ("flags nobody knows", |out| out.flags = u32::MAX, Accepted),
    (
        "all flags but CUSE_DMMAP",
        |out| out.flags = !CUSE_DMMAP,
        Declined,
    ),
    ("minor version 11", |out| out.minor = 11, Accepted),
    ("minor version 10", |out| out.minor = 10, NO_DEVICE),
    (
        "a major version yet to come",
        |out| out.major = 8,
        NO_DEVICE,
    ),
    (
        "writes of no bytes",
        |out| (out.max_read, out.max_write) = (0, 0),
        Accepted,
    ),
];

/// What follows CUSE_INIT: the device's name as `DEVNAME=NAME`, ended by a zero byte.
#[derive(Clone, Copy)]
enum Info {
    /// The device's own name.
    Own,
    /// The name of another device.
    Taken,
    /// These bytes.
    Bytes(&'static [u8]),
}

#[rustfmt::skip]
const CUSE_INFOS: Rows<Info> = &[
    ("no name", Info::Bytes(b""), None, TAKEN, NO_DEVICE),
    ("an empty name", Info::Bytes(b"DEVNAME=\0"), None, TAKEN, NO_DEVICE),
    ("something that is no name", Info::Bytes(b"nonsense\0"), None, TAKEN, NO_DEVICE),
    ("the name of another device", Info::Taken, None, TAKEN, NO_DEVICE),
    ("names that are too long", Info::Bytes(&[0; 4097]), None, INVALID, NO_DEVICE),
    ("an error", Info::Own, Some(Errno::EACCES), INVALID, NO_DEVICE),
];

/// Answers for a device called `name`; `taken` is the name of another.
fn cuse_answers(name: &str, taken: &str) -> Vec<Answer> {
    let good = CuseInitOut {
        major: MAJOR,
        minor: MINOR,
        flags: CUSE_DMMAP,
        max_read: MAX_WRITE,
        max_write: MAX_WRITE,
        ..CuseInitOut::default()
    };
    let info = |name| format!("DEVNAME={name}\0").into_bytes();
    let mut answers = changed(CUSE_CHANGES, &good, &info(name));
    let good = wire::bytes(&good);
    answers.extend(
        CUSE_INFOS
            .iter()
            .map(|&(what, which, error, said, result)| {
                let info = match which {
                    Info::Own => info(name),
                    Info::Taken => info(taken),
                    Info::Bytes(bytes) => bytes.to_vec(),
                };
                Answer {
                    what,
                    body: [good.clone(), info].concat(),
                    error,
                    said,
                    result,
                }
            }),
    );
    answers
}

/// Each of them leaves a file that can be direct-mapped, one that cannot, or none.
fn init(case: &mut Case) -> Result<(), Failure> {
    let mut other = case.serve()?;
    let device = other.device();
    let count = match device {
        Device::Fuse => fuse_answers().len(),
        Device::Cuse => cuse_answers("", "").len(),
    };
    for index in 0..count {
        let mut server = case.serve_as(waiting_for_init())?;
        let (opcode, mut answers) = match device {
            Device::Fuse => (op::INIT, fuse_answers()),
            Device::Cuse => (op::CUSE_INIT, cuse_answers(server.name(), other.name())),
        };
        let answer = answers.swap_remove(index);
        let unique = await_request(&mut server, opcode, None)?;
        let message = Message {
            error: answer.error.map_or(0, |errno| -errno.raw()),
            ..Message::answer(unique, &answer.body)
        };
        expect_write(&mut server, answer.what, message.clone(), answer.said)?;
        expect_write(&mut server, "a second answer", message, Err(Errno::ENOENT))?;
        server.behave(Behaviour::default())?;
        expect_result(case, &mut server, answer.result)
            .map_err(|failure| failure.after(answer.what))?;
        server.quit()?;
    }
    expect_serves(case, &mut other)?;
    other.quit()
}

fn expect_result(case: &Case, server: &mut Server, result: InitResult) -> Result<(), Failure> {
    let mut client = case.client_without_file("client", server)?;
    let opened = client.try_open()?;
    match result {
        Dead(errno) => {
            expect("open", opened, Err(errno))?;
            return client.quit();
        }
        Accepted => {
            expect("open", opened, Ok(()))?;
            expect_serves(case, server)?;
            expect("FUSE_MMAPs", server.log()?.mmaps, 1)?;
        }
        Declined => {
            expect("open", opened, Ok(()))?;
            let page = sys::page_size();
            let refused = Err(Errno::ENODEV);
            let of_client = client.try_map(0, page)?.map(drop);
            expect("the client's mmap", of_client, refused)?;
            let of_server = server.try_map(0, page)?.map(drop);
            expect("the server's mmap", of_server, refused)?;
            expect("FUSE_MMAPs", server.log()?.mmaps, 0)?;
        }
    }
    client.write_read(0, 100, 4)?;
    client.quit()
}

/// A server that has given up root before it answers has declined.
fn init_nobody(case: &mut Case) -> Result<(), Failure> {
    let mut server = case.serve_as(waiting_for_init())?;
    server.drop_privileges()?;
    server.behave(Behaviour::default())?;
    let page = sys::page_size();
    let mut client = case.client("client", &server)?;
    let of_client = client.try_map(0, page)?.map(drop);
    expect("the client's mmap", of_client, Err(Errno::ENODEV))?;
    expect("FUSE_MMAPs", server.log()?.mmaps, 0)?;
    let load = server.load_pages(server.page_id(0)?, 0, 1, 1)?;
    expect("a load", load, Err(Errno::ENODEV))?;
    client.write_read(0, 100, 4)?;
    client.quit()?;
    server.quit()
}

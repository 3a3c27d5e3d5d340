// SPDX-License-Identifier: MIT OR Apache-2.0
//! Answers to FUSE_INIT and CUSE_INIT that are wrong in one field: direct mmap works or clients get an error.

use protocol::plan::Device;
use server::abi::{
    BIG_WRITES, CUSE_DMMAP, CuseInitOut, DMMAP, INIT_EXT, InitOut, MAJOR, MINOR, op,
};
use server::wire::{self, Field};
use server::{Behaviour, Message};
use sys::Errno;

use super::messages::{expect_serves, expect_write};
use crate::stage::waiting::{await_request, holding_init};
use crate::stage::{Case, Failure, Process, Server, Workload, expect};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[("init", init), ("init-nobody", init_nobody)];

use InitResult::{Accepted, Dead, Declined};

/// Maximum size of a write in the server's valid answer, in bytes.
const MAX_WRITE: u32 = 1 << 20;

/// Result of an answer to INIT for clients.
#[derive(Clone, Copy)]
enum InitResult {
    /// Direct mmap works.
    Accepted,
    /// The file works, but mmap fails with ENODEV.
    Declined,
    /// The file cannot be opened.
    Dead(Errno),
}

const REFUSED: InitResult = Dead(Errno::ECONNREFUSED);
const NO_DEVICE: InitResult = Dead(Errno::ENOENT);

const OK: Result<(), Errno> = Ok(());
const INVALID: Result<(), Errno> = Err(Errno::EINVAL);

/// Answer to INIT, result of write(2) for it, and result for clients.
struct Answer {
    what: &'static str,
    body: Vec<u8>,
    /// Error in its header.
    error: Option<Errno>,
    expected: Result<(), Errno>,
    result: InitResult,
}

/// Changes to the answer that accepts direct mmap.
type Changes<Out> = &'static [(&'static str, fn(&mut Out), InitResult)];

/// Returns the answers with these changes, each followed by `info`. write(2) must accept them all.
fn changed<Out: Field + Clone>(changes: Changes<Out>, good: &Out, info: &[u8]) -> Vec<Answer> {
    let answer = |&(what, change, result): &(&'static str, fn(&mut Out), InitResult)| {
        let mut out = good.clone();
        change(&mut out);
        Answer {
            what,
            body: [wire::bytes(&out), info.to_vec()].concat(),
            error: None,
            expected: OK,
            result,
        }
    };
    changes.iter().map(answer).collect()
}

const FUSE_CHANGES: Changes<InitOut> = &[
    ("the valid answer", |_| (), Accepted),
    ("FUSE_DMMAP without FUSE_INIT_EXT", |out| out.flags = BIG_WRITES as u32, Declined),
    ("FUSE_INIT_EXT without FUSE_DMMAP", |out| out.flags2 = 0, Declined),
    ("an older minor version", |out| out.minor = MINOR - 1, Accepted),
    ("minor version 12", |out| out.minor = 12, Accepted),
    ("a minor version of the future", |out| out.minor = 10_000, Accepted),
    // Before version 7.6 there are no flags, and before 7.9 the structs of names and attributes are shorter.
    ("minor version 5", |out| out.minor = 5, Dead(Errno::EIO)),
    ("a major version of the future", |out| out.major = 8, REFUSED),
    ("major version 0", |out| out.major = 0, REFUSED),
    // The kernel's minimum is 4096 bytes.
    ("writes of no bytes", |out| out.max_write = 0, Accepted),
];

/// Part of the valid answer that is written.
#[derive(Clone, Copy)]
enum Part {
    /// The first bytes.
    First(usize),
    All,
    /// All bytes and one more.
    More,
}

/// Answers: name, bytes, error in the header, result of write(2), and result for clients.
type Rows<Bytes> = &'static [(&'static str, Bytes, Option<Errno>, Result<(), Errno>, InitResult)];

#[rustfmt::skip]
const FUSE_PARTS: Rows<Part> = &[
    ("an answer that ends behind flags2", Part::First(36), None, OK, Accepted),
    ("an answer that ends before flags2", Part::First(32), None, OK, Declined),
    ("the answer of version 7.22", Part::First(24), None, OK, Declined),
    ("the answer of version 7.4", Part::First(8), None, OK, Declined),
    ("an empty answer", Part::First(0), None, OK, REFUSED),
    ("an answer that is too long", Part::More, None, INVALID, REFUSED),
    ("an error", Part::First(0), Some(Errno::EACCES), OK, REFUSED),
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
    answers.extend(FUSE_PARTS.iter().map(|&(what, part, error, expected, result)| {
        let body = match part {
            Part::First(len) => good[..len].to_vec(),
            Part::All => good.clone(),
            Part::More => [&good[..], &[0]].concat(),
        };
        Answer { what, body, error, expected, result }
    }));
    answers
}

const CUSE_CHANGES: Changes<CuseInitOut> = &[
    ("the valid answer", |_| (), Accepted),
    ("unknown flags", |out| out.flags = u32::MAX, Accepted),
    ("all flags but CUSE_DMMAP", |out| out.flags = !CUSE_DMMAP, Declined),
    ("minor version 11", |out| out.minor = 11, Accepted),
    ("minor version 10", |out| out.minor = 10, NO_DEVICE),
    ("a major version of the future", |out| out.major = 8, NO_DEVICE),
    ("writes of no bytes", |out| (out.max_read, out.max_write) = (0, 0), Accepted),
];

/// Text behind the answer to CUSE_INIT: the device's name as `DEVNAME=NAME`, terminated by a zero byte.
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
    ("no name", Info::Bytes(b""), None, OK, NO_DEVICE),
    ("an empty name", Info::Bytes(b"DEVNAME=\0"), None, OK, NO_DEVICE),
    ("a text without DEVNAME", Info::Bytes(b"nonsense\0"), None, OK, NO_DEVICE),
    ("the name of another device", Info::Taken, None, OK, NO_DEVICE),
    ("a text that is too long", Info::Bytes(&[0; 4097]), None, INVALID, NO_DEVICE),
    ("an error", Info::Own, Some(Errno::EACCES), INVALID, NO_DEVICE),
];

/// Returns the answers for a device called `name`. `taken` is the name of another device.
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
    answers.extend(CUSE_INFOS.iter().map(|&(what, which, error, expected, result)| {
        let info = match which {
            Info::Own => info(name),
            Info::Taken => info(taken),
            Info::Bytes(bytes) => bytes.to_vec(),
        };
        Answer { what, body: [good.clone(), info].concat(), error, expected, result }
    }));
    answers
}

/// Answers INIT in each way. The file must then support direct mmap, work without it, or fail to open.
fn init(case: &mut Case) -> Result<(), Failure> {
    let mut other = case.serve()?;
    let device = other.device();
    let count = match device {
        Device::Fuse => fuse_answers().len(),
        Device::Cuse => cuse_answers("", "").len(),
    };
    for index in 0..count {
        let mut server = case.serve_as(holding_init())?;
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
        expect_write(&mut server, answer.what, message.clone(), answer.expected)?;
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
            expect("the client's mmap", client.try_map(0, page)?.map(drop), refused)?;
            expect("the server's mmap", server.try_map(0, page)?.map(drop), refused)?;
            expect("FUSE_MMAPs", server.log()?.mmaps, 0)?;
        }
    }
    client.write_read(0, 100, 4)?;
    client.quit()
}

/// Has a server give up root before it answers INIT. The kernel must treat the answer as if it declined direct mmap.
fn init_nobody(case: &mut Case) -> Result<(), Failure> {
    let mut server = case.serve_as(holding_init())?;
    server.drop_privileges()?;
    server.behave(Behaviour::default())?;
    let page = sys::page_size();
    let mut client = case.client("client", &server)?;
    expect("the client's mmap", client.try_map(0, page)?.map(drop), Err(Errno::ENODEV))?;
    expect("FUSE_MMAPs", server.log()?.mmaps, 0)?;
    if server.log()?.load_save {
        expect("a load", server.load_pages(server.page_id(0)?, 0, 1, 1)?, Err(Errno::ENODEV))?;
    }
    client.write_read(0, 100, 4)?;
    server.quit_after([client])
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! INIT answered wrong in each field: direct mmap is there or not, and clients hear of it.

use protocol::plan::Device;
use server::abi::{
    BIG_WRITES, CUSE_DMMAP, CuseInitOut, DMMAP, INIT_EXT, InitOut, MAJOR, MINOR, op,
};
use server::{Behaviour, Message, Unanswered, wire};
use sys::Errno;

use super::messages::{expect_said, expect_serves};
use crate::stage::waiting::await_request;
use crate::stage::{Case, Failure, Process, Server, Workload, expect};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[("init", init), ("init-nobody", init_nobody)];

/// Bytes in a write, as the server's good answer says.
const MAX_WRITE: u32 = 1 << 20;

/// What comes of an answer to INIT.
#[derive(Clone, Copy)]
enum Then {
    /// Direct mmap.
    Accepted,
    /// A file like any other: mmap is ENODEV.
    Declined,
    /// It cannot be opened.
    Dead(Errno),
}

/// An answer to INIT, the error in its header, what write(2) says to it, and what comes of it.
struct Answer {
    what: &'static str,
    body: Vec<u8>,
    error: i32,
    said: Result<(), Errno>,
    then: Then,
}

fn waiting_for_init() -> Behaviour {
    Behaviour {
        unanswered: Some(Unanswered::Init),
        ..Behaviour::default()
    }
}

/// What a server answers that takes the offer.
fn good_fuse() -> InitOut {
    InitOut {
        major: MAJOR,
        minor: MINOR,
        flags: (BIG_WRITES | INIT_EXT) as u32,
        max_write: MAX_WRITE,
        time_gran: 1,
        flags2: (DMMAP >> 32) as u32,
        ..InitOut::default()
    }
}

fn fuse_answers() -> Vec<Answer> {
    let mut all = Vec::new();
    let mut add = |what, body, error, said, then| {
        all.push(Answer {
            what,
            body,
            error,
            said,
            then,
        });
    };
    let good = || wire::bytes(&good_fuse());
    let cut = |len| good()[..len].to_vec();
    let mut with = |what, change: fn(&mut InitOut), then| {
        let mut out = good_fuse();
        change(&mut out);
        add(what, wire::bytes(&out), 0, Ok(()), then);
    };
    with("all that is needed", |_| (), Then::Accepted);
    with(
        "FUSE_DMMAP without FUSE_INIT_EXT",
        |out| out.flags = BIG_WRITES as u32,
        Then::Declined,
    );
    with(
        "FUSE_INIT_EXT without FUSE_DMMAP",
        |out| out.flags2 = 0,
        Then::Declined,
    );
    with(
        "an older minor version",
        |out| out.minor = MINOR - 1,
        Then::Accepted,
    );
    with("minor version 12", |out| out.minor = 12, Then::Accepted);
    with(
        "a minor version yet to come",
        |out| out.minor = 10_000,
        Then::Accepted,
    );
    // Before version 7.6 there are no flags, and before 7.9 the structs of names and attributes are shorter.
    with(
        "minor version 5",
        |out| out.minor = 5,
        Then::Dead(Errno::EIO),
    );
    with(
        "a major version yet to come",
        |out| out.major = 8,
        Then::Dead(Errno::ECONNREFUSED),
    );
    with(
        "major version 0",
        |out| out.major = 0,
        Then::Dead(Errno::ECONNREFUSED),
    );
    // The kernel's minimum is 4096 bytes.
    with(
        "writes of no bytes",
        |out| out.max_write = 0,
        Then::Accepted,
    );

    let refused = Then::Dead(Errno::ECONNREFUSED);
    add(
        "an answer that ends behind flags2",
        cut(36),
        0,
        Ok(()),
        Then::Accepted,
    );
    add(
        "an answer that ends before flags2",
        cut(32),
        0,
        Ok(()),
        Then::Declined,
    );
    add(
        "the answer of version 7.22",
        cut(24),
        0,
        Ok(()),
        Then::Declined,
    );
    add(
        "the answer of version 7.4",
        cut(8),
        0,
        Ok(()),
        Then::Declined,
    );
    add("an empty answer", cut(0), 0, Ok(()), refused);
    let long = [good(), vec![0]].concat();
    add(
        "an answer that is too long",
        long,
        0,
        Err(Errno::EINVAL),
        refused,
    );
    add("an error", cut(0), -Errno::EACCES.raw(), Ok(()), refused);
    add(
        "an error and an answer",
        good(),
        -Errno::EACCES.raw(),
        Err(Errno::EINVAL),
        refused,
    );
    all
}

fn good_cuse() -> CuseInitOut {
    CuseInitOut {
        major: MAJOR,
        minor: MINOR,
        flags: CUSE_DMMAP,
        max_read: MAX_WRITE,
        max_write: MAX_WRITE,
        ..CuseInitOut::default()
    }
}

/// Answers for a device with this name; `taken` is the name of another.
fn cuse_answers(name: &str, taken: &str) -> Vec<Answer> {
    let mut all = Vec::new();
    let mut add = |what, out: CuseInitOut, info: &[u8], error, said, then| {
        let body = [wire::bytes(&out), info.to_vec()].concat();
        all.push(Answer {
            what,
            body,
            error,
            said,
            then,
        });
    };
    let info = format!("DEVNAME={name}\0").into_bytes();
    let none = Then::Dead(Errno::ENOENT);
    let mut with = |what, change: fn(&mut CuseInitOut), then| {
        let mut out = good_cuse();
        change(&mut out);
        add(what, out, &info, 0, Ok(()), then);
    };
    with("all that is needed", |_| (), Then::Accepted);
    with(
        "flags nobody knows",
        |out| out.flags = u32::MAX,
        Then::Accepted,
    );
    with(
        "all flags but CUSE_DMMAP",
        |out| out.flags = !CUSE_DMMAP,
        Then::Declined,
    );
    with("minor version 11", |out| out.minor = 11, Then::Accepted);
    with("minor version 10", |out| out.minor = 10, none);
    with("a major version yet to come", |out| out.major = 8, none);
    with(
        "writes of no bytes",
        |out| (out.max_read, out.max_write) = (0, 0),
        Then::Accepted,
    );

    let mut names = |what, info: &[u8]| add(what, good_cuse(), info, 0, Ok(()), none);
    names("no name", b"");
    names("an empty name", b"DEVNAME=\0");
    names("something that is no name", b"nonsense\0");
    names(
        "the name of another device",
        format!("DEVNAME={taken}\0").as_bytes(),
    );
    let refused = Err(Errno::EINVAL);
    add(
        "names that are too long",
        good_cuse(),
        &[0; 4097],
        0,
        refused,
        none,
    );
    add(
        "an error",
        good_cuse(),
        &info,
        -Errno::EACCES.raw(),
        refused,
        none,
    );
    all
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
            error: answer.error,
            ..Message::answer(unique, &answer.body)
        };
        expect_said(&mut server, answer.what, message.clone(), answer.said)?;
        expect_said(&mut server, "a second answer", message, Err(Errno::ENOENT))?;
        server.behave(Behaviour::default())?;
        expect_then(case, &mut server, answer.then)
            .map_err(|failure| failure.after(answer.what))?;
        server.quit()?;
    }
    expect_serves(case, &mut other)?;
    other.quit()
}

fn expect_then(case: &Case, server: &mut Server, then: Then) -> Result<(), Failure> {
    let mut client = case.client_without_file("client", server)?;
    let opened = client.try_open()?;
    match then {
        Then::Dead(errno) => {
            expect("open", opened, Err(errno))?;
            return client.quit();
        }
        Then::Accepted => {
            expect("open", opened, Ok(()))?;
            expect_serves(case, server)?;
            expect("FUSE_MMAPs", server.seen()?.mmaps, 1)?;
        }
        Then::Declined => {
            expect("open", opened, Ok(()))?;
            let page = sys::page_size();
            let refused = Err(Errno::ENODEV);
            let of_client = client.try_map(0, page)?.map(drop);
            expect("the client's mmap", of_client, refused)?;
            let of_server = server.try_map(0, page)?.map(drop);
            expect("the server's mmap", of_server, refused)?;
            expect("FUSE_MMAPs", server.seen()?.mmaps, 0)?;
        }
    }
    client.write_read(0, 100, 4)?;
    client.quit()
}

/// A server that has given up root before it answers has declined.
fn init_nobody(case: &mut Case) -> Result<(), Failure> {
    let mut server = case.serve_as(waiting_for_init())?;
    server.become_nobody()?;
    server.behave(Behaviour::default())?;
    let page = sys::page_size();
    let mut client = case.client("client", &server)?;
    let of_client = client.try_map(0, page)?.map(drop);
    expect("the client's mmap", of_client, Err(Errno::ENODEV))?;
    expect("FUSE_MMAPs", server.seen()?.mmaps, 0)?;
    let load = server.load_pages(server.page_id(0)?, 0, 1, 1)?;
    expect("a load", load, Err(Errno::ENODEV))?;
    client.write_read(0, 100, 4)?;
    client.quit()?;
    server.quit()
}

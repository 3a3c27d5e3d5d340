// SPDX-License-Identifier: MIT OR Apache-2.0
//! Notifications that are wrong in one field, or come when there is no connection: an error of write(2), and no more.

use server::abi::{Pages, SaveOut, notify, op};
use server::{Behaviour, Channel, Message, Unanswered, wire};
use sys::{Errno, Mapping, Prot, Sharing, page_size};

use super::messages::{expect_said, expect_serves, id_end, load};
use crate::stage::command::Touched;
use crate::stage::counters::{self, PAGES_TOTAL};
use crate::stage::waiting::await_seen;
use crate::stage::{Case, Failure, Process, Workload, expect};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("notifications", notifications),
    ("notifications-early", early),
    ("notifications-late", late),
    ("saves-unread", saves_unread),
];

/// FUSE_NOTIFY_REPLY that may be unread, as documented.
const MAX_SAVES: u64 = 64;

/// A notification, and what write(2) says to it.
type Said = (String, Message, Result<(), Errno>);

const FINE: Result<(), Errno> = Ok(());
const INVALID: Result<(), Errno> = Err(Errno::EINVAL);
const TOO_LARGE: Result<(), Errno> = Err(Errno::EOVERFLOW);
const NOBODYS: Result<(), Errno> = Err(Errno::ENXIO);

fn save(notify_unique: u64, page_id: u64, offset: u32, size: u32) -> Message {
    let body = SaveOut {
        notify_unique,
        page_id,
        offset,
        size,
    };
    Message::notification(notify::DMMAP_SAVE, &wire::bytes(&body))
}

fn free(page_id: u64, count: u64) -> Message {
    let body = wire::bytes(&Pages { page_id, count });
    Message::notification(notify::DMMAP_FREE, &body)
}

/// Loads and frees that change nothing where only pages `id` and `id + 1` are mapped, and saves.
fn harmless(id: u64) -> Vec<Said> {
    let page = page_size() as u32;
    let end = id_end();
    // On a 32-bit machine all IDs together are 4 GiB.
    let (far_load, far_save) = match usize::BITS {
        64 => (NOBODYS, FINE),
        _ => (TOO_LARGE, TOO_LARGE),
    };
    let mut all = Vec::new();
    let mut say = |what: &str, message, said| all.push((what.to_owned(), message, said));
    say("a load of nothing", load(id, 0, 0, 0), FINE);
    say(
        "a load of nothing into nobody's page",
        load(id + 2, 0, 0, 0),
        FINE,
    );
    say(
        "a load of nothing at the last ID",
        load(end - 1, 0, 0, 0),
        FINE,
    );
    say(
        "a load of nothing behind the last ID",
        load(end, 0, 0, 0),
        TOO_LARGE,
    );
    say(
        "a load of nothing beyond the last ID",
        load(end - 1, page + 1, 0, 0),
        TOO_LARGE,
    );
    say("a load without its last byte", load(id, 0, 8, 7), INVALID);
    say("a load with a byte more", load(id, 0, 8, 9), INVALID);
    say("a load of 0 bytes that has one", load(id, 0, 0, 1), INVALID);
    say(
        "a load of 4 GiB that has none",
        load(id, 0, u32::MAX, 0),
        INVALID,
    );
    say("a load into nobody's page", load(id + 2, 0, 8, 8), NOBODYS);
    say(
        "a load before the first page",
        load(id - 1, 0, 8, 8),
        NOBODYS,
    );
    say(
        "a load from two pages on",
        load(id, 2 * page, 8, 8),
        NOBODYS,
    );
    say("a load from 4 GiB on", load(id, u32::MAX, 8, 8), far_load);
    say(
        "a load to the last ID",
        load(end - 1, page - 8, 8, 8),
        NOBODYS,
    );
    say(
        "a load over the last ID",
        load(end - 1, page - 7, 8, 8),
        TOO_LARGE,
    );
    say("a load behind the last ID", load(end, 0, 8, 8), TOO_LARGE);
    say(
        "a load of the last number",
        load(u64::MAX, 0, 8, 8),
        TOO_LARGE,
    );
    say(
        "a load beyond the last number",
        load(u64::MAX, u32::MAX, 8, 8),
        TOO_LARGE,
    );

    say("a save of nothing", save(1 << 40, id, 0, 0), FINE);
    say("a save of 4 GiB", save(1 << 40, id, 0, u32::MAX), far_save);
    say(
        "a save from 4 GiB on",
        save(1 << 40, id, u32::MAX, u32::MAX),
        far_save,
    );
    say("a save with unique 0", save(0, id, 0, 8), FINE);
    say(
        "a save with the last unique",
        save(u64::MAX, id, 0, 8),
        FINE,
    );
    say("a save of nobody's page", save(1 << 40, id + 2, 0, 8), FINE);
    say(
        "a save up to the last ID",
        save(1 << 40, end - 1, 0, page),
        FINE,
    );
    say(
        "a save over the last ID",
        save(1 << 40, end - 1, 1, page),
        TOO_LARGE,
    );
    say(
        "a save of nothing behind the last ID",
        save(1 << 40, end, 0, 0),
        TOO_LARGE,
    );
    say(
        "a save of the last number",
        save(1 << 40, u64::MAX, u32::MAX, 8),
        TOO_LARGE,
    );

    say("to free nothing", free(id, 0), FINE);
    say(
        "to free nothing of the last number",
        free(u64::MAX, 0),
        FINE,
    );
    say("to free the last ID", free(end - 1, 1), FINE);
    say(
        "to free all that is above",
        free(id + 2, end - id - 2),
        FINE,
    );
    say("to free all that is below", free(0, id), FINE);
    say("to free behind the last ID", free(end, 1), TOO_LARGE);
    say("to free one too many", free(id, end - id + 1), TOO_LARGE);
    say(
        "to free so many that they overflow",
        free(id, u64::MAX - id + 1),
        TOO_LARGE,
    );
    say(
        "to free so many that nothing is left",
        free(1, u64::MAX),
        TOO_LARGE,
    );
    say("to free the last number", free(u64::MAX, 1), TOO_LARGE);

    for (code, size) in [
        (notify::DMMAP_LOAD, 16),
        (notify::DMMAP_SAVE, 24),
        (notify::DMMAP_FREE, 16),
    ] {
        for len in [0, 1, size - 8, size - 1, size + 1, size + 8, 2 * size, 4096] {
            // A load of 0 bytes says so in 16 bytes; all others have to be as long as they say.
            let message = Message::notification(code, &vec![0; len]);
            let what = format!("notification {code} of {len} bytes");
            all.push((what, message, INVALID));
        }
    }
    for code in [0, 8, 63, 67, 4000, i32::MAX, -1, -64, -4096, i32::MIN] {
        for body in [&[][..], &[0; 16], &[0; 24]] {
            let message = Message::notification(code, body);
            let what = format!("notification {code} of {} bytes", body.len());
            all.push((what, message, INVALID));
        }
    }
    let lengths = [1, -1, i32::MIN, -16];
    all.extend(lengths.map(|len_off| {
        let message = Message {
            len_off,
            ..free(id, 1)
        };
        let what = format!("to free with a length off by {len_off}");
        (what, message, INVALID)
    }));
    all
}

/// Whatever a notification says, clients have the pages they had, and the server can go on.
fn notifications(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut server = case.serve()?;
    let mut client = case.client("client", &server)?;
    let map = client.map(0, 2 * page)?;
    let id = server.page_id(0)?;
    client.fill(map, 0, 2 * page, 1)?;
    for (what, message, said) in harmless(id) {
        expect_said(&mut server, &what, message, said)?;
        client.verify(map, 0, 2 * page, 1)?;
        expect(&format!("pages after {what}"), server.pages()?, 2)?;
    }

    // One of them: on sparc64 the server gets SIGBUS for it as well, of which the Rust runtime survives one.
    let half = Message {
        missing: 12,
        ..load(id, 0, 8, 8)
    };
    let fault = Err(Errno::EFAULT);
    expect_said(&mut server, "a load that ends in no memory", half, fault)?;
    client.verify(map, 0, 2 * page, 1)?;

    // An offset may be beyond the page.
    let second = load(id - 3, 4 * page as u32 + 8, 16, 16);
    expect_said(&mut server, "a load from four pages on", second, FINE)?;
    client.verify(map, 0, page + 8, 1)?;
    client.verify_zero(map, page + 8, 16)?;
    client.verify(map, page + 24, page - 24, 1)?;
    let saved = server.save_pages(id, 0, page + 8, 1)?;
    expect("bytes saved", saved, Ok(page + 8))?;
    expect_said(
        &mut server,
        "to free all there are",
        free(0, id_end()),
        FINE,
    )?;
    expect("pages", server.pages()?, 0)?;
    client.verify_zero(map, 0, 2 * page)?;
    client.quit()?;
    server.quit()
}

/// One of each, right in every field.
fn one_each(id: u64) -> [(&'static str, Message); 3] {
    [
        ("a load", load(id, 0, 8, 8)),
        ("a save", save(1, id, 0, 8)),
        ("to free a page", free(id, 1)),
    ]
}

/// Without a connection it is EPERM, before it is made ENODEV; wrong sizes are EINVAL all the same.
fn early(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let unmounted = Channel::open("/dev/fuse")?;
    for (what, message) in one_each(5) {
        let said = unmounted.write(&message).map_err(|error| error.errno);
        expect(&format!("{what}, nothing mounted"), said, Err(Errno::EPERM))?;
    }
    let mapping = Mapping::of(unmounted.fd(), 0, page, Prot::Read, Sharing::Shared);
    let errno = mapping.err().map(|error| error.errno);
    expect("mmap, nothing mounted", errno, Some(Errno::ENODEV))?;
    drop(unmounted);

    let mut server = case.serve_as(Behaviour {
        unanswered: Some(Unanswered::Init),
        ..Behaviour::default()
    })?;
    for (what, message) in one_each(5) {
        let short = Message {
            body: message.body[1..].to_vec(),
            ..message.clone()
        };
        expect_said(&mut server, what, message, Err(Errno::ENODEV))?;
        expect_said(&mut server, "one that is too short", short, INVALID)?;
    }
    let mapped = server.try_map(0, page)?.err();
    expect("mmap of the channel", mapped, Some(Errno::ENODEV))?;
    server.behave(Behaviour::default())?;
    expect_serves(case, &mut server)?;
    server.quit()
}

/// After an abort nothing new comes, by a notification or by a touch; what is there stays.
fn late(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let mut server = case.serve()?;
    let mut client = case.client("client", &server)?;
    let map = client.map(0, 2 * page)?;
    let id = server.page_id(0)?;
    let here = server.map_pages(id, 2)?;
    client.fill(map, 0, page, 1)?;
    server.abort()?;
    let gone = Err(Errno::ENOTCONN);
    // One page that there is, and one that there is not.
    for id in [id, id + 1] {
        expect_said(&mut server, "a load", load(id, 0, 8, 8), gone)?;
        expect_said(&mut server, "a save", save(1, id, 0, 8), gone)?;
        expect_said(&mut server, "a free", free(id, 1), gone)?;
    }
    let mapped = server.try_map(id * page as u64, page)?;
    expect("mmap of the channel", mapped.map(drop), gone)?;
    let mapped = client.try_map(0, page)?;
    expect("the client's mmap", mapped.map(drop), gone)?;
    let (of_client, of_server) = (
        client.touch(map, page, true)?,
        server.touch(here, page, true)?,
    );
    expect(
        "a new page",
        (of_client, of_server),
        (Touched::Bus, Touched::Bus),
    )?;
    client.verify(map, 0, page, 1)?;
    client.quit()?;
    server.quit()
}

/// 64 saves may be unread, and no more; read or not, their pages come back.
fn saves_unread(case: &mut Case) -> Result<(), Failure> {
    let pages: usize = case.param("pages")?;
    let len = pages * page_size();
    let mut server = case.serve()?;
    let id = server.page_id(0)?;
    let deaf = Behaviour {
        deaf: true,
        ..Behaviour::default()
    };
    let mut client = case.client("client", &server)?;
    let map = client.map(0, len)?;
    client.fill(map, 0, len, 1)?;
    let saves = |first: u64, count: u64| {
        let save = |number| save(number, id, 0, len as u32);
        (first..first + count).map(save).collect()
    };

    server.behave(deaf)?;
    let mut said = server.write_all(saves(1000, MAX_SAVES + 2))?;
    let over = said.split_off(MAX_SAVES as usize);
    expect("saves", said, vec![Ok(()); MAX_SAVES as usize])?;
    expect("saves over the limit", over, vec![Err(Errno::EAGAIN); 2])?;
    server.behave(Behaviour::default())?;
    let last = Some(1000 + MAX_SAVES - 1);
    await_seen(&mut server, "all that was saved", |seen| {
        seen.unique(op::NOTIFY_REPLY) == last
    })?;
    let saved = server.save_pages(id, 0, len, 1)?;
    expect("bytes saved afterwards", saved, Ok(len))?;

    server.behave(deaf)?;
    let said = server.write_all(saves(2000, MAX_SAVES))?;
    expect("saves", said, vec![Ok(()); MAX_SAVES as usize])?;
    server.kill()?;
    client.verify(map, 0, len, 1)?;
    client.quit()?;
    expect("pages at the end", counters::read(PAGES_TOTAL)?, 0)
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Notifications that are wrong in one field, or that are sent without a connection. write(2) fails, and nothing else
//! happens.

use server::abi::{PageRange, SaveOut, notify, op};
use server::{Behaviour, Channel, Message, wire};
use sys::{Errno, Mapping, Prot, Sharing, page_size};

use super::messages::{expect_serves, expect_write, first_invalid_id, kernel_has_64_bits, load};
use crate::stage::command::Touch;
use crate::stage::counters::{self, PAGES_TOTAL};
use crate::stage::waiting::{await_requests, holding_init};
use crate::stage::{Case, Failure, Process, Server, Workload, expect, expect_that};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("notifications", notifications),
    ("notifications-early", early),
    ("notifications-late", late),
    ("saves-unread", saves_unread),
];

/// Documented limit of unread FUSE_NOTIFY_REPLYs.
const MAX_SAVES: u64 = 64;

const OK: Result<(), Errno> = Ok(());
const INVALID: Result<(), Errno> = Err(Errno::EINVAL);
const TOO_LARGE: Result<(), Errno> = Err(Errno::EOVERFLOW);
const UNMAPPED: Result<(), Errno> = Err(Errno::ENXIO);

fn save(notify_unique: u64, page_id: u64, offset: u32, size: u32) -> Message {
    let body = SaveOut { notify_unique, page_id, offset, size };
    Message::notification(notify::DMMAP_SAVE, &wire::bytes(&body))
}

fn free(page_id: u64, count: u64) -> Message {
    Message::notification(notify::DMMAP_FREE, &wire::bytes(&PageRange { page_id, count }))
}

/// Values for the fields of notifications. Only pages `id` and `id + 1` are mapped.
struct At {
    id: u64,
    /// Bytes of a page.
    page: u32,
    /// First invalid page ID.
    end: u64,
}

const FAR: u32 = u32::MAX;
const LAST: u64 = u64::MAX;
const UNIQUE: u64 = 1 << 40;

/// Name of a notification, the notification, and the result of write(2).
type Row = (&'static str, fn(&At) -> Message, Result<(), Errno>);

/// Well-formed and malformed notifications that change no mapped page.
#[rustfmt::skip]
const HARMLESS: &[Row] = &[
    ("a load of nothing", |at| load(at.id, 0, 0, 0), OK),
    ("a load of nothing into a page that is not mapped", |at| load(at.id + 2, 0, 0, 0), OK),
    ("a load of nothing at the last ID", |at| load(at.end - 1, 0, 0, 0), OK),
    ("a load of nothing behind the last ID", |at| load(at.end, 0, 0, 0), TOO_LARGE),
    ("a load of nothing at an offset behind the last ID", |at| load(at.end - 1, at.page + 1, 0, 0), TOO_LARGE),
    ("a load without its last byte", |at| load(at.id, 0, 8, 7), INVALID),
    ("a load with an additional byte", |at| load(at.id, 0, 8, 9), INVALID),
    ("a load of 0 bytes that contains one", |at| load(at.id, 0, 0, 1), INVALID),
    ("a load of 4 GiB that contains none", |at| load(at.id, 0, FAR, 0), INVALID),
    ("a load into a page that is not mapped", |at| load(at.id + 2, 0, 8, 8), UNMAPPED),
    ("a load before the first page", |at| load(at.id - 1, 0, 8, 8), UNMAPPED),
    ("a load at an offset of two pages", |at| load(at.id, 2 * at.page, 8, 8), UNMAPPED),
    ("a load to the end of the last ID", |at| load(at.end - 1, at.page - 8, 8, 8), UNMAPPED),
    ("a load across the end of the last ID", |at| load(at.end - 1, at.page - 7, 8, 8), TOO_LARGE),
    ("a load behind the last ID", |at| load(at.end, 0, 8, 8), TOO_LARGE),
    ("a load at ID 2^64 - 1", |_| load(LAST, 0, 8, 8), TOO_LARGE),
    ("a load at ID 2^64 - 1, offset 2^32 - 1", |_| load(LAST, FAR, 8, 8), TOO_LARGE),

    ("a save of nothing", |at| save(UNIQUE, at.id, 0, 0), OK),
    ("a save with unique 0", |at| save(0, at.id, 0, 8), OK),
    ("a save with unique 2^64 - 1", |at| save(LAST, at.id, 0, 8), OK),
    ("a save of a page that is not mapped", |at| save(UNIQUE, at.id + 2, 0, 8), OK),
    ("a save to the end of the last ID", |at| save(UNIQUE, at.end - 1, 0, at.page), OK),
    ("a save across the end of the last ID", |at| save(UNIQUE, at.end - 1, 1, at.page), TOO_LARGE),
    ("a save of nothing behind the last ID", |at| save(UNIQUE, at.end, 0, 0), TOO_LARGE),
    ("a save at ID 2^64 - 1, offset 2^32 - 1", |_| save(UNIQUE, LAST, FAR, 8), TOO_LARGE),

    ("a free of nothing", |at| free(at.id, 0), OK),
    ("a free of nothing at ID 2^64 - 1", |_| free(LAST, 0), OK),
    ("a free of the last ID", |at| free(at.end - 1, 1), OK),
    ("a free of all IDs above", |at| free(at.id + 2, at.end - at.id - 2), OK),
    ("a free of all IDs below", |at| free(0, at.id), OK),
    ("a free behind the last ID", |at| free(at.end, 1), TOO_LARGE),
    ("a free of one ID too many", |at| free(at.id, at.end - at.id + 1), TOO_LARGE),
    ("a free whose end overflows to 0", |at| free(at.id, LAST - at.id + 1), TOO_LARGE),
    ("a free of 2^64 - 1 IDs from ID 1", |_| free(1, LAST), TOO_LARGE),
    ("a free of ID 2^64 - 1", |_| free(LAST, 1), TOO_LARGE),
];

/// Name of a notification, the notification, and the result of write(2) with a 64-bit kernel and with a 32-bit kernel.
type FarRow = (&'static str, fn(&At) -> Message, Result<(), Errno>, Result<(), Errno>);

/// Notifications that reach 4 GiB beyond the mapped pages. With a 32-bit kernel, all page IDs together span 4 GiB.
const HARMLESS_FAR: &[FarRow] = &[
    ("a load at an offset of 4 GiB", |at| load(at.id, FAR, 8, 8), UNMAPPED, TOO_LARGE),
    ("a save of 4 GiB", |at| save(UNIQUE, at.id, 0, FAR), OK, TOO_LARGE),
    ("a save at an offset of 4 GiB", |at| save(UNIQUE, at.id, FAR, FAR), OK, TOO_LARGE),
];

/// Codes of notifications, and the length of each without data, in bytes.
const SIZES: [(i32, usize); 3] =
    [(notify::DMMAP_LOAD, 16), (notify::DMMAP_SAVE, 24), (notify::DMMAP_FREE, 16)];

/// Codes that no notification of a server has, so that write(2) must refuse them.
const UNKNOWN_CODES: [i32; 10] = [0, 13, 63, 67, 4000, i32::MAX, -1, -64, -4096, i32::MIN];

/// Returns malformed notifications, for which write(2) must fail with EINVAL.
fn malformed(id: u64) -> Vec<(String, Message)> {
    let of = |code, len| {
        (format!("notification {code} of {len} bytes"), Message::notification(code, &vec![0; len]))
    };
    let mut all = Vec::new();
    for (code, size) in SIZES {
        // Not `size` itself: 16 zero bytes are a valid load of 0 bytes. A longer load must be as long as its header
        // says.
        let lengths = [0, 1, size - 8, size - 1, size + 1, size + 8, 2 * size, 4096];
        all.extend(lengths.map(|len| of(code, len)));
    }
    for code in UNKNOWN_CODES {
        all.extend([0, 16, 24].map(|len| of(code, len)));
    }
    all.extend([1, -1, i32::MIN, -16].map(|len_excess| {
        (format!("a free with a length off by {len_excess}"), Message { len_excess, ..free(id, 1) })
    }));
    all
}

/// Writes each notification. Clients must keep their pages, and the server must be able to continue.
fn notifications(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
    let map = client.map(0, 2 * page)?;
    let id = server.page_id(0)?;
    client.fill(map, 0, 2 * page, 1)?;
    let at = At { id, page: page as u32, end: first_invalid_id()? };
    let wide = kernel_has_64_bits()?;
    let far = HARMLESS_FAR.iter().map(|&(what, message, expected_64, expected_32)| {
        (what, message, if wide { expected_64 } else { expected_32 })
    });
    let harmless = HARMLESS
        .iter()
        .copied()
        .chain(far)
        .map(|(what, message, expected): Row| (what.to_owned(), message(&at), expected));
    let malformed = malformed(id).into_iter().map(|(what, message)| (what, message, INVALID));
    for (what, message, expected) in harmless.chain(malformed) {
        expect_write(&mut server, &what, message, expected)?;
        client.verify(map, 0, 2 * page, 1)?;
        expect(&format!("pages after {what}"), server.pages()?, 2)?;
    }

    // Only one such message: on sparc64 the server gets SIGBUS as well as EFAULT, and the Rust runtime survives only
    // one.
    let half = Message { unreadable_tail: 12, ..load(id, 0, 8, 8) };
    expect_write(&mut server, "a load whose end is not in memory", half, Err(Errno::EFAULT))?;
    client.verify(map, 0, 2 * page, 1)?;

    // An offset can be larger than a page.
    let second = load(id - 3, 4 * page as u32 + 8, 16, 16);
    expect_write(&mut server, "a load at an offset of four pages", second, OK)?;
    client.verify(map, 0, page + 8, 1)?;
    client.verify_zero(map, page + 8, 16)?;
    client.verify(map, page + 24, page - 24, 1)?;
    expect("bytes saved", server.save_pages(id, 0, page + 8, 1)?, Ok(page + 8))?;
    expect_write(&mut server, "a free of all IDs", free(0, at.end), OK)?;
    expect("pages", server.pages()?, 0)?;
    client.verify_zero(map, 0, 2 * page)?;
    server.quit_after([client])
}

/// Returns one valid notification of each kind.
fn one_each(id: u64) -> [(&'static str, Message); 3] {
    [("a load", load(id, 0, 8, 8)), ("a save", save(1, id, 0, 8)), ("a free", free(id, 1))]
}

/// Writes a notification while the connection is not usable. The kernel must refuse it with `errno`, or, since Linux
/// 7.x, with EINVAL: there fuse_dev_do_write() looks at the connection before it looks at the notification.
fn expect_refusal(
    server: &mut Server,
    what: &str,
    message: Message,
    errno: Errno,
) -> Result<(), Failure> {
    let found = server.write(message)?;
    expect_that([Err(errno), INVALID].contains(&found), || match found {
        Ok(()) => format!("write of {what}: expected {errno} or EINVAL, but it succeeded"),
        Err(found) => format!("write of {what}: expected {errno} or EINVAL, found {found}"),
    })
}

/// Writes notifications without a connection, which fail with EPERM, and before INIT is answered, which fail with
/// ENODEV or EINVAL. Those of a wrong size fail with EINVAL.
fn early(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let unmounted = Channel::open("/dev/fuse")?;
    for (what, message) in one_each(5) {
        let result = unmounted.write(&message).map_err(|error| error.errno);
        expect(&format!("{what} with nothing mounted"), result, Err(Errno::EPERM))?;
    }
    let mapping = Mapping::of(unmounted.fd(), 0, page, Prot::Read, Sharing::Shared);
    let errno = mapping.err().map(|error| error.errno);
    expect("mmap with nothing mounted", errno, Some(Errno::ENODEV))?;
    drop(unmounted);

    let mut server = case.serve_as(holding_init())?;
    for (what, message) in one_each(5) {
        let short = Message { body: message.body[1..].to_vec(), ..message.clone() };
        expect_refusal(&mut server, what, message, Errno::ENODEV)?;
        expect_write(&mut server, "a notification that is too short", short, INVALID)?;
    }
    expect("mmap of the channel", server.try_map(0, page)?.err(), Some(Errno::ENODEV))?;
    server.behave(Behaviour::default())?;
    expect_serves(case, &mut server)?;
    server.quit()
}

/// Writes notifications after an abort. Notifications and touches must not create pages, and existing pages must
/// remain.
fn late(case: &mut Case) -> Result<(), Failure> {
    let page = page_size();
    let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
    let map = client.map(0, 2 * page)?;
    let id = server.page_id(0)?;
    let here = server.map_pages(id, 2)?;
    client.fill(map, 0, page, 1)?;
    server.abort()?;
    // One page that exists, and one that does not.
    for id in [id, id + 1] {
        for (what, message) in one_each(id) {
            expect_refusal(&mut server, what, message, Errno::ENOTCONN)?;
        }
    }
    let gone = Err(Errno::ENOTCONN);
    expect("mmap of the channel", server.try_map(id * page as u64, page)?.map(drop), gone)?;
    expect("the client's mmap", client.try_map(0, page)?.map(drop), gone)?;
    expect("a client's touch of a new page", client.touch(map, page, true)?, Touch::Sigbus)?;
    expect("the server's touch of a new page", server.touch(here, page, true)?, Touch::Sigbus)?;
    client.verify(map, 0, page, 1)?;
    server.quit_after([client])
}

/// Leaves saves unread. The kernel must refuse more than 64, and free the pages at the end, whether the saves were read
/// or not.
fn saves_unread(case: &mut Case) -> Result<(), Failure> {
    let pages: usize = case.param("pages")?;
    let len = pages * page_size();
    let mut server = case.serve()?;
    let id = server.page_id(0)?;
    let not_reading = Behaviour { reads_nothing: true, ..Behaviour::default() };
    let mut client = case.client("client", &server)?;
    let map = client.map(0, len)?;
    client.fill(map, 0, len, 1)?;
    let saves = |first: u64, count: u64| {
        let save = |number| save(number, id, 0, len as u32);
        (first..first + count).map(save).collect()
    };

    server.behave(not_reading)?;
    let mut results = server.write_all(saves(1000, MAX_SAVES + 2))?;
    let over = results.split_off(MAX_SAVES as usize);
    expect("saves", results, vec![Ok(()); MAX_SAVES as usize])?;
    expect("saves over the limit", over, vec![Err(Errno::EAGAIN); 2])?;
    server.behave(Behaviour::default())?;
    let last = Some(1000 + MAX_SAVES - 1);
    await_requests(&mut server, "the last save", |log| log.unique(op::NOTIFY_REPLY) == last)?;
    expect("bytes saved afterwards", server.save_pages(id, 0, len, 1)?, Ok(len))?;

    server.behave(not_reading)?;
    expect("saves", server.write_all(saves(2000, MAX_SAVES))?, vec![Ok(()); MAX_SAVES as usize])?;
    server.kill()?;
    client.verify(map, 0, len, 1)?;
    client.quit()?;
    expect("pages at the end", counters::read(PAGES_TOTAL)?, 0)
}

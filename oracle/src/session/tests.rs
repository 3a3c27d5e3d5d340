// SPDX-License-Identifier: GPL-2.0-or-later
use oracle_wire::config::Arch;

use super::*;
use crate::config;

const KERNEL_PC: u64 = 0xc000_8004;
const PROGRAM_PC: u64 = 0x1_0000;

type Test = Session<Vec<u8>>;

fn session(change: impl FnOnce(&mut Config)) -> Test {
    let mut config = config::tests::sample();
    change(&mut config);
    let map = "c0008000 T _text\nc0008000 T clear_page\nc0900000 B _end\n";
    Session::new(config, Symbols::parse(map), Vec::new())
}

/// What was written, without the first line.
fn written(session: &Test) -> String {
    let text = String::from_utf8(session.out.clone()).unwrap();
    text.split_once('\n').unwrap().1.to_owned()
}

/// A guest that says what its page at 0x40001000 is in memory.
fn say(session: &mut Test, said: u64) -> Listen {
    session.marker(Marker::Known);
    let at = 0x4000_1000;
    let mut listen = Listen::AsBefore;
    for (index, value) in [0, at, said >> 32, said & 0xffff_ffff]
        .into_iter()
        .enumerate()
    {
        let offset = 4 * index as u64;
        listen = session.payload(at + offset, Some(0x1_0000_5000 + offset), value);
    }
    listen
}

fn open(session: &mut Test, id: u64) -> Listen {
    assert_eq!(session.marker(Marker::Open), Listen::AsBefore);
    session.payload(0x4000_0000, Some(0x5000), id)
}

fn access(session: &mut Test, pc: u64, address: u64, store: bool) {
    access_by(session, pc, address, store, Way::Cached);
}

fn access_by(session: &mut Test, pc: u64, address: u64, store: bool, way: Way) {
    let seen = Seen {
        pc,
        address,
        store,
        space: None,
    };
    let physical = 0x7000 + address % 4096;
    session.access(seen, || 4, || Some(Where { physical, way }));
}

/// A session in window 16.
fn opened(change: impl FnOnce(&mut Config)) -> Test {
    let mut session = session(change);
    open(&mut session, 0);
    say(&mut session, 0x1_0000_5000);
    assert_eq!(open(&mut session, 16), Listen::Accesses);
    session
}

#[test]
fn the_first_line_says_who_writes() {
    let text = String::from_utf8(session(|_| {}).out).unwrap();
    insta::assert_snapshot!(text, @r#"{"hello":{"version":"0.1.0","api":4,"arch":"arm","cache":{"kind":"vipt","period":16384,"line":32,"write":"back"},"depth":"user"}}"#);
}

#[test]
fn a_machine_that_does_not_alias_is_not_listened_to() {
    let physical = |config: &mut Config| config.cache.kind = CacheKind::Physical;
    assert_eq!(session(physical).start(), Listen::Nothing);
    assert_eq!(session(|_| {}).start(), Listen::Markers);
}

#[test]
fn windows_open_and_close() {
    let mut session = opened(|_| {});
    assert_eq!(session.marker(Marker::Close), Listen::AsBefore);
    assert_eq!(session.marker(Marker::Close), Listen::AsBefore);
    insta::assert_snapshot!(written(&session), @r#"
    {"window":{"id":0}}
    {"known":{"virtual":"0x40001000","physical":"0x100005000","said":"0x100005000"}}
    {"end":{"window":0,"findings":0,"distinct":0,"repeats":[],"accesses":0}}
    {"window":{"id":16}}
    {"end":{"window":16,"findings":0,"distinct":0,"repeats":[],"accesses":0}}
    "#);
}

#[test]
fn an_address_that_is_another_is_refused() {
    let mut session = session(|_| {});
    open(&mut session, 0);
    assert_eq!(say(&mut session, 0x1_0000_6000), Listen::Nothing);
    assert_eq!(session.marker(Marker::Open), Listen::Nothing);
    insta::assert_snapshot!(written(&session), @r#"
    {"window":{"id":0}}
    {"known":{"virtual":"0x40001000","physical":"0x100005000","said":"0x100006000"}}
    {"refused":{"why":"the guest maps 0x40001000 to physical 0x100006000, but QEMU maps 0x40001000 to 0x100005000; this plugin does not work with this QEMU"}}
    "#);
}

#[test]
fn a_window_before_the_check_is_refused() {
    let mut session = session(|_| {});
    assert_eq!(open(&mut session, 16), Listen::Nothing);
    insta::assert_snapshot!(written(&session), @r#"{"refused":{"why":"window 16 opens before the guest has named an address whose physical address it knows"}}"#);
}

#[test]
fn a_marker_without_its_stores_is_refused() {
    let mut session = session(|_| {});
    session.marker(Marker::Known);
    session.payload(0x4000_0000, Some(0), 1);
    assert_eq!(session.marker(Marker::Close), Listen::Nothing);
    insta::assert_snapshot!(written(&session), @r#"{"refused":{"why":"Close came before all of Known had: only 1 of its 4 stores were seen"}}"#);
}

#[test]
fn findings_like_each_other_are_written_once() {
    let mut session = opened(|_| {});
    access(&mut session, PROGRAM_PC, 0x4000_1008, true);
    access(&mut session, PROGRAM_PC + 8, 0x4000_2008, false);
    access(&mut session, PROGRAM_PC, 0x4000_1048, true);
    access(&mut session, PROGRAM_PC + 8, 0x4000_2048, false);
    access(&mut session, KERNEL_PC, 0x4000_2048, true);
    session.marker(Marker::Close);
    let text = written(&session);
    let (_, findings) = text.split_once("{\"window\":{\"id\":16}}\n").unwrap();
    insta::assert_snapshot!(findings, @r#"
    {"finding":{"window":16,"number":1,"kind":"dirty-elsewhere","line":"0x7000","earlier":{"at":1,"op":"store","by":"process","space":null,"virtual":"0x40001008","physical":"0x7008","size":4,"colour":1,"pc":"0x10000","symbol":null},"later":{"at":2,"op":"load","by":"process","space":null,"virtual":"0x40002008","physical":"0x7008","size":4,"colour":2,"pc":"0x10008","symbol":null},"story":[{"at":1,"op":"store","by":"process","space":null,"virtual":"0x40001008","physical":"0x7008","size":4,"colour":1,"pc":"0x10000","symbol":null},{"at":2,"op":"load","by":"process","space":null,"virtual":"0x40002008","physical":"0x7008","size":4,"colour":2,"pc":"0x10008","symbol":null}]}}
    {"finding":{"window":16,"number":2,"kind":"lost-write","line":"0x7040","earlier":{"at":3,"op":"store","by":"process","space":null,"virtual":"0x40001048","physical":"0x7048","size":4,"colour":1,"pc":"0x10000","symbol":null},"later":{"at":5,"op":"store","by":"kernel","space":null,"virtual":"0x40002048","physical":"0x7048","size":4,"colour":2,"pc":"0xc0008004","symbol":"clear_page+0x4"},"story":[{"at":3,"op":"store","by":"process","space":null,"virtual":"0x40001048","physical":"0x7048","size":4,"colour":1,"pc":"0x10000","symbol":null},{"at":4,"op":"load","by":"process","space":null,"virtual":"0x40002048","physical":"0x7048","size":4,"colour":2,"pc":"0x10008","symbol":null},{"at":5,"op":"store","by":"kernel","space":null,"virtual":"0x40002048","physical":"0x7048","size":4,"colour":2,"pc":"0xc0008004","symbol":"clear_page+0x4"}]}}
    {"end":{"window":16,"findings":3,"distinct":2,"repeats":[2,1],"accesses":5}}
    "#);
}

#[test]
fn more_than_can_be_read_are_counted() {
    let mut session = opened(|_| {});
    access(&mut session, PROGRAM_PC, 0x4000_1008, true);
    for pc in 0..1000 {
        access(&mut session, 8 * pc, 0x4000_2008, false);
    }
    session.marker(Marker::Close);
    let text = written(&session);
    assert_eq!(text.matches("{\"finding\"").count(), WRITTEN);
    assert!(text.contains(r#""findings":1000,"distinct":1000,"repeats":[1,1,"#));
}

#[test]
fn a_page_with_virtual_tags_that_is_used_round_the_cache_was_flushed_unless_that_is_judged() {
    let steps = |depth, way| {
        let mut session = opened(|config| {
            config.depth = depth;
            config.cache.kind = CacheKind::Vivt;
        });
        access(&mut session, PROGRAM_PC, 0x4000_1008, true);
        access_by(&mut session, PROGRAM_PC, 0x4000_2008, false, way);
        session.window.unwrap().findings
    };
    assert_eq!(steps(Depth::User, Way::Round), 0);
    assert_eq!(steps(Depth::User, Way::Cached), 1);
    assert_eq!(steps(Depth::Full, Way::Round), 1);
}

#[test]
fn a_store_of_the_kernel_has_the_line_start_anew_unless_it_is_judged() {
    let steps = |depth| {
        let mut session = opened(|config| config.depth = depth);
        access(&mut session, PROGRAM_PC, 0x4000_1008, true);
        access(&mut session, KERNEL_PC, 0xc000_0008, true);
        access(&mut session, KERNEL_PC, 0xc000_3008, false);
        access(&mut session, PROGRAM_PC, 0x4000_2008, false);
        session.window.unwrap().findings
    };
    assert_eq!(steps(Depth::User), 0);
    assert_eq!(steps(Depth::Full), 3);
}

/// What is found of a load in another colour after a store and whatever `between` does.
fn found_after(change: impl FnOnce(&mut Config), between: impl FnOnce(&mut Test)) -> u64 {
    let mut session = opened(change);
    access(&mut session, PROGRAM_PC, 0x4000_1008, true);
    between(&mut session);
    access(&mut session, PROGRAM_PC, 0x4000_2008, false);
    session.window.unwrap().findings
}

#[test]
fn what_the_kernel_does_to_the_cache_counts_where_it_is_judged() {
    let full = |config: &mut Config| config.depth = Depth::Full;
    let colour = |address: u64| {
        move |session: &mut Test| {
            session.maintain(KERNEL_PC, Op::Flush, (address, 0x7000), 4096);
        }
    };
    assert_eq!(found_after(full, |_| {}), 1);
    assert_eq!(found_after(full, colour(0xffff_5000)), 0);
    assert_eq!(found_after(full, colour(0xffff_6000)), 1);
    assert_eq!(
        found_after(full, |session| session.maintain_all(KERNEL_PC, Op::Flush)),
        0
    );
    let every = |session: &mut Test| session.maintain_every_colour(KERNEL_PC, Op::Flush, 0x7123);
    assert_eq!(found_after(full, every), 0);
    assert_eq!(found_after(|_| {}, colour(0xffff_5000)), 1);
}

#[test]
fn a_switch_flushes_virtual_tags_where_the_kernel_is_trusted_to() {
    let switch = |session: &mut Test| session.switch(KERNEL_PC);
    let tags = |depth| {
        move |config: &mut Config| {
            config.cache.kind = CacheKind::Vivt;
            config.depth = depth;
        }
    };
    assert_eq!(found_after(tags(Depth::User), switch), 0);
    assert_eq!(found_after(tags(Depth::Full), switch), 1);
    assert_eq!(found_after(|_| {}, switch), 1);
}

#[test]
fn nothing_is_judged_before_the_check() {
    let mut session = session(|_| {});
    open(&mut session, 0);
    access(&mut session, PROGRAM_PC, 0x4000_1008, true);
    access(&mut session, PROGRAM_PC, 0x4000_2008, false);
    assert_eq!(session.window.unwrap().accesses, 0);
}

#[test]
fn what_is_known_to_be_seen_late_is_no_finding() {
    let found = |function: &str| {
        let mut config = config::tests::sample();
        config.arch = Arch::Sparc64;
        config.depth = Depth::Full;
        let map = format!("400000 T _text\n404000 T {function}\n404100 T next\n800000 B _end\n");
        let mut session = Session::new(config, Symbols::parse(&map), Vec::new());
        say(&mut session, 0x1_0000_5000);
        open(&mut session, 16);
        access(&mut session, 0x40_4010, 0xffff_f800_0000_1008, true);
        access(&mut session, PROGRAM_PC, 0xffff_f801_0000_2008, false);
        session.window.unwrap().findings
    };
    assert_eq!(found("update_vsyscall"), 0);
    assert_eq!(found("clear_page"), 1);
}

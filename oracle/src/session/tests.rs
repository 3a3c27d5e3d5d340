// SPDX-License-Identifier: GPL-2.0-or-later

use super::*;
use crate::config;

const KERNEL_PC: u64 = 0xc000_8004;
const PROGRAM_PC: u64 = 0x1_0000;

type Test = Session<Vec<u8>>;

fn session(change: impl FnOnce(&mut Config)) -> Test {
    let mut config = config::tests::sample();
    change(&mut config);
    let map =
        "c0008000 T _text\nc0008000 T clear_page\nc0008100 T flush_cache_mm\nc0900000 B _end\n";
    Session::new(config, Symbols::parse(map), Vec::new())
}

/// Returns the output without the first line.
fn written(session: &Test) -> String {
    let text = String::from_utf8(session.out.clone()).unwrap();
    text.split_once('\n').unwrap().1.to_owned()
}

/// Names the address 0x40001000, with `expected` as its physical address.
fn name_address(session: &mut Test, expected: u64) -> Listen {
    session.marker(Marker::Known);
    let at = 0x4000_1000;
    let mut listen = Listen::Unchanged;
    for (index, value) in [0, at, expected >> 32, expected & 0xffff_ffff].into_iter().enumerate() {
        let offset = 4 * index as u64;
        listen = session.payload(at + offset, Some(0x1_0000_5000 + offset), value);
    }
    listen
}

fn open(session: &mut Test, id: u64) -> Listen {
    assert_eq!(session.marker(Marker::Open), Listen::Unchanged);
    session.payload(0x4000_0000, Some(0x5000), id)
}

fn access(session: &mut Test, pc: u64, address: u64, store: bool) {
    access_with(session, pc, address, store, Caching::Allocate);
}

fn access_with(session: &mut Test, pc: u64, address: u64, store: bool, caching: Caching) {
    let owner = session.machine.owner(session.machine.by(pc), 0);
    let target = translations::Place { physical: 0x7000 + address % 4096, size: 4 };
    let kind = Some(2);
    let reported = Reported { pc, owner, address, store, kind, target, caching };
    if !store && session.remembers_load(address, 2) {
        return;
    }
    if !session.handles_repeat(&reported) {
        session.access(&reported, &NoGuest);
    }
}

/// A guest without registers.
struct NoGuest;

impl Guest for NoGuest {
    fn register(&self, _: u8) -> Option<u64> {
        None
    }

    fn read(&self, _: u64, _: &mut [u8]) -> bool {
        false
    }
}

/// Returns a session with an open window, 16.
fn opened(change: impl FnOnce(&mut Config)) -> Test {
    let mut session = session(change);
    open(&mut session, 0);
    name_address(&mut session, 0x1_0000_5000);
    assert_eq!(open(&mut session, 16), Listen::Accesses);
    session
}

#[test]
fn the_first_line_names_plugin_and_configuration() {
    let text = String::from_utf8(session(|_| {}).out).unwrap();
    insta::assert_snapshot!(text, @r#"{"hello":{"version":"0.1.0","api":4,"arch":"arm","cache":{"kind":"vipt","period":16384,"line":32,"write":"back"},"depth":"user"}}"#);
}

#[test]
fn a_machine_without_aliases_needs_no_callbacks() {
    let physical = |config: &mut Config| config.cache.kind = CacheKind::Physical;
    assert_eq!(session(physical).start(), Listen::Nothing);
    assert_eq!(session(|_| {}).start(), Listen::Markers);
}

#[test]
fn windows_open_and_close() {
    let mut session = opened(|_| {});
    assert_eq!(session.marker(Marker::Close), Listen::Unchanged);
    assert_eq!(session.marker(Marker::Close), Listen::Unchanged);
    insta::assert_snapshot!(written(&session), @r#"
    {"window":{"id":0}}
    {"known":{"virtual":"0x40001000","physical":"0x100005000","expected":"0x100005000"}}
    {"end":{"window":0,"findings":0,"distinct":0,"repeats":[],"accesses":0}}
    {"window":{"id":16}}
    {"end":{"window":16,"findings":0,"distinct":0,"repeats":[],"accesses":0}}
    "#);
}

#[test]
fn a_physical_address_that_differs_is_refused() {
    let mut session = session(|_| {});
    open(&mut session, 0);
    assert_eq!(name_address(&mut session, 0x1_0000_6000), Listen::Nothing);
    assert_eq!(session.marker(Marker::Open), Listen::Nothing);
    insta::assert_snapshot!(written(&session), @r#"
    {"window":{"id":0}}
    {"known":{"virtual":"0x40001000","physical":"0x100005000","expected":"0x100006000"}}
    {"refused":{"why":"the guest maps 0x40001000 to physical 0x100006000, but QEMU maps 0x40001000 to 0x100005000; this plugin does not work with this QEMU"}}
    "#);
}

#[test]
fn a_window_before_the_known_address_is_refused() {
    let mut session = session(|_| {});
    assert_eq!(open(&mut session, 16), Listen::Nothing);
    insta::assert_snapshot!(written(&session), @r#"{"refused":{"why":"window 16 opened before the guest named an address whose physical address it knows"}}"#);
}

#[test]
fn a_marker_without_its_stores_is_refused() {
    let mut session = session(|_| {});
    session.marker(Marker::Known);
    session.payload(0x4000_0000, Some(0), 1);
    assert_eq!(session.marker(Marker::Close), Listen::Nothing);
    insta::assert_snapshot!(written(&session), @r#"{"refused":{"why":"the guest's marker `known address` is incomplete: 1 of 4 stores arrived before the next marker, `close`"}}"#);
}

#[test]
fn a_repeated_finding_is_written_once() {
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
    {"finding":{"window":16,"number":1,"kind":"dirty-elsewhere","line":"0x7000","earlier":{"at":1,"op":"store","by":"process","space":null,"virtual":"0x40001008","physical":"0x7008","size":4,"colour":1,"pc":"0x10000","symbol":null,"mapping":"process"},"later":{"at":2,"op":"load","by":"process","space":null,"virtual":"0x40002008","physical":"0x7008","size":4,"colour":2,"pc":"0x10008","symbol":null,"mapping":"process"},"story":[{"at":1,"op":"store","by":"process","space":null,"virtual":"0x40001008","physical":"0x7008","size":4,"colour":1,"pc":"0x10000","symbol":null,"mapping":"process"},{"at":2,"op":"load","by":"process","space":null,"virtual":"0x40002008","physical":"0x7008","size":4,"colour":2,"pc":"0x10008","symbol":null,"mapping":"process"}]}}
    {"finding":{"window":16,"number":2,"kind":"lost-write","line":"0x7040","earlier":{"at":3,"op":"store","by":"process","space":null,"virtual":"0x40001048","physical":"0x7048","size":4,"colour":1,"pc":"0x10000","symbol":null,"mapping":"process"},"later":{"at":5,"op":"store","by":"kernel","space":null,"virtual":"0x40002048","physical":"0x7048","size":4,"colour":2,"pc":"0xc0008004","symbol":"clear_page+0x4","culprit":"clear_page","mapping":"process"},"story":[{"at":3,"op":"store","by":"process","space":null,"virtual":"0x40001048","physical":"0x7048","size":4,"colour":1,"pc":"0x10000","symbol":null,"mapping":"process"},{"at":4,"op":"load","by":"process","space":null,"virtual":"0x40002048","physical":"0x7048","size":4,"colour":2,"pc":"0x10008","symbol":null,"mapping":"process"},{"at":5,"op":"store","by":"kernel","space":null,"virtual":"0x40002048","physical":"0x7048","size":4,"colour":2,"pc":"0xc0008004","symbol":"clear_page+0x4","culprit":"clear_page","mapping":"process"}]}}
    {"end":{"window":16,"findings":3,"distinct":2,"repeats":[2,1],"accesses":5}}
    "#);
}

/// Returns a session at depth full, with a kernel of `functions` functions of 256 bytes at [`KERNEL_PC`].
fn with_functions(functions: u64) -> Test {
    let mut config = config::tests::sample();
    config.depth = Depth::Full;
    let mut map = String::from("c0008000 T _text\n");
    for number in 0..functions {
        map += &format!("{:x} t function_{number}\n", 0xc000_8000 + 256 * number);
    }
    map += "c0900000 B _end\n";
    let mut session = Session::new(config, Symbols::parse(&map), Vec::new());
    open(&mut session, 0);
    name_address(&mut session, 0x1_0000_5000);
    open(&mut session, 16);
    session
}

#[test]
fn a_flood_of_one_bug_does_not_hide_another() {
    let mut session = with_functions(2);
    access(&mut session, PROGRAM_PC, 0x4000_1008, true);
    // The first bug: each load is by another instruction of one function.
    for number in 0..10_000 {
        access(&mut session, 0xc000_8000 + number % 64 * 4, 0xc000_2008 + number / 64 % 4, false);
    }
    // The second bug.
    access(&mut session, 0xc000_8100, 0xc000_2008, true);
    session.marker(Marker::Close);
    let text = written(&session);
    assert_eq!(text.matches("{\"finding\"").count(), 2);
    assert!(text.contains("function_1"), "{text}");
    assert!(text.contains(r#""findings":10001,"distinct":2,"repeats":[10000,1],"#), "{text}");
}

#[test]
fn findings_over_the_limit_are_counted() {
    let mut session = with_functions(1000);
    access(&mut session, PROGRAM_PC, 0x4000_1008, true);
    for number in 0..1000 {
        access(&mut session, 0xc000_8000 + 256 * number, 0xc000_2008, false);
    }
    session.marker(Marker::Close);
    let text = written(&session);
    assert_eq!(text.matches("{\"finding\"").count(), WRITTEN);
    assert!(text.contains(r#""findings":1000,"distinct":1000,"repeats":[1,1,"#));
}

#[test]
fn without_symbols_findings_are_grouped_by_instruction() {
    let mut session = opened(|config| config.depth = Depth::Full);
    session.symbols = Symbols::default();
    access(&mut session, PROGRAM_PC, 0x4000_1008, true);
    for pc in [0xc000_9000, 0xc000_9000, 0xc000_a000] {
        access(&mut session, pc, 0xc000_2008, false);
    }
    let window = session.window.unwrap();
    assert_eq!((window.findings, window.repeats), (3, vec![2, 1]));
}

#[test]
fn depth_user_trusts_the_flush_before_an_uncached_mapping() {
    let steps = |depth, caching| {
        let mut session = opened(|config| {
            config.depth = depth;
            config.cache.kind = CacheKind::Vivt;
        });
        access(&mut session, PROGRAM_PC, 0x4000_1008, true);
        access_with(&mut session, PROGRAM_PC, 0x4000_2008, false, caching);
        session.window.unwrap().findings
    };
    assert_eq!(steps(Depth::User, Caching::Bypass), 0);
    assert_eq!(steps(Depth::User, Caching::Allocate), 1);
    assert_eq!(steps(Depth::Full, Caching::Bypass), 1);
}

#[test]
fn depth_user_resets_a_line_that_the_kernel_stores_to() {
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

/// Returns the number of findings of a store, `between`, and a load in another colour.
fn findings_with(change: impl FnOnce(&mut Config), between: impl FnOnce(&mut Test)) -> u64 {
    let mut session = opened(change);
    access(&mut session, PROGRAM_PC, 0x4000_1008, true);
    between(&mut session);
    access(&mut session, PROGRAM_PC, 0x4000_2008, false);
    session.window.unwrap().findings
}

#[test]
fn cache_maintenance_counts_at_depth_full() {
    let full = |config: &mut Config| config.depth = Depth::Full;
    let colour = |address: u64| {
        move |session: &mut Test| {
            session.maintain(KERNEL_PC, Op::Flush, (address, 0x7000), 4096);
        }
    };
    assert_eq!(findings_with(full, |_| {}), 1);
    assert_eq!(findings_with(full, colour(0xffff_5000)), 0);
    assert_eq!(findings_with(full, colour(0xffff_6000)), 1);
    assert_eq!(
        findings_with(full, |session| session.maintain_all(KERNEL_PC, Op::Flush, &NoGuest)),
        0
    );
    let every = |session: &mut Test| session.maintain_every_colour(KERNEL_PC, Op::Flush, 0x7123);
    assert_eq!(findings_with(full, every), 0);
    assert_eq!(findings_with(|_| {}, colour(0xffff_5000)), 1);
}

/// Returns the number of findings of a load by one process of what another one has stored, after a flush of the whole
/// cache at `pc` while the process with the page tables `tables` ran. Those of the first process are at 0x4000.
fn findings_after_flush(depth: Depth, pc: u64, tables: u64) -> u64 {
    let mut session = opened(|config| config.depth = depth);
    session.use_tables(Some(0x4000));
    access(&mut session, PROGRAM_PC, 0x4000_1008, true);
    session.use_tables(Some(tables));
    access(&mut session, PROGRAM_PC, 0x4000_6048, false);
    session.maintain_all(pc, Op::Flush, &NoGuest);
    session.use_tables(Some(0x8000));
    access(&mut session, PROGRAM_PC, 0x4000_2008, false);
    session.window.unwrap().findings
}

#[test]
fn depth_strict_counts_a_flush_for_a_process_for_that_process() {
    let flush_cache_mm = 0xc000_8110;
    assert_eq!(findings_after_flush(Depth::Strict, flush_cache_mm, 0x4000), 0);
    assert_eq!(findings_after_flush(Depth::Strict, flush_cache_mm, 0x8000), 1);
    assert_eq!(findings_after_flush(Depth::Strict, KERNEL_PC, 0x8000), 0);
    assert_eq!(findings_after_flush(Depth::Full, flush_cache_mm, 0x8000), 0);
}

#[test]
fn depth_user_trusts_the_flush_at_a_switch_of_spaces() {
    let switch = |session: &mut Test| session.switch_space(KERNEL_PC);
    let tags = |depth| {
        move |config: &mut Config| {
            config.cache.kind = CacheKind::Vivt;
            config.depth = depth;
        }
    };
    assert_eq!(findings_with(tags(Depth::User), switch), 0);
    assert_eq!(findings_with(tags(Depth::Full), switch), 1);
    assert_eq!(findings_with(|_| {}, switch), 1);
}

#[test]
fn nothing_is_checked_before_the_known_address() {
    let mut session = session(|_| {});
    open(&mut session, 0);
    access(&mut session, PROGRAM_PC, 0x4000_1008, true);
    access(&mut session, PROGRAM_PC, 0x4000_2008, false);
    assert_eq!(session.window.unwrap().accesses, 0);
}

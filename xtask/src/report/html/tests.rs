// SPDX-License-Identifier: MIT OR Apache-2.0

use std::collections::BTreeSet;
use std::path::Path;

use roxmltree::{Document, ParsingOptions};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::lane::Lane;
use super::*;
use crate::oracle::config::tests::armv6;
use crate::oracle::files::Story;
use crate::oracle::line::{Hex, tests::finding};
use crate::oracle::story::id;
use crate::report::samples;
use crate::target::CacheKind;

/// What is told of a run on this machine.
fn told(stories: Stories) -> Told<'static> {
    let origin = Origin::Run {
        dir: Path::new("/lab/run"),
        again: "cargo xtask test --oracle on",
    };
    Told {
        origin,
        stories,
        beside: true,
    }
}

/// What the page says when the files of the boot are there: two lines of a page.
fn stories() -> Stories {
    let story = |number| {
        let mut finding = finding(16, number);
        if number == 2 {
            finding.line = Hex(0x4c3f040);
            finding.story[0].colour = None;
        }
        let config = armv6();
        Ok(Story { finding, config })
    };
    let name = |number| id("armv6", "coherency/ping-pong.fuse", number);
    [1, 2].map(|number| (name(number), story(number))).into()
}

/// The page without its style, whose rules are no words.
fn page(run: &RunResult, told: &Told) -> String {
    render(run, told).replace(STYLE, "")
}

/// The section of the page with this anchor.
fn section(page: &str, anchor: &str) -> String {
    let (_, rest) = page
        .split_once(&format!("<section id=\"{anchor}\">"))
        .unwrap();
    let (section, _) = rest.split_once("</section>").unwrap();
    section.to_owned()
}

/// What a person reads of a piece of the page: an element that stands by itself on a line of its own.
fn words(html: &str) -> String {
    let mut text = html.to_owned();
    for (tag, with) in [
        ("</tr>", "\n"),
        ("</th>", " | "),
        ("</td>", " | "),
        ("</dt>", ": "),
        ("</dd>", "\n"),
        ("</h1>", "\n"),
        ("</h2>", "\n"),
        ("</h3>", "\n"),
        ("</h4>", "\n"),
        ("</h5>", "\n"),
        ("</p>", "\n"),
        ("</li>", "\n"),
        ("</figcaption>", "\n"),
        ("</summary>", "\n"),
        ("</pre>", "\n"),
    ] {
        text = text.replace(tag, with);
    }
    let tag = regex::Regex::new("<[^>]*>").unwrap();
    let text = tag.replace_all(&text, "");
    let lines = text.lines().map(str::trim_end);
    lines
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

/// The page as a tree. Elements that HTML does not close are closed first: they are all in the head.
fn with_tree(page: &str, look: impl Fn(&Document)) {
    let meta = regex::Regex::new("<meta ([^>]*)>").unwrap();
    let page = meta.replace_all(page, "<meta $1/>");
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    look(&Document::parse_with_options(&page, options).unwrap());
}

/// Every result there is a sample of.
fn samples_of_all() -> [RunResult; 5] {
    [
        samples::mixed(),
        samples::watched(),
        samples::untested(),
        samples::interrupted(),
        samples::empty(),
    ]
}

#[test]
fn the_top_says_what_came_of_it() {
    let tops = samples_of_all().map(|run| {
        let page = page(&run, &told(Stories::new()));
        let (_, rest) = page.split_once("<header>").unwrap();
        words(rest.split_once("<nav").unwrap().0)
    });
    insta::assert_snapshot!(tops.join("\n"), @"
    Did not pass: 3 passed, 5 failed, 1 skipped
    done after 2 min 11 s, started 2025-11-22T19:33:00Z; dmmap-lab 0.1.0 (850347e); exit code 2
    Did not pass: 1 passed, 1 failed, 0 skipped
    done after 2 min 11 s, started 2025-11-22T19:33:00Z; dmmap-lab 0.1.0 (850347e); exit code 1
    Did not pass: 0 passed, 2 failed, 0 skipped
    done after 2 min 11 s, started 2025-11-22T19:33:00Z; dmmap-lab 0.1.0 (850347e); exit code 2
    Interrupted: 1 passed, 3 failed, 0 skipped
    interrupted after 2 min 11 s, started 2025-11-22T19:33:00Z; dmmap-lab 0.1.0 (850347e); exit code 2
    Did not pass: 0 passed, 1 failed, 0 skipped
    done after 2 min 11 s, started 2025-11-22T19:33:00Z; dmmap-lab 0.1.0 (850347e); exit code 2
    ");
}

#[test]
fn the_targets_and_what_ran_there() {
    let page = page(&samples::mixed(), &told(Stories::new()));
    insta::assert_snapshot!(words(&section(&page, "targets")), @"
    Targets
    target | pass | fail | skip | crash | timeout | boot-fail | infra | kernel | QEMU | accel | oracle |
    x86_64 | 1 | 1 | 1 | 1 | 1 | 1 | 1 | 6.12.117 | QEMU emulator version 7.2.19 | tcg: /dev/kvm opens, but no guest ran within 3 s | off: data caches do not alias |
    arm64 | 2 | - | - | - | - | - | - | 6.12.117 | QEMU emulator version 7.2.19 | kvm | off: data caches do not alias |
    What ran on x86_64
    tool: 0.1.0 (850347e)
    flavour: default
    kernel: 6.12.117
    kernel-hash: 4f1c
    config-hash: a0b1
    image-hash: 77aa
    compiler: gcc (Debian 12.2.0-14+deb12u1) 12.2.0
    rustc: rustc 1.85.0
    qemu: QEMU emulator version 7.2.19
    accel: tcg
    oracle: off
    boots: 3
    time: 1 min 48 s: setup 0.10 s, kernel 1 min 34 s, image 0.02 s, boot 2.40 s, test 11.8 s, shutdown 0.30 s
    skipped: 1 case: no CUSE on this target
    What ran on arm64
    tool: 0.1.0 (850347e)
    flavour: default
    kernel: 6.12.117
    kernel-hash: 4f1c
    config-hash: a0b1
    image-hash: 77aa
    compiler: gcc (Debian 12.2.0-14+deb12u1) 12.2.0
    rustc: rustc 1.85.0
    qemu: QEMU emulator version 7.2.19
    accel: kvm
    oracle: off
    boots: 1
    time: 1 min 48 s: setup 0.10 s, kernel 1 min 34 s, image 0.02 s, boot 2.40 s, test 11.8 s, shutdown 0.30 s
    ");
}

#[test]
fn the_markup_of_a_table() {
    let mut run = samples::mixed();
    run.targets.remove(0);
    let section = section(&page(&run, &told(Stories::new())), "targets");
    let (table, _) = section.split_once("<details>").unwrap();
    insta::assert_snapshot!(table.replace("><", ">\n<"), @r#"
    <h2>Targets</h2>
    <div class="wide" tabindex="0" role="region" aria-label="Targets">
    <table>
    <thead>
    <tr>
    <th scope="col">target</th>
    <th scope="col" class="count">pass</th>
    <th scope="col" class="count">fail</th>
    <th scope="col" class="count">skip</th>
    <th scope="col" class="count">crash</th>
    <th scope="col" class="count">timeout</th>
    <th scope="col" class="count">boot-fail</th>
    <th scope="col" class="count">infra</th>
    <th scope="col">kernel</th>
    <th scope="col">QEMU</th>
    <th scope="col">accel</th>
    <th scope="col">oracle</th>
    </tr>
    </thead>
    <tbody>
    <tr>
    <th scope="row">arm64</th>
    <td class="count good">2</td>
    <td class="count none">-</td>
    <td class="count none">-</td>
    <td class="count none">-</td>
    <td class="count none">-</td>
    <td class="count none">-</td>
    <td class="count none">-</td>
    <td>6.12.117</td>
    <td>QEMU emulator version 7.2.19</td>
    <td>kvm</td>
    <td>off: data caches do not alias</td>
    </tr>
    </tbody>
    </table>
    </div>
    "#);
}

#[test]
fn what_did_not_pass_says_all_that_helps() {
    let page = page(&samples::mixed(), &told(Stories::new()));
    insta::assert_snapshot!(words(&section(&page, "failures")), @"
    What did not pass
    fail x86_64 smoke/redirect.fuse after 1.24 s in boot 1
    checks: What smoke/redirect.fuse promises.
    reason: client 1 stored 0x5a at offset 4096
    the server read 0x00
    log: server: page 7 is mapped
    client 1: stored 0x5a
    console: [    1.214001] init: case 2/7 smoke/redirect.fuse
    files: /lab/run/x86_64/boot-1
    again: cargo xtask test --oracle on --arch x86_64 --case smoke/redirect.fuse
    crash x86_64 coherency/ping-pong.fuse in boot 1
    checks: What coherency/ping-pong.fuse promises.
    reason: [    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008
    console: [    2.310552] init: case 4/7 coherency/ping-pong.fuse
    [    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008
    [    2.514871] Oops: Oops: 0002 [#1] SMP
    [    2.519114] Kernel panic - not syncing: Fatal exception
    files: /lab/run/x86_64/boot-1
    again: cargo xtask test --oracle on --arch x86_64 --case coherency/ping-pong.fuse
    timeout x86_64 coherency/seqlock.fuse after 1.24 s in boot 2
    checks: What coherency/seqlock.fuse promises.
    reason: in phase test
    log: client 2: waits for turn 3
    files: /lab/run/x86_64/boot-2
    again: cargo xtask test --oracle on --arch x86_64 --case coherency/seqlock.fuse
    infra x86_64 drain/limit.cuse after 1.24 s in boot 2
    checks: What drain/limit.cuse promises.
    reason: a record of this case did not arrive whole: truncated
    files: /lab/run/x86_64/boot-2
    again: cargo xtask test --oracle on --arch x86_64 --case drain/limit.cuse
    boot-fail x86_64 drain/exit.fuse
    checks: What drain/exit.fuse promises.
    reason: no first record from the guest: the kernel crashed: No working init found.
    again: cargo xtask test --oracle on --arch x86_64 --case drain/exit.fuse
    ");
}

#[test]
fn what_never_ran_stands_together() {
    let failures = |run: &RunResult| words(&section(&page(run, &told(Stories::new())), "failures"));
    insta::assert_snapshot!(failures(&samples::interrupted()), @"
    What did not pass
    infra x86_64 smoke/redirect.fuse and 2 more
    The others, for the same reason
    smoke/redirect.cuse
    drain/limit.fuse
    checks: What smoke/redirect.fuse promises.
    reason: interrupted before it ran
    again: cargo xtask test --oracle on --arch x86_64 --case smoke/redirect.fuse
    ");
    insta::assert_snapshot!(failures(&samples::untested()), @"
    What did not pass
    not tested x86_64
    0002-fuse-direct-mmap.patch does not apply: fs/fuse/dev.c, line 112
    take it out of kernel-patches/6.12/series or make it fit
    infra x86_64 smoke/boot and 1 more
    The others, for the same reason
    drain/limit.fuse
    checks: What smoke/boot promises.
    reason: not tested
    again: cargo xtask test --oracle on --arch x86_64 --case smoke/boot
    ");
    insta::assert_snapshot!(failures(&samples::empty()), @"
    What did not pass
    not tested x86_64
    it had no case to run
    ");
}

#[test]
fn all_cases_by_suite() {
    let cases = |run: &RunResult| words(&section(&page(run, &told(Stories::new())), "cases"));
    insta::assert_snapshot!(cases(&samples::mixed()), @"
    All cases
    x86_64
    smoke: 1 passed, 1 failed, 1 skipped
    verdict | case | checks | promises | time | boot | figures | oracle |
    pass | smoke/boot | What smoke/boot promises. | 1, 2 | 1.24 s | 1 | free_kib 870412
     |  |
    fail | smoke/redirect.fuse | What smoke/redirect.fuse promises. | 1, 2 | 1.24 s | 1 |  |  |
    skip | smoke/redirect.cuse | What smoke/redirect.cuse promises.skipped: no CUSE on this target
     | 1, 2 |  |  |  |  |
    coherency: 2 failed
    verdict | case | checks | promises | time | boot | figures | oracle |
    crash | coherency/ping-pong.fuse | What coherency/ping-pong.fuse promises. | 1, 2 |  | 1 |  |  |
    timeout | coherency/seqlock.fuse | What coherency/seqlock.fuse promises. | 1, 2 | 1.24 s | 2 |  |  |
    drain: 2 failed
    verdict | case | checks | promises | time | boot | figures | oracle |
    infra | drain/limit.cuse | What drain/limit.cuse promises. | 1, 2 | 1.24 s | 2 |  |  |
    boot-fail | drain/exit.fuse | What drain/exit.fuse promises. | 1, 2 |  |  |  |  |
    arm64
    smoke: 2 passed
    verdict | case | checks | promises | time | boot | figures | oracle |
    pass | smoke/boot | What smoke/boot promises. | 1, 2 | 1.24 s | 1 |  |  |
    pass | smoke/redirect.fuse | What smoke/redirect.fuse promises. | 1, 2 | 1.24 s | 1 |  |  |
    ");
    insta::assert_snapshot!(cases(&samples::watched()), @"
    All cases
    armv6
    smoke: 1 passed
    verdict | case | checks | promises | time | boot | figures | oracle |
    pass | smoke/boot | What smoke/boot promises. | 1, 2 | 1.24 s | 1 |  | 678 accesses; findings: 0 |
    coherency: 1 failed
    verdict | case | checks | promises | time | boot | figures | oracle |
    fail | coherency/ping-pong.fuse | What coherency/ping-pong.fuse promises. | 1, 2 | 1.24 s | 1 |  | 12345 accesses; findings: 2 |
    ");
}

#[test]
fn a_finding_is_told_and_drawn() {
    let page = page(&samples::watched(), &told(stories()));
    let failures = section(&page, "failures");
    insta::assert_snapshot!(words(&failures), @"
    What did not pass
    fail armv6 coherency/ping-pong.fuse after 1.24 s in boot 1
    checks: What coherency/ping-pong.fuse promises.
    reason: may be stale on hardware: what the oracle found
    files: /lab/run/armv6/boot-1
    again: cargo xtask test --oracle on --arch armv6 --case coherency/ping-pong.fuse
    What the oracle found
    From left to right: accesses in order, by their number. A lane is a colour of the cache. Circles are processes', squares the kernel's. S is a store, L a load, C a clean, I an invalidate, F a flush. The dashed line joins the two accesses that do not go together.
    Physical page 0x4c3f000
    Its lines, and the accesses to them in order. Arcs have the numbers of the findings.
    The lines of page 0x4c3f000: accesses in order, an arc for each finding0x4c3f0200x4c3f040121201: store by kernel, 4 bytes at 0xc4c3f020 (physical 0x4c3f020), colour 3, pc 0x10a34, clear_page+0x10S1201: store by kernel, 4 bytes at 0xc4c3f020 (physical 0x4c3f020), uncached, pc 0x10a34, clear_page+0x10S1207: flush by kernel, 4 bytes at 0xc4c3f020 (physical 0x4c3f020), colour 3, pc 0x10a34, v6_flush_kern_dcache_area+0x8F1207: flush by kernel, 4 bytes at 0xc4c3f020 (physical 0x4c3f020), colour 3, pc 0x10a34, v6_flush_kern_dcache_area+0x8F1300: store by process, 4 bytes at 0x40013020 (physical 0x4c3f020), colour 3, pc 0x10a34S1300: store by process, 4 bytes at 0x40013020 (physical 0x4c3f020), colour 3, pc 0x10a34S1302: load by process, 4 bytes at 0x40012020 (physical 0x4c3f020), colour 2, pc 0x10a34L1302: load by process, 4 bytes at 0x40012020 (physical 0x4c3f020), colour 2, pc 0x10a34Larmv6/coherency/ping-pong.fuse/1, once: dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while what a process stored to 0x40013020 (colour 3) may be in the cache only
    dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while what a process stored to 0x40013020 (colour 3) may be in the cache onlycolour 2colour 31201: store by kernel, 4 bytes at 0xc4c3f020 (physical 0x4c3f020), colour 3, pc 0x10a34, clear_page+0x10S1201kernelstore1207: flush by kernel, 4 bytes at 0xc4c3f020 (physical 0x4c3f020), colour 3, pc 0x10a34, v6_flush_kern_dcache_area+0x8F1207kernelflush1300: store by process, 4 bytes at 0x40013020 (physical 0x4c3f020), colour 3, pc 0x10a34S1300processstore1302: load by process, 4 bytes at 0x40012020 (physical 0x4c3f020), colour 2, pc 0x10a34L1302processloadearlierlaterThe story as text
    armv6/coherency/ping-pong.fuse/1: once, in coherency/ping-pong.fuse, boot 1
    dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while what a process stored to 0x40013020 (colour 3) may be in the cache only
    This may be stale on hardware: QEMU itself has no cache and got it right.
    The line of 32 bytes at physical 0x4c3f020 (addresses agree that are a multiple of 16 KiB apart), the last accesses to it:
         at    who      what   bytes  address     colour  space      where
         1201  kernel   store  4      0xc4c3f020  3       0x5a4c000  clear_page+0x10
         1207  kernel   flush  4      0xc4c3f020  3       0x5a4c000  v6_flush_kern_dcache_area+0x8
      &gt;  1300  process  store  4      0x40013020  3       0x5a4c000  0x10a34
      &gt;  1302  process  load   4      0x40012020  2       0x5a4c000  0x10a34
    &gt; the two that do not go together
    armv6/coherency/ping-pong.fuse/2, once: dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while what a process stored to 0x40013020 (colour 3) may be in the cache only
    dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while what a process stored to 0x40013020 (colour 3) may be in the cache onlycolour 2colour 3uncached1201: store by kernel, 4 bytes at 0xc4c3f020 (physical 0x4c3f020), uncached, pc 0x10a34, clear_page+0x10S1201kernelstore1207: flush by kernel, 4 bytes at 0xc4c3f020 (physical 0x4c3f020), colour 3, pc 0x10a34, v6_flush_kern_dcache_area+0x8F1207kernelflush1300: store by process, 4 bytes at 0x40013020 (physical 0x4c3f020), colour 3, pc 0x10a34S1300processstore1302: load by process, 4 bytes at 0x40012020 (physical 0x4c3f020), colour 2, pc 0x10a34L1302processloadearlierlaterThe story as text
    armv6/coherency/ping-pong.fuse/2: once, in coherency/ping-pong.fuse, boot 1
    dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while what a process stored to 0x40013020 (colour 3) may be in the cache only
    This may be stale on hardware: QEMU itself has no cache and got it right.
    The line of 32 bytes at physical 0x4c3f040 (addresses agree that are a multiple of 16 KiB apart), the last accesses to it:
         at    who      what   bytes  address     colour  space      where
         1201  kernel   store  4      0xc4c3f020  -       0x5a4c000  clear_page+0x10
         1207  kernel   flush  4      0xc4c3f020  3       0x5a4c000  v6_flush_kern_dcache_area+0x8
      &gt;  1300  process  store  4      0x40013020  3       0x5a4c000  0x10a34
      &gt;  1302  process  load   4      0x40012020  2       0x5a4c000  0x10a34
    &gt; the two that do not go together
    ");
    let drawing = |label: &str| {
        let (_, rest) = failures
            .split_once(&format!("aria-label=\"{label}\">"))
            .unwrap();
        let (drawing, _) = rest.split_once("</div>").unwrap();
        drawing.replace("><", ">\n<")
    };
    insta::assert_snapshot!(drawing("armv6/coherency/ping-pong.fuse/1"), @r#"
    <svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="finding-case-0-1-1" viewBox="0 0 440 186" width="440" height="186">
    <title id="finding-case-0-1-1">dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while what a process stored to 0x40013020 (colour 3) may be in the cache only</title>
    <g class="lane hue0">
    <line class="track" x1="120" y1="58" x2="440" y2="58">
    </line>
    <text x="4" y="62">colour 2</text>
    </g>
    <g class="lane hue1">
    <line class="track" x1="120" y1="114" x2="440" y2="114">
    </line>
    <text x="4" y="118">colour 3</text>
    </g>
    <line class="pair" x1="320" y1="114" x2="400" y2="58">
    </line>
    <g class="lane hue1">
    <title>1201: store by kernel, 4 bytes at 0xc4c3f020 (physical 0x4c3f020), colour 3, pc 0x10a34, clear_page+0x10</title>
    <rect class="mark filled" x="149" y="103" width="22" height="22">
    </rect>
    <text class="letter" text-anchor="middle" x="160" y="118">S</text>
    </g>
    <g class="axis" text-anchor="middle">
    <text x="160" y="16">1201</text>
    <text x="160" y="162">kernel</text>
    <text x="160" y="178">store</text>
    </g>
    <g class="lane hue1">
    <title>1207: flush by kernel, 4 bytes at 0xc4c3f020 (physical 0x4c3f020), colour 3, pc 0x10a34, v6_flush_kern_dcache_area+0x8</title>
    <rect class="mark" x="229" y="103" width="22" height="22">
    </rect>
    <text class="letter" text-anchor="middle" x="240" y="118">F</text>
    </g>
    <g class="axis" text-anchor="middle">
    <text x="240" y="16">1207</text>
    <text x="240" y="162">kernel</text>
    <text x="240" y="178">flush</text>
    </g>
    <g class="lane hue1">
    <title>1300: store by process, 4 bytes at 0x40013020 (physical 0x4c3f020), colour 3, pc 0x10a34</title>
    <circle class="mark filled" cx="320" cy="114" r="11">
    </circle>
    <text class="letter" text-anchor="middle" x="320" y="118">S</text>
    </g>
    <g class="axis" text-anchor="middle">
    <text x="320" y="16">1300</text>
    <text x="320" y="162">process</text>
    <text x="320" y="178">store</text>
    </g>
    <g class="lane hue0">
    <title>1302: load by process, 4 bytes at 0x40012020 (physical 0x4c3f020), colour 2, pc 0x10a34</title>
    <circle class="mark" cx="400" cy="58" r="11">
    </circle>
    <text class="letter" text-anchor="middle" x="400" y="62">L</text>
    </g>
    <g class="axis" text-anchor="middle">
    <text x="400" y="16">1302</text>
    <text x="400" y="162">process</text>
    <text x="400" y="178">load</text>
    </g>
    <text class="name" text-anchor="middle" x="320" y="98">earlier</text>
    <text class="name" text-anchor="middle" x="400" y="42">later</text>
    </svg>
    "#);
    insta::assert_snapshot!(drawing("Map of page 0x4c3f000"), @r#"
    <svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="map-case-0-1-1" viewBox="0 0 176 128" width="176" height="128">
    <title id="map-case-0-1-1">The lines of page 0x4c3f000: accesses in order, an arc for each finding</title>
    <line class="track" x1="80" y1="58" x2="176" y2="58">
    </line>
    <text class="axis" x="4" y="62">0x4c3f020</text>
    <line class="track" x1="80" y1="110" x2="176" y2="110">
    </line>
    <text class="axis" x="4" y="114">0x4c3f040</text>
    <path class="pair" d="M140 58 Q152 32 164 58">
    </path>
    <text class="name" text-anchor="middle" x="152" y="41">1</text>
    <path class="pair" d="M140 110 Q152 84 164 110">
    </path>
    <text class="name" text-anchor="middle" x="152" y="93">2</text>
    <g class="lane hue1">
    <title>1201: store by kernel, 4 bytes at 0xc4c3f020 (physical 0x4c3f020), colour 3, pc 0x10a34, clear_page+0x10</title>
    <rect class="mark filled" x="83" y="49" width="18" height="18">
    </rect>
    <text class="letter" text-anchor="middle" x="92" y="62">S</text>
    </g>
    <g class="lane around">
    <title>1201: store by kernel, 4 bytes at 0xc4c3f020 (physical 0x4c3f020), uncached, pc 0x10a34, clear_page+0x10</title>
    <rect class="mark filled" x="83" y="101" width="18" height="18">
    </rect>
    <text class="letter" text-anchor="middle" x="92" y="114">S</text>
    </g>
    <g class="lane hue1">
    <title>1207: flush by kernel, 4 bytes at 0xc4c3f020 (physical 0x4c3f020), colour 3, pc 0x10a34, v6_flush_kern_dcache_area+0x8</title>
    <rect class="mark" x="107" y="49" width="18" height="18">
    </rect>
    <text class="letter" text-anchor="middle" x="116" y="62">F</text>
    </g>
    <g class="lane hue1">
    <title>1207: flush by kernel, 4 bytes at 0xc4c3f020 (physical 0x4c3f020), colour 3, pc 0x10a34, v6_flush_kern_dcache_area+0x8</title>
    <rect class="mark" x="107" y="101" width="18" height="18">
    </rect>
    <text class="letter" text-anchor="middle" x="116" y="114">F</text>
    </g>
    <g class="lane hue1">
    <title>1300: store by process, 4 bytes at 0x40013020 (physical 0x4c3f020), colour 3, pc 0x10a34</title>
    <circle class="mark filled" cx="140" cy="58" r="9">
    </circle>
    <text class="letter" text-anchor="middle" x="140" y="62">S</text>
    </g>
    <g class="lane hue1">
    <title>1300: store by process, 4 bytes at 0x40013020 (physical 0x4c3f020), colour 3, pc 0x10a34</title>
    <circle class="mark filled" cx="140" cy="110" r="9">
    </circle>
    <text class="letter" text-anchor="middle" x="140" y="114">S</text>
    </g>
    <g class="lane hue0">
    <title>1302: load by process, 4 bytes at 0x40012020 (physical 0x4c3f020), colour 2, pc 0x10a34</title>
    <circle class="mark" cx="164" cy="58" r="9">
    </circle>
    <text class="letter" text-anchor="middle" x="164" y="62">L</text>
    </g>
    <g class="lane hue0">
    <title>1302: load by process, 4 bytes at 0x40012020 (physical 0x4c3f020), colour 2, pc 0x10a34</title>
    <circle class="mark" cx="164" cy="110" r="9">
    </circle>
    <text class="letter" text-anchor="middle" x="164" y="114">L</text>
    </g>
    </svg>
    "#);
}

#[test]
fn a_finding_without_a_story_says_where_it_is() {
    let why = "read RUN/armv6/boot-1/oracle.json: gone";
    let name = id("armv6", "coherency/ping-pong.fuse", 1);
    let run = told([(name, Err(why.to_owned()))].into());
    let merged = Told {
        origin: Origin::Elsewhere,
        beside: false,
        ..told(Stories::new())
    };
    let failures = |told: &Told| words(&section(&page(&samples::watched(), told), "failures"));
    insta::assert_snapshot!(failures(&run), @"
    What did not pass
    fail armv6 coherency/ping-pong.fuse after 1.24 s in boot 1
    checks: What coherency/ping-pong.fuse promises.
    reason: may be stale on hardware: what the oracle found
    files: /lab/run/armv6/boot-1
    again: cargo xtask test --oracle on --arch armv6 --case coherency/ping-pong.fuse
    What the oracle found
    Physical page 0x4c3f000
    armv6/coherency/ping-pong.fuse/1, once: dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while what a process stored to 0x40013020 (colour 3) may be in the cache only
    Its story is not there: read RUN/armv6/boot-1/oracle.json: gone
    armv6/coherency/ping-pong.fuse/2, once: dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while what a process stored to 0x40013020 (colour 3) may be in the cache only
    Its story was not read.
    ");
    insta::assert_snapshot!(failures(&merged), @"
    What did not pass
    fail armv6 coherency/ping-pong.fuse after 1.24 s in boot 1
    checks: What coherency/ping-pong.fuse promises.
    reason: may be stale on hardware: what the oracle found
    again: cargo xtask test --arch armv6 --case coherency/ping-pong.fuse
    What the oracle found
    Physical page 0x4c3f000
    armv6/coherency/ping-pong.fuse/1, once: dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while what a process stored to 0x40013020 (colour 3) may be in the cache only
    The story is in the report of the run itself: the accesses are in the files of its boots, which merged results do not have.
    armv6/coherency/ping-pong.fuse/2, once: dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while what a process stored to 0x40013020 (colour 3) may be in the cache only
    The story is in the report of the run itself: the accesses are in the files of its boots, which merged results do not have.
    ");
}

#[test]
fn with_virtual_tags_a_lane_is_a_page() {
    let mut config = armv6();
    let mut access = finding(16, 1).later;
    access.colour = None;
    assert_eq!(Lane::of(&access, &config), Lane::Around);
    config.cache.kind = CacheKind::Vivt;
    assert_eq!(Lane::of(&access, &config), Lane::Page(Hex(0x40012000)));
    access.colour = Some(3);
    assert_eq!(Lane::of(&access, &config), Lane::Colour(3));
}

#[test]
fn the_page_is_well_formed_and_can_be_read_by_all() {
    for run in samples_of_all() {
        with_tree(&render(&run, &told(stories())), |tree| {
            let mut ids = BTreeSet::new();
            for node in tree.descendants().filter(|node| node.is_element()) {
                if let Some(id) = node.attribute("id") {
                    assert!(ids.insert(id), "{id} is there twice");
                }
            }
            for node in tree.descendants() {
                let name = node.tag_name().name();
                let link = node
                    .attribute("href")
                    .and_then(|link| link.strip_prefix('#'));
                for wanted in link.into_iter().chain(node.attribute("aria-labelledby")) {
                    assert!(ids.contains(wanted), "nothing is called {wanted}");
                }
                if name == "th" {
                    assert!(node.has_attribute("scope"), "{node:?}");
                }
                if name == "svg" {
                    assert!(node.has_attribute("aria-labelledby"), "{node:?}");
                }
                if name == "details" {
                    assert!(node.first_element_child().unwrap().has_tag_name("summary"));
                }
            }
        });
    }
}

#[test]
fn the_page_needs_nothing_else() {
    for run in samples_of_all() {
        with_tree(&render(&run, &told(stories())), |tree| {
            for node in tree.descendants().filter(|node| node.is_element()) {
                let name = node.tag_name().name();
                assert!(!["script", "link", "img", "iframe", "object"].contains(&name));
                for attribute in node.attributes() {
                    let name = attribute.name();
                    assert!(!name.starts_with("on") && name != "src", "{attribute:?}");
                    assert!(
                        !attribute.value().contains(':') || name != "href",
                        "{attribute:?}"
                    );
                }
            }
        });
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
    }
}

/// What a guest may print to get out of where it is put: an element, an attribute, a control sequence.
const EVIL: &str = "<script>alert(1)</script>&\"'--><b onclick=\"x\">\u{1b}[31m\u{0}\u{ffff}]]>";

/// Puts [`EVIL`] behind every text of a value and every name of a figure.
fn spoil(value: &mut Value, key: &str) {
    // These are words of the lab's own, which do not parse otherwise.
    const WORDS: [&str; 7] = ["is", "phase", "op", "by", "kind", "started", "arch"];
    match value {
        Value::String(text) if !WORDS.contains(&key) && !text.starts_with("0x") => *text += EVIL,
        Value::String(text) if key == "page" => *text += EVIL,
        Value::Array(list) => list.iter_mut().for_each(|value| spoil(value, key)),
        Value::Object(map) => {
            map.iter_mut().for_each(|(key, value)| spoil(value, key));
            if key == "figures" {
                let figures = std::mem::take(map).into_iter();
                *map = figures.map(|(name, value)| (name + EVIL, value)).collect();
            }
        }
        _ => {}
    }
}

fn spoilt<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let mut value = serde_json::to_value(value).unwrap();
    spoil(&mut value, "");
    serde_json::from_value(value).unwrap()
}

#[test]
fn nothing_gets_through_unescaped() {
    let command = format!("cargo xtask test {EVIL}");
    let elsewhere = Origin::Elsewhere;
    let here = Origin::Run {
        dir: Path::new(EVIL),
        again: &command,
    };
    for run in samples_of_all() {
        let plain = page(&run, &told(stories()));
        let run = spoilt(&run);
        let stories = stories().into_iter().map(|(name, story)| {
            let mut story = story.unwrap();
            story.finding = spoilt(&story.finding);
            story.finding.story[0].symbol = Some(EVIL.into());
            (name + EVIL, Ok(story))
        });
        let stories: Stories = stories.collect();
        let why = stories
            .keys()
            .map(|name| (name.clone(), Err(EVIL.to_owned())));
        for (origin, stories) in [
            (here, stories.clone()),
            (here, why.collect()),
            (elsewhere, Stories::new()),
        ] {
            let told = Told {
                origin,
                stories,
                beside: true,
            };
            let page = page(&run, &told);
            assert!(page.len() > plain.len() / 2, "nothing is said");
            assert!(page.contains("&lt;script&gt;"));
            for bad in ["<script", "<b", "\"x\"", "\u{1b}", "\u{0}", "\u{ffff}"] {
                // The body is an element of the page.
                let page = page.replace("<body>", "");
                assert!(!page.contains(bad), "{bad:?} is in {page}");
            }
            with_tree(&page, |tree| {
                let told = tree.root_element().descendants();
                assert!(told.clone().all(|node| !node.has_attribute("onclick")));
                assert!(
                    told.clone()
                        .any(|node| node.text().is_some_and(|text| text.contains("&\"'")))
                );
            });
        }
    }
}

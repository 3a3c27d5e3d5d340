// SPDX-License-Identifier: MIT OR Apache-2.0
//! Findings in the page: their texts and their drawings.

use super::super::lane::Lane;
use super::*;
use crate::oracle::line::tests::finding;
use crate::target::CacheKind;

#[test]
fn a_finding_has_a_text_and_a_drawing() {
    let page = page(&samples::watched(), &context(stories()));
    let failures = section(&page, "failures");
    insta::assert_snapshot!(words(&failures), @"
    Failures
    fail armv6 coherency/ping-pong.fuse after 1.24 s in boot 1
    checks: coherency/ping-pong.fuse keeps its promise.
    reason: may be stale on hardware: a finding of the oracle
    files: armv6/boot-1/ console.log records.log qemu.sh
    rerun: cargo xtask test --oracle on --arch armv6 --case coherency/ping-pong.fuse
    Oracle findings
    Accesses run from left to right, each with its number. Each lane is a colour of the cache. Circles are accesses by a process, squares are accesses by the kernel. L is a load, S a store, C a clean, I an invalidate, F a flush. The dashed line joins the two conflicting accesses.
    Physical page 0x4c3f000
    The cache lines of this page, with the accesses to each line in order. Each arc is a finding, labelled with its number.
    [drawing]
    armv6/coherency/ping-pong.fuse/1, once: dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache
    [drawing]
    Output of cargo xtask oracle explain
    armv6/coherency/ping-pong.fuse/1: once, in coherency/ping-pong.fuse, boot 1
    dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache
    This may be stale on hardware. QEMU has no cache, so the guest got the right data.
    The last accesses to the line of 32 bytes at physical address 0x4c3f020 (addresses have the same colour if they are a multiple of 16 KiB apart):
         at    by       op     bytes  address     colour  space      instruction
         1201  kernel   store  4      0xc4c3f020  3       0x5a4c000  clear_page+0x10
         1207  kernel   flush  4      0xc4c3f020  3       0x5a4c000  v6_flush_kern_dcache_area+0x8
      &gt;  1300  process  store  4      0x40013020  3       0x5a4c000  0x10a34
      &gt;  1302  process  load   4      0x40012020  2       0x5a4c000  0x10a34
    &gt; the two accesses that conflict
    armv6/coherency/ping-pong.fuse/2, once: dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache
    [drawing]
    Output of cargo xtask oracle explain
    armv6/coherency/ping-pong.fuse/2: once, in coherency/ping-pong.fuse, boot 1
    dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache
    This may be stale on hardware. QEMU has no cache, so the guest got the right data.
    The last accesses to the line of 32 bytes at physical address 0x4c3f040 (addresses have the same colour if they are a multiple of 16 KiB apart):
         at    by       op     bytes  address     colour  space      instruction
         1201  kernel   store  4      0xc4c3f020  -       0x5a4c000  clear_page+0x10
         1207  kernel   flush  4      0xc4c3f020  3       0x5a4c000  v6_flush_kern_dcache_area+0x8
      &gt;  1300  process  store  4      0x40013020  3       0x5a4c000  0x10a34
      &gt;  1302  process  load   4      0x40012020  2       0x5a4c000  0x10a34
    &gt; the two accesses that conflict
    ");
    let drawing = |label: &str| {
        let (_, rest) = failures.split_once(&format!("aria-label=\"{label}\">")).unwrap();
        let (drawing, _) = rest.split_once("</div>").unwrap();
        drawing.replace("><", ">\n<")
    };
    insta::assert_snapshot!(drawing("armv6/coherency/ping-pong.fuse/1"), @r#"
    <svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="finding-case-0-1-1" viewBox="0 0 440 186" width="440" height="186">
    <title id="finding-case-0-1-1">dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache</title>
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
    <title id="map-case-0-1-1">Cache lines of page 0x4c3f000: accesses in order, an arc for each finding</title>
    <line class="track" x1="80" y1="58" x2="176" y2="58">
    </line>
    <text class="axis" x="4" y="62">0x4c3f020</text>
    <line class="track" x1="80" y1="110" x2="176" y2="110">
    </line>
    <text class="axis" x="4" y="114">0x4c3f040</text>
    <path class="pair" d="M140 58 Q152 32 164 58">
    </path>
    <path class="pair" d="M140 110 Q152 84 164 110">
    </path>
    <g class="lane hue1">
    <title>1201: store by kernel, 4 bytes at 0xc4c3f020 (physical 0x4c3f020), colour 3, pc 0x10a34, clear_page+0x10</title>
    <rect class="mark filled" x="83" y="49" width="18" height="18">
    </rect>
    <text class="letter" text-anchor="middle" x="92" y="62">S</text>
    </g>
    <g class="lane uncached">
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
    <text class="name" text-anchor="middle" x="164" y="44">1</text>
    <text class="name" text-anchor="middle" x="164" y="96">2</text>
    </svg>
    "#);
}

#[test]
fn a_finding_without_a_story_gives_the_reason() {
    let why = "read RUN/armv6/boot-1/oracle.json: gone";
    let name = id("armv6", "coherency/ping-pong.fuse", 1);
    let run = context([(name, Err(why.to_owned()))].into());
    let merged =
        PageContext { origin: Origin::Elsewhere, in_run_dir: false, ..context(Stories::new()) };
    let failures =
        |context: &PageContext| words(&section(&page(&samples::watched(), context), "failures"));
    insta::assert_snapshot!(failures(&run), @"
    Failures
    fail armv6 coherency/ping-pong.fuse after 1.24 s in boot 1
    checks: coherency/ping-pong.fuse keeps its promise.
    reason: may be stale on hardware: a finding of the oracle
    files: armv6/boot-1/ console.log records.log qemu.sh
    rerun: cargo xtask test --oracle on --arch armv6 --case coherency/ping-pong.fuse
    Oracle findings
    Physical page 0x4c3f000
    armv6/coherency/ping-pong.fuse/1, once: dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache
    The accesses could not be read: read RUN/armv6/boot-1/oracle.json: gone
    armv6/coherency/ping-pong.fuse/2, once: dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache
    The accesses were not read.
    ");
    insta::assert_snapshot!(failures(&merged), @"
    Failures
    fail armv6 coherency/ping-pong.fuse after 1.24 s in boot 1
    checks: coherency/ping-pong.fuse keeps its promise.
    reason: may be stale on hardware: a finding of the oracle
    rerun: cargo xtask test --arch armv6 --case coherency/ping-pong.fuse
    Oracle findings
    Physical page 0x4c3f000
    armv6/coherency/ping-pong.fuse/1, once: dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache
    The accesses are in the report of the original run. They come from the files of its boots, which merged results do not include.
    armv6/coherency/ping-pong.fuse/2, once: dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache
    The accesses are in the report of the original run. They come from the files of its boots, which merged results do not include.
    ");
}

#[test]
fn lanes_are_pages_if_tags_are_virtual() {
    let mut config = armv6();
    let mut access = finding(16, 1).later;
    access.colour = None;
    assert_eq!(Lane::of(&access, &config), Lane::Uncached);
    config.cache.kind = CacheKind::Vivt;
    assert_eq!(Lane::of(&access, &config), Lane::Page(Hex(0x40012000)));
    access.colour = Some(3);
    assert_eq!(Lane::of(&access, &config), Lane::Colour(3));
}

// SPDX-License-Identifier: MIT OR Apache-2.0

mod finding;
mod growth;
mod markup;

use std::path::Path;

use super::*;
use crate::oracle::config::tests::armv6;
use crate::oracle::files::Story;
use crate::oracle::line::{Hex, tests};
use crate::oracle::story::id;
use crate::report::samples;

/// Returns the context of a run on this machine.
fn context(stories: Stories) -> PageContext<'static> {
    let origin = Origin::Run { dir: Path::new("/lab/run"), rerun: "cargo xtask test --oracle on" };
    PageContext { origin, stories, in_run_dir: true }
}

/// Returns two stories, about two cache lines of one page.
fn stories() -> Stories {
    let story = |number| {
        let mut finding = tests::finding(16, number);
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

/// Returns the page without its style sheet and its script.
fn page(run: &RunResult, context: &PageContext) -> String {
    let script = format!("<script>{SCRIPT}</script>");
    let page = render(run, context);
    assert!(page.contains(&script));
    page.replace(STYLE, "").replace(&script, "")
}

/// Returns the section of the page with this anchor.
fn section(page: &str, anchor: &str) -> String {
    let (_, rest) = page.split_once(&format!("<section id=\"{anchor}\">")).unwrap();
    let (section, _) = rest.split_once("</section>").unwrap();
    section.to_owned()
}

/// Returns the visible text of a part of the page, without its drawings.
fn words(html: &str) -> String {
    let drawing = regex::Regex::new("(?s)<svg.*?</svg>").unwrap();
    let mut text = drawing.replace_all(html, "[drawing]\n").into_owned();
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
        ("</form>", "\n"),
    ] {
        text = text.replace(tag, with);
    }
    let tag = regex::Regex::new("<[^>]*>").unwrap();
    let text = tag.replace_all(&text, "");
    let lines = text.lines().map(str::trim_end);
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// Returns all sample results.
fn all_samples() -> [RunResult; 7] {
    [
        samples::retried(),
        samples::mixed(),
        samples::watched(),
        samples::untested(),
        samples::interrupted(),
        samples::empty(),
        samples::scaled(),
    ]
}

#[test]
fn the_header_gives_the_outcome_of_the_run() {
    let headers = all_samples().map(|run| {
        let page = page(&run, &context(Stories::new()));
        let (_, rest) = page.split_once("<header>").unwrap();
        words(rest.split_once("<nav").unwrap().0)
    });
    insta::assert_snapshot!(headers.join("\n"), @"
    Failed: 2 passed (1 flaky), 1 failed, 0 skipped
    finished in 2 min 11 s, started 2025-11-22T19:33:00Z; version 0.1.0 (850347e); exit code 1
    cargo xtask test --timeout-scale 2
    Failed: 3 passed, 5 failed, 1 skipped
    finished in 2 min 11 s, started 2025-11-22T19:33:00Z; version 0.1.0 (850347e); exit code 2
    cargo xtask test --timeout-scale 2
    Failed: 1 passed, 1 failed, 0 skipped
    finished in 2 min 11 s, started 2025-11-22T19:33:00Z; version 0.1.0 (850347e); exit code 1
    cargo xtask test --timeout-scale 2
    Failed: 0 passed, 2 failed, 0 skipped
    finished in 2 min 11 s, started 2025-11-22T19:33:00Z; version 0.1.0 (850347e); exit code 2
    cargo xtask test --timeout-scale 2
    Interrupted: 1 passed, 0 failed, 0 skipped, 3 not run
    interrupted after 2 min 11 s, started 2025-11-22T19:33:00Z; version 0.1.0 (850347e); exit code 2
    cargo xtask test --timeout-scale 2
    Failed: 0 passed, 1 failed, 0 skipped
    finished in 2 min 11 s, started 2025-11-22T19:33:00Z; version 0.1.0 (850347e); exit code 2
    cargo xtask test --timeout-scale 2
    Passed: 2 passed, 0 failed, 0 skipped
    finished in 2 min 11 s, started 2025-11-22T19:33:00Z; version 0.1.0 (850347e); exit code 0
    cargo xtask test --timeout-scale 2
    ");
}

#[test]
fn the_table_and_the_details_of_targets() {
    let page = page(&samples::mixed(), &context(Stories::new()));
    insta::assert_snapshot!(words(&section(&page, "targets")), @"
    Targets
    target | pass | fail | skip | crash | timeout | boot-fail | infra | kernel | QEMU | accel | oracle |
    x86_64 | 1 | 1 | 1 | 1 | 1 | 1 | 1 | 6.12.117 | QEMU emulator version 7.2.19 | tcg: a probe guest did not finish within 3 s | off: data caches do not alias |
    arm64 | 2 | - | - | - | - | - | - | 6.12.117 | QEMU emulator version 7.2.19 | kvm | off: data caches do not alias |
    Details of x86_64
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
    Details of arm64
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
    let section = section(&page(&run, &context(Stories::new())), "targets");
    let (table, _) = section.split_once("<details>").unwrap();
    insta::assert_snapshot!(table.replace("><", ">\n<"), @r#"
    <h2>Targets</h2>
    <div class="wide" tabindex="0" role="region" aria-label="Targets">
    <table>
    <thead>
    <tr>
    <th scope="col">target</th>
    <th scope="col" class="count">pass</th>
    <th scope="col">kernel</th>
    <th scope="col" class="detail">QEMU</th>
    <th scope="col" class="detail">accel</th>
    <th scope="col" class="detail">oracle</th>
    </tr>
    </thead>
    <tbody>
    <tr>
    <th scope="row">arm64</th>
    <td class="count good">2</td>
    <td>6.12.117</td>
    <td class="detail">QEMU emulator version 7.2.19</td>
    <td class="detail">kvm</td>
    <td class="detail">off: data caches do not alias</td>
    </tr>
    </tbody>
    </table>
    </div>
    "#);
}

#[test]
fn a_failed_case_has_its_log_console_files_and_command() {
    let page = page(&samples::mixed(), &context(Stories::new()));
    insta::assert_snapshot!(words(&section(&page, "failures")), @"
    Failures
    fail x86_64 smoke/redirect.fuse after 1.24 s in boot 1
    checks: smoke/redirect.fuse keeps its promise.
    reason: client 1 stored 0x5a at offset 4096
    the server read 0x00
    log: server: page 7 is mapped
    client 1: stored 0x5a
    console: [    1.214001] init: case 2/7 smoke/redirect.fuse
    files: x86_64/boot-1/ console.log records.log qemu.sh
    rerun: cargo xtask test --oracle on --arch x86_64 --case smoke/redirect.fuse
    crash x86_64 coherency/ping-pong.fuse in boot 1
    checks: coherency/ping-pong.fuse keeps its promise.
    reason: [    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008
    console: [    2.310552] init: case 4/7 coherency/ping-pong.fuse
    [    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008
    [    2.514871] Oops: Oops: 0002 [#1] SMP
    [    2.519114] Kernel panic - not syncing: Fatal exception
    files: x86_64/boot-1/ console.log records.log qemu.sh
    rerun: cargo xtask test --oracle on --arch x86_64 --case coherency/ping-pong.fuse
    timeout x86_64 coherency/seqlock.fuse after 1.24 s in boot 2
    checks: coherency/seqlock.fuse keeps its promise.
    reason: time limit exceeded in phase test: client waits in fuse_dmmap_req_wait
    log: client 2: waiting for turn 3
    files: x86_64/boot-2/ console.log records.log qemu.sh
    rerun: cargo xtask test --oracle on --arch x86_64 --case coherency/seqlock.fuse
    infra x86_64 drain/limit.cuse after 1.24 s in boot 2
    checks: drain/limit.cuse keeps its promise.
    reason: a record of this case did not arrive whole: truncated
    files: x86_64/boot-2/ console.log records.log qemu.sh
    rerun: cargo xtask test --oracle on --arch x86_64 --case drain/limit.cuse
    boot-fail x86_64 drain/exit.fuse
    checks: drain/exit.fuse keeps its promise.
    reason: no first record from the guest: the kernel crashed: No working init found.
    rerun: cargo xtask test --oracle on --arch x86_64 --case drain/exit.fuse
    ");
}

#[test]
fn cases_that_never_ran_for_one_reason_share_an_entry() {
    let failures =
        |run: &RunResult| words(&section(&page(run, &context(Stories::new())), "failures"));
    insta::assert_snapshot!(failures(&samples::interrupted()), @"
    Failures
    None: every case that ran passed or was skipped.
    ");
    insta::assert_snapshot!(failures(&samples::untested()), @"
    Failures
    not tested x86_64
    0002-fuse-direct-mmap.patch does not apply: fs/fuse/dev.c, line 112
    take it out of kernel-patches/6.12/series or make it fit
    infra x86_64 smoke/boot and 1 more
    More cases, same reason
    drain/limit.fuse
    checks: smoke/boot keeps its promise.
    reason: not tested
    rerun: cargo xtask test --oracle on --arch x86_64 --case smoke/boot
    ");
    insta::assert_snapshot!(failures(&samples::empty()), @"
    Failures
    not tested x86_64
    no cases to run
    ");
}

#[test]
fn all_cases_by_suite() {
    let cases = |run: &RunResult| words(&section(&page(run, &context(Stories::new())), "cases"));
    insta::assert_snapshot!(cases(&samples::mixed()), @"
    All cases
    Show all 9 failed 5 passed 3 skipped 1Search
    x86_64
    smoke: 1 passed, 1 failed, 1 skipped
    verdict | case | checks | promises | time | boot | figures | oracle |
    pass | smoke/boot | smoke/boot keeps its promise. | 1, 2 | 1.24 s | 1 | free_kib 870412
     |  |
    fail | smoke/redirect.fuse | smoke/redirect.fuse keeps its promise. | 1, 2 | 1.24 s | 1 |  |  |
    skip | smoke/redirect.cuse | smoke/redirect.cuse keeps its promise.skipped: no CUSE on this target
     | 1, 2 |  |  |  |  |
    coherency: 2 failed
    verdict | case | checks | promises | time | boot | figures | oracle |
    crash | coherency/ping-pong.fuse | coherency/ping-pong.fuse keeps its promise. | 1, 2 |  | 1 |  |  |
    timeout | coherency/seqlock.fuse | coherency/seqlock.fuse keeps its promise. | 1, 2 | 1.24 s | 2 |  |  |
    drain: 2 failed
    verdict | case | checks | promises | time | boot | figures | oracle |
    infra | drain/limit.cuse | drain/limit.cuse keeps its promise. | 1, 2 | 1.24 s | 2 |  |  |
    boot-fail | drain/exit.fuse | drain/exit.fuse keeps its promise. | 1, 2 |  |  |  |  |
    arm64
    smoke: 2 passed
    verdict | case | checks | promises | time | boot | figures | oracle |
    pass | smoke/boot | smoke/boot keeps its promise. | 1, 2 | 1.24 s | 1 |  |  |
    pass | smoke/redirect.fuse | smoke/redirect.fuse keeps its promise. | 1, 2 | 1.24 s | 1 |  |  |
    ");
    insta::assert_snapshot!(cases(&samples::watched()), @"
    All cases
    Show all 2 failed 1 passed 1Search
    armv6
    smoke: 1 passed
    verdict | case | checks | promises | time | boot | figures | oracle |
    pass | smoke/boot | smoke/boot keeps its promise. | 1, 2 | 1.24 s | 1 |  | 678 accesses; findings: 0 |
    coherency: 1 failed
    verdict | case | checks | promises | time | boot | figures | oracle |
    fail | coherency/ping-pong.fuse | coherency/ping-pong.fuse keeps its promise. | 1, 2 | 1.24 s | 1 |  | 12345 accesses; findings: 2 |
    ");
}

#[test]
fn attempts_of_a_case_have_their_own_details() {
    let page = page(&samples::retried(), &context(Stories::new()));
    insta::assert_snapshot!(words(&section(&page, "failures")), @"
    Failures
    fail x86_64 smoke/redirect.fuse after 1.24 s in boot 1
    checks: smoke/redirect.fuse keeps its promise.
    attempts: failed in each of 2 attempts
    reason: client 1 stored 0x5a at offset 4096
    the server read 0x00
    log: server: page 7 is mapped
    client 1: stored 0x5a
    console: [    1.214001] init: case 2/7 smoke/redirect.fuse
    files: x86_64/boot-1/ console.log records.log qemu.sh
    rerun: cargo xtask test --oracle on --arch x86_64 --case smoke/redirect.fuse
    Attempt 1: fail after 1.24 s in boot 1
    checks: smoke/redirect.fuse keeps its promise.
    reason: client 1 stored 0x5a at offset 4096
    the server read 0x00
    log: server: page 7 is mapped
    client 1: stored 0x5a
    console: [    1.214001] init: case 2/7 smoke/redirect.fuse
    files: x86_64/boot-1/ console.log records.log qemu.sh
    rerun: cargo xtask test --oracle on --arch x86_64 --case smoke/redirect.fuse
    Attempt 2: fail after 1.24 s in boot 2
    checks: smoke/redirect.fuse keeps its promise.
    reason: may be stale on hardware: a finding of the oracle
    files: x86_64/boot-2/ console.log records.log qemu.sh
    rerun: cargo xtask test --oracle on --arch x86_64 --case smoke/redirect.fuse
    Oracle findings
    Physical page 0x4c3f000
    armv6/coherency/ping-pong.fuse/1, once: dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache
    The accesses were not read.
    armv6/coherency/ping-pong.fuse/2, once: dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache
    The accesses were not read.
    flaky x86_64 coherency/ping-pong.fuse
    failed in attempt 1 of 2
    Attempt 1: crash in boot 1
    checks: coherency/ping-pong.fuse keeps its promise.
    reason: [    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008
    console: [    2.310552] init: case 4/7 coherency/ping-pong.fuse
    [    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008
    [    2.514871] Oops: Oops: 0002 [#1] SMP
    [    2.519114] Kernel panic - not syncing: Fatal exception
    files: x86_64/boot-1/ console.log records.log qemu.sh
    rerun: cargo xtask test --oracle on --arch x86_64 --case coherency/ping-pong.fuse
    ");
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Describes findings in words: in a sentence, and with the last accesses to the line.

use oracle_wire::culprit::function;

use super::Config;
use super::line::{Access, By, Finding, FindingKind, Hex, Op};
use super::listener::Window;
use super::mapping::mappings;
use crate::results::FindingSummary;
use crate::target::CacheKind;
use crate::text::columns::columns;
use crate::text::words::{bytes, times};

/// Returns the ID of finding `number` of `case` on `target`.
pub(crate) fn id(target: &str, case: &str, number: u32) -> String {
    format!("{target}/{case}/{number}")
}

/// Returns the summary of a finding for the reports. `window` is the window of `case` on `target`.
pub(crate) fn summary(
    finding: &Finding,
    window: &Window,
    target: &str,
    case: &str,
) -> FindingSummary {
    let page = window.page;
    FindingSummary {
        id: id(target, case, finding.number),
        kind: finding.kind.to_string(),
        page: page_of(finding, page).to_string(),
        earlier: responsible(&finding.earlier).to_owned(),
        later: responsible(&finding.later).to_owned(),
        repeats: window.repeats(finding.number),
        text: sentence(finding, page),
        window: finding.window,
        number: finding.number,
    }
}

/// Returns the function that is responsible for an access, or the word for code whose function is unknown.
fn responsible(access: &Access) -> &str {
    access.culprit.as_deref().unwrap_or(access.by.word())
}

/// Returns the physical address of the finding's page.
fn page_of(finding: &Finding, page: u64) -> Hex {
    Hex(finding.line.0 / page * page)
}

/// Returns a sentence that describes the finding. `page` is the page size in bytes.
pub(crate) fn sentence(finding: &Finding, page: u64) -> String {
    let physical = page_of(finding, page);
    format!("{} in physical page {physical}: {}", finding.kind, conflict(finding))
}

/// Returns the clauses that say how the two accesses of a finding conflict.
pub(super) fn conflict(finding: &Finding) -> String {
    let Finding { kind, earlier, later, .. } = finding;
    let (earlier, later) = (describe(earlier), describe(later));
    match kind {
        FindingKind::DirtyElsewhere => {
            format!("{later} while data that {earlier} may be only in the cache")
        }
        FindingKind::LostWrite => {
            format!(
                "{later} while data that {earlier} is also in the cache, and one of the two may be lost"
            )
        }
        FindingKind::StaleCopy => format!("{later} and may get data from before {earlier}"),
    }
}

/// Returns a clause such as `cat[42] loaded from 0x40012020 (colour 2)`, or
/// `pipe_read(), called in read(2) by cat[42], loaded from 0xc4c3f020 (colour 3, memcpy+0x40)`.
fn describe(access: &Access) -> String {
    let process = access.process.as_ref();
    let subject = match (access.by, &access.culprit) {
        (By::Process, _) => process.map_or("a process".into(), ToString::to_string),
        (By::Kernel, None) => format!("the kernel{}", on_behalf(access)),
        (By::Kernel, Some(function)) => format!("{function}(){}", on_behalf(access)),
    };
    let verb = match access.op {
        Op::Load => "loaded from",
        Op::Store => "stored to",
        Op::Clean => "cleaned",
        Op::Invalidate => "invalidated",
        Op::Flush => "flushed",
    };
    let colour = access.colour.map(|colour| format!("colour {colour}"));
    let details: Vec<String> = colour.into_iter().chain(access.symbol.clone()).collect();
    let details = match details.is_empty() {
        true => String::new(),
        false => format!(" ({})", details.join(", ")),
    };
    format!("{subject} {verb} {}{details}", access.address)
}

/// Returns the system call and the process of an access of the kernel, as an insertion between commas. The text is empty
/// if neither is known.
fn on_behalf(access: &Access) -> String {
    match (access.system_call(), &access.process) {
        (Some(call), Some(process)) => format!(", called in {call}(2) by {process},"),
        (Some(call), None) => format!(", called in {call}(2),"),
        (None, Some(process)) => format!(", run by {process},"),
        (None, None) => String::new(),
    }
}

/// Returns the description of a finding with the last accesses to its line. `summary` is the same finding in the
/// reports, and `config` the configuration of the oracle.
pub(crate) fn explain(
    summary: &FindingSummary,
    case: &str,
    boot: usize,
    finding: &Finding,
    config: &Config,
) -> String {
    let (id, times) = (&summary.id, times(summary.repeats));
    format!(
        "{id}: {times}, in {case}, boot {boot}\n\
         {}\n\
         This may be stale on hardware. QEMU has no cache, so the guest got the right data.\n\n{}{}{}",
        sentence(finding, config.page),
        accesses(finding, config),
        mappings(finding, config.page),
        backtraces(finding, &|_| None),
    )
}

/// Returns the last accesses to the line of a finding, as a table with a heading.
pub(super) fn accesses(finding: &Finding, config: &Config) -> String {
    let cache = config.cache;
    let colours = match cache.kind {
        CacheKind::Vivt => "virtual tags: no two addresses of a page share a cache line".into(),
        _ => format!(
            "addresses have the same colour if they are a multiple of {} apart",
            bytes(cache.period)
        ),
    };
    format!(
        "The last accesses to the line of {} at physical address {} ({colours}):\n\n{}\n\
         > the two accesses that conflict\n",
        bytes(cache.line),
        finding.line,
        table(finding),
    )
}

/// Returns the backtraces of the two conflicting accesses, as far as they are known. `place` returns the line of the
/// source at an address.
pub(super) fn backtraces(finding: &Finding, place: &dyn Fn(Hex) -> Option<String>) -> String {
    let both = [&finding.earlier, &finding.later].into_iter();
    let known = both.filter(|access| access.by == By::Kernel && !access.callers.is_empty());
    known
        .map(|access| {
            format!(
                "\nCalls that led to the {} {}:\n\n{}",
                access.op.word(),
                access.at,
                calls(access, place)
            )
        })
        .collect()
}

/// Returns a line for each frame of an access, innermost first. `*` marks the function that is responsible.
fn calls(access: &Access, place: &dyn Fn(Hex) -> Option<String>) -> String {
    let frame = |pc: Hex, symbol: &Option<String>| {
        let name = symbol.clone().unwrap_or(pc.to_string());
        match place(pc) {
            Some(line) => format!("{name} ({line})"),
            None => name,
        }
    };
    let callers = access.callers.iter().map(|caller| frame(caller.pc, &caller.symbol));
    let frames = std::iter::once(frame(access.pc, &access.symbol)).chain(callers);
    let mut culprit = access.culprit.as_deref();
    let line = |frame: String| {
        let is_culprit = culprit
            .is_some_and(|name| function(frame.split(' ').next().unwrap_or_default()) == name);
        if is_culprit {
            culprit = None;
        }
        format!("  {} {frame}\n", if is_culprit { '*' } else { ' ' })
    };
    frames.map(line).collect()
}

fn table(finding: &Finding) -> String {
    let pair = [finding.earlier.at, finding.later.at];
    // Results of a kernel whose processes the oracle could not name have no column for them.
    let named = finding.accesses().iter().any(|access| access.process.is_some());
    let rows: Vec<Vec<String>> = finding
        .accesses()
        .into_iter()
        .map(|access| {
            let mark = if pair.contains(&access.at) { ">" } else { "" };
            let space = access.space.map_or("-".into(), |space| space.to_string());
            let process = access.process.as_ref().map_or("-".into(), ToString::to_string);
            let before = [mark.into(), access.at.to_string(), access.by.word().into()];
            let after = [
                access.op.word().into(),
                access.size.to_string(),
                access.address.to_string(),
                access.colour.map_or("-".into(), |colour| colour.to_string()),
                space,
                instruction(access),
            ];
            before.into_iter().chain(named.then_some(process)).chain(after).collect()
        })
        .collect();
    let before = ["", "at", "by"];
    let after = ["op", "bytes", "address", "colour", "space", "instruction"];
    let head = before.into_iter().chain(named.then_some("process")).chain(after);
    let head = vec![head.map(String::from).collect::<Vec<_>>()];
    columns(&[head, rows].concat())
}

/// Returns the instruction of an access, with the function that is responsible if that is another one.
fn instruction(access: &Access) -> String {
    let place = access.symbol.clone().unwrap_or(access.pc.to_string());
    match &access.culprit {
        Some(culprit) if culprit != function(&place) => format!("{place} < {culprit}"),
        _ => place,
    }
}

#[cfg(test)]
mod tests {
    use oracle_wire::message::Frame;

    use super::super::config::tests::armv6;
    use super::super::line::End;
    use super::super::line::tests::{finding, finding_of_kernel};
    use super::*;

    #[test]
    fn a_sentence_for_each_kind() {
        let sentences =
            [FindingKind::DirtyElsewhere, FindingKind::LostWrite, FindingKind::StaleCopy].map(
                |kind| {
                    let mut finding = finding(16, 1);
                    finding.kind = kind;
                    if kind == FindingKind::LostWrite {
                        finding.later.op = Op::Store;
                        finding.later.by = By::Kernel;
                        finding.later.symbol = Some("memcpy+0x40".into());
                    }
                    sentence(&finding, 4096)
                },
            );
        insta::assert_snapshot!(sentences.join("\n"), @"
        dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache
        lost-write in physical page 0x4c3f000: the kernel stored to 0x40012020 (colour 2, memcpy+0x40) while data that a process stored to 0x40013020 (colour 3) is also in the cache, and one of the two may be lost
        stale-copy in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) and may get data from before a process stored to 0x40013020 (colour 3)
        ");
    }

    /// Returns a finding whose later access is by the kernel, with a backtrace.
    fn by_kernel() -> Finding {
        let calls = ["copy_page_to_iter+0x90", "lo_read_simple+0x1c4", "loop_process_work+0x30"];
        let mut finding = finding_of_kernel(&calls);
        finding.later.callers.push(Frame { pc: Hex(0xbf00_1234), symbol: None });
        *finding.story.last_mut().unwrap() = finding.later.clone();
        finding
    }

    #[test]
    fn a_finding_of_the_kernel_names_the_function_that_is_responsible() {
        let finding = by_kernel();
        let window = Window { page: 4096, ..Window::default() };
        let summary = summary(&finding, &window, "armv6", "coherency/ping.fuse");
        let text = explain(&summary, "coherency/ping.fuse", 1, &finding, &armv6());
        insta::assert_snapshot!(text, @"
        armv6/coherency/ping.fuse/1: once, in coherency/ping.fuse, boot 1
        dirty-elsewhere in physical page 0x4c3f000: lo_read_simple() loaded from 0x40012020 (colour 2, memcpy+0x40) while data that a process stored to 0x40013020 (colour 3) may be only in the cache
        This may be stale on hardware. QEMU has no cache, so the guest got the right data.

        The last accesses to the line of 32 bytes at physical address 0x4c3f020 (addresses have the same colour if they are a multiple of 16 KiB apart):

             at    by       op     bytes  address     colour  space      instruction
             1201  kernel   store  4      0xc4c3f020  3       0x5a4c000  clear_page+0x10
             1207  kernel   flush  4      0xc4c3f020  3       0x5a4c000  v6_flush_kern_dcache_area+0x8
          >  1300  process  store  4      0x40013020  3       0x5a4c000  0x10a34
          >  1302  kernel   load   4      0x40012020  2       0x5a4c000  memcpy+0x40 < lo_read_simple

        > the two accesses that conflict

        Calls that led to the load 1302:

            memcpy+0x40
            copy_page_to_iter+0x90
          * lo_read_simple+0x1c4
            loop_process_work+0x30
            0xbf001234
        ");
    }

    #[test]
    fn the_last_accesses_to_a_line() {
        let case = "coherency/ping.fuse";
        let text = |finding: &Finding, repeats, config: &Config| {
            let window = Window {
                end: Some(End {
                    window: 16,
                    findings: repeats,
                    distinct: 1,
                    repeats: vec![repeats],
                    accesses: 12345,
                }),
                page: config.page,
                ..Window::default()
            };
            let summary = summary(finding, &window, "armv6", case);
            explain(&summary, case, 2, finding, config)
        };
        insta::assert_snapshot!(text(&finding(16, 1), 17, &armv6()), @"
        armv6/coherency/ping.fuse/1: 17 times, in coherency/ping.fuse, boot 2
        dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache
        This may be stale on hardware. QEMU has no cache, so the guest got the right data.

        The last accesses to the line of 32 bytes at physical address 0x4c3f020 (addresses have the same colour if they are a multiple of 16 KiB apart):

             at    by       op     bytes  address     colour  space      instruction
             1201  kernel   store  4      0xc4c3f020  3       0x5a4c000  clear_page+0x10
             1207  kernel   flush  4      0xc4c3f020  3       0x5a4c000  v6_flush_kern_dcache_area+0x8
          >  1300  process  store  4      0x40013020  3       0x5a4c000  0x10a34
          >  1302  process  load   4      0x40012020  2       0x5a4c000  0x10a34

        > the two accesses that conflict
        ");
        let mut once = finding(16, 1);
        once.story.drain(..3);
        once.later.colour = None;
        once.story[0].colour = None;
        let mut vivt = armv6();
        vivt.cache.kind = CacheKind::Vivt;
        insta::assert_snapshot!(text(&once, 1, &vivt), @"
        armv6/coherency/ping.fuse/1: once, in coherency/ping.fuse, boot 2
        dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 while data that a process stored to 0x40013020 (colour 3) may be only in the cache
        This may be stale on hardware. QEMU has no cache, so the guest got the right data.

        The last accesses to the line of 32 bytes at physical address 0x4c3f020 (virtual tags: no two addresses of a page share a cache line):

             at    by       op     bytes  address     colour  space      instruction
          >  1300  process  store  4      0x40013020  3       0x5a4c000  0x10a34
          >  1302  process  load   4      0x40012020  -       0x5a4c000  0x10a34

        > the two accesses that conflict
        ");
    }
}

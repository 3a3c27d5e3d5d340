// SPDX-License-Identifier: MIT OR Apache-2.0
//! A finding for a person: in a sentence, and as the story of its line.

use super::Config;
use super::line::{Access, By, Finding, FindingKind, Hex, Op};
use super::listener::Window;
use crate::results::Found;
use crate::target::CacheKind;
use crate::text::columns::columns;
use crate::text::words::{bytes, times};

/// What a finding of `case` on `target` is called.
pub(crate) fn id(target: &str, case: &str, number: u32) -> String {
    format!("{target}/{case}/{number}")
}

/// A finding of a `window`, which is that of `case` on `target`, as the reports have it.
pub(crate) fn found(finding: &Finding, window: &Window, target: &str, case: &str) -> Found {
    let page = window.page;
    Found {
        id: id(target, case, finding.number),
        kind: finding.kind.to_string(),
        page: page_of(finding, page).to_string(),
        repeats: window.times(finding.number),
        text: sentence(finding, page),
        window: finding.window,
        number: finding.number,
    }
}

/// Physical address of the page it is in.
fn page_of(finding: &Finding, page: u64) -> Hex {
    Hex(finding.line.0 / page * page)
}

/// What is found, in a sentence; `page` is the size of a page in bytes.
pub(crate) fn sentence(finding: &Finding, page: u64) -> String {
    let Finding {
        kind,
        earlier,
        later,
        ..
    } = finding;
    let (earlier, later) = (told(earlier), told(later));
    let what = match kind {
        FindingKind::DirtyElsewhere => {
            format!("{later} while what {earlier} may be in the cache only")
        }
        FindingKind::LostWrite => {
            format!(
                "{later} while what {earlier} is in the cache as well, and one of the two is lost"
            )
        }
        FindingKind::StaleCopy => format!("{later} and may get a copy from before {earlier}"),
    };
    let physical = page_of(finding, page);
    format!("{kind} in physical page {physical}: {what}")
}

/// `a process loaded from 0x40012020 (colour 2)`.
fn told(access: &Access) -> String {
    let who = match access.by {
        By::Process => "a process",
        By::Kernel => "the kernel",
    };
    let did = match access.op {
        Op::Load => "loaded from",
        Op::Store => "stored to",
        Op::Clean => "cleaned",
        Op::Invalidate => "invalidated",
        Op::Flush => "flushed",
    };
    let colour = access.colour.map(|colour| format!("colour {colour}"));
    let more: Vec<String> = colour.into_iter().chain(access.symbol.clone()).collect();
    let more = match more.is_empty() {
        true => String::new(),
        false => format!(" ({})", more.join(", ")),
    };
    format!("{who} {did} {}{more}", access.address)
}

/// The story of a finding, which `found` is in the reports; `case` and `boot` are where it was found, `config` is what
/// was modelled.
pub(crate) fn explain(
    found: &Found,
    case: &str,
    boot: usize,
    finding: &Finding,
    config: &Config,
) -> String {
    let (name, times, cache) = (&found.id, times(found.repeats), config.cache);
    let colours = match cache.kind {
        CacheKind::Vivt => "no two addresses of a page agree".into(),
        _ => format!(
            "addresses agree that are a multiple of {} apart",
            bytes(cache.period)
        ),
    };
    format!(
        "{name}: {times}, in {case}, boot {boot}\n\
         {}\n\
         This may be stale on hardware: QEMU itself has no cache and got it right.\n\n\
         The line of {} at physical {} ({colours}), the last accesses to it:\n\n{}\n\
         > the two that do not go together\n",
        sentence(finding, config.page),
        bytes(cache.line),
        finding.line,
        table(finding),
    )
}

fn table(finding: &Finding) -> String {
    let pair = [finding.earlier.at, finding.later.at];
    let rows: Vec<[String; 9]> = finding
        .accesses()
        .into_iter()
        .map(|access| {
            let mark = if pair.contains(&access.at) { ">" } else { "" };
            let space = access.space.map_or("-".into(), |space| space.to_string());
            [
                mark.into(),
                access.at.to_string(),
                access.by.word().into(),
                access.op.word().into(),
                access.size.to_string(),
                access.address.to_string(),
                access
                    .colour
                    .map_or("-".into(), |colour| colour.to_string()),
                space,
                access.symbol.clone().unwrap_or(access.pc.to_string()),
            ]
        })
        .collect();
    let head = [
        "", "at", "who", "what", "bytes", "address", "colour", "space", "where",
    ];
    let rows = rows.iter().map(|row| row.each_ref().map(String::as_str));
    columns(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::super::config::tests::armv6;
    use super::super::line::End;
    use super::super::line::tests::finding;
    use super::*;

    #[test]
    fn each_kind_has_its_sentence() {
        let sentences = [
            FindingKind::DirtyElsewhere,
            FindingKind::LostWrite,
            FindingKind::StaleCopy,
        ]
        .map(|kind| {
            let mut finding = finding(16, 1);
            finding.kind = kind;
            if kind == FindingKind::LostWrite {
                finding.later.op = Op::Store;
                finding.later.by = By::Kernel;
                finding.later.symbol = Some("memcpy+0x40".into());
            }
            sentence(&finding, 4096)
        });
        insta::assert_snapshot!(sentences.join("\n"), @"
        dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while what a process stored to 0x40013020 (colour 3) may be in the cache only
        lost-write in physical page 0x4c3f000: the kernel stored to 0x40012020 (colour 2, memcpy+0x40) while what a process stored to 0x40013020 (colour 3) is in the cache as well, and one of the two is lost
        stale-copy in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) and may get a copy from before a process stored to 0x40013020 (colour 3)
        ");
    }

    #[test]
    fn the_story_of_a_line() {
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
            let found = found(finding, &window, "armv6", case);
            explain(&found, case, 2, finding, config)
        };
        insta::assert_snapshot!(text(&finding(16, 1), 17, &armv6()), @"
        armv6/coherency/ping.fuse/1: 17 times, in coherency/ping.fuse, boot 2
        dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while what a process stored to 0x40013020 (colour 3) may be in the cache only
        This may be stale on hardware: QEMU itself has no cache and got it right.

        The line of 32 bytes at physical 0x4c3f020 (addresses agree that are a multiple of 16 KiB apart), the last accesses to it:

             at    who      what   bytes  address     colour  space      where
             1201  kernel   store  4      0xc4c3f020  3       0x5a4c000  clear_page+0x10
             1207  kernel   flush  4      0xc4c3f020  3       0x5a4c000  v6_flush_kern_dcache_area+0x8
          >  1300  process  store  4      0x40013020  3       0x5a4c000  0x10a34
          >  1302  process  load   4      0x40012020  2       0x5a4c000  0x10a34

        > the two that do not go together
        ");
        let mut once = finding(16, 1);
        once.story.drain(..3);
        once.later.colour = None;
        once.story[0].colour = None;
        let mut vivt = armv6();
        vivt.cache.kind = CacheKind::Vivt;
        insta::assert_snapshot!(text(&once, 1, &vivt), @"
        armv6/coherency/ping.fuse/1: once, in coherency/ping.fuse, boot 2
        dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 while what a process stored to 0x40013020 (colour 3) may be in the cache only
        This may be stale on hardware: QEMU itself has no cache and got it right.

        The line of 32 bytes at physical 0x4c3f020 (no two addresses of a page agree), the last accesses to it:

             at    who      what   bytes  address     colour  space      where
          >  1300  process  store  4      0x40013020  3       0x5a4c000  0x10a34
          >  1302  process  load   4      0x40012020  -       0x5a4c000  0x10a34

        > the two that do not go together
        ");
    }
}

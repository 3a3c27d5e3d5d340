// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes a mail to the kernel's maintainers about a finding.

use super::Config;
use super::files::Story;
use super::line::{FindingKind, Hex, Op};
use super::mapping::mappings;
use super::story::{accesses, backtraces, conflict};
use crate::results::{CaseResult, FindingSummary, TargetResult};
use crate::target::{CacheKind, Target, WritePolicy};
use crate::text::words::{bytes, times};

/// Everything that a mail describes.
pub(crate) struct Letter<'a> {
    pub target: &'a TargetResult,
    /// The target's YAML, if it still exists.
    pub machine: Option<&'a Target>,
    pub case: &'a CaseResult,
    /// Command that runs the case again.
    pub rerun: String,
    pub summary: &'a FindingSummary,
    pub story: &'a Story,
    /// Returns the line of the source at an address of the kernel.
    pub place: &'a dyn Fn(Hex) -> Option<String>,
}

/// Returns the mail, with its subject in the first line.
pub(crate) fn write(letter: &Letter) -> String {
    let Letter { target, summary, story, place, .. } = letter;
    let Story { finding, config } = story;
    let version = target.kernel_version();
    let mut text = format!("Subject: {} [Linux {version}]\n\n", subject(summary, finding.later.op));
    text += &wrapped(&format!(
        "On a machine whose data cache is {}, {}: {}. No cache maintenance between the two accesses prevents this.",
        indexing(config),
        consequence(finding.kind),
        conflict(finding)
    ));
    text += &wrapped(&format!(
        "This was found with a model of such a cache in QEMU, which shows what hardware may do. It was not seen on \
         hardware. The same conflict was found {}.",
        times(summary.repeats)
    ));
    text += &facts(letter);
    text += &format!(
        "\n{}{}{}",
        accesses(finding, config),
        mappings(finding, config.page),
        backtraces(finding, place)
    );
    text += &format!("\nTo reproduce it, in a checkout of dmmap-lab:\n\n  {}\n", letter.rerun);
    text += "\nThe table lists the accesses that changed what the cache may hold of the line, oldest first.\n\
             docs/oracle.md of dmmap-lab describes the model and its limits.\n";
    text
}

/// Returns the subject: the function and the effect.
fn subject(summary: &FindingSummary, later: Op) -> String {
    let function = |name: &str| match name {
        "process" => "a process".to_owned(),
        "kernel" => "the kernel".to_owned(),
        name => format!("{name}()"),
    };
    let verb = match later {
        Op::Store => "may lose",
        _ => "may not see",
    };
    let (earlier, later) = (function(&summary.earlier), function(&summary.later));
    format!("{later} {verb} what {earlier} stored, if data caches alias")
}

/// Returns the kind of cache.
fn indexing(config: &Config) -> String {
    match config.cache.kind {
        CacheKind::Vivt => "virtually indexed and virtually tagged".into(),
        _ => format!(
            "virtually indexed, with aliases unless two addresses are a multiple of {} apart",
            bytes(config.cache.period)
        ),
    }
}

/// Returns the effect on data.
fn consequence(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::LostWrite => "stored data may get lost",
        FindingKind::DirtyElsewhere | FindingKind::StaleCopy => "old data may be loaded",
    }
}

/// Returns machine, kernel and program as a list.
fn facts(letter: &Letter) -> String {
    let Letter { target, machine, case, story, .. } = letter;
    let ran = &target.provenance;
    let cache = story.config.cache;
    let write = match cache.write {
        WritePolicy::Back => "write-back",
        WritePolicy::Through => "write-through",
    };
    let about = machine.map(|machine| {
        let cpu = machine.qemu.cpu.as_ref().map_or(String::new(), |cpu| format!(" -cpu {cpu}"));
        format!(
            "{} ({} -machine {}{cpu})",
            machine.about, machine.qemu.binary, machine.qemu.machine
        )
    });
    let mut rows = vec![
        ("machine", about.unwrap_or_else(|| target.target.clone())),
        ("cache", format!("lines of {}, {write}", bytes(cache.line))),
        ("emulator", ran.qemu.clone()),
        ("kernel", format!("{}, flavour {}", target.kernel_version(), target.flavour)),
        ("compiler", ran.compiler.clone()),
        ("program", format!("{}: {}", case.id, case.about)),
    ];
    rows.retain(|(_, text)| !text.is_empty());
    rows.iter().map(|(name, text)| format!("  {name:9} {text}\n")).collect()
}

/// Returns a paragraph with lines of at most 72 characters, as is usual in mails, and an empty line after it.
fn wrapped(text: &str) -> String {
    const WIDTH: usize = 72;
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a line");
        if !line.is_empty() && line.len() + 1 + word.len() > WIDTH {
            lines.push(word.into());
        } else {
            let space = if line.is_empty() { "" } else { " " };
            *line += &format!("{space}{word}");
        }
    }
    lines.join("\n") + "\n\n"
}

#[cfg(test)]
mod tests {
    use oracle_wire::message::Process;

    use super::super::config::tests::armv6;
    use super::super::line::tests::{finding, finding_of_kernel};
    use super::super::listener::Window;
    use super::super::story::summary;
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_mail_names_functions_processes_and_the_way_to_reproduce() {
        let run = samples::watched();
        let target = &run.targets[0];
        let calls = ["copy_page_to_iter+0x90", "lo_read_simple+0x1c4", "__se_sys_pread64+0x30"];
        let mut finding = finding_of_kernel(&calls);
        finding.earlier.process = Some(Process { id: Some(41), name: "writer".into() });
        finding.later.process = Some(Process { id: Some(42), name: "cat".into() });
        *finding.story.last_mut().unwrap() = finding.later.clone();
        let window = Window { page: 4096, ..Window::default() };
        let case = &target.cases[1];
        let summary = summary(&finding, &window, "armv6", &case.id);
        let story = Story { finding, config: armv6() };
        let letter = Letter {
            target,
            machine: None,
            case,
            rerun: "cargo xtask test --arch armv6 --case coherency/ping-pong.fuse --oracle on"
                .into(),
            summary: &summary,
            story: &story,
            place: &|pc| (pc.0 == 0xc000_9000).then(|| "drivers/block/loop.c:292".into()),
        };
        insta::assert_snapshot!(write(&letter), @"
        Subject: lo_read_simple() may not see what a process stored, if data caches alias [Linux 6.12.117]

        On a machine whose data cache is virtually indexed, with aliases unless
        two addresses are a multiple of 16 KiB apart, old data may be loaded:
        lo_read_simple(), called in pread64(2) by cat[42], loaded from
        0x40012020 (colour 2, memcpy+0x40) while data that writer[41] stored to
        0x40013020 (colour 3) may be only in the cache. No cache maintenance
        between the two accesses prevents this.

        This was found with a model of such a cache in QEMU, which shows what
        hardware may do. It was not seen on hardware. The same conflict was
        found once.

          machine   armv6
          cache     lines of 32 bytes, write-back
          emulator  QEMU emulator version 7.2.19
          kernel    6.12.117, flavour default
          compiler  gcc (Debian 12.2.0-14+deb12u1) 12.2.0
          program   coherency/ping-pong.fuse: coherency/ping-pong.fuse keeps its promise.

        The last accesses to the line of 32 bytes at physical address 0x4c3f020 (addresses have the same colour if they are a multiple of 16 KiB apart):

             at    by       process  op     bytes  address     colour  space      instruction
             1201  kernel   -        store  4      0xc4c3f020  3       0x5a4c000  clear_page+0x10
             1207  kernel   -        flush  4      0xc4c3f020  3       0x5a4c000  v6_flush_kern_dcache_area+0x8
          >  1300  process  -        store  4      0x40013020  3       0x5a4c000  0x10a34
          >  1302  kernel   cat[42]  load   4      0x40012020  2       0x5a4c000  memcpy+0x40 < lo_read_simple

        > the two accesses that conflict

        Calls that led to the load 1302:

            memcpy+0x40
            copy_page_to_iter+0x90 (drivers/block/loop.c:292)
          * lo_read_simple+0x1c4 (drivers/block/loop.c:292)
            __se_sys_pread64+0x30 (drivers/block/loop.c:292)

        To reproduce it, in a checkout of dmmap-lab:

          cargo xtask test --arch armv6 --case coherency/ping-pong.fuse --oracle on

        The table lists the accesses that changed what the cache may hold of the line, oldest first.
        docs/oracle.md of dmmap-lab describes the model and its limits.
        ");
    }

    #[test]
    fn the_subject_says_what_may_happen() {
        let window = Window { page: 4096, ..Window::default() };
        let mut summary = summary(&finding(16, 1), &window, "armv6", "a/b");
        assert_eq!(
            subject(&summary, Op::Load),
            "a process may not see what a process stored, if data caches alias"
        );
        summary.earlier = "kernel".into();
        summary.later = "pipe_read".into();
        assert_eq!(
            subject(&summary, Op::Store),
            "pipe_read() may lose what the kernel stored, if data caches alias"
        );
    }
}

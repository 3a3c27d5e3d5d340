// SPDX-License-Identifier: MIT OR Apache-2.0
//! Boot: one start of a machine, from its initramfs to its end.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use protocol::plan::{self, Mode, Plan};

use crate::image::Image;
use crate::ledger::Ledger;
use crate::machine::args::{self, Boot, Console};
use crate::machine::process::Machine;
use crate::oracle::Oracle;
use crate::plan::Case;
use crate::results::Accelerator;
use crate::run_dir::{GUEST_FILES, INITRAMFS, ORACLE_CONFIG, QEMU_COMMAND};
use crate::target::QemuSpec;
use crate::wait::{self, Waited};
use crate::watch::clock::Limits;
use crate::watch::shared::{SplitBytes, Splitter};
use crate::watch::{BootEnd, BootEvent, Watch};

/// What every boot of a target has in common.
#[derive(Debug)]
pub(crate) struct Setting<'a> {
    /// The machine.
    pub qemu: &'a QemuSpec,
    /// What its kernel is to say of its caches.
    pub proof: Option<&'a str>,
    /// `kvm` or `tcg`.
    pub accel: Accelerator,
    /// The kernel image.
    pub kernel: &'a Path,
    /// The device tree, where the machine has none of its own.
    pub dtb: Option<&'a Path>,
    /// What the guest finds.
    pub image: &'a Image,
    /// What watches; none where nothing does.
    pub oracle: Option<&'a Oracle>,
    /// How long things may take.
    pub limits: Limits,
}

/// How a boot went.
#[derive(Debug)]
pub(crate) struct Booted {
    /// Why it came to its end.
    pub end: BootEnd,
    /// The last console lines.
    pub last_lines: Vec<String>,
}

/// Boots the machine in the new directory `dir`, runs `cases`, and tells `ledger` what was seen.
///
/// # Errors
/// The lab's own side failed: the directory cannot be written to, QEMU is not there.
pub(crate) fn run(
    setting: &Setting,
    dir: &Path,
    cases: &[&Case],
    ledger: &mut Ledger,
) -> Result<Booted> {
    let mut machine = start(setting, dir, &plan_of(Mode::Run, cases))?;
    let deadline = |case: &&Case| Duration::from_millis(case.planned.deadline_ms);
    let plan = cases
        .iter()
        .map(|case| (case.id().to_owned(), deadline(case)));
    let mut watch = Watch::new(plan.collect(), setting.limits);
    watch.expect_caches(setting.proof.map(str::to_owned));
    if let Some(oracle) = setting.oracle {
        watch.attach_oracle(oracle.config.clone());
    }
    let mut streams = Streams::of(setting.qemu);
    let files = dir.join(GUEST_FILES);
    let end = follow(&mut machine, &mut streams, &mut watch, &files, ledger)?;
    machine.stop();
    streams.pass_on(&mut machine, &mut watch, Duration::MAX)?;
    streams.finish(&mut watch);
    let last_lines = watch.last_lines();
    let end = watch.close(end);
    tell(&mut watch, &files, ledger)?;
    Ok(Booted { end, last_lines })
}

/// The plan of a boot.
pub(crate) fn plan_of(mode: Mode, cases: &[&Case]) -> Plan {
    Plan {
        version: plan::VERSION,
        mode,
        cases: cases.iter().map(|case| case.planned.clone()).collect(),
    }
}

/// Writes what a boot of `plan` needs into `dir` and starts the machine.
///
/// # Errors
/// The directory cannot be written to, or QEMU is not there.
pub(crate) fn start(setting: &Setting, dir: &Path, plan: &Plan) -> Result<Machine> {
    fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    setting.image.write(plan, dir.join(INITRAMFS))?;
    let boot = Boot {
        accel: setting.accel,
        kernel: setting.kernel,
        dtb: setting.dtb,
        initrd: Path::new(INITRAMFS),
        console: Console::Log,
        gdb: false,
        oracle: setting.oracle.map(|oracle| oracle.plugin.as_path()),
    };
    if let Some(oracle) = setting.oracle {
        let config = oracle.config.render();
        crate::paths::write_atomically(&dir.join(ORACLE_CONFIG), config.as_bytes())?;
    }
    let args = args::qemu(setting.qemu, &boot);
    let command = args::to_paste(dir, &setting.qemu.binary, &args);
    crate::paths::write_atomically(&dir.join(QEMU_COMMAND), command.as_bytes())?;
    Machine::start(dir, &setting.qemu.binary, &args)
}

/// Passes what the machine writes to the watch, and what the watch makes of it to the ledger, until the boot is over.
fn follow(
    machine: &mut Machine,
    streams: &mut Streams,
    watch: &mut Watch,
    files: &Path,
    ledger: &mut Ledger,
) -> Result<BootEnd> {
    let started = Instant::now();
    let waited = wait::until(wait::FOREVER, || {
        // Asked before the streams are read: what QEMU wrote before it ended is then read below.
        let ended = machine.ended()?;
        streams.pass_on(machine, watch, started.elapsed())?;
        tell(watch, files, ledger)?;
        anyhow::Ok(match ended {
            Some(end) => Some(BootEnd::Qemu(end)),
            None => watch.stop_reason(started.elapsed()),
        })
    });
    Ok(match waited? {
        Waited::Done(end) => end,
        _ => BootEnd::Interrupted,
    })
}

/// Tells the ledger what was seen. Files that came are kept in the directory `files`.
fn tell(watch: &mut Watch, files: &Path, ledger: &mut Ledger) -> Result<()> {
    for seen in watch.take_events() {
        if let BootEvent::File { name, bytes } = &seen {
            let path = files.join(name);
            fs::create_dir_all(files).with_context(|| format!("make {}", files.display()))?;
            fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))?;
        }
        ledger.seen(seen);
    }
    Ok(())
}

/// The way of the two streams from the machine to the watch.
enum Streams {
    /// Each has a port.
    Two,
    /// They share the console.
    One(Splitter),
}

impl Streams {
    fn of(qemu: &QemuSpec) -> Self {
        match qemu.records_args.is_empty() {
            true => Streams::One(Splitter::default()),
            false => Streams::Two,
        }
    }

    /// Passes on what the machine wrote since the last time.
    fn pass_on(&mut self, machine: &mut Machine, watch: &mut Watch, now: Duration) -> Result<()> {
        let apart = match self {
            // Records first: a console line that came before a record is then never seen after it.
            Streams::Two => SplitBytes {
                records: machine.records()?,
                console: machine.console()?,
            },
            Streams::One(splitter) => splitter.push(&machine.console()?),
        };
        // Read after the others: what the oracle wrote before a record or a line is then there.
        let findings = machine.findings()?;
        pass(apart, &findings, watch, now);
        Ok(())
    }

    /// The machine writes no more.
    fn finish(&mut self, watch: &mut Watch) {
        if let Streams::One(splitter) = self {
            pass(splitter.finish(), &[], watch, Duration::MAX);
        }
    }
}

/// Tells the watch what arrived, findings first: a verdict must not overtake them.
fn pass(apart: SplitBytes, findings: &[u8], watch: &mut Watch, now: Duration) {
    watch.push_findings(findings);
    watch.push_records(&apart.records, now);
    watch.push_console(&apart.console, now);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::config::tests::armv6;
    use crate::oracle::line::tests::trusted;
    use protocol::frame::Encoder;
    use protocol::record::Record;

    #[test]
    fn no_record_overtakes_what_the_oracle_wrote_before_it() {
        let case = "smoke/boot".to_owned();
        let second = Duration::from_secs(1);
        let mut watch = Watch::new(vec![(case.clone(), second)], Limits::scaled(1.0));
        watch.attach_oracle(armv6());
        let start = Encoder::default().encode(&Record::CaseStart { case });
        let apart = SplitBytes {
            records: start.into_bytes(),
            console: Vec::new(),
        };
        pass(apart, trusted().as_bytes(), &mut watch, second);
        // By now it would be too late to pass a control.
        assert_eq!(watch.stop_reason(second), None);
    }
}

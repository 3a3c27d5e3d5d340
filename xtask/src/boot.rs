// SPDX-License-Identifier: MIT OR Apache-2.0
//! Boot: one run of a machine, from writing its initramfs to reading its last output.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use protocol::kallsyms;
use protocol::plan::{self, Mode, Plan};

use crate::files;
use crate::image::Image;
use crate::judge::describe_end;
use crate::ledger::Ledger;
use crate::machine::args::{self, Boot, Console};
use crate::machine::process::Machine;
use crate::oracle::Oracle;
use crate::plan::Case;
use crate::results::Accelerator;
use crate::run_dir::{CONSOLE, GUEST_FILES, INITRAMFS, ORACLE_CONFIG, QEMU_COMMAND};
use crate::target::QemuSpec;
use crate::wait::{self, Waited};
use crate::watch::clock::Limits;
use crate::watch::shared::{SplitBytes, Splitter};
use crate::watch::{BootEnd, BootEvent, Watch};

/// Parameters that all boots of a target share.
#[derive(Debug)]
pub(crate) struct Parameters<'a> {
    pub qemu: &'a QemuSpec,
    /// Text about the caches that the kernel must print on the console.
    pub proof: Option<&'a str>,
    pub accel: Accelerator,
    /// Kernel image.
    pub kernel: &'a Path,
    /// Device tree; `None` if QEMU generates one or the machine needs none.
    pub dtb: Option<&'a Path>,
    pub image: &'a Image,
    /// Oracle to load into QEMU, if any.
    pub oracle: Option<&'a Oracle>,
    pub limits: Limits,
}

/// Result of a boot.
#[derive(Debug)]
pub(crate) struct Booted {
    pub end: BootEnd,
    /// Last lines of the console.
    pub last_lines: Vec<String>,
}

/// Boots the machine in the new directory `dir`, runs `cases`, and passes all events to `ledger`.
///
/// # Errors
/// The lab itself failed: for example, the directory cannot be written to, or QEMU is missing.
pub(crate) fn run(
    parameters: &Parameters,
    dir: &Path,
    cases: &[Case],
    ledger: &mut Ledger,
) -> Result<Booted> {
    let mut machine = start(parameters, dir, &plan_of(Mode::Run, cases))?;
    let deadline = |case: &Case| Duration::from_millis(case.planned.deadline_ms);
    let plan = cases.iter().map(|case| (case.id().to_owned(), deadline(case)));
    let mut watch = Watch::new(plan.collect(), parameters.limits);
    watch.expect_caches(parameters.proof.map(str::to_owned));
    if let Some(oracle) = parameters.oracle {
        watch.attach_oracle(oracle.config.clone(), oracle.excuses.clone());
    }
    let mut streams = Streams::of(parameters.qemu);
    let files = dir.join(GUEST_FILES);
    let mut report = |watch: &mut Watch| {
        report_events(watch, &files, ledger)?;
        Ok(ledger.stop_boot().map(BootEnd::Stopped))
    };
    let end = follow(&mut machine, &mut streams, &mut watch, &mut report)?;
    machine.stop();
    streams.pass_on(&mut machine, &mut watch, Duration::MAX)?;
    streams.finish(&mut watch);
    let last_lines = watch.last_lines();
    let end = watch.close(end);
    report_events(&mut watch, &files, ledger)?;
    Ok(Booted { end, last_lines })
}

/// Boots the machine in the new directory `dir`, and returns the names and the addresses of the kernel's functions, in the
/// format of `/proc/kallsyms`. The text is empty if the kernel does not know them.
///
/// # Errors
/// The guest did not send them, or the lab itself failed.
pub(crate) fn symbols(parameters: &Parameters, dir: &Path) -> Result<String> {
    let mut machine = start(parameters, dir, &plan_of(Mode::Symbols, &[]))?;
    let mut watch = Watch::new(Vec::new(), parameters.limits);
    let mut streams = Streams::of(parameters.qemu);
    let mut symbols = None;
    // The machine need not be able to restart.
    let mut take = |watch: &mut Watch| {
        let mut events = watch.take_events().into_iter();
        symbols = events.find_map(|event| match event {
            BootEvent::File { name, bytes } if name == kallsyms::FILE => Some(bytes),
            _ => None,
        });
        Ok(symbols.as_ref().map(|_| BootEnd::Goodbye))
    };
    let end = follow(&mut machine, &mut streams, &mut watch, &mut take)?;
    machine.stop();
    match symbols {
        Some(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        None => bail!("{}; the console is in {}", describe_end(&end), dir.join(CONSOLE).display()),
    }
}

/// Returns the plan for the guest.
pub(crate) fn plan_of(mode: Mode, cases: &[Case]) -> Plan {
    Plan {
        version: plan::VERSION,
        mode,
        cases: cases.iter().map(|case| case.planned.clone()).collect(),
    }
}

/// Writes the files for a boot of `plan` into `dir`, and starts the machine.
///
/// # Errors
/// The directory cannot be written to, or QEMU is missing.
pub(crate) fn start(parameters: &Parameters, dir: &Path, plan: &Plan) -> Result<Machine> {
    files::create_dir(dir)?;
    parameters.image.write(plan, &dir.join(INITRAMFS))?;
    let boot = Boot {
        accel: parameters.accel,
        kernel: parameters.kernel,
        dtb: parameters.dtb,
        initrd: Path::new(INITRAMFS),
        console: Console::Log,
        gdb: false,
        oracle: parameters.oracle.map(|oracle| oracle.plugin.as_path()),
    };
    if let Some(oracle) = parameters.oracle {
        files::write_atomically(&dir.join(ORACLE_CONFIG), oracle.config.render())?;
    }
    let args = args::qemu(parameters.qemu, &boot);
    let command = args::to_paste(dir, &parameters.qemu.binary, &args);
    files::write_atomically(&dir.join(QEMU_COMMAND), command)?;
    Machine::start(dir, &parameters.qemu.binary, &args)
}

/// Passes the machine's output to the watch, and calls `report` to take the events that the watch detects, until the boot
/// ends or `report` returns a reason to end it.
fn follow(
    machine: &mut Machine,
    streams: &mut Streams,
    watch: &mut Watch,
    report: &mut dyn FnMut(&mut Watch) -> Result<Option<BootEnd>>,
) -> Result<BootEnd> {
    let started = Instant::now();
    let waited = wait::until(wait::FOREVER, || {
        // Check this before reading the streams, so that everything that QEMU wrote before it ended is read below.
        let ended = machine.ended()?;
        streams.pass_on(machine, watch, started.elapsed())?;
        let reported = report(watch)?;
        anyhow::Ok(match ended {
            Some(end) => Some(BootEnd::Qemu(end)),
            None => reported.or_else(|| watch.stop_reason(started.elapsed())),
        })
    });
    Ok(match waited? {
        Waited::Done(end) => end,
        _ => BootEnd::Interrupted,
    })
}

/// Passes the watch's events to the ledger. Saves the files that the guest sent in the directory `files`.
fn report_events(watch: &mut Watch, files: &Path, ledger: &mut Ledger) -> Result<()> {
    for event in watch.take_events() {
        if let BootEvent::File { name, bytes } = &event {
            let path = files.join(name);
            files::create_dir(files)?;
            files::write(&path, bytes)?;
        }
        ledger.record(event);
    }
    Ok(())
}

/// Connection of the two streams, console and records, to the watch.
enum Streams {
    /// Each stream has a port of its own.
    Separate,
    /// Both share the console's port.
    Shared(Splitter),
}

impl Streams {
    fn of(qemu: &QemuSpec) -> Self {
        match qemu.records_args.is_empty() {
            true => Streams::Shared(Splitter::default()),
            false => Streams::Separate,
        }
    }

    /// Passes on the output that the machine has written since the last call.
    fn pass_on(&mut self, machine: &mut Machine, watch: &mut Watch, now: Duration) -> Result<()> {
        let split = match self {
            // Read the records first. Otherwise a console line that precedes a record might be read after it.
            Streams::Separate => {
                SplitBytes { records: machine.records()?, console: machine.console()? }
            }
            Streams::Shared(splitter) => splitter.push(&machine.console()?),
        };
        // Read the findings last, so that they include everything that the oracle wrote before these records and lines.
        pass(split, &machine.findings()?, watch, now);
        Ok(())
    }

    /// Passes on the rest of the output after the machine has ended.
    fn finish(&mut self, watch: &mut Watch) {
        if let Streams::Shared(splitter) = self {
            pass(splitter.finish(), &[], watch, Duration::MAX);
        }
    }
}

/// Passes new output to the watch. The findings go first, so that a case gets no verdict without them.
fn pass(split: SplitBytes, findings: &[u8], watch: &mut Watch, now: Duration) {
    watch.push_findings(findings);
    watch.push_records(&split.records, now);
    watch.push_console(&split.console, now);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::config::tests::armv6;
    use crate::oracle::line::tests::trusted;
    use protocol::frame::Encoder;
    use protocol::record::Record;

    #[test]
    fn findings_are_passed_on_before_records() {
        let case = "smoke/boot".to_owned();
        let second = Duration::from_secs(1);
        let mut watch = Watch::new(vec![(case.clone(), second)], Limits::scaled(1.0));
        watch.attach_oracle(armv6(), Vec::new());
        let start = Encoder::default().encode(&Record::CaseStart { case });
        let split = SplitBytes { records: start.into_bytes(), console: Vec::new() };
        pass(split, trusted().as_bytes(), &mut watch, second);
        // If the record had been passed on first, the watch would miss the oracle's controls and stop the boot.
        assert_eq!(watch.stop_reason(second), None);
    }
}

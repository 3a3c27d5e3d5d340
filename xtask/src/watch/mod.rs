// SPDX-License-Identifier: MIT OR Apache-2.0
//! Follows one boot through its record stream, its console and its clocks.
//!
//! [`Watch`] takes bytes and times and knows nothing of processes or files, so tests drive it with recorded logs and
//! virtual time. It produces an [`Observation`] of each case, which the [judge](crate::judge) turns into a verdict.
//!
//! The two streams are not ordered against each other. Records mark the start and the end of a case. Console lines
//! belong to the case named by the last `init: case N/M ID` line of the console itself. A case is therefore complete
//! when its end record has arrived *and* the console has moved on to a later case, or when the boot has ended.

pub(crate) mod clock;
mod files;
pub(crate) mod markers;
pub(crate) mod shared;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use protocol::curve::Curve;
use protocol::frame::{Decoder, FrameError, Item};
use protocol::record::{Outcome, Record, Stream};

use crate::machine::process::End;
use crate::oracle::Config;
use crate::oracle::excuse::Excuse;
use crate::oracle::listener::{Listener, WindowResult};
use crate::results::Phase;
use clock::{Clocks, Limits};
use files::PartialFiles;
use markers::{Hit, Scanner};

/// Number of console lines kept for each case; older lines are dropped.
const CONSOLE_KEPT: usize = 40;

/// Number of lines kept of the output of a case's processes; older lines are dropped.
const LOG_KEPT: usize = 400;

/// Maximum number of bytes kept of one line of a program's output.
const LOG_LINE_MAX: usize = 2000;

/// Time that a crashed kernel gets to print its trace before the boot is stopped.
const TRACE_TIME: Duration = Duration::from_secs(1);

/// Reason for the end of a boot.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum BootEnd {
    /// The guest sent its `Goodbye` record.
    Goodbye,
    /// The kernel crashed. Holds the console line that showed the crash.
    Crash(String),
    /// No byte arrived on either stream for too long.
    Silence(Phase),
    /// A phase, or a case, took too long.
    Overtime(Phase),
    /// QEMU ended before the guest sent its `Goodbye` record.
    Qemu(End),
    /// The kernel reports other caches than the target's YAML expects. Holds both texts.
    WrongCache(String),
    /// The oracle cannot be trusted. Holds the reason.
    Oracle(String),
    /// The run stops early, because of the cases that have failed. Holds the reason.
    Stopped(String),
    /// The user or the CI system stopped the run.
    Interrupted,
}

/// Everything that was observed of one case.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Observation {
    /// ID of the case.
    pub case: String,
    /// Arrival of the start record, counted from the start of QEMU.
    pub started: Duration,
    /// End record of the case, or `None` if none arrived intact.
    pub end_record: Option<EndRecord>,
    /// Reason for the end of the boot if it ended during the case, or by a crash right after the case.
    pub boot_end: Option<BootEnd>,
    /// Errors of frames that arrived damaged while the case ran.
    pub broken: Vec<FrameError>,
    /// Console lines that show trouble.
    pub hits: Vec<Hit>,
    /// The oracle's findings, or `None` if the oracle is off.
    pub oracle: Option<WindowResult>,
    /// Curves that the case measured.
    pub curves: Vec<Curve>,
    /// Last lines printed by the processes of the case.
    pub log: VecDeque<String>,
    /// Last console lines.
    pub console: VecDeque<String>,
}

/// End record of a case, with the time that the host measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EndRecord {
    /// Outcome as the guest reports it.
    pub outcome: Outcome,
    /// Milliseconds by the guest's clock.
    pub millis: u64,
    /// Time by the host's clock, from the arrival of the start record to that of the end record.
    pub host_time: Duration,
    /// Taint bits that were set during the case.
    pub taint: u64,
    /// Figures by name.
    pub figures: BTreeMap<String, f64>,
}

/// Event of a boot, for the caller of [`Watch::take_events`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum BootEvent {
    /// The guest's init is running.
    InitStarted {
        /// `uname -r` of the guest.
        release: String,
    },
    /// A case started. Holds its ID.
    CaseStarted(String),
    /// The program of a case printed something.
    Output { stream: Stream, bytes: Vec<u8> },
    /// A case is complete.
    CaseEnded(Box<Observation>),
    /// The guest sent a file.
    File {
        /// File name without a directory.
        name: String,
        bytes: Vec<u8>,
    },
    /// Something unexpected happened that belongs to no case. Holds a text for the user.
    Anomaly(String),
}

/// State of one boot, derived from its streams.
#[derive(Debug)]
pub(crate) struct Watch {
    /// IDs and deadlines of the planned cases, in order.
    plan: Vec<(String, Duration)>,
    clocks: Clocks,
    decoder: Decoder,
    scanner: Scanner,
    console_line: Vec<u8>,
    /// Plan index of the case that the current console lines belong to.
    console_at: Option<usize>,
    /// Console output of each case by plan index; [`BOOTING`] holds the lines before the first case.
    console: BTreeMap<usize, ConsolePart>,
    /// Case that has started and not ended.
    open: Option<(usize, Observation)>,
    /// Cases whose end record has arrived, but whose console lines may still be arriving.
    ended: VecDeque<(usize, Observation)>,
    /// Unfinished last line of a program's output.
    output_line: Vec<u8>,
    files: PartialFiles,
    /// Console line that showed a crash, and its time.
    crash: Option<(String, Duration)>,
    /// Text that the kernel must print about its caches.
    expected_caches: Option<String>,
    /// Error text if the kernel printed something else.
    wrong_caches: Option<String>,
    /// Parser of the oracle's output, or `None` if the oracle is off.
    oracle: Option<Listener>,
    events: Vec<BootEvent>,
}

#[derive(Debug, Default)]
struct ConsolePart {
    hits: Vec<Hit>,
    lines: VecDeque<String>,
}

/// Key in [`Watch::console`] of the lines before the first case.
const BOOTING: usize = usize::MAX;

impl Watch {
    /// Starts to follow a boot that runs the cases of `plan`, given by ID and deadline.
    pub(crate) fn new(plan: Vec<(String, Duration)>, limits: Limits) -> Self {
        Self {
            plan,
            clocks: Clocks::new(limits),
            decoder: Decoder::default(),
            scanner: Scanner::default(),
            console_line: Vec::new(),
            console_at: None,
            console: BTreeMap::new(),
            open: None,
            ended: VecDeque::new(),
            output_line: Vec::new(),
            files: PartialFiles::default(),
            crash: None,
            expected_caches: None,
            wrong_caches: None,
            oracle: None,
            events: Vec::new(),
        }
    }

    /// Ends the boot unless one of the lines that the kernel prints about its caches contains `text`.
    pub(crate) fn expect_caches(&mut self, text: Option<String>) {
        self.expected_caches = text;
    }

    /// Attaches the oracle, which was started with `config`. Findings that `excuses` cover count for nothing. The boot
    /// ends if the oracle cannot be trusted.
    pub(crate) fn attach_oracle(&mut self, config: Config, excuses: Vec<Excuse>) {
        self.oracle = Some(Listener::new(config, excuses, self.plan.len()));
    }

    /// Takes bytes that the oracle wrote.
    ///
    /// Before the caller passes a record or a console line, it must have passed everything that the oracle wrote up to
    /// that point.
    pub(crate) fn push_findings(&mut self, bytes: &[u8]) {
        if let Some(oracle) = &mut self.oracle {
            oracle.push(bytes);
        }
    }

    /// Takes console bytes that arrived at `now`, counted from the start of the boot.
    pub(crate) fn push_console(&mut self, bytes: &[u8], now: Duration) {
        if !bytes.is_empty() {
            self.clocks.byte_arrived(now);
        }
        for &byte in bytes {
            match byte {
                b'\n' => self.end_console_line(now),
                b'\r' => {}
                byte => self.console_line.push(byte),
            }
        }
    }

    /// Takes record bytes that arrived at `now`.
    pub(crate) fn push_records(&mut self, bytes: &[u8], now: Duration) {
        if !bytes.is_empty() {
            self.clocks.byte_arrived(now);
        }
        for item in self.decoder.push(bytes) {
            self.handle_item(item, now);
        }
    }

    /// Returns the reason for stopping the boot now, or `None` if it may go on.
    pub(crate) fn stop_reason(&self, now: Duration) -> Option<BootEnd> {
        if let Some((line, at)) = &self.crash {
            return (now >= *at + TRACE_TIME).then(|| BootEnd::Crash(line.clone()));
        }
        if let Some(text) = &self.wrong_caches {
            return Some(BootEnd::WrongCache(text.clone()));
        }
        if let Some(why) = self.distrust() {
            return Some(BootEnd::Oracle(why));
        }
        self.clocks.expired(now)
    }

    /// Returns the events since the last call.
    pub(crate) fn take_events(&mut self) -> Vec<BootEvent> {
        std::mem::take(&mut self.events)
    }

    pub(crate) fn phase(&self) -> Phase {
        self.clocks.phase()
    }

    /// Returns the last console lines of the current case, or of the boot before the first case.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        let key = self.console_at.unwrap_or(BOOTING);
        let part = self.console.get(&key);
        part.map_or(Vec::new(), |part| part.lines.iter().cloned().collect())
    }

    /// Ends the observation of the boot and completes the cases that are still open.
    ///
    /// `end` is the reason that the caller knows. Returns the reason that follows from `end` and from everything that
    /// was observed. [`Watch::take_events`] then returns the last observations.
    pub(crate) fn close(&mut self, end: BootEnd) -> BootEnd {
        if !self.console_line.is_empty() {
            self.end_console_line(Duration::MAX);
        }
        if let Some(item) = self.decoder.finish() {
            self.handle_item(item, Duration::MAX);
        }
        if let Some(text) = self.files.incomplete() {
            self.anomaly(text);
        }
        let end = match (&self.crash, end) {
            (_, BootEnd::Interrupted) => BootEnd::Interrupted,
            (Some((line, _)), _) => BootEnd::Crash(line.clone()),
            // QEMU is expected to exit after the guest's `Goodbye` record.
            (None, BootEnd::Qemu(End::Exit)) if self.phase() == Phase::Shutdown => BootEnd::Goodbye,
            (None, end) => end,
        };
        let responsible = self.responsible_case(&end);
        let last = self.ended.drain(..).chain(self.open.take());
        for (at, mut observation) in last.collect::<Vec<_>>() {
            if responsible == Some(at) {
                observation.boot_end = Some(end.clone());
            }
            self.complete_case(at, observation);
        }
        // The end of the last case may have shown that the oracle cannot be trusted. The cases that never started get
        // that reason in their verdicts too.
        match (&end, self.distrust()) {
            (BootEnd::Goodbye, Some(why)) => BootEnd::Oracle(why),
            _ => end,
        }
    }

    fn distrust(&self) -> Option<String> {
        self.oracle.as_ref()?.distrust().map(str::to_owned)
    }

    /// Returns the plan index of the case that was running when the boot ended. A crash between two cases counts
    /// against the earlier one.
    fn responsible_case(&self, end: &BootEnd) -> Option<usize> {
        let running = self.open.as_ref().map(|(at, _)| *at);
        let last = self.ended.back().map(|(at, _)| *at);
        match end {
            BootEnd::Goodbye => None,
            BootEnd::Crash(_) => self.console_at.or(running).or(last),
            BootEnd::Silence(Phase::Shutdown) | BootEnd::Overtime(Phase::Shutdown) => None,
            _ => running,
        }
    }

    fn handle_item(&mut self, item: Item, now: Duration) {
        match item {
            Item::Record(record) => self.handle_record(record, now),
            Item::Noise(line) => {
                self.anomaly(format!("unexpected text on the record port: {line:?}"));
            }
            Item::Broken(error) => match &mut self.open {
                Some((_, observation)) => observation.broken.push(error),
                None => self.anomaly(format!("damaged record outside any case: {error}")),
            },
        }
    }

    fn handle_record(&mut self, record: Record, now: Duration) {
        match record {
            Record::Hello { release, taint, cases, caches, .. } => {
                self.clocks.enter_phase(Phase::Test, now);
                self.check_caches(&caches);
                self.events.push(BootEvent::InitStarted { release });
                if taint != 0 {
                    self.anomaly(format!(
                        "the kernel was tainted before the first case: {taint:#x}"
                    ));
                }
                if cases != self.plan.len() {
                    let planned = self.plan.len();
                    self.anomaly(format!("the guest read {cases} cases from a plan of {planned}"));
                }
            }
            Record::CaseStart { case } => self.start_case(case, now),
            Record::Log { case, line } => match &mut self.open {
                Some((_, open)) if open.case == case => push_bounded(&mut open.log, line, LOG_KEPT),
                _ => self.anomaly(format!("{case} printed while it was not running: {line}")),
            },
            Record::Output { case, stream, bytes } => match &mut self.open {
                Some((_, open)) if open.case == case => {
                    log_lines(&mut open.log, &mut self.output_line, &bytes);
                    self.events.push(BootEvent::Output { stream, bytes });
                }
                _ => self.anomaly(format!("{case} printed while it was not running")),
            },
            Record::Curve { case, curve } => match &mut self.open {
                Some((_, open)) if open.case == case => open.curves.push(curve),
                _ => self.anomaly(format!("{case} sent a curve while it was not running")),
            },
            Record::Alive => {}
            Record::CaseEnd { case, outcome, millis, taint, figures } => match self.open.take() {
                Some((at, mut open)) if open.case == case => {
                    if !self.output_line.is_empty() {
                        log_lines(&mut open.log, &mut self.output_line, b"\n");
                    }
                    open.end_record = Some(EndRecord {
                        outcome,
                        millis,
                        host_time: now.saturating_sub(open.started),
                        taint,
                        figures,
                    });
                    self.ended.push_back((at, open));
                    self.clocks.case_ended(now);
                    self.complete_cases();
                }
                open => {
                    self.open = open;
                    self.anomaly(format!("{case} ended but never started"));
                }
            },
            Record::File { name, size, part } => {
                self.clocks.case_ended(now);
                match self.files.add_part(&name, size, &part) {
                    Ok(Some(bytes)) => {
                        if let Some(oracle) = &mut self.oracle {
                            oracle.take_file(&name, &bytes);
                        }
                        self.events.push(BootEvent::File { name, bytes });
                    }
                    Ok(None) => {}
                    Err(text) => self.anomaly(text),
                }
            }
            Record::Goodbye => self.clocks.enter_phase(Phase::Shutdown, now),
        }
    }

    fn check_caches(&mut self, caches: &[String]) {
        if let Some(expected) = &self.expected_caches
            && !caches.iter().any(|line| line.contains(expected))
        {
            let found = caches.join("; ");
            self.wrong_caches = Some(format!(
                "expected the kernel to print {expected:?} about its caches, but it printed {found:?}"
            ));
        }
    }

    fn start_case(&mut self, case: String, now: Duration) {
        let Some(at) = self.plan.iter().position(|(id, _)| *id == case) else {
            return self.anomaly(format!("{case} started but is not in the plan"));
        };
        // If the previous case is still open, its end record was lost. Without that record it does not pass.
        self.ended.extend(self.open.take());
        if let Some(oracle) = &mut self.oracle {
            oracle.check_controls();
        }
        self.clocks.case_started(self.plan[at].1, now);
        let open = Observation { started: now, ..Observation::of(case.clone()) };
        self.open = Some((at, open));
        self.events.push(BootEvent::CaseStarted(case));
        self.complete_cases();
    }

    fn end_console_line(&mut self, now: Duration) {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.console_line)).into_owned();
        if let Some(at) = self.announced_case(&line) {
            self.console_at = Some(at);
            self.complete_cases();
        }
        let part = self.console.entry(self.console_at.unwrap_or(BOOTING)).or_default();
        if let Some(hit) = self.scanner.line(&line) {
            if hit.marker.severity.ends_boot() && self.crash.is_none() {
                self.crash = Some((hit.line.clone(), now));
            }
            part.hits.push(hit);
        }
        push_bounded(&mut part.lines, line, CONSOLE_KEPT);
    }

    /// Returns the plan index of the case that a line `init: case N/M ID` announces.
    fn announced_case(&self, line: &str) -> Option<usize> {
        let (_, rest) = line.split_once("init: case ")?;
        let id = rest.split_whitespace().nth(1)?;
        self.plan.iter().position(|(planned, _)| planned == id)
    }

    /// Completes the ended cases for which the console has moved on to a later case.
    fn complete_cases(&mut self) {
        while let Some((at, _)) = self.ended.front() {
            if self.console_at.is_none_or(|console| console <= *at) {
                return;
            }
            let (at, observation) = self.ended.pop_front().expect("the queue has a front");
            self.complete_case(at, observation);
        }
    }

    /// Adds the console part and the oracle's findings to the observation and reports it.
    fn complete_case(&mut self, at: usize, mut observation: Observation) {
        let part = self.console.remove(&at).unwrap_or_default();
        observation.hits = part.hits;
        observation.console = part.lines;
        let cut_short = observation.boot_end.is_some();
        let oracle = self.oracle.as_mut();
        observation.oracle = oracle.map(|oracle| oracle.case_result(at, cut_short));
        self.events.push(BootEvent::CaseEnded(Box::new(observation)));
    }

    fn anomaly(&mut self, text: String) {
        self.events.push(BootEvent::Anomaly(text));
    }
}

impl Observation {
    /// Returns an empty observation of `case`.
    pub(crate) fn of(case: String) -> Self {
        Self { case, ..Self::default() }
    }
}

/// Adds the output `bytes` of a program to the log of its case. `unfinished` holds the line that has not ended yet.
fn log_lines(log: &mut VecDeque<String>, unfinished: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b'\n' => {
                let line = String::from_utf8_lossy(&std::mem::take(unfinished)).into_owned();
                push_bounded(log, line, LOG_KEPT);
            }
            _ if unfinished.len() < LOG_LINE_MAX => unfinished.push(byte),
            _ => {}
        }
    }
}

/// Appends `line`, and drops the oldest line if there are `limit` already.
fn push_bounded(lines: &mut VecDeque<String>, line: String, limit: usize) {
    if lines.len() == limit {
        lines.pop_front();
    }
    lines.push_back(line);
}

#[cfg(test)]
mod tests;

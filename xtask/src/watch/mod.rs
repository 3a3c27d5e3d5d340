// SPDX-License-Identifier: MIT OR Apache-2.0
//! Watch: follows one boot through its two streams and its clocks.
//!
//! [`Watch`] is told bytes and times and knows nothing of processes or files, so recorded logs and virtual
//! time drive it in tests. What it makes of a case is an [`Observation`]; whether that is a pass is for the
//! [judge](crate::judge).
//!
//! The streams are not ordered against each other. Records say when a case starts and ends; which case a
//! console line belongs to is told by the lines `init: case N/M ID` in the console itself. So a case is over
//! when its record arrived *and* the console has moved on to a later one, or the boot has ended.

pub(crate) mod clock;
mod files;
pub(crate) mod markers;
pub(crate) mod shared;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use protocol::frame::{Decoder, FrameError, Item};
use protocol::record::{Outcome, Record};

use crate::machine::process::End;
use crate::oracle::Config;
use crate::oracle::listener::{Heard, Listener};
use crate::verdict::Phase;
use clock::{Clocks, Limits};
use files::Files;
use markers::{Hit, Scanner};

/// Console lines kept of a case, the last ones.
const CONSOLE_KEPT: usize = 40;

/// Lines kept of what a case's processes print, the last ones.
const LOG_KEPT: usize = 400;

/// After a crash was seen, how long the kernel gets to print its trace.
const TRACE_TIME: Duration = Duration::from_secs(1);

/// Why a boot came to its end.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum BootEnd {
    /// The guest said goodbye.
    Goodbye,
    /// The kernel crashed; the console line that gave it away.
    Crash(String),
    /// Nothing was heard for too long.
    Silence(Phase),
    /// A phase, or a case, took too long.
    Overtime(Phase),
    /// QEMU ended before the guest said goodbye.
    Qemu(End),
    /// The kernel says of its caches something else than the target's YAML; what it says.
    WrongCache(String),
    /// The oracle cannot be trusted; why.
    Oracle(String),
    /// The person at the keyboard, or CI, wants no more.
    Interrupted,
}

/// Everything seen of one case.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Observation {
    /// Name of the case.
    pub case: String,
    /// When the record of its start came, since QEMU started.
    pub started: Duration,
    /// The record of its end; `None` where none arrived whole.
    pub report: Option<Report>,
    /// Why there is no more to come; `None` where the boot went on after the case.
    pub boot_end: Option<BootEnd>,
    /// Frames that arrived broken while the case ran.
    pub broken: Vec<FrameError>,
    /// Console trouble while it ran.
    pub hits: Vec<Hit>,
    /// What the oracle has to say of it; `None` where it does not watch.
    pub oracle: Option<Heard>,
    /// What its processes printed.
    pub log: VecDeque<String>,
    /// The last console lines of it.
    pub console: VecDeque<String>,
}

/// The record of a case's end.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    /// What the guest makes of it.
    pub outcome: Outcome,
    /// Milliseconds by the guest's clock.
    pub millis: u64,
    /// How long it took by the host's, from one record to the other.
    pub here: Duration,
    /// Taint bits the case added.
    pub taint: u64,
    /// Figures by name.
    pub figures: BTreeMap<String, f64>,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    /// `init` is up.
    Up {
        /// `uname -r` of the guest.
        release: String,
    },
    /// A case started.
    Started(String),
    /// A case is over.
    Over(Box<Observation>),
    /// A file that the guest has for the host.
    File {
        /// Its name, without a directory.
        name: String,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// Something odd that belongs to no case.
    Odd(String),
}

/// Follows one boot.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Names and deadlines of the planned cases, in order.
    plan: Vec<(String, Duration)>,
    clocks: Clocks,
    decoder: Decoder,
    scanner: Scanner,
    console_line: Vec<u8>,
    /// Place in the plan of the case whose lines the console shows now.
    console_at: Option<usize>,
    /// Console side of each case, by place in the plan; `usize::MAX` is before the first.
    console: BTreeMap<usize, ConsolePart>,
    /// The case that started and has not ended.
    open: Option<(usize, Observation)>,
    /// Cases that ended, waiting for the console to move on.
    ended: VecDeque<(usize, Observation)>,
    files: Files,
    crash: Option<(String, Duration)>,
    /// What the kernel is to say of its caches.
    proof: Option<String>,
    /// What it says instead.
    disproof: Option<String>,
    /// Hears the oracle, where it watches.
    oracle: Option<Listener>,
    seen: Vec<Seen>,
}

#[derive(Debug, Default)]
struct ConsolePart {
    hits: Vec<Hit>,
    lines: VecDeque<String>,
}

/// Key of [`Watch::console`] for lines before the first case.
const BOOTING: usize = usize::MAX;

impl Watch {
    /// Follows a boot that runs `plan`: names and deadlines of its cases.
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
            files: Files::default(),
            crash: None,
            proof: None,
            disproof: None,
            oracle: None,
            seen: Vec::new(),
        }
    }

    /// Ends the boot unless `words` are in one of the lines that the kernel has to say of its caches.
    pub(crate) fn demand(&mut self, words: Option<String>) {
        self.proof = words;
    }

    /// The oracle watches, and was told `config`. Ends the boot where it cannot be trusted.
    pub(crate) fn listen(&mut self, config: Config) {
        self.oracle = Some(Listener::new(config, self.plan.len()));
    }

    /// Takes bytes that the oracle wrote. Those that it wrote before a record or a console line have to come before it.
    pub(crate) fn findings(&mut self, bytes: &[u8]) {
        if let Some(oracle) = &mut self.oracle {
            oracle.push(bytes);
        }
    }

    /// Takes console bytes that arrived at `now`, counted from the start of the boot.
    pub(crate) fn console(&mut self, bytes: &[u8], now: Duration) {
        if !bytes.is_empty() {
            self.clocks.heard(now);
        }
        for &byte in bytes {
            match byte {
                b'\n' => self.console_line_ended(now),
                b'\r' => {}
                byte => self.console_line.push(byte),
            }
        }
    }

    /// Takes record bytes that arrived at `now`.
    pub(crate) fn records(&mut self, bytes: &[u8], now: Duration) {
        if !bytes.is_empty() {
            self.clocks.heard(now);
        }
        for item in self.decoder.push(bytes) {
            self.item(item, now);
        }
    }

    /// Why the boot should be stopped now, if it should.
    pub(crate) fn verdict(&self, now: Duration) -> Option<BootEnd> {
        if let Some((line, at)) = &self.crash {
            return (now >= *at + TRACE_TIME).then(|| BootEnd::Crash(line.clone()));
        }
        if let Some(said) = &self.disproof {
            return Some(BootEnd::WrongCache(said.clone()));
        }
        if let Some(why) = self.distrust() {
            return Some(BootEnd::Oracle(why));
        }
        self.clocks.expired(now)
    }

    /// What there is to tell since the last call.
    pub(crate) fn seen(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.seen)
    }

    /// The phase the boot is in.
    pub(crate) fn phase(&self) -> Phase {
        self.clocks.phase()
    }

    /// The last console lines, whatever they belong to.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        let key = self.console_at.unwrap_or(BOOTING);
        let part = self.console.get(&key);
        part.map_or(Vec::new(), |part| part.lines.iter().cloned().collect())
    }

    /// The boot is over, for this reason as far as the caller can tell; returns the reason in the light of all that
    /// was seen, and leaves the last observations in [`Watch::seen`].
    pub(crate) fn close(&mut self, end: BootEnd) -> BootEnd {
        if !self.console_line.is_empty() {
            self.console_line_ended(Duration::MAX);
        }
        if let Some(item) = self.decoder.finish() {
            self.item(item, Duration::MAX);
        }
        if let Some(torn) = self.files.torn() {
            self.odd(torn);
        }
        let end = match (&self.crash, end) {
            (_, BootEnd::Interrupted) => BootEnd::Interrupted,
            (Some((line, _)), _) => BootEnd::Crash(line.clone()),
            // QEMU ends by itself after a goodbye; that is no news.
            (None, BootEnd::Qemu(End::Exit)) if self.phase() == Phase::Shutdown => BootEnd::Goodbye,
            (None, end) => end,
        };
        let charged = self.charged(&end);
        let last = self.ended.drain(..).chain(self.open.take());
        for (at, mut observation) in last.collect::<Vec<_>>() {
            if charged == Some(at) {
                observation.boot_end = Some(end.clone());
            }
            self.over(at, observation);
        }
        // The last case may have shown it, and there may be cases that never started.
        match (&end, self.distrust()) {
            (BootEnd::Goodbye, Some(why)) => BootEnd::Oracle(why),
            _ => end,
        }
    }

    fn distrust(&self) -> Option<String> {
        let oracle = self.oracle.as_ref()?;
        oracle.distrust().map(str::to_owned)
    }

    /// Which case answers for the end of the boot: the one that was running. A crash just after a case, before the
    /// next one, is charged to the one that ended.
    fn charged(&self, end: &BootEnd) -> Option<usize> {
        let running = self.open.as_ref().map(|(at, _)| *at);
        let last = self.ended.back().map(|(at, _)| *at);
        match end {
            BootEnd::Goodbye => None,
            BootEnd::Crash(_) => self.console_at.or(running).or(last),
            BootEnd::Silence(Phase::Shutdown) | BootEnd::Overtime(Phase::Shutdown) => None,
            _ => running,
        }
    }

    fn item(&mut self, item: Item, now: Duration) {
        match item {
            Item::Record(record) => self.record(record, now),
            Item::Noise(line) => self.odd(format!("not a record on the record port: {line:?}")),
            Item::Broken(error) => match &mut self.open {
                Some((_, observation)) => observation.broken.push(error),
                None => self.odd(format!("broken record: {error}")),
            },
        }
    }

    fn record(&mut self, record: Record, now: Duration) {
        match record {
            Record::Hello {
                release,
                taint,
                cases,
                caches,
                ..
            } => {
                self.clocks.enter(Phase::Test, now);
                self.prove(&caches);
                self.seen.push(Seen::Up { release });
                if taint != 0 {
                    self.odd(format!(
                        "the kernel was tainted before any case: {taint:#x}"
                    ));
                }
                if cases != self.plan.len() {
                    let planned = self.plan.len();
                    self.odd(format!(
                        "the guest found {cases} cases in its plan of {planned}"
                    ));
                }
            }
            Record::CaseStart { case } => self.case_start(case, now),
            Record::Log { case, line } => match &mut self.open {
                Some((_, open)) if open.case == case => keep(&mut open.log, line, LOG_KEPT),
                _ => self.odd(format!("{case}, which does not run, printed: {line}")),
            },
            Record::Alive => {}
            Record::CaseEnd {
                case,
                outcome,
                millis,
                taint,
                figures,
            } => match self.open.take() {
                Some((at, mut open)) if open.case == case => {
                    open.report = Some(Report {
                        outcome,
                        millis,
                        here: now.saturating_sub(open.started),
                        taint,
                        figures,
                    });
                    self.ended.push_back((at, open));
                    self.clocks.case_end(now);
                    self.release();
                }
                open => {
                    self.open = open;
                    self.odd(format!("{case} ended without having started"));
                }
            },
            Record::File { name, size, part } => {
                self.clocks.case_end(now);
                match self.files.part(&name, size, &part) {
                    Ok(Some(bytes)) => self.seen.push(Seen::File { name, bytes }),
                    Ok(None) => {}
                    Err(odd) => self.odd(odd),
                }
            }
            Record::Goodbye => self.clocks.enter(Phase::Shutdown, now),
        }
    }

    fn prove(&mut self, caches: &[String]) {
        if let Some(words) = &self.proof
            && !caches.iter().any(|line| line.contains(words))
        {
            let said = caches.join("; ");
            self.disproof = Some(format!(
                "of its caches the kernel was to say {words:?}, and it said {said:?}"
            ));
        }
    }

    fn case_start(&mut self, case: String, now: Duration) {
        let Some(at) = self.plan.iter().position(|(id, _)| *id == case) else {
            return self.odd(format!("{case} started, which was not planned"));
        };
        // A case whose end never arrived: without a whole record it has not passed.
        self.ended.extend(self.open.take());
        if let Some(oracle) = &mut self.oracle {
            oracle.check_controls();
        }
        self.clocks.case_start(self.plan[at].1, now);
        let open = Observation {
            started: now,
            ..Observation::of(case.clone())
        };
        self.open = Some((at, open));
        self.seen.push(Seen::Started(case));
        self.release();
    }

    fn console_line_ended(&mut self, now: Duration) {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.console_line)).into_owned();
        if let Some(at) = self.case_in(&line) {
            self.console_at = Some(at);
            self.release();
        }
        let part = self
            .console
            .entry(self.console_at.unwrap_or(BOOTING))
            .or_default();
        if let Some(hit) = self.scanner.line(&line) {
            if hit.marker.severity.ends_boot() && self.crash.is_none() {
                self.crash = Some((hit.line.clone(), now));
            }
            part.hits.push(hit);
        }
        keep(&mut part.lines, line, CONSOLE_KEPT);
    }

    /// The place in the plan of the case that `init: case N/M ID` announces.
    fn case_in(&self, line: &str) -> Option<usize> {
        let (_, rest) = line.split_once("init: case ")?;
        let id = rest.split_whitespace().nth(1)?;
        self.plan.iter().position(|(planned, _)| planned == id)
    }

    /// Lets go of the cases that ended and that the console has left behind.
    fn release(&mut self) {
        while let Some((at, _)) = self.ended.front() {
            if self.console_at.is_none_or(|console| console <= *at) {
                return;
            }
            let (at, observation) = self.ended.pop_front().expect("looked at it above");
            self.over(at, observation);
        }
    }

    fn over(&mut self, at: usize, mut observation: Observation) {
        let part = self.console.remove(&at).unwrap_or_default();
        observation.hits = part.hits;
        observation.console = part.lines;
        let cut_short = observation.boot_end.is_some();
        let oracle = self.oracle.as_mut();
        observation.oracle = oracle.map(|oracle| oracle.of_case(at, cut_short));
        self.seen.push(Seen::Over(Box::new(observation)));
    }

    fn odd(&mut self, text: String) {
        self.seen.push(Seen::Odd(text));
    }
}

impl Observation {
    /// Nothing seen yet of `case`.
    pub(crate) fn of(case: String) -> Self {
        Self {
            case,
            started: Duration::ZERO,
            report: None,
            boot_end: None,
            broken: Vec::new(),
            hits: Vec::new(),
            oracle: None,
            log: VecDeque::new(),
            console: VecDeque::new(),
        }
    }
}

/// Appends, dropping the oldest beyond `most`.
fn keep(lines: &mut VecDeque<String>, line: String, most: usize) {
    if lines.len() == most {
        lines.pop_front();
    }
    lines.push_back(line);
}

#[cfg(test)]
mod tests;

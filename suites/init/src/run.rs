// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs all cases of the plan and reports to the host.

use protocol::plan::{Plan, PlannedCase, Work};
use protocol::record::{Outcome, Record};
use sys::Instant;

use crate::audit::{self, Snapshot};
use crate::boot;
use crate::cleanup::{self, Killed};
use crate::coverage;
use crate::oracle::Oracle;
use crate::program::{self, EndedProgram};
use crate::records::Port;
use crate::supervise::{self, EndedCase, Report};
use crate::symbols;

/// Maximum number of lines about caches that are sent to the host. Some kernels print them for each processor.
const CACHE_LINES_MAX: usize = 40;

/// Runs every case of the plan and reports to the host. Returns early, without [`Record::Goodbye`], if a process cannot
/// be killed: the host then boots again for the remaining cases.
pub(crate) fn run(plan: &Plan) -> Result<(), String> {
    let mut port = open_port()?;
    port.send(&hello(plan)?);
    let oracle = Oracle::start(plan)?;
    for (index, planned) in plan.cases.iter().enumerate() {
        let (number, total) = (index + 1, plan.cases.len());
        boot::log_to_kernel(&format!("case {number}/{total} {}", planned.id));
        if run_case(index, planned, oracle, &mut |record| port.send(&record)) {
            port.drain();
            return Err(format!("cannot kill a process of case {}", planned.id));
        }
    }
    coverage::send(&mut |record| port.send(&record));
    port.send(&Record::Goodbye);
    port.drain();
    sys::sync();
    Ok(())
}

/// Sends the names of the kernel's functions.
pub(crate) fn send_symbols(plan: &Plan) -> Result<(), String> {
    let mut port = open_port()?;
    port.send(&hello(plan)?);
    symbols::send(&mut |record| port.send(&record));
    port.send(&Record::Goodbye);
    port.drain();
    Ok(())
}

fn open_port() -> Result<Port, String> {
    let path = boot::parameter("dmmap.records")
        .ok_or("the kernel command line lacks dmmap.records=DEVICE")?;
    Port::open(&path)
}

/// State before a case, to compare with the state after it.
enum Before {
    /// Bits of the kernel's taint.
    Taint(u64),
    Machine(Snapshot),
}

/// A case whose process or program has ended.
enum Ended {
    Case(EndedCase),
    Program(EndedProgram),
}

fn hello(plan: &Plan) -> Result<Record, String> {
    let uname = sys::uname().map_err(|error| error.to_string())?;
    Ok(Record::Hello {
        release: uname.release,
        machine: uname.machine,
        page_size: sys::page_size() as u64,
        memory: crate::audit::meminfo("MemTotal")? * 1024,
        taint: crate::audit::taint()?,
        cases: plan.cases.len(),
        caches: caches(),
    })
}

/// Returns the lines of the kernel log and of `/proc/cpuinfo` that mention a cache.
fn caches() -> Vec<String> {
    let mut texts = boot::kernel_log().unwrap_or_default();
    texts.extend(sys::read_text("/proc/cpuinfo"));
    let lines = texts.iter().flat_map(|text| text.lines());
    let caches = lines.filter(|line| line.to_lowercase().contains("cache"));
    caches.map(str::to_owned).take(CACHE_LINES_MAX).collect()
}

/// Runs case `index` of the plan, checks the machine afterwards, and passes the records to `send`. Returns true if a
/// process of the case cannot be killed.
///
/// After a program of the user, only the kernel's taint is checked: files that it has left in memory are no leak.
pub(crate) fn run_case(
    index: usize,
    planned: &PlannedCase,
    oracle: Oracle,
    send: &mut dyn FnMut(Record),
) -> bool {
    let case = || planned.id.clone();
    send(Record::CaseStart { case: case() });
    let start = Instant::now();
    let before = match &planned.work {
        Work::Command(_) => audit::taint().map(Before::Taint),
        _ => Snapshot::take().map(Before::Machine),
    };
    let (ended, killed) = oracle.in_case_window(index, || {
        let ended = match &planned.work {
            Work::Command(program) => Ended::Program(program::run(planned, program, send)),
            _ => Ended::Case(supervise::supervise(planned, send)),
        };
        (ended, cleanup::kill_and_reap())
    });
    let Report { outcome, mut figures, curves } = match ended {
        Ended::Program(program) => program.into_report(send),
        Ended::Case(case) => case.into_report(send),
    };
    for curve in curves {
        send(Record::Curve { case: case(), curve });
    }

    let (outcome, taint, stuck) = match (killed, before) {
        (Killed::Stuck(processes), _) => {
            let reason = format!("stuck: still running after SIGKILL: {processes}");
            (Outcome::Fail { reason }, 0, true)
        }
        (Killed::All, Err(reason)) => (Outcome::Fail { reason }, 0, false),
        (Killed::All, Ok(Before::Taint(before))) => {
            (outcome, audit::taint().unwrap_or(0) & !before, false)
        }
        (Killed::All, Ok(Before::Machine(before))) => {
            cleanup::unmount_leftovers();
            cleanup::remove_groups();
            // A case may have unloaded modules. The limits are parameters of a module.
            let loaded = workloads::load_missing_modules().map_err(|error| error.to_string());
            let changes = before.restore_and_compare();
            figures.insert("free_lost_kib".into(), changes.lost.free_kib as f64);
            figures.insert("objects_grown_kib".into(), changes.lost.objects_kib as f64);
            let outcome = match (outcome, loaded.err().or(changes.leak)) {
                // A failure found by the case takes precedence; these are then most likely a consequence of it.
                (Outcome::Pass | Outcome::Skip { .. }, Some(reason)) => Outcome::Fail { reason },
                (outcome, _) => outcome,
            };
            (outcome, changes.taint, false)
        }
    };
    send(Record::CaseEnd {
        case: case(),
        outcome,
        millis: start.elapsed().as_millis() as u64,
        taint,
        figures,
    });
    stuck
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! A whole run: hello, every case, goodbye.

use protocol::plan::{Plan, PlannedCase};
use protocol::record::{Outcome, Record};
use sys::Instant;

use crate::audit::Snapshot;
use crate::boot;
use crate::cleanup::{self, Cleaned};
use crate::coverage;
use crate::oracle::Oracle;
use crate::records::Port;
use crate::supervise::{self, Finished};

/// Lines that a machine may have to say of its caches: some say it once a processor.
const CACHE_LINES: usize = 40;

/// Runs every case of the plan and reports. Returns early, without a goodbye, where a process is beyond killing: the
/// host starts the machine again for the cases that are left.
pub fn run(plan: &Plan) -> Result<(), String> {
    let path = boot::parameter("dmmap.records")
        .ok_or("dmmap.records=DEVICE is missing on the kernel command line")?;
    let mut port = Port::open(&path)?;
    port.send(&hello(plan)?);
    let oracle = Oracle::start(plan)?;
    for (index, planned) in plan.cases.iter().enumerate() {
        let (number, of) = (index + 1, plan.cases.len());
        boot::announce(&format!("case {number}/{of} {}", planned.id));
        let stuck = run_case(index, planned, oracle, &mut |record| port.send(&record));
        if stuck {
            port.drain();
            return Err(format!("a process of {} cannot be killed", planned.id));
        }
    }
    coverage::send(&mut |record| port.send(&record));
    port.send(&Record::Goodbye);
    port.drain();
    sys::sync();
    Ok(())
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

/// What the kernel says of its caches.
fn caches() -> Vec<String> {
    let texts = [
        boot::kernel_log(),
        sys::read_text("/proc/cpuinfo").unwrap_or_default(),
    ];
    let lines = texts.iter().flat_map(|text| text.lines());
    let about = lines.filter(|line| line.to_lowercase().contains("cache"));
    about.map(str::to_owned).take(CACHE_LINES).collect()
}

/// Runs the plan's case `index` with all the checks around it, and tells `send` about it. True if a process of it is
/// left.
pub fn run_case(
    index: usize,
    planned: &PlannedCase,
    oracle: Oracle,
    send: &mut dyn FnMut(Record),
) -> bool {
    let case = || planned.id.clone();
    send(Record::CaseStart { case: case() });
    let start = Instant::now();
    let before = Snapshot::take();
    let (supervised, cleaned) = oracle.around(index, || {
        let supervised = supervise::supervise(planned, send);
        (supervised, cleanup::kill_and_reap())
    });
    let Finished {
        outcome,
        mut figures,
    } = supervised.into_verdict(&planned.id, send);

    let (outcome, taint, stuck) = match (&cleaned, before) {
        (Cleaned::Stuck(processes), _) => {
            let reason = format!("stuck: after SIGKILL there is still {processes}");
            (Outcome::Fail { reason }, 0, true)
        }
        (Cleaned::All, Err(why)) => (Outcome::Fail { reason: why }, 0, false),
        (Cleaned::All, Ok(before)) => {
            cleanup::unmount_leftovers();
            cleanup::remove_groups();
            let after = before.compare();
            figures.insert("free_lost_kib".into(), after.lost.free_kib as f64);
            figures.insert("objects_grown_kib".into(), after.lost.objects_kib as f64);
            let outcome = match (outcome, after.complaint) {
                // What the case itself found comes first; a leak is then most likely a consequence.
                (Outcome::Pass | Outcome::Skip { .. }, Some(reason)) => Outcome::Fail { reason },
                (outcome, _) => outcome,
            };
            (outcome, after.taint, false)
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

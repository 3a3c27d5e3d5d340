// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starts the process of a case, listens to it, and gives up on it when its time is over.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::plan::PlannedCase;
use protocol::record::{ALIVE_EVERY_MS, Outcome, Record};
use sys::{Ended, Fd, Forked, Instant, Pid};

use crate::case;
use crate::cleanup::describe_processes;
use crate::logs::Logs;

/// Name of the case function that stops this very program: the lab tests with it that it notices a dead guest.
const HANG: &str = "hang";

/// How often to look whether the case's process has ended without a word. Only a case in trouble waits for it.
const GLANCE: Duration = Duration::from_millis(50);

/// The process of a case has ended, or its time is over.
pub struct Supervised {
    how: How,
    logs: Logs,
    output: Option<Fd>,
}

enum How {
    /// It reported.
    Reported(String),
    /// It ended without a report.
    Ended(Ended),
    /// Its time is over.
    TimedOut,
    /// It could not be started.
    NotStarted(String),
}

/// What became of a case.
pub struct Finished {
    /// Its own word, or what its end says.
    pub outcome: Outcome,
    /// What it measured.
    pub figures: BTreeMap<String, f64>,
}

/// Runs the process of a case until it has reported, has ended, or has had its time.
pub fn supervise(planned: &PlannedCase, send: &mut dyn FnMut(Record)) -> Supervised {
    if planned.run == HANG {
        loop {
            std::hint::spin_loop();
        }
    }
    let mut logs = Logs::new(&planned.id);
    match start(planned) {
        Err(error) => Supervised {
            how: How::NotStarted(error.to_string()),
            logs,
            output: None,
        },
        Ok(child) => Supervised {
            how: listen(&child, planned, &mut logs, send),
            logs,
            output: Some(child.output),
        },
    }
}

struct Child {
    pid: Pid,
    /// What its processes print.
    output: Fd,
    /// One line: its report.
    report: Fd,
}

fn start(planned: &PlannedCase) -> sys::Result<Child> {
    let (plan_out, plan_in) = sys::pipe()?;
    let (output, output_in) = sys::pipe()?;
    let (report, report_in) = sys::pipe()?;
    match sys::fork()? {
        Forked::Child => {
            let become_case = || {
                sys::new_session()?;
                // The kernel's first choice when memory runs out, long before anything else.
                sys::write_file("/proc/self/oom_score_adj", b"800")?;
                sys::replace_stdio(&[&plan_out, &output_in, &output_in, &report_in])?;
                sys::exec("/proc/self/exe", &["/init", case::WORD])
            };
            if let Err(error) = become_case() {
                let _ = sys::print_line(&format!("init: {error}"));
            }
            sys::exit(127)
        }
        Forked::Parent(pid) => {
            let plan = serde_json::to_string(planned).expect("a planned case is plain data");
            // A case that dies before it has read its plan is noticed below.
            let _ = plan_in.write_all(plan.as_bytes());
            Ok(Child {
                pid,
                output,
                report,
            })
        }
    }
}

fn listen(
    child: &Child,
    planned: &PlannedCase,
    logs: &mut Logs,
    send: &mut dyn FnMut(Record),
) -> How {
    let deadline = Duration::from_millis(planned.deadline_ms);
    let every = Duration::from_millis(ALIVE_EVERY_MS);
    let start = Instant::now();
    let mut alive = start;
    let mut report = Vec::new();
    let mut ended = None;
    loop {
        let left = deadline.saturating_sub(start.elapsed());
        if left.is_zero() {
            logs.note(&format!("at the deadline: {}", describe_processes()), send);
            return How::TimedOut;
        }
        if alive.elapsed() >= every {
            alive = Instant::now();
            send(Record::Alive);
        }
        // Asked before the pipe is looked at: what it wrote before it ended is in the pipe by then.
        ended = ended.or_else(|| reap(child.pid));
        let patience = if ended.is_some() {
            Duration::ZERO
        } else {
            left.min(GLANCE)
        };
        let ready = sys::poll(&[&child.output, &child.report], Some(patience)).unwrap_or_default();
        let readable = |index: usize| ready.get(index).is_some_and(|fd| fd.readable);
        if readable(0) {
            logs.read(&child.output, send);
        }
        if readable(1) {
            let mut piece = [0; 4096];
            let got = child.report.read(&mut piece).unwrap_or(0);
            report.extend_from_slice(&piece[..got]);
            if report.ends_with(b"\n") {
                return How::Reported(String::from_utf8_lossy(&report).into_owned());
            }
        } else if let Some(ended) = ended {
            return How::Ended(ended);
        }
    }
}

/// Collects whatever has ended; how `pid` did, if it was among them. Orphans of a case become children of PID 1.
fn reap(pid: Pid) -> Option<Ended> {
    while let Ok(Some((gone, ended))) = sys::wait_any() {
        if gone == pid {
            return Some(ended);
        }
    }
    None
}

impl Supervised {
    /// What became of the case. Its processes are gone: what they printed last is still in the pipe.
    pub fn into_verdict(mut self, id: &str, send: &mut dyn FnMut(Record)) -> Finished {
        if let Some(output) = &self.output {
            while sys::poll(&[output], Some(Duration::ZERO)).is_ok_and(|ready| ready[0].readable) {
                self.logs.read(output, send);
            }
        }
        self.logs.finish(send);
        let fail = |reason: String| Finished {
            outcome: Outcome::Fail { reason },
            figures: BTreeMap::new(),
        };
        match self.how {
            How::TimedOut => Finished {
                outcome: Outcome::Timeout,
                figures: BTreeMap::new(),
            },
            How::Ended(ended) => fail(format!("the process of the case {ended} without a report")),
            How::NotStarted(why) => fail(format!("the case could not be started: {why}")),
            How::Reported(line) => match serde_json::from_str(&line) {
                Ok((outcome, figures)) => Finished { outcome, figures },
                Err(error) => fail(format!("{id} reported {line:?}: {error}")),
            },
        }
    }
}

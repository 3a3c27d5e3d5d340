// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starts the process of a case and waits for its report, its end or its deadline.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::curve::Curve;
use protocol::plan::{PlannedCase, Work};
use protocol::programs;
use protocol::record::{ALIVE_EVERY_MS, Outcome, Record};
use sys::{ExitStatus, Fd, ForkResult, Instant, Pid};

use crate::case;
use crate::cleanup::describe_processes;
use crate::logs::Logs;

/// Name of the case function that hangs init itself. It tests that the lab notices a dead guest.
const HANG: &str = "hang";

/// Interval at which to check for a process that ended without a report. Only a failing case has to wait for it.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A case that has reported, ended or missed its deadline. Some of its processes can still be running.
pub(crate) struct EndedCase {
    end: End,
    /// True if the case is a program, which reports by its exit status and its output.
    is_program: bool,
    logs: Logs,
    output: Option<Fd>,
}

enum End {
    /// The process sent a report: one line of JSON.
    Reported(String),
    /// The process ended without a report.
    ProcessEnded(ExitStatus),
    /// The case missed its deadline.
    TimedOut,
    /// The process could not be started.
    NotStarted(sys::Error),
}

/// Outcome of a case, and its measurements.
pub(crate) struct Report {
    pub(crate) outcome: Outcome,
    pub(crate) figures: BTreeMap<String, f64>,
    pub(crate) curves: Vec<Curve>,
}

impl Report {
    /// Returns the report of a case without measurements.
    pub(crate) fn of(outcome: Outcome) -> Report {
        Report { outcome, figures: BTreeMap::new(), curves: Vec::new() }
    }
}

/// Runs the process of a case until it has reported or ended, or until the deadline.
pub(crate) fn supervise(planned: &PlannedCase, send: &mut dyn FnMut(Record)) -> EndedCase {
    if planned.work == Work::Function(HANG.into()) {
        loop {
            std::hint::spin_loop();
        }
    }
    let mut logs = Logs::new(&planned.id);
    let is_program = matches!(planned.work, Work::Program { .. });
    match start(planned) {
        Err(error) => EndedCase { end: End::NotStarted(error), is_program, logs, output: None },
        Ok(child) => EndedCase {
            end: wait_for_end(&child, planned, &mut logs, send),
            is_program,
            logs,
            output: Some(child.output),
        },
    }
}

struct Child {
    pid: Pid,
    /// Pipe with the output of the case's processes.
    output: Fd,
    /// Pipe with the report, one line of JSON.
    report: Fd,
}

/// Puts this process into a session of its own, and makes it the OOM killer's first choice.
pub(crate) fn separate() -> sys::Result<()> {
    sys::new_session()?;
    sys::write_file("/proc/self/oom_score_adj", b"800")
}

fn start(planned: &PlannedCase) -> sys::Result<Child> {
    let (plan_out, plan_in) = sys::pipe()?;
    let (output, output_in) = sys::pipe()?;
    let (report, report_in) = sys::pipe()?;
    match sys::fork()? {
        ForkResult::Child => {
            let become_case = || {
                separate()?;
                match &planned.work {
                    Work::Function(_) => {
                        sys::replace_stdio(&[&plan_out, &output_in, &output_in, &report_in])?;
                        sys::exec("/proc/self/exe", &["/init", case::SUBCOMMAND])
                    }
                    Work::Command(_) => unreachable!("commands run in the module `program`"),
                    Work::Program { name, args } => {
                        sys::replace_stdio(&[&plan_out, &output_in, &output_in])?;
                        let words = [name].into_iter().chain(args).map(String::as_str);
                        sys::exec(&programs::path(name), &words.collect::<Vec<_>>())
                    }
                }
            };
            if let Err(error) = become_case() {
                let _ = sys::print_line(&format!("init: {error}"));
            }
            sys::exit(127)
        }
        ForkResult::Parent(pid) => {
            let plan = serde_json::to_string(planned).expect("a planned case is plain data");
            // `wait_for_end` notices a process that dies before it has read the plan.
            let _ = plan_in.write_all(plan.as_bytes());
            Ok(Child { pid, output, report })
        }
    }
}

fn wait_for_end(
    child: &Child,
    planned: &PlannedCase,
    logs: &mut Logs,
    send: &mut dyn FnMut(Record),
) -> End {
    let deadline = Duration::from_millis(planned.deadline_ms);
    let alive_interval = Duration::from_millis(ALIVE_EVERY_MS);
    let start = Instant::now();
    let mut last_alive = start;
    let mut report = Vec::new();
    let mut report_open = true;
    let mut ended = None;
    loop {
        let left = deadline.saturating_sub(start.elapsed());
        if left.is_zero() {
            let processes = describe_processes();
            logs.note(&format!("processes at the deadline: {processes}"), send);
            return End::TimedOut;
        }
        if last_alive.elapsed() >= alive_interval {
            last_alive = Instant::now();
            send(Record::Alive);
        }
        // Reap before polling: if the process has ended, its last output is in the pipes by the time of the poll.
        ended = ended.or_else(|| reap(child.pid));
        let timeout = if ended.is_some() { Duration::ZERO } else { left.min(POLL_INTERVAL) };
        // A program closes its end of the report when it starts. A poll of the pipe would return immediately.
        let pipes: &[&Fd] = match report_open {
            true => &[&child.output, &child.report],
            false => &[&child.output],
        };
        let ready = sys::poll(pipes, Some(timeout)).unwrap_or_default();
        let readable = |index: usize| ready.get(index).is_some_and(|fd| fd.readable);
        report_open &= !ready.get(1).is_some_and(|fd| fd.hung_up && !fd.readable);
        if readable(0) {
            logs.read(&child.output, send);
        }
        if readable(1) {
            let mut piece = [0; 4096];
            let got = child.report.read(&mut piece).unwrap_or(0);
            report.extend_from_slice(&piece[..got]);
            if report.ends_with(b"\n") {
                return End::Reported(String::from_utf8_lossy(&report).into_owned());
            }
        } else if let Some(ended) = ended {
            return End::ProcessEnded(ended);
        }
    }
}

/// Reaps children that have ended until `pid` is among them, and returns how `pid` ended. Orphans of a case become
/// children of PID 1.
pub(crate) fn reap(pid: Pid) -> Option<ExitStatus> {
    while let Ok(Some((gone, ended))) = sys::wait_any() {
        if gone == pid {
            return Some(ended);
        }
    }
    None
}

impl EndedCase {
    /// Forwards the rest of the output, and returns the report. The case's processes must be gone by now.
    pub(crate) fn into_report(mut self, send: &mut dyn FnMut(Record)) -> Report {
        if let Some(output) = &self.output {
            while sys::poll(&[output], Some(Duration::ZERO)).is_ok_and(|ready| ready[0].readable) {
                self.logs.read(output, send);
            }
        }
        self.logs.finish(send);
        match self.end {
            End::ProcessEnded(status) if self.is_program => {
                Report::of(outcome_of_program(status, self.logs.last()))
            }
            end => end.into_report(),
        }
    }
}

impl End {
    fn into_report(self) -> Report {
        let fail = |reason: String| Report::of(Outcome::Fail { reason });
        match self {
            End::TimedOut => Report::of(Outcome::Timeout),
            End::ProcessEnded(ended) => {
                fail(format!("the process of the case {ended} and sent no report"))
            }
            End::NotStarted(error) => fail(format!("cannot start the case: {error}")),
            End::Reported(line) => match serde_json::from_str(&line) {
                Ok((outcome, figures, curves)) => Report { outcome, figures, curves },
                Err(error) => {
                    fail(format!("cannot parse the report of the case, {line:?}: {error}"))
                }
            },
        }
    }
}

/// Returns the outcome of a program that has ended. `last` is the last line of its output.
fn outcome_of_program(status: ExitStatus, last: &str) -> Outcome {
    let reason = match last {
        "" => "the program gave no reason".to_owned(),
        last => last.to_owned(),
    };
    match status {
        ExitStatus::Code(programs::PASSED) => Outcome::Pass,
        ExitStatus::Code(programs::SKIPPED) => Outcome::Skip { reason },
        ExitStatus::Code(1) => Outcome::Fail { reason },
        status if last.is_empty() => Outcome::Fail { reason: format!("the program {status}") },
        status => Outcome::Fail { reason: format!("the program {status}; last line: {last}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sys::{Errno, Signal};

    fn reason(end: End) -> String {
        match end.into_report().outcome {
            Outcome::Fail { reason } => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_report_is_passed_on() {
        let report =
            End::Reported("[{\"is\":\"pass\"},{\"cycles\":3.0},[]]\n".into()).into_report();
        assert_eq!(report.outcome, Outcome::Pass);
        assert_eq!(report.figures["cycles"], 3.0);
    }

    #[test]
    fn a_program_reports_by_its_exit_status_and_its_last_line() {
        let outcome = |status, last| match outcome_of_program(status, last) {
            Outcome::Pass => "pass".into(),
            Outcome::Skip { reason } => format!("skip: {reason}"),
            Outcome::Fail { reason } => format!("fail: {reason}"),
            Outcome::Timeout => "timeout".into(),
        };
        let all = [
            outcome(ExitStatus::Code(0), "all is well"),
            outcome(ExitStatus::Code(4), "io_uring_setup: Function not implemented"),
            outcome(ExitStatus::Code(4), ""),
            outcome(ExitStatus::Code(1), "byte 3: expected 0x01, found 0x02"),
            outcome(ExitStatus::Code(127), "init: exec /programs/a: ENOENT"),
            outcome(ExitStatus::Signal(Signal::Segv), ""),
        ];
        insta::assert_snapshot!(all.join("\n"), @r"
        pass
        skip: io_uring_setup: Function not implemented
        skip: the program gave no reason
        fail: byte 3: expected 0x01, found 0x02
        fail: the program exited with status 127; last line: init: exec /programs/a: ENOENT
        fail: the program was killed by SIGSEGV
        ");
    }

    #[test]
    fn a_missing_report_has_a_reason() {
        insta::assert_snapshot!(
            reason(End::ProcessEnded(ExitStatus::Code(0))),
            @"the process of the case exited with status 0 and sent no report"
        );
        insta::assert_snapshot!(
            reason(End::ProcessEnded(ExitStatus::Signal(Signal::Segv))),
            @"the process of the case was killed by SIGSEGV and sent no report"
        );
        insta::assert_snapshot!(
            reason(End::Reported("pass\n".into())),
            @r#"cannot parse the report of the case, "pass\n": expected value at line 1 column 1"#
        );
        let error = sys::Error { what: "fork".into(), errno: Errno::EAGAIN };
        insta::assert_snapshot!(
            reason(End::NotStarted(error)),
            @"cannot start the case: fork: EAGAIN"
        );
    }
}

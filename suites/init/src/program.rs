// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs the program of a case, forwards its output, and waits for its end or its deadline.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::plan::{GuestProgram, PROGRAM_DIRS, PlannedCase};
use protocol::record::{ALIVE_EVERY_MS, EXIT_CODE, OUTPUT_PART, Outcome, Record, Stream};
use sys::{ExitStatus, Fd, ForkResult, Instant, OpenFlags, Pid};

use crate::cleanup::describe_processes;
use crate::coverage;
use crate::logs::Logs;
use crate::supervise::{Report, reap, separate};

/// Interval at which to check for a program that has ended. Its output is forwarded without delay.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Capacity of a pipe in bytes, with pages of up to 8 KiB (pipe(7)).
const PIPE_SIZE: usize = 16 * 8192;

/// A program that has ended or missed its deadline. Processes that it started may still be running.
pub(crate) struct EndedProgram {
    case: String,
    end: Result<Option<ExitStatus>, String>,
    skip_code: Option<i32>,
    files: Vec<String>,
    outputs: Vec<Output>,
}

/// One stream of the program's output.
struct Output {
    /// Read end of the pipe, until the last writer has closed it.
    pipe: Option<Fd>,
    sink: Sink,
}

enum Sink {
    /// Forwards the bytes unchanged.
    Stream(Stream),
    /// Forwards a limited number of lines.
    Lines(Logs),
}

/// Runs the program of a case until it ends, or until the deadline.
pub(crate) fn run(
    planned: &PlannedCase,
    program: &GuestProgram,
    send: &mut dyn FnMut(Record),
) -> EndedProgram {
    let mut ended = EndedProgram {
        case: planned.id.clone(),
        end: Ok(None),
        skip_code: program.skip_code,
        files: program.files.clone(),
        outputs: Vec::new(),
    };
    ended.end = match start(planned, program, &mut ended.outputs) {
        Err(reason) => Err(reason),
        Ok(pid) => Ok(ended.wait(pid, Duration::from_millis(planned.deadline_ms), send)),
    };
    ended
}

/// Starts the program and adds its streams to `outputs`.
fn start(
    planned: &PlannedCase,
    program: &GuestProgram,
    outputs: &mut Vec<Output>,
) -> Result<Pid, String> {
    let name = program.argv.first().ok_or("the plan names no program")?;
    let path = find(name).ok_or_else(|| {
        format!(
            "{name}: the image has no such command; it is in none of {}",
            PROGRAM_DIRS.join(", ")
        )
    })?;
    let text = |error: sys::Error| error.to_string();
    let null = Fd::open("/dev/null", OpenFlags::READ | OpenFlags::WRITE).map_err(text)?;
    let (out, out_in) = sys::pipe().map_err(text)?;
    let error_pipe = if program.stream { Some(sys::pipe().map_err(text)?) } else { None };
    let (error, error_in) =
        error_pipe.map_or((None, None), |(read, write)| (Some(read), Some(write)));
    match sys::fork().map_err(text)? {
        ForkResult::Child => {
            let become_program = || {
                separate()?;
                sys::replace_stdio(&[&null, &out_in, error_in.as_ref().unwrap_or(&out_in)])?;
                let argv: Vec<&str> = program.argv.iter().map(String::as_str).collect();
                let path_variable = format!("PATH={}", PROGRAM_DIRS.join(":"));
                sys::exec_with(&path, &argv, &[&path_variable, "HOME=/", "TERM=dumb"])
            };
            let message = match become_program() {
                Err(error) => format!("init: {error}\n"),
                Ok(()) => String::new(),
            };
            let _ = Fd::inherited(2).write_all(message.as_bytes());
            // As in a shell: the program exists, but cannot be executed.
            sys::exit(126)
        }
        ForkResult::Parent(pid) => {
            let sink = |stream| match program.stream {
                true => Sink::Stream(stream),
                false => Sink::Lines(Logs::new(&planned.id)),
            };
            outputs.push(Output { pipe: Some(out), sink: sink(Stream::Stdout) });
            outputs
                .extend(error.map(|pipe| Output { pipe: Some(pipe), sink: sink(Stream::Stderr) }));
            Ok(pid)
        }
    }
}

/// Returns the path of the program `name`, or `None` if the image does not have it.
fn find(name: &str) -> Option<String> {
    if name.contains('/') {
        // A wrong path is an error of exec, which says more than "no such command".
        return Some(name.to_owned());
    }
    PROGRAM_DIRS.iter().map(|dir| format!("{dir}/{name}")).find(|path| sys::exists(path))
}

impl EndedProgram {
    /// Forwards the output until the process `pid` has ended, and what is in the pipes by then. Returns `None` at the
    /// deadline. Processes that are still running may go on writing.
    fn wait(
        &mut self,
        pid: Pid,
        deadline: Duration,
        send: &mut dyn FnMut(Record),
    ) -> Option<ExitStatus> {
        let alive_interval = Duration::from_millis(ALIVE_EVERY_MS);
        let start = Instant::now();
        let mut last_alive = start;
        loop {
            let left = deadline.saturating_sub(start.elapsed());
            if left.is_zero() {
                let line = format!("processes at the deadline: {}", describe_processes());
                send(Record::Log { case: self.case.clone(), line });
                return None;
            }
            if last_alive.elapsed() >= alive_interval {
                last_alive = Instant::now();
                send(Record::Alive);
            }
            // Reap before reading: if the program has ended, its last output is in the pipes by the time of the read.
            if let Some(status) = reap(pid) {
                self.forward_rest(send);
                return Some(status);
            }
            self.forward(left.min(POLL_INTERVAL), send);
        }
    }

    /// Forwards what is in the pipes, and what a process writes meanwhile, as long as that fits into a pipe.
    fn forward_rest(&mut self, send: &mut dyn FnMut(Record)) {
        for _ in 0..PIPE_SIZE.div_ceil(OUTPUT_PART) {
            if !self.forward(Duration::ZERO, send) {
                return;
            }
        }
    }

    /// Waits up to `timeout` for output, and forwards it. Returns false if there was none.
    fn forward(&mut self, timeout: Duration, send: &mut dyn FnMut(Record)) -> bool {
        let pipes: Vec<&Fd> =
            self.outputs.iter().filter_map(|output| output.pipe.as_ref()).collect();
        if pipes.is_empty() {
            sys::sleep(timeout);
            return false;
        }
        let mut ready = sys::poll(&pipes, Some(timeout)).unwrap_or_default().into_iter();
        let mut any = false;
        for output in self.outputs.iter_mut().filter(|output| output.pipe.is_some()) {
            let ready = ready.next().unwrap_or_default();
            if ready.readable {
                output.forward(&self.case, send);
                any = true;
            } else if ready.hung_up {
                output.pipe = None;
            }
        }
        any
    }

    /// Forwards the rest of the output and the files that the plan asks for, and returns the report. All processes of the case must be gone by now.
    pub(crate) fn into_report(mut self, send: &mut dyn FnMut(Record)) -> Report {
        while self.forward(Duration::ZERO, send) {}
        for output in &mut self.outputs {
            if let Sink::Lines(logs) = &mut output.sink {
                logs.finish(send);
            }
        }
        for path in &self.files {
            let name = path.rsplit('/').next().unwrap_or(path);
            coverage::send_file(path, name, send);
        }
        let code = match self.end {
            Ok(Some(status)) => Some((EXIT_CODE.to_owned(), exit_code(status).into())),
            _ => None,
        };
        let figures = BTreeMap::from_iter(code);
        Report { figures, ..Report::of(outcome(self.end, self.skip_code)) }
    }
}

impl Output {
    /// Reads from the pipe once, and forwards the bytes.
    fn forward(&mut self, case: &str, send: &mut dyn FnMut(Record)) {
        let Some(pipe) = &self.pipe else {
            return;
        };
        match &mut self.sink {
            Sink::Lines(logs) => logs.read(pipe, send),
            Sink::Stream(stream) => {
                let mut piece = [0; OUTPUT_PART];
                let got = pipe.read(&mut piece).unwrap_or(0);
                let bytes = piece[..got].to_vec();
                send(Record::Output { case: case.to_owned(), stream: *stream, bytes });
            }
        }
    }
}

/// Returns the exit code of a program as a shell reports it.
fn exit_code(status: ExitStatus) -> i32 {
    match status {
        ExitStatus::Code(code) => code,
        ExitStatus::Signal(signal) => 128 + signal.number(),
    }
}

fn outcome(end: Result<Option<ExitStatus>, String>, skip_code: Option<i32>) -> Outcome {
    match end {
        Err(reason) => Outcome::Fail { reason },
        Ok(None) => Outcome::Timeout,
        Ok(Some(ExitStatus::Code(0))) => Outcome::Pass,
        Ok(Some(ExitStatus::Code(code))) if skip_code == Some(code) => {
            Outcome::Skip { reason: format!("the program exited with status {code}") }
        }
        Ok(Some(status)) => Outcome::Fail { reason: format!("the program {status}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sys::Signal;

    #[test]
    fn the_outcome_follows_from_the_exit_status() {
        let of = |end| format!("{:?}", outcome(end, Some(4)));
        assert_eq!(of(Ok(Some(ExitStatus::Code(0)))), "Pass");
        assert_eq!(of(Ok(None)), "Timeout");
        insta::assert_snapshot!(of(Ok(Some(ExitStatus::Code(4)))), @r#"Skip { reason: "the program exited with status 4" }"#);
        insta::assert_snapshot!(of(Ok(Some(ExitStatus::Code(3)))), @r#"Fail { reason: "the program exited with status 3" }"#);
        insta::assert_snapshot!(of(Ok(Some(ExitStatus::Signal(Signal::Bus)))), @r#"Fail { reason: "the program was killed by SIGBUS" }"#);
        assert!(of(Err("no such command".into())).contains("no such command"));
        assert!(matches!(outcome(Ok(Some(ExitStatus::Code(4))), None), Outcome::Fail { .. }));
    }

    #[test]
    fn a_signal_has_the_exit_code_of_a_shell() {
        assert_eq!(exit_code(ExitStatus::Code(3)), 3);
        assert_eq!(exit_code(ExitStatus::Signal(Signal::Kill)), 137);
    }

    #[test]
    fn a_path_is_taken_as_it_is_and_a_name_is_searched_for() {
        assert_eq!(find("./none").as_deref(), Some("./none"));
        assert!(find("sh").is_some_and(|path| path.ends_with("/sh")));
        assert_eq!(find("no-such-command"), None);
    }
}

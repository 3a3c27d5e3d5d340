// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds out where a case hung: from the processes that the guest lists at the deadline, or from the last backtrace of
//! the kernel.

use std::sync::LazyLock;

use regex::Regex;

use crate::watch::Observation;

/// Number of processes that a text names.
const NAMED: usize = 3;

/// A process in the list at the deadline, which `init` writes to the log of the case.
static PROCESS: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"process \d+ \((?<name>.*?)\), state (?<state>\w), waiting in (?<function>\S*?)(?:;|$)")
});

/// The program counter in a backtrace, as each architecture prints it.
static COUNTER: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?:RIP: [0-9a-f]{4}:|PC is at |pc : |epc\s*: [0-9a-f]+ |IAOQ\[0\]: |TPC: <)(?<function>[\w.]+)\+0x",
    )
});

/// A frame of a backtrace. Frames with a question mark are not certain.
static FRAME: LazyLock<Regex> =
    LazyLock::new(|| regex(r"(?:^|[\]>]) +(?<function>[\w.]+)\+0x[0-9a-f]+/0x[0-9a-f]+"));

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is valid")
}

/// Returns the place where a case hung, as part of a sentence: `client waits in fuse_dmmap_req_wait`. Returns `None` if
/// neither the log nor the console shows it.
pub(super) fn place(seen: &Observation) -> Option<String> {
    let listed = seen.log.iter().rev().find(|line| line.starts_with(AT_DEADLINE));
    let processes = listed.and_then(|line| of_processes(line));
    processes.or_else(|| of_console(&seen.console.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// Start of the line that lists the processes.
const AT_DEADLINE: &str = "processes at the deadline: ";

/// A process in the list at the deadline.
struct Process<'l> {
    name: &'l str,
    /// State as in `/proc/PID/stat`.
    state: &'l str,
    /// Function of the kernel in which the process waits; empty or `0` if it is unknown.
    function: &'l str,
}

impl Process<'_> {
    /// Returns how well the process explains the hang; less is better. A process that no signal can wake comes first,
    /// then one in FUSE, then one that runs.
    fn rank(&self) -> u8 {
        match (self.state, self.function) {
            ("D", _) => 0,
            (_, function) if function.contains("fuse") || function.contains("cuse") => 1,
            ("R", _) => 2,
            _ => 3,
        }
    }

    fn describe(&self) -> String {
        match (self.state, self.function) {
            ("R", _) => format!("{} runs", self.name),
            (_, "" | "0") => format!("{} waits", self.name),
            (_, function) => format!("{} waits in {function}", self.name),
        }
    }
}

/// Returns the processes that explain the hang best.
fn of_processes(line: &str) -> Option<String> {
    let processes: Vec<Process> = PROCESS
        .captures_iter(line)
        .map(|found| found.extract().1)
        .map(|[name, state, function]| Process { name, state, function })
        .collect();
    let best = processes.iter().map(Process::rank).min()?;
    let mut texts: Vec<String> = Vec::new();
    for text in processes.iter().filter(|process| process.rank() == best).map(Process::describe) {
        if !texts.contains(&text) && texts.len() < NAMED {
            texts.push(text);
        }
    }
    Some(texts.join(", "))
}

/// Returns the function of the last backtrace on the console.
fn of_console(lines: &[&str]) -> Option<String> {
    let counter = lines.iter().rev().find_map(|line| COUNTER.captures(line));
    let function = match &counter {
        Some(found) => found["function"].to_owned(),
        None => waiting_function(lines)?,
    };
    Some(format!("the kernel was in {function}"))
}

/// Returns the first function of the last backtrace that is not the scheduler.
fn waiting_function(lines: &[&str]) -> Option<String> {
    let is_start = |line: &&str| line.contains("Call Trace:") || line.contains("Backtrace:");
    let start = lines.iter().rposition(is_start).unwrap_or(0);
    let frames = lines[start..].iter().filter_map(|line| FRAME.captures(line));
    let mut functions = frames.map(|found| found["function"].to_owned());
    functions.find(|function| !function.contains("schedule"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_log(processes: &str) -> String {
        let mut seen = Observation::of("lazy/lock-refused.fuse".into());
        seen.log.push_back("client: waiting for turn 3".into());
        seen.log.push_back(format!("{AT_DEADLINE}{processes}"));
        place(&seen).unwrap_or_default()
    }

    #[test]
    fn the_most_telling_processes_are_named() {
        let lines = [
            "process 215 (case), state S, waiting in pipe_read; process 216 (server), state R, waiting in 0; process 217 (client), state D, waiting in fuse_dmmap_req_wait",
            "process 218 (case), state S, waiting in pipe_read; process 219 (client), state S, waiting in fuse_get_req",
            "process 218 (case), state S, waiting in pipe_read; process 220 (client), state R, waiting in 0",
            "process 40 (case), state S, waiting in hrtimer_nanosleep",
            "process 40 (a) b), state S, waiting in ",
            "a child process that /proc does not list",
        ];
        insta::assert_snapshot!(lines.map(of_log).join("\n"), @"
        client waits in fuse_dmmap_req_wait
        client waits in fuse_get_req
        client runs
        case waits in hrtimer_nanosleep
        a) b waits
        ");
    }

    #[test]
    fn the_console_shows_the_function_of_the_last_backtrace() {
        let of_file = |text: &str| of_console(&text.lines().collect::<Vec<_>>()).unwrap();
        let logs = [
            of_file(include_str!("../../tests/logs/soft-lockup.log")),
            of_file(include_str!("../../tests/logs/hung-task.log")),
        ];
        insta::assert_snapshot!(logs.join("\n"), @"
        the kernel was in lkdtm_SOFTLOCKUP
        the kernel was in lkdtm_HUNG_TASK
        ");
        for line in [
            "PC is at fuse_dmmap_fault+0x1c/0x50",
            "[   12.1] pc : fuse_dmmap_fault+0x1c/0x50",
            "epc   : 80123456 fuse_dmmap_fault+0x1c/0x50",
            " IAOQ[0]: fuse_dmmap_fault+0x1c/0x50",
            "TPC: <fuse_dmmap_fault+0x1c/0x50>",
        ] {
            assert_eq!(of_file(line), "the kernel was in fuse_dmmap_fault", "{line}");
        }
        assert_eq!(of_console(&["[    1.0] init: case 1/3 smoke/boot"]), None);
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! A person at the console: busybox if the image has it, else a few words that are enough to look around.

use protocol::plan::Plan;
use protocol::record::Record;
use sys::{Fd, Forked, OpenFlags, list_dir, print_line, read_text};

use crate::oracle::Oracle;
use crate::run::run_case;

const BUSYBOX: &str = "/bin/busybox";

const HELP: &str = "\
cases                 the cases of the plan
run CASE              runs one of them
cat FILE              ls DIR
write FILE TEXT       as echo TEXT > FILE
mount                 dmesg
exit                  ends the machine";

/// Lets a person work until they have had enough.
pub fn shell(plan: &Plan) -> Result<(), String> {
    if sys::is_there(BUSYBOX) {
        return busybox().map_err(|error| error.to_string());
    }
    say("No busybox in this image; `help` says what there is.");
    let input = Fd::inherited(0);
    let mut typed = Vec::new();
    loop {
        let prompt = std::mem::ManuallyDrop::new(Fd::inherited(1));
        let _ = prompt.write_all(b"dmmap> ");
        let mut piece = [0; 1024];
        loop {
            match input.read(&mut piece).map_err(|error| error.to_string())? {
                0 => return Ok(()),
                n => typed.extend_from_slice(&piece[..n]),
            }
            if typed.ends_with(b"\n") {
                break;
            }
        }
        let line = String::from_utf8_lossy(&std::mem::take(&mut typed)).into_owned();
        if line.trim() == "exit" {
            return Ok(());
        }
        for line in obey(plan, line.trim()).lines() {
            say(line);
        }
    }
}

fn say(line: &str) {
    let _ = print_line(line);
}

fn obey(plan: &Plan, line: &str) -> String {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let answer = match word {
        "" => Ok(String::new()),
        "help" => Ok(HELP.into()),
        "cases" => Ok(plan
            .cases
            .iter()
            .map(|case| format!("{}\n", case.id))
            .collect()),
        "run" => return run(plan, rest),
        "cat" => read_text(rest),
        "ls" => list_dir(if rest.is_empty() { "/" } else { rest }).map(|names| names.join("\n")),
        "mount" => read_text("/proc/mounts"),
        "dmesg" => dmesg(),
        "write" => {
            let (file, text) = rest.split_once(' ').unwrap_or((rest, ""));
            sys::write_file(file, text.as_bytes()).map(|()| String::new())
        }
        _ => Ok(format!("{word}: not known; `help` says what is")),
    };
    answer.unwrap_or_else(|error| error.to_string())
}

fn run(plan: &Plan, id: &str) -> String {
    let mut cases = plan.cases.iter().enumerate();
    let Some((index, planned)) = cases.find(|(_, case)| case.id == id) else {
        return format!("{id}: no such case; `cases` lists them");
    };
    run_case(index, planned, Oracle::OFF, &mut |record| match record {
        Record::Log { line, .. } => say(&line),
        Record::CaseEnd {
            outcome,
            millis,
            figures,
            ..
        } => say(&format!("{outcome:?} after {millis} ms {figures:?}")),
        _ => {}
    });
    String::new()
}

/// Each read of `/dev/kmsg` gives one record, `HEADER;TEXT`, with continuation lines behind.
fn dmesg() -> sys::Result<String> {
    let log = Fd::open("/dev/kmsg", OpenFlags::READ | OpenFlags::NONBLOCK)?;
    let mut text = String::new();
    let mut record = [0; 8192];
    while let Ok(n) = log.read(&mut record) {
        let record = String::from_utf8_lossy(&record[..n]).into_owned();
        text += record.split_once(';').map_or("", |(_, text)| text);
    }
    Ok(text)
}

/// A busybox shell on the real terminal behind the console, so that it can interrupt what it runs.
fn busybox() -> sys::Result<()> {
    let active = read_text("/sys/class/tty/console/active")?;
    let name = active.split_whitespace().last().unwrap_or("console");
    match sys::fork()? {
        Forked::Parent(pid) => sys::wait(pid).map(drop),
        Forked::Child => {
            let become_shell = || {
                sys::new_session()?;
                // The first terminal that a session's leader opens becomes its own.
                let flags = OpenFlags::READ | OpenFlags::WRITE;
                let terminal = Fd::open(&format!("/dev/{name}"), flags)?;
                sys::replace_stdio(&[&terminal, &terminal, &terminal])?;
                sys::exec(BUSYBOX, &["sh"])
            };
            if let Err(error) = become_shell() {
                say(&error.to_string());
            }
            sys::exit(127)
        }
    }
}
